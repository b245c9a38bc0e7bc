//! The rules for every engine behind [`Store`]. Each test has a ledger of its own.

use std::time::Duration;

use super::*;
use crate::domain::{
    call::{CallFailure, ErrorKind, LogFlags},
    cost::MicroUsd,
    environment::Environment,
    identity::{options_identity, source_identity},
    job::{BatchId, CallState, JobState, RequestFingerprint, Step, Why},
    length::Length,
    listening::Listening,
    pool::{Limited, Limits, Pool},
    transcription::Transcription,
};
use crate::store::engine::db::{Conn, query};

pub(super) struct Ledger {
    _dir: tempfile::TempDir,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) path: PathBuf,
}

impl Ledger {
    /// Another connection to it.
    pub(super) async fn other(&self) -> Conn {
        use sqlx::ConnectOptions;
        if let Some(conn) = harness::connect(&self.path).await {
            return conn;
        }
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&self.path).create_if_missing(false);
        options.connect().await.unwrap().into()
    }
}

pub(super) async fn ledger() -> Ledger {
    ledger_with(Clock::system()).await
}

pub(super) async fn ledger_with(clock: Clock) -> Ledger {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wavebatch.db");
    let store = open(&path, &clock).await;
    Ledger { _dir: dir, store, clock, path }
}

pub(super) async fn open(path: &Path, clock: &Clock) -> Store {
    Store::open(Opening { clock: clock.clone(), ..Opening::new(path) }).await.unwrap().0
}

pub(super) fn batch(name: &str) -> NewBatch {
    NewBatch::of::<Transcription>(name, Environment::Live, "{}".into())
}

pub(super) fn options(language: &str) -> crate::domain::identity::Identity {
    let json = serde_json::json!({"model": "pulse", "language": language, "word_timestamps": false, "diarize": false,
        "redact_pii": false, "redact_pci": false, "redact": "strict", "emotion_detection": false, "gender_detection": false,
        "expire_content": "false", "allow_silence": false, "send": "auto"});
    options_identity(&serde_json::from_value(json).unwrap(), &Listening::default())
}

pub(super) fn job(line: u64, source: &str) -> NewJob {
    NewJob {
        line,
        key: format!("k{line}"),
        source: Some(source.into()),
        source_id: source_identity(source, &crate::domain::query::QueryRules::default()),
        options_id: options("en"),
        overrides: None,
        carried: None,
        pool: Pool::Pulse,
        expected: None,
        local: None,
        adopted: None,
        synthesis: None,
    }
}

impl Store {
    /// Submits a set of lines of an existing batch.
    pub(crate) async fn submit(
        &self,
        batch: BatchId,
        good: Vec<NewJob>,
        bad: Vec<BadJob>,
    ) -> Result<Submitted, StoreError> {
        let begun = Begun { batch, existed: true, at: self.now(), redelivered: 0, pruned: 0 };
        let sets = vec![(good.iter().zip(0..).collect(), bad.iter().zip(good.len() as u64..).collect())];
        self.submit_sets(begun, sets).await
    }

    /// How many answers are kept, and the bytes that they use in the ledger, estimated from some of each batch.
    pub(super) async fn kept_answers(&self) -> (u64, u64) {
        let kept = self.kept_by_batch().await.unwrap();
        kept.iter().fold((0, 0), |(answers, bytes), of| (answers + of.answers, bytes + of.bytes))
    }
}

impl Ledger {
    pub(super) async fn submit(&self, new: NewBatch, lines: u64) -> BatchId {
        let id = self.store.begin(new, Resubmission::default()).await.unwrap().batch;
        let jobs = (1..=lines).map(|n| job(n, &format!("/r/{n}.wav"))).collect();
        self.store.submit(id, jobs, vec![]).await.unwrap();
        self.store.end_submit(id).await.unwrap();
        id
    }
}

