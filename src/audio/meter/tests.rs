//! Sounds whose measures are known.
#![expect(clippy::print_stderr, reason = "a test says that it was skipped")]

use std::{f32::consts::TAU, fs::File};

use super::*;
use crate::audio::{Joiner, wav};
use crate::domain::{
    synthesis::{HeardPart, Pace, SpeechChecks},
    synthesis_options::AudioFormat,
};

const RATE: SampleRate = SampleRate::Hz16000;

fn measure(samples: &[i16]) -> Measured {
    let mut meter = Meter::new(RATE);
    // In pieces of any length, as a stream has them.
    samples.chunks(777).for_each(|piece| meter.push(piece));
    meter.finish()
}

/// Syllables of a voice: a tone that swells, another one each time.
fn voice(seconds: f32, amplitude: f32) -> Vec<i16> {
    let at = |n: usize| {
        let time = n as f32 / 16_000.0;
        let pitch = 120.0 + 400.0 * ((time * 5.0).floor() * 0.37).fract();
        (amplitude * (TAU * time * 2.5).sin().abs() * (TAU * pitch * time).sin()) as i16
    };
    (0..(seconds * 16_000.0) as usize).map(at).collect()
}

fn tone(seconds: f32, amplitude: f32) -> Vec<i16> {
    (0..(seconds * 16_000.0) as usize).map(|n| (amplitude * (n as f32 * 0.3).sin()) as i16).collect()
}

#[test]
fn length_and_level() {
    let measured = measure(&tone(2.0, 32_767.0));
    assert_eq!(measured.ms, 2_000);
    assert!((measured.level_db + 3.0).abs() < 0.2, "a sine has half the power of its peak: {measured:?}");
    let soft = measure(&tone(2.0, 3_276.7));
    assert!((measured.level_db - soft.level_db - 20.0).abs() < 0.3, "{soft:?}");
    let half = measure(&[tone(1.0, 32_767.0), vec![0; 16_000]].concat());
    assert!((half.level_db - measured.level_db).abs() < 0.2, "pauses are no part of the level: {half:?}");
    assert_eq!((measure(&[]).ms, measure(&[5; 100]).ms), (0, 6));
}

#[test]
fn silences_have_their_place_and_length() {
    let pause = |seconds: f32| vec![3; (seconds * 16_000.0) as usize];
    let measured =
        measure(&[voice(1.0, 9_000.0), pause(0.3), voice(1.0, 9_000.0), pause(1.5), voice(0.5, 9_000.0)].concat());
    let longest = measured.longest_silence.unwrap();
    assert!(longest.at_ms.abs_diff(2_300) <= 40 && longest.ms.abs_diff(1_500) <= 60, "{longest:?}");
    assert!(measured.silent_ms.abs_diff(1_500) <= 60, "a breath is no long silence: {measured:?}");
    // Noise is silence as well where the speech is much louder.
    let noise: Vec<i16> = (0..24_000).map(|n: i32| (n.wrapping_mul(7_919) % 61 - 30) as i16).collect();
    assert!(measure(&[voice(2.0, 9_000.0), noise].concat()).silent_ms >= 1_400);
    assert_eq!(measure(&voice(3.0, 9_000.0)).longest_silence, None);
    let silent = measure(&[0; 32_000]);
    assert!(silent.loudest_db < -90.0 && silent.silent_ms == 2_000);
}

#[test]
fn flat_tops_are_counted_at_any_level_that_is_loud() {
    let clipped = |gain: f32, scale: f32| -> Vec<i16> {
        let loud = |sample: i16| (f32::from(sample) * gain).clamp(-32_768.0, 32_767.0) * scale;
        voice(2.0, 20_000.0).into_iter().map(|sample| loud(sample) as i16).collect()
    };
    assert!(measure(&clipped(1.0, 1.0)).clipped_share < 0.002);
    let hard = measure(&clipped(8.0, 1.0));
    assert!(hard.clipped_share > 0.2 && hard.clipped_at_ms.unwrap() < 200, "{hard:?}");
    assert!(measure(&clipped(8.0, 0.5)).clipped_share > 0.2, "made softer afterwards");
}

#[test]
fn a_constant_sound_has_neither_other_levels_nor_another_spectrum() {
    let constant = |measured: &Measured| (measured.steady_share > 0.9, measured.slope_spread_db < 0.9);
    let noise: Vec<i16> = (0..32_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 19) as i16 - 4_096).collect();
    let buzz: Vec<i16> = (0..32_000).map(|n| if n / 80 % 2 == 0 { 6_000 } else { -6_000 }).collect();
    for sound in [tone(2.0, 9_000.0), noise, buzz] {
        assert_eq!(constant(&measure(&sound)), (true, true), "{:?}", measure(&sound));
    }
    assert_eq!(constant(&measure(&voice(2.0, 9_000.0))), (false, false), "{:?}", measure(&voice(2.0, 9_000.0)));
}

#[test]
fn joining_measures_each_part_by_itself() {
    let bytes = |samples: &[i16]| samples.iter().flat_map(|sample| sample.to_le_bytes()).collect::<Vec<u8>>();
    let parts = [bytes(&voice(3.0, 9_000.0)), bytes(&[0; 16_000])];
    let mut joiner = Joiner::new(AudioFormat::Pcm, RATE);
    for part in &parts {
        joiner.part(part.as_slice()).unwrap();
        joiner.pause(500);
    }
    let mut file = Vec::new();
    let (joined, measured) = joiner.join_measured(AudioFormat::Ulaw, &mut file).unwrap();
    assert_eq!((file.len() as u64, joined.samples), (joined.bytes, 16_000 * 5));
    assert_eq!(measured, [Some(measure(&voice(3.0, 9_000.0))), Some(measure(&[0; 16_000]))]);
}

