//! The nights that must cost nothing twice. Which test holds which:
//!
//! | night | test |
//! | --- | --- |
//! | the vendor down for 20 minutes in the middle | `outages::twenty_minutes_without_a_listener_cost_no_line_and_no_try`, `outages::twenty_minutes_of_a_proxys_502_cost_no_line_and_no_try` |
//! | killed before midnight, resumed after | `dated_batch::a_night_killed_before_midnight_is_finished_after_it_and_before_the_next` |
//! | the same command from another directory | `the_same_command_from_another_directory_buys_nothing_and_says_why` |
//! | the manifest exported again with fresh signatures | `a_manifest_with_fresh_signatures_buys_only_what_failed` |
//! | 100 recordings that always time out | `what_always_times_out_is_called_twice_and_not_more` |
//! | an older copy of the ledger restored | `an_older_copy_of_the_ledger_is_told_before_the_first_call` |
//! | `--sandbox` on a production definition | `a_rehearsal_of_a_production_definition_leaves_its_buckets_alone` |
//! | one wrong setting that fails every line | `a_setting_that_fails_every_line_pauses_after_a_hundred` |

use std::{collections::HashMap, fs};

use wavebatch::{
    domain::job::JobState,
    sandbox::{Config, Fault, Match, StatusFault, What},
};

