//! How many bad speeches the checks find, and how often they doubt good ones.
#![expect(clippy::print_stderr, reason = "a test that measures prints what it measured")]

use super::{tests::spoken, *};
use crate::{
    audio::{Meter, g711::ulaw_decode},
    domain::{
        synthesis::{Doubt, HeardPart, Pace, SpeechChecks},
        synthesis_options::{AudioFormat, SampleRate},
        transcript::SuspectReason,
    },
    sandbox::faults::{SpeechFlaw, mix},
};

/// Speeches of each kind of flaw.
const SEEDED: u64 = 50;
/// Speeches without a flaw.
const HONEST: u64 = 1_000;

/// A text of 10 to 130 characters, another one for each seed.
fn text(seed: u64) -> String {
    const WORDS: &[&str] = &[
        "a",
        "the",
        "of",
        "and",
        "to",
        "I",
        "house",
        "river",
        "morning,",
        "nothing",
        "remembered",
        "door.",
        "Who",
        "asked?",
        "yesterday;",
        "between",
        "three",
        "children",
        "stood",
        "quietly",
        "1986",
        "impossible!",
        "it",
        "was",
        "Mr.",
        "Brown",
    ];
    let mut state = mix(seed);
    let least = 10 + state % 110;
    let mut text = String::new();
    while (text.len() as u64) < least {
        state = mix(state);
        text.push_str(WORDS[(state % WORDS.len() as u64) as usize]);
        text.push(' ');
    }
    text.trim_end().to_owned()
}

fn heard(spoken: Spoken<'_>, table: &WordTable) -> HeardPart {
    let speech = Speech::new(spoken, table);
    let mut meter = Meter::new(spoken.rate);
    let samples: Vec<i16> = speech
        .encoded(AudioFormat::Pcm, "")
        .chunks_exact(2)
        .map(|sample| i16::from_le_bytes([sample[0], sample[1]]))
        .collect();
    meter.push(&samples);
    let measured = meter.finish();
    let pace = Pace::of(spoken.text, Some("en"), f64::from(spoken.pace) / 1_000.0, 25.0);
    HeardPart { ms: measured.ms, pace, measured: Some(measured) }
}

fn doubts(parts: &[HeardPart]) -> Vec<Doubt> {
    let parts: Vec<_> = parts.iter().copied().map(Some).collect();
    SpeechChecks::default().judge(&parts)
}

/// Whether the flaw is found in the second of three parts, and nowhere else.
fn is_found(seed: u64, change: impl Fn(&mut Spoken<'_>), reason: SuspectReason, table: &WordTable) -> bool {
    let texts: Vec<String> = (0..3).map(|n| text(seed * 3 + n)).collect();
    let parts: Vec<HeardPart> = texts
        .iter()
        .enumerate()
        .map(|(n, text)| {
            let mut spoken = spoken(text, (seed % 5) as usize, SampleRate::Hz8000);
            if n == 1 {
                change(&mut spoken);
            }
            heard(spoken, table)
        })
        .collect();
    let doubts = doubts(&parts);
    doubts.len() == 1 && (doubts[0].part, doubts[0].reason) == (1, reason)
}

#[test]
fn seeded_bad_speech_is_found() {
    let table = WordTable::default();
    let flawed = |flaw| move |spoken: &mut Spoken<'_>| spoken.flaw = Some(flaw);
    let found = |reason, change: &dyn Fn(&mut Spoken<'_>)| {
        (0..SEEDED).filter(|seed| is_found(*seed, change, reason, &table)).count() as u64
    };
    let counts = [
        ("too long", found(SuspectReason::TooLong, &|spoken| spoken.factor = 4.0)),
        ("too short", found(SuspectReason::TooShort, &|spoken| spoken.factor = 0.5)),
        ("silent", found(SuspectReason::Silent, &flawed(SpeechFlaw::Silent))),
        ("half silent", found(SuspectReason::HalfSilent, &flawed(SpeechFlaw::HalfSilent))),
        ("clipped", found(SuspectReason::Clipped, &flawed(SpeechFlaw::Clipped))),
        ("constant sound", found(SuspectReason::ConstantSound, &flawed(SpeechFlaw::ConstantSound))),
        ("level jump", found(SuspectReason::LevelJump, &flawed(SpeechFlaw::Level(-14.0)))),
        // No check of the sound can know this: it is read back.
        ("other words", (0..SEEDED).filter(|seed| says_other_words(*seed, &table)).count() as u64),
    ];
    eprintln!("found of {SEEDED} each: {counts:?}");
    let all: u64 = counts.iter().map(|(_, found)| found).sum();
    assert!(all * 100 >= SEEDED * counts.len() as u64 * 98, "{counts:?}");
    assert!(counts.iter().all(|(_, found)| *found >= SEEDED * 9 / 10), "{counts:?}");
}

fn says_other_words(seed: u64, table: &WordTable) -> bool {
    let text = text(seed);
    let said = |flaw| {
        let spoken = Spoken { flaw, ..spoken(&text, (seed % 5) as usize, SampleRate::Hz8000) };
        let code = Speech::new(spoken, table).encoded(AudioFormat::Ulaw, "");
        let samples: Vec<f32> = code.iter().map(|code| f32::from(ulaw_decode(*code)) / 32_768.0).collect();
        super::tests::heard(&samples, 8_000, table)
    };
    said(None) == text && said(Some(SpeechFlaw::OtherWords)) != text
}

#[test]
fn honest_speech_is_not_doubted() {
    let table = WordTable::default();
    let mut doubted = Vec::new();
    for seed in 0..HONEST {
        let text = text(seed + 10_000);
        let rate = SampleRate::ALL[if seed % 10 == 0 { (seed / 10 % 4) as usize } else { 0 }];
        let pace = [500, 900, 1_000, 1_000, 1_300, 2_000][(seed % 6) as usize];
        let part = heard(Spoken { pace, seed, ..spoken(&text, (seed % 5) as usize, rate) }, &table);
        doubted.extend(doubts(&[part]).into_iter().map(|doubt| (text.clone(), doubt)));
    }
    eprintln!("doubted of {HONEST} good ones: {}", doubted.len());
    assert!(doubted.len() as u64 * 1_000 <= HONEST * 5, "{doubted:?}");
}

#[test]
fn short_prompts_are_not_doubted() {
    let table = WordTable::default();
    for text in ["A", "Yes.", "No", "Oh!", "1", "1986", "Hello.", "IBM", "Good morning.", "你好", "हाँ", "Ja"] {
        for rate in SampleRate::ALL.iter().copied() {
            for pace in [500, 1_000, 2_000] {
                let part = heard(Spoken { pace, ..spoken(text, 4, rate) }, &table);
                assert_eq!(doubts(&[part]), [], "{text}");
            }
        }
    }
}
