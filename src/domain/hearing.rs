//! What was heard in a recording: when somebody speaks, channel by channel.
//!
//! A list of stretches is in order, and no two of them overlap.

/// A stretch of a recording, without its last millisecond: `from_ms <= t < to_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Its first millisecond.
    pub from_ms: u64,
    /// The millisecond after its last.
    pub to_ms: u64,
}

impl Stretch {
    /// How long it takes, in ms.
    #[must_use]
    pub const fn len_ms(self) -> u64 {
        self.to_ms.saturating_sub(self.from_ms)
    }

    /// Whether it takes no time.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len_ms() == 0
    }

    /// How far a time is from it, in ms; 0 for a time in it, and for its end.
    #[must_use]
    pub const fn distance(self, ms: u64) -> u64 {
        if ms < self.from_ms { self.from_ms - ms } else { ms.saturating_sub(self.to_ms) }
    }
}

/// When somebody speaks in a recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeardSpeech {
    /// The stretches of speech of each channel, in the order of the channels.
    pub channels: Vec<Vec<Stretch>>,
    /// The length of the recording, in ms.
    pub length_ms: u64,
}

impl HeardSpeech {
    /// The speech of a channel, counted from 1; none if there is no such channel.
    #[must_use]
    pub fn of_channel(&self, channel: u16) -> &[Stretch] {
        let nth = usize::from(channel).checked_sub(1);
        nth.and_then(|nth| self.channels.get(nth)).map_or(&[], Vec::as_slice)
    }

    /// When anybody speaks, on whichever channel.
    #[must_use]
    pub fn of_all(&self) -> Vec<Stretch> {
        union(self.channels.iter().flatten().copied())
    }

    /// Whether nobody speaks.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.channels.iter().flatten().all(|speech| speech.is_empty())
    }
}

/// The time that is in any of the stretches, which come in any order.
#[must_use]
pub fn union(stretches: impl IntoIterator<Item = Stretch>) -> Vec<Stretch> {
    union_across(stretches, 0)
}

/// The same, with gaps of up to `gap_ms` closed.
#[must_use]
pub fn union_across(stretches: impl IntoIterator<Item = Stretch>, gap_ms: u64) -> Vec<Stretch> {
    let mut all: Vec<_> = stretches.into_iter().filter(|stretch| !stretch.is_empty()).collect();
    all.sort_unstable_by_key(|stretch| stretch.from_ms);
    all.dedup_by(|next, last| {
        let meets = next.from_ms <= last.to_ms.saturating_add(gap_ms);
        if meets {
            last.to_ms = last.to_ms.max(next.to_ms);
        }
        meets
    });
    all
}

/// The time that is in both lists.
#[must_use]
pub fn overlap(a: &[Stretch], b: &[Stretch]) -> Vec<Stretch> {
    let (mut both, mut at, mut other) = (Vec::new(), 0, 0);
    while let (Some(one), Some(two)) = (a.get(at), b.get(other)) {
        let common = Stretch { from_ms: one.from_ms.max(two.from_ms), to_ms: one.to_ms.min(two.to_ms) };
        if !common.is_empty() {
            both.push(common);
        }
        if one.to_ms <= two.to_ms {
            at += 1;
        } else {
            other += 1;
        }
    }
    both
}

/// The time of `within` that is in no stretch of the list.
#[must_use]
pub fn gaps(list: &[Stretch], within: Stretch) -> Vec<Stretch> {
    let mut gaps = Vec::new();
    let mut from_ms = within.from_ms;
    for stretch in list {
        gaps.push(Stretch { from_ms, to_ms: stretch.from_ms.min(within.to_ms) });
        from_ms = from_ms.max(stretch.to_ms);
    }
    gaps.push(Stretch { from_ms, to_ms: within.to_ms });
    gaps.retain(|gap| !gap.is_empty());
    gaps
}

