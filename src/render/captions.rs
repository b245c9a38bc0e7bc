//! Turns pieces into cues: two lines of 42 columns, one to seven seconds, split at ends of sentences and at pauses.
//!
//! No cue ends after an abbreviation or an ordinal whose point belongs to what follows, unless somebody else goes on. A cue
//! that would be shown for less than a second is joined with a neighbour, if both fit into one.

use std::ops::Range;

use unicode_width::UnicodeWidthStr;

use super::{
    lines::{ends_clause, fit, has_stop, lines, width},
    pieces::{MAX_COLUMNS, Piece, each_piece, known_length, shown},
    speaker_name,
    timing::{MAX_MS, MIN_MS, Slot, settle},
};
use crate::domain::{
    cut::{Joint, SentenceRules},
    transcript::Transcript,
};

/// A pause that ends a cue.
const PAUSE_MS: u64 = 600;
/// How far the times of two words, or of a word and the end of the audio, may contradict each other.
const SLACK_MS: u64 = 500;
/// The longest time that a word takes.
const LONGEST_WORD_MS: u64 = 5_000;
/// How many characters before a point decide what it is.
const CONTEXT: usize = 120;

/// One caption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cue<'c> {
    /// Start, from the beginning of the recording.
    pub start_ms: u64,
    /// End; after the start, and not after the next cue's start.
    pub end_ms: u64,
    /// The speaker, counted from 0.
    pub speaker: Option<u32>,
    /// Whether the speaker differs from the one before.
    pub turn: bool,
    /// One or two lines, without markup, with a line feed between them.
    pub text: &'c str,
}

/// What should be known about captions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CaptionFacts {
    /// How many cues have more than 21 characters a second.
    pub fast_cues: usize,
    /// How many words had times that cannot be: beyond the audio, before the word before them ended, or far too long.
    pub mended_times: usize,
}

impl CaptionFacts {
    /// The facts of two files of the same text.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { fast_cues: self.fast_cues.max(other.fast_cues), mended_times: self.mended_times.max(other.mended_times) }
    }
}

/// Captions, in order, never overlapping.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captions {
    text: String,
    slots: Vec<Slot>,
    mended_times: usize,
}

impl Captions {
    /// All cues.
    pub fn iter(&self) -> impl Iterator<Item = Cue<'_>> {
        self.slots.iter().scan(0, |from, slot| {
            let text = &self.text[std::mem::replace(from, slot.text_end)..slot.text_end];
            let Slot { start_ms, end_ms, speaker, turn, .. } = *slot;
            Some(Cue { start_ms, end_ms, speaker, turn, text })
        })
    }

    /// What should be known about them.
    #[must_use]
    pub fn facts(&self) -> CaptionFacts {
        CaptionFacts {
            fast_cues: self.slots.iter().filter(|slot| slot.is_fast()).count(),
            mended_times: self.mended_times,
        }
    }
}

/// The captions of a transcript, within the audio if its length is known. With `labels`, there is room for the speaker's name
/// at the start of each turn.
#[must_use]
pub fn captions(transcript: &Transcript, labels: bool, rules: SentenceRules) -> Captions {
    let transcript = &*shown(transcript);
    let length = known_length(transcript);
    // There cannot be more cues than the audio has milliseconds.
    let most = length.and_then(|ms| usize::try_from(ms).ok()).unwrap_or(usize::MAX);
    let labels = labels.then_some(transcript);
    let mut writer = Writer { labels, most, length, before: None, waiting: Vec::new(), captions: Captions::default() };
    let mut phrase = Phrase::of(rules);
    let are_measured = !transcript.words.is_empty();
    let mut times = Times { end_of_all: length.unwrap_or(u64::MAX), are_measured, ..Times::default() };
    each_piece(transcript, |mut piece| {
        times.mend(&mut piece);
        if phrase.ends_before(&mut piece) {
            writer.phrase(&phrase.pieces);
            phrase.clear();
        }
        phrase.push(piece);
    });
    writer.phrase(&phrase.pieces);
    let mut captions = writer.finish();
    settle(&mut captions.slots, length);
    captions.mended_times = times.mended;
    captions
}

