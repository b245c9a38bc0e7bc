//! What kept answers take: nights of five-minute calls with word times, pruned as they age. How far they are compressed,
//! whether the ledger levels off, and how long others wait for the writer meanwhile.
//!
//! `cargo bench --bench retention`; `CALLS_PER_DATE=2000 DATES=4` for less.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::{
    env,
    fmt::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use wavebatch::{
    clock::Clock,
    domain::{
        call::LogFlags,
        cost::MicroUsd,
        environment::Environment,
        identity::{Identity, source_identity},
        job::{BatchId, JobState, RequestFingerprint},
        length::Length,
        pool::{Limits, Pool},
        transcription::Transcription,
    },
    store::{
        BadSet, ClaimRequest, Claimed, End, Ended, Finish, LedgerSizes, LineSet, NewBatch, NewJob, Opening,
        PermitRequest, Purchase, Resubmission, Settlement, Store, To,
    },
};

/// Calls a night, and words in each: some 60 kB.
const CALLS_PER_DATE: u64 = 10_000;
const WORDS: u64 = 760;
const DATES: u64 = 7;
/// Nights whose answers stay.
const KEEP: usize = 2;
const AUDIO_MS: u64 = 300_000;
const DAY: i64 = 86_400_000;
const AT_ONCE: usize = 64;
const MB: f64 = 1e6;

#[tokio::main]
async fn main() {
    let asked = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (night, nights) = (asked("NIGHT").unwrap_or(CALLS_PER_DATE), asked("NIGHTS").unwrap_or(DATES));
    println!("{nights} nights of {night} calls, the answers of {KEEP} are kept");
    let dir = tempfile::tempdir_in(".").expect("a folder");
    let (opening, clock) = opening(&dir.path().join("wavebatch.db"));
    let (store, _) = Store::open(opening).await.expect("a ledger");
    store.enlist("{}".into()).await.expect("enlisted");
    let (mut batches, mut sizes) = (Vec::new(), Vec::new());
    for nth in 0..nights {
        let begin = Instant::now();
        let (batch, raw) = worked(&store, nth, night).await;
        let full = store.sizes().await.expect("sizes");
        batches.push(batch);
        if nth == 0 {
            let kept = store.kept_by_batch().await.expect("answers");
            let (answers, bytes) = (kept[0].answers, kept[0].bytes);
            println!(
                "raw {:.0} MB ({:.1} kB a line), answers {:.0} MB ({:.1} kB a line): {:.1} : 1; ledger and log {:.0} MB",
                raw as f64 / MB,
                raw as f64 / answers as f64 / 1e3,
                bytes as f64 / MB,
                bytes as f64 / answers as f64 / 1e3,
                raw as f64 / bytes as f64,
                (full.file + full.wal) as f64 / MB,
            );
        }
        print!("night {nth}: {:.1} s; {}", begin.elapsed().as_secs_f64(), message(&full));
        if let Some(old) = batches.len().checked_sub(KEEP + 1).and_then(|at| batches.get(at)) {
            pruned(&store, *old).await;
        }
        sizes.push(store.sizes().await.expect("sizes").file);
        println!();
        clock.advance(DAY);
    }
    let (took, kept) = timed(store.kept_by_batch()).await;
    println!("kept answers counted for `status`: {took:.3?}, {} batches", kept.expect("answers").len());
    if let [.., before, last] = sizes[..]
        && sizes.len() > KEEP + 2
    {
        println!("the last night made the ledger {:.1} MB larger: rows stay", (last as f64 - before as f64) / MB);
        assert!(last < before + before / 5, "the ledger does not level off");
    }
    store.close().await;
}

fn opening(path: &Path) -> (Opening, Clock) {
    let opening = Opening::new(path);
    let clock = opening.clock.clone();
    (opening, clock)
}

/// Submits a night and answers all of it; gives the bytes of the answers as they came.
async fn worked(store: &Store, nth: u64, lines: u64) -> (BatchId, u64) {
    let new = NewBatch {
        definition: "night".into(),
        ..NewBatch::of::<Transcription>(&format!("night-{nth}"), Environment::Live, "{}".into())
    };
    let begun = store.begin(new, Resubmission::default()).await.expect("a batch");
    let batch = begun.batch;
    let mut jobs = LineSet::default();
    (1..=lines).zip(0..).for_each(|(line, place)| jobs.push(&job(nth, line), place));
    store.submit_sets(begun, vec![(jobs, BadSet::default())]).await.expect("lines");
    store.end_submit(batch).await.expect("submitted");
    let mut raw = 0;
    loop {
        let want =
            ClaimRequest { environment: Environment::Live, calls: vec![(Pool::Pulse, 256)], ..ClaimRequest::default() };
        let claimed = store.claim(want).await.expect("claimed");
        if claimed.is_empty() {
            break;
        }
        let answered = stream::iter(claimed).map(|job| answered(store, job, nth)).buffer_unordered(AT_ONCE);
        raw += answered.collect::<Vec<u64>>().await.iter().sum::<u64>();
    }
    assert!(store.finish(batch).await.expect("finished"), "nothing is left");
    (batch, raw)
}

fn job(nth: u64, line: u64) -> NewJob {
    let source = format!("/srv/recordings/night-{nth}/call-{line:06}.wav");
    NewJob {
        line,
        key: format!("call-{line:06}"),
        source_id: source_identity(&source, &wavebatch::domain::query::QueryRules::default()),
        source: Some(source),
        options_id: Identity([7; 16]),
        overrides: None,
        carried: Some(format!("[\"agent {}\",\"support\"]", line % 200)),
        pool: Pool::Pulse,
        expected: None,
        local: None,
        adopted: None,
        synthesis: None,
    }
}

