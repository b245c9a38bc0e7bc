//! Verbs of many steps: other processes write in between, and a verb that was killed halfway is finished.

use std::collections::BTreeSet;

use crate::domain::job::{BatchId, JobState};
use crate::store::engine::db::{query, query_scalar};
use crate::store::{tests::*, *};

/// More lines than one step changes.
const MANY: u64 = 40_000;

fn all_of(batch: BatchId) -> Chosen {
    Chosen::of(batch, Selection::default())
}

async fn count(store: &Store, batch: BatchId, state: JobState) -> u64 {
    store.counts(batch).await.unwrap().of(state)
}

/// The numbers of queued lines that another process saw between its own writes, while `verb` ran.
async fn seen_by_others(other: &Store, batch: BatchId, verb: impl Future<Output = ()>) -> BTreeSet<i64> {
    let mut seen = BTreeSet::new();
    let look = async {
        loop {
            let queued = other
                .write(move |conn, now| {
                    Box::pin(async move {
                        query("UPDATE ledger SET newest_at = $1").bind(now).execute(&mut *conn).await?;
                        let queued = "SELECT count(*) FROM jobs WHERE batch = $1 AND state = 'queued'";
                        query_scalar::<i64>(queued).bind(batch).fetch_one(conn).await
                    })
                })
                .await
                .unwrap();
            seen.insert(queued);
            // The next heartbeat does not come at once.
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! { () = verb => {}, () = look => {} }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn others_write_while_many_lines_are_cancelled_and_tried_again() {
    let l = ledger().await;
    let b = l.submit(batch("b"), MANY).await;
    let other = open(&l.path, &l.clock).await;
    let _works = other.enlist("{}".into()).await.unwrap();
    let in_between = |seen: BTreeSet<i64>| seen.into_iter().filter(|n| *n > 0 && *n < MANY as i64).count();
    let cancel = async { assert_eq!(l.store.cancel(b).await.unwrap().jobs, MANY) };
    let seen = seen_by_others(&other, b, cancel).await;
    assert!(in_between(seen.clone()) >= 1, "{seen:?}");
    let retry = async { assert_eq!(l.store.retry(all_of(b)).await.unwrap(), MANY) };
    let seen = seen_by_others(&other, b, retry).await;
    assert!(in_between(seen.clone()) >= 1, "{seen:?}");
}

/// A batch of three lines, the first of which is cancelled: a `cancel` was killed after its first step.
async fn half_cancelled(l: &Ledger) -> BatchId {
    let b = l.submit(batch("b"), 3).await;
    l.store
        .write(move |conn, now| {
            Box::pin(async move {
                for statement in [
                    "UPDATE batches SET cancelled_at = $1 WHERE id = $2",
                    "UPDATE jobs SET state = 'cancelled', due_at = NULL, finished_at = $1 WHERE batch = $2 AND key = 'k1'",
                ] {
                    query(statement).bind(now).bind(b).execute(&mut *conn).await?;
                }
                Ok(())
            })
        })
        .await
        .unwrap();
    b
}

#[tokio::test]
async fn a_killed_cancel_is_finished_before_anything_is_due_again() {
    let l = ledger().await;
    let b = half_cancelled(&l).await;
    let chosen = Chosen { lines: Selection::of_key("k1"), ..all_of(b) };
    assert_eq!(l.store.retry(chosen).await.unwrap(), 1);
    assert_eq!((count(&l.store, b, JobState::Queued).await, count(&l.store, b, JobState::Cancelled).await), (1, 2));
    let _me = l.store.enlist("{}".into()).await.unwrap();
    assert_eq!(claim(&l.store, 9).await.len(), 1, "what was taken back is not bought");
}

#[tokio::test]
async fn a_killed_cancel_is_finished_by_the_same_verb_and_by_who_delivers() {
    let l = ledger().await;
    let b = half_cancelled(&l).await;
    assert_eq!(l.store.cancel(b).await.unwrap().jobs, 2);
    assert!(l.store.batch_by_id(b).await.unwrap().finished_at.is_some());
    let l = ledger().await;
    let b = half_cancelled(&l).await;
    l.store.redeliver(b).await.unwrap();
    l.store.retry_free(b).await.unwrap();
    assert_eq!(count(&l.store, b, JobState::Cancelled).await, 3);
}

#[tokio::test]
async fn a_killed_retry_is_finished_by_the_same_verb() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 4).await;
    l.store.cancel(b).await.unwrap();
    for key in ["k2", "k3"] {
        let chosen = Chosen { lines: Selection::of_key(key), ..all_of(b) };
        assert_eq!(l.store.retry(chosen).await.unwrap(), 1);
    }
    assert_eq!(l.store.plan_retry(&all_of(b)).await.unwrap().jobs, 2);
    assert_eq!(l.store.retry(all_of(b)).await.unwrap(), 2);
    assert_eq!(count(&l.store, b, JobState::Queued).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_of_two_processes_have_no_gaps() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 200).await;
    let second = open(&l.path, &l.clock).await;
    let (_one, _two) = (l.store.enlist("{}".into()).await.unwrap(), second.enlist("{}".into()).await.unwrap());
    let work = async |store: &Store, lost: usize| {
        let jobs = claim(store, 100).await;
        let settled = jobs.iter().enumerate().map(|(nth, job)| async move {
            let mut settlement = settle(job, done(if nth % 3 == 0 { JobState::Failed } else { JobState::Succeeded }));
            if nth % lost == 0 {
                // Its lease is lost, so it takes no number.
                settlement.token = crate::domain::job::Token(settlement.token.0 + 7_000_000);
            }
            store.settle(settlement).await.unwrap()
        });
        futures::future::join_all(settled).await.into_iter().filter(|settled| *settled).count()
    };
    let (one, two) = tokio::join!(work(&l.store, 7), work(&second, 11));
    assert!(one > 80 && two > 80, "{one} {two}");
    let mut seqs: Vec<i64> = query_scalar("SELECT seq FROM jobs WHERE batch = $1 AND seq IS NOT NULL")
        .bind(b)
        .fetch_all(&l.store.read)
        .await
        .unwrap();
    seqs.sort_unstable();
    let all = i64::try_from(one + two).unwrap();
    assert_eq!(seqs, (1..=all).collect::<Vec<_>>());
    let last: i64 = query_scalar("SELECT seq FROM ledger").fetch_one(&l.store.read).await.unwrap();
    assert_eq!(last, all);
}

crate::store::harness::on_postgres_too! {
    others_write_while_many_lines_are_cancelled_and_tried_again,
    a_killed_cancel_is_finished_before_anything_is_due_again,
    a_killed_cancel_is_finished_by_the_same_verb_and_by_who_delivers,
    a_killed_retry_is_finished_by_the_same_verb,
    the_numbers_of_two_processes_have_no_gaps,
}
