//! The pass as a whole, over recordings of the sandbox's voices.
#![expect(clippy::print_stderr, reason = "a test that measures prints what it measured")]

use std::{fs, path::PathBuf};

use super::*;
use crate::{
    domain::{
        cuts::Cuts,
        hearing::{Stretch, union},
    },
    sandbox::fixtures::{Leak, Line, Random, Recording, Script, ScriptSound, ScriptWord, Sound, heard_in},
};

const NEVER: &dyn Fn() -> bool = &|| false;

/// A file that is gone with the test.
struct File {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn file(name: &str, bytes: &[u8]) -> File {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    File { _dir: dir, path }
}

const TURNS: [&str; 10] = [
    "Good morning, this is the service desk, how may I help you today?",
    "Hello, I call about my order from last week, it did not arrive.",
    "I am sorry to hear that. May I have the order number please?",
    "Yes, it is 4711, and my name is Brown.",
    "Thank you, one moment please, I look it up.",
    "No problem, take your time.",
    "I see it here, it was sent on Monday and it is in your town now.",
    "Then when will it be here?",
    "Tomorrow before noon, I am quite sure of that.",
    "Fine, thank you very much, goodbye!",
];

/// A call between two sides: turns one after another, some with a pause, some over each other's ends.
fn call(seed: u64, rate: u32, overlap: bool) -> Script {
    let mut random = Random::new(seed);
    let voices = [random.below(5) as usize, (random.below(4) + 1) as usize];
    let voices = [voices[0], (voices[0] + voices[1]) % 5];
    let mut at_ms = 300 + random.below(3_000);
    let mut lines = Vec::new();
    for (turn, words) in TURNS.iter().enumerate() {
        let channel = turn % 2;
        lines.push(Line {
            channel,
            at_ms,
            words: (*words).to_owned(),
            voice: voices[channel],
            gain_db: -3.0 * random.below(3) as f32,
        });
        let length = words.len() as u64 * 1_000_000 / 15 / 850;
        let pause = 200 + random.below(2_000);
        at_ms += if overlap && turn % 3 == 1 { length - 700 } else { length + pause };
    }
    Script { rate, lines, noise_db: Some(-62.0), ..Script::default() }
}

/// The samples of a file that [`convert`] made.
fn samples_of(wav: &[u8]) -> Vec<f32> {
    wav[44..].as_chunks::<2>().0.iter().map(|bytes| f32::from(i16::from_le_bytes(*bytes)) / 32_768.0).collect()
}

/// What a sandbox hears when one side is sent as it should be: its own speech.
fn side(path: &Path, hearing: &Hearing, channel: usize) -> Vec<ScriptWord> {
    let keep = hearing.channels[channel].segments.iter().filter(|segment| !segment.echo).copied();
    let pad = |segment: Segment| Stretch { from_ms: segment.from_ms.saturating_sub(60), to_ms: segment.to_ms + 60 };
    let cuts = Cuts::of_channel(Some(channel as u16 + 1), union(keep.map(pad)));
    let mut out = std::io::Cursor::new(Vec::new());
    if cuts.is_empty() || convert(path, &HearSettings::default(), &cuts, Target::Wav16k, &mut out, NEVER).is_err() {
        return Vec::new();
    }
    let mut words = heard_in(&samples_of(out.get_ref()), 16_000);
    for word in &mut words {
        let place = |ms| cuts.map().place(ms).expect("something was sent").source_ms;
        (word.from_ms, word.to_ms) = (place(word.from_ms), place(word.to_ms));
        word.channel = channel;
    }
    words
}

/// Words said, of them found on their side at their time, words on a wrong side, begins of turns, of them found in time.
#[derive(Debug, Default)]
struct Score {
    said: usize,
    right: usize,
    wrong: usize,
    begins: usize,
    in_time: usize,
}

fn score(name: &str, script: &Script, recording: &Recording, total: &mut Score) -> Hearing {
    let file = file("call.wav", &recording.wav());
    let hearing = hear(&file.path, &HearSettings::default(), NEVER).unwrap();
    let mut own = Score::default();
    for channel in 0..2 {
        let heard = side(&file.path, &hearing, channel);
        let said: Vec<&ScriptWord> = recording.words.iter().filter(|word| word.channel == channel).collect();
        let is = |a: &ScriptWord, b: &ScriptWord| a.word == b.word && a.from_ms.abs_diff(b.from_ms) <= 80;
        own.said += said.len();
        own.right += said.iter().filter(|said| heard.iter().any(|heard| is(heard, said))).count();
        let other = recording.words.iter().filter(|word| word.channel != channel).collect::<Vec<_>>();
        own.wrong += heard
            .iter()
            .filter(|heard| !said.iter().any(|said| is(heard, said)))
            .filter(|heard| {
                // Where both speak at once, the other side's voice cannot be taken out.
                let both = said.iter().any(|said| said.from_ms < heard.to_ms + 300 && heard.from_ms < said.to_ms + 300);
                !both && other.iter().any(|other| other.word == heard.word)
            })
            .count();
    }
    for line in &script.lines {
        own.begins += 1;
        let begin = recording
            .words
            .iter()
            .find(|word| word.channel == line.channel && word.from_ms >= line.at_ms)
            .map(|word| word.from_ms);
        let segments = &hearing.channels[line.channel].segments;
        let near =
            |segment: &&Segment| !segment.echo && begin.is_some_and(|begin| segment.from_ms.abs_diff(begin) <= 80);
        own.in_time += usize::from(segments.iter().any(|segment| near(&segment)));
    }
    if own.right < own.said || own.wrong > 0 || own.in_time < own.begins {
        eprintln!("{name}: {own:?} {:?}", hearing.layout);
    }
    total.said += own.said;
    total.right += own.right;
    total.wrong += own.wrong;
    total.begins += own.begins;
    total.in_time += own.in_time;
    hearing
}

/// Which of the layouts are tried: without optimization, all of them would take minutes.
const EVERY: usize = if cfg!(debug_assertions) { 5 } else { 1 };

#[test]
fn sides_are_told_apart_in_sixty_layouts() {
    let mut total = Score::default();
    let (mut layouts, mut seen) = (0, 0);
    let mut is_taken = || {
        seen += 1;
        seen % EVERY == 1 % EVERY
    };
    let mut run = |name: String, script: Script, telephone: bool| {
        let recording = script.record();
        let recording = if telephone { recording.by_telephone() } else { recording };
        layouts += 1;
        score(&name, &script, &recording, &mut total)
    };
    // Apart, swapped, with overlaps.
    for seed in 0..12 {
        if !is_taken() {
            continue;
        }
        let mut script = call(seed, [8_000, 16_000, 44_100][seed as usize % 3], seed % 2 == 1);
        if seed % 4 == 3 {
            script.lines.iter_mut().for_each(|line| line.channel = 1 - line.channel);
        }
        let hearing = run(format!("apart {seed}"), script, seed % 3 == 0);
        assert_eq!(hearing.layout, Layout::Apart { bleed: Vec::new() }, "{seed}");
    }
    // One side, and the other one silent, noisy or with tones and music.
    for seed in 0..12 {
        if !is_taken() {
            continue;
        }
        let mut script = call(100 + seed, [8_000, 16_000][seed as usize % 2], false);
        let speaks = seed as usize % 2;
        script.lines.retain(|line| line.channel == speaks);
        let sound = |sound, ms| vec![ScriptSound { channel: 1 - speaks, at_ms: 2_000, ms, db: -18.0, sound }];
        script.sounds = match seed / 2 {
            0 => sound(Sound::Music { seed, drums: true }, 30_000),
            1 => sound(Sound::Ring { tones: [440.0, 480.0], on_ms: 2_000, off_ms: 4_000 }, 24_000),
            2 => sound(Sound::Dtmf("123456".into()), 1_200),
            _ => Vec::new(),
        };
        if seed > 9 {
            script.leaks = vec![Leak { from: speaks, to: 1 - speaks, lag_ms: 40.0, db: -14.0 }];
        }
        let hearing = run(format!("one {seed}"), script, seed % 2 == 0);
        assert_eq!(hearing.layout, Layout::OneSided { speaks }, "{seed} {:?}", hearing.channels);
    }
    // Leaks in one direction or both.
    for (at, db) in [-3.0, -6.0, -9.0, -12.0, -16.0, -20.0].into_iter().enumerate() {
        for (n, lag_ms) in [5.0, 20.0, 35.0, 60.0, 90.0, 120.0].into_iter().enumerate() {
            if !is_taken() {
                continue;
            }
            let seed = 200 + at as u64 * 6 + n as u64;
            let mut script = call(seed, [8_000, 16_000][n % 2], n == 4);
            let from = (at + n) % 2;
            script.leaks = vec![Leak { from, to: 1 - from, lag_ms, db }];
            if n == 5 {
                script.leaks.push(Leak { from: 1 - from, to: from, lag_ms: 30.0, db: -10.0 });
            }
            let leaks = script.leaks.clone();
            let hearing = run(format!("leak {db} dB {lag_ms} ms"), script, n % 2 == 0);
            let Layout::Apart { bleed } = &hearing.layout else { panic!("{:?}", hearing.layout) };
            for leak in leaks {
                let found = bleed.iter().find(|bleed| bleed.from == leak.from);
                let is_found = found.is_some_and(|found| {
                    (found.lag_ms - leak.lag_ms).abs() < 2.0 && (found.level_db - leak.db).abs() < 3.0
                });
                assert!(is_found, "{leak:?} {bleed:?}");
            }
        }
    }
    eprintln!("{layouts} layouts: {total:?}");
    assert_eq!(layouts, 60 / EVERY);
    assert!(total.right * 1_000 >= total.said * 995 && total.wrong * 1_000 <= total.said * 5, "{total:?}");
    assert!(total.in_time * 100 >= total.begins * 99, "{total:?}");
}
