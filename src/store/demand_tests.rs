//! Definitions share the calls of a pool, whichever process works for them.

use std::time::Duration;

use crate::domain::{
    job::{BatchId, CallId},
    pool::Limits,
};
use crate::store::engine::db::query_scalar;
use crate::store::{tests::*, *};

const FOUR: Limits = Limits { requests_per_minute: None, concurrency: Some(4) };

async fn claim_of(store: &Store, batch: BatchId, n: u32) -> Vec<Claimed> {
    let calls = vec![(crate::domain::pool::Pool::Pulse, n)];
    store.claim(ClaimRequest { batches: vec![batch], calls, ..ClaimRequest::default() }).await.unwrap()
}

/// A process that waits for a permit for each of these lines.
fn waiting(store: &Store, jobs: &[Claimed]) -> tokio::task::JoinSet<CallId> {
    let mut waiting = tokio::task::JoinSet::new();
    for job in jobs {
        let (store, ask) = (store.clone(), ask(job, FOUR));
        waiting.spawn(async move { store.permit(ask).await.unwrap().unwrap().call });
    }
    waiting
}

/// How many definitions wait.
async fn demand(store: &Store) -> i64 {
    query_scalar("SELECT count(*) FROM demand").fetch_one(&store.read).await.unwrap()
}

