//! Disks that are full. In each place nothing is lost, nothing is bought twice, the place and what to do are told, and the
//! work goes on once there is room.
//!
//! | place | test |
//! | --- | --- |
//! | the ledger, by a limit on the size of files | `it_goes_on_when_there_is_room_again`, `two_signals_end_it_and_the_next_run_buys_nothing_again` |
//! | the ledger, on a disk without room | `a_ledger_on_a_full_disk_goes_on_when_there_is_room` |
//! | outputs: transcripts, speech | `outputs_wait_for_room` |
//! | spool: speech that was bought, recordings on their way, audio that is joined | `the_spool_waits_for_room` |
//! | the report, where it is written and where it goes | `a_report_without_room_is_told_and_the_same_command_writes_it` |
//! | the place of the report, before anything is bought | `a_report_that_has_no_room_is_found_before_the_first_call` |

use std::{
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio_util::sync::CancellationToken;
use wavebatch::{
    domain::job::{BatchId, JobState},
    runner::{Event, RunEnd},
    sandbox::Config,
    store::Store,
};

use self::disk::Disk;
use crate::{
    fault_matrix::{self, Kind, spoken_in_peace, submitted},
    support::{Fixture, KEY, SHORT, open, s3::S3Server, synthesis},
};

mod disk;

const LINES: usize = 120;
/// Room for some of the lines beyond what is there, in blocks of 512 bytes: about 16 kB of log a line.
const BLOCKS: u64 = 1_000;

async fn fixture() -> Fixture {
    let fixture = Fixture::with(Config { latency: Duration::from_millis(20), ..Config::default() }).await;
    fixture.provable_calls(LINES);
    fixture.definition("", "concurrency = 4\nunknown_grace = \"100ms\"");
    fixture
}

fn wavebatch(fixture: &Fixture, room: Option<u64>) -> Child {
    let log = std::fs::metadata(fixture.path("wavebatch.db-wal")).map_or(0, |log| log.len());
    let limit = room.map(|n| log / 512 + n).map(|n| format!("trap '' XFSZ; ulimit -S -f {n};")).unwrap_or_default();
    let mut command = Command::new("sh");
    command
        .current_dir(fixture.dir.path())
        .args(["-c", &format!("{limit} exec \"$0\" run night.toml --config wavebatch.toml")])
        .arg(env!("CARGO_BIN_EXE_wavebatch"))
        .env_remove("WAVEBATCH_DATABASE");
    equipped(command, fixture).spawn().expect("the program")
}

fn equipped(mut command: Command, fixture: &Fixture) -> Command {
    command
        .env("SMALLEST_API_KEY", KEY)
        .env("SMALLEST_BASE_URL", fixture.sandbox.base_url())
        .env("WAVEBATCH_LEASE_MS", "500")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Until no more calls arrive: the log has reached the limit.
async fn until_stuck(fixture: &Fixture) {
    let (mut seen, deadline) = ((0, 0), Instant::now() + Duration::from_secs(30));
    while seen.1 < 10 {
        assert!(Instant::now() < deadline, "it makes no calls: {seen:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let calls = fixture.sandbox.books().calls;
        seen = if calls == seen.0 && calls > 0 { (calls, seen.1 + 1) } else { (calls, 0) };
    }
    assert!(seen.0 < LINES as u64, "the limit was never reached");
}

async fn end_of(child: Child) -> (Output, String) {
    let pid = Pid::from_child(&child);
    let waiting = tokio::task::spawn_blocking(move || child.wait_with_output().expect("a child"));
    let output = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    if output.is_err() {
        // Nobody else would end it, and the test would be waited for.
        let _ = kill_process(pid, Signal::KILL);
    }
    let output = output.expect("it ends").expect("it was waited for");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, words)
}

async fn all_bought_once(fixture: &Fixture) {
    all_bought_once_in(&fixture.store, fixture).await;
}

async fn all_bought_once_in(store: &Store, fixture: &Fixture) {
    let batch = store.batch("night").await.expect("a ledger").expect("the batch").id;
    let counts = store.counts(batch).await.expect("a ledger");
    assert_eq!((counts.of(JobState::Succeeded), counts.total()), (LINES as u64, LINES as u64), "{counts:?}");
    let books = fixture.sandbox.books();
    assert_eq!((books.contents.len(), books.most_billed()), (LINES, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_when_there_is_room_again() {
    let fixture = fixture().await;
    let child = wavebatch(&fixture, Some(BLOCKS));
    until_stuck(&fixture).await;
    let pid = Pid::from_child(&child);
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: None, maximum: None }).expect("the limit is raised");
    let (output, words) = end_of(child).await;
    assert!(output.status.success(), "{words}");
    assert!(words.contains("the ledger cannot be written"), "{words}");
    assert!(words.contains("the ledger can be written again"), "{words}");
    all_bought_once(&fixture).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_signals_end_it_and_the_next_run_buys_nothing_again() {
    let fixture = fixture().await;
    let child = wavebatch(&fixture, Some(BLOCKS));
    until_stuck(&fixture).await;
    let pid = Pid::from_child(&child);
    for _ in 0..2 {
        kill_process(pid, Signal::INT).expect("a living child");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let (output, words) = end_of(child).await;
    assert_eq!(output.status.code(), Some(130), "{words}");
    assert!(words.contains("free some space"), "{words}");
    let (output, words) = end_of(wavebatch(&fixture, None)).await;
    assert!(output.status.success(), "{words}");
    all_bought_once(&fixture).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_on_a_full_disk_goes_on_when_there_is_room() {
    let Some(disk) = Disk::of_kib(8 * 1_024) else { return };
    let fixture = fixture().await;
    let inside = disk.inside().join("wavebatch.db");
    let command = |verb: &str| {
        let mut command = disk.enter(fixture.dir.path(), env!("CARGO_BIN_EXE_wavebatch"));
        command.args([verb, "night.toml", "--config", "wavebatch.toml"]).env("WAVEBATCH_DATABASE", &inside);
        equipped(command, &fixture).spawn().expect("the program")
    };
    let (output, words) = end_of(command("submit")).await;
    assert!(output.status.success(), "{words}");
    disk.fill_but(BLOCKS as usize * 512);
    let child = command("run");
    until_stuck(&fixture).await;
    disk.empty();
    let (output, words) = end_of(child).await;
    assert!(output.status.success(), "{words}");
    for message in ["the ledger cannot be written", "free some space", "the ledger can be written again"] {
        assert!(words.contains(message), "{message}: {words}");
    }
    // SQLite finds its way out of the other namespace, so that a copy is read.
    for ending in ["", "-wal"] {
        let _ =
            std::fs::copy(disk.path().join(format!("wavebatch.db{ending}")), fixture.path(&format!("copy.db{ending}")));
    }
    all_bought_once_in(&open(&fixture.path("copy.db"), &fixture.clock, SHORT).await, &fixture).await;
}

/// Works until that is said, makes room, and works to the end.
async fn until_there_is_room(fixture: &Fixture, batch: BatchId, disk: &Disk, words: &[&str]) {
    let (runner, mut seen) = fixture.runner_on(&fixture.store);
    let (batches, over) = ([batch], CancellationToken::new());
    let run = async {
        let run = runner.run(&batches, CancellationToken::new(), CancellationToken::new());
        let end = tokio::time::timeout(Duration::from_secs(30), run).await.expect("it ends").expect("a ledger");
        assert_eq!(end, RunEnd::Done, "{words:?}");
        over.cancel();
    };
    let mend = async {
        let said = loop {
            let event = tokio::time::timeout(Duration::from_secs(20), seen.recv()).await;
            let event = event.unwrap_or_else(|_| panic!("nobody says {words:?}")).expect("it runs");
            if let Event::Warning(said) = event {
                break said;
            }
        };
        words.iter().for_each(|word| assert!(said.contains(word), "{word}: {said}"));
        disk.empty();
        // What waits for half a minute need not do so here; it may have begun to wait only now.
        while !over.is_cancelled() {
            fixture.clock.advance(31_000);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::join!(run, mend);
}

/// Has the spool of this house on that disk.
fn spool_on(fixture: &Fixture, disk: &Disk) {
    let spool = fixture.store.spool();
    let _ = std::fs::remove_dir(&spool);
    std::os::unix::fs::symlink(disk.path(), spool).expect("a link");
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_wait_for_room() {
    let spoken = spoken_in_peace().await;
    for kind in [Kind::Calls, Kind::Book] {
        let Some(disk) = Disk::of_kib(2 * 1_024) else { return };
        let fixture = Fixture::timeless(Config::default()).await;
        let out = disk.path().join("out");
        let batch = submitted(&fixture, kind, out.to_str().expect("UTF-8"), "", "2h").await;
        disk.fill();
        let words = ["no room left for `", "/out/call-", "free some", "No space left", "answers are kept"];
        until_there_is_room(&fixture, batch, &disk, &words).await;
        fixture.all_well(batch, fault_matrix::LINES as u64, 1).await;
        assert_eq!(fixture.sandbox.books().calls, fault_matrix::LINES as u64);
        for i in 1..=fault_matrix::LINES {
            match kind {
                Kind::Calls => {
                    let text = std::fs::read_to_string(out.join(format!("call-{i}.txt"))).expect("an output");
                    assert_eq!(text, format!("words of call {i}\n"));
                }
                Kind::Book => {
                    let name = format!("call-{i}.wav");
                    assert!(std::fs::read(out.join(&name)).expect("an output") == spoken[&name], "{name}");
                }
            }
        }
        let outputs = fault_matrix::LINES * kind.formats().len();
        assert_eq!(disk.files().len(), outputs + 1, "and the summary: {:?}", disk.files());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spool_waits_for_room() {
    tokio::join!(bought_clip_waits(), recordings_wait(), what_is_joined_waits());
}

async fn bought_clip_waits() {
    let Some(disk) = Disk::of_kib(2 * 1_024) else { return };
    let (fixture, spoken) = (Fixture::timeless(Config::default()).await, spoken_in_peace().await);
    spool_on(&fixture, &disk);
    let batch = submitted(&fixture, Kind::Book, "out/", "", "2h").await;
    disk.fill();
    let words = ["wavebatch.db-spool/speech cannot be written", "No space left", "make room there", "kept in hand"];
    until_there_is_room(&fixture, batch, &disk, &words).await;
    fixture.all_well(batch, fault_matrix::LINES as u64, 1).await;
    assert_eq!(fixture.sandbox.books().calls, fault_matrix::LINES as u64);
    spoken
        .iter()
        .for_each(|(name, wav)| assert!(std::fs::read(fixture.spoken(name)).expect("an output") == *wav, "{name}"));
    assert_eq!(disk.files().len(), fault_matrix::LINES, "nothing but what was bought: {:?}", disk.files());
}

async fn recordings_wait() {
    let Some(disk) = Disk::of_kib(2 * 1_024) else { return };
    let (fixture, server) = (Fixture::timeless(Config::default()).await, S3Server::start().await);
    spool_on(&fixture, &disk);
    let sources = [1, 2, 3].map(|i| (format!("call-{i}"), format!("s3://calls/{i}.wav")));
    for i in 1..=3 {
        // Too long to be kept in memory.
        server.put("calls", &format!("{i}.wav"), synthesis(&format!("words of call {i}"), 6.0 + i as f64 / 10.0, i));
    }
    fixture.lines(&sources.each_ref().map(|(key, source)| (key.as_str(), source)));
    let source = format!("[source]\nendpoint_url = \"{}\"\n", server.endpoint());
    let batch = fixture.submit(&fixture.definition("formats = [\"txt\"]", &source)).await;
    disk.fill();
    let drain = CancellationToken::new();
    let until_each_was_tried = async {
        let tried = async || {
            server.requests_about("GET", "/calls/") >= 3 && fixture.counts(batch).await.of(JobState::Queued) == 3
        };
        fixture.until("each line was tried", tried).await;
        drain.cancel();
    };
    let (ran, ()) = tokio::join!(fixture.run_until(batch, drain.clone()), until_each_was_tried);
    assert_eq!(ran.warnings().len(), 1, "told once, not for each line: {:?}", ran.warnings());
    fixture.clock.advance(31_000);
    let words =
        ["wavebatch.db-spool/fetch/", "cannot be written", "No space left", "make room there", "again every 30 s"];
    until_there_is_room(&fixture, batch, &disk, &words).await;
    fixture.all_well(batch, 3, 1).await;
    assert_eq!(fixture.sandbox.books().calls, 3, "no call before its recording is here");
    (1..=3).for_each(|i| assert_eq!(fixture.output(&format!("call-{i}.txt")), format!("words of call {i}\n")));
    assert_eq!(disk.files(), [""; 0].map(std::path::PathBuf::from));
}

async fn what_is_joined_waits() {
    let Some(disk) = Disk::of_kib(8 * 1_024) else { return };
    let chapter = async |fixture: &Fixture| {
        let text = crate::support::synthesis::prose(2).replace("\n\n", " ");
        fixture.write("book.csv", format!("key,text\none,\"{text}\"\n"));
        let toml = "name = \"book\"\noutput = \"out/\"\ntask = \"synthesize\"\nmanifest = \"book.csv\"\n[synthesize]\n\
                    model = \"lightning_v3.1\"\nvoice_id = \"avery\"\nlanguage = \"en\"\npart_chars = 80\n\
                    formats = [{ format = \"wav\", sample_rate = 24000 }]\n";
        fixture.submit(&fixture.write("book.toml", toml)).await
    };
    let (peace, fixture) = (Fixture::new().await, Fixture::timeless(Config::default()).await);
    let batch = chapter(&peace).await;
    peace.run(batch).await;
    let wav = std::fs::read(peace.spoken("one.wav")).expect("an output");
    spool_on(&fixture, &disk);
    let batch = chapter(&fixture).await;
    // Room for the parts, but not for all of them once more.
    disk.fill_but(wav.len() + wav.len() / 2);
    let words = ["wavebatch.db-spool/", "cannot be written", "No space left", "make room there", "again every 30 s"];
    until_there_is_room(&fixture, batch, &disk, &words).await;
    fixture.all_well(batch, 1, 1).await;
    assert!(std::fs::read(fixture.spoken("one.wav")).expect("an output") == wav);
    let (parts, calls) = (peace.sandbox.books().calls, fixture.sandbox.books().calls);
    assert!(parts > 2 && calls == parts, "{calls} calls for {parts} parts");
}

/// A few lines whose report goes to that folder.
async fn reporting(to: &std::path::Path) -> Fixture {
    let fixture = Fixture::with(Config { latency: Duration::from_millis(5), ..Config::default() }).await;
    fixture.provable_calls(3);
    fixture.definition("formats = [\"txt\"]", &format!("[report]\nto = \"{}/report.csv\"", to.display()));
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_without_room_is_told_and_the_same_command_writes_it() {
    for in_the_spool in [false, true] {
        let Some(disk) = Disk::of_kib(64) else { return };
        let fixture = reporting(disk.path()).await;
        if in_the_spool {
            fixture.definition("formats = [\"txt\"]", "");
            spool_on(&fixture, &disk);
        }
        fixture.sandbox.hold();
        let child = wavebatch(&fixture, None);
        fixture.sandbox.waiting(3).await;
        // The blank report of the beginning has a page of its own, which another one fits into.
        let _ = std::fs::remove_file(disk.path().join("report.csv"));
        disk.fill();
        fixture.sandbox.release();
        let (output, words) = end_of(child).await;
        assert_eq!(output.status.code(), Some(3), "{words}");
        let place: &[&str] = match in_the_spool {
            true => &[
                "the report cannot be written in",
                "wavebatch.db-spool",
                "No space left",
                "hint: make room in that folder",
            ],
            false => &["no room left for `", "/report.csv`; free some", "No space left"],
        };
        place.iter().for_each(|word| assert!(words.contains(word), "{word}: {words}"));
        let batch = fixture.store.batch("night").await.expect("a ledger").expect("the batch").id;
        assert_eq!(fixture.counts(batch).await.of(JobState::Succeeded), 3, "the lines are done all the same");

        disk.empty();
        let (output, words) = end_of(wavebatch(&fixture, None)).await;
        assert!(output.status.success(), "{words}");
        let report = if in_the_spool { fixture.path("out/report.csv") } else { disk.path().join("report.csv") };
        let report = csv::Reader::from_path(report).expect("a report").into_records().map(|row| row.expect("a row"));
        assert_eq!(report.filter(|row| &row[3] == "succeeded").count(), 3);
        let books = fixture.sandbox.books();
        assert_eq!((books.calls, books.most_billed()), (3, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_has_no_room_is_found_before_the_first_call() {
    let Some(disk) = Disk::of_kib(64) else { return };
    let fixture = reporting(disk.path()).await;
    disk.fill();
    let (output, words) = end_of(wavebatch(&fixture, None)).await;
    assert_eq!(output.status.code(), Some(3), "{words}");
    assert!(words.contains("no room left for `") && words.contains("/report.csv`; free some"), "{words}");
    assert_eq!(fixture.sandbox.books().calls, 0);
}
