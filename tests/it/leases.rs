//! Processes that stop, die, or come back too late: nothing is lost, and nothing bought twice where the log proves it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wavebatch::{
    domain::job::{CallState, JobState::Succeeded},
    runner::RunEnd,
    sandbox::{Fault, Match, What},
    store::{End, Ended, Timing},
};

use crate::support::{House, open};

/// Longer than any of these calls may take, and a lease, in ms.
const TIMEOUT_AND_LEASE: i64 = 300_000;

/// Recordings of different lengths, so that the log can tell them apart.
async fn different(lines: usize) -> House {
    let house = House::new().await;
    let keys: Vec<String> = (1..=lines).map(|i| format!("call-{i}")).collect();
    let mut rows = Vec::new();
    for (i, key) in keys.iter().enumerate() {
        let name = format!("rec/{key}.wav");
        house.recording(&name, &format!("words of {key}"), 1.0 + i as f64 / 10.0, i);
        rows.push((key.as_str(), name));
    }
    house.lines(&rows);
    house
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_abort_the_log_proves_what_was_bought() {
    let house = different(8).await;
    let batch = house.submit(&house.definition("", "concurrency = 3")).await;
    house.sandbox.hold();
    let abort = CancellationToken::new();
    let (ran, ()) = tokio::join!(house.run_on(&house.store, batch, CancellationToken::new(), abort.clone()), async {
        house.sandbox.waiting(3).await;
        abort.cancel();
    });
    assert_eq!(ran.end, RunEnd::Interrupted);
    house.sandbox.release();
    assert_eq!(house.sandbox.books().billed, 3);
    let second = house.second_store().await;
    house.run_on(&second, batch, CancellationToken::new(), CancellationToken::new()).await;
    house.all_well(batch, 8, 1).await;
    let notes = house.rows(batch).await.into_iter().filter(|r| r.notes.as_deref() == Some("recovered")).count();
    assert_eq!(notes, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_is_succeeded_at_once() {
    let house = different(6).await;
    let batch = house.submit(&house.definition("", "concurrency = 2")).await;
    house.sandbox.hold();
    let doomed = house.second_store().await;
    tokio::select! {
        _ = house.run_on(&doomed, batch, CancellationToken::new(), CancellationToken::new()) => unreachable!("it is held"),
        // Its future is dropped without a word to the ledger, and its lock goes with it.
        () = house.sandbox.waiting(2) => {}
    }
    drop(doomed);
    house.sandbox.release();
    let began = std::time::Instant::now();
    assert_eq!(house.run(batch).await.end, RunEnd::Done);
    assert!(began.elapsed() < Duration::from_millis(2_900), "it did not wait for the lease: {:?}", began.elapsed());
    house.all_well(batch, 6, 1).await;
}

/// A process whose leases run out while it lives, as if it were stopped for a while.
async fn sluggish(house: &House) -> wavebatch::store::Store {
    open(&house.path("wavebatch.db"), &house.clock, Timing { lease_ms: 300, beat_ms: 600_000 }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_changes_nothing_when_the_log_had_it() {
    let house = different(1).await;
    let batch = house.submit(&house.definition("", "")).await;
    house.sandbox.hold();
    let slow = sluggish(&house).await;
    let never = CancellationToken::new;
    tokio::join!(house.run_on(&slow, batch, never(), never()), async {
        house.sandbox.waiting(1).await;
        // Its owner should have given up by itself long ago: it was stopped for good.
        house.clock.advance(TIMEOUT_AND_LEASE);
        let other = house.run(batch).await;
        assert_eq!(other.end, RunEnd::Done);
        assert_eq!(house.row(batch, "call-1").await.notes.as_deref(), Some("recovered"));
        house.sandbox.release();
    });
    house.all_well(batch, 1, 1).await;
    let row = house.row(batch, "call-1").await;
    assert_eq!(row.billed_calls, 1);
    assert_eq!(house.output("call-1.txt").trim(), "words of call-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_to_a_call_that_was_given_up_is_kept_in_the_books() {
    let house = different(1).await;
    house.sandbox.script([Fault::new(Match::Any, What::LogsAbsent)]);
    let batch = house.submit(&house.definition("", "")).await;
    house.sandbox.hold();
    let slow = sluggish(&house).await;
    let never = CancellationToken::new;
    tokio::join!(
        house.run_on(&slow, batch, never(), never()),
        async {
            house.sandbox.waiting(1).await;
            house.clock.advance(TIMEOUT_AND_LEASE);
            house.run(batch).await;
        },
        async {
            house.sandbox.waiting(2).await;
            house.sandbox.release();
        }
    );
    house.all_well(batch, 1, 2).await;
    let mut states: Vec<_> = house.job(batch, "call-1").await.calls.iter().map(|c| c.state).collect();
    states.sort();
    assert_eq!(states, [CallState::Answered, CallState::Surplus]);
    let row = house.row(batch, "call-1").await;
    assert_eq!((row.billed_calls, row.cost), (2, 168), "both are in the books");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_wins_where_there_is_no_other() {
    let house = different(1).await;
    let batch = house.submit(&house.definition("", "")).await;
    house.sandbox.hold();
    tokio::join!(house.run(batch), async {
        house.sandbox.waiting(1).await;
        let call = house.job(batch, "call-1").await.calls[0].id;
        let end = Ended { call, departed_at: None, limits: Default::default(), end: End::GivenUp, pauses: None };
        assert_eq!(house.store.end(end).await.unwrap().state, CallState::Lost);
        house.sandbox.release();
    });
    house.all_well(batch, 1, 1).await;
    let detail = house.job(batch, "call-1").await;
    assert_eq!((detail.row.state, detail.calls[0].state), (Succeeded, CallState::Answered));
    assert_eq!(house.store.batch_by_id(batch).await.unwrap().reserved, 0);
}
