//! The voice, heard again.
#![expect(clippy::print_stderr, reason = "a test says that it was skipped")]

use super::*;
use crate::{
    audio::{
        g711::{ulaw_decode, ulaw_encode},
        mp3,
    },
    domain::synthesis_options::{AudioFormat, SampleRate},
};

const TEXT: &str =
    "It was the best of times, it was the worst of times, it was the age of wisdom; \"Who?\" asked Mr. Brown in 1986.";

pub(super) fn spoken(text: &str, voice: usize, rate: SampleRate) -> Spoken<'_> {
    Spoken { text, band: Band::of(voice), seed: 7, rate, pace: 1_000, factor: 1.0, flaw: None }
}

fn samples(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|s| f32::from(i16::from_le_bytes([s[0], s[1]])) / 32_768.0).collect()
}

fn pcm(spoken: Spoken<'_>, table: &WordTable) -> Vec<f32> {
    samples(&Speech::new(spoken, table).encoded(AudioFormat::Pcm, ""))
}

fn text_of(words: &[HeardWord]) -> String {
    let mut text = String::new();
    for word in words {
        text.push_str(&word.word);
        text.push_str(if word.glued { "" } else { " " });
    }
    text.trim_end().to_owned()
}

fn words(samples: &[f32], rate: u32, table: &WordTable) -> Vec<HeardWord> {
    let mut listener = Listener::new(table, rate);
    for piece in samples.chunks(4_801) {
        if listener.push(piece).is_break() {
            return Vec::new();
        }
    }
    listener.finish()
}

pub(super) fn heard(samples: &[f32], rate: u32, table: &WordTable) -> String {
    text_of(&words(samples, rate, table))
}

#[test]
fn every_rate_and_voice_is_understood_also_by_another_sandbox() {
    for rate in SampleRate::ALL.iter().copied() {
        for voice in 0..5 {
            let own = WordTable::default();
            let said = pcm(spoken(TEXT, voice, rate), &own);
            assert_eq!(said.len() as u64, (TEXT.len() as u64 * u64::from(rate.hz()) + 7) / 15);
            assert_eq!(heard(&said, rate.hz(), &own), TEXT, "{rate:?}, {voice}");
            assert_eq!(heard(&said, rate.hz(), &WordTable::default()), TEXT, "{rate:?}, {voice}");
        }
    }
}

#[test]
fn other_scripts_are_understood_by_the_sandbox_that_spoke_them() {
    for text in [
        "Grüße aus Köln: 3.14 ist fast π, oder?",
        "कृपया प्रतीक्षा करें, आपकी कॉल हमारे लिए महत्वपूर्ण है।",
        "请稍候，我们正在为您转接客服人员。谢谢您的耐心等待。",
        "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft ist lang.",
    ] {
        let table = WordTable::default();
        let said = pcm(spoken(text, 1, SampleRate::Hz24000), &table);
        assert_eq!(heard(&said, 24_000, &table), text);
        assert!(heard(&said, 24_000, &WordTable::default()).contains("[unknown]"), "{text}");
    }
}

#[test]
fn fast_and_slow_speech_is_understood() {
    let table = WordTable::default();
    for pace in [500, 800, 1_250, 1_700, 2_000] {
        let said = pcm(Spoken { pace, ..spoken(TEXT, 2, SampleRate::Hz24000) }, &table);
        assert_eq!(heard(&said, 24_000, &table), TEXT, "{pace}");
    }
}

#[test]
fn short_prompts_are_understood() {
    let table = WordTable::default();
    for text in ["Yes.", "Hello.", "No, not you.", "Press 1.", "Goodbye!"] {
        let said = pcm(spoken(text, 3, SampleRate::Hz8000), &table);
        assert_eq!(heard(&said, 8_000, &table), text);
    }
}

