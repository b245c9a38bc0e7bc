//! What a backup costs a running batch: recordings with 20 calls in flight, on a ledger of a million lines, with a backup
//! in the middle and without. Whole processes: the sandbox, the batch and the backup run in one each.
//!
//! `cargo bench --bench backup`; `LINES=100000 RUN=600 ROUNDS=1` for less. `BENCH_DIR` is the disk.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

mod support;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use support::Server;
use wavebatch::{
    audio::wav,
    sandbox::{Config, Sandbox},
};

/// Lines of the ledger, and of the batch that runs meanwhile.
const LINES: u64 = 1_000_000;
const RUN: u64 = 3_000;
/// Pairs of runs; the median counts.
const ROUNDS: u64 = 3;
/// Lines that are really worked, and then repeated in the ledger.
const SEED: u64 = 1_000;
const IN_FLIGHT: u64 = 20;
const LATENCY: Duration = Duration::from_millis(200);
/// How long a batch runs before its backup begins.
const HEAD_START: Duration = Duration::from_secs(2);

fn main() {
    match env::args().nth(1).as_deref() {
        Some("sandbox") => sandbox(),
        _ => compare(),
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn sandbox() {
    let config = Config { latency: LATENCY, keep: 100, ..Config::default() };
    let sandbox = Sandbox::start(config).await.expect("a free port");
    println!("{}", sandbox.base_url());
    sandbox.join().await.expect("a sandbox");
}

struct Bench {
    dir: PathBuf,
    server: Server,
}

impl Bench {
    fn wavebatch(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wavebatch"));
        command
            .current_dir(&self.dir)
            .env("SMALLEST_API_KEY", "sk_bench")
            .env("SMALLEST_BASE_URL", &self.server.url)
            .args(args)
            .args(["--config", "limits.toml"])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// Begins to transcribe the recordings of a folder, as a batch of this name.
    fn run(&self, batch: &str, recordings: &str) -> Child {
        let (at_once, output) = (IN_FLIGHT.to_string(), format!("out/{batch}/"));
        let run = ["run", recordings, "--task", "transcribe", "--model", "pulse", "--language", "en", "-q"];
        let how = ["--formats", "json", "--concurrency", &at_once, "--batch", batch, "--output", &output];
        self.wavebatch(&[&run[..], &how[..]].concat()).spawn().expect("wavebatch")
    }
}

fn ended(mut child: Child) {
    assert!(child.wait().expect("a status").success(), "a command failed");
}

fn compare() {
    let asked = |name: &str, usual: u64| env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (lines, run, rounds) = (asked("LINES", LINES), asked("RUN", RUN), asked("ROUNDS", ROUNDS));
    let place = env::var("BENCH_DIR").unwrap_or_else(|_| ".".into());
    let dir = tempfile::tempdir_in(place).expect("a folder");
    let bench = Bench { dir: dir.path().to_owned(), server: Server::start(&["sandbox"]) };
    let limits = "[limits.pulse]\nrequests_per_minute = 0\nconcurrency = 0\n";
    fs::write(bench.dir.join("limits.toml"), limits).expect("a file");
    recordings(&bench.dir.join("seed"), SEED.min(lines));
    recordings(&bench.dir.join("rec"), run);
    ended(bench.run("seed", "seed"));
    repeat(&bench.dir.join("wavebatch.db"), lines);
    let ledger = fs::metadata(bench.dir.join("wavebatch.db")).expect("a ledger").len();
    println!("a ledger of {lines} lines, {:.0} MB; {run} recordings, {IN_FLIGHT} in flight", ledger as f64 / 1e6);
    let mut slowdowns: Vec<f64> = (0..rounds).map(|round| pair(&bench, round)).collect();
    slowdowns.sort_by(f64::total_cmp);
    let (billed, expected) = (bench.server.books().billed, SEED.min(lines) + 2 * rounds * run);
    assert_eq!(billed, expected, "each line of each batch was paid for once");
    println!("slowdown of the batch by a backup: {:.1} % (median of {rounds})", slowdowns[slowdowns.len() / 2]);
}

/// A run with a backup and one without. Returns by how many per cent the first is slower.
fn pair(bench: &Bench, round: u64) -> f64 {
    let begin = Instant::now();
    ended(bench.run(&format!("alone-{round}"), "rec"));
    let alone = begin.elapsed();
    let begin = Instant::now();
    let running = bench.run(&format!("backed-up-{round}"), "rec");
    std::thread::sleep(HEAD_START);
    let backup = Instant::now();
    ended(bench.wavebatch(&["backup", "ledger.tar", "--replace", "-q"]).spawn().expect("wavebatch"));
    let backup = backup.elapsed();
    ended(running);
    let with_backup = begin.elapsed();
    let bytes = fs::metadata(bench.dir.join("ledger.tar")).expect("a backup").len();
    println!(
        "round {round}: alone {:.1} s, with a backup {:.1} s; the backup took {:.1} s, {:.0} MB",
        alone.as_secs_f64(),
        with_backup.as_secs_f64(),
        backup.as_secs_f64(),
        bytes as f64 / 1e6
    );
    if HEAD_START + backup > with_backup {
        println!("round {round}: the batch ended before the backup: take a longer one (RUN)");
    }
    100.0 * (with_backup.as_secs_f64() / alone.as_secs_f64() - 1.0)
}

fn recordings(dir: &Path, lines: u64) {
    fs::create_dir_all(dir).expect("a folder");
    for i in 0..lines {
        let samples: Vec<i16> = (0..8_000_u64).map(|n| i16::try_from((n * 31 + i * 7) % 199).expect("small")).collect();
        let words = format!("this is what was said in the recording number {i}, word by word, to the end");
        fs::write(dir.join(format!("{i:06}.wav")), wav::pcm16(1, 8_000, Some(&words), &samples)).expect("a recording");
    }
}

/// Repeats the lines of a ledger, their calls and answers, until it has so many. Its sums stay those of the first.
#[tokio::main(flavor = "current_thread")]
async fn repeat(ledger: &Path, lines: u64) {
    let mut conn = SqliteConnectOptions::new().filename(ledger).connect().await.expect("a ledger");
    let jobs = columns(&mut conn, "jobs").await;
    let calls = columns(&mut conn, "calls").await;
    let answers = columns(&mut conn, "answers").await;
    let spelled = |columns: &[String], of: &dyn Fn(&str) -> String| {
        columns.iter().map(|column| of(column)).collect::<Vec<_>>().join(", ")
    };
    let job = |column: &str| match column {
        "id" => "id + n * 10000000".to_owned(),
        "key" => "key || '-' || n".to_owned(),
        "ordinal" => "ordinal + n * 10000000".to_owned(),
        other => other.to_owned(),
    };
    // The first bytes of an id are its time: all of these are older than those of the batches that follow.
    let older = |id: &str| format!("CAST(unhex(printf('%08x', n)) || substr({id}, 5) AS BLOB)");
    let call = |column: &str| match column {
        "id" => older("id"),
        "job" => "job + n * 10000000".to_owned(),
        // A month ago, on another start of the machine: no limit and no upload of today knows them.
        "sent_at" => "sent_at - 2592000000".to_owned(),
        "boot_id" | "boot_ms" => "NULL".to_owned(),
        other => other.to_owned(),
    };
    let answer = |column: &str| match column {
        "call" => older("call"),
        other => other.to_owned(),
    };
    let numbers = "WITH RECURSIVE copies(n) AS (SELECT $1 UNION ALL SELECT n + 1 FROM copies WHERE n < $2)";
    let statements = [
        format!(
            "{numbers} INSERT INTO jobs ({}) SELECT {} FROM copies CROSS JOIN seed_jobs",
            jobs.join(", "),
            spelled(&jobs, &job)
        ),
        format!(
            "{numbers} INSERT INTO calls ({}) SELECT {} FROM copies CROSS JOIN seed_calls",
            calls.join(", "),
            spelled(&calls, &call)
        ),
        format!(
            "{numbers} INSERT INTO answers ({}) SELECT {} FROM copies CROSS JOIN seed_answers",
            answers.join(", "),
            spelled(&answers, &answer)
        ),
    ];
    for table in ["jobs", "calls", "answers"] {
        let seed = format!("CREATE TEMPORARY TABLE seed_{table} AS SELECT * FROM {table}");
        sqlx::query(sqlx::AssertSqlSafe(seed)).execute(&mut conn).await.expect("a copy");
    }
    let (copies, at_once) = (lines.div_ceil(SEED).saturating_sub(1), 50);
    for first in (1..=copies).step_by(at_once) {
        let last = (first + at_once as u64 - 1).min(copies);
        let mut all = conn.begin().await.expect("a transaction");
        for statement in &statements {
            sqlx::query(sqlx::AssertSqlSafe(statement.clone()))
                .bind(i64::try_from(first).expect("small"))
                .bind(i64::try_from(last).expect("small"))
                .execute(&mut *all)
                .await
                .expect("copies");
        }
        all.commit().await.expect("committed");
    }
    conn.close().await.expect("closed");
}

async fn columns(conn: &mut SqliteConnection, table: &'static str) -> Vec<String> {
    let names = sqlx::query_scalar("SELECT name FROM pragma_table_info($1)").bind(table);
    names.fetch_all(conn).await.expect("columns")
}
