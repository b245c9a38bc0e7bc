use proptest::prelude::*;

use super::*;
use crate::domain::cuts::pieces;

/// What is said: words with their times.
type Said = Vec<(String, u64, u64)>;

fn transcript(words: &[(String, u64, u64)]) -> Transcript {
    let text = words.iter().map(|word| word.0.as_str()).collect::<Vec<_>>().join(" ");
    let said = |(text, start_ms, end_ms): &(String, u64, u64)| (text.clone(), *start_ms, *end_ms);
    let words: Vec<_> = words.iter().map(said).collect();
    let timed = words.iter().map(|(text, start_ms, end_ms)| TimedText {
        text,
        start_ms: *start_ms,
        end_ms: *end_ms,
        speaker: None,
    });
    Transcript { words: timed.collect(), text, ..Transcript::default() }
}

/// What a recognizer hears of a piece: words that are cut by its edge are heard as something else, or not at all; times jitter.
fn hear(said: &Said, covers: Stretch, noise: &mut impl FnMut() -> u64) -> Answered {
    let mut heard = Said::new();
    for (word, start, end) in said {
        let (from, to) = ((*start).max(covers.from_ms), (*end).min(covers.to_ms));
        if from >= to {
            continue;
        }
        let is_whole = from == *start && to == *end;
        if !is_whole && noise().is_multiple_of(2) {
            continue;
        }
        let word = if is_whole { word.clone() } else { format!("{}~", &word[..1]) };
        let jitter = noise() % 60;
        heard.push((word, (from + jitter).min(to - 1), to.max(from + jitter + 1)));
    }
    heard.sort_by_key(|word| word.1);
    Answered { covers, said: transcript(&heard) }
}

fn joined(pieces: &[Answered]) -> (String, usize) {
    let stitched = Stitched::of(pieces);
    (stitched.whole.text, stitched.doubtful)
}

fn said(list: &[(&str, u64, u64)]) -> Said {
    list.iter().map(|&(word, from, to)| (word.to_owned(), from, to)).collect()
}

fn piece(from_ms: u64, to_ms: u64, words: &[(&str, u64, u64)]) -> Answered {
    Answered { covers: Stretch { from_ms, to_ms }, said: transcript(&said(words)) }
}

#[test]
fn a_word_that_the_edge_cuts_off_is_taken_from_the_other_piece() {
    let first = piece(0, 10_000, &[("so", 7_000, 7_300), ("the", 8_600, 8_900), ("ware", 9_700, 10_000)]);
    let second = piece(8_000, 20_000, &[("a", 8_000, 8_100), ("the", 8_620, 8_900), ("warehouse,", 9_650, 10_300)]);
    assert_eq!(joined(&[first, second]), ("so the warehouse,".into(), 0));
}

#[test]
fn a_word_that_comes_twice_is_found_by_its_time() {
    let first = piece(0, 10_000, &[("no", 8_300, 8_500), ("no", 8_700, 8_900), ("no", 9_100, 9_300)]);
    let second = piece(8_000, 20_000, &[("no", 8_690, 8_900), ("no", 9_120, 9_300), ("no", 10_400, 10_600)]);
    assert_eq!(joined(&[first, second]).0, "no no no no");
}

#[test]
fn two_pieces_without_a_common_word_are_joined_between_words() {
    let first = piece(0, 10_000, &[("ship", 8_500, 8_900), ("it", 9_200, 9_400)]);
    let second = piece(8_000, 20_000, &[("chip", 8_520, 8_900), ("its", 9_210, 9_420), ("now", 10_100, 10_300)]);
    let (text, doubtful) = joined(&[first, second]);
    assert_eq!((text.split(' ').count(), doubtful), (3, 1), "{text}");
    // One of the two has a word at the joint that the other one has just before or after it.
    let first = piece(0, 10_000, &[("ship", 8_800, 9_160)]);
    let second = piece(8_000, 20_000, &[("chip", 8_860, 9_180), ("now", 10_100, 10_300)]);
    assert_eq!(joined(&[first, second]).0.split(' ').count(), 2);
    let first = piece(0, 10_000, &[("ship", 8_860, 9_180)]);
    let second = piece(8_000, 20_000, &[("chip", 8_800, 9_160), ("now", 10_100, 10_300)]);
    assert_eq!(joined(&[first, second]).0.split(' ').count(), 2);
}

#[test]
fn silence_at_a_joint_is_no_doubt() {
    let first = piece(0, 10_000, &[("one", 1_000, 1_300)]);
    let second = piece(8_000, 20_000, &[("two", 15_000, 15_300)]);
    assert_eq!(joined(&[first, second]), ("one two".into(), 0));
    let nothing = piece(8_000, 20_000, &[]);
    let third = piece(18_000, 30_000, &[("three", 25_000, 25_300)]);
    assert_eq!(joined(&[piece(0, 10_000, &[("one", 1_000, 1_300)]), nothing, third]), ("one three".into(), 0));
}

