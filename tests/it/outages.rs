//! A vendor that is out of reach, and calls whose outcome nobody knows.

use std::time::Duration;

use serde_json::json;
use wavebatch::{
    domain::{
        job::{
            BatchId,
            JobState::{Failed, Queued, Succeeded, Suspect},
        },
        retry::PauseKind,
    },
    runner::RunEnd,
    sandbox::{Config, Fault, Match, Sandbox, What},
};

use crate::support::{Fixture, Ran, synthesis, synthesis::SynthesisSetup};

const MINUTE: i64 = 60_000;

/// Moves the clock from one thing that is due to the next, until `minutes` have passed since the outage began.
async fn sit_out(fixture: &Fixture, minutes: i64) {
    fixture.until("the outage", || async { fixture.pool().await.state.outage_since.is_some() }).await;
    let since = fixture.pool().await.state.outage_since.expect("just seen");
    while fixture.clock.now() - since < minutes * MINUTE {
        fixture.clock.advance(5_000);
        // What is due now gets its turn; nothing depends on how much of it.
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
}

async fn no_line_suffered(fixture: &Fixture, batch: BatchId, lines: u64) {
    let counts = fixture.counts(batch).await;
    assert_eq!(counts.of(Succeeded), lines, "{counts:?}");
    let tries: u32 = fixture.rows(batch).await.iter().map(|r| r.tries).sum();
    assert!(tries <= 5, "{tries} tries used up by an outage");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_minutes_without_a_listener_cost_no_line_and_no_try() {
    let mut fixture = Fixture::timeless(Config::default()).await;
    fixture.calls(20);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 8\nmax_tries = 2")).await;
    let addr = fixture.sandbox.addr();
    let gone = std::mem::replace(&mut fixture.sandbox, Sandbox::start(Config::default()).await.unwrap());
    gone.shutdown().await;
    fixture.base_url = Some(format!("http://{addr}"));
    let (ran, ()) = tokio::join!(fixture.run(batch), async {
        sit_out(&fixture, 20).await;
        let back = Sandbox::start(Config { listen: addr, ..Config::default() }).await.unwrap();
        fixture
            .until("the end", || async {
                fixture.clock.advance(5_000);
                fixture.counts(batch).await.of(Succeeded) == 20
            })
            .await;
        assert_eq!(back.books().billed, 20);
    });
    assert_eq!(ran.end, RunEnd::Done);
    no_line_suffered(&fixture, batch, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_minutes_of_a_proxys_502_cost_no_line_and_no_try() {
    for logs in [None, Some(What::LogsUnavailable)] {
        let fixture = Fixture::timeless(Config::default()).await;
        fixture.calls(20);
        let batch = fixture.submit(&fixture.definition("", "concurrency = 8\nmax_tries = 2")).await;
        fixture.sandbox.script([Fault::new(Match::Any, What::Html(502))]);
        fixture.sandbox.script(logs.map(|what| Fault::new(Match::Any, what)));
        let (ran, calls) = tokio::join!(fixture.run(batch), async {
            sit_out(&fixture, 20).await;
            let calls = fixture.sandbox.books().calls;
            fixture.sandbox.unscript();
            fixture
                .until("the end", || async {
                    fixture.clock.advance(5_000);
                    fixture.counts(batch).await.of(Succeeded) == 20
                })
                .await;
            calls
        });
        assert_eq!(ran.end, RunEnd::Done);
        no_line_suffered(&fixture, batch, 20).await;
        assert!(calls < 60, "it probes, and does not hammer: {calls} calls");
        assert_eq!(fixture.sandbox.books().most_billed(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_beyond_the_limit_pauses_and_the_next_run_goes_on() {
    let fixture = Fixture::timeless(Config::default()).await;
    fixture.calls(10);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 4\noutage_limit = \"10m\"")).await;
    fixture.sandbox.script([Fault::new(Match::Any, What::status(503))]);
    let (ran, ()) = tokio::join!(fixture.run(batch), sit_out(&fixture, 13));
    assert_eq!(ran.end, RunEnd::Paused);
    let (kind, reason) = fixture.store.batch_by_id(batch).await.unwrap().pause.expect("paused");
    assert_eq!(kind, PauseKind::Outage);
    assert!(reason.contains("10 min"), "{reason}");
    assert_eq!(fixture.counts(batch).await.of(Queued), 10);

    fixture.sandbox.unscript();
    assert!(fixture.store.resume(batch, false).await.unwrap());
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done, "it tries at once, without waiting for a probe's time");
    no_line_suffered(&fixture, batch, 10).await;
}

/// One line and nothing else, and each of its tries: how long after the first it came, in ms.
async fn alone(fixture: &Fixture, batch: BatchId, each: impl Fn(i64)) -> (Ran, Vec<i64>) {
    let mut at = Vec::new();
    let ran = {
        let running = fixture.run(batch);
        let watching = async {
            let (mut calls, mut began) = (0, None);
            loop {
                tokio::time::sleep(Duration::from_millis(2)).await;
                let now = fixture.sandbox.books().calls;
                if now > calls {
                    calls = now;
                    let since = fixture.clock.now() - *began.get_or_insert(fixture.clock.now());
                    at.push(since);
                }
                if let Some(due_at) = fixture.waits_until(batch).await {
                    let ahead = due_at - fixture.clock.now();
                    each(fixture.clock.now() + ahead - began.unwrap_or_default());
                    fixture.clock.advance(ahead);
                }
            }
        };
        tokio::select! { ran = running => ran, () = watching => unreachable!("it goes on for ever") }
    };
    (ran, at)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_line_of_a_batch_outlives_fifteen_seconds_of_503() {
    let fixture = Fixture::timeless(Config::default()).await;
    fixture.calls(1);
    fixture.sandbox.script([Fault::new(Match::Any, What::status(503))]);
    let batch = fixture.submit(&fixture.definition("", "")).await;
    let (ran, at) = alone(&fixture, batch, |since| {
        if since >= 15_000 {
            fixture.sandbox.unscript();
        }
    })
    .await;
    assert_eq!(ran.end, RunEnd::Done);
    fixture.all_well(batch, 1, 1).await;
    assert_eq!(fixture.row(batch, "call-0001").await.tries, 3, "{at:?}");
    let waits: Vec<i64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (wait, asked) in waits.iter().zip([2_000, 8_000, 30_000]) {
        assert!((asked * 9 / 10..asked + 2_000).contains(wait), "{waits:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_the_api_itself_cannot_do_fails_after_minutes_and_is_asked_about() {
    let fixture = Fixture::timeless(Config::default()).await;
    fixture.calls(1);
    fixture.sandbox.script([Fault::new(Match::Any, What::status(500))]);
    let batch = fixture.submit(&fixture.definition("", "")).await;
    let (ran, at) = alone(&fixture, batch, |_| {}).await;
    assert_eq!(ran.end, RunEnd::Done);
    let row = fixture.row(batch, "call-0001").await;
    assert_eq!((row.state, row.error_kind.as_deref(), row.tries), (Failed, Some("server_error"), 6));
    assert!(at.len() == 6 && at[5] > 400_000, "{at:?}");
    let books = fixture.sandbox.books();
    assert!(books.log_calls >= 4, "its third failure, and each after it, had the log read: {}", books.log_calls);
    assert_eq!(fixture.pool().await.state.outage_since, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_api_is_out_of_reach_the_last_line_uses_up_no_try() {
    for what in [What::status(503), What::Html(503)] {
        let fixture = Fixture::timeless(Config::default()).await;
        fixture.calls(1);
        fixture.sandbox.script([Fault::new(Match::Any, what.clone()), Fault::new(Match::Any, What::LogsUnavailable)]);
        let batch = fixture.submit(&fixture.definition("", "max_tries = 3\nunknown_grace = \"1s\"")).await;
        let (ran, at) = alone(&fixture, batch, |since| {
            if since >= 40 * MINUTE {
                fixture.sandbox.unscript();
            }
        })
        .await;
        assert_eq!(ran.end, RunEnd::Done, "{what:?}");
        fixture.all_well(batch, 1, 1).await;
        let row = fixture.row(batch, "call-0001").await;
        assert!(row.tries <= 2, "{} tries: {what:?}", row.tries);
        assert!(at.len() < 60, "it probes, and does not hammer: {} calls, {what:?}", at.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_text_is_spoken_when_the_api_is_well_again() {
    let fixture = Fixture::timeless(Config::default()).await;
    fixture.sandbox.script([Fault::new(Match::Any, What::status(503)), Fault::new(Match::Any, What::Unwell)]);
    let setup = SynthesisSetup { run: json!({ "max_tries": 3 }), ..SynthesisSetup::default() };
    let batch = fixture.speak(&setup, &[("one", "There is but one line.")]).await;
    let (ran, at) = alone(&fixture, batch, |since| {
        if since >= 40 * MINUTE {
            fixture.sandbox.unscript();
        }
    })
    .await;
    assert_eq!((ran.end, fixture.counts(batch).await.of(Succeeded)), (RunEnd::Done, 1), "{at:?}");
    assert_eq!(fixture.row(batch, "one").await.tries, 2);
    assert!(at.len() < 60, "{} calls", at.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_429_for_too_long_pauses() {
    let fixture = Fixture::timeless(Config::default()).await;
    fixture.calls(3);
    let batch = fixture.submit(&fixture.definition("", "outage_limit = \"5m\"")).await;
    fixture.sandbox.script([Fault::new(Match::Any, What::status(429))]);
    let (ran, ()) = tokio::join!(fixture.run(batch), async {
        fixture
            .until("a pause", || async {
                fixture.clock.advance(5_000);
                fixture.store.batch_by_id(batch).await.unwrap().pause.is_some()
            })
            .await;
    });
    assert_eq!(ran.end, RunEnd::Paused);
    let (kind, reason) = fixture.store.batch_by_id(batch).await.unwrap().pause.unwrap();
    assert!(kind == PauseKind::Outage && reason.contains("429"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_calls_that_could_own_one_entry_prove_nothing() {
    let fixture = Fixture::new().await;
    // The same size, length and options, and no place for padding, since their sizes lie: the log cannot tell them apart.
    for (number, words) in [(1, "words of one"), (2, "words of two")] {
        let mut recording = synthesis(words, 1.0, number);
        recording.extend([0; 64]);
        fixture.write(&format!("rec/{number}.wav"), recording);
    }
    fixture.lines(&[("a", "rec/1.wav"), ("b", "rec/2.wav")]);
    fixture.sandbox.script([Fault::new(Match::First(1), What::CutAfterWork)]);
    let batch = fixture.submit(&fixture.definition("", "unknown_grace = \"100ms\"\nmark_uploads = false")).await;
    fixture.sandbox.hold();
    tokio::join!(fixture.run(batch), async {
        fixture.sandbox.waiting(2).await;
        fixture.sandbox.release();
    });
    fixture.all_well(batch, 2, 2).await;
    let rows = fixture.rows(batch).await;
    assert!(rows.iter().all(|r| !r.notes.clone().unwrap_or_default().contains("recovered")), "{rows:?}");
    assert_eq!(fixture.output("a.txt").trim(), "words of one");
    assert_eq!(fixture.output("b.txt").trim(), "words of two");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_comes_late_is_waited_for() {
    let fixture = Fixture::timeless(Config { log_lag: Duration::from_millis(300), ..Config::default() }).await;
    fixture.calls(1);
    fixture.sandbox.script([Fault::new(Match::First(1), What::CutAfterWork)]);
    let (batch, _) = fixture.go("", "unknown_grace = \"700ms\"").await;
    fixture.all_well(batch, 1, 1).await;
    assert_eq!(fixture.row(batch, "call-0001").await.notes.as_deref(), Some("recovered"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_log_is_out_of_reach_a_call_stays_open_and_nothing_is_paid() {
    let fixture = Fixture::timeless(Config::default()).await;
    fixture.calls(1);
    fixture.sandbox.script([Fault::new(Match::First(1), What::CutAfterWork)]);
    let batch = fixture.submit(&fixture.definition("", "outage_limit = \"900h\"")).await;
    let (ran, ()) = tokio::join!(fixture.run(batch), async {
        fixture.sandbox.arrivals(1).await;
        fixture.sandbox.script([Fault::new(Match::Any, What::LogsUnavailable)]);
        let since = fixture.clock.now();
        fixture
            .until("looks that find nothing", || async {
                fixture.clock.advance(MINUTE);
                fixture.sandbox.books().log_calls > 12 && fixture.clock.now() - since > 50 * MINUTE
            })
            .await;
        let books = fixture.sandbox.books();
        assert_eq!((books.calls, books.billed), (1, 1), "50 minutes, and nothing bought");
        fixture.sandbox.unscript();
        fixture.clock.advance(5 * MINUTE);
    });
    assert_eq!(ran.end, RunEnd::Done);
    fixture.all_well(batch, 1, 1).await;
    assert_eq!(fixture.row(batch, "call-0001").await.notes.as_deref(), Some("recovered"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_stays_out_of_reach_leaves_it_to_the_policy() {
    for (policy, state, billed) in [("retry", Succeeded, 2), ("park", Failed, 1)] {
        let fixture = Fixture::timeless(Config::default()).await;
        fixture.calls(1);
        fixture.sandbox.script([Fault::new(Match::First(1), What::CutAfterWork)]);
        let run = format!("outage_limit = \"30m\"\non_unknown = \"{policy}\"");
        let batch = fixture.submit(&fixture.definition("", &run)).await;
        let ahead = async {
            fixture.sandbox.arrivals(1).await;
            fixture.sandbox.script([Fault::new(Match::Any, What::LogsUnavailable)]);
            // The log is given its time from when it was first found away: perhaps only after the first of these.
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                if fixture.waits_until(batch).await.is_some() {
                    fixture.clock.advance(31 * MINUTE);
                }
            }
        };
        tokio::select! { _ = fixture.run(batch) => {}, () = ahead => unreachable!("it goes on for ever") }
        let row = fixture.row(batch, "call-0001").await;
        assert_eq!((row.state, fixture.sandbox.books().billed), (state, billed), "{policy}");
        assert_ne!(row.state, Suspect);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_outcomes_stop_at_the_cap() {
    let fixture = Fixture::new().await;
    fixture.calls(1);
    fixture.sandbox.script([Fault::new(Match::Any, What::CutAfterWork), Fault::new(Match::Any, What::LogsAbsent)]);
    let (batch, _) = fixture.go("", "max_billed_calls = 2").await;
    let row = fixture.row(batch, "call-0001").await;
    assert_eq!(row.error_kind.as_deref(), Some("billed_cap"));
    assert_eq!((row.billed_calls, fixture.sandbox.books().billed), (2, 2));
    assert_eq!(fixture.store.open_calls(Some(batch)).await.unwrap(), 0);
}

crate::support::server::on_postgres_in_the_gate! {
    twenty_minutes_without_a_listener_cost_no_line_and_no_try,
    twenty_minutes_of_a_proxys_502_cost_no_line_and_no_try,
    an_outage_beyond_the_limit_pauses_and_the_next_run_goes_on,
    the_last_line_of_a_batch_outlives_fifteen_seconds_of_503,
    a_line_that_the_api_itself_cannot_do_fails_after_minutes_and_is_asked_about,
    while_the_api_is_out_of_reach_the_last_line_uses_up_no_try,
    the_last_text_is_spoken_when_the_api_is_well_again,
    nothing_but_429_for_too_long_pauses,
    two_calls_that_could_own_one_entry_prove_nothing,
    an_entry_that_comes_late_is_waited_for,
    while_the_log_is_out_of_reach_a_call_stays_open_and_nothing_is_paid,
    a_log_that_stays_out_of_reach_leaves_it_to_the_policy,
    unknown_outcomes_stop_at_the_cap,
}
