//! A task that the program does not have, in one folder (`echo/`): the runner works it as it works its own.

use serde_json::json;
use tokio_util::sync::CancellationToken;
use wavebatch::{
    definition::{Definition, Overrides},
    domain::{
        batch::BatchSpec,
        cost::Rates,
        environment::Environment,
        identity::Identity,
        job::{BatchId, JobState},
        pool::Limits,
        task::TaskSpec,
    },
    report::{publish::publish_at_output, summary::SummaryState, task_of},
    runner::{
        RunEnd,
        intake::{PlanOptions, plan},
    },
    store::{Chosen, NewBatch, NewJob, NewSynthesis, Resubmission, Selection, Text},
    tasks::Registry,
};

use crate::{
    echo::{Echo, Echoing, Stub, pool},
    support::{Fixture, submit_lines},
};

/// A fixture in which the third task is known, and its API.
async fn fixture() -> (Fixture, Stub) {
    let (mut fixture, stub) = (Fixture::new().await, Stub::start().await);
    fixture.registry = Registry::built_in().with(Echo);
    fixture.base_url = Some(stub.base_url.clone());
    fixture.limits.insert(pool(), Limits::default());
    (fixture, stub)
}

/// A batch of these texts, each under itself as its key.
async fn batch(fixture: &Fixture, texts: &[&str], run: serde_json::Value) -> BatchId {
    let spec: BatchSpec = serde_json::from_value(json!({
        "definition": "echo", "task": "echo", "asked": {}, "manifest": "texts.csv", "output": fixture.path("out"),
        "run": run, "report": {}, "carried": [], "option_columns": [],
    }))
    .unwrap();
    let spec = BatchSpec { task: TaskSpec::of(&Echoing { times: 2 }), ..spec };
    let new = NewBatch::of::<Echoing>("echo", Environment::Live, (&spec).into());
    let new = NewBatch { concurrency: spec.run.concurrency, ..new };
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
    assert_eq!(fixture.run_ahead(batch).await.end, RunEnd::Paused);
    assert!(answers(&fixture).await > 0);
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
    let known = std::mem::replace(&mut fixture.registry, Registry::built_in());
    let ran = fixture.run(batch).await;
    assert_eq!(ran.end, RunEnd::Paused);
    assert_eq!(ran.paused().as_deref(), Some("its task `echo` is not known to this program"));
    assert_eq!(stub.asked_in_all(), 0);
    fixture.registry = known;
    fixture.store.resume(batch, true).await.unwrap();
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    assert_eq!(fixture.counts(batch).await.of(JobState::Succeeded), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_task_has_a_report_of_its_own() {
    let (fixture, stub) = fixture().await;
    stub.refuse("two", true);
    let batch = batch(&fixture, &["one", "two"], json!({})).await;
    fixture.run(batch).await;
    let report = publish(&fixture, batch).await;
    let lines: Vec<&str> = report.lines().collect();
    assert_eq!(lines[0], "batch,line,key,status,outputs,model,characters,billed_calls,cost_usd,error_kind,error,times");
    assert!(lines[1].starts_with("echo,1,line-1,succeeded,"), "{report}");
    assert!(lines[1].ends_with(",echo,3,1,0.000030,,,2"), "{report}");
    assert!(lines[2].starts_with("echo,2,line-2,failed,[],echo,3,0,0.000000,bad_request,"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_task_goes_from_its_manifest_to_its_report() {
    let (fixture, stub) = fixture().await;
    fixture.write("texts.csv", "key,text,who\na,one,Ann\nb,,Bo\nc,three,Cy\n");
    let toml = "name = \"e\"\ntask = \"echo\"\nmanifest = \"texts.csv\"\noutput = \"out/\"\n[echo]\ntimes = 3\n";
    let file = fixture.write("e.toml", toml);
    let definition = Definition::load(&file, fixture.registry.definitions(), &Overrides::default()).unwrap();
    let how = PlanOptions::of(fixture.registry.intakes());
    let faults = plan(None, &definition, None, Environment::Live, &how).await.unwrap_err();
    let faults = format!("{faults:?}");
    assert!(faults.contains("line: Some(3)") && faults.contains("there is nothing to be said"), "{faults}");
    fixture.write("texts.csv", "key,text,who\na,one,Ann\nb,two,Bo\nc,three,Cy\n");
    assert_eq!(plan(None, &definition, None, Environment::Live, &how).await.unwrap().scan.lines, 3);

    let batch = fixture.submit(&file).await;
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    assert_eq!(fixture.output("b.txt"), "two two two");
    // The same again buys nothing; a changed line alone is said again.
    assert_eq!(fixture.submit(&file).await, batch);
    fixture.run(batch).await;
    assert_eq!(stub.asked_in_all(), 3);
    fixture.write("texts.csv", "key,text,who\na,one,Ann\nb,two,Bo\nc,four,Cy\n");
    fixture.submit(&file).await;
    fixture.run(batch).await;
    assert_eq!((stub.asked("four"), stub.asked_in_all()), (1, 4));
    let report = publish(&fixture, batch).await;
    assert!(report.lines().next().unwrap().ends_with(",error,times,who"), "{report}");
    assert!(report.lines().nth(1).unwrap().ends_with(",,,3,Ann"), "{report}");
}

#[tokio::test]
async fn a_third_task_has_a_table_of_its_own_in_definitions() {
    let (fixture, _stub) = fixture().await;
    fixture.write("texts.csv", "key,text\na,one\n");
    let load = |table: &str| {
        let toml = format!("name = \"e\"\ntask = \"echo\"\nmanifest = \"texts.csv\"\noutput = \"out/\"\n{table}");
        Definition::load(&fixture.write("e.toml", toml), fixture.registry.definitions(), &Overrides::default())
    };
    assert_eq!(load("[echo]\ntimes = 2").unwrap().task.spec(), TaskSpec::of(&Echoing { times: 2 }));
    for (table, fault) in [
        ("", "is missing; e.g. times = 2"),
        ("[echo]\ntimes = 0", "0 is not between 1 and"),
        ("[echo]\ntimes = 2\ntime = 3", "did you mean `times`?"),
    ] {
        let faults = load(table).unwrap_err().to_string();
        assert!(faults.contains(fault), "{faults}");
    }
}

/// How many answers the ledger keeps.
async fn answers(fixture: &Fixture) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM answers").fetch_one(&mut fixture.ledger().await).await.unwrap()
}

/// Writes the report, and reads it.
async fn publish(fixture: &Fixture, batch: BatchId) -> String {
    let row = fixture.store.batch_by_id(batch).await.unwrap();
    let spec = row.specification().unwrap();
    let task = task_of(fixture.registry.reports(), spec).unwrap();
    let (of, rates) = ((spec, &*task), Rates::default());
    publish_at_output(&fixture.store, &row, of, SummaryState::Finished, &rates).await.unwrap();
    fixture.output("report.csv")
}

async fn retry(fixture: &Fixture, batch: BatchId) {
    let chosen = Chosen::of(batch, Selection::default());
    assert_eq!(fixture.store.retry(chosen).await.unwrap(), 1);
}