/// The time of a list that is in no stretch of the other.
#[must_use]
pub fn without(list: &[Stretch], other: &[Stretch]) -> Vec<Stretch> {
    let end = list.last().map_or(0, |last| last.to_ms);
    overlap(list, &gaps(other, Stretch { from_ms: 0, to_ms: end }))
}

/// How long all stretches of a list take together, in ms.
#[must_use]
pub fn total_ms(list: &[Stretch]) -> u64 {
    list.iter().map(|stretch| stretch.len_ms()).sum()
}

/// The longest stretch of a list, in ms; 0 for an empty list.
#[must_use]
pub fn longest_ms(list: &[Stretch]) -> u64 {
    list.iter().map(|stretch| stretch.len_ms()).max().unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `(from, to)`, in milliseconds.
    pub(crate) fn stretches(list: &[(u64, u64)]) -> Vec<Stretch> {
        list.iter().map(|&(from_ms, to_ms)| Stretch { from_ms, to_ms }).collect()
    }

    #[test]
    fn speech_of_several_channels_is_one_list() {
        let heard =
            HeardSpeech { channels: vec![stretches(&[(0, 10), (30, 40)]), stretches(&[(5, 20)])], length_ms: 50 };
        assert_eq!(heard.of_all(), stretches(&[(0, 20), (30, 40)]));
        assert_eq!((heard.of_channel(2).len(), heard.of_channel(3).len(), heard.of_channel(0).len()), (1, 0, 0));
        assert!(!heard.is_silent() && HeardSpeech::default().is_silent());
        assert!(HeardSpeech { channels: vec![stretches(&[(7, 7)]), vec![]], length_ms: 9 }.is_silent());
    }

    #[test]
    fn lists_are_laid_over_each_other() {
        let (a, b) = (stretches(&[(0, 10), (20, 30)]), stretches(&[(5, 25), (29, 40)]));
        assert_eq!(overlap(&a, &b), stretches(&[(5, 10), (20, 25), (29, 30)]));
        assert_eq!(without(&a, &b), stretches(&[(0, 5), (25, 29)]));
        assert_eq!(gaps(&a, Stretch { from_ms: 5, to_ms: 50 }), stretches(&[(10, 20), (30, 50)]));
        assert_eq!(gaps(&[], Stretch { from_ms: 0, to_ms: 7 }), stretches(&[(0, 7)]));
        assert_eq!(union_across(a.iter().copied(), 10), stretches(&[(0, 30)]));
        assert_eq!(union_across(a.iter().copied(), 9), a);
        assert_eq!((total_ms(&a), longest_ms(&b), longest_ms(&[])), (20, 20, 0));
    }

    fn any_list() -> impl Strategy<Value = Vec<Stretch>> {
        let one = (0u64..100, 0u64..20).prop_map(|(from_ms, long)| Stretch { from_ms, to_ms: from_ms + long });
        proptest::collection::vec(one, 0..12).prop_map(union)
    }

    fn has(list: &[Stretch], ms: u64) -> bool {
        list.iter().any(|stretch| stretch.from_ms <= ms && ms < stretch.to_ms)
    }

    proptest! {
        #[test]
        fn every_millisecond_is_where_it_belongs(a in any_list(), b in any_list()) {
            let all = union(a.iter().chain(&b).copied());
            let (both, only, free) = (overlap(&a, &b), without(&a, &b), gaps(&a, Stretch { from_ms: 0, to_ms: 130 }));
            for ms in 0..130 {
                prop_assert_eq!(has(&all, ms), has(&a, ms) || has(&b, ms));
                prop_assert_eq!(has(&both, ms), has(&a, ms) && has(&b, ms));
                prop_assert_eq!(has(&only, ms), has(&a, ms) && !has(&b, ms));
                prop_assert_eq!(has(&free, ms), !has(&a, ms));
            }
            prop_assert!(all.windows(2).all(|two| two[0].to_ms < two[1].from_ms));
        }
    }
}