pub(super) async fn claim(store: &Store, n: u32) -> Vec<Claimed> {
    let want = ClaimRequest {
        environment: Environment::Live,
        free: n,
        calls: vec![(Pool::Pulse, n)],
        ..ClaimRequest::default()
    };
    store.claim(want).await.unwrap()
}

pub(super) fn ask(job: &Claimed, limits: Limits) -> PermitRequest {
    PermitRequest {
        limits,
        ..PermitRequest::new(
            job,
            "acc".into(),
            Pool::Pulse,
            Purchase::Transcript { length: Length::Exact(60_000), rate: MicroUsd(5_000) },
            request(),
        )
    }
}

pub(super) fn request() -> RequestFingerprint {
    RequestFingerprint {
        model: "pulse".into(),
        language: "en".into(),
        flags: LogFlags::default(),
        bytes: Some(7),
        audio_ms: Some(60_000),
        estimated_ms: None,
        keywords: Default::default(),
    }
}

pub(super) fn ended(call: crate::domain::job::CallId, end: End) -> Ended {
    Ended { call, departed_at: None, limits: Limits::default(), end, pauses: None }
}

pub(super) fn answered() -> End {
    End::Answered {
        body: r#"{"status":"success","transcription":"hi"}"#.into(),
        from_log: false,
        request_id: None,
        content_expiry: None,
        audio_ms: Some(60_000),
        cost: Some(5_000),
    }
}

pub(super) fn unknown(keeps_slot: bool) -> End {
    End::Unknown { failure: CallFailure::new(ErrorKind::TimedOut, "late"), keeps_slot, effect: PoolEffect::None }
}

pub(super) fn settle(job: &Claimed, to: To) -> Settlement {
    Settlement { job: job.job, batch: job.batch, token: job.token, to }
}

pub(super) fn done(state: JobState) -> To {
    let kind = (state != JobState::Succeeded).then(|| "bad_request".to_owned());
    To::Finished(Box::new(Finish { state: Some(state), error_kind: kind, ..Finish::default() }))
}

#[tokio::test]
async fn a_line_goes_from_the_queue_to_done_and_is_never_claimed_again() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 3).await;
    let me = l.store.enlist("{}".into()).await.unwrap();
    let jobs = claim(&l.store, 2).await;
    assert_eq!(jobs.iter().map(|j| j.key.as_str()).collect::<Vec<_>>(), ["k1", "k2"]);
    assert_eq!(claim(&l.store, 9).await.len(), 1, "what is leased is not due");
    for j in &jobs {
        let permit = l.store.permit(ask(j, Limits::default())).await.unwrap().unwrap();
        assert!(!permit.is_stale());
        let reply = l.store.end(ended(permit.call, answered())).await.unwrap();
        assert_eq!(reply.state, CallState::Answered);
        assert!(l.store.settle(settle(j, done(JobState::Succeeded))).await.unwrap());
    }
    let counts = l.store.counts(b).await.unwrap();
    assert_eq!((counts.of(JobState::Succeeded), counts.of(JobState::Running)), (2, 1));
    assert_eq!(l.store.batch("b").await.unwrap().unwrap().spent, 10_000);
    l.store.leave(me).await.unwrap();
}

#[tokio::test]
async fn a_lost_lease_cannot_settle_but_its_answer_is_kept() {
    let l = ledger().await;
    l.submit(batch("b"), 1).await;
    let me = l.store.enlist("{}".into()).await.unwrap();
    let first = claim(&l.store, 1).await.remove(0);
    let permit = l.store.permit(ask(&first, Limits::default())).await.unwrap().unwrap();
    // The process counts as dead, and another works on the ledger.
    l.store.leave(me).await.unwrap();
    let other = open(&l.path, &l.clock).await;
    let _them = other.enlist("{}".into()).await.unwrap();
    let second = claim(&other, 1).await.remove(0);
    assert!(second.has_calls);
    assert_eq!(l.store.end(ended(permit.call, answered())).await.unwrap().state, CallState::Answered);
    assert!(!l.store.settle(settle(&first, done(JobState::Succeeded))).await.unwrap(), "fenced");
    let journal = other.journal(second.job, 0, second.generation).await.unwrap();
    assert_eq!(journal.step(l.clock.now(), 15_000), Step::Deliver(permit.call));
    let denial = other.permit(ask(&second, Limits::default())).await.unwrap().unwrap_err();
    assert_eq!(denial, Denial::AlreadyAnswered);
}

