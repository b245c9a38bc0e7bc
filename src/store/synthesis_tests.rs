//! Jobs that synthesize: many calls per job, one open call per clip, money by characters.

use super::*;
use crate::domain::{
    call::{CallFailure, ErrorKind, LogFlags},
    cost::MicroUsd,
    environment::Environment,
    facts::Facts,
    identity::{Identity, text_identity},
    job::{BatchId, CallId, CallState, JobState, RequestFingerprint, Step, Why},
    pool::{Limits, Pool},
    synthesis::Synthesis,
};
use crate::store::engine::db::query_scalar;

mod reading;
mod retrying;

struct Ledger {
    _dir: tempfile::TempDir,
    store: Store,
    clock: Clock,
    path: PathBuf,
}

async fn open(path: &Path, clock: &Clock) -> Store {
    Store::open(Opening { clock: clock.clone(), ..Opening::new(path) }).await.unwrap().0
}

async fn ledger() -> Ledger {
    let dir = tempfile::tempdir().unwrap();
    let (path, clock) = (dir.path().join("wavebatch.db"), Clock::system());
    Ledger { store: open(&path, &clock).await, _dir: dir, clock, path }
}

impl Ledger {
    async fn submit(&self, name: &str, lines: u64, max_spend: Option<i64>) -> BatchId {
        let new = NewBatch {
            max_spend,
            ..NewBatch::of::<Synthesis>(name, Environment::Live, r#"{"task":"synthesize"}"#.into())
        };
        let batch = self.store.begin(new, Resubmission::default()).await.unwrap().batch;
        let jobs = (1..=lines).map(|line| {
            spoken_job(line, format!("k{line}"), Text::new(format!("The text of line {line}.")), "avery/wav")
        });
        self.store.submit(batch, jobs.collect(), vec![]).await.unwrap();
        self.store.end_submit(batch).await.unwrap();
        batch
    }

    async fn counts(&self, sql: &'static str) -> i64 {
        query_scalar(sql).fetch_one(&self.store.read).await.unwrap()
    }
}

fn spoken_job(line: u64, key: String, text: Text, variant: &str) -> NewJob {
    NewJob {
        line,
        key,
        source: None,
        source_id: text.id(),
        options_id: Identity([1; 16]),
        overrides: None,
        carried: None,
        pool: Pool::Tts,
        expected: None,
        local: None,
        adopted: None,
        synthesis: Some(NewSynthesis { text, variant: variant.into() }),
    }
}

async fn claim(store: &Store) -> Vec<Claimed> {
    let want = ClaimRequest {
        environment: Environment::Live,
        free: 99,
        calls: vec![(Pool::Tts, 99)],
        ..ClaimRequest::default()
    };
    store.claim(want).await.unwrap()
}

fn ask(job: &Claimed, part: i64, sentence: &str) -> PermitRequest {
    let characters = u32::try_from(sentence.len()).unwrap();
    let clip = Clip {
        cache_key: text_identity(sentence),
        looked_at: 0,
        characters,
        cost: MicroUsd(i64::from(characters) * 20),
        respects_manual_review: false,
    };
    let request = RequestFingerprint {
        model: "lightning_v3.1".into(),
        language: "en".into(),
        flags: LogFlags::default(),
        bytes: None,
        audio_ms: None,
        estimated_ms: None,
        keywords: Default::default(),
    };
    PermitRequest { part, ..PermitRequest::new(job, "acc".into(), Pool::Tts, Purchase::Clip(clip), request) }
}

/// The same ask by a worker that looked at the spool just now.
fn ask_now(job: &Claimed, part: i64, sentence: &str, now: i64) -> PermitRequest {
    let mut ask = ask(job, part, sentence);
    if let Purchase::Clip(clip) = &mut ask.buys {
        clip.looked_at = now;
    }
    ask
}

async fn permit(store: &Store, ask: PermitRequest) -> Result<CallId, Denial> {
    store.permit(ask).await.unwrap().map(|permit| permit.call)
}

fn ended(call: CallId, end: End) -> Ended {
    Ended { call, departed_at: None, limits: Limits::default(), end, pauses: None }
}

fn synthesis_counts(found: bool) -> End {
    End::Synthesized { object: None, bytes: 4_800, found, request_id: Some("r".into()), content_expiry: None }
}

fn lost_touch() -> End {
    let failure = CallFailure::new(ErrorKind::ConnectionLost, "reset");
    End::Unknown { failure, keeps_slot: false, effect: PoolEffect::None }
}

fn settle(job: &Claimed, to: To) -> Settlement {
    Settlement { job: job.job, batch: job.batch, token: job.token, to }
}

fn finished(state: JobState, parts: u64) -> To {
    let kind = (state == JobState::Failed).then(|| "bad_request".to_owned());
    let finish = Finish {
        state: Some(state),
        error_kind: kind,
        facts: Facts { parts: Some(parts), reused_parts: Some(0), ..Facts::default() },
        units: Some(100),
        ..Finish::default()
    };
    To::Finished(Box::new(finish))
}

#[tokio::test]
async fn a_job_that_was_dropped_while_it_waited_for_a_clip_is_not_woken() {
    let l = ledger().await;
    l.submit("b", 2, None).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let jobs = claim(&l.store).await;
    let first = permit(&l.store, ask(&jobs[0], 0, "Hello.")).await.unwrap();
    let until = l.clock.now() + 60_000;
    assert!(l.store.settle(settle(&jobs[1], To::Waiting { call: first, until })).await.unwrap());
    let waiting = jobs[1].job.0;
    let note = async |wanted: crate::domain::job::Wanted| {
        let noted = l.store.write(move |conn, _| {
            Box::pin(async move { crate::store::batches::wanted::note(conn, &[(waiting, wanted)]).await })
        });
        noted.await.unwrap();
    };
    note(crate::domain::job::Wanted::Dropped).await;
    l.store.end(ended(first, synthesis_counts(false))).await.unwrap();
    assert!(claim(&l.store).await.is_empty());
    note(crate::domain::job::Wanted::Yes).await;
    assert_eq!(claim(&l.store).await.remove(0).job, jobs[1].job, "what is wanted again is due");
}

#[tokio::test]
async fn one_sentence_is_never_bought_twice_at_once_and_who_waits_is_woken() {
    let l = ledger().await;
    l.submit("b", 2, None).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let jobs = claim(&l.store).await;
    assert_eq!(jobs[0].variant, "avery/wav");
    let first = permit(&l.store, ask(&jobs[0], 0, "Hello.")).await.unwrap();
    let denial = permit(&l.store, ask(&jobs[1], 4, "Hello.")).await.unwrap_err();
    let Denial::SameClipOpen { call, until: Some(until) } = denial else { panic!("{denial:?}") };
    assert_eq!(call, first);
    assert!(until > l.clock.now());
    let twice = permit(&l.store, ask(&jobs[0], 7, "Hello.")).await.unwrap_err();
    assert!(matches!(twice, Denial::SameClipOpen { .. }), "of one job no less");
    assert!(l.store.settle(settle(&jobs[1], To::Waiting { call, until })).await.unwrap());
    assert!(claim(&l.store).await.is_empty());
    l.store.end(ended(first, synthesis_counts(false))).await.unwrap();
    let woken = claim(&l.store).await.remove(0);
    assert_eq!(woken.job, jobs[1].job);
    let denial = permit(&l.store, ask(&woken, 4, "Hello.")).await.unwrap_err();
    assert_eq!(denial, Denial::SameClipKept { call: first }, "it is in the spool since");
    // A job does not wait for a call that is already over.
    l.store.settle(settle(&woken, To::Waiting { call, until: until + 60_000 })).await.unwrap();
    let woken = claim(&l.store).await.remove(0);
    // The spool has lost the clip.
    l.clock.advance(1);
    permit(&l.store, ask_now(&woken, 4, "Hello.", l.clock.now())).await.unwrap();
    let row = &l.store.report_page(woken.batch, (0, 0), 9, false).await.unwrap()[1];
    assert_eq!((row.tries, row.billed_calls), (0, 0), "waiting is no try");
}

#[tokio::test]
async fn a_slot_is_free_when_its_request_is_over_though_its_audio_is_not_kept_yet() {
    let l = ledger().await;
    l.submit("b", 1, None).await;
    let me = l.store.enlist("{}".into()).await.unwrap();
    let job = claim(&l.store).await.remove(0);
    let limits = Limits { requests_per_minute: None, concurrency: Some(1) };
    let limited = |part, text| PermitRequest { limits, ..ask(&job, part, text) };
    let first = permit(&l.store, limited(0, "One.")).await.unwrap();
    let second = tokio::spawn({
        let (store, ask) = (l.store.clone(), limited(1, "Two."));
        async move { permit(&store, ask).await }
    });
    l.store.free_slot(first).await.unwrap();
    let second = second.await.unwrap().unwrap();
    // The heartbeat renews slots, but not that one.
    l.clock.advance(4_000);
    l.store.free_slot(CallId::new()).await.unwrap();
    let slots = "SELECT count(*) FROM calls WHERE slot_until > 0";
    assert_eq!(l.counts(slots).await, 1);
    assert_eq!(l.counts("SELECT count(*) FROM calls WHERE state = 'sent'").await, 2);
    l.store.end(ended(first, synthesis_counts(false))).await.unwrap();
    l.store.end(ended(second, synthesis_counts(false))).await.unwrap();
    assert_eq!(l.counts("SELECT count(*) FROM calls WHERE slot_until IS NOT NULL").await, 0);
    drop(me);
}

#[tokio::test]
async fn two_asks_at_once_are_one_call() {
    let l = ledger().await;
    l.submit("b", 20, None).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let other = open(&l.path, &l.clock).await;
    let _them = other.enlist("{}".into()).await.unwrap();
    let mut jobs = claim(&l.store).await;
    let late = jobs.split_off(10);
    // The lease is the other process's token or ours: a permit only compares it with the row's.
    let asks = jobs.iter().map(|job| (&l.store, job)).chain(late.iter().map(|job| (&other, job)));
    let asks = asks.map(|(store, job)| permit(store, ask(job, 0, "Hello.")));
    let verdicts = futures::future::join_all(asks).await;
    assert_eq!(verdicts.iter().filter(|v| v.is_ok()).count(), 1);
    assert!(verdicts.iter().all(|v| matches!(v, Ok(_) | Err(Denial::SameClipOpen { .. }))), "{verdicts:?}");
    assert_eq!(l.counts("SELECT count(*) FROM calls").await, 1);
}

#[tokio::test]
async fn a_file_without_its_row_is_the_answer() {
    let l = ledger().await;
    let b = l.submit("b", 1, None).await;
    let dead = l.store.enlist("{}".into()).await.unwrap();
    let job = claim(&l.store).await.remove(0);
    let call = permit(&l.store, ask(&job, 3, "Hello.")).await.unwrap();
    l.store.shared.process.store(0, Ordering::Release);
    drop(dead);
    let other = open(&l.path, &l.clock).await;
    let _them = other.enlist("{}".into()).await.unwrap();
    let again = claim(&other).await.remove(0);
    assert!(again.has_calls);
    let journals = other.journals(again.job, again.generation).await.unwrap();
    let step = journals.of(3).step(l.clock.now(), 15_000);
    assert!(matches!(step, Step::Reconcile(open) if open.id == call));
    assert!(
        other
            .needed_cache_keys(crate::tasks::Registry::built_in().reports())
            .await
            .unwrap()
            .contains(&text_identity("Hello."))
    );
    assert_eq!(other.end(ended(call, synthesis_counts(true))).await.unwrap().state, CallState::Answered);
    let journals = other.journals(again.job, again.generation).await.unwrap();
    assert_eq!(journals.of(3).step(l.clock.now(), 15_000), Step::Deliver(call));
    assert_eq!(journals.of(3).calls[0].bytes, Some(4_800));
    let row = other.batch_by_id(b).await.unwrap();
    assert_eq!((row.spent, row.reserved), (6 * 20, 0), "by its characters");
}

#[tokio::test]
async fn a_call_that_is_nobodys_any_more_is_given_up_by_who_waits() {
    let l = ledger().await;
    let a = l.submit("a", 1, None).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let owner = claim(&l.store).await.remove(0);
    let call = permit(&l.store, ask(&owner, 0, "Hello.")).await.unwrap();
    assert!(l.store.end(ended(call, lost_touch())).await.unwrap().counts);
    l.submit("b", 1, None).await;
    let waiter = claim(&l.store).await.remove(0);
    let denial = async || permit(&l.store, ask(&waiter, 0, "Hello.")).await.unwrap_err();
    assert!(matches!(denial().await, Denial::SameClipOpen { until: Some(_), .. }), "its own job decides");
    let now = l.clock.now();
    l.store.settle(settle(&owner, To::Queued { due_at: now, call: None, source_try: false })).await.unwrap();
    assert_eq!(denial().await, Denial::SameClipOpen { call, until: None });
    let mine = PermitRequest { why: Why::Unknown, replaces: Some(call), ..ask(&waiter, 0, "Hello.") };
    permit(&l.store, mine).await.unwrap();
    let row = l.store.batch_by_id(a).await.unwrap();
    assert_eq!((row.spent, row.reserved), (120, 0), "in the books of the batch that made it");
    assert_eq!(l.counts("SELECT count(*) FROM calls WHERE state = 'lost'").await, 1);
}

#[tokio::test]
async fn caps_count_calls_and_not_jobs() {
    let l = ledger().await;
    let b = l.submit("b", 1, Some(20 * 2 * 12)).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let job = claim(&l.store).await.remove(0);
    let limits = Limits { requests_per_minute: None, concurrency: Some(2) };
    let limited = |part: i64| PermitRequest { limits, ..ask(&job, part, &format!("Part {part:06}.")) };
    let one = permit(&l.store, limited(1)).await.unwrap();
    let two = permit(&l.store, limited(2)).await.unwrap();
    let third = tokio::spawn({
        let (store, ask) = (l.store.clone(), limited(3));
        async move { permit(&store, ask).await }
    });
    assert_eq!(l.store.pool("acc", Pool::Tts, &limits).await.unwrap().traffic.in_flight, 2);
    assert!(!third.is_finished());
    l.store.end(ended(one, synthesis_counts(false))).await.unwrap();
    l.store.end(ended(two, synthesis_counts(false))).await.unwrap();
    assert_eq!(third.await.unwrap(), Err(Denial::SpendLimit), "the money is for two parts");
    assert_eq!(l.store.batch_by_id(b).await.unwrap().spent, 20 * 2 * 12);
}

#[tokio::test]
async fn a_cancelled_job_keeps_all_its_calls_on_the_wire() {
    let l = ledger().await;
    let b = l.submit("b", 1, None).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let job = claim(&l.store).await.remove(0);
    let mut calls = Vec::new();
    for (part, text) in ["One.", "Two.", "Three.", "Four."].into_iter().enumerate() {
        calls.push(permit(&l.store, ask(&job, part as i64, text)).await.unwrap());
    }
    l.store.end(ended(calls[0], lost_touch())).await.unwrap();
    assert_eq!(l.store.cancel(b).await.unwrap(), Cancelled { jobs: 1, in_flight: 1 });
    let lost = "SELECT count(*) FROM calls WHERE state = 'lost'";
    assert_eq!(l.counts(lost).await, 1, "what is on the wire is not given up with it");
    assert_eq!(l.store.end(ended(calls[1], synthesis_counts(false))).await.unwrap().state, CallState::Answered);
    assert_eq!(l.store.end(ended(calls[2], lost_touch())).await.unwrap().state, CallState::Lost, "nobody will look");
    l.store.end(ended(calls[3], synthesis_counts(false))).await.unwrap();
    let row = l.store.batch_by_id(b).await.unwrap();
    assert_eq!((row.spent, row.reserved), (20 * (4 + 4 + 6 + 5), 0));
}

#[tokio::test]
async fn a_book_has_a_thousand_parts() {
    let l = ledger().await;
    l.submit("b", 1, None).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let job = claim(&l.store).await.remove(0);
    for chunk in 0..20_i64 {
        let asks = (0..50).map(|n| permit(&l.store, ask(&job, chunk * 50 + n, &format!("Sentence {chunk} {n}."))));
        let calls = futures::future::join_all(asks).await;
        let ends = calls.into_iter().map(|call| l.store.end(ended(call.unwrap(), synthesis_counts(false))));
        futures::future::join_all(ends).await;
    }
    let journals = l.store.journals(job.job, job.generation).await.unwrap();
    assert_eq!(journals.parts.len(), 1_000);
    assert!(journals.parts.values().all(|j| matches!(j.step(0, 0), Step::Deliver(_))));
    assert_eq!(l.store.needed_cache_keys(crate::tasks::Registry::built_in().reports()).await.unwrap().len(), 1_000);
    assert!(l.store.settle(settle(&job, finished(JobState::Succeeded, 1_000))).await.unwrap());
    assert!(l.store.needed_cache_keys(crate::tasks::Registry::built_in().reports()).await.unwrap().is_empty());
    let row = l.store.report_page(job.batch, (0, 0), 9, true).await.unwrap().remove(0);
    assert_eq!(
        (row.billed_calls, row.parts, row.reused_parts, row.characters),
        (1_000, Some(1_000), Some(0), Some(100))
    );
    let ask = SpendQuery { environment: Environment::Live, since: None, before: None, by: SpendBy::Model, top: 9 };
    let spent = l.store.spent(&ask).await.unwrap().total;
    assert_eq!((spent.lines, spent.billed, spent.audio_ms), (1, 1_000, 0));
    assert_eq!(spent.cost, 20 * i64::try_from(spent.characters).unwrap());
}

#[tokio::test]
async fn five_parts_of_one_book_can_tell_an_outage() {
    let l = ledger().await;
    l.submit("b", 1, None).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let job = claim(&l.store).await.remove(0);
    let mut calls = Vec::new();
    for part in 0..5 {
        calls.push(permit(&l.store, ask(&job, part, &format!("Part {part}."))).await.unwrap());
    }
    let mut replies = Vec::new();
    for call in calls {
        let failure = Some(CallFailure::new(ErrorKind::ServerError, "503"));
        let end =
            End::Rejected { failure, effect: PoolEffect::Failed { ours: false, retry_after: None }, counts: true };
        replies.push(l.store.end(ended(call, end)).await.unwrap().outage.map(|(since, _)| since));
    }
    assert!(replies[3].is_none() && replies[4].is_some(), "{replies:?}");
}

crate::store::harness::on_postgres_too! {
    a_job_that_was_dropped_while_it_waited_for_a_clip_is_not_woken,
    one_sentence_is_never_bought_twice_at_once_and_who_waits_is_woken,
    a_slot_is_free_when_its_request_is_over_though_its_audio_is_not_kept_yet,
    two_asks_at_once_are_one_call,
    a_call_that_is_nobodys_any_more_is_given_up_by_who_waits,
    caps_count_calls_and_not_jobs,
    a_cancelled_job_keeps_all_its_calls_on_the_wire,
    a_book_has_a_thousand_parts,
    five_parts_of_one_book_can_tell_an_outage,
}
