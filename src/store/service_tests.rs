//! The ledger for a service: windows, one line at a time through a pause, and one report of each end.

use crate::domain::{
    environment::Environment,
    job::JobState,
    pool::{Limits, Pool},
    retry::PauseKind,
};
use crate::store::{tests::*, *};

const HOUR: i64 = 3_600_000;
const MINUTES_15: i64 = 15 * 60_000;

async fn enforcing() -> Ledger {
    let l = ledger().await;
    l.store.enlist("{}".into()).await.unwrap();
    l.store.enforce_windows();
    l
}

async fn batch_status(l: &Ledger, name: &str) -> Option<BatchStatus> {
    let all = l.store.batch_statuses(Environment::Live).await.unwrap();
    all.into_iter().find(|(batch, _)| batch.name == name).map(|(_, batch_status)| batch_status)
}

#[tokio::test]
async fn outside_its_window_a_batch_begins_no_call() {
    let l = enforcing().await;
    let id = l.submit(batch("night"), 3).await;
    let opens = l.clock.now() + HOUR;
    l.store.set_schedule_window("night", Environment::Live, Some((opens, opens + HOUR))).await.unwrap();
    l.store.set_schedule_window("night", Environment::Live, Some((opens, opens + HOUR))).await.unwrap();
    assert!(claim(&l.store, 9).await.is_empty());
    let want =
        || ClaimRequest { environment: Environment::Live, calls: vec![(Pool::Pulse, 9)], ..ClaimRequest::default() };
    assert_eq!(l.store.next_due(&want()).await.unwrap(), None, "nothing to be busy about");
    l.clock.advance(HOUR);
    let jobs = claim(&l.store, 2).await;
    assert_eq!(jobs.len(), 2);
    assert!(l.store.permit(ask(&jobs[0], Limits::default())).await.unwrap().is_ok());
    l.clock.advance(HOUR);
    assert_eq!(l.store.permit(ask(&jobs[1], Limits::default())).await.unwrap().unwrap_err(), Denial::WindowClosed);
    assert!(l.store.claim(want()).await.unwrap().is_empty());
    l.store.set_schedule_window("night", Environment::Live, None).await.unwrap();
    assert_eq!(l.store.claim(want()).await.unwrap().len(), 1);
    assert_eq!(l.store.batch_by_id(id).await.unwrap().window, None);
}

#[tokio::test]
async fn who_was_asked_by_the_user_works_at_any_time() {
    let l = ledger().await;
    l.store.enlist("{}".into()).await.unwrap();
    l.submit(batch("night"), 1).await;
    let opens = l.clock.now() + HOUR;
    l.store.set_schedule_window("night", Environment::Live, Some((opens, opens + HOUR))).await.unwrap();
    let job = claim(&l.store, 9).await.remove(0);
    assert!(l.store.permit(ask(&job, Limits::default())).await.unwrap().is_ok());
}

#[tokio::test]
async fn what_needs_no_call_is_done_at_any_time() {
    let l = enforcing().await;
    l.submit(batch("night"), 1).await;
    let job = claim(&l.store, 1).await.remove(0);
    let call = l.store.permit(ask(&job, Limits::default())).await.unwrap().unwrap().call;
    l.store.end(ended(call, answered())).await.unwrap();
    let to = To::Queued { due_at: l.clock.now(), call: None, source_try: false };
    assert!(l.store.settle(settle(&job, to)).await.unwrap());
    let closed = l.clock.now() - 1;
    l.store.set_schedule_window("night", Environment::Live, Some((closed - HOUR, closed))).await.unwrap();
    assert_eq!(claim(&l.store, 9).await.len(), 1, "its answer is to be delivered");
}

#[tokio::test]
async fn of_a_definition_the_oldest_batch_goes_first_and_definitions_take_turns() {
    let l = ledger().await;
    l.store.enlist("{}".into()).await.unwrap();
    for (name, definition) in [("n1", "night"), ("p1", "prompts"), ("n2", "night")] {
        l.submit(NewBatch { definition: definition.into(), ..batch(name) }, 4).await;
    }
    let order = Order::ByDefinition;
    let mut seen = Vec::new();
    for turn in 0..2 {
        let want = ClaimRequest {
            environment: Environment::Live,
            calls: vec![(Pool::Pulse, 4)],
            turn,
            order,
            ..ClaimRequest::default()
        };
        let mut batches: Vec<i64> = l.store.claim(want).await.unwrap().iter().map(|job| job.batch.0).collect();
        batches.sort_unstable();
        seen.push(batches);
    }
    assert_eq!(seen, [[1, 1, 2, 2], [1, 1, 2, 2]], "the second night waits for the first");
    let want = ClaimRequest {
        environment: Environment::Live,
        calls: vec![(Pool::Pulse, 9)],
        order,
        ..ClaimRequest::default()
    };
    let rest = l.store.claim(want).await.unwrap();
    assert!(rest.len() == 4 && rest.iter().all(|job| job.batch.0 == 3), "{rest:?}");
}