#[test]
fn words_have_the_times_at_which_they_are_said() {
    let table = WordTable::default();
    let said = pcm(spoken(TEXT, 0, SampleRate::Hz16000), &table);
    let seconds = said.len() as f64 / 16_000.0;
    let words = words(&said, 16_000, &table);
    assert!(words.windows(2).all(|pair| pair[0].start < pair[0].end && pair[0].end <= pair[1].start));
    assert!(words[0].start < 0.1 && words.last().unwrap().end <= seconds + 0.01);
    // Each within a tenth of a second of its place in the text.
    let mut characters = 0;
    for word in &words {
        let due = characters as f64 / TEXT.len() as f64 * seconds;
        assert!((word.start - due).abs() < 0.35, "{word:?}, due at {due}");
        characters += word.word.len() + 1;
    }
}

#[test]
fn telephone_speech_and_other_rates_are_understood() {
    let table = WordTable::default();
    for voice in 0..5 {
        let said = pcm(spoken(TEXT, voice, SampleRate::Hz44100), &table);
        let phone = super::resample::resample(&said, 44_100.0, 8_000.0);
        let phone: Vec<f32> =
            phone.iter().map(|s| f32::from(ulaw_decode(ulaw_encode((s * 32_768.0) as i16))) / 32_768.0).collect();
        assert_eq!(heard(&phone, 8_000, &table), TEXT);
        for rate in [11_025, 22_050, 48_000] {
            let other = super::resample::resample(&said, 44_100.0, f64::from(rate));
            assert_eq!(heard(&other, rate, &table), TEXT, "{rate}");
        }
        let quiet: Vec<f32> = phone.iter().map(|s| s / 50.0).collect();
        assert_eq!(heard(&quiet, 8_000, &table), TEXT);
    }
}

#[test]
fn voices_at_once_stay_readable() {
    let table = WordTable::default();
    let texts = [
        TEXT,
        "We had everything before us, we had nothing before us, and so it went on for a while.",
        "Chapter one begins here, and it is a long one, with many words in it that nobody ever counted.",
    ];
    let voices: Vec<_> = [0, 1, 3]
        .iter()
        .zip(texts)
        .map(|(voice, text)| pcm(spoken(text, *voice, SampleRate::Hz24000), &table))
        .collect();
    let len = voices.iter().map(Vec::len).max().unwrap() + 7_000;
    let mix: Vec<f32> = (0..len)
        .map(|at| {
            (0..3)
                .map(|n| {
                    at.checked_sub(n * 3_333).and_then(|at| voices[n].get(at)).unwrap_or(&0.0) * (1.0 - 0.2 * n as f32)
                })
                .sum()
        })
        .collect();
    let words = words(&mix, 24_000, &table);
    for (voice, text) in [0, 1, 3].iter().zip(texts) {
        let own: Vec<_> = words.iter().filter(|word| word.band == Band::of(*voice)).cloned().collect();
        assert_eq!(text_of(&own), text);
    }
}

#[test]
fn nothing_is_heard_in_other_sounds() {
    let table = WordTable::default();
    let mut seed = 1;
    let mut noise = || {
        seed = crate::sandbox::faults::mix(seed);
        (seed % 2_001) as f32 / 1_000.0 - 1.0
    };
    let hiss: Vec<f32> = (0..80_000).map(|_| noise()).collect();
    let tone: Vec<f32> = (0..80_000).map(|n| (n as f32 * 0.7).sin()).collect();
    for sound in [hiss, tone, vec![0.0; 80_000], vec![]] {
        assert_eq!(heard(&sound, 8_000, &table), "");
    }
}

/// What `ffmpeg` makes of samples by encoding and decoding them; `None` if it cannot be had.
fn through(said: &[f32], rate: u32, encode: &[&str], format: &str) -> Option<Vec<f32>> {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let raw: Vec<u8> = said.iter().flat_map(|s| ((s * 32_768.0) as i16).to_le_bytes()).collect();
    std::fs::write(path("in.raw"), raw).unwrap();
    let run = |args: &[&str]| {
        let status = std::process::Command::new("ffmpeg").args(["-v", "error", "-y"]).args(args).status();
        status.is_ok_and(|status| status.success())
    };
    let (rate, encoded) = (rate.to_string(), path(&format!("coded.{format}")));
    let input = path("in.raw");
    let coded = run(&[&["-f", "s16le", "-ar", &rate, "-ac", "1", "-i", &input][..], encode, &[&encoded]].concat());
    coded.then(|| {
        assert!(run(&["-i", &encoded, "-f", "s16le", "-ac", "1", "-ar", &rate, &path("out.raw")]));
        samples(&std::fs::read(path("out.raw")).unwrap())
    })
}

