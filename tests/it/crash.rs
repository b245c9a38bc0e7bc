//! Whole processes of the real binary, killed in the middle of a batch again and again; the sandbox's books are the witness.

use std::{
    collections::{HashMap, HashSet},
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use wavebatch::{
    domain::{cut::cut, job::JobState},
    sandbox::{Books, Config, LogSizes},
};

use crate::support::{
    House, KEY,
    crash::{Plan, ordeal},
    speech::{Speaking, prose},
};

const KILLS: u64 = 24;
const LINES: usize = 160;

fn wavebatch(house: &House, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_wavebatch"))
        .current_dir(house.dir.path())
        .args(args)
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

const RUN: [&str; 5] = ["run", "night.toml", "-q", "--config", "wavebatch.toml"];

/// Starts it, and kills it once so many calls have arrived.
async fn kill_after(house: &House, args: &[&str], calls: u64) {
    let mut child = wavebatch(house, args);
    tokio::select! {
        () = house.sandbox.arrivals(calls) => {}
        status = async { loop {
            if let Some(status) = child.try_wait().expect("a child") { break status }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }} => panic!("it ended before {calls} calls: {status}"),
    }
    child.kill().expect("a living child");
    child.wait().expect("a dead child");
}

async fn to_the_end(house: &House, args: &[&str]) {
    let child = wavebatch(house, args);
    let last = tokio::task::spawn_blocking(move || child.wait_with_output().expect("a child"));
    let last = last.await.expect("it was waited for");
    assert!(last.status.success(), "{}: {}", last.status, String::from_utf8_lossy(&last.stderr));
}

/// Every recording has a size of its own, so that the vendor's log can prove each call.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_no_line_and_buys_none_twice() {
    let house = House::with(Config { latency: Duration::from_millis(40), ..Config::default() }).await;
    house.provable_calls(LINES);
    house.definition("", "concurrency = 6\nunknown_grace = \"300ms\"");
    for kill in 1..=KILLS {
        kill_after(&house, &RUN, kill * (LINES as u64 - 10) / KILLS).await;
    }
    to_the_end(&house, &RUN).await;

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

/// So many recordings of one size and length, which the vendor's log cannot tell apart by themselves.
fn equal_calls(house: &House, lines: usize) {
    let mut manifest = String::from("key,source\n");
    for i in 1..=lines {
        house.recording(&format!("rec/{i}.wav"), &format!("words of call {i:03}"), 0.5, i);
        manifest.push_str(&format!("call-{i},rec/{i}.wav\n"));
    }
    house.write("calls.csv", manifest);
    house.write("wavebatch.toml", "[limits.pulse]\nrequests_per_minute = 0\n");
    let sizes: HashSet<u64> =
        (1..=lines).map(|i| fs::metadata(house.path(&format!("rec/{i}.wav"))).expect("a file").len()).collect();
    assert_eq!(sizes.len(), 1, "they are of one size");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_among_recordings_of_one_size_buys_none_twice() {
    const LINES: usize = 120;
    let house = House::with(Config { latency: Duration::from_millis(40), ..Config::default() }).await;
    equal_calls(&house, LINES);
    house.definition("", "concurrency = 8\nunknown_grace = \"300ms\"");
    for calls in [30, 60, 90] {
        kill_after(&house, &RUN, calls).await;
    }
    to_the_end(&house, &RUN).await;
    for i in 1..=LINES {
        assert_eq!(house.output(&format!("call-{i}.txt")).trim(), format!("words of call {i:03}"));
    }
    let books = house.sandbox.books();
    assert_eq!((books.contents.len(), books.most_billed()), (LINES, 1));
    let batch = house.store.batch("night").await.expect("a ledger").expect("the batch").id;
    let rows = house.rows(batch).await;
    assert!(rows.iter().any(|r| r.notes.as_deref() == Some("recovered")), "no kill hit a call in flight");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_shows_other_sizes_ends_the_padding_and_is_told() {
    for (log_sizes, told) in [(LogSizes::WithoutPadding, "bytes with "), (LogSizes::None, "bytes without a size")] {
        // The log is asked a second after the first answer to an upload that was padded.
        let config = Config { log_sizes, latency: Duration::from_millis(30), ..Config::default() };
        let house = House::with(config).await;
        equal_calls(&house, 100);
        let batch = house.submit(&house.definition("", "concurrency = 1")).await;
        let ran = house.run(batch).await;
        let warnings = ran.warnings();
        assert!(warnings.iter().any(|warning| warning.contains(told)), "{log_sizes:?}: {warnings:?}");
        let sizes: Vec<u64> = house.sandbox.books().requests.iter().map(|record| record.bytes).collect();
        let plain = sizes[0];
        assert!(sizes[1..3].iter().all(|bytes| *bytes > plain), "{sizes:?}");
        // Those that wait for their turn have their size already.
        assert!(sizes[90..].iter().all(|bytes| *bytes == plain), "{log_sizes:?}: {sizes:?}");
        house.all_well(batch, 100, 1).await;
    }
}

/// How often each text was asked for.
fn asked(books: &Books) -> HashMap<String, usize> {
    let mut asked = HashMap::new();
    for text in books.requests.iter().filter_map(|record| record.text.clone()) {
        *asked.entry(text).or_default() += 1;
    }
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_the_middle_of_a_book_buys_no_part_again_that_was_answered() {
    const KILLS: u64 = 10;
    const IN_FLIGHT: u64 = 4;
    let house = House::with(Config { latency: Duration::from_millis(40), ..Config::default() }).await;
    // One part may be on the wire at every kill.
    let run = serde_json::json!({ "concurrency": IN_FLIGHT, "max_billed_calls": 2 * KILLS });
    let speaking = Speaking { run, ..Speaking::default() };
    let chapters: Vec<_> = (1..=3).map(|n| prose(30).replace("Paragraph", &format!("{n}: Paragraph"))).collect();
    let lines: Vec<_> = ["one", "two", "three"].into_iter().zip(chapters.iter().map(String::as_str)).collect();
    let batch = house.speak(&speaking, &lines).await;
    let parts = chapters.iter().flat_map(|text| cut(text, 60)).map(|part| part.text);
    let parts: std::collections::HashSet<String> = parts.collect();
    let work = ["work", "--batch", "book", "-q"];
    let mut kept: HashMap<String, usize> = HashMap::new();
    for kill in 1..=KILLS {
        kill_after(&house, &work, kill * (parts.len() as u64 - 10) / KILLS).await;
        let asked = asked(&house.sandbox.books());
        for (text, times) in &kept {
            assert_eq!(asked[text], *times, "it was there before kill {kill}: {text}");
        }
        let on_shelf = |text: &&String| house.is_on_shelf(&speaking, text);
        kept = asked.keys().filter(on_shelf).map(|text| (text.clone(), asked[text])).collect();
    }
    to_the_end(&house, &work).await;
    assert!(kept.len() > parts.len() / 2, "{} of {}", kept.len(), parts.len());
    let books = house.sandbox.books();
    let last = asked(&books);
    assert!(kept.iter().all(|(text, times)| last[text] == *times));
    assert_eq!(last.len(), parts.len());
    let again = books.billed - parts.len() as u64;
    // On the wire, or on its way to the disk: of these are at most as many again.
    assert!(again <= KILLS * IN_FLIGHT * 2, "only what was in flight: {again}");
    assert_eq!(house.counts(batch).await.of(JobState::Succeeded), 3);

    let clean = House::new().await;
    let batch = clean.speak(&speaking, &lines).await;
    clean.run(batch).await;
    for (key, _) in lines {
        let name = format!("{key}.wav");
        assert_eq!(fs::read(house.spoken(&name)).unwrap(), fs::read(clean.spoken(&name)).unwrap(), "{key}");
    }
}

/// Two workers and a receiver, calls, callbacks and books; `examples/crash.rs` does the same for as long as one likes.
#[tokio::test(flavor = "multi_thread")]
async fn an_ordeal_loses_nothing_and_buys_nothing_twice() {
    let plan = Plan {
        seed: 6,
        kills: 25,
        time: Duration::ZERO,
        program: env!("CARGO_BIN_EXE_wavebatch").into(),
        round: [40, 16, 2],
        requests_per_minute: 0,
    };
    let verdict = ordeal(&plan).await;
    assert!(verdict.broken.is_empty(), "\n{verdict}");
    assert!(verdict.kills >= plan.kills && verdict.moments.len() >= 4, "\n{verdict}");
}
