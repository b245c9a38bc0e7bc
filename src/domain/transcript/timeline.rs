//! Timed texts by the million: the texts in one string, plus 24 bytes for each entry.

/// Times are stored in 40 bits: 34 years.
const LONGEST_MS: u64 = (1 << 40) - 1;

/// A word or an utterance, and when it was said. `start_ms <= end_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedText<'t> {
    /// The text as written, with its punctuation.
    pub text: &'t str,
    /// Start, from the beginning of the recording.
    pub start_ms: u64,
    /// End, from the beginning of the recording.
    pub end_ms: u64,
    /// The speaker, counted from 0.
    pub speaker: Option<u32>,
}

/// Words or utterances, in sequence.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    text: String,
    entries: Vec<Entry>,
}

/// One entry.
#[derive(Debug, Clone, Copy)]
struct Entry {
    at: u32,
    len: u32,
    start: u32,
    end: u32,
    speaker: u32,
    has_speaker: bool,
    /// Bits 32 to 39 of start and end.
    high: [u8; 2],
}

impl Timeline {
    /// Appends an entry. Times beyond 34 years are clamped.
    ///
    /// # Panics
    /// The texts together exceed 4 GB, which no answer does.
    pub fn push(&mut self, said: TimedText<'_>) {
        let at = self.text.len();
        self.text.push_str(said.text);
        self.push_tail(at, said.start_ms, said.end_ms, said.speaker);
    }

    /// The number of entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All entries.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = TimedText<'_>> + ExactSizeIterator {
        self.entries.iter().map(|entry| self.timed_text(entry))
    }

    /// All entries from the first one for which `is_before` is false; it must be true for all entries before that one.
    pub fn from_point(&self, is_before: impl Fn(TimedText<'_>) -> bool) -> impl Iterator<Item = TimedText<'_>> {
        let first = self.entries.partition_point(|entry| is_before(self.timed_text(entry)));
        self.entries[first..].iter().map(|entry| self.timed_text(entry))
    }

    fn timed_text(&self, entry: &Entry) -> TimedText<'_> {
        let at = entry.at as usize;
        TimedText {
            text: &self.text[at..at + entry.len as usize],
            start_ms: time(entry.start, entry.high[0]),
            end_ms: time(entry.end, entry.high[1]),
            speaker: entry.has_speaker.then_some(entry.speaker),
        }
    }

    /// Texts after the last entry that may become the next entry's.
    pub(super) const fn tail(&mut self) -> &mut String {
        &mut self.text
    }

    /// Appends an entry whose text is the tail from `at` on.
    pub(super) fn push_tail(&mut self, at: usize, start_ms: u64, end_ms: u64, speaker: Option<u32>) {
        let place = |bytes: usize| u32::try_from(bytes).expect("an answer has less than 4 GB");
        let (start, end) = (start_ms.min(LONGEST_MS), end_ms.min(LONGEST_MS));
        self.entries.push(Entry {
            at: place(at),
            len: place(self.text.len() - at),
            start: low(start),
            end: low(end),
            speaker: speaker.unwrap_or(0),
            has_speaker: speaker.is_some(),
            high: [high(start), high(end)],
        });
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Sorts by start; entries with the same start keep their order.
    pub(super) fn sort(&mut self) {
        let start = |entry: &Entry| time(entry.start, entry.high[0]);
        if !self.entries.is_sorted_by_key(start) {
            self.entries.sort_by_key(start);
        }
    }
}

/// The storage of the texts makes no difference.
impl PartialEq for Timeline {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Timeline {}

impl<'s> FromIterator<TimedText<'s>> for Timeline {
    fn from_iter<I: IntoIterator<Item = TimedText<'s>>>(said: I) -> Self {
        let mut all = Self::default();
        said.into_iter().for_each(|one| all.push(one));
        all
    }
}

fn time(low: u32, high: u8) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

#[expect(clippy::cast_possible_truncation, reason = "the rest is `high`")]
const fn low(ms: u64) -> u32 {
    ms as u32
}

#[expect(clippy::cast_possible_truncation, reason = "40 bits at most")]
const fn high(ms: u64) -> u8 {
    (ms >> 32) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let all = [
            TimedText { text: "ü", start_ms: 0, end_ms: u64::from(u32::MAX), speaker: None },
            TimedText { text: "", start_ms: 100_000_000_000, end_ms: LONGEST_MS, speaker: Some(0) },
            TimedText { text: "last.", start_ms: 1 << 32, end_ms: (1 << 32) + 1, speaker: Some(u32::MAX) },
        ];
        let line: Timeline = all.into_iter().collect();
        assert!(line.iter().eq(all) && line.len() == 3 && !line.is_empty());
        assert_eq!(size_of::<Entry>(), 24);
        let beyond = [TimedText { end_ms: u64::MAX, ..all[0] }].into_iter().collect::<Timeline>();
        assert_eq!(beyond.iter().next().map(|said| said.end_ms), Some(LONGEST_MS));
    }

    #[test]
    fn order_is_by_begin_and_else_as_it_came() {
        let said = |text, start_ms| TimedText { text, start_ms, end_ms: start_ms, speaker: None };
        let mut line: Timeline = [said("c", 1 << 33), said("a", 5), said("b", 5), said("d", 4)].into_iter().collect();
        line.sort();
        let texts = |line: &Timeline| line.iter().map(|said| said.text).collect::<String>();
        assert_eq!(texts(&line), "dabc");
        assert!(line.from_point(|said| said.start_ms < 5).map(|said| said.text).eq(["a", "b", "c"]));
    }
}
