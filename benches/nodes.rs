//! Several processes on one ledger on PostgreSQL. Each scenario prints what it measured beside its aim; the exit status is 1
//! if one of them is missed.
//!
//! ```text
//! cargo bench --bench nodes [-- SCENARIO...]        all of them, one after the other, without any
//!
//! killed     three nodes, 60 requests a minute and 6 in flight, calls of 1 s, with a kill each 20 s: at least 97 % of
//!            what the limits allow, and never above them.                                      MINUTES=10
//! takeover   a node with lines in hand is killed, or its network goes silent: until others have all its lines, 8 s at
//!            most, or two leases. The worst of several rounds.                                      ROUNDS=5
//! fair       two runs, of 400 and of 20 lines, 60 requests a minute and 6 in flight, calls of 1 s; the small one starts
//!            2 s later: its first call comes within 5 s.                                            ROUNDS=3
//! ```
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

#[path = "../tests/support/postgres.rs"]
#[expect(dead_code, reason = "the tests need the rest")]
mod postgres;
#[path = "../tests/support/proxy.rs"]
#[expect(dead_code, reason = "the tests need the rest")]
mod proxy;
#[path = "support/server.rs"]
mod server;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, ExitCode},
    time::{Duration, Instant},
};

use proxy::{After, Proxy};
use server::{Ledger, asked, number, succeed, wavebatch};
use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tempfile::TempDir;
use wavebatch::{
    audio::wav,
    sandbox::{Config, Sandbox},
};

const A_MINUTE: u32 = 60;
const AT_ONCE: u32 = 6;
const CALL: Duration = Duration::from_secs(1);
const KILL_EVERY: Duration = Duration::from_secs(20);
/// How long a claim holds without a heartbeat, as users have it.
const LEASE: Duration = Duration::from_secs(15);

