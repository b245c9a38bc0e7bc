//! What a ledger on PostgreSQL costs, beside one in a file. The server runs on the same machine, with `fsync` on. Each
//! scenario prints what it measured beside its aim; the exit status is 1 if one of them is missed.
//!
//! ```text
//! cargo bench --bench server [-- SCENARIO...]       all of them, one after the other, without any
//!
//! paced      1,000 recordings of 20 KB, 50 ms a call, 20 in flight, beside the same in a file: 0.9 of it. The median of
//!            pairs that are measured side by side.                                                  LINES=1000 ROUNDS=5
//! fast       4,000 recordings of 20 KB, no delay, 64 in flight: 800 lines/s.                        LINES=4000 ROUNDS=5
//! distant    2 ms of added round trip to the server, calls of 200 ms, 20 in flight: 90 % of the ideal.   LINES=1000
//! trips      round trips of each write transaction of such a run: 7 at most once its statements are known to the server.
//! submit     a million lines: 30 s, 150 MB.                                                         LINES=1000000
//! claim      20 lines, with 10,000 and with a million queued: a factor of 1.5 at p99.               LINES=1000000
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

#[path = "support/claims.rs"]
mod claims;
#[path = "../tests/support/postgres.rs"]
#[expect(dead_code, reason = "the tests need the rest")]
mod postgres;
#[path = "../tests/support/proxy.rs"]
#[expect(dead_code, reason = "the tests need the rest")]
mod proxy;
#[path = "support/server.rs"]
mod server;
mod support;

