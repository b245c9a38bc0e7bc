//! `spend` agrees with the summary, whatever it is split by; `status` and `prune` tell what answers take.

use std::{
    fs,
    process::{Command, Output},
};

use serde_json::Value;
use sha2::Digest;
use wavebatch::{
    domain::{
        cost::{MicroUsd, Rates},
        environment::Environment,
        job::{BatchId, CallState},
    },
    report::{
        publish::summarize,
        summary::{SpendReason, SummaryState},
    },
    sandbox::{Config, Fault, Match, What},
    store::{Chosen, Selection, SpendBy, SpendQuery, SpendSums, Spent},
};

use crate::support::Fixture;

/// What one call for one second of audio costs, in micro-USD.
const A_CALL: i64 = 84;
const DAY: i64 = 86_400_000;

/// Six lines of three agents and none. One answer is useless, one is lost on its way; a day later one line is bought again
/// by `retry`.
async fn dated() -> (Fixture, BatchId) {
    let fixture = Fixture::timeless(Config::default()).await;
    let mut manifest = String::from("key,source,agent\n");
    for (i, agent) in ["Ann", "Bob", "Ann", "Bob", "\"=Eve, \"\"E\"\"\"", ""].iter().enumerate() {
        fixture.recording(&format!("rec/{i}.wav"), &format!("words of call {i}"), 1.0, i);
        manifest.push_str(&format!("call-{i},rec/{i}.wav,{agent}\n"));
    }
    fixture.write("calls.csv", manifest);
    fixture.sandbox.script([
        Fault::new(Match::Content(sha(&fixture, 1)), What::Garbage200).times(1),
        Fault::new(Match::Content(sha(&fixture, 2)), What::CutAfterWork).times(1),
        Fault::new(Match::Any, What::LogsAbsent),
    ]);
    let (batch, _) = fixture.go("", "concurrency = 1").await;
    fixture.clock.advance(DAY);
    let again = Chosen { batch, lines: Selection::of_key("call-4"), part: None, other_way: None };
    assert_eq!(fixture.store.retry(again).await.unwrap(), 1);
    fixture.run(batch).await;
    fixture.all_well(batch, 6, 2).await;
    (fixture, batch)
}

