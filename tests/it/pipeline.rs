//! The pipeline against the sandbox on a real socket: each way a call can end.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wavebatch::{
    domain::{
        job::{CallState, JobState},
        pool::{Limits, Pool},
    },
    runner::RunEnd,
    sandbox::{Config, Fault, Match, What},
    store::{End, Ended},
};

use crate::support::Fixture;

#[tokio::test(flavor = "multi_thread")]
async fn every_line_becomes_its_own_words() {
    let fixture = Fixture::new().await;
    fixture.calls(30);
    let batch = fixture.submit(&fixture.definition("formats = [\"json\", \"txt\", \"srt\", \"vtt\"]", "")).await;
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    fixture.all_well(batch, 30, 1).await;
    for i in 1..=30 {
        assert_eq!(fixture.output(&format!("call-{i:04}.txt")).trim(), format!("words of call {i}"));
        assert!(fixture.output(&format!("call-{i:04}.srt")).contains("-->"));
    }
    let again = fixture.run(batch).await;
    assert_eq!(again.end, RunEnd::Done);
    assert_eq!(fixture.sandbox.books().calls, 30, "nothing was left to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flight_is_used_fully_and_never_passed() {
    let mut fixture =
        Fixture::with(Config { latency: Duration::from_millis(20), concurrency: Some(4), ..Config::default() }).await;
    fixture.limits.insert(Pool::Pulse, Limits { requests_per_minute: None, concurrency: Some(4) });
    fixture.calls(40);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 16")).await;
    fixture.sandbox.hold();
    tokio::join!(fixture.run(batch), async {
        fixture.sandbox.waiting(4).await;
        fixture.sandbox.release();
    });
    fixture.all_well(batch, 40, 1).await;
    let books = fixture.sandbox.books();
    assert_eq!((books.peak_in_flight, books.statuses.get(&429)), (4, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_429_storm_fails_no_line_and_uses_no_try() {
    let fixture =
        Fixture::with(Config { latency: Duration::from_millis(10), concurrency: Some(3), ..Config::default() }).await;
    fixture.calls(30);
    let batch = fixture.submit(&fixture.definition("", "max_tries = 1\nconcurrency = 12")).await;
    fixture.run(batch).await;
    fixture.all_well(batch, 30, 1).await;
    assert!(fixture.sandbox.books().statuses[&429] > 0, "there was a storm");
    assert!(fixture.rows(batch).await.iter().all(|r| r.tries == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_error_is_tried_again_and_costs_nothing() {
    let fixture = Fixture::new().await;
    fixture.calls(4);
    fixture.sandbox.script([Fault::new(Match::EachContent(1), What::status(503))]);
    let batch = fixture.submit(&fixture.definition("", "")).await;
    fixture.run_ahead(batch).await;
    fixture.all_well(batch, 4, 1).await;
    assert!(fixture.rows(batch).await.iter().all(|r| (r.tries, r.billed_calls) == (1, 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_lost_on_its_way_is_found_in_the_log_and_not_bought_again() {
    for fault in [What::CutAfterWork, What::Truncated] {
        let fixture = Fixture::new().await;
        fixture.calls(1);
        fixture.sandbox.script([Fault::new(Match::First(1), fault)]);
        let batch = fixture.submit(&fixture.definition("", "")).await;
        fixture.run(batch).await;
        fixture.all_well(batch, 1, 1).await;
        let row = fixture.row(batch, "call-0001").await;
        assert_eq!((row.billed_calls, row.notes.as_deref()), (1, Some("recovered")));
        assert_eq!(fixture.output("call-0001.txt").trim(), "words of call 1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_captions_need_are_lost_with_the_answer() {
    let fixture = Fixture::new().await;
    fixture.calls(1);
    fixture.sandbox.script([Fault::new(Match::First(1), What::CutAfterWork)]);
    let batch = fixture.submit(&fixture.definition("formats = [\"srt\"]", "")).await;
    fixture.run(batch).await;
    let row = fixture.row(batch, "call-0001").await;
    assert_eq!((row.state, row.notes.as_deref()), (JobState::Suspect, Some("recovered;words_lost")));

    let fixture = Fixture::new().await;
    fixture.calls(1);
    fixture.sandbox.script([Fault::new(Match::First(1), What::CutAfterWork)]);
    let batch = fixture.submit(&fixture.definition("formats = [\"srt\"]", "on_lost_words = \"redo\"")).await;
    fixture.run(batch).await;
    fixture.all_well(batch, 1, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_log_the_policy_decides() {
    let fixture = Fixture::new().await;
    fixture.calls(1);
    fixture.sandbox.script([Fault::new(Match::First(1), What::CutAfterWork), Fault::new(Match::Any, What::LogsAbsent)]);
    let batch = fixture.submit(&fixture.definition("", "on_unknown = \"park\"")).await;
    fixture.run(batch).await;
    let row = fixture.row(batch, "call-0001").await;
    assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Failed, Some("unknown_outcome")));
    assert_eq!(fixture.sandbox.books().billed, 1);

    let fixture = Fixture::new().await;
    fixture.calls(1);
    fixture.sandbox.script([Fault::new(Match::First(1), What::CutAfterWork), Fault::new(Match::Any, What::LogsAbsent)]);
    let batch = fixture.submit(&fixture.definition("", "")).await;
    fixture.run(batch).await;
    fixture.all_well(batch, 1, 2).await;
    assert_eq!(fixture.row(batch, "call-0001").await.billed_calls, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_answers_the_one_that_counts_is_delivered() {
    let fixture = Fixture::new().await;
    fixture.calls(1);
    fixture.sandbox.script([
        Fault::new(Match::Nth(1), What::CutAfterWork),
        Fault::new(Match::Nth(2), What::Hang),
        Fault::new(Match::Any, What::LogsAbsent),
    ]);
    let batch = fixture.submit(&fixture.definition("", "")).await;
    tokio::join!(fixture.run(batch), async {
        fixture.sandbox.waiting(1).await;
        // The first, given up, is answered after all while the second is on the wire.
        let end = End::Answered {
            body: r#"{"status": "success", "transcription": "what came first"}"#.into(),
            from_log: false,
            request_id: None,
            content_expiry: None,
            audio_ms: Some(1_000),
            cost: Some(1),
        };
        let call = fixture.job(batch, "call-0001").await.calls[0].id;
        let ended = Ended { call, departed_at: None, limits: Limits::default(), end, pauses: None };
        assert_eq!(fixture.store.end(ended).await.unwrap().state, CallState::Answered);
        fixture.sandbox.release();
    });
    assert_eq!(fixture.output("call-0001.txt").trim(), "what came first");
    let states: Vec<_> = fixture.job(batch, "call-0001").await.calls.iter().map(|call| call.state).collect();
    assert_eq!(states, [CallState::Answered, CallState::Surplus]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_never_counts_as_one() {
    for fault in [What::Garbage200, What::Empty200, What::WrongType200] {
        let fixture = Fixture::new().await;
        fixture.calls(1);
        fixture.sandbox.script([Fault::new(Match::First(1), fault.clone())]);
        let batch = fixture.submit(&fixture.definition("", "")).await;
        fixture.run(batch).await;
        fixture.all_well(batch, 1, 2).await;
        let row = fixture.row(batch, "call-0001").await;
        assert_eq!((row.tries, row.billed_calls), (1, 2), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_text_is_suspect_and_not_a_success() {
    let fixture = Fixture::new().await;
    fixture.recording("rec/1.wav", "", 4.0, 1);
    fixture.write("calls.csv", "key,source\na,rec/1.wav\n");
    let batch = fixture.submit(&fixture.definition("", "")).await;
    fixture.run(batch).await;
    let row = fixture.row(batch, "a").await;
    assert_eq!((row.state, row.error_kind.as_deref()), (JobState::Suspect, Some("empty")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_pauses_the_batch_and_keeps_the_tries() {
    let fixture = Fixture::with(Config { key: Some("sk_other".into()), ..Config::default() }).await;
    fixture.calls(20);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 4")).await;
    let ran = fixture.run(batch).await;
    assert_eq!(ran.end, RunEnd::Paused);
    assert!(ran.paused().is_some());
    let counts = fixture.counts(batch).await;
    assert_eq!((counts.of(JobState::Queued), counts.of(JobState::Failed)), (20, 0));
    assert!(fixture.sandbox.books().calls < 20, "it stopped at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_what_is_in_flight_and_leaves_the_rest() {
    let fixture = Fixture::new().await;
    fixture.calls(20);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 3")).await;
    fixture.sandbox.hold();
    let drain = CancellationToken::new();
    let (ran, ()) = tokio::join!(fixture.run_until(batch, drain.clone()), async {
        fixture.sandbox.waiting(3).await;
        drain.cancel();
        fixture.sandbox.release();
    });
    assert_eq!(ran.end, RunEnd::Interrupted);
    let counts = fixture.counts(batch).await;
    assert_eq!((counts.of(JobState::Succeeded), counts.of(JobState::Queued)), (3, 17), "{counts:?}");
    fixture.run(batch).await;
    fixture.all_well(batch, 20, 1).await;
}

crate::support::server::on_postgres_too! {
    every_line_becomes_its_own_words,
    the_flight_is_used_fully_and_never_passed,
    a_429_storm_fails_no_line_and_uses_no_try,
    a_server_error_is_tried_again_and_costs_nothing,
    an_answer_lost_on_its_way_is_found_in_the_log_and_not_bought_again,
    words_that_captions_need_are_lost_with_the_answer,
    without_a_log_the_policy_decides,
    of_two_answers_the_one_that_counts_is_delivered,
    what_is_no_answer_never_counts_as_one,
    an_empty_text_is_suspect_and_not_a_success,
    a_wrong_key_pauses_the_batch_and_keeps_the_tries,
    a_drain_finishes_what_is_in_flight_and_leaves_the_rest,
}
