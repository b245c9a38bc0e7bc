//! Batches whose lines are those that another batch finishes.

use std::{process::Output, time::Duration};

use wavebatch::{
    domain::job::{BatchId, JobState},
    sandbox::Config,
};

use crate::{
    cli::stderr,
    support::{
        Fixture,
        service::{Service, program},
    },
};

const RUN: [&str; 3] = ["run", "calls.toml", "readback.toml"];

/// `n` recordings, a definition of their transcripts, and one that reads them back.
async fn chain(config: Config, n: usize) -> Fixture {
    let fixture = Fixture::with(config).await;
    fixture.provable_calls(n);
    fixture.write("calls.toml", calls(""));
    fixture.write("readback.toml", readback("batch:calls", ""));
    fixture
}

fn calls(more: &str) -> String {
    format!(
        "task = \"transcribe\"\nmanifest = \"calls.csv\"\nrun = {{ unknown_grace = \"500ms\" }}\n{more}\n\
         [transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\n"
    )
}

fn readback(manifest: &str, more: &str) -> String {
    format!(
        "task = \"synthesize\"\nmanifest = \"{manifest}\"\ncolumns = {{ text = \"Heard: {{transcript}}\" }}\n{more}\n\
         [synthesize]\nmodel = \"lightning_v3.1\"\nvoice_id = \"avery\"\n"
    )
}