fn sha(fixture: &Fixture, recording: usize) -> String {
    let bytes = fs::read(fixture.path(&format!("rec/{recording}.wav"))).unwrap();
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

async fn spent(fixture: &Fixture, by: SpendBy) -> Spent {
    fixture.store.spent(&ask(by)).await.unwrap()
}

fn ask(by: SpendBy) -> SpendQuery {
    SpendQuery { environment: Environment::Live, since: None, before: None, by, top: usize::MAX }
}

fn names(spent: &Spent) -> Vec<(Option<&str>, u64, i64)> {
    spent.groups.iter().map(|g| (g.name.as_deref(), g.sums.billed, g.sums.cost / A_CALL)).collect()
}

fn spend(fixture: &Fixture, args: &[&str]) -> Output {
    let ledger = format!("sqlite://{}", fixture.path("wavebatch.db").display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_wavebatch"));
    command.current_dir(fixture.dir.path()).args(args).args(["--database", &ledger]);
    for name in ["SMALLEST_API_KEY", "SMALLEST_BASE_URL", "WAVEBATCH_DATABASE", "WAVEBATCH_CONFIG"] {
        command.env_remove(name);
    }
    command.output().expect("the program starts")
}

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_agrees_with_the_summary_however_it_is_split() {
    let (fixture, batch) = dated().await;
    let row = fixture.store.batch_by_id(batch).await.unwrap();
    let spec = row.specification().unwrap();
    let of = (spec, &wavebatch::tasks::Transcribe as &dyn wavebatch::domain::task::Task);
    let summary = summarize(&fixture.store, batch, of, SummaryState::Finished, &Rates::default()).await.unwrap();
    let reason = |reason| summary.spend.by_reason.get(&reason).copied().unwrap_or(MicroUsd::ZERO).0;

    let by_batch = spent(&fixture, SpendBy::Batch).await;
    let total = by_batch.total;
    assert_eq!(names(&by_batch), [(Some("night"), 9, 9)]);
    assert_eq!((total.cost, row.spent), (summary.spend.total_usd.0, total.cost));
    assert_eq!((total.calls, total.billed, total.lines), (summary.calls, summary.billed_calls, 6));
    assert_eq!(total.first, reason(SpendReason::FirstCall));
    assert_eq!(total.unknown, reason(SpendReason::AfterUnknown));
    assert_eq!(total.retry, reason(SpendReason::Retry));
    assert_eq!((total.first, total.unknown, total.retry), (6 * A_CALL, A_CALL, 2 * A_CALL));
    assert_eq!((total.lost, total.surplus, total.replaced), (2 * A_CALL, 0, A_CALL));
    assert_eq!((total.audio_ms, total.reserved), (9_000, 0));

    let by_agent = spent(&fixture, SpendBy::Column("agent".into())).await;
    let mut message = names(&by_agent);
    assert!(message.is_sorted_by_key(|(_, _, cost)| -cost), "the most costly first: {message:?}");
    message.sort_unstable();
    assert_eq!(message, [(Some(""), 1, 1), (Some("=Eve, \"E\""), 2, 2), (Some("Ann"), 3, 3), (Some("Bob"), 3, 3)]);
    assert_eq!(by_agent.total, total);
    let other = spent(&fixture, SpendBy::Column("team".into())).await;
    assert_eq!((names(&other), other.total), (vec![(None, 9, 9)], total));
    let by_model = spent(&fixture, SpendBy::Model).await;
    assert_eq!((names(&by_model), by_model.total), (vec![(Some("pulse"), 9, 9)], total));

    let by_day = spent(&fixture, SpendBy::Day(vec![])).await;
    assert_eq!(by_day.groups.iter().map(|g| (g.sums.lines, g.sums.billed)).collect::<Vec<_>>(), [(6, 8), (1, 1)]);
    assert_eq!(by_day.total, total, "a line of two days is one line");
    let sandbox =
        fixture.store.spent(&SpendQuery { environment: Environment::Sandbox, ..ask(SpendBy::Batch) }).await.unwrap();
    assert_eq!(sandbox, Spent::default(), "nothing is mixed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_cuts_and_the_rest_is_added_up() {
    let (fixture, batch) = dated().await;
    let sent = fixture.job(batch, "call-4").await.calls.last().unwrap().sent_at;
    let late = fixture.store.spent(&SpendQuery { since: Some(sent), ..ask(SpendBy::Batch) }).await.unwrap();
    let early = fixture.store.spent(&SpendQuery { before: Some(sent), ..ask(SpendBy::Batch) }).await.unwrap();
    assert_eq!((late.total.calls, early.total.calls), (1, 8));
    assert_eq!(late.total.retry, A_CALL);

    let all = spent(&fixture, SpendBy::Column("agent".into())).await;
    let two = fixture.store.spent(&SpendQuery { top: 2, ..ask(SpendBy::Column("agent".into())) }).await.unwrap();
    assert_eq!(two.groups, all.groups[..2]);
    let mut rest = SpendSums::default();
    all.groups[2..].iter().for_each(|group| rest += group.sums);
    assert_eq!((two.others, two.total), ((2, rest), all.total));

    // A zone whose clocks change between the two moments: the newest day is kept, in its own offset.
    let change = sent - DAY / 2;
    let day = |ms: i64| jiff::Timestamp::from_millisecond(ms).unwrap().strftime("%Y-%m-%d").to_string();
    let by = SpendBy::Day(vec![(0, 0), (change, 3 * DAY)]);
    let newest = fixture.store.spent(&SpendQuery { top: 1, ..ask(by) }).await.unwrap();
    assert_eq!(newest.groups[0].name, Some(day(sent + 3 * DAY)));
    assert_eq!((newest.others.0, newest.others.1.billed), (1, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_changed_stands_under_its_cells_of_today() {
    let fixture = Fixture::new().await;
    fixture.calls(2);
    let (batch, _) = fixture.go("", "").await;
    fixture.recording("rec/new.wav", "other words", 1.0, 77);
    fixture
        .write("calls.csv", "team,key,source,agent\nred,call-0001,rec/new.wav,Zoe\nblue,call-0002,rec/2.wav,agent 2\n");
    fixture.go("", "").await;
    assert_eq!(fixture.row(batch, "call-0001").await.billed_calls, 1, "of the new line");
    let by_agent = spent(&fixture, SpendBy::Column("agent".into())).await;
    assert_eq!(names(&by_agent), [(Some("Zoe"), 2, 2), (Some("agent 2"), 1, 1)]);
    let by_team = spent(&fixture, SpendBy::Column("team".into())).await;
    assert_eq!(names(&by_team), [(Some("red"), 2, 2), (Some("blue"), 1, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_shows_a_table_and_json() {
    let (fixture, _) = dated().await;
    let table = spend(&fixture, &["spend", "--by", "agent", "--top", "3"]);
    let shown = text(&table.stdout);
    assert_eq!(table.status.code(), Some(0), "{}", text(&table.stderr));
    for words in [
        "spent by the column `agent`, of all time\n\nagent ",
        "\n1 other ",
        "\ntotal          6             9      0.2  $0.000756            $0.000252\n",
        "  why       $0.000504 for first calls\n",
        "  not used  $0.000168 of it for calls that were given up, and may have been billed\n",
        "an estimate at list price; the price table is of 2026-09-07\n",
    ] {
        assert!(shown.contains(words), "{words:?} is not in\n{shown}");
    }
    let json = spend(&fixture, &["spend", "--by", "agent", "--json", "--since", "yesterday", "--timezone", "UTC"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["groups"].as_array().unwrap().len(), 4);
    assert_eq!((&json["total"]["cost_usd"], &json["total"]["billed_calls"]), (&0.000_756.into(), &9.into()));
    assert_eq!(json["total"]["by_reason"]["after_unknown_outcome"], 0.000_084);
    assert_eq!(json["others"], Value::Null);

    let nothing = spend(&fixture, &["spend", "--until", "2021-01-01", "--timezone", "UTC"]);
    assert_eq!((nothing.status.code(), text(&nothing.stdout)), (Some(0), String::new()));
    assert_eq!(text(&nothing.stderr), "no calls until 2021-01-01 (UTC)\n");
    for (args, words) in [
        (
            &["spend", "--since", "last week"][..],
            "`last week` is no day; write e.g. 2026-11-01, today, yesterday, or 30d",
        ),
        (&["spend", "--since", "today", "--until", "yesterday"], "is after --until"),
        (&["spend", "--by", "agnet"], "hint: did you mean `agent`?"),
        (&["spend", "--timezone", "Mars/Base"], "there is no time zone `Mars/Base`"),
    ] {
        let output = spend(&fixture, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(words), "{args:?}: {}", text(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_what_answers_take_and_prune_gives_it_back() {
    let fixture = Fixture::new().await;
    fixture.calls(4);
    let (batch, _) = fixture.go("", "keep_answers = \"1h\"").await;
    fixture.write("wavebatch.db-spool/left", [0; 3_000]);
    let ledger = |output: &Output| serde_json::from_slice::<Value>(&output.stdout).unwrap()["ledger"].clone();
    let seen = ledger(&spend(&fixture, &["status", "--json"]));
    assert_eq!((&seen["answers"]["count"], &seen["answers"]["prunable"]["count"]), (&4.into(), &0.into()));
    assert_eq!((&seen["answers"]["next"]["count"], &seen["spool_bytes"]), (&4.into(), &3_000.into()));
    assert!(seen["answers"]["next_at"].is_string() && seen["wal_bytes"].as_u64() > Some(0), "{seen}");
    let shown = text(&spend(&fixture, &["status"]).stdout);
    assert!(shown.contains(", spool 3.0 kB\n  4 answers kept, about "), "{shown}");
    assert!(shown.contains("\n  4 answers, about ") && shown.contains(", can go from "), "{shown}");

    let early = text(&spend(&fixture, &["prune"]).stderr);
    assert!(early.starts_with("no answers to prune\n  4 answers kept"), "keep_answers is not over: {early}");
    let all = text(&spend(&fixture, &["prune", "--older-than", "0s"]).stderr);
    assert!(fs::metadata(fixture.path("wavebatch.db-wal")).unwrap().len() < 20_000, "the log is emptied");
    assert!(all.starts_with("4 answers pruned, ") && !all.contains("kept"), "{all}");
    assert_eq!(ledger(&spend(&fixture, &["status", "--json"]))["answers"]["count"], 0);
    assert!(fixture.rows(batch).await.iter().all(|row| row.answer.is_none()));
    assert_eq!(fixture.job(batch, "call-0001").await.calls[0].state, CallState::Answered, "rows stay");
}
