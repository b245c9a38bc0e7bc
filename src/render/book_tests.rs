//! Captions of a text as long as a book, as words with times and as speech of parts: no cue ends after an abbreviation, none is
//! short that could be joined, and none is too fast without being counted.

use unicode_width::UnicodeWidthStr;

use super::{Captions, Cue, captions, pieces::MAX_COLUMNS};
use crate::domain::{
    cut::{SentenceRules, cut},
    synthesis::{Span, timed_sentences},
    transcript::{TimedText, Timeline, Transcript},
};

/// Sentences with what a book has: titles, initials, numbers, quotes, long and short ones.
const SENTENCES: &[&str] = &[
    "Mr. Hale met Mrs. Lowell at St. Pancras on the 3rd of May.",
    "“No.”",
    "“Wait!” cried Capt. J. R. Frost, who had come from Messrs. Thos. Cook & Son.",
    "See Vol. 3, pp. 12 and 13, or Fig. 4 of the report by Dr. A. B. Carter, Esq., of Philadelphia.",
    "It rained.",
    "Yes.",
    "The parcel, item no. 7, weighed 3.5 pounds, i.e. more than Wm. Penn and Prof. Lind had ever carried up the hill together.",
    "They sold pens, ink, paper, etc. and nothing else, for they knew nothing else.",
    "Why?",
    "He had lived in the U.S. since 1899; she, approx. five miles from Mt. Airy, in a house of brick.",
    "When we looked at the numbers again last week, we found that most of the calls had come in before noon, vs. none at night.",
    "“I never,” said Lt. Col. Brown, “saw Gen. Grant, nor did I wish to.”",
    "Oh!",
    "And then, without a word to anyone, she took her coat, her hat and the lamp, and walked down to the river in the dark.",
];
/// What no cue may end with.
const ABBREVIATIONS: &[&str] = &[
    "Mr.", "Mrs.", "St.", "Capt.", "J.", "R.", "Messrs.", "Thos.", "Vol.", "pp.", "Fig.", "Dr.", "A.", "B.", "no.",
    "i.e.", "Wm.", "Prof.", "etc.", "U.S.", "approx.", "Mt.", "vs.", "Lt.", "Col.", "Gen.",
];

/// A generator of numbers that is the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

fn book(words: usize, dice: &mut Dice) -> Vec<&'static str> {
    let (mut said, mut count) = (Vec::new(), 0);
    while count < words {
        let sentence = SENTENCES[usize::try_from(dice.below(SENTENCES.len() as u64)).unwrap()];
        count += sentence.split(' ').count();
        said.push(sentence);
    }
    said
}

/// Words as a recognizer times them: fast and slow speakers, pauses, also inside names.
fn spoken(sentences: &[&str], dice: &mut Dice) -> Transcript {
    let (mut words, mut at) = (Timeline::default(), 0);
    for sentence in sentences {
        let pace = 30 + dice.below(60);
        for text in sentence.split(' ') {
            let start_ms = at;
            at += (text.len() as u64 * pace).max(80);
            words.push(TimedText { text, start_ms, end_ms: at, speaker: None });
            at += if dice.below(12) == 0 { 700 + dice.below(2_000) } else { dice.below(90) };
        }
    }
    Transcript { text: sentences.join(" "), words, duration_ms: Some(at + 500), ..Transcript::default() }
}

/// The sentences of a text that was spoken part by part.
fn synthesized(sentences: &[&str], dice: &mut Dice) -> Transcript {
    let paragraphs: Vec<_> = sentences.chunks(9).map(|some| some.join(" ")).collect();
    let parts = cut(&paragraphs.join("\n\n"), 250, rules());
    let mut at = 0;
    let spans: Vec<_> = parts
        .iter()
        .map(|part| {
            let span = Span { start_ms: at, end_ms: at + part.chars() as u64 * (45 + dice.below(40)) };
            at = span.end_ms + if part.ends_paragraph { 600 } else { 0 };
            Some(span)
        })
        .collect();
    let timed = timed_sentences(&parts, &spans, &[]);
    let utterances = timed
        .iter()
        .map(|s| TimedText { text: &s.text, start_ms: s.start_ms, end_ms: s.end_ms, speaker: None })
        .collect();
    Transcript { utterances, duration_ms: Some(at), ..Transcript::default() }
}

fn rules() -> SentenceRules {
    SentenceRules::of(Some("en"))
}

fn check(captions: &Captions) {
    let cues: Vec<_> = captions.iter().collect();
    assert!(cues.len() > 5_000, "{}", cues.len());
    let mut fast = 0;
    for (at, cue) in cues.iter().enumerate() {
        let last = cue.text.split_whitespace().next_back().unwrap();
        assert!(!ABBREVIATIONS.contains(&last), "{cue:?}");
        assert!(cue.text.lines().count() <= 2 && cue.text.lines().all(|line| line.width() <= MAX_COLUMNS), "{cue:?}");
        let lasts = cue.end_ms - cue.start_ms;
        assert!(lasts <= 7_000, "{cue:?}");
        if lasts < 1_000 {
            assert!(at == 0 || !fit_in_one(&cues[at - 1], cue), "{:?} and {cue:?}", cues[at - 1]);
            assert!(cues.get(at + 1).is_none_or(|next| !fit_in_one(cue, next)), "{cue:?} and {:?}", cues[at + 1]);
        }
        let chars = cue.text.chars().filter(|c| *c != '\n').count() as u64;
        fast += usize::from(chars * 1_000 > 21 * lasts);
    }
    assert_eq!(captions.facts().fast_cues, fast);
    assert_eq!(captions.facts().mended_times, 0);
}

/// Whether two cues make one of two lines and seven seconds.
fn fit_in_one(first: &Cue<'_>, second: &Cue<'_>) -> bool {
    let words: Vec<_> = first.text.split_whitespace().chain(second.text.split_whitespace()).collect();
    let fits = |at: usize| words[..at].join(" ").width() <= MAX_COLUMNS && words[at..].join(" ").width() <= MAX_COLUMNS;
    second.end_ms - first.start_ms <= 7_000 && (0..words.len()).any(fits)
}

#[test]
fn a_book_that_was_heard() {
    let mut dice = Dice(16);
    let sentences = book(60_000, &mut dice);
    let transcript = spoken(&sentences, &mut dice);
    check(&captions(&transcript, false, rules()));
}

#[test]
fn a_book_that_was_spoken() {
    let mut dice = Dice(3);
    let sentences = book(60_000, &mut dice);
    let transcript = synthesized(&sentences, &mut dice);
    check(&captions(&transcript, false, rules()));
}
