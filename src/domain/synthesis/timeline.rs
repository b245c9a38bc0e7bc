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
    /// The silence after each part, in milliseconds. All of the silence before a part stands after the last part before it that
    /// has words, and the last of these has none.
    #[must_use]
    pub fn after(self, parts: &[Part]) -> Vec<u32> {
        let mut pauses = vec![0; parts.len()];
        let spoken: Vec<usize> = (0..parts.len()).filter(|at| parts[*at].has_words()).collect();
        for pair in spoken.windows(2) {
            pauses[pair[0]] = self.between(&parts[pair[0]..=pair[1]]);
        }
        pauses
    }

    /// The silence between the first and the last of these parts. Those between them have no words.
    fn between(self, parts: &[Part]) -> u32 {
        let [first, silent @ .., last] = parts else { return 0 };
        if first.paragraph == last.paragraph {
            let ends_sentence = silent.last().unwrap_or(first).ends_sentence();
            return if ends_sentence { self.sentence_ms } else { 0 };
        }
        let own = if first.ends_heading { self.heading_ms } else { self.paragraph_ms };
        let is_between = |part: &Part| part.paragraph != first.paragraph && part.paragraph != last.paragraph;
        if silent.iter().any(is_between) { own.max(self.break_ms) } else { own }
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
        super::super::cut::{HEADING_GAP, SentenceRules, cut},
        *,
    };

    #[test]
    fn pauses_stand_where_a_part_ends_something() {
        let pause = Pause { sentence_ms: 200, paragraph_ms: 600, heading_ms: 900, break_ms: 1_500 };
        let told = |text: &str| -> Vec<(String, u32)> {
            let parts = cut(text, 14, SentenceRules::default());
            parts.iter().map(|part| part.text.clone()).zip(pause.after(&parts)).collect()
        };
        let of = |expected: &[(&str, u32)]| -> Vec<(String, u32)> {
            expected.iter().map(|(text, ms)| ((*text).to_owned(), *ms)).collect()
        };
        assert_eq!(
            told("One, two and three. Four is long.\n\nFive."),
            of(&[("One,", 0), ("two and three.", 200), ("Four is long.", 600), ("Five.", 0)])
        );
        assert_eq!(
            told("* * *\n\nOne.\n\n* * *\n\n§\n\nTwo.\n\n😀"),
            of(&[("* * *", 0), ("One.", 1_500), ("* * *", 0), ("§", 0), ("Two.", 0), ("😀", 0)])
        );
        let headings = format!("I{HEADING_GAP}One.\n\nTwo.{HEADING_GAP}* * *\n\nThree.");
        assert_eq!(told(&headings), of(&[("I", 900), ("One.", 600), ("Two.", 1_500), ("* * *", 0), ("Three.", 0)]));
        let inside = "Seven letters. — — — — — — — — Then more.";
        assert_eq!(
            told(inside).iter().map(|(_, ms)| *ms).sum::<u32>(),
            0,
            "silent pieces of a paragraph are no break: {:?}",
            told(inside)
        );
        let low = Pause { heading_ms: 100, break_ms: 50, ..pause };
        assert_eq!(
            low.after(&cut("One.\n\n***\n\nTwo.", 250, SentenceRules::default())),
            [600, 0, 0],
            "never shorter than between paragraphs"
        );
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
