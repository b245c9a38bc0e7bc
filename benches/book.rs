//! A book: 200,000 characters in some 1,000 parts, 100 ms a call, 10 in flight, against the ideal of 100 parts a second;
//! the same book again, and with one word changed; then a chapter of two hours as a 44.1 kHz WAV, and the memory that takes.
//! Whole processes: the sandbox and `wavebatch` run in one each.
//!
//! `cargo bench --bench book` (Linux: the peak is read from /proc). Needs 2 GB of disk where it is started, or in `BENCH_DIR`.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

mod support;

use std::{
    env,
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use support::Server;
use wavebatch::sandbox::{Config, Sandbox};

const LATENCY_MS: u64 = 100;
const IN_FLIGHT: u32 = 10;
const CHAPTERS: usize = 20;
/// Of a chapter; each is a part.
const PARAGRAPHS: usize = 50;
const CHARACTERS: usize = 200;
/// Two hours at the sandbox's 15 characters a second.
const LONG_PARAGRAPHS: usize = 540;

fn main() {
    if let [_, mode, latency] = env::args().collect::<Vec<_>>().as_slice()
        && mode == "sandbox"
    {
        return sandbox(latency.parse().expect("ms"));
    }
    let place = env::var("BENCH_DIR").unwrap_or_else(|_| ".".into());
    let dir = tempfile::tempdir_in(place).expect("a folder");
    let rounds = env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    for round in 0..rounds {
        book(&dir.path().join(round.to_string()));
    }
    long_chapter(&dir.path().join("long"));
}

fn book(dir: &Path) {
    let server = Server::start(&["sandbox", &LATENCY_MS.to_string()]);
    fs::create_dir_all(dir.join("book")).expect("a folder");
    for chapter in 0..CHAPTERS {
        fs::write(dir.join(format!("book/{chapter:02}.txt")), text(chapter, PARAGRAPHS)).expect("a chapter");
    }
    definition(dir, "book", "24000");
    let first = run(dir, &server.url);
    let books = server.books();
    let parts = books.calls;
    let ideal = parts as f64 * (LATENCY_MS as f64 / 1_000.0) / f64::from(IN_FLIGHT);
    println!(
        "{parts} parts, {} characters: {:.2} s, {:.1} parts/s, {:.1}% of the ideal {ideal:.1} s; peak in flight {}",
        books.billed_characters,
        first.seconds,
        parts as f64 / first.seconds,
        100.0 * ideal / first.seconds,
        books.peak_in_flight
    );
    let again = |name: &str| {
        definition(dir, name, "24000");
        let ran = run(dir, &server.url);
        (server.books().calls, ran.seconds)
    };
    let (calls, seconds) = again("second");
    println!("the same book again, as another batch: {} calls, {seconds:.2} s", calls - parts);
    let edited = text(3, PARAGRAPHS).replacen("number 7 ", "numeral 7 ", 1);
    assert_ne!(edited, text(3, PARAGRAPHS));
    fs::write(dir.join("book/03.txt"), edited).expect("a chapter");
    let (more, seconds) = again("third");
    println!("with one word changed: {} calls, {seconds:.2} s", more - calls);
}

fn long_chapter(dir: &Path) {
    let server = Server::start(&["sandbox", &0.to_string()]);
    fs::create_dir_all(dir.join("book")).expect("a folder");
    fs::write(dir.join("book/long.txt"), text(0, LONG_PARAGRAPHS)).expect("a chapter");
    definition(dir, "book", "44100");
    let ran = run(dir, &server.url);
    let bytes = fs::metadata(dir.join("out/book/long.wav")).expect("a chapter").len();
    let minutes = bytes as f64 / 88_200.0 / 60.0;
    println!(
        "a chapter of {minutes:.0} min as 44.1 kHz WAV ({:.0} MB): peak memory {:.0} MB, {:.1} s",
        bytes as f64 / 1e6,
        ran.peak_kb as f64 / 1e3,
        ran.seconds
    );
}

/// Paragraphs of about 200 characters, no two alike.
fn text(chapter: usize, paragraphs: usize) -> String {
    let mut text = String::new();
    for n in 0..paragraphs {
        let begin = format!("This is chapter {chapter}, and paragraph number {n} of it.");
        let filler = " It goes on about the weather and the sea, the ships on it and whoever is aboard;".repeat(3);
        let mut paragraph: String = (begin + &filler).chars().take(CHARACTERS - 1).collect();
        paragraph.truncate(paragraph.trim_end_matches([' ', ',', ';']).len());
        writeln!(text, "{paragraph}.\n").expect("a String takes all it is given");
    }
    text
}

fn definition(dir: &Path, name: &str, rate: &str) {
    let toml = format!(
        "name = \"{name}\"\ntask = \"synthesize\"\nmanifest = \"book\"\noutput = \"out/{{batch}}/\"\n\n[synthesize]\n\
         model = \"lightning_v3.1\"\nvoice_id = \"avery\"\nlanguage = \"en\"\n\
         formats = [{{ format = \"wav\", sample_rate = {rate} }}]\n"
    );
    fs::write(dir.join("book.toml"), toml).expect("a definition");
    fs::write(dir.join("wavebatch.toml"), format!("[limits.tts]\nconcurrency = {IN_FLIGHT}\n")).expect("settings");
}

struct Ran {
    seconds: f64,
    peak_kb: u64,
}

fn run(dir: &Path, url: &str) -> Ran {
    let begin = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_wavebatch"))
        .current_dir(dir)
        .env("SMALLEST_API_KEY", "sk_bench")
        .env("SMALLEST_BASE_URL", url)
        .env_remove("WAVEBATCH_DATABASE")
        .args(["run", "book.toml", "-q"])
        .stdin(Stdio::null())
        .spawn()
        .expect("wavebatch");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let exit = loop {
        if let Some(kb) = fs::read_to_string(&status).ok().and_then(|text| peak_kb(&text)) {
            peak = kb;
        }
        if let Some(exit) = child.try_wait().expect("a child") {
            break exit;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(exit.success(), "{exit}");
    Ran { seconds: begin.elapsed().as_secs_f64(), peak_kb: peak }
}

fn peak_kb(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().split(' ').next()?.parse().ok()
}

#[tokio::main]
async fn sandbox(latency_ms: u64) {
    let config = Config { latency: Duration::from_millis(latency_ms), keep: 100, ..Config::default() };
    let sandbox = Sandbox::start(config).await.expect("a free port");
    println!("{}", sandbox.base_url());
    sandbox.join().await.expect("a sandbox");
}