#[tokio::test]
async fn a_pause_of_ours_lets_one_line_through_every_quarter_of_an_hour() {
    let l = enforcing().await;
    let id = l.submit(batch("b"), 5).await;
    l.store.pause(id, PauseKind::Quota, "no credit".into()).await.unwrap();
    let since = l.store.batch_by_id(id).await.unwrap().paused_at.unwrap();
    l.clock.advance(MINUTES_15 - 1_000);
    assert!(l.store.probe_paused(Environment::Live).await.unwrap().is_empty());
    l.clock.advance(1_000);
    assert_eq!(l.store.probe_paused(Environment::Live).await.unwrap(), [(id, PauseKind::Quota)]);
    assert!(l.store.probe_paused(Environment::Live).await.unwrap().is_empty(), "one at a time");
    let jobs = claim(&l.store, 9).await;
    assert_eq!(jobs.len(), 1);
    assert!(claim(&l.store, 9).await.is_empty(), "while it is at work");
    assert!(l.store.permit(ask(&jobs[0], Limits::default())).await.unwrap().is_ok());
    // The obstacle is still there.
    l.store.pause(id, PauseKind::Quota, "still no credit".into()).await.unwrap();
    let to = To::Queued { due_at: l.clock.now(), call: Some(Pool::Pulse), source_try: false };
    l.store.settle(settle(&jobs[0], to)).await.unwrap();
    assert!(claim(&l.store, 9).await.is_empty());
    let row = l.store.batch_by_id(id).await.unwrap();
    assert_eq!((row.pause.is_some(), row.paused_at), (true, Some(since)), "it is the same pause");
    l.clock.advance(MINUTES_15);
    assert_eq!(l.store.probe_paused(Environment::Live).await.unwrap().len(), 1);
    let job = claim(&l.store, 9).await.remove(0);
    l.store.settle(settle(&job, done(JobState::Succeeded))).await.unwrap();
    assert!(l.store.batch_by_id(id).await.unwrap().pause.is_none());
    assert_eq!(claim(&l.store, 9).await.len(), 4);
}

#[tokio::test]
async fn a_probe_that_fails_keeps_the_pause_and_a_source_at_fault_says_nothing() {
    let l = enforcing().await;
    let id = l.submit(batch("b"), 5).await;
    l.store.pause(id, PauseKind::Failures, "half of them".into()).await.unwrap();
    l.clock.advance(MINUTES_15);
    l.store.probe_paused(Environment::Live).await.unwrap();
    let failed = |kind: &str| {
        let kind = Some(kind.to_owned());
        To::Finished(Box::new(Finish { state: Some(JobState::Failed), error_kind: kind, ..Finish::default() }))
    };
    let job = claim(&l.store, 9).await.remove(0);
    l.store.settle(settle(&job, failed("source_missing"))).await.unwrap();
    let job = claim(&l.store, 9).await.remove(0);
    l.store.settle(settle(&job, failed("bad_request"))).await.unwrap();
    assert!(claim(&l.store, 9).await.is_empty());
    assert_eq!(l.store.batch_by_id(id).await.unwrap().pause.unwrap().1, "half of them");
}

