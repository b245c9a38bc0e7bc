//! Turns pieces into cues: two lines of 42 columns, one to seven seconds, split at pauses.

use std::ops::Range;

use unicode_width::UnicodeWidthStr;

use super::{
    lines::{ends_clause, ends_sentence, fit, lines, width},
    pieces::{Piece, each_piece, known_length, shown},
    speaker_name,
    timing::{MAX_MS, MIN_MS, Slot, settle},
};
use crate::domain::transcript::Transcript;

/// A pause that ends a cue.
const PAUSE_MS: u64 = 600;

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

/// Captions, in order, never overlapping.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captions {
    text: String,
    slots: Vec<Slot>,
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
}

/// The captions of a transcript, within the audio if its length is known. With `labels`, there is room for the speaker's name
/// at the start of each turn.
#[must_use]
pub fn captions(transcript: &Transcript, labels: bool) -> Captions {
    let transcript = &*shown(transcript);
    let length = known_length(transcript);
    // There cannot be more cues than the audio has milliseconds.
    let most = length.and_then(|ms| usize::try_from(ms).ok()).unwrap_or(usize::MAX);
    let mut writer = Writer { labels, most, before: None, pending: None, captions: Captions::default() };
    let mut phrase = Phrase::default();
    let (end_of_all, mut last_ms) = (length.unwrap_or(u64::MAX), 0);
    each_piece(transcript, |mut piece| {
        order_times(&mut piece, end_of_all, &mut last_ms);
        if phrase.ends_before(&piece) {
            writer.phrase(&phrase.pieces);
            phrase.clear();
        }
        phrase.push(piece);
    });
    writer.phrase(&phrase.pieces);
    let mut captions = writer.finish();
    settle(&mut captions.slots, length);
    captions
}

/// Makes starts ascend, and limits all times to the audio.
fn order_times(piece: &mut Piece<'_>, end_of_all: u64, last_ms: &mut u64) {
    piece.start_ms = piece.start_ms.min(end_of_all).max(*last_ms);
    piece.end_ms = piece.end_ms.min(end_of_all).max(piece.start_ms);
    *last_ms = piece.start_ms;
}

/// The text between two pauses.
#[derive(Default)]
struct Phrase<'t> {
    pieces: Vec<Piece<'t>>,
    said_until: u64,
}

