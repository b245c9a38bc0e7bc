//! A transcript as a sequence of small pieces, each with its time: the smallest units of captions.

use std::{borrow::Cow, slice};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::domain::{
    cut::breakable,
    transcript::{TimedText, Timeline, Transcript, letters, sticks},
};

/// The width of a caption's line.
pub(super) const MAX_COLUMNS: usize = 42;
/// Reading speed for texts of unknown length: 15 columns a second.
const MS_PER_COLUMN: u64 = 67;
/// The widest word that is never broken.
const WIDEST: usize = 30;

/// A word, or a part of a very long one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'t> {
    pub text: &'t str,
    pub start_ms: u64,
    pub end_ms: u64,
    pub speaker: Option<u32>,
    /// No space precedes it.
    pub glued: bool,
    /// It begins an utterance.
    pub opens: bool,
    /// The piece before it ends in the point of an abbreviation or an ordinal, and belongs to it.
    pub bound: bool,
}

impl Piece<'_> {
    pub(super) fn columns(&self) -> usize {
        self.text.width()
    }
}

/// The transcript without control characters except white space: captions cannot show them.
pub(super) fn shown(transcript: &Transcript) -> Cow<'_, Transcript> {
    let is_hidden = |c: char| c.is_control() && !c.is_whitespace();
    let lists = [&transcript.words, &transcript.utterances];
    let mut texts = lists.into_iter().flat_map(Timeline::iter).map(|said| said.text).chain([transcript.text.as_str()]);
    if !texts.any(|text| text.contains(is_hidden)) {
        return Cow::Borrowed(transcript);
    }
    let without = |text: &str| text.replace(is_hidden, "");
    let cleaned = |list: &Timeline| {
        let mut all = Timeline::default();
        list.iter().for_each(|said| all.push(TimedText { text: &without(said.text), ..said }));
        all
    };
    Cow::Owned(Transcript {
        text: without(&transcript.text),
        words: cleaned(&transcript.words),
        utterances: cleaned(&transcript.utterances),
        ..transcript.clone()
    })
}

/// Passes the pieces of a [`shown`] transcript to `each`, in order of time.
pub(super) fn each_piece<'t>(transcript: &'t Transcript, mut each: impl FnMut(Piece<'t>)) {
    let mut last = None;
    match fullest(transcript, |_| true) {
        Some(TimedSource::Utterances(utterances)) => {
            for utterance in utterances.iter() {
                cut(utterance, &inside(&transcript.words, utterance), true, &mut last, &mut each);
            }
        }
        Some(TimedSource::Words(words)) => {
            for word in words.iter() {
                cut(word, slice::from_ref(&word), false, &mut last, &mut each);
            }
        }
        None => {
            let end_ms = known_length(transcript).unwrap_or(transcript.text.width() as u64 * MS_PER_COLUMN);
            let whole = TimedText { text: &transcript.text, start_ms: 0, end_ms, speaker: None };
            cut(whole, slice::from_ref(&whole), true, &mut last, &mut each);
        }
    }
}

/// The audio's length; 0 seconds in an answer means unknown. A length that the times contradict is unknown, too: captions within
/// it would be squeezed together at its end.
pub(super) fn known_length(transcript: &Transcript) -> Option<u64> {
    transcript.duration_ms.filter(|ms| *ms > 0 && !transcript.goes_beyond(*ms))
}

