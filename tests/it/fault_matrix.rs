//! An S3 store that misbehaves while a whole batch is worked: every line succeeds in the end, each is bought once, and what
//! lies in the bucket is what the answers render to.
//!
//! Which test holds which fault:
//!
//! | fault | test |
//! | --- | --- |
//! | each error of the API, cut before and after the work, slow, dripping, truncated, of another type, garbage with 200 | `faults::each_fault_at_each_place_costs_one_more_call_at_most_and_no_line`, `faults::each_shape_of_an_error_means_what_its_status_says` |
//! | a call that hangs | `cost_matrix::what_always_times_out_is_called_twice_and_not_more` |
//! | S3 outputs: 503 once, for a while, and too long; slow; 403 in the middle; done, but the answer lost; a wrong checksum; reset in the body; the bucket gone | `an_s3_store_that_misbehaves_costs_no_line_and_no_call` |
//! | what it means to who reads the screen | `a_store_that_forbids_in_the_middle_is_told_with_its_place_and_what_to_do` |
//! | S3 recordings: 503, 500, cut, answers lost | `recordings_come_through_whatever_their_store_does` |
//! | S3 recordings that change, vanish, or may not be read | `dated_batch::objects_that_vanish_change_or_are_archived_fail_their_lines`, `dated_batch::reading_that_is_forbidden_in_the_middle_pauses_the_batch` |
//! | each S3 fault of one request, without a batch around it | the tests of `s3_sink` and `s3_source` |
//! | a full disk under ledger, spool, outputs and report | the table at the top of `full_disk` |
//! | the clock jumping by an hour | `faults::a_clock_that_jumps_by_an_hour_costs_nothing` |
//! | the ledger locked for 8 s | `faults::a_ledger_that_is_locked_for_eight_seconds_costs_nothing` |

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use wavebatch::{
    domain::{
        job::{BatchId, JobState},
        retry::PauseKind,
    },
    runner::RunEnd,
};

use crate::{
    dated_batch::{BEFORE, DatedBatch},
    support::{
        Fixture,
        s3::{Fault, S3Server},
        synthesis,
    },
};

/// Houses at once.
const AT_ONCE: usize = 20;
pub const LINES: usize = 3;

/// What is bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Calls,
    Book,
}

impl Kind {
    /// Outputs of one line.
    pub const fn formats(self) -> &'static [&'static str] {
        match self {
            Self::Calls => &["json", "txt"],
            Self::Book => &["wav"],
        }
    }
}

/// Whose outputs meet the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// The first line's, and if the fault stays those of all others.
    First,
    /// The second line's; if the fault stays the third's, too.
    Middle,
}

impl When {
    const fn meets(self, times: Times) -> &'static [&'static str] {
        match (self, times) {
            (Self::First, Times::Ever) => &["night/call-"],
            (Self::First, _) => &["night/call-1."],
            (Self::Middle, Times::Ever) => &["night/call-2.", "night/call-3."],
            (Self::Middle, _) => &["night/call-2."],
        }
    }
}

/// How often the fault is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    /// More often than one delivery tries with all its outputs.
    Tries,
    /// Until somebody does something about it.
    Ever,
}

impl Times {
    const fn of(self, outputs: usize) -> u32 {
        match self {
            Self::Once => 1,
            Self::Tries => 3 * outputs as u32 + 1,
            Self::Ever => u32::MAX,
        }
    }
}

/// How the first run ends, and words that it says.
#[derive(Debug, Clone, Copy)]
enum Ends {
    /// Nobody notices.
    Well,
    /// It is worth a warning.
    Warned(&'static [&'static str]),
    Paused(&'static [&'static str]),
}

/// A fault of outputs.
#[derive(Debug, Clone)]
struct Wall {
    fault: Fault,
    times: Times,
    ends: Ends,
}

const fn wall(times: Times, fault: Fault, ends: Ends) -> Wall {
    Wall { fault, times, ends }
}

