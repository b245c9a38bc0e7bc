//! Recordings a second, beside a bare loop of the same HTTP client without a ledger, on the same sandbox and files.
//! Whole processes: the sandbox, the loop and `wavebatch` run in one each. Prints ratios of pairs measured side by side.
//!
//! `cargo bench --bench throughput`
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

mod support;

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt;
use support::Server;
use wavebatch::{
    audio::wav,
    sandbox::{Books, Config, Sandbox},
};

/// As many as make a start-up of 0.2 s small, where a call takes no time.
const LINES: [usize; 3] = [1_000, 4_000, 4_000];

fn main() {
    let args: Vec<String> = env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("sandbox") => sandbox(args[2].parse().expect("ms")),
        Some("loop") => bare_loop(&args[2], Path::new(&args[3]), args[4].parse().expect("a number")),
        _ => compare(),
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn sandbox(latency_ms: u64) {
    let config = Config { latency: Duration::from_millis(latency_ms), keep: 100, ..Config::default() };
    let sandbox = Sandbox::start(config).await.expect("a free port");
    println!("{}", sandbox.base_url());
    sandbox.join().await.expect("a sandbox");
}

/// What there is to beat: `n` uploads at once, nothing kept, nothing written.
#[tokio::main]
async fn bare_loop(base_url: &str, dir: &Path, at_once: usize) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Arc::new(reqwest::Client::builder().tcp_nodelay(true).build().expect("a client"));
    let files: Vec<_> = fs::read_dir(dir).expect("recordings").map(|e| e.expect("an entry").path()).collect();
    let url = format!("{base_url}/waves/v1/stt/?model=pulse&language=en");
    let begin = Instant::now();
    futures::stream::iter(files)
        .for_each_concurrent(at_once, |path| {
            let (client, url) = (Arc::clone(&client), url.clone());
            async move {
                let audio = tokio::fs::read(path).await.expect("a recording");
                let call = client.post(url).bearer_auth("sk_bench").header("content-type", "audio/wav").body(audio);
                let text = call.send().await.expect("an answer").text().await.expect("a body");
                assert!(text.contains("transcription"));
            }
        })
        .await;
    println!("{}", begin.elapsed().as_secs_f64());
}

fn recordings(dir: &Path, lines: usize, bytes: usize) {
    fs::create_dir_all(dir).expect("a folder");
    for i in 0..lines {
        let samples: Vec<i16> = (0..bytes / 2).map(|n| i16::try_from((n * 31 + i * 7) % 199).expect("small")).collect();
        let audio = wav::pcm16(1, 8_000, Some(&format!("recording number {i}")), &samples);
        fs::write(dir.join(format!("{i:04}.wav")), audio).expect("a recording");
    }
}

fn wavebatch(dir: &Path, work: &Path, url: &str, at_once: usize) -> f64 {
    let begin = Instant::now();
    let out = Command::new(env!("CARGO_BIN_EXE_wavebatch"))
        .current_dir(work)
        .env("SMALLEST_API_KEY", "sk_bench")
        .env("SMALLEST_BASE_URL", url)
        .args(["run", "--task", "transcribe", "--model", "pulse", "--language", "en", "--formats", "json"])
        .args(["--concurrency", &at_once.to_string(), "--config", "limits.toml", "-q"])
        .arg(dir)
        .stdin(Stdio::null())
        .output()
        .expect("wavebatch");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    begin.elapsed().as_secs_f64()
}

fn compare() {
    println!(
        "{:<44} {:>11} {:>11} {:>7} {:>5} {:>7}",
        "recordings of 20 KB", "bare loop", "wavebatch", "ratio", "peak", "billed"
    );
    let rounds = env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(5);
    // All is removed at the very end: some file systems are slow to make files where many have just gone.
    let place = env::var("BENCH_DIR").unwrap_or_else(|_| ".".into());
    let top = tempfile::tempdir_in(place).expect("a folder").keep();
    for ((latency, at_once), lines) in [(50, 20), (0, 20), (0, 64)].into_iter().zip(LINES) {
        let mut rows: Vec<Round> = (0..rounds)
            .map(|n| round(&top.join(format!("{latency}-{at_once}-{n}")), lines, latency, at_once))
            .collect();
        rows.sort_by(|a, b| (a.bare / a.ours).total_cmp(&(b.bare / b.ours)));
        let Round { bare, ours, books } = &rows[rounds / 2];
        println!(
            "{:<44} {:>9.0}/s {:>9.0}/s {:>6.1}% {:>5} {:>7}",
            format!("{lines}, {latency} ms a call, {at_once} in flight"),
            lines as f64 / bare,
            lines as f64 / ours,
            100.0 * bare / ours,
            books.peak_in_flight,
            books.billed
        );
    }
    fs::remove_dir_all(top).expect("our own folder");
}

struct Round {
    bare: f64,
    ours: f64,
    books: Books,
}

fn round(dir: &Path, lines: usize, latency: u64, at_once: usize) -> Round {
    let rec = dir.parent().expect("the top").join(format!("rec-{lines}"));
    if !rec.exists() {
        recordings(&rec, lines, 20_000);
    }
    fs::create_dir_all(dir).expect("a folder");
    let limits = "[limits.pulse]\nrequests_per_minute = 0\nconcurrency = 0\n";
    fs::write(dir.join("limits.toml"), limits).expect("a file");
    let bare = {
        let server = Server::start(&["sandbox", &latency.to_string()]);
        let out = Command::new(env::current_exe().expect("this program"))
            .args(["loop", &server.url, &rec.to_string_lossy(), &at_once.to_string()])
            .output()
            .expect("a child");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).trim().parse().expect("seconds")
    };
    let server = Server::start(&["sandbox", &latency.to_string()]);
    let ours = wavebatch(&rec.canonicalize().expect("a path"), dir, &server.url, at_once);
    Round { bare, ours, books: server.books() }
}
