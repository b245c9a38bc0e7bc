//! The numbers for a monitor, and the write that proves that the ledger can be written.

use std::{fs, time::Duration};

use crate::domain::{
    environment::Environment,
    job::JobState::{Awaiting, Failed, Queued, Running, Succeeded},
    pool::Limits,
    retry::PauseKind,
    transcription::Transcription,
};
use crate::store::engine::db::{query, query_scalar};
use crate::store::{tests::*, *};

#[tokio::test]
async fn vitals_are_those_of_what_is_not_finished_in_this_environment() {
    let l = ledger().await;
    let finished = l.submit(batch("finished"), 2).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    for job in claim(&l.store, 2).await {
        let call = l.store.permit(ask(&job, Limits::default())).await.unwrap().unwrap().call;
        l.store.end(ended(call, answered())).await.unwrap();
        assert!(l.store.settle(settle(&job, done(Succeeded))).await.unwrap());
    }
    assert!(l.store.finish(finished).await.unwrap());
    l.submit(NewBatch { environment: Environment::Sandbox, ..batch("elsewhere") }, 9).await;
    assert_eq!(l.store.vitals(Environment::Live).await.unwrap(), Vitals { spent: 10_000, ..Vitals::default() });

    l.submit(batch("open"), 5).await;
    let jobs = claim(&l.store, 3).await;
    assert!(l.store.settle(settle(&jobs[0], done(Failed))).await.unwrap());
    let posted = PermitRequest { overdue_after: Some(1_000), ..ask(&jobs[1], Limits::default()) };
    let call = l.store.permit(posted).await.unwrap().unwrap().call;
    l.store.end(ended(call, End::Accepted { request_id: None })).await.unwrap();
    let until = l.clock.now() + 900_000;
    assert!(l.store.settle(settle(&jobs[1], To::Awaiting { call, until })).await.unwrap());
    let paused = l.submit(batch("paused"), 2).await;
    l.store.pause(paused, PauseKind::User, "for now".into()).await.unwrap();

    let vitals = l.store.vitals(Environment::Live).await.unwrap();
    let of = |state| (Transcription::TASK, state);
    let jobs = [(of(Queued), 4), (of(Running), 1), (of(Awaiting), 1), (of(Failed), 1)].into();
    let oldest_due_ms = vitals.oldest_due_ms;
    let paused = [(PauseKind::User, 1)].into();
    let expected =
        Vitals { jobs, oldest_due_ms, paused, open_calls: 1, overdue_calls: 0, spent: 10_000, reserved: 5_000 };
    assert_eq!(vitals, expected);
    assert_eq!((vitals.lines_left(), vitals.of(Awaiting)), (6, 1));

    l.clock.advance(1_001);
    assert_eq!(l.store.vitals(Environment::Live).await.unwrap().overdue_calls, 1);
}

#[tokio::test]
async fn the_oldest_due_job_is_one_that_a_worker_could_take() {
    let l = ledger().await;
    assert_eq!(l.store.vitals(Environment::Live).await.unwrap().oldest_due_ms, None, "an empty ledger");
    let open = l.submit(batch("open"), 1).await;
    let oldest = async |l: &Ledger| l.store.vitals(Environment::Live).await.unwrap().oldest_due_ms;
    l.clock.advance(60_000);
    let ms = oldest(&l).await.unwrap();
    assert!((60_000..70_000).contains(&ms), "{ms}");
    l.store.pause(open, PauseKind::Sink, "no room".into()).await.unwrap();
    assert_eq!(oldest(&l).await, None, "nobody may");
    l.store.resume(open, false).await.unwrap();
    assert!(oldest(&l).await.unwrap() >= 60_000);
    let _me = l.store.enlist("{}".into()).await.unwrap();
    assert_eq!(claim(&l.store, 1).await.len(), 1);
    assert_eq!(oldest(&l).await, None, "somebody has");
}

#[tokio::test]
async fn the_write_that_proves_it_reaches_the_disk_and_changes_nothing() {
    let l = ledger().await;
    let log = l.path.with_file_name("wavebatch.db-wal");
    let made_at =
        async |l: &Ledger| query_scalar::<i64>("SELECT created_at FROM ledger").fetch_one(&l.store.read).await.unwrap();
    let (before, at) = (fs::metadata(&log).unwrap().len(), made_at(&l).await);
    l.store.can_be_written().await.unwrap();
    assert!(fs::metadata(&log).unwrap().len() > before, "a page went to the log");
    assert_eq!(made_at(&l).await, at);
}

#[tokio::test]
async fn a_ledger_that_is_locked_cannot_be_written() {
    let l = ledger().await;
    let opening = Opening { busy_timeout: Duration::from_millis(20), ..Opening::new(&l.path) };
    let (impatient, _) = Store::open(opening).await.unwrap();
    let mut other = l.other().await;
    query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    assert!(matches!(impatient.can_be_written().await, Err(StoreError::Locked(_))));
    query("ROLLBACK").execute(&mut other).await.unwrap();
    impatient.can_be_written().await.unwrap();
    other.close().await;
}

crate::store::harness::on_postgres_too! {
    vitals_are_those_of_what_is_not_finished_in_this_environment,
    the_oldest_due_job_is_one_that_a_worker_could_take,
}