fn walls() -> Vec<Wall> {
    let slow_down = || Fault::Status(503, "SlowDown");
    vec![
        wall(Times::Once, slow_down(), Ends::Well),
        wall(Times::Tries, slow_down(), Ends::Warned(&["s3://out/night/", "503 SlowDown", "answers are kept"])),
        wall(Times::Ever, slow_down(), Ends::Paused(&["s3://out/night/", "is not available", "503 SlowDown"])),
        wall(Times::Once, Fault::Slow(Duration::from_millis(600)), Ends::Well),
        wall(
            Times::Ever,
            Fault::Status(403, "AccessDenied"),
            Ends::Paused(&["s3://out/night/", "does not allow it", "s3:PutObject"]),
        ),
        wall(Times::Once, Fault::LoseAnswer, Ends::Well),
        wall(Times::Once, Fault::Status(400, "BadDigest"), Ends::Well),
        wall(Times::Once, Fault::CorruptStored, Ends::Well),
        wall(Times::Once, Fault::WrongEtag, Ends::Well),
        wall(Times::Ever, Fault::WrongEtag, Ends::Paused(&["s3://out/night/", "the store has MD5"])),
        wall(Times::Ever, Fault::CorruptStored, Ends::Paused(&["s3://out/night/", "the store has MD5"])),
        wall(Times::Once, Fault::CutBody(1), Ends::Well),
        wall(
            Times::Once,
            Fault::BucketGone,
            Ends::Paused(&["s3://out/night/", "there is no bucket `out`", "bucket's name"]),
        ),
    ]
}

/// Each line's text, as it is spoken.
fn text(i: usize) -> String {
    format!("This is line {i}, and it is spoken whole.")
}

/// Three lines on their way to a sink, worked one after the other.
pub async fn submitted(fixture: &Fixture, kind: Kind, output: &str, sink: &str, outage_limit: &str) -> BatchId {
    fixture.provable_calls(LINES);
    let task = match kind {
        Kind::Calls => {
            "task = \"transcribe\"\nmanifest = \"calls.csv\"\n[transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\n\
             formats = [\"json\", \"txt\"]\n"
        }
        Kind::Book => {
            let lines: String = (1..=LINES).map(|i| format!("call-{i},\"{}\"\n", text(i))).collect();
            fixture.write("book.csv", format!("key,text\n{lines}"));
            "task = \"synthesize\"\nmanifest = \"book.csv\"\n[synthesize]\nmodel = \"lightning_v3.1\"\n\
             voice_id = \"avery\"\nlanguage = \"en\"\nformats = [{ format = \"wav\", sample_rate = 24000 }]\n"
        }
    };
    let toml = format!(
        "name = \"night\"\noutput = \"{output}\"\n{task}[run]\nconcurrency = 1\noutage_limit = \"{outage_limit}\"\n{sink}"
    );
    fixture.submit(&fixture.write("night.toml", toml)).await
}

/// What a directory gets of the same lines; what calls render to is told by their answers instead.
pub async fn spoken_in_peace() -> BTreeMap<String, Bytes> {
    let fixture = Fixture::new().await;
    let batch = submitted(&fixture, Kind::Book, "out/", "", "2h").await;
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    let name = |i: usize| format!("call-{i}.wav");
    (1..=LINES).map(|i| (name(i), fs::read(fixture.spoken(&name(i))).expect("an output").into())).collect()
}

/// Every output by its name, as it must be.
async fn expected(
    fixture: &Fixture,
    kind: Kind,
    batch: BatchId,
    spoken: &BTreeMap<String, Bytes>,
) -> BTreeMap<String, Bytes> {
    if kind == Kind::Book {
        return spoken.clone();
    }
    let mut outputs = BTreeMap::new();
    for row in fixture.rows(batch).await {
        let i = row.key.trim_start_matches("call-");
        let journal = fixture.store.journal(row.job, 0, 0).await.expect("a ledger");
        assert_eq!(journal.calls.len(), 1, "one call");
        let (answer, _) = fixture.store.answer(journal.calls[0].id).await.expect("a ledger").expect("it is kept");
        outputs.insert(format!("{}.json", row.key), answer.whole().expect("it is as it was kept"));
        outputs.insert(format!("{}.txt", row.key), format!("words of call {i}\n").into());
    }
    outputs
}

