//! Peak memory and speed of joining a chapter of two hours as a 44.1 kHz WAV file (635 MB) from 1,200 parts.
//!
//! `cargo bench --bench joining` (Linux: the peak is read from /proc). Needs 1.3 GB of disk where it is started.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::{
    fs::{self, File},
    time::Instant,
};

use wavebatch::{
    audio::{Joiner, verify, wav},
    domain::synthesis_options::{AudioFormat, SampleRate},
};

const PARTS: u32 = 1_200;
const RATE: SampleRate = SampleRate::Hz44100;
/// Two hours in all, with 400 ms after each part.
const PART_MS: u32 = 5_600;
const PAUSE_MS: u32 = 400;

fn main() {
    let dir = tempfile::tempdir_in(".").expect("a folder");
    let samples = RATE.hz() / 10 * (PART_MS / 100);
    for i in 0..PARTS {
        let mut file = File::create(dir.path().join(format!("{i:04}.wav"))).expect("a file");
        let sound = (0..samples as usize).map(|at| (at as u32).wrapping_mul(i + 1) as i16);
        wav::write_pcm16(&mut file, 1, RATE.hz(), None, sound).expect("a part");
    }
    let before = peak_kb();
    let begin = Instant::now();
    let mut joiner = Joiner::new(AudioFormat::Wav, RATE);
    for i in 0..PARTS {
        joiner.part(dir.path().join(format!("{i:04}.wav"))).expect("a good part");
        joiner.pause(PAUSE_MS);
    }
    let checked = begin.elapsed().as_secs_f64();
    let path = dir.path().join("chapter.wav");
    let out = File::create(&path).expect("a file");
    let joined = joiner.join(AudioFormat::Wav, &out).expect("a chapter");
    let seconds = begin.elapsed().as_secs_f64();
    out.sync_all().expect("a disk");
    let durable = begin.elapsed().as_secs_f64();
    verify(&path, AudioFormat::Wav, RATE, joined.samples).expect("a true file");
    let mb = joined.bytes as f64 / 1e6;
    println!("{PARTS} parts to {mb:.0} MB, {} s of sound", joined.samples / u64::from(RATE.hz()));
    println!(
        "checked in {checked:.2} s, joined in {seconds:.2} s ({:.0} MB/s), on disk in {durable:.2} s",
        mb / seconds
    );
    println!("peak memory {:.1} MB ({:.1} MB before)", peak_kb() as f64 / 1e3, before as f64 / 1e3);
    drop(joiner);
    fs::remove_dir_all(dir.path()).expect("a folder of ours");
}

fn peak_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    peak.trim().split(' ').next().and_then(|kb| kb.parse().ok()).expect("a number")
}
