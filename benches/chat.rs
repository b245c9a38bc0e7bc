//! Chats a second: 1,000 lines at 20 in flight, 200 ms a call, from the second request to the last answer, beside what the limits
//! allow. The first request goes alone, so that the others find its beginning in the vendor's cache. The sandbox and `wavebatch` run
//! in processes of their own.
//!
//! `cargo bench --bench chat`
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

mod support;

use std::{
    env,
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use support::Server;
use wavebatch::sandbox::{Config, Sandbox};

const LINES: usize = 1_000;
const AT_ONCE: usize = 20;
const LATENCY_MS: u64 = 200;

fn main() {
    let args: Vec<String> = env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("sandbox") => sandbox(),
        _ => measure(),
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn sandbox() {
    let config = Config {
        latency: Duration::from_millis(LATENCY_MS),
        // What is above the limit is refused, and so is seen.
        concurrency: u32::try_from(AT_ONCE).ok(),
        keep: 2 * LINES,
        ..Config::default()
    };
    let sandbox = Sandbox::start(config).await.expect("a free port");
    println!("{}", sandbox.base_url());
    sandbox.join().await.expect("a sandbox");
}

fn measure() {
    println!("{:<52} {:>9} {:>9} {:>7} {:>5} {:>7}", "", "ideal", "measured", "share", "peak", "refused");
    let rounds = env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let place = env::var("BENCH_DIR").unwrap_or_else(|_| ".".into());
    let top = tempfile::tempdir_in(place).expect("a folder");
    for (name, fields) in [
        ("a text", String::new()),
        ("a scorecard with quotes", "schema = \"card.schema.json\"\ngrounded = [\"evidence\"]\n".to_owned()),
    ] {
        let mut all: Vec<Round> = (0..rounds).map(|_| round(top.path(), &fields)).collect();
        all.sort_by_key(|round| round.ms);
        let Round { ms, peak, refused } = all[rounds / 2];
        let ideal = ((LINES - 1).div_ceil(AT_ONCE) as u64) * LATENCY_MS;
        println!(
            "{:<52} {:>7.2} s {:>7.2} s {:>6.1}% {peak:>5} {refused:>7}",
            format!("{LINES} lines, {LATENCY_MS} ms, {AT_ONCE} in flight: {name}"),
            ideal as f64 / 1_000.0,
            ms as f64 / 1_000.0,
            100.0 * ideal as f64 / ms as f64,
        );
    }
}

struct Round {
    /// From the second request to the last answer.
    ms: u64,
    peak: u32,
    refused: usize,
}

fn round(top: &Path, fields: &str) -> Round {
    let dir = tempfile::tempdir_in(top).expect("a folder");
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("a file");
    let mut lines = String::from("key,transcript\n");
    for n in 0..LINES {
        let turn = format!("Agent: Hello, this is line {n}.\nCustomer: My bill of {n} dollars is wrong.\n");
        writeln!(lines, "c{n},\"{}\"", turn.repeat(10).trim_end()).expect("a String takes everything");
    }
    write("calls.csv", &lines);
    write("rules.md", &"Judge by what is said. Do not guess. ".repeat(60));
    let schema = r#"{"type": "object", "required": ["resolved", "evidence"], "properties": {"resolved": {"type": "boolean"},
        "evidence": {"type": "array", "items": {"type": "string"}}}}"#;
    write("card.schema.json", schema);
    let chat = format!("[chat]\nmodel = \"electron\"\nsystem = \"rules.md\"\nmax_tokens = 200\n{fields}");
    write("card.toml", &format!("task = \"chat\"\nmanifest = \"calls.csv\"\noutput = \"out/\"\n{chat}"));
    write("limits.toml", &format!("[limits.chat]\nrequests_per_minute = 0\nconcurrency = {AT_ONCE}\n"));
    let server = Server::start(&["sandbox"]);
    let out = Command::new(env!("CARGO_BIN_EXE_wavebatch"))
        .current_dir(dir.path())
        .env("SMALLEST_API_KEY", "sk_bench")
        .env("SMALLEST_BASE_URL", &server.url)
        .args(["run", "card.toml", "--config", "limits.toml", "-q", "--concurrency", &AT_ONCE.to_string()])
        .stdin(Stdio::null())
        .output()
        .expect("wavebatch");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let books = server.books();
    let mut at: Vec<i64> = books.requests.iter().map(|request| request.at_ms).collect();
    at.sort_unstable();
    let refused = books.requests.iter().filter(|request| request.status == Some(429)).count();
    let ms = at[at.len() - 1] - at[1] + i64::try_from(LATENCY_MS).expect("a fifth of a second");
    Round { ms: ms.unsigned_abs(), peak: books.peak_in_flight, refused }
}
