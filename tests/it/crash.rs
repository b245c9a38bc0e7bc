//! Whole processes of the real binary, killed in the middle of a batch again and again; the sandbox's books are the witness.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use wavebatch::{domain::job::JobState, sandbox::Config};

use crate::support::{House, KEY};

const KILLS: u64 = 24;
const LINES: usize = 160;

fn wavebatch(house: &House) -> Child {
    Command::new(env!("CARGO_BIN_EXE_wavebatch"))
        .current_dir(house.dir.path())
        .args(["run", "night.toml", "-q", "--config", "wavebatch.toml"])
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

/// Every recording has a size of its own, so that the vendor's log can prove each call.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_no_line_and_buys_none_twice() {
    let house = House::with(Config { latency: Duration::from_millis(40), ..Config::default() }).await;
    house.provable_calls(LINES);
    house.definition("", "concurrency = 6\nunknown_grace = \"300ms\"");
    for kill in 1..=KILLS {
        let mut child = wavebatch(&house);
        let enough = kill * (LINES as u64 - 10) / KILLS;
        tokio::select! {
            () = house.sandbox.arrivals(enough) => {}
            status = async { loop {
                if let Some(status) = child.try_wait().expect("a child") { break status }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }} => panic!("it ended before kill {kill}: {status}"),
        }
        child.kill().expect("a living child");
        child.wait().expect("a dead child");
    }
    let last = tokio::task::spawn_blocking({
        let child = wavebatch(&house);
        move || child.wait_with_output().expect("a child")
    });
    let last = last.await.expect("it was waited for");
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));

    let batch = house.store.batch("night").await.expect("a ledger").expect("the batch").id;
    let counts = house.counts(batch).await;
    assert_eq!((counts.of(JobState::Succeeded), counts.total()), (LINES as u64, LINES as u64), "{counts:?}");
    for i in 1..=LINES {
        assert_eq!(house.output(&format!("call-{i}.txt")).trim(), format!("words of call {i}"));
    }
    let books = house.sandbox.books();
    assert_eq!(books.contents.len(), LINES);
    assert_eq!(books.most_billed(), 1, "the log proved every call, and one was bought again");
    let rows = house.rows(batch).await;
    assert!(rows.iter().any(|r| r.notes.as_deref() == Some("recovered")), "no kill hit a call in flight");
    // The ledger may count a call that was killed before its first byte as billed, never one too few.
    assert!(rows.iter().all(|r| r.billed_calls >= 1));
}
