//! `max_spend_usd` holds over all runs, and the events agree with the ledger.

use std::collections::HashMap;

use wavebatch::{
    domain::{
        job::JobState::{Queued, Succeeded},
        retry::PauseKind,
    },
    runner::{Event, RunEnd},
    sandbox::{Fault, Match, What},
};

use crate::support::Fixture;

/// What one call for one second of audio costs, in micro-USD.
const A_CALL: i64 = 84;

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_is_never_passed_and_raising_it_goes_on() {
    let fixture = Fixture::new().await;
    fixture.calls(20);
    let (batch, ran) = fixture.go("", "max_spend_usd = 0.0006\nconcurrency = 8").await;
    assert_eq!(ran.end, RunEnd::Paused);
    let row = fixture.store.batch_by_id(batch).await.unwrap();
    let (kind, reason) = row.pause.expect("paused");
    assert_eq!(kind, PauseKind::SpendLimit);
    assert!(reason.contains("max_spend_usd"), "{reason}");
    let counts = fixture.counts(batch).await;
    assert_eq!((counts.of(Succeeded), counts.of(Queued)), (7, 13), "600 buys 7 calls of 84");
    assert_eq!((row.spent, row.reserved), (7 * A_CALL, 0));
    assert_eq!(fixture.sandbox.books().billed, 7);

    let definition = fixture.definition("", "max_spend_usd = 1.0");
    assert_eq!(fixture.submit(&definition).await, batch, "raised");
    fixture.store.resume(batch, false).await.unwrap();
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    fixture.all_well(batch, 20, 1).await;
    assert_eq!(fixture.store.batch_by_id(batch).await.unwrap().spent, 20 * A_CALL);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_may_have_been_billed_count_against_the_limit() {
    let fixture = Fixture::new().await;
    fixture.calls(10);
    // Every first call is paid for and worth nothing.
    fixture.sandbox.script([Fault::new(Match::EachContent(1), What::Garbage200)]);
    let (batch, ran) = fixture.go("", "max_spend_usd = 0.0009").await;
    assert_eq!(ran.end, RunEnd::Paused);
    let row = fixture.store.batch_by_id(batch).await.unwrap();
    assert!(row.spent <= 900 && row.spent > 900 - A_CALL, "{}", row.spent);
    assert_eq!(fixture.sandbox.books().billed, 10, "900 buys 10 calls of 84, the lost ones among them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_not_bought_more_often_than_the_cap_allows() {
    let fixture = Fixture::new().await;
    fixture.calls(1);
    fixture.sandbox.script([Fault::new(Match::Any, What::Garbage200)]);
    let (batch, _) = fixture.go("", "max_tries = 9\nmax_billed_calls = 3").await;
    let row = fixture.row(batch, "call-0001").await;
    assert_eq!(row.error_kind.as_deref(), Some("billed_cap"));
    assert_eq!((row.billed_calls, fixture.sandbox.books().billed), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_agree_with_the_ledger() {
    let fixture = Fixture::new().await;
    fixture.calls(30);
    fixture.write("rec/7.wav", "<html></html>");
    fixture.sandbox.script([
        Fault::new(Match::Every(5), What::status(503)),
        Fault::new(Match::Every(7), What::CutAfterWork),
        Fault::new(Match::Nth(4), What::Garbage200),
        Fault::new(Match::Nth(9), What::status(400)),
    ]);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 4\nunknown_grace = \"50ms\"")).await;
    let ran = fixture.run_ahead(batch).await;
    let counts = fixture.counts(batch).await;
    let (mut states, mut calls, mut ended) = (HashMap::new(), 0, 0);
    for event in &ran.events {
        match event {
            Event::Finished { state, .. } => *states.entry(*state).or_insert(0_u64) += 1,
            Event::CallStarted { .. } => calls += 1,
            Event::CallEnded { .. } => ended += 1,
            _ => {}
        }
    }
    for (state, n) in &counts.by_state {
        assert_eq!(states.get(state), Some(n), "{state}");
    }
    assert_eq!((calls, ended), (fixture.sandbox.books().calls, calls));
    let spending = fixture.store.spending(batch).await.unwrap();
    assert_eq!(spending.iter().map(|s| s.calls).sum::<u64>(), calls);
    let spent = fixture.store.batch_by_id(batch).await.unwrap().spent;
    assert_eq!(spending.iter().map(|s| s.cost).sum::<i64>(), spent);
}

crate::support::server::on_postgres_in_the_gate! {
    the_limit_is_never_passed_and_raising_it_goes_on,
    calls_that_may_have_been_billed_count_against_the_limit,
    a_line_is_not_bought_more_often_than_the_cap_allows,
    the_events_agree_with_the_ledger,
}
