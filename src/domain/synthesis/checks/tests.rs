//! Which measures are suspect.

use super::*;

const TEXT: &str = "The quick brown fox jumps over the lazy dog, and then it sleeps.";

fn pace() -> Pace {
    Pace::of(TEXT, Some("en"), 1.0, 25.0)
}

/// Four seconds of good speech.
fn good() -> Measured {
    Measured {
        ms: 4_000,
        loudest_db: -12.0,
        level_db: -18.0,
        speech_ms: 3_200,
        silent_ms: 0,
        longest_silence: None,
        clipped_share: 0.0,
        clipped_at_ms: None,
        steady_share: 0.4,
        slope_spread_db: 4.0,
    }
}

fn part(measured: Measured) -> Option<HeardPart> {
    Some(HeardPart { ms: measured.ms, pace: pace(), measured: Some(measured) })
}

fn found(checks: &SpeechChecks, measured: Measured) -> Option<(SuspectReason, u64)> {
    let doubts = checks.judge(&[part(measured)]);
    assert!(doubts.len() <= 1, "{doubts:?}");
    doubts.first().map(|doubt| (doubt.reason, doubt.at_ms))
}

#[test]
fn each_kind_is_found_with_its_place_and_can_be_turned_off() {
    let silence = LongSilence { at_ms: 2_000, ms: 2_000 };
    let off = SpeechChecks {
        too_long: 0.0,
        silent: false,
        half_silent: 0.0,
        clipped: 0.0,
        constant_sound: false,
        level_jump_db: 0.0,
    };
    assert_eq!(found(&SpeechChecks::default(), good()), None);
    for (measured, reason, at_ms) in [
        (Measured { loudest_db: -70.0, ..good() }, SuspectReason::Silent, 0),
        (Measured { silent_ms: 2_000, longest_silence: Some(silence), ..good() }, SuspectReason::HalfSilent, 2_000),
        (Measured { clipped_share: 0.05, clipped_at_ms: Some(70), ..good() }, SuspectReason::Clipped, 70),
        (Measured { steady_share: 0.99, slope_spread_db: 0.2, ..good() }, SuspectReason::ConstantSound, 0),
        (Measured { slope_spread_db: 0.01, ..good() }, SuspectReason::ConstantSound, 0),
    ] {
        assert_eq!(found(&SpeechChecks::default(), measured), Some((reason, at_ms)), "{measured:?}");
        assert_eq!(found(&off, measured), None, "{measured:?}");
    }
    let long = Measured { ms: 30_000, ..good() };
    let most = pace().most_ms(SpeechChecks::default().too_long).unwrap();
    assert_eq!(found(&SpeechChecks::default(), long), Some((SuspectReason::TooLong, most)));
    assert_eq!(found(&off, long), None);
    assert_eq!(found(&SpeechChecks { too_long: 10.0, ..off }, long), None);
    let short = Measured { ms: 1_000, ..good() };
    assert_eq!(found(&off, short), Some((SuspectReason::TooShort, 0)), "max_chars_per_second has its own switch");
}

#[test]
fn silence_that_leaves_no_time_for_the_text_is_suspect_however_short() {
    let silence = |ms| Some(LongSilence { at_ms: 0, ms });
    let short = Measured { ms: 2_900, silent_ms: 800, longest_silence: silence(800), ..good() };
    assert_eq!(found(&SpeechChecks::default(), short).map(|found| found.0), Some(SuspectReason::HalfSilent));
    let pause = Measured { silent_ms: 1_000, longest_silence: silence(1_000), ..good() };
    assert_eq!(found(&SpeechChecks::default(), pause), None, "a long pause is none");
}

#[test]
fn a_jump_is_blamed_on_the_part_that_differs_from_most() {
    let level = |level_db| part(Measured { level_db, ..good() });
    let jumps = |parts: &[Option<HeardPart>]| {
        let doubts = SpeechChecks::default().judge(parts);
        assert!(doubts.iter().all(|doubt| doubt.reason == SuspectReason::LevelJump));
        doubts.iter().map(|doubt| doubt.part).collect::<Vec<_>>()
    };
    let (usual, soft) = (level(-18.0), level(-33.0));
    assert_eq!(jumps(&[usual, usual, soft, usual]), [2]);
    assert_eq!(jumps(&[soft, usual, usual]), [0]);
    assert_eq!(jumps(&[usual, usual, soft]), [2]);
    assert_eq!(jumps(&[usual, None, soft]), [2], "the later one of two");
    assert_eq!(jumps(&[usual, level(-29.0), usual]), [0; 0], "11 dB are none");
    let word = part(Measured { level_db: -40.0, speech_ms: 200, ..good() });
    assert_eq!(jumps(&[usual, word, usual]), [0; 0], "one word may be a whisper");
    assert_eq!(jumps(&[soft]), [0; 0]);
}

#[test]
fn what_is_not_measured_is_judged_by_its_length_alone() {
    let part = |ms| Some(HeardPart { ms, pace: pace(), measured: None });
    let doubts = SpeechChecks::default().judge(&[part(4_000), None, part(100), part(60_000)]);
    let kinds: Vec<_> = doubts.iter().map(|doubt| (doubt.part, doubt.reason)).collect();
    assert_eq!(kinds, [(2, SuspectReason::TooShort), (3, SuspectReason::TooLong)]);
}
