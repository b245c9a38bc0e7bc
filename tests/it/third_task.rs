//! A task that the program does not have, in one folder (`echo/`): the runner works it as it works its own.

use std::{path::Path, sync::Arc};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use wavebatch::{
    definition::{Definition, Overrides},
    domain::{
        batch::BatchSpec,
        environment::Environment,
        identity::Identity,
        job::{BatchId, JobState},
        pool::{Limits, Pool},
        task::{Asked, TaskSpec},
    },
    report::{ReportTask, publish::report_to},
    runner::{Maker, RunEnd},
    store::{Chosen, NewBatch, NewJob, NewSynthesis, Resubmission, Text},
    tasks::Registry,
};

use crate::{
    echo::{Echo, Echoing, Stub},
    support::{Fixture, submit_lines},
};

/// A house in which the third task is known, and its API.
async fn fixture() -> (Fixture, Stub) {
    let (mut fixture, stub) = (Fixture::new().await, Stub::start().await);
    fixture.makers = [Arc::new(Echo) as Arc<dyn Maker>].into_iter().collect();
    fixture.base_url = Some(stub.base_url.clone());
    fixture.limits.insert(pool(), Limits::default());
    (fixture, stub)
}

fn pool() -> Pool {
    "echo".parse().unwrap()
}

/// A batch of these texts, each under itself as its key.
async fn batch(fixture: &Fixture, texts: &[&str], run: serde_json::Value) -> BatchId {
    let spec: BatchSpec = serde_json::from_value(json!({
        "definition": "echo", "task": "echo", "asked": {}, "manifest": "texts.csv", "output": fixture.path("out"),
        "run": run, "report": {}, "carried": [], "option_columns": [],
    }))
    .unwrap();
    let spec = BatchSpec { task: TaskSpec::of(&Echoing { times: 2 }), ..spec };
    let new = NewBatch::new("echo", Environment::Live, Echoing::TASK, (&spec).into());
    let batch = fixture.store.begin(new, Resubmission::default()).await.unwrap().batch;
    let jobs: Vec<_> = texts.iter().zip(1..).map(|(text, line)| job(line, text)).collect();
    submit_lines(&fixture.store, batch, &jobs).await;
    fixture.store.end_submit(batch).await.unwrap();
    batch
}

fn job(line: u64, text: &str) -> NewJob {
    let text = Text::new(text);
    NewJob {
        line,
        key: format!("line-{line}"),
        source: None,
        source_id: text.id(),
        options_id: Identity([1; 16]),
        overrides: None,
        carried: None,
        pool: pool(),
        expected: None,
        local: None,
        adopted: None,
        synthesis: Some(NewSynthesis { text, variant: String::new() }),
    }
}

const TEXTS: [&str; 5] = ["one", "two", "three", "four", "five"];

