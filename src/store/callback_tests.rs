//! Callbacks: whenever they come, however often, and whichever process is alive.

use crate::domain::{
    body::Arriving,
    call::{CallFailure, ErrorKind},
    job::{CallId, CallState, JobState, Step, Why},
    pool::Limits,
};
use crate::store::engine::db::query_as;
use crate::store::{tests::*, *};

const OVERDUE: i64 = 900_000;

/// A ledger with one claimed job, whose call waits for its answer.
async fn asked() -> (Ledger, Claimed, CallId) {
    let l = ledger().await;
    l.submit(batch("b"), 1).await;
    l.store.enlist("{}".into()).await.unwrap();
    let job = claim(&l.store, 1).await.remove(0);
    let ask = PermitRequest { overdue_after: Some(OVERDUE), ..ask(&job, Limits::default()) };
    let call = l.store.permit(ask).await.unwrap().unwrap().call;
    (l, job, call)
}

fn accepted() -> End {
    End::Accepted { request_id: Some("r1".into()) }
}

fn posted(call: CallId, words: &str) -> Callback {
    let body = format!(r#"{{"status":"success","transcription":"{words}"}}"#).into();
    Callback {
        call,
        body,
        content: CallbackContent::Answer { request_id: None, audio_ms: Some(60_000), cost: Some(4_000) },
    }
}

fn failed(call: CallId) -> Callback {
    let content = CallbackContent::Failed(CallFailure::new(ErrorKind::ServerError, "the vendor failed"));
    Callback { call, body: r#"{"status":"failed"}"#.into(), content }
}

impl Ledger {
    async fn waits(&self, job: &Claimed, call: CallId) {
        let until = self.clock.now() + OVERDUE;
        assert!(self.store.settle(settle(job, To::Awaiting { call, until })).await.unwrap());
    }

    async fn journal(&self, job: &Claimed) -> crate::domain::job::Journal {
        self.store.journal(job.job, 0, job.generation).await.unwrap()
    }
}

#[tokio::test]
async fn an_accepted_call_holds_no_slot_and_its_money_until_it_is_answered() {
    let (l, job, call) = asked().await;
    let reply = l.store.end(ended(call, accepted())).await.unwrap();
    assert_eq!(reply.state, CallState::Accepted);
    let record = l.journal(&job).await.calls.remove(0);
    assert_eq!((record.state, record.slot_until, record.unknown_at), (CallState::Accepted, None, None));
    assert!(matches!(l.journal(&job).await.step(l.clock.now(), 15_000), Step::Await { .. }));
    l.waits(&job, call).await;
    assert!(claim(&l.store, 1).await.is_empty(), "nobody asks for it");
    let row = l.store.batch("b").await.unwrap().unwrap();
    assert_eq!((row.spent, row.reserved), (0, 5_000));
    assert_eq!(l.store.receive(posted(call, "hello")).await.unwrap(), Some(Effect::Answered));
    let row = l.store.batch("b").await.unwrap().unwrap();
    assert_eq!((row.spent, row.reserved), (4_000, 0));
    let again = claim(&l.store, 1).await.remove(0);
    assert_eq!(l.journal(&again).await.step(l.clock.now(), 15_000), Step::Deliver(call));
    let (body, _) = l.store.answer(call).await.unwrap().unwrap();
    assert_eq!(body, posted(call, "hello").body);
}

#[tokio::test]
async fn the_same_is_the_same_however_it_is_packed() {
    let (l, _, call) = asked().await;
    let long = "so we looked at the numbers again ".repeat(150_000);
    let whole = posted(call, &long);
    let body = {
        let mut arriving = Arriving::default();
        arriving.push(&whole.body.whole().unwrap());
        arriving.finish().into_body()
    };
    assert_ne!(body, whole.body, "packed otherwise");
    assert_eq!(l.store.receive(whole.clone()).await.unwrap(), Some(Effect::Answered));
    assert_eq!(l.store.receive(Callback { body, ..whole.clone() }).await.unwrap(), Some(Effect::Repeated));
    let (kept, _) = l.store.answer(call).await.unwrap().unwrap();
    assert_eq!(kept, whole.body);
}

#[tokio::test]
async fn the_same_again_has_no_effect_and_another_body_is_kept_beside() {
    let (l, job, call) = asked().await;
    l.store.end(ended(call, accepted())).await.unwrap();
    l.waits(&job, call).await;
    let at_once = (0..10).map(|_| l.store.receive(posted(call, "hello")));
    let effects: Vec<_> = futures::future::join_all(at_once).await.into_iter().map(|e| e.unwrap().unwrap()).collect();
    assert_eq!(effects.iter().filter(|effect| **effect == Effect::Answered).count(), 1);
    assert!(effects.iter().all(|effect| matches!(effect, Effect::Answered | Effect::Repeated)));
    assert_eq!(l.store.receive(posted(call, "goodbye")).await.unwrap(), Some(Effect::Other));
    assert_eq!(l.store.receive(posted(call, "goodbye")).await.unwrap(), Some(Effect::Repeated));
    let (body, _) = l.store.answer(call).await.unwrap().unwrap();
    assert_eq!(body, posted(call, "hello").body, "the first counts");
    let rows: Vec<(String, i64, bool)> = query_as("SELECT effect, times, body IS NOT NULL FROM callbacks ORDER BY id")
        .fetch_all(&l.store.read)
        .await
        .unwrap();
    assert_eq!(rows, [("answered".into(), 10, false), ("other".into(), 2, true)]);
}

#[tokio::test]
async fn it_may_come_before_the_submits_own_answer() {
    let (l, job, call) = asked().await;
    assert_eq!(l.store.receive(posted(call, "early")).await.unwrap(), Some(Effect::Answered));
    let reply = l.store.end(ended(call, accepted())).await.unwrap();
    assert_eq!(reply.state, CallState::Answered, "what comes after it takes nothing back");
    // The move to Awaiting, had it begun already, finds the answer.
    l.waits(&job, call).await;
    let again = claim(&l.store, 1).await.remove(0);
    assert_eq!(l.journal(&again).await.step(l.clock.now(), 15_000), Step::Deliver(call));
}

#[tokio::test]
async fn it_finds_its_call_though_the_submitter_was_killed() {
    let (l, job, call) = asked().await;
    // Another process takes over, before and after the callback.
    l.clock.step(20_000);
    let again = claim(&l.store, 1).await.remove(0);
    assert_eq!(again.job, job.job);
    let Step::Await { call: awaited, until } = l.journal(&again).await.step(l.clock.now(), 15_000) else {
        panic!("no await")
    };
    assert_eq!(awaited, call);
    assert!(l.store.settle(settle(&again, To::Awaiting { call, until })).await.unwrap());
    assert!(claim(&l.store, 1).await.is_empty(), "no second call");
    assert_eq!(l.store.receive(posted(call, "hello")).await.unwrap(), Some(Effect::Answered));
    assert_eq!(claim(&l.store, 1).await.len(), 1);
}

#[tokio::test]
async fn of_two_calls_the_first_to_come_wins() {
    let (l, job, first) = asked().await;
    l.store.end(ended(first, accepted())).await.unwrap();
    let second = PermitRequest {
        replaces: Some(first),
        why: Why::Unknown,
        overdue_after: Some(OVERDUE),
        ..ask(&job, Limits::default())
    };
    let second = l.store.permit(second).await.unwrap().unwrap().call;
    assert_eq!(l.store.receive(posted(first, "late")).await.unwrap(), Some(Effect::Answered));
    assert_eq!(l.store.receive(posted(second, "later")).await.unwrap(), Some(Effect::Surplus));
    assert_eq!(l.journal(&job).await.step(l.clock.now(), 15_000), Step::Deliver(first));
    assert_eq!(l.journal(&job).await.billed(), 2, "the books tell");
}

#[tokio::test]
async fn a_failed_one_is_a_try_and_costs_nothing() {
    let (l, job, call) = asked().await;
    l.store.end(ended(call, accepted())).await.unwrap();
    l.waits(&job, call).await;
    assert_eq!(l.store.receive(failed(call)).await.unwrap(), Some(Effect::Failed));
    let again = claim(&l.store, 1).await.remove(0);
    let journal = l.journal(&again).await;
    assert_eq!((journal.tries(), journal.billed()), (1, 0));
    assert!(matches!(journal.step(l.clock.now(), 15_000), Step::Call(_)));
    let row = l.store.batch("b").await.unwrap().unwrap();
    assert_eq!((row.spent, row.reserved), (0, 0));
    assert_eq!(l.store.receive(failed(call)).await.unwrap(), Some(Effect::Repeated));
    // The vendor answers after all: the answer that was bought counts.
    assert_eq!(l.store.receive(posted(call, "after all")).await.unwrap(), Some(Effect::Answered));
}

#[tokio::test]
async fn what_comes_for_a_line_that_is_done_is_kept_and_changes_nothing() {
    let (l, job, call) = asked().await;
    l.store.end(ended(call, accepted())).await.unwrap();
    l.waits(&job, call).await;
    l.store.cancel(job.batch).await.unwrap();
    assert_eq!(l.store.receive(posted(call, "hello")).await.unwrap(), Some(Effect::Answered));
    assert!(claim(&l.store, 1).await.is_empty());
    assert_eq!(l.store.counts(job.batch).await.unwrap().of(JobState::Cancelled), 1);
    assert!(l.store.answer(call).await.unwrap().is_some(), "it was paid for");
    assert_eq!(l.store.receive(posted(CallId::new(), "who?")).await.unwrap(), None);
    assert_eq!(l.store.expected(CallId::new()).await.unwrap(), None);
    assert_eq!(l.store.expected(call).await.unwrap().unwrap().state, CallState::Answered);
}

crate::store::harness::on_postgres_too! {
    an_accepted_call_holds_no_slot_and_its_money_until_it_is_answered,
    the_same_is_the_same_however_it_is_packed,
    the_same_again_has_no_effect_and_another_body_is_kept_beside,
    it_may_come_before_the_submits_own_answer,
    it_finds_its_call_though_the_submitter_was_killed,
    of_two_calls_the_first_to_come_wins,
    a_failed_one_is_a_try_and_costs_nothing,
    what_comes_for_a_line_that_is_done_is_kept_and_changes_nothing,
}