#[tokio::test]
async fn an_open_call_is_given_up_and_replaced_in_one_step_and_only_once() {
    let l = ledger().await;
    l.submit(batch("b"), 1).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let j = claim(&l.store, 1).await.remove(0);
    let first = l.store.permit(ask(&j, Limits::default())).await.unwrap().unwrap();
    let reply = l.store.end(ended(first.call, unknown(true))).await.unwrap();
    assert!(reply.counts);
    assert_eq!(l.store.permit(ask(&j, Limits::default())).await.unwrap().unwrap_err(), Denial::OpenCall);
    let again = |replaces| PermitRequest { why: Why::Unknown, replaces: Some(replaces), ..ask(&j, Limits::default()) };
    let second = l.store.permit(again(first.call)).await.unwrap().unwrap();
    assert_eq!(l.store.permit(again(first.call)).await.unwrap().unwrap_err(), Denial::OpenCall);
    let journal = l.store.journal(j.job, 0, j.generation).await.unwrap();
    assert_eq!(journal.calls.iter().map(|c| c.state).collect::<Vec<_>>(), [CallState::Lost, CallState::Sent]);
    // The first answer wins, whichever call it belongs to; the other is surplus.
    assert_eq!(l.store.end(ended(first.call, answered())).await.unwrap().state, CallState::Answered);
    assert_eq!(l.store.end(ended(second.call, answered())).await.unwrap().state, CallState::Surplus);
    let row = &l.store.report_page(j.batch, (0, 0), 10, true).await.unwrap()[0];
    assert_eq!((row.billed_calls, row.cost, row.tries), (2, 10_000, 1));
    assert_eq!(l.store.batch("b").await.unwrap().unwrap().reserved, 0);
}

#[tokio::test]
async fn permits_keep_the_flight_and_the_minute() {
    let l = ledger().await;
    l.submit(batch("b"), 20).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let jobs = claim(&l.store, 20).await;
    let limits = Limits { requests_per_minute: Some(5), concurrency: Some(2) };
    let a = l.store.permit(ask(&jobs[0], limits)).await.unwrap().unwrap();
    let b = l.store.permit(ask(&jobs[1], limits)).await.unwrap().unwrap();
    let third = tokio::spawn({
        let (store, ask) = (l.store.clone(), ask(&jobs[2], limits));
        async move { store.permit(ask).await.unwrap().unwrap() }
    });
    assert_eq!(l.store.pool("acc", Pool::Pulse, &limits).await.unwrap().traffic.in_flight, 2);
    assert!(!third.is_finished());
    l.store.end(ended(a.call, answered())).await.unwrap();
    let c = third.await.unwrap();
    for permit in [b, c] {
        l.store.end(ended(permit.call, answered())).await.unwrap();
    }
    for j in &jobs[3..5] {
        let p = l.store.permit(ask(j, limits)).await.unwrap().unwrap();
        l.store.end(ended(p.call, answered())).await.unwrap();
    }
    let sixth = tokio::spawn({
        let (store, ask) = (l.store.clone(), ask(&jobs[5], limits));
        async move { store.permit(ask).await.unwrap().unwrap() }
    });
    let view = l.store.pool("acc", Pool::Pulse, &limits).await.unwrap();
    assert_eq!((view.traffic.in_flight, view.traffic.in_window), (0, 5));
    assert!(!sixth.is_finished(), "five in this minute");
    l.clock.advance(61_000);
    sixth.await.unwrap();
}

