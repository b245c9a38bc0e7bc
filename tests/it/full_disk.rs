//! A ledger that cannot grow: a limit on the size of files, set on the real binary, stands for a full disk.

use std::{
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use wavebatch::{domain::job::JobState, sandbox::Config};

use crate::support::{House, KEY};

const LINES: usize = 120;
/// Room for some of the lines beyond what is there, in blocks of 512 bytes: about 16 kB of log a line.
const BLOCKS: u64 = 1_000;

async fn house() -> House {
    let house = House::with(Config { latency: Duration::from_millis(20), ..Config::default() }).await;
    house.provable_calls(LINES);
    house.definition("", "concurrency = 4\nunknown_grace = \"100ms\"");
    house
}

fn wavebatch(house: &House, room: Option<u64>) -> Child {
    let log = std::fs::metadata(house.path("wavebatch.db-wal")).map_or(0, |log| log.len());
    let limit = room.map(|n| log / 512 + n).map(|n| format!("trap '' XFSZ; ulimit -S -f {n};")).unwrap_or_default();
    Command::new("sh")
        .current_dir(house.dir.path())
        .args(["-c", &format!("{limit} exec \"$0\" run night.toml --config wavebatch.toml")])
        .arg(env!("CARGO_BIN_EXE_wavebatch"))
        .env("SMALLEST_API_KEY", KEY)
        .env("SMALLEST_BASE_URL", house.sandbox.base_url())
        .env("WAVEBATCH_LEASE_MS", "500")
        .env_remove("WAVEBATCH_DATABASE")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program")
}

/// Until no more calls arrive: the log has reached the limit.
async fn until_stuck(house: &House) {
    let (mut seen, deadline) = ((0, 0), Instant::now() + Duration::from_secs(30));
    while seen.1 < 10 {
        assert!(Instant::now() < deadline, "it makes no calls: {seen:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let calls = house.sandbox.books().calls;
        seen = if calls == seen.0 && calls > 0 { (calls, seen.1 + 1) } else { (calls, 0) };
    }
    assert!(seen.0 < LINES as u64, "the limit was never reached");
}

async fn end_of(child: Child) -> (Output, String) {
    let waiting = tokio::task::spawn_blocking(move || child.wait_with_output().expect("a child"));
    let output =
        tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("it ends").expect("it was waited for");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, words)
}

async fn all_bought_once(house: &House) {
    let batch = house.store.batch("night").await.expect("a ledger").expect("the batch").id;
    let counts = house.counts(batch).await;
    assert_eq!((counts.of(JobState::Succeeded), counts.total()), (LINES as u64, LINES as u64), "{counts:?}");
    let books = house.sandbox.books();
    assert_eq!((books.contents.len(), books.most_billed()), (LINES, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_when_there_is_room_again() {
    let house = house().await;
    let child = wavebatch(&house, Some(BLOCKS));
    until_stuck(&house).await;
    let pid = Pid::from_child(&child);
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: None, maximum: None }).expect("the limit is raised");
    let (output, words) = end_of(child).await;
    assert!(output.status.success(), "{words}");
    assert!(words.contains("the ledger cannot be written"), "{words}");
    assert!(words.contains("the ledger can be written again"), "{words}");
    all_bought_once(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_signals_end_it_and_the_next_run_buys_nothing_again() {
    let house = house().await;
    let child = wavebatch(&house, Some(BLOCKS));
    until_stuck(&house).await;
    let pid = Pid::from_child(&child);
    for _ in 0..2 {
        kill_process(pid, Signal::INT).expect("a living child");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let (output, words) = end_of(child).await;
    assert_eq!(output.status.code(), Some(130), "{words}");
    assert!(words.contains("free some space"), "{words}");
    let (output, words) = end_of(wavebatch(&house, None)).await;
    assert!(output.status.success(), "{words}");
    all_bought_once(&house).await;
}
