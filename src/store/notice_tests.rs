//! Notices: posted once, taken by one process at a time, delivered in order, given up after a day.

use crate::domain::notice::NoticeEvent;
use crate::store::engine::db::query_as;
use crate::store::{tests::*, *};

const LEASE: i64 = 90_000;
const DAY: i64 = 24 * 3_600_000;

fn notice(batch: &str, event: NoticeEvent, about: &str) -> NewNotice {
    NewNotice {
        definition: "night".into(),
        batch: batch.into(),
        event,
        about: about.into(),
        own: false,
        body: "{\"a\":1}".into(),
    }
}

fn finished(batch: &str) -> NewNotice {
    notice(batch, NoticeEvent::Finished, "1764000000000")
}

async fn post(l: &Ledger, new: NewNotice) -> bool {
    l.store.post_notice(new).await.unwrap()
}

async fn take(l: &Ledger) -> Option<Notice> {
    let due = l.store.is_notice_due(l.clock.now()).await.unwrap();
    let taken = l.store.take_notice(LEASE).await.unwrap();
    assert_eq!(due, taken.is_some(), "both look for the same");
    taken
}

#[tokio::test]
async fn the_same_is_posted_once_whoever_sees_it() {
    let l = ledger().await;
    let other = open(&l.path, &l.clock).await;
    let at_once = [&l.store, &other, &l.store, &other].map(|store| store.post_notice(finished("b")));
    let posted: Vec<bool> = futures::future::join_all(at_once).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(posted.iter().filter(|posted| **posted).count(), 1);
    assert!(post(&l, notice("b", NoticeEvent::Finished, "later")).await, "finished once more after a retry");
    assert!(post(&l, notice("b", NoticeEvent::Paused, "1764000000000")).await);
    let message = take(&l).await.unwrap();
    assert!(l.store.notice_delivered(&message).await.unwrap());
    assert!(!post(&l, finished("b")).await, "also when it was told");
}

#[tokio::test]
async fn one_has_it_until_its_lease_runs_out_and_then_no_say_in_it() {
    let l = ledger().await;
    post(&l, finished("b")).await;
    let first = take(&l).await.unwrap();
    assert_eq!((first.batch.as_str(), first.event, first.tries), ("b", NoticeEvent::Finished, 1));
    assert_eq!(take(&l).await, None);
    // A notice that is posted meanwhile does not make one due that is being delivered.
    post(&l, finished("c")).await;
    assert_eq!(take(&l).await.unwrap().batch, "c");
    assert_eq!(take(&l).await, None);
    l.clock.advance(LEASE);
    let second = take(&l).await.unwrap();
    assert_eq!((&second.uid, second.tries), (&first.uid, 2), "the receiver knows the repeat");
    assert!(!l.store.notice_delivered(&first).await.unwrap());
    assert_eq!(l.store.notice_failed(&first, 0, "late").await.unwrap(), Undelivered::NotOurs);
    assert!(l.store.notice_delivered(&second).await.unwrap());
    assert!(!l.store.notice_delivered(&second).await.unwrap());
}

#[tokio::test]
async fn those_of_one_batch_are_told_in_turn() {
    let l = ledger().await;
    post(&l, notice("b", NoticeEvent::Paused, "1")).await;
    post(&l, notice("b", NoticeEvent::Finished, "2")).await;
    post(&l, notice("c", NoticeEvent::Finished, "3")).await;
    let (first, other) = (take(&l).await.unwrap(), take(&l).await.unwrap());
    assert_eq!((first.event, other.batch.as_str()), (NoticeEvent::Paused, "c"));
    assert_eq!(take(&l).await, None, "the second of b waits for the first");
    let due = l.clock.now() + 10_000;
    assert_eq!(l.store.notice_failed(&first, due, "no").await.unwrap(), Undelivered::Again);
    assert_eq!(take(&l).await, None, "also while that is to be tried again");
    l.clock.advance(10_000);
    let again = take(&l).await.unwrap();
    assert_eq!(again.uid, first.uid);
    assert!(l.store.notice_delivered(&again).await.unwrap());
    assert_eq!(take(&l).await.unwrap().event, NoticeEvent::Finished);
    assert_eq!(l.store.notices_waiting().await.unwrap(), 2);
}

#[tokio::test]
async fn what_fails_for_a_day_is_given_up_and_kept_with_its_error() {
    let l = ledger().await;
    post(&l, finished("b")).await;
    // No process looked for two days: it has not failed once yet.
    l.clock.advance(2 * DAY);
    for ms in [0, DAY - 1_000] {
        l.clock.advance(ms);
        let taken = take(&l).await.unwrap();
        assert_eq!(l.store.notice_failed(&taken, l.clock.now(), "refused").await.unwrap(), Undelivered::Again);
    }
    l.clock.advance(1_000);
    let last = take(&l).await.unwrap();
    assert_eq!(l.store.notice_failed(&last, l.clock.now(), "HTTP 500").await.unwrap(), Undelivered::GivenUp);
    assert_eq!(take(&l).await, None);
    let kept: (String, String, i64) =
        query_as("SELECT state, error, tries FROM notices").fetch_one(&l.store.read).await.unwrap();
    assert_eq!(kept, ("given_up".into(), "HTTP 500".into(), 3));
    assert!(!post(&l, finished("b")).await);
}

#[tokio::test]
async fn what_is_put_back_did_not_fail_and_the_next_of_its_definition_wakes_it() {
    let l = ledger().await;
    post(&l, NewNotice { own: true, ..finished("b") }).await;
    let taken = take(&l).await.unwrap();
    assert!(taken.own);
    l.store.notice_left(&taken, l.clock.now() + DAY).await.unwrap();
    assert_eq!(take(&l).await, None);
    post(&l, NewNotice { definition: "other".into(), ..finished("c") }).await;
    assert_eq!(take(&l).await.unwrap().batch, "c");
    assert_eq!(take(&l).await, None, "another definition's");
    post(&l, finished("d")).await;
    let mut woken = [take(&l).await.unwrap(), take(&l).await.unwrap()].map(|n| (n.batch, n.tries));
    woken.sort();
    assert_eq!(woken, [("b".into(), 1), ("d".into(), 1)]);
}

#[tokio::test]
async fn after_thirty_days_it_is_forgotten() {
    let l = ledger().await;
    post(&l, finished("told")).await;
    let taken = take(&l).await.unwrap();
    l.store.notice_delivered(&taken).await.unwrap();
    post(&l, finished("waiting")).await;
    l.clock.advance(30 * DAY - 1_000);
    post(&l, finished("young")).await;
    assert_eq!(l.store.prune_notices().await.unwrap(), 0);
    l.clock.advance(1_000);
    assert_eq!(l.store.prune_notices().await.unwrap(), 1, "nobody was told of one");
    assert_eq!(l.store.notices_waiting().await.unwrap(), 1);
}

crate::store::harness::on_postgres_too! {
    the_same_is_posted_once_whoever_sees_it,
    one_has_it_until_its_lease_runs_out_and_then_no_say_in_it,
    those_of_one_batch_are_told_in_turn,
    what_fails_for_a_day_is_given_up_and_kept_with_its_error,
    what_is_put_back_did_not_fail_and_the_next_of_its_definition_wakes_it,
    after_thirty_days_it_is_forgotten,
}