#[test]
fn low_bit_rates_are_understood() {
    let table = WordTable::default();
    for (voice, rate) in [(0, SampleRate::Hz24000), (2, SampleRate::Hz44100), (4, SampleRate::Hz16000)] {
        let said = pcm(spoken(TEXT, voice, rate), &table);
        for (encode, format) in [
            (&["-c:a", "libmp3lame", "-b:a", "32k"][..], "mp3"),
            (&["-c:a", "aac", "-b:a", "32k"], "m4a"),
            (&["-ar", "8000", "-c:a", "pcm_mulaw"], "wav"),
            (&["-c:a", "libopus", "-b:a", "24k"], "opus"),
            (&["-ar", "8000", "-c:a", "libmp3lame", "-b:a", "16k"], "mp3"),
        ] {
            match through(&said, rate.hz(), encode, format) {
                Some(after) => assert_eq!(heard(&after, rate.hz(), &table), TEXT, "{voice} {encode:?}"),
                None => eprintln!("skipped: ffmpeg cannot encode {encode:?}"),
            }
        }
    }
}

#[test]
fn long_recordings_are_listened_to_in_pieces() {
    let table = WordTable::default();
    let mut said = vec![0.0; 8_000 * 7];
    for n in 0..18 {
        said.extend(pcm(Spoken { seed: n, ..spoken(TEXT, 3, SampleRate::Hz8000) }, &table));
    }
    assert_eq!(heard(&said, 8_000, &table), [TEXT; 18].join(" "));
    let times: Vec<f64> = words(&said, 8_000, &table).iter().map(|word| word.start).collect();
    let seconds = said.len() as f64 / 8_000.0;
    let jump = times.windows(2).find(|pair| pair[0] >= pair[1]);
    assert_eq!((jump, times[0] > 6.9), (None, true));
    assert!(times.last().unwrap() > &(seconds - 1.0), "{:?} of {seconds}", times.last());
}

#[test]
fn what_is_spoken_as_mp3_is_understood() {
    let table = WordTable::default();
    for rate in [SampleRate::Hz24000, SampleRate::Hz44100, SampleRate::Hz16000] {
        for voice in 0..5 {
            let file = Speech::new(spoken(TEXT, voice, rate), &table).encoded(AudioFormat::Mp3, "");
            let frames = (TEXT.len() * rate.hz() as usize).div_ceil(15 * mp3::samples_per_frame(rate) as usize);
            let (hz, said) = crate::audio::tests::decode(file);
            assert_eq!((hz, said.len()), (rate.hz(), frames * mp3::samples_per_frame(rate) as usize));
            let said: Vec<f32> = said.iter().map(|sample| f32::from(*sample) / 32_768.0).collect();
            assert_eq!(heard(&said, hz, &table), TEXT, "{rate}, {voice}");
        }
    }
}

#[test]
fn a_detector_of_voices_takes_it_for_speech() {
    let table = WordTable::default();
    let dir = tempfile::tempdir().unwrap();
    for rate in SampleRate::ALL.iter().copied() {
        for voice in 0..5 {
            for format in [AudioFormat::Wav, AudioFormat::Mp3] {
                let path = dir.path().join("speech");
                std::fs::write(&path, Speech::new(spoken(TEXT, voice, rate), &table).encoded(format, "")).unwrap();
                let heard = crate::audio::analyze::hear(&path, &Default::default(), &|| false).unwrap();
                let share = heard.speech_ms() as f64 / heard.length_ms as f64;
                assert!(share > 0.9, "{rate:?}, {voice}, {format:?}: {share} {:?}", heard.channels[0].tones);
            }
        }
    }
}
