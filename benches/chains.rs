//! A batch of a batch: when the second one ends after the first one, and what a hundred kills of both cost.
//!
//! `cargo bench --bench chains`; `LINES=`, `ROUNDS=`, `KILLS=` and `SEED=` change its size.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

mod support;

use std::{
    collections::HashSet,
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use support::Server;
use wavebatch::{
    audio::wav,
    domain::job::{CallId, CallState, JobState},
    sandbox::{Config, Sandbox},
    store::{JobFilter, Opening, Selection, Store},
};

/// Recordings have more bytes than this, and prompts fewer.
const RECORDING_BYTES: u64 = 8_000;

fn main() {
    let args: Vec<String> = env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("sandbox") => sandbox(args[2].parse().expect("ms")),
        _ => {
            let lines = number("LINES", 1_000);
            let dir = tempfile::tempdir_in(env::var("BENCH_DIR").unwrap_or_else(|_| ".".into())).expect("a folder");
            recordings(&dir.path().join("rec"), lines);
            lag(dir.path(), lines);
            kills(dir.path(), lines);
        }
    }
}

fn number(name: &str, otherwise: usize) -> usize {
    env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn sandbox(latency_ms: u64) {
    let config = Config { latency: Duration::from_millis(latency_ms), ..Config::default() };
    let sandbox = Sandbox::start(config).await.expect("a free port");
    println!("{}", sandbox.base_url());
    sandbox.join().await.expect("a sandbox");
}

/// Each has a length of its own, so that the vendor's log can prove each call.
fn recordings(dir: &Path, lines: usize) {
    fs::create_dir_all(dir).expect("a folder");
    for i in 0..lines {
        let samples = (0..5_000 + i).map(|n| i16::try_from((n * 31 + i * 7) % 199).expect("small"));
        let audio = wav::pcm16(1, 8_000, Some(&format!("recording number {i}")), &samples.collect::<Vec<_>>());
        fs::write(dir.join(format!("{i:05}.wav")), audio).expect("a recording");
    }
}

/// A folder with the two definitions. `at_once`: calls in flight of each; none is no limit of its own.
fn put_up(dir: &Path, rec: &Path, at_once: Option<usize>) {
    fs::create_dir_all(dir).expect("a folder");
    let unbound = ["pulse", "chat"].map(|pool| format!("[limits.{pool}]\nrequests_per_minute = 0\nconcurrency = 0\n"));
    fs::write(dir.join("wavebatch.toml"), unbound.concat()).expect("a file");
    let at_once = at_once.map(|n| format!("concurrency = {n}\n")).unwrap_or_default();
    let run = format!("[run]\nunknown_grace = \"500ms\"\nmax_tries = 100\nmax_billed_calls = 100\n{at_once}");
    let calls = format!(
        "task = \"transcribe\"\nmanifest = \"{}/\"\n[transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\nformats = [\"txt\"]\n{run}",
        rec.display()
    );
    fs::write(dir.join("calls.toml"), calls).expect("a file");
    let cards = format!(
        "task = \"chat\"\nmanifest = \"batch:calls\"\n[chat]\nmodel = \"electron\"\nprompt = \"{{key}}: {{transcript}}\"\n\
         max_tokens = 50\n{run}"
    );
    fs::write(dir.join("cards.toml"), cards).expect("a file");
}

fn both(dir: &Path, url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wavebatch"));
    command
        .current_dir(dir)
        .env("SMALLEST_API_KEY", "sk_bench")
        .env("SMALLEST_BASE_URL", url)
        .args(["run", "calls.toml", "cards.toml", "-q"])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Asks the ledger in a folder.
fn ask<T>(dir: &Path, question: impl AsyncFnOnce(&Store) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (store, _) = Store::open(Opening::new(dir.join("wavebatch.db"))).await.expect("a ledger");
        let answer = question(&store).await;
        store.close().await;
        answer
    })
}

