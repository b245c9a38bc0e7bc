//! Captions as a player reads them: blocks with times, in order, not overlapping, within the audio; and no text that makes a
//! block of its own.

use proptest::{collection::vec, prelude::*};

use super::{captions, render, synthesis_captions};
use crate::domain::{
    body::Body,
    cut::{SentenceRules, cut},
    options::TranscriptFormat,
    synthesis::{CaptionFile, Span, timed_sentences},
    transcript::{TimedText, Timeline, Transcript},
};

/// Start, end, and the lines of a block.
type Block = (u64, u64, Vec<String>);

/// A strict reader: empty lines separate blocks, and each block is a line of times (in SRT after its number) and text.
fn blocks(file: &str, srt: bool) -> Vec<Block> {
    let body = if srt { file } else { file.strip_prefix("WEBVTT\n\n").expect("its first line") };
    let mut blocks = Vec::new();
    for (nth, block) in body.split("\n\n").filter(|block| !block.is_empty()).enumerate() {
        let mut lines = block.lines();
        if srt {
            assert_eq!(lines.next().expect("a number"), (nth + 1).to_string());
        }
        let times = lines.next().expect("a line of times");
        let (start, end) = times.split_once(" --> ").unwrap_or_else(|| panic!("no times: {block:?}"));
        let text: Vec<String> = lines.map(str::to_owned).collect();
        assert!(!text.is_empty() && text.iter().all(|line| !line.contains("-->")), "{block:?}");
        blocks.push((moment(start, srt), moment(end, srt), text));
    }
    blocks
}

fn moment(text: &str, srt: bool) -> u64 {
    let (seconds, ms) = text.split_once(if srt { ',' } else { '.' }).expect("thousandths");
    let fields: Vec<u64> = seconds.split(':').map(|field| field.parse().expect("digits")).collect();
    let [hours, minutes, seconds] = fields[..] else { panic!("{text}") };
    assert!(minutes < 60 && seconds < 60 && ms.len() == 3, "{text}");
    ((hours * 60 + minutes) * 60 + seconds) * 1_000 + ms.parse::<u64>().expect("digits")
}

fn ordered_and_inside(blocks: &[Block], length: Option<u64>) {
    let mut last_end = 0;
    for (start, end, text) in blocks {
        assert!(*start >= last_end && end > start, "{start}–{end} {text:?} after {last_end}");
        last_end = *end;
    }
    assert!(length.is_none_or(|length| last_end <= length), "{last_end} of {length:?}");
}

fn timed_text() -> impl Strategy<Value = Timeline> {
    let text = prop_oneof![
        3 => "[a-zA-Z]{1,9}[.,?]?",
        1 => "[a-z0-9<>&\n\r -]{1,30}",
        1 => "[1-9]\n\n00:00:0[0-9],000 --> 00:00:09,000\nx",
        1 => any::<String>(),
    ];
    let one = (text, 0u64..4_000_000, 0u64..9_000, proptest::option::of(0u32..3))
        .prop_map(|(text, start_ms, long, speaker)| (text, start_ms, start_ms + long, speaker));
    vec(one, 0..30).prop_map(|mut list| {
        list.sort_by_key(|(_, start_ms, ..)| *start_ms);
        let mut timeline = Timeline::default();
        for (text, start_ms, end_ms, speaker) in list.iter().filter(|(text, ..)| !text.trim().is_empty()) {
            timeline.push(TimedText { text, start_ms: *start_ms, end_ms: *end_ms, speaker: *speaker });
        }
        timeline
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn transcripts(utterances in timed_text(), duration_ms in proptest::option::of(1u64..5_000_000)) {
        let t = Transcript { utterances, duration_ms, ..Transcript::default() };
        for (format, srt) in [(TranscriptFormat::Srt, true), (TranscriptFormat::Vtt, false)] {
            let (file, _) = render(format, &t, &Body::from(""), SentenceRules::default()).unwrap();
            let found = blocks(std::str::from_utf8(&file).unwrap(), srt);
            ordered_and_inside(&found, None);
            let times: Vec<_> = found.iter().map(|(start, end, _)| (*start, *end)).collect();
            let cues: Vec<_> = captions(&t, srt, SentenceRules::default()).iter().map(|cue| (cue.start_ms, cue.end_ms)).collect();
            prop_assert_eq!(times, cues);
        }
    }

    #[test]
    fn synthesis(text in "([a-zA-Z]{1,12}[.,?!]? |[你好世界。，]{1,9}|\n\n|--> ){1,60}", lengths in vec(0u64..20_000, 60), limit in 5usize..80) {
        let parts = cut(&text, limit, SentenceRules::default());
        let mut at = 0;
        let spans: Vec<_> = parts.iter().zip(lengths.iter().cycle()).map(|(part, length)| {
            let span = Span { start_ms: at, end_ms: at + length };
            at = span.end_ms + 150;
            part.has_words().then_some(span)
        }).collect();
        let timed = timed_sentences(&parts, &spans, &[]);
        prop_assert!(timed.windows(2).all(|pair| pair[0].end_ms <= pair[1].start_ms), "{timed:?}");
        prop_assert!(timed.iter().all(|sentence| sentence.start_ms <= sentence.end_ms && sentence.end_ms <= at));
        for (format, srt) in [(CaptionFile::Srt, true), (CaptionFile::Vtt, false)] {
            let (file, _) = synthesis_captions(format, &timed, at, SentenceRules::default());
            let found = blocks(std::str::from_utf8(&file).unwrap(), srt);
            // If hundreds of sentences have no time at all, each gets a millisecond.
            ordered_and_inside(&found, (at > 5_000).then_some(at));
        }
    }
}
