//! Nights: recordings under date prefixes in an S3 store, outputs and report in another bucket, by the real binary.

use std::{
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use wavebatch::sandbox::Config;

use crate::support::{
    Fixture, KEY,
    s3::{Fault, S3Server},
    synthesis,
};

pub const DEFINITION: &str = r#"
name = "nightly-calls"
task = "transcribe"
date = "today"
timezone = "Asia/Kolkata"
batch = "{name}-{date}"
manifest = "s3://acme-calls/{date:%Y/%m/%d}/"
output = "s3://acme-transcripts/{date:%Y/%m/%d}/"
name_pattern = '^(?<call_id>[^_]+)_(?<agent>[^_]+)_(?<started>\d+)'
[transcribe]
model = "pulse"
language = "en"
formats = ["txt"]
[run]
concurrency = 12
unknown_grace = "300ms"
[sink]
sse = "AES256"
[report]
to = "s3://acme-bi/calls/{batch}.csv"
"#;

/// Before and after midnight in Kolkata.
pub const BEFORE: &str = "2026-11-20T18:28:00Z";
pub const AFTER: &str = "2026-11-20T18:31:00Z";

pub struct DatedBatch {
    pub fixture: Fixture,
    pub s3: S3Server,
}

impl DatedBatch {
    pub async fn new() -> Self {
        let fixture = Fixture::with(Config { latency: Duration::from_millis(20), ..Config::default() }).await;
        let s3 = S3Server::start().await;
        ["acme-calls", "acme-transcripts", "acme-bi"].iter().for_each(|bucket| s3.bucket(bucket));
        fixture.write("night.toml", DEFINITION);
        fixture.write("wavebatch.toml", "[limits.pulse]\nrequests_per_minute = 0\n");
        Self { fixture, s3 }
    }

    /// Recordings under the prefix of a day, each with a size of its own, and what else lies there.
    pub fn record(&self, day: &str, calls: std::ops::Range<usize>) {
        for i in calls {
            let wav = synthesis(&format!("words of call {i}"), 0.4 + i as f64 / 2_000.0, i);
            self.s3.put("acme-calls", &format!("{day}/{i}_ann_17636256{i:02}.wav"), wav);
        }
        self.s3.put("acme-calls", &format!("{day}/_SUCCESS"), "");
        self.s3.put("acme-calls", &format!("{day}/1.json"), "{}");
    }

    pub fn command(&self, now: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wavebatch"));
        command.current_dir(self.fixture.dir.path()).args(args).args(["--config", "wavebatch.toml"]);
        for name in ["AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN"] {
            command.env_remove(name);
        }
        command
            .envs(self.s3.environment())
            .env("SMALLEST_API_KEY", KEY)
            .env("SMALLEST_BASE_URL", self.fixture.sandbox.base_url())
            .env("WAVEBATCH_LEASE_MS", "500")
            .env("WAVEBATCH_NOW", now)
            .env_remove("WAVEBATCH_DATABASE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn start(&self, now: &str, args: &[&str]) -> Child {
        self.command(now, args).spawn().expect("the program")
    }

    pub async fn run(&self, now: &str, args: &[&str]) -> (i32, String) {
        ended(self.start(now, args)).await
    }

    pub fn report(&self, batch: &str) -> Vec<csv::StringRecord> {
        let report = self.s3.get("acme-bi", &format!("calls/{batch}.csv")).expect("a report");
        csv::Reader::from_reader(&report[..]).into_records().map(Result::unwrap).collect()
    }

    pub fn text(&self, day: &str, i: usize) -> String {
        let key = format!("{day}/{i}_ann_17636256{i:02}.txt");
        let text = self.s3.get("acme-transcripts", &key).unwrap_or_else(|| panic!("no {key}"));
        String::from_utf8(text.to_vec()).unwrap().trim().to_owned()
    }
}

impl DatedBatch {
    /// The second of the recordings is gone, the third another one, the fourth in an archive.
    pub fn disturb(&self) {
        let key = |i: usize| format!("2026/11/20/{i}_ann_17636256{i:02}.wav");
        self.s3.remove("acme-calls", &key(1));
        self.s3.put("acme-calls", &key(2), synthesis("other words", 1.0, 77));
        self.s3.archive("acme-calls", &key(3), "GLACIER");
    }

    /// Starts a run, and lets `change` come while twelve calls are in flight and most lines are not yet fetched.
    async fn run_changed(&self, change: impl FnOnce(&S3Server)) -> Child {
        self.fixture.sandbox.hold();
        let child = self.start(BEFORE, &["run", "night.toml"]);
        self.fixture.sandbox.waiting(12).await;
        change(&self.s3);
        self.fixture.sandbox.release();
        child
    }

    /// Starts a run, and kills it while twelve calls are in flight.
    async fn run_killed(&self) {
        self.fixture.sandbox.hold();
        let mut child = self.start(BEFORE, &["run", "night.toml", "-q"]);
        self.fixture.sandbox.waiting(12).await;
        child.kill().expect("a living child");
        child.wait().expect("a dead child");
        self.fixture.sandbox.release();
    }
}

pub async fn ended(child: Child) -> (i32, String) {
    let waiting = tokio::task::spawn_blocking(move || child.wait_with_output().expect("a child"));
    let output: Output = waiting.await.expect("it was waited for");
    let message = [output.stderr, output.stdout].concat();
    (output.status.code().expect("it ends by itself"), String::from_utf8_lossy(&message).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_killed_before_midnight_is_finished_after_it_and_before_the_next() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..500);
    dated.record("2026/11/21", 500..503);
    let mut child = dated.start(BEFORE, &["run", "night.toml", "-q"]);
    dated.fixture.sandbox.arrivals(200).await;
    child.kill().expect("a living child");
    child.wait().expect("a dead child");

    let (code, message) = dated.run(AFTER, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    assert!(message.contains("first     nightly-calls-2026-11-20, which is not finished"), "{message}");
    assert!(message.contains("report    s3://acme-bi/calls/nightly-calls-2026-11-20.csv"), "{message}");
    assert!(message.contains("1 .json"), "what was passed over is told: {message}");
    for (batch, lines) in [("nightly-calls-2026-11-20", 500), ("nightly-calls-2026-11-21", 3)] {
        let report = dated.report(batch);
        assert_eq!(report.len(), lines);
        assert!(report.iter().all(|row| &row[3] == "succeeded"), "{batch}");
    }
    (0..500).for_each(|i| assert_eq!(dated.text("2026/11/20", i), format!("words of call {i}")));
    let books = dated.fixture.sandbox.books();
    assert_eq!((books.contents.len(), books.most_billed()), (503, 1), "each recording once");
    let header = dated.s3.get("acme-bi", "calls/nightly-calls-2026-11-20.csv").unwrap();
    let header = String::from_utf8(header.to_vec()).unwrap();
    assert!(header.lines().next().unwrap().ends_with(",call_id,agent,started"), "{header:.400}");
    let stored = dated.s3.stored("acme-transcripts", "2026/11/20/summary.json").expect("a summary");
    assert_eq!(stored.sse.as_deref(), Some("AES256"));

    let (code, message) = dated.run(AFTER, &["run", "night.toml"]).await;
    assert_eq!((code, message.contains("nothing was left to do")), (0, true), "{message}");
    assert_eq!(dated.fixture.sandbox.books().billed, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_manifest_after_midnight_is_the_same_batch() {
    let dated = DatedBatch::new().await;
    dated.record("x", 0..6);
    let rows: String = (0..6).map(|i| format!("call-{i},x/{i}_ann_17636256{i:02}.wav\n")).collect();
    dated.s3.put("acme-calls", "export.csv", format!("key,file\n{rows}"));
    let definition = DEFINITION
        .replace("s3://acme-calls/{date:%Y/%m/%d}/", "s3://acme-calls/export.csv")
        .replace("name_pattern", "columns = { source = \"s3://acme-calls/{file}\" }\nname_pattern");
    dated.fixture.write("night.toml", definition);
    let (code, message) = dated.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    let (code, message) = dated.run(AFTER, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    assert!(message.contains("goes on   nightly-calls-2026-11-20"), "{message}");
    assert_eq!(dated.fixture.sandbox.books().billed, 6);
    let (code, message) = dated.run(AFTER, &["run", "night.toml", "--again"]).await;
    assert_eq!(code, 0, "{message}");
    assert_eq!(dated.fixture.sandbox.books().billed, 12, "a new batch was asked for");
    assert_eq!(dated.report("nightly-calls-2026-11-21").len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_ledger_takes_what_is_there_as_done_and_a_lost_bucket_is_written_again() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..8);
    let (code, message) = dated.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");

    let keys = dated.s3.keys("acme-transcripts");
    keys.iter().for_each(|key| dated.s3.remove("acme-transcripts", key));
    let (code, message) = dated.run(BEFORE, &["deliver", "nightly-calls-2026-11-20"]).await;
    assert_eq!(code, 0, "{message}");
    assert_eq!(dated.s3.keys("acme-transcripts"), keys, "all of it, without a call");
    assert_eq!(dated.fixture.sandbox.books().calls, 8);

    dated.s3.remove("acme-transcripts", "2026/11/20/3_ann_1763625603.txt");
    let fresh = ["--database", "fresh.db"];
    let (code, message) = dated.run(BEFORE, &[&["run", "night.toml"][..], &fresh].concat()).await;
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("--adopt"), "{message}");
    let adopting = [&["run", "night.toml", "--take-over", "--adopt"][..], &fresh].concat();
    let (code, message) = dated.run(BEFORE, &adopting).await;
    assert_eq!(code, 0, "{message}");
    assert!(message.contains("7 lines whose outputs were there already: done"), "{message}");
    assert_eq!(dated.fixture.sandbox.books().calls, 9, "only what was missing");
    assert_eq!(dated.text("2026/11/20", 3), "words of call 3");
    let notes: Vec<_> = dated.report("nightly-calls-2026-11-20").iter().map(|row| row[20].to_owned()).collect();
    assert_eq!(notes.iter().filter(|note| *note == "adopted").count(), 7);
    let adopted = dated.report("nightly-calls-2026-11-20");
    let texts: Vec<_> = adopted.iter().map(|row| row[23].to_owned()).collect();
    assert_eq!(texts, (0..8).map(|i| format!("words of call {i}")).collect::<Vec<_>>(), "no transcript is lost");
    assert!(adopted.iter().all(|row| !row[8].is_empty()), "nor a length: {adopted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_night_is_a_fault_unless_allowed_and_older_ones_are_finished_first() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..40);
    dated.s3.put("acme-calls", "2026/11/21/1.json", "{}");
    dated.run_killed().await;
    let (code, message) = dated.run(AFTER, &["run", "night.toml"]).await;
    assert_eq!(code, 2, "{message}");
    for words in ["s3://acme-calls/2026/11/21/", "1 .json", "allow_empty", "nightly-calls-2026-11-20: finished"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    assert_eq!(dated.report("nightly-calls-2026-11-20").len(), 40);
    let (code, message) = dated.run(AFTER, &["run", "night.toml", "--allow-empty"]).await;
    assert_eq!(code, 0, "{message}");
    assert_eq!(dated.report("nightly-calls-2026-11-21").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_vanish_change_or_are_archived_fail_their_lines() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..5);
    let (code, message) = dated.run(BEFORE, &["submit", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    dated.disturb();
    let (code, message) = dated.run(BEFORE, &["work"]).await;
    assert_eq!(code, 1, "{message}");
    let kinds: Vec<_> =
        dated.report("nightly-calls-2026-11-20").iter().map(|row| (row[3].to_owned(), row[18].to_owned())).collect();
    let kinds: Vec<_> = kinds.iter().map(|(status, kind)| format!("{status} {kind}")).collect();
    let expected =
        ["succeeded ", "failed source_missing", "failed source_changed", "failed source_archived", "succeeded "];
    assert_eq!(kinds, expected);
    assert_eq!(dated.fixture.sandbox.books().billed, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_for_a_while_costs_no_call_and_no_line() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..100);
    let child = dated.run_changed(|s3| s3.fault("", "", Fault::Status(503, "SlowDown"))).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    dated.s3.lift();
    let (code, message) = ended(child).await;
    assert_eq!(code, 0, "{message}");
    (0..100).for_each(|i| assert_eq!(dated.text("2026/11/20", i), format!("words of call {i}")));
    let books = dated.fixture.sandbox.books();
    assert_eq!((books.contents.len(), books.most_billed()), (100, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_forbids_pauses_the_batch_and_the_same_command_goes_on() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..30);
    dated.s3.fault("PUT", ".txt", Fault::Status(403, "AccessDenied"));
    let (code, message) = dated.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 3, "{message}");
    assert!(message.contains("write") && message.contains("acme-transcripts"), "{message}");
    dated.s3.lift();
    let (code, message) = dated.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    let books = dated.fixture.sandbox.books();
    assert_eq!((books.contents.len(), books.most_billed()), (30, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_refused_in_the_middle_pause_the_batch_and_blame_no_line() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..100);
    let child = dated.run_changed(|s3| s3.fault("GET", ".wav", Fault::Status(403, "InvalidAccessKeyId"))).await;
    let (code, message) = ended(child).await;
    assert_eq!(code, 3, "{message}");
    assert!(message.contains("credentials"), "{message}");
    dated.s3.lift();
    let (code, message) = dated.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    assert_eq!(dated.report("nightly-calls-2026-11-20").len(), 100);
    assert_eq!(dated.fixture.sandbox.books().most_billed(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_address_is_lent_to_the_vendor() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..3);
    dated.fixture.write("night.toml", DEFINITION.replace("[run]", "send = \"url\"\n[run]"));
    let (code, message) = dated.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    assert_eq!(dated.text("2026/11/20", 2), "words of call 2");
    assert_eq!(dated.s3.requests_about("GET", "X-Amz-Signature"), 3, "the vendor fetched them itself");
    let ledger = std::fs::read(dated.fixture.path("wavebatch.db")).unwrap();
    assert!(!ledger.windows(15).any(|w| w == b"X-Amz-Signature"), "no signature is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_store_is_found_before_the_first_call() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..2);
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let toml = |from: &str, to: &str| DEFINITION.replace(from, to);
    let cases = [
        (toml("s3://acme-calls/", "s3://acme-cals/"), 2, vec!["list", "acme-cals", "no bucket"]),
        (toml("s3://acme-transcripts/", "s3://acme-transcript/"), 3, vec!["acme-transcript", "no bucket"]),
        (toml("s3://acme-bi/", "s3://acme-by/"), 3, vec!["acme-by", "no bucket"]),
        (
            toml("[sink]", &format!("[source]\nendpoint_url = \"http://{dead}\"\n[sink]")),
            2,
            vec!["list", "acme-calls", "not available"],
        ),
        (
            toml("[sink]", &format!("[sink]\nendpoint_url = \"http://{dead}\"")),
            3,
            vec!["acme-transcripts", "not available"],
        ),
    ];
    for (toml, expected, words) in cases {
        dated.fixture.write("night.toml", &toml);
        let begun = Instant::now();
        let (code, message) = dated.run(BEFORE, &["run", "night.toml"]).await;
        assert_eq!(code, expected, "{message}");
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}: {message}", begun.elapsed());
        words.iter().for_each(|word| assert!(message.contains(word), "{word}: {message}"));
        assert!(message.contains("hint:"), "{message}");
    }
    dated.fixture.write("night.toml", DEFINITION);
    for (about, expected) in [("list-type", 2), ("summary.json", 3), (".wav", 3)] {
        dated.s3.fault("", about, Fault::Status(403, "AccessDenied"));
        let (code, message) = dated.run(BEFORE, &["run", "night.toml"]).await;
        assert_eq!(code, expected, "{message}");
        assert!(message.contains("does not allow it") && message.contains("hint:"), "{message}");
        dated.s3.lift();
    }
    let mut command = dated.command(BEFORE, &["run", "night.toml"]);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"] {
        command.env_remove(name);
    }
    let begun = Instant::now();
    let (code, message) = ended(command.env("HOME", dated.fixture.dir.path()).spawn().unwrap()).await;
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("no credentials") && message.contains("AWS_ACCESS_KEY_ID"), "{message}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(dated.fixture.sandbox.books().calls, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_that_is_forbidden_in_the_middle_pauses_the_batch() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..100);
    let child = dated.run_changed(|s3| s3.fault("GET", ".wav", Fault::Status(403, "AccessDenied"))).await;
    let (code, message) = ended(child).await;
    assert_eq!(code, 3, "{message}");
    assert!(message.contains("does not allow it"), "{message}");
    dated.s3.lift();
    let (code, message) = dated.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{message}");
    assert_eq!(dated.report("nightly-calls-2026-11-20").len(), 100);
    assert_eq!(dated.fixture.sandbox.books().most_billed(), 1);
}
