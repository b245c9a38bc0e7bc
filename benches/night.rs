//! A night with S3 at both ends, the store in another process: recordings a second beside the bare loop over local files,
//! a prefix of 100,000 objects listed and submitted, and a store that is down for a minute.
//!
//! `cargo bench --bench night`; `OBJECTS=`, `ROUNDS=` and `DOWN=` (seconds) change its size.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

mod support;

use std::{
    env, fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use futures::StreamExt;
use support::Server;
use wavebatch::{
    audio::wav,
    sandbox::{Books, Config, Sandbox},
};

#[path = "../tests/it/support/s3.rs"]
#[expect(dead_code, reason = "the tests need the rest")]
mod s3;

const LINES: usize = 1_000;
const LATENCY_MS: u64 = 50;
const AT_ONCE: usize = 20;
const BYTES: usize = 20_000;
const MANY: usize = 100_000;

fn main() {
    let args: Vec<String> = env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("sandbox") => sandbox(),
        Some("store") => store(args[2].parse().expect("a number"), args[3].parse().expect("bytes")),
        Some("loop") => bare_loop(&args[2], Path::new(&args[3])),
        _ => {
            let dir = tempfile::tempdir_in(env::var("BENCH_DIR").unwrap_or_else(|_| ".".into())).expect("a folder");
            throughput(dir.path());
            listing(dir.path());
            outage(dir.path());
        }
    }
}

fn number(name: &str, usual: usize) -> usize {
    env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn sandbox() {
    let config = Config { latency: Duration::from_millis(LATENCY_MS), keep: 100, ..Config::default() };
    let sandbox = Sandbox::start(config).await.expect("a free port");
    println!("{}", sandbox.base_url());
    sandbox.join().await.expect("a sandbox");
}

fn recording(i: usize, bytes: usize) -> Vec<u8> {
    let samples: Vec<i16> = (0..bytes / 2).map(|n| i16::try_from((n * 31 + i * 7) % 199).expect("small")).collect();
    wav::pcm16(1, 8_000, Some(&format!("recording number {i}")), &samples)
}

/// A store with `n` recordings; each line on stdin breaks it, or mends it again.
#[tokio::main(flavor = "current_thread")]
async fn store(n: usize, bytes: usize) {
    let server = s3::S3Server::start().await;
    server.bucket("out");
    for i in 0..n {
        server.put("calls", &format!("2026/11/20/{i:06}_ann_{}.wav", 1_763_625_600 + i), recording(i, bytes));
    }
    println!("{}", server.endpoint());
    let mut down = false;
    for _ in std::io::stdin().lines() {
        down = !down;
        match down {
            true => server.fault("", "", s3::Fault::Status(503, "SlowDown")),
            false => server.lift(),
        }
    }
}

#[tokio::main]
async fn bare_loop(base_url: &str, dir: &Path) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().tcp_nodelay(true).build().expect("a client");
    let files: Vec<_> = fs::read_dir(dir).expect("recordings").map(|e| e.expect("an entry").path()).collect();
    let url = format!("{base_url}/waves/v1/stt/?model=pulse&language=en");
    let begin = Instant::now();
    futures::stream::iter(files)
        .for_each_concurrent(AT_ONCE, |path| {
            let (client, url) = (client.clone(), url.clone());
            async move {
                let audio = tokio::fs::read(path).await.expect("a recording");
                let call = client.post(url).bearer_auth("sk_bench").header("content-type", "audio/wav").body(audio);
                assert!(call.send().await.expect("an answer").text().await.expect("a body").contains("transcription"));
            }
        })
        .await;
    println!("{}", begin.elapsed().as_secs_f64());
}

fn sandbox_of_ours() -> Server {
    Server::start(&["sandbox"])
}

fn store_of(n: usize, bytes: usize) -> Server {
    Server::start(&["store", &n.to_string(), &bytes.to_string()])
}

/// Tells a store to be down, or up again.
fn turn(store: &mut Server) {
    store.child.stdin.as_mut().expect("piped").write_all(b"\n").expect("a living store");
}