#[tokio::test]
async fn a_set_of_refusals_is_one_storm_and_all_processes_see_it() {
    let l = ledger().await;
    l.submit(batch("b"), 20).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let other = open(&l.path, &l.clock).await;
    let jobs = claim(&l.store, 20).await;
    let limits = Limits { requests_per_minute: None, concurrency: Some(10) };
    let mut calls = Vec::new();
    for job in &jobs[..10] {
        calls.push(l.store.permit(ask(job, limits)).await.unwrap().unwrap().call);
    }
    l.clock.advance(10);
    let refused = |call| {
        let failure = Some(CallFailure::new(ErrorKind::RateLimited, "429"));
        let end = End::Rejected { failure, effect: PoolEffect::Limited(None), counts: false };
        Ended { limits, ..ended(call, end) }
    };
    let taken_for = futures::future::join_all(calls.into_iter().map(|call| l.store.end(refused(call)))).await;
    let taken_for: Vec<_> = taken_for.into_iter().map(|reply| reply.unwrap().limited.unwrap()).collect();
    assert_eq!(taken_for[..3], [Limited::Isolated; 3]);
    assert_eq!(taken_for[3..], [Limited::Storm; 7]);
    let view = other.pool("acc", Pool::Pulse, &limits).await.unwrap();
    assert_eq!(view.state.effective(&limits, l.clock.now()).concurrency, Some(5), "halved once");
    assert_eq!((view.state.refused, view.state.remembered), (0b11_1111_1111, 1.0));

    // The wait is over, and the first call after it is refused as well: the series of 429s continues.
    l.clock.advance(view.state.cooldown_until - l.clock.now());
    let next = l.store.permit(ask(&jobs[10], limits)).await.unwrap().unwrap();
    l.clock.advance(10);
    assert_eq!(l.store.end(refused(next.call)).await.unwrap().limited, Some(Limited::Storm));
    let view = other.pool("acc", Pool::Pulse, &limits).await.unwrap();
    assert_eq!(view.state.effective(&limits, l.clock.now()).concurrency, Some(2));
    // An answer is recorded, too, so that the process with the next answer can count the round.
    l.clock.advance(view.state.cooldown_until - l.clock.now());
    let next = l.store.permit(ask(&jobs[11], limits)).await.unwrap().unwrap();
    l.clock.advance(10);
    l.store.end(Ended { limits, ..ended(next.call, answered()) }).await.unwrap();
    assert_eq!(other.pool("acc", Pool::Pulse, &limits).await.unwrap().state.round_clean, 1);
}

#[tokio::test]
async fn a_dead_process_leaves_its_jobs_due_and_its_slots_taken() {
    let l = ledger().await;
    l.submit(batch("b"), 2).await;
    let dead = l.store.enlist("{}".into()).await.unwrap();
    let j = claim(&l.store, 1).await.remove(0);
    l.store.permit(ask(&j, Limits::default())).await.unwrap().unwrap();
    l.store.shared.process.store(0, Ordering::Release);
    drop(dead);
    let other = open(&l.path, &l.clock).await;
    let _them = other.enlist("{}".into()).await.unwrap();
    let again = claim(&other, 1).await;
    assert!(again.iter().any(|c| c.job == j.job), "no need to wait for the lease");
    let view = other.pool("acc", Pool::Pulse, &Limits::default()).await.unwrap();
    assert_eq!(view.traffic.in_flight, 1, "the vendor may still work on it");
    let journal = other.journal(j.job, 0, 0).await.unwrap();
    assert!(matches!(journal.step(l.clock.now(), 15_000), Step::Reconcile(_)));
    l.clock.advance(20_000);
    let view = other.pool("acc", Pool::Pulse, &Limits::default()).await.unwrap();
    assert_eq!(view.traffic.in_flight, 0, "its grace time is over");
}

