//! Forgetting 1,000 of 1,000,000 lines of a ledger in a file: how long it takes in all, and for how long others wait for the
//! write lock at most. Another connection asks for the lock all the time, as a worker does.
//!
//! `cargo bench --bench forget`; `LINES=100000 FORGET=1000` for less. Needs 3 GB of disk where it is started, or in `BENCH_DIR`.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::{
    env,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use wavebatch::{
    domain::{
        environment::Environment,
        forget::ForgetSpec,
        identity::{Identity, source_identity},
        job::BatchId,
        pool::Pool,
        query::QueryRules,
        transcription::Transcription,
    },
    store::{BadSet, Cleaned, Condition, Field, LineSet, NewBatch, NewJob, Opening, Resubmission, Selection, Store},
};

/// Lines of one set.
const SET: u64 = 5_000;
/// Which lines are of the customer who asks: every so many.
const CUSTOMER: &str = "customer-7";

#[tokio::main]
async fn main() {
    let asked = |name: &str, otherwise| env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (lines, forgotten): (u64, u64) = (asked("LINES", 1_000_000), asked("FORGET", 1_000));
    let place = env::var("BENCH_DIR").unwrap_or_else(|_| ".".into());
    let dir = tempfile::tempdir_in(place).expect("a folder");
    let path = dir.path().join("wavebatch.db");
    let (store, _) = Store::open(Opening::new(&path)).await.expect("a ledger");
    let began = Instant::now();
    let batch = fill(&store, &path, lines, lines / forgotten.max(1)).await;
    let size = store.sizes().await.expect("sizes");
    println!("{lines} lines, {} MB, made in {:.1} s", size.file / 1_000_000, began.elapsed().as_secs_f64());

    let stop = Arc::new(AtomicBool::new(false));
    let prober = tokio::spawn(longest_wait(path.clone(), Arc::clone(&stop)));
    let began = Instant::now();
    let whose = Condition { field: Field::Carried(0), values: vec![CUSTOMER.into()] };
    let keys = store.keys_to_forget(batch, &Selection { conditions: vec![whose] }).await.expect("keys");
    step("lines found by a cell", began, keys.len() as u64);
    let forget = store.begin_forget("bench".into(), ForgetSpec::default(), None).await.expect("begun");
    store.mark_to_forget(forget.id, batch, &keys).await.expect("marked").expect("nobody submits");
    store.all_marked(forget.id).await.expect("marked");
    step("lines marked", began, keys.len() as u64);
    let mut jobs = 0;
    loop {
        let some = store.forget_some(&forget).await.expect("scrubbed");
        if some == 0 {
            break;
        }
        jobs += some;
    }
    step("jobs scrubbed", began, jobs);
    assert_eq!(store.clean().await.expect("cleaned"), Cleaned::Done);
    step("cleaned once", began, jobs);
    store.end_forget(forget.id, "digest".into()).await.expect("ended");
    assert_eq!(store.clean().await.expect("cleaned"), Cleaned::Done);
    step("cleaned again, and all done", began, jobs);
    stop.store(true, Ordering::Relaxed);
    let (waited, times) = prober.await.expect("a prober");
    println!("the longest wait for the write lock: {:.3} s, of {times} times", waited.as_secs_f64());
    store.close().await;
}

fn step(what: &str, began: Instant, count: u64) {
    println!("{:6.2} s  {count} {what}", began.elapsed().as_secs_f64());
}

/// A finished batch whose lines are answered. Every `every`th is of the customer.
async fn fill(store: &Store, path: &Path, lines: u64, every: u64) -> BatchId {
    let new = NewBatch::of::<Transcription>("b", Environment::Live, "{}".into());
    let begun = store.begin(new, Resubmission::default()).await.expect("a batch");
    let mut line = 0;
    while line < lines {
        let mut set = LineSet::default();
        for place in 0..SET.min(lines - line) {
            line += 1;
            let whose = if line % every.max(1) == 0 { CUSTOMER.to_owned() } else { format!("other-{line}") };
            set.push(&job(line, &whose), place);
        }
        store.submit_sets(begun, vec![(set, BadSet::default())]).await.expect("lines");
    }
    store.end_submit(begun.batch).await.expect("submitted");
    let mut conn = connect(path).await;
    for sql in [
        "INSERT INTO calls (id, job, batch, generation, account, pool, state, why, sent_at, timeout_ms, grace_ms, ended_at, cost, request)
         SELECT CAST(unhex(printf('%012x', id)) || randomblob(10) AS BLOB), id, batch, 0, 'a', 'pulse', 'answered', 'first', id, 0, 0, id, 5,
           '{\"model\":\"pulse\",\"language\":\"en\",\"flags\":{}}' FROM jobs",
        "INSERT INTO job_parts (job, part) SELECT id, 0 FROM jobs",
        "INSERT INTO answers SELECT id, 'api', 1, 1500, randomblob(600) FROM calls",
        "INSERT INTO outputs (batch, path, job, checksum) SELECT batch, key || '.json', id, hex(randomblob(32)) FROM jobs",
        "UPDATE jobs SET state = 'succeeded', due_at = NULL, finished_at = 1, outputs = '[\"/out/' || key || '.json\"]'",
        "UPDATE batches SET finished_at = 1, spent = (SELECT sum(cost) FROM calls)",
        "PRAGMA wal_checkpoint(TRUNCATE)",
    ] {
        sqlx::query(sql).execute(&mut conn).await.expect("rows");
    }
    conn.close().await.expect("closed");
    begun.batch
}

fn job(line: u64, whose: &str) -> NewJob {
    let source = format!("/srv/recordings/call-{line:07}.wav");
    NewJob {
        line,
        key: format!("call-{line:07}"),
        source_id: source_identity(&source, &QueryRules::default()),
        source: Some(source),
        options_id: Identity([7; 16]),
        overrides: None,
        carried: Some(format!("[\"{whose}\",\"support\"]")),
        pool: Pool::Pulse,
        expected: None,
        local: None,
        adopted: None,
        synthesis: None,
    }
}

async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(30));
    SqliteConnection::connect_with(&options.pragma("secure_delete", "ON")).await.expect("a connection")
}

/// Takes the write lock again and again; the longest that one took to get it, and how often it was got.
async fn longest_wait(path: PathBuf, stop: Arc<AtomicBool>) -> (Duration, u64) {
    let mut conn = connect(&path).await;
    let (mut longest, mut times) = (Duration::ZERO, 0);
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut conn).await.expect("the lock");
        longest = longest.max(began.elapsed());
        times += 1;
        sqlx::query("ROLLBACK").execute(&mut conn).await.expect("given back");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    (longest, times)
}
