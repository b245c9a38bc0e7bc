//! Money, and what users and limits stop: the rules for every engine.

use crate::domain::{
    call::ErrorKind,
    cost::MicroUsd,
    environment::Environment,
    job::{CallState, JobState, Step, Why},
    length::Length,
    pool::Limits,
    retry::PauseKind,
};
use crate::store::{tests::*, *};

#[tokio::test]
async fn money_is_reserved_before_it_is_spent() {
    let l = ledger().await;
    l.submit(NewBatch { max_spend: Some(10_000), ..batch("b") }, 4).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let jobs = claim(&l.store, 4).await;
    let a = l.store.permit(ask(&jobs[0], Limits::default())).await.unwrap().unwrap();
    let b = l.store.permit(ask(&jobs[1], Limits::default())).await.unwrap().unwrap();
    let third = tokio::spawn({
        let (store, ask) = (l.store.clone(), ask(&jobs[2], Limits::default()));
        async move { store.permit(ask).await.unwrap() }
    });
    l.store.end(ended(a.call, answered())).await.unwrap();
    l.store.end(ended(b.call, answered())).await.unwrap();
    assert_eq!(third.await.unwrap().unwrap_err(), Denial::SpendLimit);
    let row = l.store.batch("b").await.unwrap().unwrap();
    assert_eq!((row.spent, row.reserved), (10_000, 0));
}

#[tokio::test]
async fn of_two_who_ask_for_one_part_at_once_one_is_told_and_nobody_else_suffers() {
    let l = ledger().await;
    l.submit(batch("b"), 2).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let jobs = claim(&l.store, 2).await;
    // The writer handles all three in one transaction.
    let asked = [&jobs[0], &jobs[0], &jobs[1]].map(|job| l.store.permit(ask(job, Limits::default())));
    let verdicts = futures::future::join_all(asked).await;
    let mut denials: Vec<_> = verdicts.into_iter().filter_map(|verdict| verdict.unwrap().err()).collect();
    assert_eq!((denials.pop(), denials.len()), (Some(Denial::OpenCall), 0));
}

#[tokio::test]
async fn an_unknown_length_counts_as_ten_minutes_then_as_the_longest_seen() {
    let l = ledger().await;
    l.submit(NewBatch { max_spend: Some(60_000), ..batch("b") }, 2).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let jobs = claim(&l.store, 2).await;
    let blind = |j: &Claimed| PermitRequest {
        buys: Purchase::Transcript { length: Length::Unknown, rate: MicroUsd(5_000) },
        ..ask(j, Limits::default())
    };
    let a = l.store.permit(blind(&jobs[0])).await.unwrap().unwrap();
    assert_eq!(l.store.batch("b").await.unwrap().unwrap().reserved, 50_000);
    l.store.end(ended(a.call, answered())).await.unwrap();
    l.store.permit(blind(&jobs[1])).await.unwrap().unwrap();
    assert_eq!(l.store.batch("b").await.unwrap().unwrap().reserved, 5_000);
}

#[tokio::test]
async fn one_wrong_setting_does_not_spend_the_night() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 150).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    for (n, j) in claim(&l.store, 101).await.iter().enumerate() {
        let state = if n % 3 == 0 { JobState::Succeeded } else { JobState::Failed };
        l.store.settle(settle(j, done(state))).await.unwrap();
    }
    let row = l.store.batch("b").await.unwrap().unwrap();
    let (kind, reason) = row.pause.expect("paused");
    assert_eq!(kind, PauseKind::Failures);
    assert!(reason.contains("bad_request"), "{reason}");
    assert!(claim(&l.store, 9).await.is_empty());
    assert!(l.store.resume(b, false).await.unwrap());
    assert_eq!(claim(&l.store, 9).await.len(), 9);
}

#[tokio::test]
async fn only_the_user_lifts_the_users_pause() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 1).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let j = claim(&l.store, 1).await.remove(0);
    l.store.pause(b, PauseKind::User, "lunch".into()).await.unwrap();
    assert_eq!(l.store.permit(ask(&j, Limits::default())).await.unwrap().unwrap_err(), Denial::BatchPaused);
    assert!(!l.store.resume(b, false).await.unwrap());
    assert!(l.store.resume(b, true).await.unwrap());
}