#[tokio::test]
async fn a_line_that_is_let_through_and_whose_worker_dies_is_taken_up_again() {
    let l = ledger().await;
    let enlisted = l.store.enlist("{}".into()).await.unwrap();
    let id = l.submit(batch("b"), 5).await;
    let before = claim(&l.store, 1).await.remove(0);
    l.store.pause(id, PauseKind::Outage, "down".into()).await.unwrap();
    l.store.leave(enlisted).await.unwrap();
    let enlisted = l.store.enlist("{}".into()).await.unwrap();
    l.clock.advance(MINUTES_15);
    l.store.probe_paused(Environment::Live).await.unwrap();
    let probe = claim(&l.store, 9).await;
    assert_eq!(probe.len(), 1, "what died before the pause holds nobody up: {before:?}");
    l.store.leave(enlisted).await.unwrap();
    l.store.enlist("{}".into()).await.unwrap();
    let again = claim(&l.store, 9).await;
    assert_eq!(again.iter().map(|job| job.job).collect::<Vec<_>>(), [probe[0].job]);
    l.store.settle(settle(&again[0], done(JobState::Succeeded))).await.unwrap();
    assert!(l.store.batch_by_id(id).await.unwrap().pause.is_none());
}

#[tokio::test]
async fn a_line_that_is_let_through_and_waits_for_its_answer_is_the_only_one() {
    let l = enforcing().await;
    let id = l.submit(batch("b"), 5).await;
    l.store.pause(id, PauseKind::Failures, "half of them".into()).await.unwrap();
    l.clock.advance(MINUTES_15);
    l.store.probe_paused(Environment::Live).await.unwrap();
    let job = claim(&l.store, 9).await.remove(0);
    let call = l.store.permit(ask(&job, Limits::default())).await.unwrap().unwrap().call;
    l.store.end(ended(call, End::Accepted { request_id: None })).await.unwrap();
    let until = l.clock.now() + HOUR;
    l.store.settle(settle(&job, To::Awaiting { call, until })).await.unwrap();
    assert!(claim(&l.store, 9).await.is_empty(), "nothing more is bought until it is known what becomes of it");
    l.store.end(ended(call, answered())).await.unwrap();
    l.clock.advance(HOUR);
    let again = claim(&l.store, 9).await;
    assert_eq!(again.iter().map(|job| job.job).collect::<Vec<_>>(), [job.job], "its answer has come");
    l.store.settle(settle(&again[0], done(JobState::Succeeded))).await.unwrap();
    assert_eq!(claim(&l.store, 9).await.len(), 4);
}

#[tokio::test]
async fn whether_a_sink_takes_something_again_is_tried_without_a_call() {
    let l = enforcing().await;
    let id = l.submit(batch("b"), 5).await;
    let bought = claim(&l.store, 1).await.remove(0);
    let to = To::Queued { due_at: l.clock.now(), call: None, source_try: false };
    l.store.settle(settle(&bought, to)).await.unwrap();
    l.store.pause(id, PauseKind::Sink, "down".into()).await.unwrap();
    l.clock.advance(MINUTES_15);
    l.store.probe_paused(Environment::Live).await.unwrap();
    let probe = claim(&l.store, 9).await;
    assert_eq!(probe.iter().map(|job| job.job).collect::<Vec<_>>(), [bought.job]);
}

#[tokio::test]
async fn a_users_pause_is_left_alone() {
    let l = enforcing().await;
    let id = l.submit(batch("b"), 1).await;
    l.store.pause(id, PauseKind::User, "by you".into()).await.unwrap();
    l.clock.advance(MINUTES_15 * 10);
    assert!(l.store.probe_paused(Environment::Live).await.unwrap().is_empty());
    assert_eq!(batch_status(&l, "b").await, Some(BatchStatus::Working), "nobody is told what they did themselves");
}

#[tokio::test]
async fn a_promise_of_privacy_that_was_broken_is_not_tried_again() {
    let l = enforcing().await;
    let id = l.submit(batch("b"), 1).await;
    l.store.pause(id, PauseKind::Expiry, "not-entitled".into()).await.unwrap();
    for wait in [MINUTES_15, HOUR, 365 * 24 * HOUR] {
        l.clock.advance(wait);
        assert!(l.store.probe_paused(Environment::Live).await.unwrap().is_empty());
        assert!(!l.store.resume(id, false).await.unwrap(), "only the user's `resume` lifts it");
        assert!(claim(&l.store, 9).await.is_empty());
    }
    assert!(l.store.resume(id, true).await.unwrap());
    assert_eq!(claim(&l.store, 9).await.len(), 1);
}