#[tokio::test(flavor = "multi_thread")]
async fn a_third_task_is_worked() {
    let (fixture, stub) = fixture().await;
    let batch = batch(&fixture, &TEXTS, json!({})).await;
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    for (text, line) in TEXTS.iter().zip(1..) {
        assert_eq!(fixture.output(&format!("line-{line}.txt")), format!("{text} {text}"));
        assert_eq!(stub.asked(text), 1);
    }
    assert_eq!(fixture.counts(batch).await.of(JobState::Succeeded), 5);
    let row = fixture.row(batch, "line-3").await;
    assert_eq!((row.billed_calls, row.state), (1, JobState::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_costs_a_third_task_one_call_at_most_for_what_was_in_flight() {
    let (fixture, stub) = fixture().await;
    let batch = batch(&fixture, &TEXTS, json!({ "concurrency": 2 })).await;
    stub.hold();
    let doomed = fixture.second_store().await;
    tokio::select! {
        _ = fixture.run_on(&doomed, batch, CancellationToken::new(), CancellationToken::new()) => unreachable!("it is held"),
        // Its future is dropped without a word to the ledger, and its lock goes with it.
        () = stub.waiting(2) => {}
    }
    drop(doomed);
    stub.release();
    let asked_before: Vec<&str> = TEXTS.into_iter().filter(|text| stub.asked(text) > 0).collect();
    assert_eq!(asked_before.len(), 2);
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    assert_eq!(fixture.counts(batch).await.of(JobState::Succeeded), 5);
    for text in TEXTS {
        assert_eq!(stub.asked(text), if asked_before.contains(&text) { 2 } else { 1 }, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_kept_is_not_bought_again() {
    let (fixture, stub) = fixture().await;
    // A file stands where the outputs are to go.
    let wall = fixture.write("out", "");
    let batch = batch(&fixture, &TEXTS, json!({})).await;
    let doomed = fixture.second_store().await;
    tokio::select! {
        _ = fixture.run_on(&doomed, batch, CancellationToken::new(), CancellationToken::new()) => {}
        () = fixture.until("all are answered", || async { stub.asked_in_all() == 5 }) => {}
    }
    drop(doomed);
    std::fs::remove_file(wall).unwrap();
    fixture.store.resume(batch, true).await.unwrap();
    assert_eq!(fixture.run_ahead(batch).await.end, RunEnd::Done);
    assert_eq!(fixture.counts(batch).await.of(JobState::Succeeded), 5);
    assert_eq!(stub.asked_in_all(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_third_task_left_to_the_user_is_bought_again_by_retry_alone() {
    let (fixture, stub) = fixture().await;
    let batch = batch(&fixture, &["one"], json!({ "on_unknown": "park" })).await;
    stub.hold();
    let doomed = fixture.second_store().await;
    tokio::select! {
        _ = fixture.run_on(&doomed, batch, CancellationToken::new(), CancellationToken::new()) => unreachable!("it is held"),
        () = stub.waiting(1) => {}
    }
    drop(doomed);
    stub.release();
    fixture.run(batch).await;
    assert_eq!(fixture.ends(batch).await["line-1"], (JobState::Failed, "unknown_outcome".into()));
    assert_eq!(stub.asked("one"), 1);
    retry(&fixture, batch).await;
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    assert_eq!(stub.asked("one"), 2);
    assert_eq!(fixture.row(batch, "line-1").await.state, JobState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_a_third_task_lost_is_retried_alone() {
    let (fixture, stub) = fixture().await;
    stub.refuse("two", true);
    let batch = batch(&fixture, &["one", "two"], json!({})).await;
    fixture.run(batch).await;
    assert_eq!(fixture.ends(batch).await["line-2"], (JobState::Failed, "bad_request".into()));
    stub.refuse("two", false);
    retry(&fixture, batch).await;
    fixture.run(batch).await;
    assert_eq!(fixture.counts(batch).await.of(JobState::Succeeded), 2);
    assert_eq!((stub.asked("one"), stub.asked("two")), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_a_task_that_is_not_known_waits_for_a_program_that_knows_it() {
    let (mut fixture, stub) = fixture().await;
    let batch = batch(&fixture, &["one"], json!({})).await;
    let known = std::mem::replace(&mut fixture.makers, Registry::built_in().makers().clone());
    let ran = fixture.run(batch).await;
    assert_eq!(ran.end, RunEnd::Paused);
    assert_eq!(ran.paused().as_deref(), Some("its task `echo` is not known to this program"));
    assert_eq!(stub.asked_in_all(), 0);
    fixture.makers = known;
    fixture.store.resume(batch, true).await.unwrap();
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    assert_eq!(fixture.counts(batch).await.of(JobState::Succeeded), 1);
}

#[test]
fn a_third_task_reads_its_own_part_of_a_definition() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("texts.csv"), "key,text\n1,one\n").unwrap();
    let load = |echo: &str, registry: &Registry| {
        let text = format!("task = \"echo\"\nmanifest = \"texts.csv\"\n[echo]\n{echo}\n");
        std::fs::write(dir.path().join("a.toml"), text).unwrap();
        let over = Overrides { working_dir: Some(dir.path().into()), ..Overrides::default() };
        Definition::load(Path::new("a.toml"), registry.definitions(), &over)
    };
    let registry = Registry::built_in().with(Echo);
    let definition = load("times = 2", &registry).unwrap();
    assert_eq!(definition.asks(), Some(&Echoing { times: 2 }));
    assert_eq!(definition.task.spec(), TaskSpec::of(&Echoing { times: 2 }));
    let error = |echo, registry| load(echo, registry).unwrap_err().list[0].to_string();
    assert_eq!(error("times = 0", &registry), "a.toml:4:9: `echo.times`: 0 is not between 1 and 4294967295");
    assert_eq!(error("", &registry), "a.toml:3:1: `echo.times`: is missing; e.g. times = 2");
    let unknown = load("time = 2", &registry).unwrap_err().list[1].to_string();
    assert_eq!(unknown, "a.toml:4:1: `echo.time`: there is no such field; did you mean `times`?");
    assert_eq!(error("times = 2", &Registry::built_in()), "a.toml:1:8: `task`: `echo` is not a task");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_of_a_third_task_has_a_column_of_its_own() {
    let (fixture, _stub) = fixture().await;
    let batch = batch(&fixture, &["one"], json!({})).await;
    fixture.run(batch).await;
    let row = fixture.store.batch_by_id(batch).await.unwrap();
    let of = (row.specification().unwrap(), &Echo as &dyn ReportTask);
    let report = report_to(&fixture.store, &row, of, false, Vec::new()).await.unwrap();
    let report = String::from_utf8(report).unwrap();
    let lines: Vec<&str> = report.lines().collect();
    assert_eq!(lines[0], "batch,line,key,status,outputs,times");
    assert!(lines[1].starts_with("echo,1,line-1,succeeded,") && lines[1].ends_with(",2"), "{report}");
}

async fn retry(fixture: &Fixture, batch: BatchId) {
    let chosen = Chosen { batch, key: None, states: vec![], part: None };
    assert_eq!(fixture.store.retry(chosen).await.unwrap(), 1);
}