fn wavebatch(dir: &Path, api: &str, store: &str, verb: &str) -> Command {
    fs::create_dir_all(dir).expect("a folder");
    fs::write(dir.join("limits.toml"), "[limits.pulse]\nrequests_per_minute = 0\n").expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_wavebatch"));
    command
        .current_dir(dir)
        .args([verb, "s3://calls/2026/11/20/", "--task", "transcribe", "--model", "pulse", "--language", "en"])
        .args(["--formats", "json", "--batch", "night", "-q"])
        .args(["--output", &format!("s3://out/{}/", dir.file_name().expect("a name").to_string_lossy())])
        .args(["--concurrency", &AT_ONCE.to_string(), "--config", "limits.toml"])
        .env("SMALLEST_API_KEY", "sk_bench")
        .env("SMALLEST_BASE_URL", api)
        .env("AWS_ACCESS_KEY_ID", s3::ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", s3::SECRET_KEY)
        .env("AWS_ENDPOINT_URL_S3", store)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

fn throughput(top: &Path) {
    let rec = top.join("rec");
    fs::create_dir_all(&rec).expect("a folder");
    (0..LINES).for_each(|i| fs::write(rec.join(format!("{i:04}.wav")), recording(i, BYTES)).expect("a recording"));
    let rounds = number("ROUNDS", 3);
    let mut rows: Vec<(f64, f64, Books)> = (0..rounds).map(|n| round(top, &rec, n)).collect();
    rows.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
    let (bare, ours, books) = &rows[rounds / 2];
    println!(
        "{LINES} recordings of 20 KB, {LATENCY_MS} ms a call, {AT_ONCE} in flight, S3 at both ends: bare loop {:.0}/s, wavebatch \
         {:.0}/s, {:.1} % (peak {}, billed {})",
        LINES as f64 / bare,
        LINES as f64 / ours,
        100.0 * bare / ours,
        books.peak_in_flight,
        books.billed
    );
}

fn round(top: &Path, rec: &Path, nth: usize) -> (f64, f64, Books) {
    let bare = {
        let api = sandbox_of_ours();
        let out = Command::new(env::current_exe().expect("this program"))
            .args(["loop", &api.url, &rec.to_string_lossy()])
            .output()
            .expect("a child");
        String::from_utf8_lossy(&out.stdout).trim().parse().expect("seconds")
    };
    let (api, store) = (sandbox_of_ours(), store_of(LINES, BYTES));
    let begin = Instant::now();
    let status = wavebatch(&top.join(nth.to_string()), &api.url, &store.url, "run").status().expect("wavebatch");
    assert!(status.success());
    (bare, begin.elapsed().as_secs_f64(), api.books())
}

fn listing(top: &Path) {
    let objects = number("OBJECTS", MANY);
    let store = store_of(objects, 100);
    let begin = Instant::now();
    let mut child =
        wavebatch(&top.join("many"), "http://127.0.0.1:9", &store.url, "submit").spawn().expect("wavebatch");
    let (mut peak, status) = (
        0,
        loop {
            if let Some(status) = child.try_wait().expect("a child") {
                break status;
            }
            std::thread::sleep(Duration::from_millis(5));
        },
    );
    assert!(status.success());
    let took = begin.elapsed();
    // Once more under watch: a process that has ended tells nothing of its memory.
    let mut again =
        wavebatch(&top.join("again"), "http://127.0.0.1:9", &store.url, "submit").spawn().expect("wavebatch");
    while again.try_wait().expect("a child").is_none() {
        peak = peak.max(peak_of(again.id()));
        std::thread::sleep(Duration::from_millis(2));
    }
    println!("{objects} objects listed and submitted: {:.1} s, peak memory {} MB", took.as_secs_f64(), peak / 1_024);
}

/// In kB.
fn peak_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn outage(top: &Path) {
    let down = number("DOWN", 60);
    let (api, mut store) = (sandbox_of_ours(), store_of(LINES, BYTES));
    let begin = Instant::now();
    let mut child = wavebatch(&top.join("outage"), &api.url, &store.url, "run").spawn().expect("wavebatch");
    while api.books().billed < LINES as u64 / 4 {
        std::thread::sleep(Duration::from_millis(20));
    }
    turn(&mut store);
    std::thread::sleep(Duration::from_secs(down as u64));
    let meanwhile = api.books().billed;
    turn(&mut store);
    let status = child.wait().expect("a child");
    let books = api.books();
    println!(
        "the store down for {down} s after {meanwhile} of {LINES} calls: {} billed in all, exit {}, {:.0} s",
        books.billed,
        status.code().unwrap_or(-1),
        begin.elapsed().as_secs_f64()
    );
}