#[test]
fn texts_without_times_are_joined_where_they_are_the_same() {
    let of = |from_ms, to_ms, text: &str| Answered {
        covers: Stretch { from_ms, to_ms },
        said: Transcript { text: text.into(), ..Transcript::default() },
    };
    let (a, b) = (of(0, 10_000, "we send it to the ware"), of(8_000, 20_000, "a to the warehouse, today."));
    assert_eq!(joined(&[a, b]), ("we send it to the warehouse, today.".into(), 0));
    let (a, b) = (of(0, 10_000, "we send it"), of(8_000, 20_000, "today."));
    assert_eq!(joined(&[a, b]), ("we send it today.".into(), 1));
    let (a, b) = (of(0, 10_000, "we send it"), of(8_000, 20_000, ""));
    assert_eq!(joined(&[a, b]), ("we send it".into(), 0));
}

#[test]
fn the_text_keeps_what_is_written_around_its_words() {
    let mut first = piece(0, 10_000, &[("well", 7_000, 7_300), ("the", 8_600, 8_900), ("way", 9_300, 9_500)]);
    first.said.text = "Well: the “way” — ".into();
    first.said.words = said(&[("Well", 7_000, 7_300), ("the", 8_600, 8_900), ("way", 9_300, 9_500)])
        .iter()
        .map(|(text, start_ms, end_ms)| TimedText { text, start_ms: *start_ms, end_ms: *end_ms, speaker: None })
        .collect();
    let second = piece(8_000, 20_000, &[("the", 8_600, 8_900), ("way", 9_300, 9_500), ("home.", 10_100, 10_600)]);
    assert_eq!(joined(&[first, second]).0, "Well: the way home.");
}

#[test]
fn an_utterance_that_crosses_a_joint_is_there_once() {
    let speak = |answered: &mut Answered, list: &[(&str, u64, u64, u32)]| {
        for &(text, start_ms, end_ms, speaker) in list {
            answered.said.utterances.push(TimedText { text, start_ms, end_ms, speaker: Some(speaker) });
        }
        let speaker_at = |ms| list.iter().find(|u| u.1 <= ms && ms < u.2).map(|u| u.3);
        answered.said.words =
            answered.said.words.iter().map(|word| TimedText { speaker: speaker_at(word.start_ms), ..word }).collect();
    };
    let mut first = piece(
        0,
        10_000,
        &[("hello", 7_000, 7_300), ("we", 8_400, 8_600), ("are", 8_700, 8_900), ("he", 9_800, 10_000)],
    );
    speak(&mut first, &[("hello", 7_000, 7_400, 0), ("we are he", 8_400, 10_000, 1)]);
    let mut second = piece(8_000, 20_000, &[("are", 8_700, 8_900), ("here", 9_800, 10_200), ("good", 12_000, 12_300)]);
    speak(&mut second, &[("are here", 8_000, 10_300, 0), ("good", 12_000, 12_400, 1)]);
    let stitched = Stitched::of(&[first, second]);
    let heard: Vec<_> = stitched.whole.utterances.iter().map(|said| (said.text.to_owned(), said.speaker)).collect();
    let expected =
        [("hello", 0), ("we are", 1), ("here", 1), ("good", 2)].map(|(text, of)| (text.to_owned(), Some(of)));
    assert_eq!(heard, expected);
    assert!(stitched.has_new_speakers, "nobody knows whether the second one of the second piece was there before");
    assert_eq!(stitched.whole.words.iter().map(|word| word.speaker.unwrap()).collect::<Vec<_>>(), [0, 1, 1, 1, 2]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is said and wherever it is cut: each word is there, once.
    #[test]
    fn nothing_is_lost_or_doubled(
        list in proptest::collection::vec((0u64..6, 120u64..700, 0u64..900), 300..900), seed in any::<u64>()
    ) {
        let names = ["yes", "no", "the", "warehouse", "and", "delivery"];
        let mut at = 0;
        let words: Said = list.iter().map(|&(name, len, pause)| {
            let from = at + if pause < 600 { pause / 10 } else { pause };
            at = from + len;
            (names[name as usize].to_owned(), from, at)
        }).collect();
        let mut state = seed | 1;
        let mut noise = || { state ^= state << 13; state ^= state >> 7; state ^= state << 17; state };
        let heard: Vec<_> = pieces(at, 60_000).into_iter().map(|covers| hear(&words, covers, &mut noise)).collect();
        let stitched = Stitched::of(&heard);
        let expected: Vec<_> = words.iter().map(|word| word.0.as_str()).collect();
        prop_assert_eq!(stitched.whole.words.iter().map(|word| word.text.to_owned()).collect::<Vec<_>>(), &*expected);
        prop_assert_eq!(stitched.whole.text, expected.join(" "));
        prop_assert_eq!(stitched.doubtful, 0);
    }
}
