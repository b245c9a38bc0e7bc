//! What of a recording one call sends: stretches of it, one after the other; and which time of what is sent is which time of
//! the recording.

use serde::{Deserialize, Serialize};

use super::hearing::{Stretch, gaps, total_ms, union, union_across};

/// How much two pieces of a recording have in common, in ms: some words, by which they are joined.
pub const OVERLAP_MS: u64 = 2_000;
/// The shortest length that pieces can be asked to have at most, in ms. Pieces are equally long, so none is under half of it.
pub const SHORTEST_PIECE_MS: u64 = 60_000;
/// The most that one call sends of a packed recording, in ms.
pub const PACKED_PIECE_MS: u64 = 9 * 60_000;
/// Silence between two channels in one call, in ms: nobody's words can be in it.
const GUARD_MS: u64 = 1_000;
/// What is sent before and after speech of a packed recording, in ms.
const PACKED_PAD_MS: u64 = 150;
/// A longer silence is cut, in ms.
const LONG_SILENCE_MS: u64 = 2_000;
/// What is left of it on each side, in ms.
const TRIM_PAD_MS: u64 = 500;

/// A stretch of one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u16, u64, u64)", into = "(u16, u64, u64)")]
pub struct Cut {
    /// The channel, counted from 1; `None`: all of them, as one.
    pub channel: Option<u16>,
    /// From when to when, in the recording.
    pub at: Stretch,
}

impl From<(u16, u64, u64)> for Cut {
    fn from((channel, from_ms, to_ms): (u16, u64, u64)) -> Self {
        Self { channel: (channel > 0).then_some(channel), at: Stretch { from_ms, to_ms } }
    }
}

impl From<Cut> for (u16, u64, u64) {
    fn from(cut: Cut) -> Self {
        (cut.channel.unwrap_or(0), cut.at.from_ms, cut.at.to_ms)
    }
}

/// The stretches that one call sends, in the order in which they are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cuts {
    /// The stretches. None of them is empty.
    pub list: Vec<Cut>,
    /// Silence where the channel changes, in ms.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gap_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(ms: &u64) -> bool {
    *ms == 0
}

/// Where a time of what is sent is in the recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The index of the stretch.
    pub cut: usize,
    /// The time in the recording, in ms.
    pub source_ms: u64,
    /// Whether it is in no stretch: then this is the nearest time that is in one.
    pub is_outside: bool,
}

impl Cuts {
    /// Stretches of one channel.
    #[must_use]
    pub fn of_channel(channel: Option<u16>, stretches: impl IntoIterator<Item = Stretch>) -> Self {
        let list = stretches.into_iter().filter(|at| !at.is_empty()).map(|at| Cut { channel, at });
        Self { list: list.collect(), gap_ms: 0 }
    }

    /// The speech of each channel, in order, with a little around it and a guard where the channel changes.
    #[must_use]
    pub fn packed<'a>(channels: impl IntoIterator<Item = (u16, &'a [Stretch])>, length_ms: u64) -> Self {
        let list = channels.into_iter().flat_map(|(channel, speech)| {
            padded(speech, PACKED_PAD_MS, length_ms).into_iter().map(move |at| Cut { channel: Some(channel), at })
        });
        Self { list: list.collect(), gap_ms: GUARD_MS }
    }

    /// Whether nothing is named: the whole recording is sent.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The length of what is sent, in ms.
    #[must_use]
    pub fn sent_ms(&self) -> u64 {
        self.spans().last().map_or(0, |sent| sent.to_ms)
    }

    /// Each stretch in what is sent.
    fn spans(&self) -> impl Iterator<Item = Stretch> {
        let (mut from_ms, mut last) = (0, None);
        self.list.iter().map(move |cut| {
            from_ms += if last.is_some_and(|channel| channel != cut.channel) { self.gap_ms } else { 0 };
            last = Some(cut.channel);
            let sent = Stretch { from_ms, to_ms: from_ms + cut.at.len_ms() };
            from_ms = sent.to_ms;
            sent
        })
    }

    /// The way from times of what is sent to times of the recording.
    #[must_use]
    pub fn map(&self) -> TimeMap<'_> {
        TimeMap { list: &self.list, sent: self.spans().collect() }
    }

    /// The same in several calls of at most `most_ms`, each of which has the last two seconds of the one before. They are
    /// equally long.
    #[must_use]
    pub fn split(&self, most_ms: u64) -> Vec<Self> {
        let windows = pieces(self.sent_ms(), most_ms);
        if windows.len() < 2 {
            return vec![self.clone()];
        }
        let spans: Vec<_> = self.spans().collect();
        let within = |window: &Stretch| {
            let list = spans.iter().zip(&self.list).filter_map(|(sent, cut)| {
                let (from, to) = (sent.from_ms.max(window.from_ms), sent.to_ms.min(window.to_ms));
                let begin = cut.at.from_ms;
                let at = Stretch {
                    from_ms: begin + from.saturating_sub(sent.from_ms),
                    to_ms: begin + to.saturating_sub(sent.from_ms),
                };
                (from < to).then_some(Cut { at, ..*cut })
            });
            Self { list: list.collect(), gap_ms: self.gap_ms }
        };
        windows.iter().map(within).filter(|cuts| !cuts.is_empty()).collect()
    }

    /// From the first to the last time of a channel that is sent.
    #[must_use]
    pub fn covers(&self, channel: Option<u16>) -> Option<Stretch> {
        let mut of = self.list.iter().filter(|cut| cut.channel == channel);
        let first = of.next()?.at;
        Some(Stretch { from_ms: first.from_ms, to_ms: of.next_back().map_or(first.to_ms, |last| last.at.to_ms) })
    }

    /// The channels, each once, in the order in which they are sent.
    #[must_use]
    pub fn channels(&self) -> Vec<Option<u16>> {
        let mut channels: Vec<_> = self.list.iter().map(|cut| cut.channel).collect();
        channels.dedup();
        channels
    }
}