/// The end of the second batch after that of the first.
fn lag(top: &Path, lines: usize) {
    let mut rounds: Vec<(i64, f64)> = (0..number("ROUNDS", 3))
        .map(|round| {
            let dir = top.join(format!("lag-{round}"));
            put_up(&dir, &top.join("rec"), None);
            let server = Server::start(&["sandbox", "50"]);
            let begin = Instant::now();
            let ran = both(&dir, &server.url).stderr(Stdio::piped()).output().expect("wavebatch");
            let took = begin.elapsed().as_secs_f64();
            assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
            let ends = ask(&dir, async |store| {
                let mut ends = Vec::new();
                for name in ["calls", "cards"] {
                    let row = store.batch(name).await.expect("a ledger").expect("a batch");
                    let counts = store.counts(row.id).await.expect("counts");
                    assert_eq!(counts.of(JobState::Succeeded), lines as u64, "{name}");
                    ends.push(row.finished_at.expect("it is finished"));
                }
                ends
            });
            (ends[1] - ends[0], took)
        })
        .collect();
    rounds.sort_by_key(|round| round.0);
    let (after_ms, took) = rounds[rounds.len() / 2];
    println!(
        "{lines} recordings and {lines} chats of 50 ms, no limits: the chats end {after_ms} ms after the recordings (of {took:.1} s)"
    );
}

/// Kills both again and again, and counts what was bought.
fn kills(top: &Path, lines: usize) {
    let dir = top.join("kills");
    put_up(&dir, &top.join("rec"), Some(4));
    let server = Server::start(&["sandbox", "100"]);
    let (mut killed, mut ended, mut in_flight) = (0_usize, 0_usize, HashSet::new());
    let mut dice = number("SEED", 1) as u64;
    while killed < number("KILLS", 100) && ended == 0 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = both(&dir, &server.url).stderr(Stdio::null()).spawn().expect("wavebatch");
        std::thread::sleep(Duration::from_millis(150 + (dice >> 33) % 700));
        match child.try_wait().expect("a child") {
            Some(status) => {
                assert!(status.success(), "{status}");
                ended += 1;
            }
            None => {
                child.kill().expect("a child");
                child.wait().expect("a child");
                killed += 1;
                in_flight.extend(ask(&dir, open_chats));
            }
        }
    }
    let last = both(&dir, &server.url).stderr(Stdio::piped()).output().expect("wavebatch");
    assert!(last.status.success(), "{}: {}", last.status, String::from_utf8_lossy(&last.stderr));
    let lost = ask(&dir, async |store| {
        let mut lost = 0;
        for name in ["calls", "cards"] {
            let row = store.batch(name).await.expect("a ledger").expect("a batch");
            lost += lines as u64 - store.counts(row.id).await.expect("counts").of(JobState::Succeeded);
        }
        lost
    });
    let books = server.books();
    let again = |recordings: bool| -> u64 {
        let of = books.contents.values().filter(|content| (content.bytes > RECORDING_BYTES) == recordings);
        of.map(|content| content.billed.saturating_sub(1)).sum()
    };
    println!(
        "{lines} recordings and {lines} chats, {killed} kills: {lost} lines lost, {} transcripts bought again, {} chats bought again of {} in flight",
        again(true),
        again(false),
        in_flight.len()
    );
}

/// The chats that are open in a ledger.
async fn open_chats(store: &Store) -> Vec<CallId> {
    let Some(row) = store.batch("cards").await.expect("a ledger") else { return Vec::new() };
    let lines = Selection::of_states(&[JobState::Queued, JobState::Running]);
    let filter = JobFilter { lines, limit: 100_000, ..JobFilter::default() };
    let jobs = store.jobs(row.id, &filter).await.expect("jobs");
    let calls = jobs.iter().flat_map(|job| &job.calls);
    calls.filter(|call| call.state == CallState::Sent).map(|call| call.id).collect()
}
