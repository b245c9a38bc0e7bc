//! Whole processes of the real binary, killed in the middle of a batch again and again; the sandbox's books are the witness.

use std::{
    collections::{HashMap, HashSet},
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use wavebatch::{
    domain::{
        cut::{SentenceRules, cut},
        job::JobState,
    },
    sandbox::{Books, Config, LogSizes},
};

use crate::support::{
    Fixture, KEY,
    crash::{Plan, ordeal},
    synthesis::{SynthesisSetup, prose},
};

const KILLS: u64 = 24;
const LINES: usize = 160;

fn wavebatch(fixture: &Fixture, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_wavebatch"))
        .current_dir(fixture.dir.path())
        .args(args)
        .env("SMALLEST_API_KEY", KEY)
        .env("SMALLEST_BASE_URL", fixture.sandbox.base_url())
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
async fn kill_after(fixture: &Fixture, args: &[&str], calls: u64) {
    let mut child = wavebatch(fixture, args);
    tokio::select! {
        () = fixture.sandbox.arrivals(calls) => {}
        status = async { loop {
            if let Some(status) = child.try_wait().expect("a child") { break status }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }} => panic!("it ended before {calls} calls: {status}"),
    }
    child.kill().expect("a living child");
    child.wait().expect("a dead child");
}

async fn to_the_end(fixture: &Fixture, args: &[&str]) {
    let child = wavebatch(fixture, args);
    let last = tokio::task::spawn_blocking(move || child.wait_with_output().expect("a child"));
    let last = last.await.expect("it was waited for");
    assert!(last.status.success(), "{}: {}", last.status, String::from_utf8_lossy(&last.stderr));
}

/// Every recording has a size of its own, so that the vendor's log can prove each call.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_no_line_and_buys_none_twice() {
    let fixture = Fixture::with(Config { latency: Duration::from_millis(40), ..Config::default() }).await;
    fixture.provable_calls(LINES);
    fixture.definition("", "concurrency = 6\nunknown_grace = \"300ms\"");
    for kill in 1..=KILLS {
        kill_after(&fixture, &RUN, kill * (LINES as u64 - 10) / KILLS).await;
    }
    to_the_end(&fixture, &RUN).await;

    let batch = fixture.store.batch("night").await.expect("a ledger").expect("the batch").id;
    let counts = fixture.counts(batch).await;
    assert_eq!((counts.of(JobState::Succeeded), counts.total()), (LINES as u64, LINES as u64), "{counts:?}");
    for i in 1..=LINES {
        assert_eq!(fixture.output(&format!("call-{i}.txt")).trim(), format!("words of call {i}"));
    }
    let books = fixture.sandbox.books();
    assert_eq!(books.contents.len(), LINES);
    assert_eq!(books.most_billed(), 1, "the log proved every call, and one was paid for again");
    let rows = fixture.rows(batch).await;
    assert!(rows.iter().any(|r| r.notes.as_deref() == Some("recovered")), "no kill hit a call in flight");
    // The ledger may count a call that was killed before its first byte as billed, never one too few.
    assert!(rows.iter().all(|r| r.billed_calls >= 1));
}

/// So many recordings of one size and length, which the vendor's log cannot tell apart by themselves.
fn equal_calls(fixture: &Fixture, lines: usize) {
    let mut manifest = String::from("key,source\n");
    for i in 1..=lines {
        fixture.recording(&format!("rec/{i}.wav"), &format!("words of call {i:03}"), 0.5, i);
        manifest.push_str(&format!("call-{i},rec/{i}.wav\n"));
    }
    fixture.write("calls.csv", manifest);
    fixture.write("wavebatch.toml", "[limits.pulse]\nrequests_per_minute = 0\n");
    let sizes: HashSet<u64> =
        (1..=lines).map(|i| fs::metadata(fixture.path(&format!("rec/{i}.wav"))).expect("a file").len()).collect();
    assert_eq!(sizes.len(), 1, "they are of one size");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_among_recordings_of_one_size_buys_none_twice() {
    const LINES: usize = 120;
    let fixture = Fixture::with(Config { latency: Duration::from_millis(40), ..Config::default() }).await;
    equal_calls(&fixture, LINES);
    fixture.definition("", "concurrency = 8\nunknown_grace = \"300ms\"");
    for calls in [30, 60, 90] {
        kill_after(&fixture, &RUN, calls).await;
    }
    to_the_end(&fixture, &RUN).await;
    for i in 1..=LINES {
        assert_eq!(fixture.output(&format!("call-{i}.txt")).trim(), format!("words of call {i:03}"));
    }
    let books = fixture.sandbox.books();
    assert_eq!((books.contents.len(), books.most_billed()), (LINES, 1));
    let batch = fixture.store.batch("night").await.expect("a ledger").expect("the batch").id;
    let rows = fixture.rows(batch).await;
    assert!(rows.iter().any(|r| r.notes.as_deref() == Some("recovered")), "no kill hit a call in flight");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_shows_other_sizes_ends_the_padding_and_is_told() {
    for (log_sizes, message) in [(LogSizes::WithoutPadding, "bytes with "), (LogSizes::None, "bytes without a size")] {
        // The log is asked a second after the first answer to an upload that was padded.
        let config = Config { log_sizes, latency: Duration::from_millis(30), ..Config::default() };
        let fixture = Fixture::with(config).await;
        equal_calls(&fixture, 100);
        let batch = fixture.submit(&fixture.definition("", "concurrency = 1")).await;
        let ran = fixture.run(batch).await;
        let warnings = ran.warnings();
        assert!(warnings.iter().any(|warning| warning.contains(message)), "{log_sizes:?}: {warnings:?}");
        let sizes: Vec<u64> = fixture.sandbox.books().requests.iter().map(|record| record.bytes).collect();
        let plain = sizes[0];
        assert!(sizes[1..3].iter().all(|bytes| *bytes > plain), "{sizes:?}");
        // Those that wait for their turn have their size already.
        assert!(sizes[90..].iter().all(|bytes| *bytes == plain), "{log_sizes:?}: {sizes:?}");
        fixture.all_well(batch, 100, 1).await;
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
    let fixture = Fixture::with(Config { latency: Duration::from_millis(40), ..Config::default() }).await;
    // One part may be on the wire at every kill.
    let run = serde_json::json!({ "concurrency": IN_FLIGHT, "max_billed_calls": 2 * KILLS, "unknown_grace": 300 });
    let setup = SynthesisSetup { run, ..SynthesisSetup::default() };
    let chapters: Vec<_> = (1..=3).map(|n| prose(30).replace("Paragraph", &format!("{n}: Paragraph"))).collect();
    let lines: Vec<_> = ["one", "two", "three"].into_iter().zip(chapters.iter().map(String::as_str)).collect();
    let batch = fixture.speak(&setup, &lines).await;
    let parts = chapters.iter().flat_map(|text| cut(text, 60, SentenceRules::of(Some("en")))).map(|part| part.text);
    let parts: std::collections::HashSet<String> = parts.collect();
    let work = ["work", "--batch", "book", "-q"];
    let mut kept: HashMap<String, usize> = HashMap::new();
    for kill in 1..=KILLS {
        kill_after(&fixture, &work, kill * (parts.len() as u64 - 10) / KILLS).await;
        let asked = asked(&fixture.sandbox.books());
        for (text, times) in &kept {
            assert_eq!(asked[text], *times, "it was there before kill {kill}: {text}");
        }
        let in_audio_cache = |text: &&String| fixture.is_in_audio_cache(&setup, text);
        kept = asked.keys().filter(in_audio_cache).map(|text| (text.clone(), asked[text])).collect();
    }
    to_the_end(&fixture, &work).await;
    assert!(kept.len() > parts.len() / 2, "{} of {}", kept.len(), parts.len());
    let books = fixture.sandbox.books();
    let last = asked(&books);
    assert!(kept.iter().all(|(text, times)| last[text] == *times));
    assert_eq!(last.len(), parts.len());
    let again = books.billed - parts.len() as u64;
    // On the wire, or on its way to the disk: of these are at most as many again.
    assert!(again <= KILLS * IN_FLIGHT * 2, "only what was in flight: {again}");
    assert_eq!(fixture.counts(batch).await.of(JobState::Succeeded), 3);

    let clean = Fixture::new().await;
    let batch = clean.speak(&setup, &lines).await;
    clean.run(batch).await;
    for (key, _) in lines {
        let name = format!("{key}.wav");
        assert_eq!(fs::read(fixture.spoken(&name)).unwrap(), fs::read(clean.spoken(&name)).unwrap(), "{key}");
    }
}

/// Two workers and a receiver, calls, callbacks and books; `examples/crash.rs` does the same for as long as one likes.
#[tokio::test(flavor = "multi_thread")]
async fn an_ordeal_loses_nothing_and_buys_nothing_twice() {
    let plan = Plan {
        seed: 6,
        kills: 25,
        moments: 4,
        time: Duration::ZERO,
        program: env!("CARGO_BIN_EXE_wavebatch").into(),
        round: [40, 16, 2],
        requests_per_minute: 0,
    };
    let verdict = ordeal(&plan).await;
    assert!(verdict.broken.is_empty(), "\n{verdict}");
    assert!(verdict.kills >= plan.kills && verdict.moments.len() >= plan.moments, "\n{verdict}");
}