use crate::{
    dated_batch::{BEFORE, DatedBatch, ended},
    support::{
        Fixture, synthesis,
        web::{Page, Web},
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_command_from_another_directory_buys_nothing_and_says_why() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..6);
    let (code, message) = dated.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    let elsewhere = dated.fixture.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::copy(dated.fixture.path("wavebatch.toml"), elsewhere.join("wavebatch.toml")).unwrap();
    for verb in ["run", "submit"] {
        let mut again = dated.command(BEFORE, &[verb, "../night.toml"]);
        let (code, message) = ended(again.current_dir(&elsewhere).spawn().unwrap()).await;
        assert_eq!(code, 2, "{message}");
        let ledger = dated.fixture.path("wavebatch.db").display().to_string();
        for words in ["2026/11/20", "belongs to batch", ledger.as_str(), "--database", "--take-over"] {
            assert!(message.contains(words), "{words}: {message}");
        }
    }
    assert_eq!(dated.fixture.sandbox.books().calls, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_with_fresh_signatures_buys_only_what_failed() {
    const LINES: usize = 10;
    let fixture = Fixture::new().await;
    let path = |i: usize, signature: &str| format!("/{i}.wav?X-Amz-Signature={signature}&X-Amz-Date=1");
    let page = |i: usize, signature: &str, page: Page| (&*path(i, signature).leak(), page);
    let file = |i: usize| Page::File(synthesis(&format!("words of call {i}"), 1.0, i));
    // The first ones' signatures run out before all are fetched.
    let old = (0..LINES).map(|i| page(i, "old", if i < 4 { file(i) } else { Page::Status(403) }));
    let web = Web::serve(old.chain((0..LINES).map(|i| page(i, "new", file(i))))).await;
    let export = |signature: &str| {
        let lines: Vec<_> = (0..LINES).map(|i| (format!("call-{i}"), web.url(&path(i, signature)))).collect();
        let lines: Vec<_> = lines.iter().map(|(key, url)| (key.as_str(), url)).collect();
        fixture.lines(&lines);
    };
    export("old");
    let (batch, _) = fixture.go("", "").await;
    assert_eq!(fixture.counts(batch).await.of(JobState::Succeeded), 4);
    export("new");
    let (again, _) = fixture.go("", "").await;
    assert_eq!(again, batch);
    assert_eq!(fixture.sandbox.books().calls, 4, "a signature is no change");
    // What failed for its source is free to be tried again, by the address that the new manifest has.
    assert_eq!(fixture.store.retry_free(batch).await.unwrap().jobs(), 6);
    fixture.run(batch).await;
    fixture.all_well(batch, LINES as u64, 1).await;
    assert_eq!(fixture.sandbox.books().calls, LINES as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_always_times_out_is_called_twice_and_not_more() {
    let fixture = Fixture::with(Config { keep: 1_000, ..Config::default() }).await;
    fixture.calls(100);
    let hang = Fault::new(Match::Any, What::Hang);
    fixture.sandbox.script([hang, Fault::new(Match::Any, What::LogsAbsent)]);
    let run = "call_timeout = \"300ms\"\nconcurrency = 50\npause_on_failures = false";
    let (batch, _) = fixture.go("", run).await;
    let rows = fixture.rows(batch).await;
    assert_eq!(rows.len(), 100);
    for row in &rows {
        assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Failed, Some("timed_out")), "{}", row.key);
        assert_eq!(row.billed_calls, 2, "{}: told as it may have been billed", row.key);
    }
    let books = fixture.sandbox.books();
    assert_eq!((books.calls, books.most_billed()), (200, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_ledger_is_told_before_the_first_call() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..4);
    let (code, message) = dated.run(BEFORE, &["submit", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    // A copy as a backup makes it, of a ledger that nobody works on.
    let ledger = dated.fixture.path("wavebatch.db");
    let beside = |ending: &str| dated.fixture.path(&format!("wavebatch.db{ending}"));
    let files = || ["", "-wal"].map(|ending| (ending, fs::read(beside(ending)).ok()));
    let backup = files();
    let (code, message) = dated.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    for (ending, content) in backup {
        let _ = fs::remove_file(beside(ending));
        if let Some(content) = content {
            fs::write(beside(ending), content).unwrap();
        }
    }
    let _ = fs::remove_file(beside("-shm"));
    for verb in ["run", "submit"] {
        let (code, message) = dated.run(BEFORE, &[verb, "night.toml"]).await;
        assert_eq!(code, 2, "{message}");
        for words in ["is an older copy", &ledger.display().to_string(), "--database"] {
            assert!(message.contains(words), "{words}: {message}");
        }
    }
    assert_eq!(dated.fixture.sandbox.books().calls, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_of_a_production_definition_leaves_its_buckets_alone() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..5);
    let mut rehearsal = dated.command(BEFORE, &["run", "night.toml", "--sandbox"]);
    let (code, message) = ended(rehearsal.env_remove("SMALLEST_BASE_URL").spawn().unwrap()).await;
    assert_eq!(code, 0, "{message}");
    for bucket in ["acme-transcripts", "acme-bi"] {
        assert_eq!(dated.s3.keys(bucket), [""; 0], "{bucket}");
    }
    assert_eq!(dated.s3.requests_about("PUT", ""), 0);
    assert!(dated.fixture.path("sandbox-out/nightly-calls-2026-11-20/summary.json").exists(), "{message}");
    assert!(!dated.fixture.path("wavebatch.db").exists() || dated.fixture.store.batches().await.unwrap().is_empty());
    assert_eq!(dated.fixture.sandbox.books().calls, 0, "it has a sandbox of its own");
    // And the night itself owes it nothing.
    let (code, message) = dated.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    assert_eq!((dated.fixture.sandbox.books().billed, dated.report("nightly-calls-2026-11-20").len()), (5, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_fails_every_line_pauses_after_a_hundred() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..400);
    let refused = StatusFault { code: 400, message: Some("unknown language variant".into()), ..StatusFault::default() };
    dated.fixture.sandbox.script([Fault::new(Match::Any, What::Status(refused))]);
    let (code, message) = dated.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 3, "{message}");
    assert!(message.contains("unknown language variant") && message.contains("pause"), "{message}");
    let calls = dated.fixture.sandbox.books().calls;
    assert!((100..160).contains(&calls), "{calls}");
    // Nothing was paid, and the rest is still there to be bought once the setting is right.
    assert_eq!(dated.fixture.sandbox.books().billed, 0);
    dated.fixture.sandbox.unscript();
    let batch = dated.fixture.store.batches().await.unwrap().remove(0).id;
    let counts = dated.fixture.counts(batch).await;
    let states: HashMap<&str, u64> =
        HashMap::from([("failed", counts.of(JobState::Failed)), ("queued", counts.of(JobState::Queued))]);
    assert_eq!(states["failed"] + states["queued"], 400, "{counts:?}");
    assert!(states["failed"] >= 100 && states["failed"] < 160, "{counts:?}");
}