#[tokio::test]
async fn cancelled_lines_keep_the_answers_of_calls_in_flight() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 3).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let j = claim(&l.store, 1).await.remove(0);
    let p = l.store.permit(ask(&j, Limits::default())).await.unwrap().unwrap();
    assert_eq!(l.store.cancel(b).await.unwrap(), Cancelled { jobs: 3, in_flight: 1 });
    assert_eq!(l.store.end(ended(p.call, answered())).await.unwrap().state, CallState::Answered);
    assert!(!l.store.settle(settle(&j, done(JobState::Succeeded))).await.unwrap());
    let chosen = Chosen::of(b, Selection::default());
    let plan = l.store.plan_retry(&chosen).await.unwrap();
    assert_eq!((plan.jobs, plan.deliveries), (3, 1), "what was bought is delivered");
    assert_eq!(l.store.retry(chosen).await.unwrap(), 3);
    let again = claim(&l.store, 9).await;
    let bought = again.iter().find(|c| c.job == j.job).unwrap();
    let journal = l.store.journal(bought.job, 0, bought.generation).await.unwrap();
    assert_eq!(journal.step(l.clock.now(), 15_000), Step::Deliver(p.call));
}

#[tokio::test]
async fn a_line_that_failed_before_its_first_call_is_called_for_the_first_time() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 2).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let jobs = claim(&l.store, 2).await;
    let missing = Finish::failed(ErrorKind::SourceMissing, "gone".into());
    l.store.settle(settle(&jobs[0], To::Finished(Box::new(missing)))).await.unwrap();
    let p = l.store.permit(ask(&jobs[1], Limits::default())).await.unwrap().unwrap();
    l.store.end(ended(p.call, answered())).await.unwrap();
    l.store.settle(settle(&jobs[1], done(JobState::Suspect))).await.unwrap();
    let chosen = Chosen::of(b, Selection::default());
    let plan = l.store.plan_retry(&chosen).await.unwrap();
    assert_eq!((plan.jobs, plan.deliveries, plan.first), (2, 0, 1));
    assert_eq!(l.store.retry_free(b).await.unwrap(), FreeRetry { deliveries: 0, sources: 1 });
    l.store.retry(chosen).await.unwrap();
    for job in claim(&l.store, 2).await {
        let again = PermitRequest { why: Why::Retry, ..ask(&job, Limits::default()) };
        let p = l.store.permit(again).await.unwrap().unwrap();
        l.store.end(ended(p.call, answered())).await.unwrap();
        l.store.settle(settle(&job, done(JobState::Succeeded))).await.unwrap();
    }
    let all = SpendQuery { environment: Environment::Live, since: None, before: None, by: SpendBy::Batch, top: 9 };
    let total = l.store.spent(&all).await.unwrap().total;
    let once = total.cost / 3;
    assert_eq!((total.billed, total.first, total.retry), (3, 2 * once, once));
}

#[tokio::test]
async fn a_suspect_line_is_bought_again_by_retry() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 1).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let j = claim(&l.store, 1).await.remove(0);
    let p = l.store.permit(ask(&j, Limits::default())).await.unwrap().unwrap();
    l.store.end(ended(p.call, answered())).await.unwrap();
    l.store.settle(settle(&j, done(JobState::Suspect))).await.unwrap();
    l.store.retry(Chosen::of(b, Selection::default())).await.unwrap();
    let again = claim(&l.store, 1).await.remove(0);
    let journal = l.store.journal(again.job, 0, again.generation).await.unwrap();
    assert_eq!(journal.step(l.clock.now(), 15_000), Step::Call(Why::First));
    let p = l.store.permit(ask(&again, Limits::default())).await.unwrap().unwrap();
    l.store.end(ended(p.call, answered())).await.unwrap();
    let row = &l.store.report_page(b, (0, 0), 1, false).await.unwrap()[0];
    assert_eq!(row.billed_calls, 2);
}

