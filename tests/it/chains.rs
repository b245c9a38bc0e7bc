//! Batches whose lines are those that another batch finishes.

use std::{
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use wavebatch::{
    domain::job::{BatchId, JobState},
    sandbox::{Config, Fault, Match, What},
    store::ReportRow,
};

use crate::{
    cli::stderr,
    support::{
        Fixture,
        s3::S3Server,
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

/// The next call comes to this.
fn next_call(fixture: &Fixture, what: What) {
    let next = fixture.sandbox.books().calls + 1;
    fixture.sandbox.script([Fault::new(Match::Nth(next), what).times(1)]);
}

/// Runs a command that ends well.
async fn well(fixture: &Fixture, args: &[&str]) -> Output {
    let ran = go(fixture, args, None).await;
    assert_eq!(ran.status.code(), Some(0), "{args:?}: {}", stderr(&ran));
    ran
}

/// What a line of a follower heard, by the last cell that it carries.
fn heard(row: &ReportRow) -> String {
    let mut cells: Vec<String> = serde_json::from_str(row.carried.as_deref().unwrap()).unwrap();
    cells.pop().unwrap()
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

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_bought_again_by_the_follower_only_if_it_changes_the_result() {
    let fixture = chain(Config::default(), 3).await;
    fixture.write("readback.toml", readback("batch:calls", "").replace("Heard:", "Heard in {key}:"));
    well(&fixture, &RUN).await;
    well(&fixture, &["retry", "calls", "--key", "call-2"]).await;
    well(&fixture, &RUN).await;
    assert_eq!(fixture.sandbox.books().billed, 7, "the recording again, and not the same text");
    next_call(&fixture, What::EmptyText);
    well(&fixture, &["retry", "calls", "--key", "call-2"]).await;
    well(&fixture, &RUN).await;
    assert_eq!(fixture.sandbox.books().billed, 9, "the recording and its new text");
    let rows = fixture.rows(batch(&fixture, "readback").await).await;
    let shown: Vec<_> = rows.iter().map(|row| (row.key.as_str(), row.state, heard(row))).collect();
    let all = [("call-1", "words of call 1"), ("call-2", ""), ("call-3", "words of call 3")];
    assert_eq!(shown, all.map(|(key, text)| (key, JobState::Succeeded, text.to_owned())));
    all_of_both(&fixture, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_while_the_follower_works_on_the_line_is_not_lost() {
    for changes in [true, false] {
        let fixture = chain(Config::default(), 3).await;
        fixture.write("readback.toml", readback("batch:calls", "").replace("Heard:", "Heard in {key}:"));
        well(&fixture, &["run", "calls.toml"]).await;
        fixture.sandbox.script([Fault::new(Match::Text("words of call 2".into()), What::Hang)]);
        let mut follower = program(&fixture, &["run", "readback.toml"]);
        let mut follower = follower.stderr(Stdio::null()).spawn().unwrap();
        fixture.sandbox.waiting(1).await;
        let id = batch(&fixture, "readback").await;
        fixture.until("the others are done", async || fixture.counts(id).await.of(JobState::Succeeded) == 2).await;
        // It is another result, or one that cannot be right.
        next_call(&fixture, if changes { What::EmptyText } else { What::WrongDuration(5.0) });
        well(&fixture, &["retry", "calls", "--key", "call-2"]).await;
        let again = go(&fixture, &["work", "--batch", "calls"], None).await;
        assert_eq!(again.status.code(), Some(if changes { 0 } else { 1 }), "{}", stderr(&again));
        let taken = async || !fixture.store.feed_place(id).await.unwrap().unwrap().is_behind;
        fixture.until("the change is taken", taken).await;
        fixture.sandbox.unscript();
        fixture.sandbox.release();
        assert!(follower.wait().unwrap().success());
        let row = fixture.row(id, "call-2").await;
        let (text, notes) = if changes { ("", None) } else { ("words of call 2", Some("upstream_changed")) };
        assert_eq!((row.state, heard(&row).as_str(), row.notes.as_deref()), (JobState::Succeeded, text, notes));
        let counts = fixture.counts(id).await;
        assert_eq!((counts.of(JobState::Succeeded), counts.total()), (3, 3));
        let texts = 3 + u64::from(changes);
        assert_eq!(fixture.sandbox.books().billed, 4 + texts, "the old text was under way; the new one is bought");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pruned_upstream_costs_nothing_and_is_told_where_it_is_needed() {
    let fixture = chain(Config::default(), 4).await;
    well(&fixture, &["run", "calls.toml"]).await;
    well(&fixture, &["prune", "calls", "--older-than", "0s"]).await;
    // The outputs have the transcripts still.
    well(&fixture, &["run", "readback.toml"]).await;
    all_of_both(&fixture, 4).await;
    assert_eq!(fixture.sandbox.books().billed, 8);
    std::fs::remove_dir_all(fixture.path("out/calls")).unwrap();
    well(&fixture, &["run", "readback.toml"]).await;
    assert_eq!(fixture.sandbox.books().billed, 8, "what was taken is kept here");
    // Nobody has them now: a batch that needs them says so, and another one does not need them.
    fixture.write("late.toml", readback("batch:calls", ""));
    let late = go(&fixture, &["run", "late.toml"], None).await;
    assert_eq!(late.status.code(), Some(1), "{}", stderr(&late));
    assert!(stderr(&late).contains("its transcript is not kept any more, and no output has it"), "{}", stderr(&late));
    fixture.write("keys.toml", readback("batch:calls", "").replace("{transcript}", "{key}"));
    well(&fixture, &["run", "keys.toml"]).await;
    assert_eq!(fixture.counts(batch(&fixture, "keys").await).await.of(JobState::Succeeded), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn suspect_lines_are_taken_if_the_definition_takes_all() {
    let fixture = chain(Config::default(), 3).await;
    next_call(&fixture, What::WrongDuration(5.0));
    let ran = go(&fixture, &RUN, None).await;
    assert_eq!(ran.status.code(), Some(1), "{}", stderr(&ran));
    let id = batch(&fixture, "readback").await;
    assert_eq!(fixture.counts(id).await.total(), 2, "one is suspect");
    fixture.write("readback.toml", readback("batch:calls", "from = \"all\""));
    well(&fixture, &["run", "readback.toml"]).await;
    let counts = fixture.counts(id).await;
    assert_eq!((counts.of(JobState::Succeeded), counts.total()), (3, 3));
    assert_eq!(fixture.sandbox.books().billed, 6, "the two are not bought again");
    // Back again: what was made of it stays, and nothing is bought.
    fixture.write("readback.toml", readback("batch:calls", ""));
    well(&fixture, &["run", "readback.toml"]).await;
    assert_eq!((fixture.counts(id).await.total(), fixture.sandbox.books().billed), (3, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_in_a_store_are_sources_of_the_next_batch() {
    let (fixture, server) = (chain(Config::default(), 3).await, S3Server::start().await);
    server.bucket("speech");
    fixture.write("readback.toml", readback("batch:calls", "output = \"s3://speech/{batch}/\""));
    let hear = calls("columns = { source = \"{output}\" }").replace("calls.csv", "batch:readback");
    fixture.write("hear.toml", hear);
    let mut command = program(&fixture, &["run", "calls.toml", "readback.toml", "hear.toml"]);
    command.envs(server.environment());
    let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    assert!(server.keys("speech").contains(&"readback/call-2.wav".to_owned()), "{:?}", server.keys("speech"));
    let rows = fixture.rows(batch(&fixture, "hear").await).await;
    let shown: Vec<_> = rows.iter().map(|row| (row.source.as_deref().unwrap(), row.state)).collect();
    let all = ["call-1", "call-2", "call-3"].map(|key| format!("s3://speech/readback/{key}.wav"));
    assert_eq!(shown, all.each_ref().map(|address| (address.as_str(), JobState::Succeeded)));
    let mut command = program(&fixture, &["report", "hear", "--wide", "-o", "s3://speech/wide.csv"]);
    command.envs(server.environment());
    let wrote = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(wrote.status.code(), Some(0), "{}", stderr(&wrote));
    let table = server.get("speech", "wide.csv").unwrap();
    assert_eq!(String::from_utf8_lossy(&table).lines().count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_from_the_command_line_goes_on_with_the_same_command() {
    let fixture = chain(Config::default(), 4).await;
    well(&fixture, &["submit", "calls.toml"]).await;
    let of_task = ["--task", "synthesize", "--model", "lightning_v3.1", "--voice-id", "avery"];
    let sources = ["batch:calls", "--text-column", "Heard: {transcript}", "--batch", "said"];
    let with = |verb| [[verb].as_slice(), &sources, &of_task].concat();
    well(&fixture, &with("submit")).await;
    let work = go(&fixture, &["work", "--batch", "calls", "--batch", "said"], None).await;
    let message = stderr(&work);
    assert_eq!(work.status.code(), Some(3), "{message}");
    assert!(message.contains("its sources were given on the command line"), "{message}");
    well(&fixture, &with("run")).await;
    assert_eq!(fixture.counts(batch(&fixture, "said").await).await.of(JobState::Succeeded), 4);
    assert_eq!(fixture.sandbox.books().billed, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_stages_stand_side_by_side_in_one_table() {
    let fixture = chain(Config::default(), 4).await;
    let manifest = std::fs::read_to_string(fixture.path("calls.csv")).unwrap();
    let named = manifest.replace("key,source\n", "key,source,status\n").replace(".wav\n", ".wav,=new\n");
    fixture.write("calls.csv", named.replace("rec/3.wav", "rec/none.wav"));
    fixture.write(
        "readback.toml",
        readback("batch:calls", "").replace("voice_id = \"avery\"", "voices = [\"avery\", \"magnus\"]"),
    );
    let hear = calls("columns = { source = \"{output}\" }").replace("calls.csv", "batch:readback");
    fixture.write("hear.toml", hear);
    let ran = go(&fixture, &["run", "calls.toml", "readback.toml"], None).await;
    assert_eq!(ran.status.code(), Some(1), "one has no recording: {}", stderr(&ran));
    well(&fixture, &["submit", "hear.toml"]).await;
    let table = async |args: &[&str]| -> Vec<Value> {
        let args = [&["report"], args, &["--wide", "--format", "jsonl"]].concat();
        let mut command = program(&fixture, &args);
        command.stdout(Stdio::piped());
        let wrote = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_eq!(wrote.status.code(), Some(0), "{}", stderr(&wrote));
        String::from_utf8(wrote.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let rows = table(&["hear"]).await;
    let shown = |row: &Value| -> Vec<String> {
        ["key", "status", "calls.status", "calls.transcript", "readback.status", "voice_id", "hear.status"]
            .iter()
            .map(|name| row[name].as_str().unwrap_or("-").to_owned())
            .collect()
    };
    let expected = [1, 2, 3, 4].map(|n| {
        let voices: &[&str] = if n == 3 { &["-"] } else { &["avery", "magnus"] };
        let (first, text, second) = match n {
            3 => ("failed", "-".to_owned(), "-"),
            n => ("succeeded", format!("words of call {n}"), "succeeded"),
        };
        let third = if n == 3 { "-" } else { "queued" };
        let key = format!("call-{n}");
        voices
            .iter()
            .map(|voice| [&key, "=new", first, &text, second, voice, third].map(str::to_owned).to_vec())
            .collect::<Vec<_>>()
    });
    assert_eq!(rows.iter().map(shown).collect::<Vec<_>>(), expected.concat());
    let files = ["calls.toml", "readback.toml", "hear.toml"];
    assert_eq!(table(&files).await, rows, "named by their definitions");
    let two = table(&["readback", "--key", "call-2"]).await;
    assert_eq!(two.len(), 2, "two voices of one line");
    assert_eq!(two[0]["status"], "=new");
    assert!(two[0].get("hear.status").is_none());
    well(&fixture, &["report", "readback", "--wide", "-o", "wide.csv"]).await;
    let written = std::fs::read_to_string(fixture.path("wide.csv")).unwrap();
    assert!(written.starts_with("line,key,status,calls.batch,calls.status,"), "{written}");
    assert!(written.contains("call-4,'=new,"), "{written}");
    let alone = go(&fixture, &["report", "calls", "--wide"], None).await;
    assert_eq!(alone.status.code(), Some(2));
    assert!(stderr(&alone).contains("wavebatch report readback hear --wide"), "{}", stderr(&alone));
    let several = go(&fixture, &["report", "calls", "readback"], None).await;
    assert_eq!(several.status.code(), Some(2), "{}", stderr(&several));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_what_is_to_come_and_when_each_batch_ends() {
    let fixture = chain(Config::default(), 60).await;
    fixture.write("wavebatch.toml", "");
    fixture.write(
        "card.toml",
        "task = \"chat\"\nmanifest = \"batch:calls\"\n[chat]\nmodel = \"electron\"\nsystem = \"What is it about?\"\n\
         prompt = \"{transcript}\"\nmax_tokens = 100\n",
    );
    let check = async |args: &[&str]| -> String {
        let mut command = program(&fixture, &[&["check"], args].concat());
        command.stdout(Stdio::piped());
        let checked = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
        String::from_utf8(checked.stdout).unwrap()
    };
    let shown = check(&["calls.toml", "card.toml", "readback.toml"]).await;
    // 60 calls at 25 a minute take two minutes, and at 10 a minute five.
    let ends = shown.lines().find(|line| line.contains(" bind")).unwrap_or_else(|| panic!("{shown}"));
    assert!(ends.ends_with(" at the earliest, 3 min 0 s after `calls`: 10 requests/min bind"), "{ends}");
    let costs: Vec<_> =
        shown.lines().filter(|line| line.contains("to come   60 lines, as `calls` finishes them: about $")).collect();
    assert_eq!(costs.len(), 2, "{shown}");
    assert!(costs.iter().all(|line| line.ends_with(" in 60 calls, an estimate by its lines")), "{costs:?}");
    assert!(shown.contains(" at the earliest, soon after `calls`"), "{shown}");
    let views = check(&["calls.toml", "card.toml", "--json"]).await;
    let views: Vec<Value> = serde_json::Deserializer::from_str(&views).into_iter().map(Result::unwrap).collect();
    assert_eq!(views[0]["chain"], Value::Null);
    let chain = &views[1]["chain"];
    let numbers = ["lines", "calls", "least_seconds", "seconds_after", "requests_per_minute"];
    assert_eq!(numbers.map(|name| chain[name].as_u64()), [60, 60, 300, 180, 10].map(Some), "{chain}");
    assert!(chain["cost_usd"].as_f64().unwrap() > 0.001 && chain["ends_at"].is_string(), "{chain}");
    // Of a batch that is there already, and not checked, when it ends is not known.
    well(&fixture, &["submit", "calls.toml"]).await;
    let alone = check(&["card.toml"]).await;
    assert!(alone.contains("to come   60 lines, as `calls` finishes them"), "{alone}");
    assert!(!alone.contains("ends  "), "{alone}");
}

crate::support::server::on_postgres_in_the_gate! {
    a_change_while_the_follower_works_on_the_line_is_not_lost,
    all_stages_stand_side_by_side_in_one_table,
    a_chain_ends_with_all_lines_of_both_and_a_second_run_buys_nothing,
    a_kill_while_lines_are_handed_over_buys_none_of_them_twice,
    alone_it_takes_what_is_there_and_says_how_to_go_on,
}