impl<'t> Phrase<'t> {
    /// Whether it ends before `next`: at pauses, at changes of speaker, and at ends of sentences, unless the text so far is too
    /// short for a cue of its own.
    fn ends_before(&self, next: &Piece<'_>) -> bool {
        let (Some(first), Some(before)) = (self.pieces.first(), self.pieces.last()) else { return false };
        let stops = next.speaker != before.speaker || next.start_ms.saturating_sub(self.said_until) > PAUSE_MS;
        let rests = (next.opens || ends_sentence(before.text)) && self.said_until - first.start_ms >= MIN_MS;
        stops || rests
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

/// Makes cues from phrases.
struct Writer<'t> {
    labels: bool,
    most: usize,
    /// The speaker of the previous phrase, if there was one.
    before: Option<Option<u32>>,
    /// The newest cue, which takes the remaining text once no more cues are possible.
    pending: Option<(Vec<Piece<'t>>, Cut)>,
    captions: Captions,
}

impl<'t> Writer<'t> {
    fn phrase(&mut self, pieces: &[Piece<'t>]) {
        let Some(first) = pieces.first() else { return };
        let speaker = first.speaker;
        let turn = speaker.is_some() && self.before != Some(speaker);
        self.before = Some(speaker);
        let label = if self.labels && turn { speaker.map_or(0, label_columns) } else { 0 };
        let mut cuts = Vec::new();
        divide(pieces, Cut { range: 0..pieces.len(), turn, label }, &mut cuts);
        for cut in cuts {
            let said = &pieces[cut.range.clone()];
            match &mut self.pending {
                Some((last, _)) if self.captions.slots.len() + 1 >= self.most => last.extend(said),
                _ => {
                    self.write_pending();
                    self.pending = Some((said.to_vec(), cut));
                }
            }
        }
    }

    fn write_pending(&mut self) {
        let Some((pieces, cut)) = self.pending.take() else { return };
        let text = &mut self.captions.text;
        text.push_str(&lines(&pieces, cut.label).join("\n"));
        self.captions.slots.push(Slot {
            start_ms: pieces[0].start_ms,
            end_ms: pieces.iter().map(|p| p.end_ms).max().unwrap_or(0),
            speaker: pieces[0].speaker,
            turn: cut.turn,
            text_end: text.len(),
        });
    }

    fn finish(mut self) -> Captions {
        self.write_pending();
        self.captions
    }
}

/// The pieces of a future cue.
struct Cut {
    range: Range<usize>,
    turn: bool,
    label: usize,
}

fn label_columns(speaker: u32) -> usize {
    speaker_name(speaker).width() + 2
}

/// Halves what is too long for one cue until each half fits.
fn divide(pieces: &[Piece<'_>], cut: Cut, cuts: &mut Vec<Cut>) {
    let said = &pieces[cut.range.clone()];
    let lasts = said.iter().map(|p| p.end_ms).max().unwrap_or(0).saturating_sub(said[0].start_ms);
    if said.len() < 2 || (lasts <= MAX_MS && fit(said, cut.label)) {
        cuts.push(cut);
        return;
    }
    let middle = cut.range.start + middle(said);
    divide(pieces, Cut { range: cut.range.start..middle, ..cut }, cuts);
    divide(pieces, Cut { range: middle..cut.range.end, turn: false, label: 0 }, cuts);
}

/// The best place to cut near the middle: after a comma, or at a pause.
fn middle(said: &[Piece<'_>]) -> usize {
    let all = width(said).max(said.len());
    let (mut left, mut best) = (0, (u64::MAX, 1));
    for at in 1..said.len() {
        left += said[at - 1].columns().max(1) + usize::from(!said[at].glued);
        let off = (2 * left).abs_diff(all) as u64 * 100 / all as u64;
        let breath = said[at].start_ms.saturating_sub(said[at - 1].end_ms).min(PAUSE_MS) / 30;
        let clause = if ends_clause(said[at - 1].text) { 0 } else { 30 };
        let inside_word = if said[at].glued { 10 } else { 0 };
        let cost = off + clause + inside_word + (20 - breath) + if off > 50 { 100 } else { 0 };
        best = best.min((cost, at));
    }
    best.1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        domain::transcript::{TimedText, Timeline},
        render::{
            pieces::{MAX_COLUMNS, TimedSource, fullest, letters},
            tests::timed_text,
        },
    };

    fn texts(transcript: &Transcript) -> Vec<String> {
        captions(transcript, false).iter().map(|c| c.text.replace('\n', " / ")).collect()
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
        let captions = captions(&t, false);
        let cues: Vec<_> = captions.iter().collect();
        assert_eq!(cues.iter().map(|c| c.turn).collect::<Vec<_>>(), [true, true, false, false]);
        assert_eq!((cues[1].start_ms, cues[1].end_ms), (1200, 2200), "stretched to a second, where there is room");
    }

    #[test]
    fn a_word_longer_than_two_lines_is_broken() {
        let t = Transcript { words: timed_text(&[(&"x".repeat(200), 0, 4000, None)]), ..Transcript::default() };
        let cues = captions(&t, false);
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
        let captions = captions(&t, false);
        let cues: Vec<_> = captions.iter().collect();
        assert_eq!(texts(&t), ["One sentence here.", "And another one there."]);
        assert_eq!((cues[0].start_ms, cues[1].end_ms), (0, 6000));
        assert!(super::captions(&Transcript::from_log("No length at all.", None), false).iter().next().is_some());
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
            let captions = captions(&t, labels);
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
                    let label = cue.speaker.filter(|_| labels && cue.turn).map_or(0, label_columns);
                    let lines: Vec<_> = cue.text.lines().collect();
                    prop_assert!(lines.len() <= 2 && lines[0].width() + label <= MAX_COLUMNS + 2, "{cue:?}");
                    prop_assert!(lines.iter().all(|line| line.width() <= MAX_COLUMNS + 2), "{cue:?}");
                }
            }
        }
    }
}
