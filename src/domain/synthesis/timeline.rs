//! When each part of a text occurs in the joined audio.

use super::{super::cut::Part, Pause};

/// The starts of parts. Lengths and moments share one unit, which the caller chooses: samples are exact, except for pauses
/// in MP3, which has only whole frames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Start and length, for the parts whose lengths are known.
    known: Vec<(u64, u64)>,
    end: Option<u64>,
}

impl Pause {
    /// The silence after each part, in milliseconds. The last part has none.
    pub fn after(self, parts: &[Part]) -> impl Iterator<Item = u32> {
        parts.iter().enumerate().map(move |(nth, part)| match () {
            () if nth + 1 == parts.len() => 0,
            () if part.ends_paragraph => self.paragraph_ms,
            () if part.ends_sentence() => self.sentence_ms,
            () => 0,
        })
    }
}

impl Timeline {
    /// The timeline of parts in order, from the length of each part and of the pause after it. It ends before the first part
    /// of unknown length. A part without words has no length.
    #[must_use]
    pub fn of(parts: impl IntoIterator<Item = (Option<u64>, u64)>) -> Self {
        let (mut known, mut at) = (Vec::new(), 0);
        for (length, pause) in parts {
            let Some(length) = length else { return Self { known, end: None } };
            known.push((at, length));
            at += length + pause;
        }
        Self { known, end: Some(at) }
    }

    /// The start of a part, counted from 0.
    #[must_use]
    pub fn start(&self, part: usize) -> Option<u64> {
        self.known.get(part).map(|(start, _)| *start)
    }

    /// The total length of all parts and pauses.
    #[must_use]
    pub const fn end(&self) -> Option<u64> {
        self.end
    }

    /// The moment up to which the timeline is known.
    #[must_use]
    pub fn known_to(&self) -> u64 {
        self.end.unwrap_or_else(|| self.known.last().map_or(0, |(start, length)| start + length))
    }

    /// The part at a moment, or the last one before it.
    #[must_use]
    pub fn at(&self, moment: u64) -> Option<usize> {
        let heard = |(start, length): &(u64, u64)| *length > 0 && *start <= moment;
        self.known.iter().rposition(heard).filter(|_| moment < self.known_to())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::super::cut::{SentenceRules, cut},
        *,
    };

    #[test]
    fn pauses_stand_where_a_part_ends_something() {
        let pause = Pause { sentence_ms: 200, paragraph_ms: 600 };
        let parts = cut("One, two and three. Four is long.\n\n* * *\n\nFive.", 14, SentenceRules::default());
        let message: Vec<_> = parts.iter().map(|part| part.text.as_str()).zip(pause.after(&parts)).collect();
        let expected = [("One,", 0), ("two and three.", 200), ("Four is long.", 600), ("* * *", 600), ("Five.", 0)];
        assert_eq!(message, expected);
    }

    #[test]
    fn a_part_begins_after_what_is_before_it() {
        let whole = Timeline::of([(Some(100), 10), (Some(0), 50), (Some(30), 0)]);
        assert_eq!([0, 1, 2, 3].map(|part| whole.start(part)), [Some(0), Some(110), Some(160), None]);
        assert_eq!(whole.end(), Some(190));
        let heard = [0, 99, 105, 115, 159, 160, 189, 190].map(|moment| whole.at(moment));
        assert_eq!(heard, [Some(0), Some(0), Some(0), Some(0), Some(0), Some(2), Some(2), None]);
    }

    #[test]
    fn behind_a_gap_nothing_is_known() {
        let gap = Timeline::of([(Some(100), 10), (None, 10), (Some(30), 0)]);
        assert_eq!([0, 1, 2].map(|part| gap.start(part)), [Some(0), None, None]);
        assert_eq!((gap.end(), gap.known_to()), (None, 100));
        assert_eq!([99, 100].map(|moment| gap.at(moment)), [Some(0), None]);
        assert_eq!(Timeline::of([]).at(0), None);
    }
}