async fn answered(store: &Store, job: Claimed, nth: u64) -> u64 {
    let limits = Limits::default();
    let ask = PermitRequest {
        limits,
        ..PermitRequest::new(
            &job,
            "bench".into(),
            Pool::Pulse,
            Purchase::Transcript { length: Length::Exact(AUDIO_MS), rate: MicroUsd(5_000) },
            RequestFingerprint {
                model: "pulse".into(),
                language: "en".into(),
                flags: LogFlags::default(),
                bytes: Some(4_800_044),
                audio_ms: Some(AUDIO_MS),
                estimated_ms: None,
                keywords: Default::default(),
            },
        )
    };
    let permit = store.permit(ask).await.expect("a ledger").expect("a permit");
    let body = transcript(job.job.0.unsigned_abs() << 8 | nth);
    let raw = body.len() as u64;
    let end = End::Answered {
        body: body.into(),
        from_log: false,
        request_id: Some(format!("req-{}", job.job.0)),
        content_expiry: None,
        audio_ms: Some(AUDIO_MS),
        cost: Some(25_000),
    };
    let ended = Ended { call: permit.call, departed_at: None, limits, end, pauses: None };
    store.end(ended).await.expect("ended");
    let finish = Finish {
        state: Some(JobState::Succeeded),
        units: Some(AUDIO_MS),
        outputs: Some(format!("[\"{0}.json\",\"{0}.txt\"]", job.key)),
        ..Finish::default()
    };
    let to = To::Finished(Box::new(finish));
    store.settle(Settlement { job: job.job, batch: job.batch, token: job.token, to }).await.expect("settled");
    raw
}

/// A transcript as the API gives it: text, and a time and a confidence for each word.
fn transcript(seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let (mut text, mut words, mut at) = (String::new(), String::new(), 0.0);
    for nth in 0..WORDS {
        // Few words come often, most of them seldom.
        let seldom = 1 + next(6_000);
        let often = 1 + next(seldom);
        let rank = next(often);
        let word = word(rank);
        let end = at + 0.08 + next(60) as f64 / 100.0;
        let comma = if nth == 0 { "" } else { "," };
        let _ = write!(text, "{}{word}", if nth == 0 { "" } else { " " });
        let _ = write!(
            words,
            "{comma}{{\"word\":\"{word}\",\"start\":{at:.3},\"end\":{end:.3},\"confidence\":{:.6}}}",
            0.6 + next(400_000) as f64 / 1e6
        );
        at = end + next(20) as f64 / 100.0;
    }
    format!(
        "{{\"status\":\"success\",\"transcription\":\"{text}\",\"words\":[{words}],\"utterances\":[],\
         \"metadata\":{{\"duration\":300.0,\"fileSize\":4800044}},\"request_id\":\"{seed:032x}\"}}"
    )
    .into()
}

/// A word of its own for each number.
fn word(mut rank: u64) -> String {
    const BEGIN: [&str; 16] = ["b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "st"];
    const END: [&str; 12] = ["a", "e", "i", "o", "u", "an", "en", "ing", "er", "ou", "al", "is"];
    let mut word = String::new();
    loop {
        word.push_str(BEGIN[(rank % 16) as usize]);
        word.push_str(END[(rank / 16 % 12) as usize]);
        rank /= 192;
        if rank == 0 {
            return word;
        }
    }
}

/// Prunes a night, and gives the space back, while somebody else writes all the time.
async fn pruned(store: &Store, batch: BatchId) {
    let stop = Arc::new(AtomicBool::new(false));
    let other = tokio::spawn(waits(store.clone(), batch, Arc::clone(&stop)));
    let (took, pruned) = timed(store.prune(Some(batch), i64::MAX)).await;
    let pruned = pruned.expect("pruned");
    let between = store.sizes().await.expect("sizes");
    let (shrunk, done) = timed(store.shrink()).await;
    done.expect("shrunk");
    stop.store(true, Ordering::Relaxed);
    let mut waits = other.await.expect("waits");
    waits.sort_unstable();
    let at = |share: usize| waits[(waits.len() - 1) * share / 100].as_secs_f64() * 1e3;
    print!(
        "; {} answers pruned in {:.1} s ({:.0} MB free, log {:.0} MB), given back in {:.1} s; {}; a writer waits {:.0} ms (p50), {:.0} (p99), {:.0} (most)",
        pruned.answers,
        took.as_secs_f64(),
        between.free as f64 / MB,
        between.wal as f64 / MB,
        shrunk.as_secs_f64(),
        message(&store.sizes().await.expect("sizes")),
        at(50),
        at(99),
        at(100),
    );
}

/// How long each of many small writes takes.
async fn waits(store: Store, batch: BatchId, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut waits = Vec::new();
    while !stop.load(Ordering::Relaxed) || waits.is_empty() {
        let (took, done) = timed(store.resume(batch, false)).await;
        done.expect("written");
        waits.push(took);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    waits
}

fn message(sizes: &LedgerSizes) -> String {
    let mb = |bytes: u64| bytes as f64 / MB;
    format!("ledger {:.0} MB ({:.0} free) and log {:.0} MB", mb(sizes.file), mb(sizes.free), mb(sizes.wal))
}

async fn timed<T>(work: impl Future<Output = T>) -> (Duration, T) {
    let begin = Instant::now();
    let done = work.await;
    (begin.elapsed(), done)
}
