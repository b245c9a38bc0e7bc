//! A task that the program does not have, in one folder (`echo/`): the runner works it as it works its own.

use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use wavebatch::{
    domain::{
        batch::BatchSpec,
        environment::Environment,
        identity::Identity,
        job::{BatchId, JobState},
        pool::{Limits, Pool},
        task::{Asked, TaskSpec},
    },
    runner::{Maker, RunEnd},
    store::{Chosen, NewBatch, NewJob, NewSpeech, Text},
    tasks,
};

use crate::{
    echo::{Echo, Echoing, Stub},
    support::House,
};

/// A house in which the third task is known, and its API.
async fn house() -> (House, Stub) {
    let (mut house, stub) = (House::new().await, Stub::start().await);
    house.makers = [Arc::new(Echo) as Arc<dyn Maker>].into_iter().collect();
    house.base_url = Some(stub.base_url.clone());
    house.limits.insert(pool(), Limits::default());
    (house, stub)
}

fn pool() -> Pool {
    "echo".parse().unwrap()
}

/// A batch of these texts, each under itself as its key.
async fn batch(house: &House, texts: &[&str], run: serde_json::Value) -> BatchId {
    let spec: BatchSpec = serde_json::from_value(json!({
        "definition": "echo", "task": "echo", "asked": {}, "manifest": "texts.csv", "output": house.path("out"),
        "run": run, "report": {}, "carried": [], "option_columns": [],
    }))
    .unwrap();
    let spec = BatchSpec { task: TaskSpec::of(&Echoing { times: 2 }), ..spec };
    let new = NewBatch::new("echo", Environment::Live, Echoing::TASK, serde_json::to_string(&spec).unwrap());
    let (batch, _) = house.store.begin_submit(new).await.unwrap();
    let jobs = texts.iter().zip(1..).map(|(text, line)| job(line, text)).collect();
    house.store.submit(batch, jobs, vec![]).await.unwrap();
    house.store.end_submit(batch).await.unwrap();
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
        speech: Some(NewSpeech { text, variant: String::new() }),
    }
}

const TEXTS: [&str; 5] = ["one", "two", "three", "four", "five"];

#[tokio::test(flavor = "multi_thread")]
async fn a_third_task_is_worked() {
    let (house, stub) = house().await;
    let batch = batch(&house, &TEXTS, json!({})).await;
    assert_eq!(house.run(batch).await.end, RunEnd::Done);
    for (text, line) in TEXTS.iter().zip(1..) {
        assert_eq!(house.output(&format!("line-{line}.txt")), format!("{text} {text}"));
        assert_eq!(stub.asked(text), 1);
    }
    assert_eq!(house.counts(batch).await.of(JobState::Succeeded), 5);
    let row = house.row(batch, "line-3").await;
    assert_eq!((row.billed_calls, row.state), (1, JobState::Succeeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_costs_a_third_task_one_call_at_most_for_what_was_in_flight() {
    let (house, stub) = house().await;
    let batch = batch(&house, &TEXTS, json!({ "concurrency": 2 })).await;
    stub.hold();
    let doomed = house.second_store().await;
    tokio::select! {
        _ = house.run_on(&doomed, batch, CancellationToken::new(), CancellationToken::new()) => unreachable!("it is held"),
        // Its future is dropped without a word to the ledger, and its lock goes with it.
        () = stub.waiting(2) => {}
    }
    drop(doomed);
    stub.release();
    let asked_before: Vec<&str> = TEXTS.into_iter().filter(|text| stub.asked(text) > 0).collect();
    assert_eq!(asked_before.len(), 2);
    assert_eq!(house.run(batch).await.end, RunEnd::Done);
    assert_eq!(house.counts(batch).await.of(JobState::Succeeded), 5);
    for text in TEXTS {
        assert_eq!(stub.asked(text), if asked_before.contains(&text) { 2 } else { 1 }, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_kept_is_not_bought_again() {
    let (house, stub) = house().await;
    // A file stands where the outputs are to go.
    let wall = house.write("out", "");
    let batch = batch(&house, &TEXTS, json!({})).await;
    let doomed = house.second_store().await;
    tokio::select! {
        _ = house.run_on(&doomed, batch, CancellationToken::new(), CancellationToken::new()) => {}
        () = house.until("all are answered", || async { stub.asked_in_all() == 5 }) => {}
    }
    drop(doomed);
    std::fs::remove_file(wall).unwrap();
    house.store.resume(batch, true).await.unwrap();
    assert_eq!(house.run_ahead(batch).await.end, RunEnd::Done);
    assert_eq!(house.counts(batch).await.of(JobState::Succeeded), 5);
    assert_eq!(stub.asked_in_all(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_third_task_left_to_the_user_is_bought_again_by_retry_alone() {
    let (house, stub) = house().await;
    let batch = batch(&house, &["one"], json!({ "on_unknown": "park" })).await;
    stub.hold();
    let doomed = house.second_store().await;
    tokio::select! {
        _ = house.run_on(&doomed, batch, CancellationToken::new(), CancellationToken::new()) => unreachable!("it is held"),
        () = stub.waiting(1) => {}
    }
    drop(doomed);
    stub.release();
    house.run(batch).await;
    assert_eq!(house.ends(batch).await["line-1"], (JobState::Failed, "unknown_outcome".into()));
    assert_eq!(stub.asked("one"), 1);
    retry(&house, batch).await;
    assert_eq!(house.run(batch).await.end, RunEnd::Done);
    assert_eq!(stub.asked("one"), 2);
    assert_eq!(house.row(batch, "line-1").await.state, JobState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_a_third_task_lost_is_retried_alone() {
    let (house, stub) = house().await;
    stub.refuse("two", true);
    let batch = batch(&house, &["one", "two"], json!({})).await;
    house.run(batch).await;
    assert_eq!(house.ends(batch).await["line-2"], (JobState::Failed, "bad_request".into()));
    stub.refuse("two", false);
    retry(&house, batch).await;
    house.run(batch).await;
    assert_eq!(house.counts(batch).await.of(JobState::Succeeded), 2);
    assert_eq!((stub.asked("one"), stub.asked("two")), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_a_task_that_is_not_known_waits_for_a_program_that_knows_it() {
    let (mut house, stub) = house().await;
    let batch = batch(&house, &["one"], json!({})).await;
    let known = std::mem::replace(&mut house.makers, tasks::makers());
    let ran = house.run(batch).await;
    assert_eq!(ran.end, RunEnd::Paused);
    assert_eq!(ran.paused().as_deref(), Some("its task `echo` is not known to this program"));
    assert_eq!(stub.asked_in_all(), 0);
    house.makers = known;
    house.store.resume(batch, true).await.unwrap();
    assert_eq!(house.run(batch).await.end, RunEnd::Done);
    assert_eq!(house.counts(batch).await.of(JobState::Succeeded), 1);
}

async fn retry(house: &House, batch: BatchId) {
    let chosen = Chosen { batch, key: None, states: vec![], part: None };
    assert_eq!(house.store.retry(chosen).await.unwrap(), 1);
}
