//! Runs: each is recorded once, taken by one process, and fenced.

use crate::domain::environment::Environment;
use tempfile::TempDir;

use super::*;
use crate::store::{Opening, Timing};

const HOUR: Millis = 3_600_000;

async fn ledger() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let opening = Opening { timing: Timing { lease_ms: HOUR, beat_ms: 500 }, ..Opening::new(dir.path().join("w.db")) };
    let store = Store::open(opening).await.unwrap().0;
    begin(&store).await;
    (dir, store)
}

async fn begin(store: &Store) {
    let night = DefinitionContent { definition: "night".into(), content: "v1".into(), is_scheduled: true };
    store.announce_definitions("node", Environment::Live, vec![night]).await.unwrap();
}

async fn settled(store: &Store) -> Millis {
    store.settled(Environment::Live).await.unwrap()[0].1
}

fn run(at: Millis, day: i8) -> NewRun {
    NewRun { at, date: Date::constant(2026, 11, day) }
}

fn settling(from: Millis, runs: &[NewRun]) -> ScheduleAdvance {
    let to = from + HOUR;
    ScheduleAdvance {
        definition: "night".into(),
        environment: Environment::Live,
        from,
        to,
        runs: runs.to_vec(),
        one_for_all: false,
    }
}

async fn take(store: &Store) -> Option<TakenRun> {
    store.take_run(Environment::Live, &["night".into()]).await.unwrap()
}

#[tokio::test]
async fn a_run_is_noticed_by_one() {
    let (_dir, store) = ledger().await;
    let from = settled(&store).await;
    let found = settling(from, &[run(from + 1, 20)]);
    let (one, other) = tokio::join!(store.settle_schedule(found.clone()), store.settle_schedule(found.clone()));
    assert_eq!([one.unwrap(), other.unwrap()].iter().flatten().count(), 1);
    begin(&store).await;
    assert_eq!(settled(&store).await, from + HOUR, "what was seen before is not begun again");
    assert!(take(&store).await.is_some());
    assert!(take(&store).await.is_none());
    assert!(store.take_run(Environment::Live, &["other".into()]).await.unwrap().is_none());
    assert!(store.take_run(Environment::Sandbox, &["night".into()]).await.unwrap().is_none());
}

#[tokio::test]
async fn runs_of_one_definition_are_taken_one_after_the_other_and_by_who_is_alive() {
    let (_dir, store) = ledger().await;
    let from = settled(&store).await;
    store.settle_schedule(settling(from, &[run(from + 2, 21), run(from + 1, 20)])).await.unwrap();
    let first = take(&store).await.unwrap();
    assert_eq!((first.at, first.newer_dates), (from + 1, 1));
    assert!(take(&store).await.is_none(), "one at a time");
    store.clock().advance(HOUR + 1_000);
    let again = take(&store).await.unwrap();
    assert_eq!(again.at, first.at, "its taker is gone");
    assert!(!store.run_started(&first, "night-20").await.unwrap(), "and too late when it comes back");
    assert!(store.renew_run(&again).await.unwrap());
    assert!(store.run_started(&again, "night-20").await.unwrap());
    let second = take(&store).await.unwrap();
    assert_eq!((second.at, second.newer_dates), (from + 2, 0));
    assert!(store.give_run_back(&second).await.unwrap());
    let second = take(&store).await.unwrap();
    let later = store.clock().now() + HOUR;
    assert!(store.run_failed(&second, later, "no manifest").await.unwrap());
    assert!(!store.run_failed(&second, later, "no manifest").await.unwrap(), "it was put back");
    assert_eq!(store.next_run_due(Environment::Live, &["night".into()]).await.unwrap(), Some(later));
    store.clock().advance(HOUR);
    let second = take(&store).await.unwrap();
    assert_eq!((second.failures, second.why.as_deref()), (1, Some("no manifest")));
    assert!(store.run_dropped(&second, "too late").await.unwrap());
    assert_eq!(store.next_run_due(Environment::Live, &["night".into()]).await.unwrap(), None);
    let views = store.schedule_views(Environment::Live).await.unwrap();
    assert_eq!(views[0].last.as_ref().map(|last| (last.at, last.batch.as_str())), Some((from + 1, "night-20")));
    assert!(store.last_start("night-20").await.unwrap() >= Some(from + HOUR));
}

#[tokio::test]
async fn a_later_run_takes_the_place_of_one_that_could_not_be_started() {
    let (_dir, store) = ledger().await;
    let from = settled(&store).await;
    store.settle_schedule(settling(from, &[run(from + 1, 20)])).await.unwrap();
    let first = take(&store).await.unwrap();
    store.run_failed(&first, from, "no manifest").await.unwrap();
    // A run of the same date: nothing to report.
    let gone = store.settle_schedule(settling(from + HOUR, &[run(from + 2, 20)])).await.unwrap();
    assert_eq!(gone, Some(vec![]));
    let waiting = store.schedule_views(Environment::Live).await.unwrap().remove(0).waiting;
    assert_eq!(waiting.iter().map(|run| run.at).collect::<Vec<_>>(), [from + 2]);
    assert_eq!(waiting[0].why.as_deref(), Some("no manifest"), "it was told already");
    // A run of another date is replaced only where one run replaces all.
    store.settle_schedule(settling(from + 2 * HOUR, &[run(from + 3, 21)])).await.unwrap();
    assert_eq!(store.schedule_views(Environment::Live).await.unwrap()[0].waiting.len(), 2);
    let taken = take(&store).await.unwrap();
    let all = ScheduleAdvance { one_for_all: true, ..settling(from + 3 * HOUR, &[run(from + 4, 22)]) };
    let gone = store.settle_schedule(all).await.unwrap();
    assert_eq!(gone, Some(vec![run(from + 3, 21)]), "and not what is being started");
    assert!(store.run_started(&taken, "night-20").await.unwrap());
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_silence_schedules_until_then() {
    const YEAR: Millis = 366 * 24 * HOUR;
    let (_dir, store) = ledger().await;
    let before = settled(&store).await;
    store.clock().step(YEAR);
    store.enlist("{}".into()).await.unwrap();
    let far = settling(before, &[run(before + 1, 20)]);
    store.settle_schedule(ScheduleAdvance { to: store.clock().now(), ..far }).await.unwrap();
    take(&store).await.unwrap();
    store.clock().step(-YEAR);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while settled(&store).await > store.clock().now() {
        assert!(std::time::Instant::now() < deadline, "nothing would be due for a year");
        store.can_be_written().await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // The newest stamp may be a heartbeat old.
    store.clock().advance(store.timing().lease_ms + store.timing().beat_ms);
    assert!(take(&store).await.is_some(), "nor is its taker waited for longer than its lease");
}

crate::store::harness::on_postgres_too! {
    a_run_is_noticed_by_one,
    runs_of_one_definition_are_taken_one_after_the_other_and_by_who_is_alive,
    a_later_run_takes_the_place_of_one_that_could_not_be_started,
    a_clock_that_was_set_back_does_not_silence_schedules_until_then,
}