/// The row of the table: fault × when, with a batch of this kind.
async fn is_overcome(wall: Wall, when: When, kind: Kind, spoken: Arc<BTreeMap<String, Bytes>>) {
    let message = format!("{kind:?}, {when:?}: {:?} {:?}", wall.times, wall.fault);
    let server = S3Server::start().await;
    server.bucket("out");
    let sink = format!("[sink]\nendpoint_url = \"{}\"\n", server.endpoint());
    let timeouts = if matches!(wall.ends, Ends::Paused(_)) { "500ms" } else { "2h" };
    let fixture = Fixture::new().await;
    let batch = submitted(&fixture, kind, "s3://out/night/", &sink, timeouts).await;
    let (formats, is_gone) = (kind.formats(), matches!(wall.fault, Fault::BucketGone));
    for about in when.meets(wall.times) {
        server.fault_times(wall.times.of(formats.len()), "PUT", about, wall.fault.clone());
    }
    let ran = fixture.run(batch).await;
    match wall.ends {
        Ends::Well => {
            let warned = ran.warnings().into_iter().find(|said| said.contains("s3://"));
            assert_eq!((ran.end, warned), (RunEnd::Done, None), "{message}");
        }
        Ends::Warned(words) => {
            assert_eq!(ran.end, RunEnd::Done, "{message}");
            let warnings = ran.warnings();
            let all_said = |said: &String| words.iter().all(|word| said.contains(word));
            assert!(warnings.iter().any(all_said), "{message}: {warnings:?}");
        }
        Ends::Paused(words) => {
            assert_eq!(ran.end, RunEnd::Paused, "{message}");
            let (paused, reason) = fixture.store.batch_by_id(batch).await.expect("a ledger").pause.expect("a pause");
            assert_eq!(paused, PauseKind::Sink, "{message}");
            words.iter().for_each(|word| assert!(reason.contains(word), "{message}: {word}: {reason}"));
            // What was not accepted counts as nothing; what was, stays.
            let counts = fixture.counts(batch).await;
            assert_eq!(counts.of(JobState::Failed), 0, "{message}: {counts:?}");
            if !is_gone {
                // Another line than the first may have been the first to be delivered.
                assert!(counts.of(JobState::Succeeded) <= u64::from(when == When::Middle), "{message}: {counts:?}");
            }
            server.lift();
            server.bucket("out");
            assert!(fixture.store.resume(batch, false).await.expect("a ledger"), "{message}");
            assert_eq!(fixture.run(batch).await.end, RunEnd::Done, "{message}");
            if is_gone {
                // What went with the bucket is written again when the user says so.
                fixture.store.redeliver(batch).await.expect("a ledger");
                assert_eq!(fixture.run(batch).await.end, RunEnd::Done, "{message}");
            }
        }
    }
    fixture.all_well(batch, LINES as u64, 1).await;
    let books = fixture.sandbox.books();
    assert_eq!((books.calls, books.billed), (LINES as u64, LINES as u64), "{message}: one call a line");
    let outputs = expected(&fixture, kind, batch, &spoken).await;
    let objects = server.keys("out").into_iter().filter(|key| key.contains("call-"));
    let objects =
        objects.map(|key| (key.trim_start_matches("night/").to_owned(), server.get("out", &key).expect("an object")));
    assert!(objects.collect::<BTreeMap<_, _>>() == outputs, "{message}: other outputs");
    for row in fixture.rows(batch).await {
        let receipts: Vec<String> = serde_json::from_str(&row.outputs.expect("receipts")).expect("addresses");
        let addresses: Vec<_> = formats.iter().map(|format| format!("s3://out/night/{}.{format}", row.key)).collect();
        assert_eq!(receipts, addresses, "{message}");
        assert_eq!((row.billed_calls, row.tries), (1, 0), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_s3_store_that_misbehaves_costs_no_line_and_no_call() {
    let spoken = Arc::new(spoken_in_peace().await);
    let places = [(When::First, Kind::Calls), (When::Middle, Kind::Book)];
    let table = walls().into_iter().flat_map(|wall| places.map(|(when, kind)| (wall.clone(), when, kind)));
    let rows = table.map(|(wall, when, kind)| {
        let spoken = Arc::clone(&spoken);
        async move { tokio::spawn(is_overcome(wall, when, kind, spoken)).await }
    });
    let done = futures::stream::iter(rows).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
    assert_eq!(done.len(), 26);
    done.into_iter().for_each(|row| row.expect("a row that holds"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_forbids_in_the_middle_is_told_with_its_place_and_what_to_do() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..12);
    dated.s3.fault_after(4, u32::MAX, "PUT", ".txt", Fault::Status(403, "AccessDenied"));
    let (code, message) = dated.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 3, "{message}");
    for words in [
        "cannot write s3://acme-transcripts/2026/11/20/",
        "403 AccessDenied",
        "s3:PutObject",
        "the same command goes on",
    ] {
        assert!(message.contains(words), "{words}: {message}");
    }
    dated.s3.lift();
    let (code, message) = dated.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    (0..12).for_each(|i| assert_eq!(dated.text("2026/11/20", i), format!("words of call {i}")));
    let books = dated.fixture.sandbox.books();
    assert_eq!((books.contents.len(), books.billed, books.most_billed()), (12, 12, 1));
}

/// The row of the table of sources.
async fn comes_through(times: u32, fault: Fault) {
    let message = format!("{times} × {fault:?}");
    let (fixture, server) = (Fixture::new().await, S3Server::start().await);
    let mut lines = Vec::new();
    for i in 1..=LINES {
        server.put("calls", &format!("{i}.wav"), synthesis(&format!("words of call {i}"), 0.5 + i as f64 / 1_000.0, i));
        lines.push((format!("call-{i}"), format!("s3://calls/{i}.wav")));
    }
    fixture.lines(&lines.iter().map(|(key, source)| (key.as_str(), source)).collect::<Vec<_>>());
    server.fault_times(times, "GET", "calls/2.wav", fault);
    let run = format!("[source]\nendpoint_url = \"{}\"\n", server.endpoint());
    let (batch, ran) = fixture.go("formats = [\"txt\"]", &run).await;
    assert_eq!(ran.end, RunEnd::Done, "{message}");
    fixture.all_well(batch, LINES as u64, 1).await;
    assert_eq!(fixture.sandbox.books().calls, LINES as u64, "{message}");
    (1..=LINES).for_each(|i| {
        assert_eq!(fixture.output(&format!("call-{i}.txt")), format!("words of call {i}\n"), "{message}")
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_come_through_whatever_their_store_does() {
    let rows = [
        (2, Fault::Status(503, "SlowDown")),
        // More often than one fetch tries.
        (4, Fault::Status(500, "InternalError")),
        (1, Fault::Truncate(5_000)),
        (1, Fault::LoseAnswer),
        (1, Fault::Slow(Duration::from_millis(300))),
    ];
    let rows = rows.map(|(times, fault)| tokio::spawn(comes_through(times, fault)));
    futures::future::join_all(rows).await.into_iter().for_each(|row| row.expect("a row that holds"));
}

crate::support::server::on_postgres_in_the_gate! {
    an_s3_store_that_misbehaves_costs_no_line_and_no_call,
    a_store_that_forbids_in_the_middle_is_told_with_its_place_and_what_to_do,
    recordings_come_through_whatever_their_store_does,
}
