//! What submitting, claiming and counting cost with a million lines. `cargo bench --bench submit [-- LINES]`
#![expect(clippy::print_stdout, reason = "a bench is there to print")]

#[path = "support/claims.rs"]
mod claims;

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    time::{Duration, Instant},
};

use claims::claims;
use wavebatch::{
    definition::{Definition, Overrides},
    domain::{batch::BatchSpec, cost::Rates, environment::Environment, job::BatchId},
    report::{
        publish::{ReportRequest, report_to, summarize},
        summary::SummaryState,
    },
    runner::intake::{PlanOptions, SubmitOptions, plan, submit},
    store::{Opening, Store},
};

const FEW: u64 = 10_000;

#[tokio::main]
async fn main() {
    let asked = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    let many: u64 = asked.unwrap_or(1_000_000);
    let dir = tempfile::tempdir().expect("a temporary directory");

    let before = memory("VmRSS");
    let (store, batch, spec) = submitted(dir.path(), "many", many).await;
    println!("peak memory while submitting: {} MB (before: {before} MB)", memory("VmHWM"));

    let (took, counts) = timed(store.counts(batch)).await;
    println!("counts of {} jobs: {took:.3?}", counts.expect("counts").total());
    let rates = Rates::default();
    let (took, _) =
        timed(summarize(&store, batch, (&spec, &wavebatch::tasks::Transcribe), SummaryState::Running, &rates)).await;
    println!("summary of the same: {took:.3?}");

    let definition = load(dir.path(), "many");
    let (took, again) = timed(submit(
        &store,
        &definition,
        None,
        Environment::Live,
        &SubmitOptions::of(wavebatch::tasks::Registry::built_in().intakes()),
    ))
    .await;
    println!("the same submitted again: {took:.2?}, {} the same", again.expect("submitted").submitted.same);
    let (took, _) = timed(plan(
        Some(&store),
        &definition,
        None,
        Environment::Live,
        &PlanOptions { measure: false, ..PlanOptions::of(wavebatch::tasks::Registry::built_in().intakes()) },
    ))
    .await;
    println!("check of the same: {took:.2?}");
    let row = store.batch_by_id(batch).await.expect("the batch");
    let (took, _) = timed(report_to(
        &store,
        &row,
        (&spec, &wavebatch::tasks::Transcribe),
        &ReportRequest::default(),
        std::io::sink(),
    ))
    .await;
    println!("report of the same: {took:.2?}");

    let slow = claims(&store, many).await;
    let (few, ..) = submitted(dir.path(), "few", FEW).await;
    let fast = claims(&few, FEW).await;
    println!("claim p99, {many} to {FEW} lines queued: factor {:.2}", slow.as_secs_f64() / fast.as_secs_f64());
    println!("peak memory in all: {} MB", memory("VmHWM"));
}

/// Writes a manifest, submits it into a new ledger, and says how long that took.
async fn submitted(dir: &Path, name: &str, lines: u64) -> (Store, BatchId, BatchSpec) {
    write_manifest(&dir.join(format!("{name}.csv")), lines).expect("a manifest");
    let toml = format!(
        "task = \"transcribe\"\nmanifest = \"{name}.csv\"\noutput = \"out/{name}\"\n\
         [transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\n"
    );
    fs::write(dir.join(format!("{name}.toml")), toml).expect("a definition");
    let store = Store::open(Opening::new(dir.join(format!("{name}.db")))).await.expect("a ledger").0;
    let definition = load(dir, name);
    let (took, done) = timed(submit(
        &store,
        &definition,
        None,
        Environment::Live,
        &SubmitOptions::of(wavebatch::tasks::Registry::built_in().intakes()),
    ))
    .await;
    let done = done.expect("submitted");
    println!("submit {} lines: {took:.2?}", done.submitted.new);
    (store, done.batch, done.spec)
}

fn load(dir: &Path, name: &str) -> Definition {
    Definition::load(
        &dir.join(format!("{name}.toml")),
        wavebatch::tasks::Registry::built_in().definitions(),
        &Overrides::default(),
    )
    .expect("a valid definition")
}

fn write_manifest(path: &Path, lines: u64) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    writeln!(out, "key,url,agent,team")?;
    for n in 0..lines {
        let spread = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        writeln!(
            out,
            "call-{n:08},https://recordings.example.com/2026/08/{:02}/{spread:016x}.wav?X-Amz-Date=20260821&X-Amz-Signature={spread:016x},agent {},support",
            n % 31,
            n % 200
        )?;
    }
    out.flush()
}

async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let start = Instant::now();
    let done = work.await;
    (start.elapsed(), done)
}

/// A figure of this process in MB, where the system tells.
fn memory(what: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() / 1_024
}