#[tokio::test]
async fn each_status_is_told_once() {
    let l = enforcing().await;
    let id = l.submit(batch("b"), 2).await;
    assert_eq!(batch_status(&l, "b").await, Some(BatchStatus::Working));
    let closed = l.clock.now();
    l.store.set_schedule_window("b", Environment::Live, Some((closed - HOUR, closed))).await.unwrap();
    assert_eq!(batch_status(&l, "b").await, Some(BatchStatus::WindowClosed(closed)));
    l.store.set_reported(id, &BatchStatus::WindowClosed(closed)).await.unwrap();
    assert_eq!(batch_status(&l, "b").await, Some(BatchStatus::Working));
    l.store.set_schedule_window("b", Environment::Live, None).await.unwrap();
    l.store.pause(id, PauseKind::Outage, "down".into()).await.unwrap();
    let paused = BatchStatus::Paused(l.store.batch_by_id(id).await.unwrap().paused_at.unwrap());
    assert_eq!(batch_status(&l, "b").await, Some(paused.clone()));
    l.store.set_reported(id, &paused).await.unwrap();
    assert_eq!(batch_status(&l, "b").await, Some(BatchStatus::Working));
    l.store.resume(id, false).await.unwrap();
    for job in claim(&l.store, 9).await {
        l.store.settle(settle(&job, done(JobState::Succeeded))).await.unwrap();
    }
    assert_eq!(batch_status(&l, "b").await, Some(BatchStatus::Over));
    assert!(l.store.finish(id).await.unwrap());
    let finished = BatchStatus::Finished(l.store.batch_by_id(id).await.unwrap().finished_at.unwrap());
    assert_eq!(batch_status(&l, "b").await, Some(finished.clone()), "and somebody may have died before telling");
    l.store.set_reported(id, &finished).await.unwrap();
    assert_eq!(batch_status(&l, "b").await, None);
}

#[tokio::test]
async fn a_window_that_closes_over_a_call_waits_for_its_end() {
    let l = enforcing().await;
    l.submit(batch("b"), 2).await;
    let job = claim(&l.store, 1).await.remove(0);
    let closed = l.clock.now();
    l.store.set_schedule_window("b", Environment::Live, Some((closed - HOUR, closed))).await.unwrap();
    assert_eq!(batch_status(&l, "b").await, Some(BatchStatus::Working));
    l.store.settle(settle(&job, done(JobState::Succeeded))).await.unwrap();
    assert_eq!(batch_status(&l, "b").await, Some(BatchStatus::WindowClosed(closed)));
}

#[tokio::test]
async fn what_comes_after_a_cancel_in_the_middle_of_its_submission_is_cancelled_too() {
    let l = enforcing().await;
    let id = l.store.begin(batch("b"), Resubmission::default()).await.unwrap().batch;
    l.store.submit(id, vec![job(1, "/r/1.wav")], vec![]).await.unwrap();
    assert_eq!(l.store.cancel(id).await.unwrap().jobs, 1);
    let begun = Begun { batch: id, existed: false, at: l.clock.now(), redelivered: 0, pruned: 0 };
    let late = job(2, "/r/2.wav");
    let set: LineSet = std::iter::once((&late, 1)).collect();
    l.store.submit_sets(begun, vec![(set, BadSet::default())]).await.unwrap();
    l.store.end_submit(id).await.unwrap();
    assert!(claim(&l.store, 9).await.is_empty());
    assert_eq!(l.store.counts(id).await.unwrap().of(JobState::Cancelled), 2, "else it would be queued for ever");
    l.store.retry(Chosen::of(id, Selection::default())).await.unwrap();
    assert_eq!(claim(&l.store, 9).await.len(), 2);
}

crate::store::harness::on_postgres_too! {
    outside_its_window_a_batch_begins_no_call,
    who_was_asked_by_the_user_works_at_any_time,
    what_needs_no_call_is_done_at_any_time,
    of_a_definition_the_oldest_batch_goes_first_and_definitions_take_turns,
    a_pause_of_ours_lets_one_line_through_every_quarter_of_an_hour,
    a_probe_that_fails_keeps_the_pause_and_a_source_at_fault_says_nothing,
    a_line_that_is_let_through_and_whose_worker_dies_is_taken_up_again,
    a_line_that_is_let_through_and_waits_for_its_answer_is_the_only_one,
    whether_a_sink_takes_something_again_is_tried_without_a_call,
    a_users_pause_is_left_alone,
    a_promise_of_privacy_that_was_broken_is_not_tried_again,
    each_status_is_told_once,
    a_window_that_closes_over_a_call_waits_for_its_end,
    what_comes_after_a_cancel_in_the_middle_of_its_submission_is_cancelled_too,
}