/// The list with the times of the text.
pub(super) enum TimedSource<'a> {
    Utterances(&'a Timeline),
    Words(&'a Timeline),
}

/// The utterances, unless the words contain more of the text.
pub(super) fn fullest(transcript: &Transcript, usable: impl Fn(TimedText<'_>) -> bool) -> Option<TimedSource<'_>> {
    let whole = letters(&transcript.text);
    let off = |list: &Timeline| list.iter().map(|s| letters(s.text)).sum::<usize>().abs_diff(whole);
    let (words, utterances) = (&transcript.words, &transcript.utterances);
    match (utterances.iter().any(&usable), words.iter().any(&usable)) {
        (true, true) if off(utterances) <= (whole / 20).max(off(words)) => Some(TimedSource::Utterances(utterances)),
        (true, false) => Some(TimedSource::Utterances(utterances)),
        (_, true) => Some(TimedSource::Words(words)),
        (false, false) => None,
    }
}

/// The words of an utterance: those whose middle lies in it, and that belong to no other speaker.
fn inside<'t>(words: &'t Timeline, utterance: TimedText<'t>) -> Vec<TimedText<'t>> {
    let inside = words
        .from_point(|w| w.start_ms + 1_000 < utterance.start_ms)
        .take_while(|w| w.start_ms <= utterance.end_ms)
        .filter(|w| (utterance.start_ms..=utterance.end_ms).contains(&w.start_ms.midpoint(w.end_ms)))
        .filter(|w| w.speaker.is_none() || utterance.speaker.is_none() || w.speaker == utterance.speaker)
        .filter(|w| letters(w.text) > 0)
        .collect::<Vec<_>>();
    if inside.is_empty() { vec![utterance] } else { inside }
}

/// Cuts `said` into pieces. Each gets its time from the position of its letters among the letters of `timed`, which is exact if
/// the texts agree, and proportional if they do not. `last` is the character at the end of the previous piece.
fn cut<'t>(
    said: TimedText<'t>,
    timed: &[TimedText<'_>],
    opens: bool,
    last: &mut Option<char>,
    each: &mut impl FnMut(Piece<'t>),
) {
    let ours = letters(said.text) as u64;
    let ruler = Ruler::new(timed, ours);
    let (mut done, mut first) = (0, true);
    for word in said.text.split(char::is_whitespace) {
        for (nth, text) in atoms(word).into_iter().enumerate() {
            let from = done * ruler.letters;
            done += letters(text) as u64;
            let glued = nth > 0 || (first && last.is_some_and(|last| sticks(last, text)));
            let (start_ms, end_ms) = (ruler.start(from), ruler.end(done * ruler.letters));
            each(Piece { text, start_ms, end_ms, speaker: said.speaker, glued, opens: opens && first, bound: false });
            *last = text.chars().next_back();
            first = false;
        }
    }
}

/// Maps the letters of the text to times. Positions are (our letters × their letters), so that nothing is rounded.
struct Ruler {
    letters: u64,
    /// From position, to position, start, end.
    marks: Vec<(u64, u64, u64, u64)>,
}

impl Ruler {
    fn new(timed: &[TimedText<'_>], ours: u64) -> Self {
        let mut theirs = 0;
        let mark = |s: &TimedText<'_>| {
            let from = theirs;
            theirs += letters(s.text) as u64;
            (from * ours, theirs * ours, s.start_ms, s.end_ms)
        };
        let marks = timed.iter().map(mark).collect();
        Self { letters: theirs, marks }
    }

    fn start(&self, position: u64) -> u64 {
        let nth = self.marks.partition_point(|(_, to, ..)| *to <= position);
        self.within(nth, position)
    }

    fn end(&self, position: u64) -> u64 {
        let nth = self.marks.partition_point(|(_, to, ..)| *to < position);
        self.within(nth, position)
    }

    fn within(&self, nth: usize, position: u64) -> u64 {
        let Some((from, to, start, end)) = self.marks.get(nth.min(self.marks.len().saturating_sub(1))) else {
            return 0;
        };
        let lasts = end.saturating_sub(*start);
        let share = u128::from(position.saturating_sub(*from)) * u128::from(lasts) / u128::from((to - from).max(1));
        start + u64::try_from(share).unwrap_or(lasts).min(lasts)
    }
}

/// The parts into which a word may be broken: the words of a script without spaces (with adjoining punctuation), and a word too
/// wide for a line with a speaker's name in halves of a line.
fn atoms(word: &str) -> Vec<&str> {
    let mut atoms = Vec::new();
    for piece in breakable(word) {
        push_narrow(piece, &mut atoms);
    }
    atoms
}

fn push_narrow<'t>(text: &'t str, atoms: &mut Vec<&'t str>) {
    let most = if text.width() > WIDEST { MAX_COLUMNS / 2 } else { WIDEST };
    let mut from = 0;
    for (at, c) in text.char_indices() {
        let columns = c.width().unwrap_or(0);
        if at > from && columns > 0 && text[from..at].width() + columns > most {
            atoms.push(&text[from..at]);
            from = at;
        }
    }
    if from < text.len() {
        atoms.push(&text[from..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::tests::timed_text;

    fn pieces(transcript: &Transcript) -> Vec<Piece<'_>> {
        let mut pieces = Vec::new();
        each_piece(transcript, |piece| pieces.push(piece));
        pieces
    }

    fn times(transcript: &Transcript) -> Vec<(String, u64, u64)> {
        pieces(transcript).into_iter().map(|p| (p.text.to_owned(), p.start_ms, p.end_ms)).collect()
    }

    #[test]
    fn words_of_an_utterance_keep_their_own_times() {
        let t = Transcript {
            text: "Hello, how are you?".into(),
            words: timed_text(&[
                ("Hello,", 100, 500, None),
                ("how", 900, 1000, None),
                ("are", 1000, 1100, None),
                ("you?", 1200, 1500, None),
            ]),
            utterances: timed_text(&[("Hello, how are you?", 100, 1500, None)]),
            ..Transcript::default()
        };
        let expected = [("Hello,", 100, 500), ("how", 900, 1000), ("are", 1000, 1100), ("you?", 1200, 1500)];
        assert_eq!(times(&t), expected.map(|(text, start, end)| (text.to_owned(), start, end)));
    }

    #[test]
    fn without_words_an_utterance_is_shared_out_by_letters() {
        let t = Transcript { utterances: timed_text(&[("aa bbbb cc", 1000, 1800, None)]), ..Transcript::default() };
        let expected = [("aa", 1000, 1200), ("bbbb", 1200, 1600), ("cc", 1600, 1800)];
        assert_eq!(times(&t), expected.map(|(text, start, end)| (text.to_owned(), start, end)));
    }

    #[test]
    fn words_are_taken_where_the_utterances_miss_some() {
        let mut t = Transcript {
            text: "one two three four".into(),
            words: timed_text(&[("one", 0, 1, None), ("two", 1, 2, None), ("three", 2, 3, None), ("four", 3, 4, None)]),
            utterances: timed_text(&[("one two", 0, 2, None)]),
            ..Transcript::default()
        };
        assert_eq!(pieces(&t).len(), 4);
        t.words = t.words.iter().take(1).collect();
        assert_eq!(pieces(&t).len(), 2);
    }

    #[test]
    fn scripts_without_spaces_break_between_words() {
        assert_eq!(atoms("你好，世界。"), ["你好，", "世界。"]);
        assert_eq!(atoms("ภาษาไทยไม่มีช่องว่าง"), ["ภาษา", "ไทย", "ไม่มี", "ช่อง", "ว่าง"]);
        assert_eq!(atoms("(안녕하세요)"), ["(안녕하세요)"]);
        assert_eq!(atoms(&"x".repeat(100)).iter().map(|atom| atom.len()).collect::<Vec<_>>(), [21, 21, 21, 21, 16]);
        assert_eq!(atoms(&"x".repeat(30)).len(), 1);
    }
}
