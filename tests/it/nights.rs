//! The nights that must cost nothing twice. Which test holds which:
//!
//! | night | test |
//! | --- | --- |
//! | the vendor down for 20 minutes in the middle | `outages::twenty_minutes_without_a_listener_cost_no_line_and_no_try`, `outages::twenty_minutes_of_a_proxys_502_cost_no_line_and_no_try` |
//! | killed before midnight, resumed after | `night::a_night_killed_before_midnight_is_finished_after_it_and_before_the_next` |
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
    night::{BEFORE, Night, ended},
    support::{
        House, speech,
        web::{Page, Web},
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_command_from_another_directory_buys_nothing_and_says_why() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..6);
    let (code, told) = night.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");
    let elsewhere = night.house.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::copy(night.house.path("wavebatch.toml"), elsewhere.join("wavebatch.toml")).unwrap();
    for verb in ["run", "submit"] {
        let mut again = night.command(BEFORE, &[verb, "../night.toml"]);
        let (code, told) = ended(again.current_dir(&elsewhere).spawn().unwrap()).await;
        assert_eq!(code, 2, "{told}");
        let ledger = night.house.path("wavebatch.db").display().to_string();
        for words in ["2026/11/20", "belongs to batch", ledger.as_str(), "--database", "--take-over"] {
            assert!(told.contains(words), "{words}: {told}");
        }
    }
    assert_eq!(night.house.sandbox.books().calls, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_with_fresh_signatures_buys_only_what_failed() {
    const LINES: usize = 10;
    let house = House::new().await;
    let path = |i: usize, signature: &str| format!("/{i}.wav?X-Amz-Signature={signature}&X-Amz-Date=1");
    let page = |i: usize, signature: &str, page: Page| (&*path(i, signature).leak(), page);
    let file = |i: usize| Page::File(speech(&format!("words of call {i}"), 1.0, i));
    // The first ones' signatures run out before all are fetched.
    let old = (0..LINES).map(|i| page(i, "old", if i < 4 { file(i) } else { Page::Status(403) }));
    let web = Web::serve(old.chain((0..LINES).map(|i| page(i, "new", file(i))))).await;
    let export = |signature: &str| {
        let lines: Vec<_> = (0..LINES).map(|i| (format!("call-{i}"), web.url(&path(i, signature)))).collect();
        let lines: Vec<_> = lines.iter().map(|(key, url)| (key.as_str(), url)).collect();
        house.lines(&lines);
    };
    export("old");
    let (batch, _) = house.go("", "").await;
    assert_eq!(house.counts(batch).await.of(JobState::Succeeded), 4);
    export("new");
    let (again, _) = house.go("", "").await;
    assert_eq!(again, batch);
    assert_eq!(house.sandbox.books().calls, 4, "a signature is no change");
    // What failed for its source is free to be tried again, by the address that the new manifest has.
    assert_eq!(house.store.retry_free(batch).await.unwrap(), 6);
    house.run(batch).await;
    house.all_well(batch, LINES as u64, 1).await;
    assert_eq!(house.sandbox.books().calls, LINES as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_always_times_out_is_called_twice_and_not_more() {
    let house = House::with(Config { keep: 1_000, ..Config::default() }).await;
    house.calls(100);
    let hang = Fault::new(Match::Any, What::Hang);
    house.sandbox.script([hang, Fault::new(Match::Any, What::LogsAbsent)]);
    let run = "call_timeout = \"300ms\"\nconcurrency = 50\npause_on_failures = false";
    let (batch, _) = house.go("", run).await;
    let rows = house.rows(batch).await;
    assert_eq!(rows.len(), 100);
    for row in &rows {
        assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Failed, Some("timed_out")), "{}", row.key);
        assert_eq!(row.billed_calls, 2, "{}: told as it may have been billed", row.key);
    }
    let books = house.sandbox.books();
    assert_eq!((books.calls, books.most_billed()), (200, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_ledger_is_told_before_the_first_call() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..4);
    let (code, told) = night.run(BEFORE, &["submit", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");
    // A copy as a backup makes it, of a ledger that nobody works on.
    let ledger = night.house.path("wavebatch.db");
    let beside = |ending: &str| night.house.path(&format!("wavebatch.db{ending}"));
    let files = || ["", "-wal"].map(|ending| (ending, fs::read(beside(ending)).ok()));
    let backup = files();
    let (code, told) = night.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");
    for (ending, content) in backup {
        let _ = fs::remove_file(beside(ending));
        if let Some(content) = content {
            fs::write(beside(ending), content).unwrap();
        }
    }
    let _ = fs::remove_file(beside("-shm"));
    for verb in ["run", "submit"] {
        let (code, told) = night.run(BEFORE, &[verb, "night.toml"]).await;
        assert_eq!(code, 2, "{told}");
        for words in ["is an older copy", &ledger.display().to_string(), "--database"] {
            assert!(told.contains(words), "{words}: {told}");
        }
    }
    assert_eq!(night.house.sandbox.books().calls, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_of_a_production_definition_leaves_its_buckets_alone() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..5);
    let mut rehearsal = night.command(BEFORE, &["run", "night.toml", "--sandbox"]);
    let (code, told) = ended(rehearsal.env_remove("SMALLEST_BASE_URL").spawn().unwrap()).await;
    assert_eq!(code, 0, "{told}");
    for bucket in ["acme-transcripts", "acme-bi"] {
        assert_eq!(night.s3.keys(bucket), [""; 0], "{bucket}");
    }
    assert_eq!(night.s3.requests_about("PUT", ""), 0);
    assert!(night.house.path("sandbox-out/nightly-calls-2026-11-20/summary.json").exists(), "{told}");
    assert!(!night.house.path("wavebatch.db").exists() || night.house.store.batches().await.unwrap().is_empty());
    assert_eq!(night.house.sandbox.books().calls, 0, "it has a sandbox of its own");
    // And the night itself owes it nothing.
    let (code, told) = night.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");
    assert_eq!((night.house.sandbox.books().billed, night.report("nightly-calls-2026-11-20").len()), (5, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_fails_every_line_pauses_after_a_hundred() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..400);
    let refused = StatusFault { code: 400, message: Some("unknown language variant".into()), ..StatusFault::default() };
    night.house.sandbox.script([Fault::new(Match::Any, What::Status(refused))]);
    let (code, told) = night.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("unknown language variant") && told.contains("pause"), "{told}");
    let calls = night.house.sandbox.books().calls;
    assert!((100..160).contains(&calls), "{calls}");
    // Nothing was paid, and the rest is still there to be bought once the setting is right.
    assert_eq!(night.house.sandbox.books().billed, 0);
    night.house.sandbox.unscript();
    let batch = night.house.store.batches().await.unwrap().remove(0).id;
    let counts = night.house.counts(batch).await;
    let states: HashMap<&str, u64> =
        HashMap::from([("failed", counts.of(JobState::Failed)), ("queued", counts.of(JobState::Queued))]);
    assert_eq!(states["failed"] + states["queued"], 400, "{counts:?}");
    assert!(states["failed"] >= 100 && states["failed"] < 160, "{counts:?}");
}
