//! How many times faster than real time recordings are heard and converted, on one core, and the most memory.
//!
//! `cargo bench --bench hear`; further files are arguments, e.g. an MP3. Without any, calls of an hour are made: 8 kHz µ-law,
//! 16 kHz mono and 44.1 kHz stereo.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Instant,
};

use wavebatch::{
    audio::analyze::{HearSettings, Target, convert, hear},
    domain::cuts::Cuts,
    sandbox::fixtures::{Line, Script},
};

/// Turns of 6 s: an hour.
const TURNS: u64 = 600;
const WORDS: &str = "Good morning, this is the service desk, how may I help you today?";

fn main() {
    let files: Vec<PathBuf> = env::args().skip(1).filter(|arg| !arg.starts_with("--")).map(PathBuf::from).collect();
    if !files.is_empty() {
        files.iter().for_each(|path| measure(path));
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (rate, channels, name) in [(8_000, 1, "8k.ulaw"), (16_000, 1, "16k.wav"), (44_100, 2, "44k-stereo.wav")] {
        let path = dir.path().join(name);
        fs::write(&path, call(rate, channels)).expect("room for an hour of audio");
        measure(&path);
        fs::remove_file(&path).expect("it was written");
    }
}

/// A call of an hour.
fn call(rate: u32, channels: u16) -> Vec<u8> {
    let line = |n: u64| Line {
        channel: usize::try_from(n % u64::from(channels)).expect("few channels"),
        at_ms: n * 6_000,
        words: WORDS.into(),
        voice: usize::from(n % 2 == 1) * 3,
        gain_db: 0.0,
    };
    let lines = (0..TURNS).map(line).collect();
    let recording = Script { rate, channels, lines, noise_db: Some(-60.0), ..Script::default() }.record();
    if rate == 8_000 { recording.ulaw() } else { recording.wav() }
}

fn measure(path: &Path) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let settings = HearSettings::default();
    let began = Instant::now();
    let heard = match hear(path, &settings, &|| false) {
        Ok(heard) => heard,
        Err(error) => return println!("{name}: {error}"),
    };
    #[expect(clippy::cast_precision_loss, reason = "a length in seconds")]
    let seconds = heard.length_ms as f64 / 1_000.0;
    print!("{name}: {seconds:.0} s heard {:.0} times faster", seconds / began.elapsed().as_secs_f64());
    print!(", {} bytes kept", heard.to_bytes().len());
    for (target, format) in [(Target::Wav16k, "WAV"), (Target::Flac16k, "FLAC")] {
        let began = Instant::now();
        let mut out = tempfile::tempfile().expect("a temporary file");
        let made = convert(path, &settings, &Cuts::default(), target, &mut out, &|| false);
        let bytes = made.map_or(0, |made| made.bytes);
        print!(", to {format} {:.0} times faster ({bytes} bytes)", seconds / began.elapsed().as_secs_f64());
    }
    println!();
}