/// Makes starts ascend, and limits all times to the audio and to what a word can take.
#[derive(Default)]
struct Times {
    end_of_all: u64,
    /// Whether words have times of their own; else a text is shared out over the audio, however long.
    are_measured: bool,
    last_start: u64,
    last_end: u64,
    last_speaker: Option<u32>,
    mended: usize,
}

impl Times {
    fn mend(&mut self, piece: &mut Piece<'_>) {
        let overlaps = piece.speaker == self.last_speaker && piece.start_ms + SLACK_MS < self.last_end;
        let is_beyond = piece.end_ms > self.end_of_all.saturating_add(SLACK_MS);
        let is_long = self.are_measured && piece.end_ms.saturating_sub(piece.start_ms) > LONGEST_WORD_MS;
        self.mended += usize::from(self.are_measured && (overlaps || is_beyond || is_long));
        if is_long {
            piece.end_ms = piece.start_ms + LONGEST_WORD_MS;
        }
        piece.start_ms = piece.start_ms.min(self.end_of_all).max(self.last_start);
        piece.end_ms = piece.end_ms.min(self.end_of_all).max(piece.start_ms);
        (self.last_start, self.last_end, self.last_speaker) = (piece.start_ms, piece.end_ms, piece.speaker);
    }
}

/// The text between two pauses.
struct Phrase<'t> {
    rules: SentenceRules,
    pieces: Vec<Piece<'t>>,
    said_until: u64,
}

impl<'t> Phrase<'t> {
    const fn of(rules: SentenceRules) -> Self {
        Self { rules, pieces: Vec::new(), said_until: 0 }
    }

    /// Whether it ends before `next`: at pauses, at changes of speaker, and at ends of sentences, unless the text so far is too
    /// short for a cue of its own. Not after an abbreviation that belongs to `next`, which is noted in it.
    fn ends_before(&self, next: &mut Piece<'_>) -> bool {
        let (Some(first), Some(before)) = (self.pieces.first(), self.pieces.last()) else { return false };
        if next.speaker != before.speaker {
            return true;
        }
        let joint =
            if has_stop(before.text) { self.rules.joint(&self.context(next), next.text) } else { Joint::Inside };
        next.bound = joint == Joint::Bound;
        let pauses = next.start_ms.saturating_sub(self.said_until) > PAUSE_MS;
        let rests = (next.opens || joint == Joint::End) && self.said_until - first.start_ms >= MIN_MS;
        !next.bound && (pauses || rests)
    }

    /// The end of the text so far, and the space before `next`.
    fn context(&self, next: &Piece<'_>) -> String {
        let mut chars = 0;
        let from = self.pieces.iter().rposition(|piece| {
            chars += piece.text.len();
            chars > CONTEXT
        });
        let mut text = String::new();
        for piece in self.pieces[from.unwrap_or(0)..].iter().chain([next]) {
            if !text.is_empty() && !piece.glued {
                text.push(' ');
            }
            text.push_str(piece.text);
        }
        text.truncate(text.len() - next.text.len());
        text
    }

    fn push(&mut self, piece: Piece<'t>) {
        self.said_until = self.said_until.max(piece.end_ms);
        self.pieces.push(piece);
    }

    fn clear(&mut self) {
        self.pieces.clear();
        self.said_until = 0;
    }
}

/// A future cue.
#[derive(Debug, Clone)]
struct Draft<'t> {
    pieces: Vec<Piece<'t>>,
    turn: bool,
    /// Columns for the speaker's name.
    label: usize,
}

impl<'t> Draft<'t> {
    fn start_ms(&self) -> u64 {
        self.pieces[0].start_ms
    }

    fn end_ms(&self) -> u64 {
        end_of(&self.pieces)
    }

    /// Whether it is shown for less than a second although it takes all the time up to `next_ms`.
    fn is_short(&self, next_ms: u64) -> bool {
        let end = self.end_ms().max(self.start_ms() + MIN_MS).min(next_ms.max(self.start_ms()));
        end - self.start_ms() < MIN_MS
    }