#[tokio::main]
async fn main() -> ExitCode {
    let Some(scenarios) = asked(&["killed", "takeover", "fair"]) else { return ExitCode::FAILURE };
    let mut well = true;
    for name in scenarios {
        well &= match name {
            "killed" => killed().await,
            "takeover" => takeover().await,
            _ => fair().await,
        };
    }
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A ledger with a batch, a sandbox, and folders for nodes.
struct Place {
    dir: TempDir,
    sandbox: Sandbox,
    ledger: Ledger,
}

/// A node; killed with this value.
struct Node {
    child: Child,
    network: Proxy,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Place {
    async fn new(latency: Duration, requests_per_minute: u32, at_once: u32) -> Self {
        let config = Config { latency, keep: 100_000, ..Config::default() };
        let place = Self {
            dir: TempDir::new().expect("a temporary folder"),
            sandbox: Sandbox::start(config).await.expect("a sandbox"),
            ledger: Ledger::new(),
        };
        let limits = format!("[limits.pulse]\nrequests_per_minute = {requests_per_minute}\nconcurrency = {at_once}\n");
        fs::write(place.dir.path().join("wavebatch.toml"), limits).expect("a file");
        place
    }

    /// A batch whose recordings have lengths of their own, from this one on; its definition.
    fn batch(&self, name: &str, lines: usize, from: usize) -> PathBuf {
        let dir = self.dir.path();
        let mut manifest = String::from("key,source\n");
        for n in from..from + lines {
            let samples: Vec<i16> = vec![1; 4_000 + n * 8];
            fs::write(dir.join(format!("{n}.wav")), wav::pcm16(1, 8_000, Some("hello"), &samples))
                .expect("a recording");
            manifest.push_str(&format!("call-{n},{n}.wav\n"));
        }
        fs::write(dir.join(format!("{name}.csv")), manifest).expect("a file");
        let definition = format!(
            "name = \"{name}\"\ntask = \"transcribe\"\nmanifest = \"{name}.csv\"\noutput = \"out/{name}/\"\n[transcribe]\n\
             model = \"pulse\"\nlanguage = \"en\"\nformats = [\"txt\"]\n[run]\nunknown_grace = \"2s\"\n"
        );
        let path = dir.join(format!("{name}.toml"));
        fs::write(&path, definition).expect("a file");
        path
    }

    fn submit(&self, definition: &Path) {
        let args = ["submit", &definition.to_string_lossy(), "-q"];
        succeed(wavebatch(self.dir.path(), Some(&self.ledger.url()), &self.sandbox.base_url(), &args));
    }

    /// A node with a folder and a network of its own.
    fn node(&self, name: &str) -> Node {
        let folder = self.dir.path().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let (network, url) = self.ledger.behind(Duration::ZERO, None);
        let args = ["work", "-q", "--config", "../wavebatch.toml"];
        let child = wavebatch(&folder, Some(&url), &self.sandbox.base_url(), &args).spawn().expect("the program");
        Node { child, network }
    }

    async fn sql(&self) -> PgConnection {
        let url = format!("postgres://wavebatch@localhost/postgres?host={}", self.ledger.cluster.dir.display());
        let options: PgConnectOptions = url.parse().expect("an address");
        options.options([("search_path", "bench")]).connect().await.expect("the server")
    }
}

async fn killed() -> bool {
    let time = Duration::from_secs(60 * number("MINUTES", 10));
    let allowed = time.as_secs() / 60 * u64::from(A_MINUTE);
    let place = Place::new(CALL, A_MINUTE, AT_ONCE).await;
    place.submit(&place.batch("night", usize::try_from(allowed).expect("few") + 100, 0));
    let names = ["a", "b", "c"];
    let mut nodes = names.map(|name| place.node(name));
    place.sandbox.arrivals(1).await;
    let (began, mut kills) = (Instant::now(), 0);
    while began.elapsed() < time {
        tokio::time::sleep(KILL_EVERY.min(time.saturating_sub(began.elapsed()))).await;
        if began.elapsed() < time {
            nodes[kills % 3] = place.node(names[kills % 3]);
            kills += 1;
        }
    }
    let books = place.sandbox.books();
    drop(nodes);
    let twice = books.contents.values().filter(|content| content.billed > 1).count();
    let share = 100.0 * books.calls as f64 / allowed as f64;
    println!(
        "killed: {} calls of {allowed} allowed in {:.0} s, {share:.1} % (aim: 97 %), {kills} kills; {} in a minute and {} in \
         flight at most (aim: {A_MINUTE} and {AT_ONCE}); {twice} paid for twice (aim: 0)",
        books.calls,
        time.as_secs_f64(),
        books.most_in_a_minute,
        books.peak_in_flight,
    );
    share >= 97.0 && books.most_in_a_minute <= A_MINUTE && books.peak_in_flight <= AT_ONCE && twice == 0
}

/// How a node is lost.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Loss {
    Killed,
    Silent,
}

async fn takeover() -> bool {
    let mut well = true;
    for (loss, aim, words) in [
        (Loss::Killed, Duration::from_secs(8), "killed: its session is gone"),
        (Loss::Silent, LEASE * 2, "its network silent: its session stays"),
    ] {
        let mut took = Vec::new();
        for _ in 0..number("ROUNDS", 5) {
            took.push(taken_over(loss).await);
        }
        took.sort_unstable();
        let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
        println!(
            "takeover, {words}: {:.1} s at the median, {:.1} s at worst (aim: {:.0} s)",
            median.as_secs_f64(),
            worst.as_secs_f64(),
            aim.as_secs_f64()
        );
        well &= worst <= aim;
    }
    well
}

/// Until nothing is in the hands of a lost node any more.
async fn taken_over(loss: Loss) -> Duration {
    const LINES: usize = 200;
    let place = Place::new(Duration::from_millis(500), 0, AT_ONCE).await;
    place.submit(&place.batch("night", LINES, 0));
    let mut sql = place.sql().await;
    // A server that has just started says nothing about who is dead: its sessions are all new.
    while sqlx::query_scalar::<_, i64>("SELECT wb_uptime_ms()").fetch_one(&mut sql).await.expect("the ledger")
        <= i64::try_from(LEASE.as_millis()).expect("a lease")
    {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut lost = place.node("a");
    place.sandbox.arrivals(12).await;
    let _other = place.node("b");
    let pid = i64::from(lost.child.id());
    let node: i64 = sqlx::query_scalar("SELECT id FROM processes WHERE pid = $1")
        .bind(pid)
        .fetch_one(&mut sql)
        .await
        .expect("its row");
    place.sandbox.arrivals(24).await;
    match loss {
        Loss::Killed => lost.child.kill().expect("a living child"),
        Loss::Silent => lost.network.cut(),
    }
    let began = Instant::now();
    let in_hand = "SELECT count(*) FROM jobs WHERE process = $1 AND state = 'running'";
    while sqlx::query_scalar::<_, i64>(in_hand).bind(node).fetch_one(&mut sql).await.expect("the ledger") > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = began.elapsed();
    lost.network.heal(After::Break);
    took
}

async fn fair() -> bool {
    const AIM: Duration = Duration::from_secs(5);
    const LARGE: usize = 400;
    const SMALL: usize = 20;
    let mut waited = Vec::new();
    for _ in 0..number("ROUNDS", 3) {
        let place = Place::new(CALL, A_MINUTE, AT_ONCE).await;
        let [large, small] =
            [("large", LARGE, 0), ("small", SMALL, LARGE)].map(|(name, n, from)| place.batch(name, n, from));
        let run = |definition: &Path| {
            let args = ["run", &definition.to_string_lossy(), "-q"];
            let child =
                wavebatch(place.dir.path(), Some(&place.ledger.url()), &place.sandbox.base_url(), &args).spawn();
            child.expect("the program")
        };
        let mut runs = vec![run(&large)];
        place.sandbox.arrivals(1).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let began = wavebatch::clock::Clock::system().now();
        runs.push(run(&small));
        waited.push(first_call(&place, u64::try_from(4_000 + LARGE * 8).expect("few") * 2, began).await);
        for mut child in runs {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
    waited.sort_unstable();
    let (median, worst) = (waited[waited.len() / 2], waited[waited.len() - 1]);
    println!(
        "fair: the first call of 20 lines beside 400 came after {:.1} s at the median, {:.1} s at worst (aim: {:.0} s)",
        median.as_secs_f64(),
        worst.as_secs_f64(),
        AIM.as_secs_f64()
    );
    worst <= AIM
}

/// From this moment (ms since 1970) to the arrival of the first recording that has at least so many bytes.
async fn first_call(place: &Place, bytes: u64, began: i64) -> Duration {
    let waiting = Instant::now();
    loop {
        let books = place.sandbox.books();
        if let Some(record) = books.requests.iter().find(|record| record.bytes >= bytes) {
            return Duration::from_millis(u64::try_from(record.at_ms - began).unwrap_or(0));
        }
        if waiting.elapsed() > Duration::from_secs(180) {
            return waiting.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