async fn go(fixture: &Fixture, args: &[&str], crash: Option<&str>) -> Output {
    let mut command = program(fixture, args);
    crash.map(|at| command.env("WAVEBATCH_CRASH_AT", at));
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn batch(fixture: &Fixture, name: &str) -> BatchId {
    fixture.store.batch(name).await.unwrap().unwrap_or_else(|| panic!("there is no batch {name}")).id
}

/// Both batches have all lines, and nothing was bought twice.
async fn all_of_both(fixture: &Fixture, n: usize) {
    for name in ["calls", "readback"] {
        let id = batch(fixture, name).await;
        let counts = fixture.counts(id).await;
        assert_eq!((counts.of(JobState::Succeeded), counts.total()), (n as u64, n as u64), "{name}");
        assert!(fixture.store.batch_by_id(id).await.unwrap().finished_at.is_some(), "{name} is finished");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_ends_with_all_lines_of_both_and_a_second_run_buys_nothing() {
    let fixture = chain(Config::default(), 30).await;
    let ran = go(&fixture, &RUN, None).await;
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    all_of_both(&fixture, 30).await;
    let report = fixture.output("readback/report.csv");
    assert!(report.lines().next().unwrap().ends_with("left_out,calls.transcript"), "{report}");
    let keys: Vec<&str> = report.lines().skip(1).map(|line| line.split(',').nth(2).unwrap()).collect();
    let expected: Vec<String> = (1..=30).map(|n| format!("call-{n}")).collect();
    assert_eq!(keys, expected, "in the order of the other batch");
    let books = fixture.sandbox.books();
    assert_eq!((books.billed, books.most_billed()), (60, 1));
    let again = go(&fixture, &["run", "readback.toml", "calls.toml"], None).await;
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    assert_eq!(fixture.sandbox.books().billed, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_lose_nothing_and_buy_nothing_twice() {
    const LINES: usize = 60;
    let fixture = chain(Config { latency: Duration::from_millis(50), ..Config::default() }, LINES).await;
    // A kill uses up a try of what was in flight, and one line may be in flight at most of them.
    fixture.write("calls.toml", calls("").replace("run = { ", "run = { max_tries = 30, concurrency = 2, "));
    fixture.write("readback.toml", readback("batch:calls", "run = { max_tries = 30 }"));
    let points = ["before-feed", "after-feed", "after-answer", "before-settle", "after-claim"];
    let mut killed = 0;
    for nth in 1..=20_u64 {
        let point = points[usize::try_from(nth).unwrap() % points.len()];
        let ran = go(&fixture, &RUN, Some(&format!("{point}:{}", 1 + nth % 2))).await;
        killed += u64::from(ran.status.code().is_none());
        assert!(ran.status.code().is_none_or(|code| code == 0), "{point}: {}", stderr(&ran));
    }
    assert!(killed >= 10, "{killed} of 20 were killed");
    let ended = go(&fixture, &RUN, None).await;
    assert_eq!(ended.status.code(), Some(0), "{}", stderr(&ended));
    all_of_both(&fixture, LINES).await;
    let books = fixture.sandbox.books();
    assert_eq!(books.contents.len(), 2 * LINES, "each recording and each text was sent");
    let twice = books.contents.values().filter(|content| content.billed > 1).count() as u64;
    // The vendor's log proves transcripts. A kill can cost one more call for each text in flight, and no more.
    assert!(twice <= killed * 16, "{twice} were bought twice after {killed} kills");
    // A text is far shorter than a recording.
    let recordings = books.contents.values().filter(|content| content.bytes > 4_000);
    let billed: Vec<u64> = recordings.map(|content| content.billed).collect();
    assert_eq!(billed, vec![1; LINES], "each transcript was bought once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_lines_are_handed_over_buys_none_of_them_twice() {
    for point in ["before-feed", "after-feed"] {
        let fixture = chain(Config::default(), 20).await;
        let first = go(&fixture, &["run", "calls.toml"], None).await;
        assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
        let killed = go(&fixture, &["run", "readback.toml"], Some(point)).await;
        assert_eq!(killed.status.code(), None, "{point}: {}", stderr(&killed));
        let ended = go(&fixture, &["run", "readback.toml"], None).await;
        assert_eq!(ended.status.code(), Some(0), "{point}: {}", stderr(&ended));
        all_of_both(&fixture, 20).await;
        let books = fixture.sandbox.books();
        assert_eq!((books.billed, books.most_billed()), (40, 1), "{point}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_it_takes_what_is_there_and_says_how_to_go_on() {
    let fixture = chain(Config::default(), 6).await;
    let submitted = go(&fixture, &["submit", "calls.toml"], None).await;
    assert_eq!(submitted.status.code(), Some(0), "{}", stderr(&submitted));
    let alone = go(&fixture, &["run", "readback.toml"], None).await;
    let said = stderr(&alone);
    assert_eq!(alone.status.code(), Some(3), "{said}");
    assert!(said.contains("for lines of the batch `calls`, which is not finished"), "{said}");
    assert!(said.contains("-> wavebatch work --batch calls --batch readback"), "{said}");
    let both = go(&fixture, &["work", "--batch", "calls", "--batch", "readback"], None).await;
    assert_eq!(both.status.code(), Some(0), "{}", stderr(&both));
    all_of_both(&fixture, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_it_waits_while_another_process_works_the_other_batch() {
    let fixture = chain(Config { latency: Duration::from_millis(1_500), ..Config::default() }, 20).await;
    let mut other = program(&fixture, &["run", "calls.toml"]).spawn().unwrap();
    fixture.sandbox.arrivals(1).await;
    let alone = go(&fixture, &["run", "readback.toml"], None).await;
    assert_eq!(alone.status.code(), Some(0), "{}", stderr(&alone));
    assert!(other.wait().unwrap().success());
    all_of_both(&fixture, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_told_before_anything_starts() {
    let fixture = chain(Config::default(), 2).await;
    let faults = [
        ("batch:cals", "", "readback.toml", "there is no such batch"),
        ("batch:calls", "", "calls.toml calls.toml", "the batch `calls` is made by two of these definitions"),
        ("batch:readback", "", "readback.toml", "the batch `readback` would be its own manifest"),
        ("batch:calls", "from = \"some\"", "calls.toml readback.toml", "`some` is not a value of from"),
        ("batch:calls", "", "calls.toml readback.toml --batch x", "`--batch`: is for one definition"),
        ("batch:calls", "", "calls.toml readback.toml rec/1.wav", "are not run together"),
    ];
    for (manifest, more, args, message) in faults {
        fixture.write("readback.toml", readback(manifest, more));
        let args: Vec<&str> = ["run"].into_iter().chain(args.split(' ')).collect();
        let ran = go(&fixture, &args, None).await;
        assert_eq!(ran.status.code(), Some(2), "{message}: {}", stderr(&ran));
        assert!(stderr(&ran).contains(message), "{}", stderr(&ran));
    }
    let unknown = readback("batch:calls", "").replace("{transcript}", "{transcrpt}");
    fixture.write("readback.toml", unknown);
    let ran = go(&fixture, &RUN, None).await;
    assert!(stderr(&ran).contains("there is no column `transcrpt`; did you mean `transcript`?"), "{}", stderr(&ran));
    assert_eq!(ran.status.code(), Some(2));
    assert!(fixture.store.batches().await.unwrap().is_empty());
    assert_eq!(fixture.sandbox.books().calls, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_speech_is_a_recording_to_be_heard() {
    let fixture = chain(Config::default(), 3).await;
    let hear = calls("columns = { source = \"{output}\" }").replace("calls.csv", "batch:readback");
    fixture.write("hear.toml", hear);
    let args = ["run", "hear.toml", "readback.toml", "calls.toml"];
    let ran = go(&fixture, &args, None).await;
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    let heard = fixture.rows(batch(&fixture, "hear").await).await;
    let keys: Vec<_> = heard.iter().map(|row| (row.key.as_str(), row.state)).collect();
    let all = ["call-1.wav", "call-2.wav", "call-3.wav"].map(|key| (key, JobState::Succeeded));
    assert_eq!(keys, all);
    let billed = fixture.sandbox.books().billed;
    let again = go(&fixture, &args, None).await;
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    assert_eq!(fixture.sandbox.books().billed, billed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_line_is_forgotten_in_both_wherever_it_is_named() {
    for named in ["calls", "readback"] {
        let fixture = chain(Config::default(), 3).await;
        let ran = go(&fixture, &RUN, None).await;
        assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
        let forgot = go(&fixture, &["forget", named, "--key", "call-2", "--yes", "--receipt", "r.jsonl"], None).await;
        assert_eq!(forgot.status.code(), Some(0), "{}", stderr(&forgot));
        for name in ["calls", "readback"] {
            let rows = fixture.rows(batch(&fixture, name).await).await;
            let gone: Vec<_> =
                rows.iter().filter(|row| row.forgotten_at.is_some()).map(|row| row.key.as_str()).collect();
            assert_eq!(gone, ["call-2"], "{name}, named in {named}");
        }
        let again = go(&fixture, &RUN, None).await;
        assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
        assert_eq!(fixture.sandbox.books().billed, 6, "it is not bought again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_carries_the_batches_that_follow() {
    let fixture = chain(Config::default(), 4).await;
    let dated = "date = \"today\"\ntimezone = \"UTC\"\nbatch = \"{name}-{date}\"\noutput = \"../out/{batch}/\"\n";
    let nightly = calls("").replace("run = ", &format!("{dated}schedule = {{ cron = \"0 2 * * *\" }}\nrun = "));
    fixture.write("jobs/calls.toml", nightly.replace("calls.csv", "../calls.csv"));
    fixture.write("jobs/readback.toml", readback("batch:calls-{date}", dated));
    let mut command = program(&fixture, &["serve", "--admin-listen", "off", "--definitions", "jobs"]);
    command.env("WAVEBATCH_NOW", "2026-11-21T01:59:57Z");
    let service = Service::of(command);
    let finished = async || {
        let row = fixture.store.batch("readback-2026-11-21").await.unwrap();
        row.is_some_and(|row| row.finished_at.is_some())
    };
    fixture.until("the follower is finished", finished).await;
    let counts = fixture.counts(batch(&fixture, "readback-2026-11-21").await).await;
    assert_eq!((counts.of(JobState::Succeeded), counts.total()), (4, 4));
    service.stop().await;
    assert_eq!(fixture.sandbox.books().billed, 8);
}

crate::support::server::on_postgres_in_the_gate! {
    a_chain_ends_with_all_lines_of_both_and_a_second_run_buys_nothing,
    a_kill_while_lines_are_handed_over_buys_none_of_them_twice,
    alone_it_takes_what_is_there_and_says_how_to_go_on,
}
