//! Power that goes: whatever of the log beside the ledger had not reached the disk is missing, or is anything.

use std::{
    fs,
    path::{Path, PathBuf},
};

use wavebatch::{
    clock::Clock,
    domain::{
        call::LogFlags,
        cost::MicroUsd,
        environment::Environment,
        job::{CallId, JobId, RequestFingerprint},
        length::Length,
        pool::{Limits, Pool},
    },
    sandbox::Config,
    store::{ClaimRequest, Claimed, End, Ended, Opening, PermitRequest, Purchase, Store},
};

use crate::support::Fixture;

const LINES: usize = 24;
/// A page in the log, with its header.
const FRAME: u64 = 4_096 + 24;

/// What the ledger has acknowledged, and how long its log was then.
struct Promise {
    job: JobId,
    generation: i64,
    call: CallId,
    /// The answer; none is the intent of a call alone.
    answer: Option<String>,
    log: u64,
}

/// What the disk has of the log behind a place.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Cut,
    Zeros,
    Garbage,
    /// What was written first is missing, and what was written last is there.
    Hole,
}

fn log_of(ledger: &Path) -> PathBuf {
    ledger.with_file_name("wavebatch.db-wal")
}

fn ask(job: &Claimed) -> PermitRequest {
    PermitRequest {
        limits: Limits { requests_per_minute: None, concurrency: None },
        ..PermitRequest::new(
            job,
            "acc".into(),
            Pool::Pulse,
            Purchase::Transcript { length: Length::Exact(1_000), rate: MicroUsd(5_000) },
            RequestFingerprint {
                model: "pulse".into(),
                language: "en".into(),
                flags: LogFlags::default(),
                bytes: Some(u64::try_from(job.job.0).unwrap()),
                audio_ms: Some(1_000),
                estimated_ms: None,
                keywords: Default::default(),
            },
        )
    }
}

fn answered(call: CallId, body: &str) -> Ended {
    let end = End::Answered {
        body: body.to_owned().into(),
        from_log: false,
        request_id: None,
        content_expiry: None,
        audio_ms: Some(1_000),
        cost: Some(83),
    };
    let limits = Limits { requests_per_minute: None, concurrency: None };
    Ended { call, departed_at: None, limits, end, pauses: None }
}

/// Intents and answers, each noted with the length of the log when it was acknowledged.
async fn promises(fixture: &Fixture) -> Vec<Promise> {
    fixture.provable_calls(LINES);
    fixture.submit(&fixture.definition("", "")).await;
    fixture.store.enlist("{}".into()).await.unwrap();
    let want =
        ClaimRequest { environment: Environment::Live, calls: vec![(Pool::Pulse, 100)], ..ClaimRequest::default() };
    let jobs = fixture.store.claim(want).await.unwrap();
    assert_eq!(jobs.len(), LINES);
    let length = || fs::metadata(log_of(fixture.store.file().unwrap())).unwrap().len();
    let mut promises = Vec::new();
    for job in &jobs {
        let call = fixture.store.permit(ask(job)).await.unwrap().unwrap().call;
        promises.push(Promise { job: job.job, generation: job.generation, call, answer: None, log: length() });
        let body = format!(r#"{{"status":"success","transcription":"words of {call}"}}"#);
        fixture.store.end(answered(call, &body)).await.unwrap();
        promises.push(Promise { job: job.job, generation: job.generation, call, answer: Some(body), log: length() });
    }
    promises
}

/// The ledger as the disk has it after the power is back.
async fn after(fixture: &Fixture, log: &[u8], from: u64, damage: Damage) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wavebatch.db");
    fs::copy(fixture.store.file().unwrap(), &path).unwrap();
    let mut log = log.to_vec();
    let from = usize::try_from(from).unwrap().min(log.len());
    let behind = log.len() - from;
    match damage {
        Damage::Cut => log.truncate(from),
        Damage::Zeros => log[from..].fill(0),
        Damage::Garbage => log[from..].iter_mut().enumerate().for_each(|(i, b)| *b = (i * 131 % 251) as u8),
        Damage::Hole => log[from..from + behind.min(512)].fill(0xa5),
    }
    fs::write(log_of(&path), log).unwrap();
    let opening = Opening { create: false, clock: Clock::system(), ..Opening::new(&path) };
    let store = Store::open(opening).await.unwrap_or_else(|e| panic!("{damage:?} from {from}: {e}")).0;
    (dir, store)
}

async fn is_kept(store: &Store, promise: &Promise) -> bool {
    let journal = store.journal(promise.job, 0, promise.generation).await.unwrap();
    let known = journal.calls.iter().any(|call| call.id == promise.call);
    let kept = store
        .answer(promise.call)
        .await
        .unwrap()
        .map(|(body, _)| String::from_utf8(body.whole().unwrap().into()).unwrap());
    known && promise.answer.as_ref().is_none_or(|answer| kept.as_ref() == Some(answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_whatever_became_of_the_log_behind_it() {
    let fixture = Fixture::timeless(Config::default()).await;
    let promises = promises(&fixture).await;
    let log = fs::read(log_of(fixture.store.file().unwrap())).unwrap();
    assert_eq!(log.len() as u64, promises.last().unwrap().log, "it only grows");
    let mut tried = 0;
    for last in (0..promises.len()).step_by(5) {
        let from = promises[last].log;
        for (at, behind) in [0, 1, 24, 700, FRAME - 1, FRAME, FRAME + 9, 3 * FRAME + 2_000].into_iter().enumerate() {
            let damage = [Damage::Cut, Damage::Zeros, Damage::Garbage, Damage::Hole][(at + last) % 4];
            let (_dir, store) = after(&fixture, &log, from + behind, damage).await;
            for promise in &promises[..=last] {
                let message = || format!("{} of promise {last}, {damage:?} {behind} bytes behind it", promise.call);
                assert!(is_kept(&store, promise).await, "{}", message());
            }
            store.close().await;
            tried += 1;
        }
    }
    assert_eq!(tried, 80);
}

/// Else the lengths that are noted would say nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_front_of_the_noted_length_is_needed() {
    let fixture = Fixture::timeless(Config::default()).await;
    let promises = promises(&fixture).await;
    let log = fs::read(log_of(fixture.store.file().unwrap())).unwrap();
    for last in [promises.len() - 1, promises.len() / 2, 1] {
        let (_dir, store) = after(&fixture, &log, promises[last].log - 1, Damage::Cut).await;
        assert!(!is_kept(&store, &promises[last]).await, "{last}");
        assert!(is_kept(&store, &promises[last - 1]).await, "{last}");
    }
}