#[tokio::test]
async fn a_clock_that_was_set_back_stops_nothing() {
    let l = ledger().await;
    l.submit(batch("b"), 2).await;
    l.clock.step(3_600_000);
    let me = l.store.enlist("{}".into()).await.unwrap();
    let j = claim(&l.store, 1).await.remove(0);
    let limits = Limits { requests_per_minute: Some(1), concurrency: None };
    let p = l.store.permit(ask(&j, limits)).await.unwrap().unwrap();
    l.store.end(ended(p.call, answered())).await.unwrap();
    l.store
        .settle(settle(&j, To::Queued { due_at: l.clock.now() + 500, call: Some(Pool::Pulse), source_try: false }))
        .await
        .unwrap();
    l.clock.step(-3_600_000);
    let process = me.id();
    let shared = Arc::clone(&l.store.shared);
    l.store
        .write(move |conn, now| {
            let shared = Arc::clone(&shared);
            Box::pin(async move {
                let now = Moment::at(now, &shared.clock);
                engine::beat::beat(conn, &shared, process, &now).await
            })
        })
        .await
        .unwrap();
    let due = l
        .store
        .next_due(&ClaimRequest {
            environment: Environment::Live,
            free: 1,
            calls: vec![(Pool::Pulse, 1)],
            ..ClaimRequest::default()
        })
        .await
        .unwrap()
        .unwrap();
    assert!(due <= l.clock.now());
    let view = l.store.pool("acc", Pool::Pulse, &limits).await.unwrap();
    assert!(view.traffic.nth_newest.unwrap() <= l.clock.now());
}

#[tokio::test]
async fn one_refused_command_does_not_undo_its_neighbours() {
    let l = ledger().await;
    l.submit(batch("b"), 2).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let jobs = claim(&l.store, 2).await;
    let p = l.store.permit(ask(&jobs[0], Limits::default())).await.unwrap().unwrap();
    let nobody = crate::domain::job::CallId::new();
    let (good, bad) = tokio::join!(l.store.end(ended(p.call, answered())), l.store.end(ended(nobody, answered())),);
    assert_eq!(good.unwrap().state, CallState::Answered);
    assert!(matches!(bad, Err(StoreError::Unexpected(_))));
}