/// Which time of what is sent is which time of the recording.
#[derive(Debug)]
pub struct TimeMap<'a> {
    list: &'a [Cut],
    sent: Vec<Stretch>,
}

impl TimeMap<'_> {
    /// The place of a time of what is sent; `None` if nothing is.
    #[must_use]
    pub fn place(&self, sent_ms: u64) -> Option<Place> {
        let after = self.sent.partition_point(|sent| sent.from_ms <= sent_ms);
        let before = after.checked_sub(1);
        // The end of the last stretch is a time of it: the last word ends there.
        let inside = before.filter(|at| sent_ms <= self.sent[*at].to_ms);
        let nearest = inside.or_else(|| {
            let next = (after < self.sent.len()).then_some(after);
            [before, next].into_iter().flatten().min_by_key(|at| self.sent[*at].distance(sent_ms))
        })?;
        let (sent, cut) = (self.sent[nearest], self.list[nearest]);
        let into = sent_ms.clamp(sent.from_ms, sent.to_ms) - sent.from_ms;
        Some(Place { cut: nearest, source_ms: cut.at.from_ms + into, is_outside: inside.is_none() })
    }

    /// The stretch of this index, in the recording.
    #[must_use]
    pub fn cut(&self, nth: usize) -> Cut {
        self.list[nth]
    }

    /// A time of what is sent as a time of the recording within this stretch, whose ends are the limits.
    #[must_use]
    pub fn within(&self, nth: usize, sent_ms: u64) -> u64 {
        let sent = self.sent[nth];
        self.list[nth].at.from_ms + (sent_ms.clamp(sent.from_ms, sent.to_ms) - sent.from_ms)
    }
}

/// Speech with as much around it, in order and apart.
fn padded(speech: &[Stretch], pad_ms: u64, length_ms: u64) -> Vec<Stretch> {
    union(speech.iter().filter(|at| !at.is_empty()).map(|at| Stretch {
        from_ms: at.from_ms.saturating_sub(pad_ms),
        to_ms: at.to_ms.saturating_add(pad_ms).min(length_ms),
    }))
}

/// What is left of a recording without its silences of over two seconds, of which one is left; `None` if it has none, or if
/// nobody speaks.
#[must_use]
pub fn trimmed(speech: &[Stretch], length_ms: u64) -> Option<Vec<Stretch>> {
    let spoken = union_across(speech.iter().copied(), LONG_SILENCE_MS);
    let kept = padded(&spoken, TRIM_PAD_MS, length_ms);
    let whole = Stretch { from_ms: 0, to_ms: length_ms };
    let is_shorter = gaps(&kept, whole).iter().any(|gap| gap.len_ms() > LONG_SILENCE_MS / 2);
    (is_shorter && total_ms(&kept) > 0).then_some(kept)
}