use std::{
    collections::HashMap,
    env, fs,
    io::{BufWriter, Write},
    path::Path,
    process::{Child, ExitCode},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use claims::claims;
use server::{Ledger, asked, number, succeed, wavebatch};
use support::Server;
use tempfile::TempDir;
use wavebatch::{
    audio::wav,
    sandbox::{Books, Config, Sandbox},
    store::{Opening, ServerAddress, Store},
};

/// Nobody listens there: for what makes no call.
const NO_API: &str = "http://127.0.0.1:1";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().collect();
    if args.get(1).is_some_and(|arg| arg == "sandbox") {
        sandbox(args[2].parse().expect("ms"));
        return ExitCode::SUCCESS;
    }
    let Some(scenarios) = asked(&["paced", "fast", "distant", "trips", "submit", "claim"]) else {
        return ExitCode::FAILURE;
    };
    let mut well = true;
    for name in scenarios {
        well &= match name {
            "paced" => paced(),
            "fast" => fast(),
            "distant" => distant(),
            "trips" => trips(),
            "submit" => submit(),
            _ => claim(),
        };
    }
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[tokio::main(flavor = "multi_thread")]
async fn sandbox(latency_ms: u64) {
    let config = Config { latency: Duration::from_millis(latency_ms), keep: 100_000, ..Config::default() };
    let sandbox = Sandbox::start(config).await.expect("a free port");
    println!("{}", sandbox.base_url());
    sandbox.join().await.expect("a sandbox");
}

/// Recordings of 20 KB, and folders for runs over them.
struct Recordings {
    top: TempDir,
    lines: usize,
}

/// What a run needed.
struct Ran {
    took: Duration,
    books: Books,
}

impl Ran {
    /// From the first call to the last answer.
    fn at_work(&self, latency: Duration) -> Duration {
        let times = || self.books.requests.iter().map(|record| record.at_ms);
        let (first, last) = (times().min().unwrap_or(0), times().max().unwrap_or(0));
        Duration::from_millis(u64::try_from(last - first).unwrap_or(0)) + latency
    }
}

impl Recordings {
    fn new(lines: u64) -> Self {
        let place = env::var("BENCH_DIR").unwrap_or_else(|_| ".".into());
        let (top, lines) = (tempfile::tempdir_in(place).expect("a folder"), usize::try_from(lines).expect("few"));
        fs::create_dir(top.path().join("rec")).expect("a folder");
        for i in 0..lines {
            let samples: Vec<i16> =
                (0..10_000).map(|n| i16::try_from((n * 31 + i * 7) % 199).expect("small")).collect();
            let audio = wav::pcm16(1, 8_000, Some(&format!("recording number {i}")), &samples);
            fs::write(top.path().join(format!("rec/{i:04}.wav")), audio).expect("a recording");
        }
        Self { top, lines }
    }

    /// Runs over all of them, in a folder and a sandbox of its own.
    fn run(&self, ledger: Option<&str>, latency: Duration, at_once: usize) -> Ran {
        // ext4 passes over what was deleted lately, file by file, wherever a file is made: it goes with all others in the end.
        let dir = tempfile::tempdir_in(self.top.path()).expect("a folder").keep();
        let limits = "[limits.pulse]\nrequests_per_minute = 0\nconcurrency = 0\n";
        fs::write(dir.join("limits.toml"), limits).expect("a file");
        let api = Server::start(&["sandbox", &latency.as_millis().to_string()]);
        let at_once = at_once.to_string();
        let rec = self.top.path().join("rec").canonicalize().expect("a path");
        let mut args = vec!["run", "--task", "transcribe", "--model", "pulse", "--language", "en", "--formats", "json"];
        args.extend(["--concurrency", &at_once, "--config", "limits.toml", "-q"]);
        let rec = rec.to_string_lossy();
        args.push(&rec);
        let began = Instant::now();
        succeed(wavebatch(&dir, ledger, &api.url, &args));
        let ran = Ran { took: began.elapsed(), books: api.books() };
        assert_eq!(ran.books.billed, self.lines as u64);
        ran
    }
}

/// Runs on a server of its own.
fn on_server(recordings: &Recordings, latency: Duration, at_once: usize) -> Ran {
    recordings.run(Some(&Ledger::new().url()), latency, at_once)
}

fn paced() -> bool {
    let recordings = Recordings::new(number("LINES", 1_000));
    let (latency, at_once) = (Duration::from_millis(50), 20);
    let mut pairs: Vec<(f64, f64)> = (0..number("ROUNDS", 5))
        .map(|_| {
            let file = recordings.run(None, latency, at_once).took.as_secs_f64();
            (on_server(&recordings, latency, at_once).took.as_secs_f64(), file)
        })
        .collect();
    pairs.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    let (server, file) = pairs[pairs.len() / 2];
    let lines = recordings.lines as f64;
    println!(
        "paced: {} lines, 50 ms, 20 in flight: {:.0} lines/s on a server, {:.0} in a file, ratio {:.2} (aim: 0.9)",
        recordings.lines,
        lines / server,
        lines / file,
        file / server
    );
    file / server >= 0.9
}

fn fast() -> bool {
    let recordings = Recordings::new(number("LINES", 4_000));
    let a_second = |ran: Ran| recordings.lines as f64 / ran.took.as_secs_f64();
    let mut rounds: Vec<f64> =
        (0..number("ROUNDS", 5)).map(|_| a_second(on_server(&recordings, Duration::ZERO, 64))).collect();
    rounds.sort_by(f64::total_cmp);
    let median = rounds[rounds.len() / 2];
    println!("fast: {} lines, no delay, 64 in flight: {median:.0} lines/s (aim: 800)", recordings.lines);
    median >= 800.0
}

fn distant() -> bool {
    let recordings = Recordings::new(number("LINES", 1_000));
    let (latency, at_once) = (Duration::from_millis(200), 20);
    let ideal = latency * u32::try_from(recordings.lines).expect("few") / 20;
    let mut shares = [Duration::ZERO, Duration::from_millis(1)].map(|delay| {
        let ledger = Ledger::new();
        let (_network, url) = ledger.behind(delay, None);
        let ran = recordings.run(Some(&url), latency, at_once);
        100.0 * ideal.as_secs_f64() / ran.at_work(latency).as_secs_f64()
    });
    let [near, far] = &mut shares;
    println!(
        "distant: {} calls of 200 ms, 20 in flight, 2 ms of added round trip: {far:.1} % of the ideal (aim: 90 %), {near:.1} % without",
        recordings.lines
    );
    *far >= 90.0
}

/// Counts the round trips of the write transactions of each connection.
#[derive(Default)]
struct Trips {
    connections: HashMap<usize, Connection>,
    /// Of each transaction, in the order of their ends.
    transactions: Vec<u32>,
}

#[derive(Default)]
struct Connection {
    /// Whether the client spoke last.
    asks: bool,
    /// Trips of the transaction under way.
    under_way: Option<u32>,
}

impl Trips {
    fn hear(&mut self, number: usize, from_client: bool, bytes: &[u8]) {
        let has = |words: &str| bytes.windows(words.len()).any(|part| part == words.as_bytes());
        let connection = self.connections.entry(number).or_default();
        let begins_trip = from_client && !connection.asks;
        connection.asks = from_client;
        if !from_client {
            return;
        }
        if has("wb_begin(") {
            connection.under_way = Some(0);
        }
        if let Some(trips) = &mut connection.under_way {
            *trips += u32::from(begins_trip);
            if has("COMMIT") || has("ROLLBACK") {
                self.transactions.push(*trips);
                connection.under_way = None;
            }
        }
    }
}

fn trips() -> bool {
    const AIM: u32 = 7;
    let recordings = Recordings::new(number("LINES", 600));
    let ledger = Ledger::new();
    let trips = Arc::new(Mutex::new(Trips::default()));
    let heard = Arc::clone(&trips);
    let hear = move |number, from_client, bytes: &[u8]| {
        heard.lock().expect("no panic under it").hear(number, from_client, bytes);
    };
    let (_network, url) = ledger.behind(Duration::ZERO, Some(Box::new(hear)));
    recordings.run(Some(&url), Duration::from_millis(50), 20);
    let all = trips.lock().expect("no panic under it").transactions.clone();
    // Each statement costs one more the first time.
    let mut known: Vec<u32> = all[all.len() / 2..].to_vec();
    known.sort_unstable();
    let mean = f64::from(known.iter().sum::<u32>()) / known.len() as f64;
    let (median, p99, most) = (known[known.len() / 2], known[known.len() * 99 / 100], known[known.len() - 1]);
    println!(
        "trips: {} write transactions for {} lines; of the second half of them each took {mean:.1} round trips, {median} at the \
         median, {p99} at p99, {most} at most (aim: {AIM})",
        all.len(),
        recordings.lines
    );
    most <= AIM
}

/// Writes a manifest and its definition.
fn manifest(dir: &Path, name: &str, lines: u64) {
    let file = fs::File::create(dir.join(format!("{name}.csv"))).expect("a manifest");
    let mut out = BufWriter::new(file);
    writeln!(out, "key,url,agent,team").expect("a manifest");
    for n in 0..lines {
        let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (day, agent) = (n % 31, n % 200);
        writeln!(
            out,
            "call-{n:08},https://recordings.example.com/2026/08/{day:02}/{spread:016x}.wav?X-Amz-Signature={spread:016x},agent {agent},support"
        )
        .expect("a manifest");
    }
    out.flush().expect("a manifest");
    let definition = format!(
        "name = \"{name}\"\ntask = \"transcribe\"\nmanifest = \"{name}.csv\"\noutput = \"out/{name}\"\n[transcribe]\n\
         model = \"pulse\"\nlanguage = \"en\"\n"
    );
    fs::write(dir.join(format!("{name}.toml")), definition).expect("a definition");
}

/// Waits for its end. The most memory that it ever had, in MB, where the system tells.
fn peak_of(mut child: Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kb = 0;
    while child.try_wait().expect("a child").is_none() {
        let status = fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
        peak_kb = line.split_whitespace().nth(1).and_then(|kb| kb.parse().ok()).unwrap_or(peak_kb);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(child.wait().expect("a child").success(), "it was submitted");
    peak_kb / 1_024
}

/// Submits a batch; how long that took, and the most memory.
fn submitted(dir: &Path, ledger: &str, name: &str, lines: u64) -> (Duration, u64) {
    manifest(dir, name, lines);
    let began = Instant::now();
    let child = wavebatch(dir, Some(ledger), NO_API, &["submit", &format!("{name}.toml"), "-q"]).spawn();
    let peak = peak_of(child.expect("the program"));
    (began.elapsed(), peak)
}

fn submit() -> bool {
    let lines = number("LINES", 1_000_000);
    let (dir, ledger) = (TempDir::new().expect("a folder"), Ledger::new());
    let (took, peak) = submitted(dir.path(), &ledger.url(), "many", lines);
    let seconds = took.as_secs_f64();
    println!("submit: {lines} lines in {seconds:.1} s (aim: 30 s), {peak} MB at most (aim: 150 MB)");
    seconds <= 30.0 && peak <= 150
}

fn claim() -> bool {
    const FEW: u64 = 10_000;
    let lines = number("LINES", 1_000_000);
    let [few, many] = [FEW, lines].map(|lines| {
        let (dir, ledger) = (TempDir::new().expect("a folder"), Ledger::new());
        submitted(dir.path(), &ledger.url(), "night", lines);
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        runtime.block_on(async {
            let server = ServerAddress::parse(&ledger.url()).expect("an address");
            let opening = Opening { local_files: dir.path().into(), ..Opening::new(server) };
            let store = Store::open(opening).await.expect("a ledger").0;
            claims(&store, lines).await
        })
    });
    let factor = many.as_secs_f64() / few.as_secs_f64();
    println!("claim: p99 with {lines} and {FEW} lines queued: factor {factor:.2} (aim: 1.5)");
    factor <= 1.5
}