#[tokio::test]
async fn answers_are_pruned_and_rows_stay() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 1).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let j = claim(&l.store, 1).await.remove(0);
    let p = l.store.permit(ask(&j, Limits::default())).await.unwrap().unwrap();
    let body = bytes::Bytes::from(format!(r#"{{"status":"success","transcription":"{}"}}"#, "word ".repeat(2_000)));
    let end = End::Answered {
        body: body.clone().into(),
        from_log: false,
        request_id: None,
        content_expiry: None,
        audio_ms: None,
        cost: Some(1),
    };
    l.store.end(ended(p.call, end)).await.unwrap();
    assert_eq!(l.store.answer(p.call).await.unwrap().unwrap().0.whole().unwrap(), body, "packed and unpacked");
    assert!(l.store.kept_answers().await.1 < 1_000);
    l.store.settle(settle(&j, done(JobState::Succeeded))).await.unwrap();
    assert_eq!(l.store.prune(None, i64::MAX).await.unwrap().answers, 0, "the batch is not finished");
    assert!(l.store.finish(b).await.unwrap());
    assert_eq!(l.store.prune(None, i64::MAX).await.unwrap().answers, 1);
    l.store.shrink().await.unwrap();
    assert!(l.store.answer(p.call).await.unwrap().is_none());
    assert_eq!(l.store.redeliver(b).await.unwrap(), (0, 1));
    let id = l.store.begin(batch("b"), Resubmission::default()).await.unwrap().batch;
    assert_eq!(
        l.store.submit(id, vec![job(1, "/r/1.wav")], vec![]).await.unwrap().same,
        1,
        "nothing is paid for again"
    );
}

#[tokio::test]
async fn a_call_of_unknown_outcome_is_no_money_to_wait_for() {
    let l = ledger().await;
    l.submit(NewBatch { max_spend: Some(7_000), ..batch("b") }, 1).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let jobs = claim(&l.store, 1).await;
    let a = l.store.permit(ask(&jobs[0], Limits::default())).await.unwrap().unwrap();
    l.store.end(ended(a.call, unknown(false))).await.unwrap();
    let again = PermitRequest { why: Why::Unknown, replaces: Some(a.call), ..ask(&jobs[0], Limits::default()) };
    let verdict = tokio::time::timeout(std::time::Duration::from_secs(5), l.store.permit(again)).await;
    assert_eq!(verdict.expect("it does not wait for itself").unwrap().unwrap_err(), Denial::SpendLimit);
}

#[tokio::test]
async fn two_ends_of_one_call_in_one_transaction_are_two_ends() {
    let l = ledger().await;
    l.submit(batch("b"), 1).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let job = claim(&l.store, 1).await.remove(0);
    let call = l.store.permit(ask(&job, Limits::default())).await.unwrap().unwrap().call;
    // Its worker, and the worker that took the line from it, at the same moment.
    let (first, second) = tokio::join!(l.store.end(ended(call, answered())), l.store.end(ended(call, unknown(false))));
    assert_eq!((first.unwrap().state, second.unwrap().state), (CallState::Answered, CallState::Answered));
    let row = l.store.batch("b").await.unwrap().unwrap();
    assert_eq!((row.spent, row.reserved), (5_000, 0));
    let journal = l.store.journal(job.job, 0, job.generation).await.unwrap();
    assert_eq!(journal.step(l.clock.now(), 15_000), Step::Deliver(call));
}

#[tokio::test]
async fn a_late_answer_that_does_not_say_what_it_cost_is_not_free() {
    let l = ledger().await;
    l.submit(batch("b"), 1).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let job = claim(&l.store, 1).await.remove(0);
    let call = l.store.permit(ask(&job, Limits::default())).await.unwrap().unwrap().call;
    l.store.end(ended(call, End::GivenUp)).await.unwrap();
    let content = CallbackContent::Answer { request_id: None, audio_ms: None, cost: None };
    let late = Callback { call, body: r#"{"transcription":"late"}"#.into(), content };
    assert_eq!(l.store.receive(late).await.unwrap(), Some(Effect::Answered));
    assert_eq!(l.store.batch("b").await.unwrap().unwrap().spent, 5_000);
}

crate::store::harness::on_postgres_too! {
    money_is_reserved_before_it_is_spent,
    of_two_who_ask_for_one_part_at_once_one_is_told_and_nobody_else_suffers,
    an_unknown_length_counts_as_ten_minutes_then_as_the_longest_seen,
    one_wrong_setting_does_not_spend_the_night,
    only_the_user_lifts_the_users_pause,
    cancelled_lines_keep_the_answers_of_calls_in_flight,
    a_line_that_failed_before_its_first_call_is_called_for_the_first_time,
    a_suspect_line_is_bought_again_by_retry,
    answers_are_pruned_and_rows_stay,
    a_call_of_unknown_outcome_is_no_money_to_wait_for,
    two_ends_of_one_call_in_one_transaction_are_two_ends,
    a_late_answer_that_does_not_say_what_it_cost_is_not_free,
}