#[tokio::test]
async fn a_newer_ledger_and_a_damaged_one_are_refused() {
    let l = ledger().await;
    l.store
        .write(|conn, _| {
            Box::pin(async move {
                query("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'x', true, unhex('00'), 0)")
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .await
        .unwrap();
    let e = Store::open(Opening::new(&l.path)).await.unwrap_err();
    assert!(matches!(e, StoreError::Newer { found: 9999, .. }), "{e:?}");
    let junk = l.path.with_file_name("junk.db");
    std::fs::write(&junk, b"this is not a database, it is a sentence".repeat(200)).unwrap();
    assert!(matches!(Store::open(Opening::new(&junk)).await.unwrap_err(), StoreError::Corrupt(_)));
    let nowhere = Opening { create: false, ..Opening::new(l.path.with_file_name("none.db")) };
    assert!(matches!(Store::open(nowhere).await.unwrap_err(), StoreError::Missing(_)));
}

#[tokio::test]
async fn claims_take_turns_between_batches() {
    let l = ledger().await;
    l.submit(batch("a"), 10).await;
    l.submit(batch("b"), 10).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let jobs = claim(&l.store, 6).await;
    assert_eq!(jobs.iter().filter(|j| j.batch == BatchId(1)).count(), 3);
    assert_eq!(jobs.len(), 6);
}

#[tokio::test]
async fn the_last_handle_leaves_one_file() {
    let l = ledger().await;
    l.store.begin(batch("b"), Resubmission::default()).await.unwrap();
    let Ledger { _dir, store, path, .. } = l;
    let log = path.with_file_name("wavebatch.db-wal");
    let other = store.clone();
    other.close().await;
    assert!(log.exists(), "a handle is left");
    store.close().await;
    assert!(!log.exists() && std::fs::metadata(path).unwrap().len() > 10_000);
}

#[tokio::test]
async fn a_broken_workers_call_is_not_awaited_for_ever() {
    let l = ledger().await;
    l.submit(batch("b"), 1).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let job = claim(&l.store, 1).await.remove(0);
    l.store.permit(ask(&job, Limits::default())).await.unwrap().unwrap();
    let step = async || l.store.journal(job.job, 0, 0).await.unwrap().step(l.clock.now(), 15_000);
    assert!(matches!(step().await, Step::PutBack { .. }), "its process lives");
    l.store.abandon_calls(job.job).await.unwrap();
    assert!(matches!(step().await, Step::Reconcile(_)));
}

#[tokio::test]
async fn a_retried_line_knows_of_the_answer_that_is_kept() {
    let l = ledger().await;
    let b = l.submit(batch("b"), 1).await;
    let _me = l.store.enlist("{}".into()).await.unwrap();
    let job = claim(&l.store, 1).await.remove(0);
    assert!(!job.has_calls);
    let p = l.store.permit(ask(&job, Limits::default())).await.unwrap().unwrap();
    l.store.end(ended(p.call, answered())).await.unwrap();
    let refused = Finish::failed(ErrorKind::SinkRefused, "x".into());
    l.store.settle(settle(&job, To::Finished(Box::new(refused)))).await.unwrap();
    assert_eq!(l.store.retry_free(b).await.unwrap().jobs(), 1);
    assert!(claim(&l.store, 1).await[0].has_calls, "though its calls are of an earlier generation");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_may_open_a_new_ledger_at_once() {
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wavebatch.db");
        let opened = (0..8).map(|_| tokio::spawn(Store::open(Opening { create: true, ..Opening::new(&path) })));
        let opened = futures::future::join_all(opened).await;
        let ids: Vec<String> = opened.into_iter().map(|store| store.unwrap().unwrap().0.id().to_owned()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]));
    }
}

/// Without it, the next process that closes the ledger takes itself for the last one, and removes our log.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_made_the_ledger_keeps_its_lock_on_it() {
    use std::os::unix::fs::MetadataExt;
    let l = ledger().await;
    l.submit(batch("b"), 1).await;
    let inode = std::fs::metadata(&l.path).unwrap().ino();
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    let (pid, place) = (std::process::id().to_string(), format!(":{inode}"));
    let ours = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.contains(&"POSIX")
            && fields.contains(&pid.as_str())
            && fields.iter().any(|field| field.ends_with(&place))
    };
    assert!(locks.lines().any(|line| ours(&line)), "no lock of {pid} on {inode}:\n{locks}");
}

#[tokio::test]
async fn who_only_looks_needs_no_write_lock() {
    let l = ledger().await;
    l.submit(batch("b"), 3).await;
    let mut other = l.other().await;
    query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let began = std::time::Instant::now();
    let store =
        Store::open(Opening { busy_timeout: Duration::from_secs(60), ..Opening::new(&l.path) }).await.unwrap().0;
    assert_eq!(store.batches().await.unwrap().len(), 1);
    store.close().await;
    assert!(began.elapsed() < Duration::from_secs(30));
    query("ROLLBACK").execute(&mut other).await.unwrap();
}

crate::store::harness::on_postgres_too! {
    a_line_goes_from_the_queue_to_done_and_is_never_claimed_again,
    a_lost_lease_cannot_settle_but_its_answer_is_kept,
    an_open_call_is_given_up_and_replaced_in_one_step_and_only_once,
    permits_keep_the_flight_and_the_minute,
    a_set_of_refusals_is_one_storm_and_all_processes_see_it,
    a_clock_that_was_set_back_stops_nothing,
    one_refused_command_does_not_undo_its_neighbours,
    claims_take_turns_between_batches,
    a_broken_workers_call_is_not_awaited_for_ever,
    a_retried_line_knows_of_the_answer_that_is_kept,
    many_may_open_a_new_ledger_at_once,
}