/// The pieces of something of this length: equally long, at most `most_ms`, each with the last two seconds of the one before.
///
/// # Panics
/// `most_ms` is so short that nothing but the overlap fits into a piece.
#[must_use]
pub fn pieces(length_ms: u64, most_ms: u64) -> Vec<Stretch> {
    assert!(most_ms > 2 * OVERLAP_MS, "a piece is longer than what it has in common with others");
    if length_ms <= most_ms {
        return vec![Stretch { from_ms: 0, to_ms: length_ms }];
    }
    let count = (length_ms - OVERLAP_MS).div_ceil(most_ms - OVERLAP_MS);
    let step = (length_ms - OVERLAP_MS).div_ceil(count);
    let piece = |nth: u64| Stretch { from_ms: nth * step, to_ms: ((nth + 1) * step + OVERLAP_MS).min(length_ms) };
    (0..count).map(piece).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::hearing::tests::stretches;

    #[test]
    fn pieces_are_equally_long_and_overlap() {
        assert_eq!(pieces(60_000, 60_000), stretches(&[(0, 60_000)]));
        assert_eq!(pieces(60_001, 60_000), stretches(&[(0, 31_001), (29_001, 60_001)]));
        assert_eq!(pieces(0, 60_000), stretches(&[(0, 0)]));
    }

    #[test]
    fn long_silences_are_cut_and_one_second_is_left() {
        let speech = stretches(&[(3_000, 5_000), (6_900, 8_000), (20_000, 21_000)]);
        assert_eq!(trimmed(&speech, 30_000), Some(stretches(&[(2_500, 8_500), (19_500, 21_500)])));
        assert_eq!(trimmed(&stretches(&[(400, 5_000), (6_900, 8_000)]), 9_000), None, "no silence is long");
        assert_eq!(trimmed(&[], 60_000), None);
    }

    #[test]
    fn what_is_sent_is_found_again() {
        let (one, two) = (stretches(&[(1_000, 2_000), (9_000, 9_500)]), stretches(&[(4_000, 6_000)]));
        let cuts = Cuts::packed([(1, &*one), (2, &*two)], 9_600);
        let at: Vec<_> = cuts.list.iter().map(|cut| (cut.channel, cut.at.from_ms, cut.at.to_ms)).collect();
        assert_eq!(at, [(Some(1), 850, 2_150), (Some(1), 8_850, 9_600), (Some(2), 3_850, 6_150)]);
        assert_eq!((cuts.sent_ms(), cuts.channels()), (1_300 + 750 + 1_000 + 2_300, vec![Some(1), Some(2)]));
        let map = cuts.map();
        let place = |ms| map.place(ms).map(|place| (place.cut, place.source_ms, place.is_outside));
        assert_eq!((place(0), place(1_299)), (Some((0, 850, false)), Some((0, 2_149, false))));
        assert_eq!((place(1_300), place(2_050)), (Some((1, 8_850, false)), Some((1, 9_600, false))));
        assert_eq!((place(2_400), place(2_700)), (Some((1, 9_600, true)), Some((2, 3_850, true))));
        assert_eq!(place(9_000), Some((2, 6_150, true)));
        assert_eq!((map.within(1, 1_000), map.within(0, 5_000)), (8_850, 2_150));
        assert_eq!(Cuts::default().map().place(0), None);
        assert_eq!(cuts.covers(Some(1)), Some(Stretch { from_ms: 850, to_ms: 9_600 }));
        assert_eq!((cuts.covers(Some(2)), cuts.covers(None)), (Some(cuts.list[2].at), None));
        let frozen = serde_json::to_string(&cuts).unwrap();
        assert_eq!(frozen, r#"{"list":[[1,850,2150],[1,8850,9600],[2,3850,6150]],"gap_ms":1000}"#);
        assert_eq!(serde_json::from_str::<Cuts>(&frozen).unwrap(), cuts);
    }

    proptest! {
        #[test]
        fn pieces_cover_all(length_ms in 0u64..100_000_000, most_ms in SHORTEST_PIECE_MS..40_000_000) {
            let all = pieces(length_ms, most_ms);
            prop_assert!(all.iter().all(|piece| piece.len_ms() <= most_ms));
            prop_assert_eq!((all[0].from_ms, all[all.len() - 1].to_ms), (0, length_ms));
            for two in all.windows(2) {
                prop_assert_eq!(two[0].to_ms - two[1].from_ms, OVERLAP_MS);
            }
            if all.len() > 1 {
                // The last one is shorter by what the division leaves, which is under a millisecond a piece.
                prop_assert!(all.iter().all(|piece| piece.len_ms() + 1_000 >= SHORTEST_PIECE_MS / 2));
            }
        }

        #[test]
        fn calls_send_all_of_it(
            list in proptest::collection::vec((1u16..3, 0u64..500_000, 1u64..90_000), 1..30), most_ms in 60_000u64..600_000
        ) {
            let mut list: Vec<Cut> = list.iter().map(|&(channel, from, len)| Cut::from((channel, from, from + len))).collect();
            list.sort_by_key(|cut| cut.channel);
            let cuts = Cuts { list, gap_ms: 1_000 };
            let calls = cuts.split(most_ms);
            prop_assert!(calls.iter().all(|call| call.sent_ms() <= most_ms));
            let len = |cuts: &Cuts| cuts.list.iter().map(|cut| cut.at.len_ms()).sum::<u64>();
            let common = OVERLAP_MS * (calls.len() as u64);
            prop_assert!(calls.iter().map(len).sum::<u64>() >= len(&cuts));
            prop_assert!(calls.iter().map(len).sum::<u64>() <= len(&cuts) + common);
        }
    }
}