async fn until(store: &Store, definitions: i64) {
    while demand(store).await != definitions {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A ledger whose clock stands still, with a large batch, which has all calls in flight and waits for more, and a small one of another process.
async fn contended() -> (Ledger, Store, [Enlisted; 2], Vec<CallId>, tokio::task::JoinSet<CallId>, BatchId) {
    let l = ledger_with(Clock::stopped()).await;
    let (large, small) = (l.submit(batch("large"), 40).await, l.submit(batch("small"), 5).await);
    let other = open(&l.path, &l.clock).await;
    let processes = [l.store.enlist("{}".into()).await.unwrap(), other.enlist("{}".into()).await.unwrap()];
    let jobs = claim_of(&l.store, large, 12).await;
    let mut held = Vec::new();
    for job in &jobs[..4] {
        held.push(l.store.permit(ask(job, FOUR)).await.unwrap().unwrap().call);
    }
    let more = waiting(&l.store, &jobs[4..]);
    until(&l.store, 1).await;
    (l, other, processes, held, more, small)
}

#[tokio::test]
async fn the_next_slot_is_the_small_batchs_whichever_process_has_it() {
    let (l, other, _processes, held, mut large, small) = contended().await;
    let jobs = claim_of(&other, small, 2).await;
    let mut small = waiting(&other, &jobs);
    until(&l.store, 2).await;
    for call in &held[..2] {
        l.store.end(ended(*call, answered())).await.unwrap();
        // The end and the next permit are one transaction: the large batch had its chance.
        assert!(large.try_join_next().is_none(), "it left the slot");
        // The other process looks again before the first one may take it.
        l.clock.advance(100);
        small.join_next().await.unwrap().unwrap();
    }
    until(&l.store, 1).await;
    l.store.end(ended(held[2], answered())).await.unwrap();
    large.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_slot_that_nobody_takes_is_left_for_a_moment_only() {
    let (l, other, _processes, held, mut large, small) = contended().await;
    let jobs = claim_of(&other, small, 2).await;
    let small = waiting(&other, &jobs);
    until(&l.store, 2).await;
    // The other process hangs: its asks are gone, and what it said stays.
    drop(small);
    l.store.end(ended(held[0], answered())).await.unwrap();
    assert!(large.try_join_next().is_none());
    l.clock.advance(249);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(large.try_join_next().is_none(), "it is still left");
    l.clock.advance(1);
    large.join_next().await.unwrap().unwrap();
    // What is older than a lease counts no more.
    l.clock.advance(l.store.timing().lease_ms + 1);
    l.store.end(ended(held[1], answered())).await.unwrap();
    large.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn within_a_process_definitions_take_turns_by_their_weight() {
    let l = ledger().await;
    let heavy = l.submit(NewBatch { priority: 30, ..batch("heavy") }, 40).await;
    let light = l.submit(batch("light"), 40).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let all = Limits { requests_per_minute: Some(8), concurrency: None };
    let (heavy, light) = (claim_of(&l.store, heavy, 20).await, claim_of(&l.store, light, 20).await);
    // The light one asks first.
    let asks = light.iter().chain(&heavy).map(|job| l.store.permit(ask(job, all)));
    let mut asks: futures::stream::FuturesUnordered<_> = asks.collect();
    for _ in 0..8 {
        futures::StreamExt::next(&mut asks).await.unwrap().unwrap().unwrap();
    }
    let calls = "SELECT count(*) FROM calls AS c JOIN batches AS b ON b.id = c.batch WHERE b.name = 'heavy'";
    let n: i64 = query_scalar(calls).fetch_one(&l.store.read).await.unwrap();
    assert_eq!(n, 6, "three of four");
}

/// Calls of all definitions together, and of one.
async fn begun(store: &Store, name: &str) -> (i64, i64) {
    let of = "SELECT count(*) FROM calls AS c JOIN batches AS b ON b.id = c.batch WHERE b.name = $1";
    let all = query_scalar("SELECT count(*) FROM calls").fetch_one(&store.read).await.unwrap();
    (all, query_scalar(of).bind(name).fetch_one(&store.read).await.unwrap())
}

#[tokio::test]
async fn a_definition_that_lowers_its_rate_counts_its_own_calls_alone() {
    let l = ledger_with(Clock::stopped()).await;
    let (wide, slow) = (l.submit(batch("wide"), 40).await, l.submit(batch("slow"), 40).await);
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let limits = Limits { requests_per_minute: Some(10), concurrency: None };
    for job in claim_of(&l.store, wide, 6).await {
        l.store.permit(ask(&job, limits)).await.unwrap().unwrap();
    }
    let jobs = claim_of(&l.store, slow, 8).await;
    let mut asks = tokio::task::JoinSet::new();
    for job in &jobs {
        let (store, ask) = (l.store.clone(), PermitRequest { own_rate: Some(3), ..ask(job, limits) });
        asks.spawn(async move { store.permit(ask).await.unwrap().unwrap() });
    }
    for _ in 0..3 {
        asks.join_next().await.unwrap().unwrap();
    }
    // The pool is above its rate all the time, and has room for it all the same.
    l.store
        .end(ended(
            l.store.permit(ask(&claim_of(&l.store, wide, 1).await[0], limits)).await.unwrap().unwrap().call,
            answered(),
        ))
        .await
        .unwrap();
    assert_eq!(begun(&l.store, "slow").await, (10, 3));
    assert!(asks.try_join_next().is_none());
    // What it waits for is not the pool's room, so nobody leaves it a slot.
    assert_eq!(demand(&l.store).await, 0);
    l.clock.advance(61_000);
    for _ in 0..3 {
        asks.join_next().await.unwrap().unwrap();
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(begun(&l.store, "slow").await, (13, 6));
    assert!(asks.try_join_next().is_none());
}

#[tokio::test]
async fn what_a_dead_process_said_goes_with_it() {
    let (l, other, processes, _held, _large, small) = contended().await;
    let jobs = claim_of(&other, small, 2).await;
    let _small = waiting(&other, &jobs);
    until(&l.store, 2).await;
    let [_, theirs] = processes;
    other.leave(theirs).await.unwrap();
    assert_eq!(demand(&l.store).await, 1);
}

crate::store::harness::on_postgres_too! {
    the_next_slot_is_the_small_batchs_whichever_process_has_it,
    a_slot_that_nobody_takes_is_left_for_a_moment_only,
    within_a_process_definitions_take_turns_by_their_weight,
    a_definition_that_lowers_its_rate_counts_its_own_calls_alone,
    what_a_dead_process_said_goes_with_it,
}