#[test]
fn files_are_measured_by_decoding_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp3");
    std::fs::write(&path, include_bytes!("../testdata/24k-tagged.mp3")).unwrap();
    let measured = measure_decoded(File::open(&path).unwrap(), SampleRate::Hz24000).unwrap();
    assert!((500..800).contains(&measured.ms) && measured.loudest_db > -60.0, "{measured:?}");
    assert_eq!(measure_decoded(File::open(&path).unwrap(), SampleRate::Hz8000), None, "another rate");
    std::fs::write(&path, wav::pcm16(1, 16_000, None, &voice(2.0, 9_000.0))).unwrap();
    assert_eq!(measure_decoded(File::open(&path).unwrap(), RATE), Some(measure(&voice(2.0, 9_000.0))));
    std::fs::write(&path, b"{}").unwrap();
    assert_eq!(measure_decoded(File::open(&path).unwrap(), RATE), None);
}

/// Voices of `espeak-ng`, the language by which their texts are judged, and a prompt and a sentence of each.
const VOICES: &[(&str, &str, [&str; 2])] = &[
    (
        "en",
        "en",
        ["Oh!", "For English, press 1. Otherwise, stay on the line: your code is 4 8 1 5, and it costs $1,499.99."],
    ),
    ("de", "de", ["Ja.", "Bitte bleiben Sie am Apparat, wir verbinden Sie mit dem nächsten freien Mitarbeiter."]),
    ("fr", "fr", ["Oui.", "Veuillez patienter, un conseiller va prendre votre appel dans quelques instants."]),
    ("es", "es", ["Sí.", "Espere un momento, por favor. Le atenderemos en breve."]),
    ("it", "it", ["Sì.", "Attendere prego, la chiamata sarà trasferita a un operatore."]),
    ("pt", "pt", ["Sim.", "Aguarde um momento, por favor, a sua chamada é importante para nós."]),
    ("nl", "nl", ["Ja.", "Een ogenblik geduld alstublieft, u wordt zo spoedig mogelijk geholpen."]),
    ("sv", "sv", ["Ja.", "Var god vänta, vi kopplar dig till nästa lediga medarbetare."]),
    ("pl", "pl", ["Tak.", "Proszę czekać, za chwilę połączymy z konsultantem."]),
    ("ru", "ru", ["Да.", "Пожалуйста, оставайтесь на линии, вам ответит первый освободившийся оператор."]),
    ("hi", "hi", ["नमस्ते", "कृपया प्रतीक्षा करें, आपकी कॉल हमारे लिए महत्वपूर्ण है।"]),
    ("ta", "ta", ["ஆம்.", "தயவுசெய்து காத்திருக்கவும், உங்கள் அழைப்பு எங்களுக்கு முக்கியம்."]),
    ("cmn", "zh", ["是的。", "请稍候，我们正在为您转接客服人员。"]),
    ("ko", "ko", ["네.", "잠시만 기다려 주십시오. 상담원을 연결해 드리겠습니다."]),
    ("ar", "ar", ["نعم.", "يرجى الانتظار، مكالمتك مهمة بالنسبة لنا."]),
    ("vi", "vi", ["Vâng.", "Xin vui lòng giữ máy, cuộc gọi của quý khách rất quan trọng."]),
];

/// Speech of `espeak-ng` at 24,000 Hz; `None` if it cannot be had.
fn espeak(voice: &str, words_a_minute: &str, text: &str) -> Option<Vec<i16>> {
    let args = ["-v", voice, "-s", words_a_minute, "--stdout", text];
    let out = std::process::Command::new("espeak-ng").args(args).output().ok()?;
    let said: Vec<i16> = out.stdout.get(44..)?.chunks_exact(2).map(|s| i16::from_le_bytes([s[0], s[1]])).collect();
    // Its voices speak at 22,050 Hz.
    let at = |n: usize| {
        let at = n as f32 * 22_050.0 / 24_000.0;
        let (from, part) = (at as usize, at.fract());
        let next = *said.get(from + 1).unwrap_or(&said[from]);
        (f32::from(said[from]) * (1.0 - part) + f32::from(next) * part) as i16
    };
    let count = said.len() * 24_000 / 22_050;
    Some((0..count.saturating_sub(1)).map(at).collect())
}

#[test]
fn speech_of_a_synthesizer_is_not_doubted() {
    if espeak("en", "160", "Hello.").is_none_or(|said| said.is_empty()) {
        eprintln!("skipped: there is no espeak-ng here");
        return;
    }
    for (voice, language, texts) in VOICES {
        for text in texts {
            for (words_a_minute, speed) in [("160", 1.0), ("80", 0.5), ("320", 2.0)] {
                let Some(said) = espeak(voice, words_a_minute, text) else { continue };
                let mut meter = Meter::new(SampleRate::Hz24000);
                meter.push(&said);
                let measured = meter.finish();
                let pace = Pace::of(text, Some(language), speed, 25.0);
                let part = HeardPart { ms: measured.ms, pace, measured: Some(measured) };
                assert_eq!(SpeechChecks::default().judge(&[Some(part)]), [], "{text}: {measured:?}");
            }
        }
    }
}
