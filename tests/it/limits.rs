//! The account's limits hold for all processes together, and waiting costs next to nothing.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wavebatch::{
    domain::{
        job::JobState::Succeeded,
        pool::{Limits, Pool},
    },
    sandbox::{Config, Fault, Match, StatusFault, What},
};

use crate::support::House;

#[tokio::test(flavor = "multi_thread")]
async fn no_minute_holds_more_calls_than_allowed() {
    let mut house = House::timeless(Config::default()).await;
    house.limits.insert(Pool::Pulse, Limits { requests_per_minute: Some(5), concurrency: None });
    house.calls(12);
    let batch = house.submit(&house.definition("", "")).await;
    let (_, ()) = tokio::join!(house.run(batch), async {
        for calls in [5, 10] {
            house.until("a full minute", || async { house.counts(batch).await.of(Succeeded) == calls }).await;
            house.clock.advance(58_000);
            tokio::time::sleep(Duration::from_millis(60)).await;
            assert_eq!(house.sandbox.books().calls, calls);
            house.clock.advance(4_000);
        }
    });
    house.all_well(batch, 12, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_calls_in_flight() {
    let config = Config { latency: Duration::from_millis(10), concurrency: Some(3), ..Config::default() };
    let mut house = House::with(config).await;
    house.limits.insert(Pool::Pulse, Limits { requests_per_minute: None, concurrency: Some(3) });
    house.calls(40);
    let batch = house.submit(&house.definition("", "concurrency = 8")).await;
    let second = house.second_store().await;
    let never = CancellationToken::new;
    tokio::join!(house.run(batch), house.run_on(&second, batch, never(), never()));
    house.all_well(batch, 40, 1).await;
    let books = house.sandbox.books();
    assert_eq!(books.statuses.get(&429), None, "never above the limit");
    assert!(books.peak_in_flight <= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_minute() {
    let mut house = House::timeless(Config { requests_per_minute: Some(6), ..Config::default() }).await;
    house.limits.insert(Pool::Pulse, Limits { requests_per_minute: Some(6), concurrency: None });
    house.calls(10);
    let batch = house.submit(&house.definition("", "")).await;
    let second = house.second_store().await;
    let drain = CancellationToken::new();
    tokio::join!(
        house.run_until(batch, drain.clone()),
        house.run_on(&second, batch, drain.clone(), CancellationToken::new()),
        async {
            house.until("a full minute", || async { house.counts(batch).await.of(Succeeded) == 6 }).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            drain.cancel();
        }
    );
    let books = house.sandbox.books();
    assert_eq!((books.calls, books.statuses.get(&429)), (6, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_slow_down_together() {
    let house = House::timeless(Config::default()).await;
    house.calls(10);
    let batch = house.submit(&house.definition("", "concurrency = 1")).await;
    let second = house.second_store().await;
    let limited = StatusFault { code: 429, retry_after: Some("20".into()), ..StatusFault::default() };
    house.sandbox.script([Fault::new(Match::First(1), What::Status(limited))]);
    let never = CancellationToken::new;
    tokio::join!(house.run(batch), house.run_on(&second, batch, never(), never()), async {
        house.until("the cooldown", || async { house.pool().await.state.cooldown_until > 0 }).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(house.sandbox.books().calls, 1, "neither process calls");
        assert!(house.pool().await.state.factor < 1.0);
        house.clock.advance(20_001);
    });
    house.all_well(batch, 10, 1).await;
    assert_eq!(house.sandbox.books().calls, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_costs_the_ledger_next_to_nothing() {
    let mut house = House::timeless(Config::default()).await;
    house.limits.insert(Pool::Pulse, Limits { requests_per_minute: Some(1), concurrency: None });
    house.calls(60);
    let batch = house.submit(&house.definition("", "concurrency = 4")).await;
    let drain = CancellationToken::new();
    tokio::join!(house.run_until(batch, drain.clone()), async {
        house.until("the first", || async { house.counts(batch).await.of(Succeeded) == 1 }).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = house.store.transactions();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let spent = house.store.transactions() - before;
        assert!(spent <= 8, "{spent} transactions in a second of waiting");
        drain.cancel();
    });
}