    /// Both in one cue, if that is not too long.
    fn joined(&self, next: &Self) -> Option<Self> {
        if self.pieces[0].speaker != next.pieces[0].speaker || next.turn {
            return None;
        }
        let pieces: Vec<_> = self.pieces.iter().chain(&next.pieces).copied().collect();
        let lasts = end_of(&pieces).saturating_sub(self.start_ms());
        (lasts <= MAX_MS && fit(&pieces, self.label)).then_some(Self { pieces, ..*self })
    }
}

fn end_of(pieces: &[Piece<'_>]) -> u64 {
    pieces.iter().map(|piece| piece.end_ms).max().unwrap_or(0)
}

/// Makes cues from phrases.
struct Writer<'t> {
    /// What has the speakers' names, if there is room for them.
    labels: Option<&'t Transcript>,
    most: usize,
    length: Option<u64>,
    /// The speaker of the previous phrase, if there was one.
    before: Option<Option<u32>>,
    /// The newest cues, at most two: what comes may be joined with the last, and the last with the one before it. The last
    /// takes the remaining text once no more cues are possible.
    waiting: Vec<Draft<'t>>,
    captions: Captions,
}

impl<'t> Writer<'t> {
    fn phrase(&mut self, pieces: &[Piece<'t>]) {
        let Some(first) = pieces.first() else { return };
        let speaker = first.speaker;
        let turn = speaker.is_some() && self.before != Some(speaker);
        self.before = Some(speaker);
        let named = self.labels.filter(|_| turn).zip(speaker);
        let label = named.map_or(0, |(transcript, speaker)| label_columns(transcript, speaker));
        let mut cuts = Vec::new();
        divide(pieces, Cut { range: 0..pieces.len(), turn, label }, &mut cuts);
        for cut in cuts {
            self.take(Draft { pieces: pieces[cut.range].to_vec(), turn: cut.turn, label: cut.label });
        }
    }

    fn take(&mut self, next: Draft<'t>) {
        let count = self.captions.slots.len() + self.waiting.len();
        let Some(last) = self.waiting.last_mut() else { return self.waiting.push(next) };
        if count >= self.most {
            return last.pieces.extend(next.pieces);
        }
        let is_short = last.is_short(next.start_ms());
        match last.joined(&next).filter(|_| is_short) {
            Some(joined) => *last = joined,
            None => {
                self.join_last(next.start_ms());
                self.waiting.push(next);
            }
        }
        while self.waiting.len() > 2 {
            let first = self.waiting.remove(0);
            self.write(&first);
        }
    }

    /// Joins the last cue with the one before it, if it is too short up to `next_ms`.
    fn join_last(&mut self, next_ms: u64) {
        let [.., before, last] = &self.waiting[..] else { return };
        if let Some(joined) = before.joined(last).filter(|_| last.is_short(next_ms)) {
            self.waiting.truncate(self.waiting.len() - 2);
            self.waiting.push(joined);
        }
    }

    fn write(&mut self, draft: &Draft<'t>) {
        let text = &mut self.captions.text;
        let from = text.len();
        text.push_str(&lines(&draft.pieces, draft.label).join("\n"));
        let end_ms = draft.end_ms();
        // An abbreviation is shown with what follows it, however long the pause.
        let is_held = draft.pieces.iter().any(|piece| piece.bound);
        let earliest = if is_held { end_ms.saturating_sub(MAX_MS) } else { 0 };
        self.captions.slots.push(Slot {
            start_ms: draft.start_ms().max(earliest),
            end_ms,
            speaker: draft.pieces[0].speaker,
            turn: draft.turn,
            text_end: text.len(),
            chars: text[from..].chars().filter(|c| *c != '\n').count() as u64,
        });
    }

    fn finish(mut self) -> Captions {
        self.join_last(self.length.unwrap_or(u64::MAX));
        for draft in std::mem::take(&mut self.waiting) {
            self.write(&draft);
        }
        self.captions
    }
}

/// The pieces of a future cue.
struct Cut {
    range: Range<usize>,
    turn: bool,
    label: usize,
}

/// Half a line at most: a longer name takes room that is not there.
fn label_columns(transcript: &Transcript, speaker: u32) -> usize {
    (speaker_name(transcript, speaker).width() + 2).min(MAX_COLUMNS / 2)
}

/// Halves what is too long for one cue until each half fits.
fn divide(pieces: &[Piece<'_>], cut: Cut, cuts: &mut Vec<Cut>) {
    let said = &pieces[cut.range.clone()];
    let lasts = end_of(said).saturating_sub(said[0].start_ms);
    let is_whole = said[1..].iter().all(|piece| piece.bound);
    if said.len() < 2 || (lasts <= MAX_MS || is_whole) && fit(said, cut.label) {
        cuts.push(cut);
        return;
    }
    let middle = cut.range.start + middle(said);
    divide(pieces, Cut { range: cut.range.start..middle, ..cut }, cuts);
    divide(pieces, Cut { range: middle..cut.range.end, turn: false, label: 0 }, cuts);
}

/// The best place to cut near the middle: after a comma, or at a pause; not before a number, which may belong to the word
/// before it, and hardly ever after an abbreviation.
fn middle(said: &[Piece<'_>]) -> usize {
    let all = width(said).max(said.len());
    let (mut left, mut best) = (0, (u64::MAX, 1));
    for at in 1..said.len() {
        left += said[at - 1].columns().max(1) + usize::from(!said[at].glued);
        let off = (2 * left).abs_diff(all) as u64 * 100 / all as u64;
        let breath = said[at].start_ms.saturating_sub(said[at - 1].end_ms).min(PAUSE_MS) / 30;
        let ends_clause = ends_clause(said[at - 1].text);
        let clause = if ends_clause { 0 } else { 30 };
        let inside_word = if said[at].glued { 10 } else { 0 };
        let number = if !ends_clause && said[at].text.starts_with(|c: char| c.is_numeric()) { 40 } else { 0 };
        let bound = if said[at].bound { 1_000 } else { 0 };
        let far = if off > 50 { 100 } else { 0 };
        let cost = off + clause + inside_word + number + bound + (20 - breath) + far;
        best = best.min((cost, at));
    }
    best.1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        domain::transcript::{TimedText, Timeline, letters},
        render::{
            pieces::{TimedSource, fullest},
            tests::timed_text,
        },
    };

    fn texts(transcript: &Transcript) -> Vec<String> {
        captions(transcript, false, SentenceRules::of(Some("en"))).iter().map(|c| c.text.replace('\n', " / ")).collect()
    }

    /// Words of 300 ms, each 50 ms after the one before.
    fn synthesis(text: &str, speaker: Option<u32>) -> Timeline {
        let word =
            |(nth, text)| TimedText { text, start_ms: nth as u64 * 350, end_ms: nth as u64 * 350 + 300, speaker };
        text.split(' ').enumerate().map(word).collect()
    }

    #[test]
    fn long_sentences_become_even_lines_and_cues() {
        let text =
            "When we looked at the numbers again last week, we found that most of the calls had come in before noon.";
        let t = Transcript { text: text.into(), words: synthesis(text, None), ..Transcript::default() };
        assert_eq!(
            texts(&t),
            [
                "When we looked at the / numbers again last week,",
                "we found that most of the / calls had come in before noon."
            ]
        );
    }

    #[test]
    fn cues_end_at_pauses_speakers_and_sentences() {
        let t = Transcript {
            words: timed_text(&[
                ("Hi.", 0, 300, Some(0)),
                ("Anna", 350, 700, Some(0)),
                ("here.", 700, 1100, Some(0)),
                ("Yes?", 1200, 1500, Some(1)),
                ("About", 2600, 3000, Some(1)),
                ("that", 3000, 3700, Some(1)),
                ("order.", 3700, 4200, Some(1)),
                ("It", 4300, 4500, Some(1)),
                ("came.", 4500, 4900, Some(1)),
            ]),
            ..Transcript::default()
        };
        assert_eq!(texts(&t), ["Hi. Anna here.", "Yes?", "About that order.", "It came."]);
        let captions = captions(&t, false, SentenceRules::of(Some("en")));
        let cues: Vec<_> = captions.iter().collect();
        assert_eq!(cues.iter().map(|c| c.turn).collect::<Vec<_>>(), [true, true, false, false]);
        assert_eq!((cues[1].start_ms, cues[1].end_ms), (1200, 2200), "stretched to a second, where there is room");
    }

    /// Words of the same length, with a pause before those after a `_`.
    fn paced(text: &str, word_ms: u64) -> Transcript {
        let (mut words, mut at) = (Timeline::default(), 0);
        for word in text.split(' ') {
            at += if word.starts_with('_') { 1_500 } else { 0 };
            let text = word.trim_start_matches('_');
            words.push(TimedText { text, start_ms: at, end_ms: at + word_ms, speaker: None });
            at += word_ms;
        }
        Transcript { words, ..Transcript::default() }
    }

    #[test]
    fn no_cue_ends_after_an_abbreviation() {
        let pause = "They met Mr. _Smith at the corner of St. _James Street, where he bought item no. _7 of the list.";
        let cues = texts(&paced(pause, 400));
        assert_eq!(
            cues,
            ["They met Mr. Smith at the", "corner of St. James Street,", "where he bought item no. 7 of the list."]
        );
    }

    #[test]
    fn a_short_cue_is_joined() {
        let t = paced("Yes. No. _I do not know it yet. Oh. _Well then, let us go home now.", 250);
        assert_eq!(
            texts(&t),
            ["Yes. No.", "I do not know it yet.", "Oh.", "Well then, let us go home now."],
            "where there is room it stays"
        );
    }

    #[test]
    fn scripts_without_spaces_are_broken_between_words() {
        let text = "ภาษาไทยไม่มีช่องว่างระหว่างคำและเขียนติดกันไปเรื่อยๆจนจบประโยคเพราะฉะนั้นจึงต้องใช้พจนานุกรมช่วยแบ่งคำให้ถูกต้อง";
        let t = Transcript { utterances: timed_text(&[(text, 0, 9_000, None)]), ..Transcript::default() };
        let lines: Vec<String> = texts(&t).iter().flat_map(|cue| cue.split(" / ")).map(str::to_owned).collect();
        assert_eq!(lines.concat(), text);
        let mut words = crate::domain::cut::breakable(text).into_iter();
        for line in &lines {
            let mut left = line.as_str();
            while !left.is_empty() {
                left = left.strip_prefix(words.next().expect("a word")).expect("a whole word");
            }
        }
    }

    #[test]
    fn times_that_cannot_be_are_mended_and_counted() {
        let words = timed_text(&[("One", 0, 8_000, None), ("two", 300, 600, None), ("three.", 8_900, 9_900, None)]);
        let t = Transcript { words, duration_ms: Some(9_000), ..Transcript::default() };
        let captions = captions(&t, false, SentenceRules::default());
        assert_eq!(captions.facts().mended_times, 3, "too long, before the end of another, beyond the audio");
        assert!(captions.iter().all(|cue| cue.end_ms <= 9_000));
    }

    #[test]
    fn a_word_longer_than_two_lines_is_broken() {
        let t = Transcript { words: timed_text(&[(&"x".repeat(200), 0, 4000, None)]), ..Transcript::default() };
        let cues = captions(&t, false, SentenceRules::of(Some("en")));
        let lines = || cues.iter().flat_map(|c| c.text.lines());
        assert!(cues.iter().all(|c| c.text.lines().count() <= 2) && lines().all(|l| l.len() <= MAX_COLUMNS));
        assert_eq!(lines().map(str::len).sum::<usize>(), 200);
    }

    #[test]
    fn chinese_fills_its_lines_without_spaces() {
        let text = "我们上周再次查看数据时发现，大多数电话都是在中午之前打来的，而且几乎都很短。";
        let t = Transcript { utterances: timed_text(&[(text, 0, 6000, None)]), ..Transcript::default() };
        assert_eq!(texts(&t), ["我们上周再次查看数据时发现，大多数电话 / 都是在中午之前打来的，而且几乎都很短。"]);
    }

    #[test]
    fn a_text_without_times_is_shared_out_over_the_audio() {
        let t = Transcript::from_log("One sentence here. And another one there.", Some(6.0));
        let captions = captions(&t, false, SentenceRules::of(Some("en")));
        let cues: Vec<_> = captions.iter().collect();
        assert_eq!(texts(&t), ["One sentence here.", "And another one there."]);
        assert_eq!((cues[0].start_ms, cues[1].end_ms), (0, 6000));
        assert!(
            super::captions(&Transcript::from_log("No length at all.", None), false, SentenceRules::default())
                .iter()
                .next()
                .is_some()
        );
    }

    fn anything_said() -> impl Strategy<Value = Timeline> {
        let text = prop_oneof![
            4 => "[a-zA-Z]{1,9}[.,?]?",
            1 => "[a-z ]{1,60}",
            1 => "[x]{40,200}",
            1 => "[你好世界。，]{1,30}",
            1 => "\\PC{1,12}",
        ];
        let said = (text, 0u64..60_000, 0u64..9_000, proptest::option::of(0u32..3))
            .prop_map(|(text, start_ms, long, speaker)| (text, start_ms, start_ms + long, speaker));
        proptest::collection::vec(said, 0..60).prop_map(|mut list| {
            list.sort_by_key(|(_, start_ms, ..)| *start_ms);
            let mut timeline = Timeline::default();
            for (text, start_ms, end_ms, speaker) in &list {
                timeline.push(TimedText { text, start_ms: *start_ms, end_ms: *end_ms, speaker: *speaker });
            }
            timeline
        })
    }

    proptest! {
        #[test]
        fn cues_are_in_order_inside_the_audio_and_whole(
            words in anything_said(),
            utterances in prop_oneof![Just(Timeline::default()), anything_said()],
            duration_ms in prop_oneof![Just(None), (0u64..70_000).prop_map(Some), (0u64..40).prop_map(Some)],
            labels: bool,
        ) {
            let t = Transcript { words, utterances, duration_ms, ..Transcript::default() };
            let captions = captions(&t, labels, SentenceRules::default());
            let cues: Vec<_> = captions.iter().collect();
            let mut last_end = 0;
            for cue in &cues {
                prop_assert!(cue.start_ms >= last_end && cue.end_ms > cue.start_ms, "{cue:?} after {last_end}");
                prop_assert!(cue.end_ms - cue.start_ms <= MAX_MS);
                last_end = cue.end_ms;
            }
            if let Some(length) = known_length(&t) {
                prop_assert!(last_end <= length);
            }
            let shown: String = cues.iter().flat_map(|c| c.text.chars()).filter(|c| !c.is_whitespace()).collect();
            let mut said = String::new();
            each_piece(&t, |piece| said.push_str(piece.text));
            prop_assert_eq!(&shown, &said);
            let nothing = Timeline::default();
            let said = match fullest(&t, |_| true) {
                Some(TimedSource::Words(list) | TimedSource::Utterances(list)) => list,
                None => &nothing,
            };
            prop_assert_eq!(letters(&shown), said.iter().map(|s| letters(s.text)).sum::<usize>());
            if duration_ms.is_none_or(|ms| ms == 0 || ms > 5_000) {
                for cue in &cues {
                    let label = cue.speaker.filter(|_| labels && cue.turn).map_or(0, |speaker| label_columns(&t, speaker));
                    let lines: Vec<_> = cue.text.lines().collect();
                    prop_assert!(lines.len() <= 2 && lines[0].width() + label <= MAX_COLUMNS + 2, "{cue:?}");
                    prop_assert!(lines.iter().all(|line| line.width() <= MAX_COLUMNS + 2), "{cue:?}");
                }
            }
        }
    }
}
