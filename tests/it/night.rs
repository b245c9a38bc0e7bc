//! Nights: recordings under date prefixes in an S3 store, outputs and report in another bucket, by the real binary.

use std::{
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use wavebatch::sandbox::Config;

use crate::support::{
    House, KEY,
    s3::{Fault, S3Server},
    speech,
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

pub struct Night {
    pub house: House,
    pub s3: S3Server,
}

impl Night {
    pub async fn new() -> Self {
        let house = House::with(Config { latency: Duration::from_millis(20), ..Config::default() }).await;
        let s3 = S3Server::start().await;
        ["acme-calls", "acme-transcripts", "acme-bi"].iter().for_each(|bucket| s3.bucket(bucket));
        house.write("night.toml", DEFINITION);
        house.write("wavebatch.toml", "[limits.pulse]\nrequests_per_minute = 0\n");
        Self { house, s3 }
    }

    /// Recordings under the prefix of a day, each with a size of its own, and what else lies there.
    pub fn record(&self, day: &str, calls: std::ops::Range<usize>) {
        for i in calls {
            let wav = speech(&format!("words of call {i}"), 0.4 + i as f64 / 2_000.0, i);
            self.s3.put("acme-calls", &format!("{day}/{i}_ann_17636256{i:02}.wav"), wav);
        }
        self.s3.put("acme-calls", &format!("{day}/_SUCCESS"), "");
        self.s3.put("acme-calls", &format!("{day}/1.json"), "{}");
    }

    pub fn command(&self, now: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wavebatch"));
        command.current_dir(self.house.dir.path()).args(args).args(["--config", "wavebatch.toml"]);
        for name in ["AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN"] {
            command.env_remove(name);
        }
        command
            .envs(self.s3.environment())
            .env("SMALLEST_API_KEY", KEY)
            .env("SMALLEST_BASE_URL", self.house.sandbox.base_url())
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

impl Night {
    /// The second of the recordings is gone, the third another one, the fourth in an archive.
    pub fn disturb(&self) {
        let key = |i: usize| format!("2026/11/20/{i}_ann_17636256{i:02}.wav");
        self.s3.remove("acme-calls", &key(1));
        self.s3.put("acme-calls", &key(2), speech("other words", 1.0, 77));
        self.s3.archive("acme-calls", &key(3), "GLACIER");
    }

    /// Starts a run, and lets `change` come while twelve calls are in flight and most lines are not yet fetched.
    async fn run_changed(&self, change: impl FnOnce(&S3Server)) -> Child {
        self.house.sandbox.hold();
        let child = self.start(BEFORE, &["run", "night.toml"]);
        self.house.sandbox.waiting(12).await;
        change(&self.s3);
        self.house.sandbox.release();
        child
    }

    /// Starts a run, and kills it while twelve calls are in flight.
    async fn run_killed(&self) {
        self.house.sandbox.hold();
        let mut child = self.start(BEFORE, &["run", "night.toml", "-q"]);
        self.house.sandbox.waiting(12).await;
        child.kill().expect("a living child");
        child.wait().expect("a dead child");
        self.house.sandbox.release();
    }
}

pub async fn ended(child: Child) -> (i32, String) {
    let waiting = tokio::task::spawn_blocking(move || child.wait_with_output().expect("a child"));
    let output: Output = waiting.await.expect("it was waited for");
    let told = [output.stderr, output.stdout].concat();
    (output.status.code().expect("it ends by itself"), String::from_utf8_lossy(&told).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_killed_before_midnight_is_finished_after_it_and_before_the_next() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..500);
    night.record("2026/11/21", 500..503);
    let mut child = night.start(BEFORE, &["run", "night.toml", "-q"]);
    night.house.sandbox.arrivals(200).await;
    child.kill().expect("a living child");
    child.wait().expect("a dead child");

    let (code, told) = night.run(AFTER, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("first     nightly-calls-2026-11-20, which is not finished"), "{told}");
    assert!(told.contains("report    s3://acme-bi/calls/nightly-calls-2026-11-20.csv"), "{told}");
    assert!(told.contains("1 .json"), "what was passed over is told: {told}");
    for (batch, lines) in [("nightly-calls-2026-11-20", 500), ("nightly-calls-2026-11-21", 3)] {
        let report = night.report(batch);
        assert_eq!(report.len(), lines);
        assert!(report.iter().all(|row| &row[3] == "succeeded"), "{batch}");
    }
    (0..500).for_each(|i| assert_eq!(night.text("2026/11/20", i), format!("words of call {i}")));
    let books = night.house.sandbox.books();
    assert_eq!((books.contents.len(), books.most_billed()), (503, 1), "each recording once");
    let header = night.s3.get("acme-bi", "calls/nightly-calls-2026-11-20.csv").unwrap();
    let header = String::from_utf8(header.to_vec()).unwrap();
    assert!(header.lines().next().unwrap().ends_with(",call_id,agent,started"), "{header:.400}");
    let stored = night.s3.stored("acme-transcripts", "2026/11/20/summary.json").expect("a summary");
    assert_eq!(stored.sse.as_deref(), Some("AES256"));

    let (code, told) = night.run(AFTER, &["run", "night.toml"]).await;
    assert_eq!((code, told.contains("nothing was left to do")), (0, true), "{told}");
    assert_eq!(night.house.sandbox.books().billed, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_manifest_after_midnight_is_the_same_batch() {
    let night = Night::new().await;
    night.record("x", 0..6);
    let rows: String = (0..6).map(|i| format!("call-{i},x/{i}_ann_17636256{i:02}.wav\n")).collect();
    night.s3.put("acme-calls", "export.csv", format!("key,file\n{rows}"));
    let definition = DEFINITION
        .replace("s3://acme-calls/{date:%Y/%m/%d}/", "s3://acme-calls/export.csv")
        .replace("name_pattern", "columns = { source = \"s3://acme-calls/{file}\" }\nname_pattern");
    night.house.write("night.toml", definition);
    let (code, told) = night.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");
    let (code, told) = night.run(AFTER, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("goes on   nightly-calls-2026-11-20"), "{told}");
    assert_eq!(night.house.sandbox.books().billed, 6);
    let (code, told) = night.run(AFTER, &["run", "night.toml", "--again"]).await;
    assert_eq!(code, 0, "{told}");
    assert_eq!(night.house.sandbox.books().billed, 12, "a new batch was asked for");
    assert_eq!(night.report("nightly-calls-2026-11-21").len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_ledger_takes_what_is_there_as_done_and_a_lost_bucket_is_written_again() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..8);
    let (code, told) = night.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");

    let keys = night.s3.keys("acme-transcripts");
    keys.iter().for_each(|key| night.s3.remove("acme-transcripts", key));
    let (code, told) = night.run(BEFORE, &["deliver", "nightly-calls-2026-11-20"]).await;
    assert_eq!(code, 0, "{told}");
    assert_eq!(night.s3.keys("acme-transcripts"), keys, "all of it, without a call");
    assert_eq!(night.house.sandbox.books().calls, 8);

    night.s3.remove("acme-transcripts", "2026/11/20/3_ann_1763625603.txt");
    let fresh = ["--database", "fresh.db"];
    let (code, told) = night.run(BEFORE, &[&["run", "night.toml"][..], &fresh].concat()).await;
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("--adopt"), "{told}");
    let adopting = [&["run", "night.toml", "--take-over", "--adopt"][..], &fresh].concat();
    let (code, told) = night.run(BEFORE, &adopting).await;
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("7 lines whose outputs were there already: done"), "{told}");
    assert_eq!(night.house.sandbox.books().calls, 9, "only what was missing");
    assert_eq!(night.text("2026/11/20", 3), "words of call 3");
    let notes: Vec<_> = night.report("nightly-calls-2026-11-20").iter().map(|row| row[20].to_owned()).collect();
    assert_eq!(notes.iter().filter(|note| *note == "adopted").count(), 7);
    let adopted = night.report("nightly-calls-2026-11-20");
    let texts: Vec<_> = adopted.iter().map(|row| row[22].to_owned()).collect();
    assert_eq!(texts, (0..8).map(|i| format!("words of call {i}")).collect::<Vec<_>>(), "no transcript is lost");
    assert!(adopted.iter().all(|row| !row[8].is_empty()), "nor a length: {adopted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_night_is_a_fault_unless_allowed_and_older_ones_are_finished_first() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..40);
    night.s3.put("acme-calls", "2026/11/21/1.json", "{}");
    night.run_killed().await;
    let (code, told) = night.run(AFTER, &["run", "night.toml"]).await;
    assert_eq!(code, 2, "{told}");
    for words in ["s3://acme-calls/2026/11/21/", "1 .json", "allow_empty", "nightly-calls-2026-11-20: finished"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert_eq!(night.report("nightly-calls-2026-11-20").len(), 40);
    let (code, told) = night.run(AFTER, &["run", "night.toml", "--allow-empty"]).await;
    assert_eq!(code, 0, "{told}");
    assert_eq!(night.report("nightly-calls-2026-11-21").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_that_vanish_change_or_are_archived_fail_their_lines() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..5);
    let (code, told) = night.run(BEFORE, &["submit", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");
    night.disturb();
    let (code, told) = night.run(BEFORE, &["work"]).await;
    assert_eq!(code, 1, "{told}");
    let kinds: Vec<_> =
        night.report("nightly-calls-2026-11-20").iter().map(|row| (row[3].to_owned(), row[18].to_owned())).collect();
    let kinds: Vec<_> = kinds.iter().map(|(status, kind)| format!("{status} {kind}")).collect();
    let expected =
        ["succeeded ", "failed source_missing", "failed source_changed", "failed source_archived", "succeeded "];
    assert_eq!(kinds, expected);
    assert_eq!(night.house.sandbox.books().billed, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_for_a_while_costs_no_call_and_no_line() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..100);
    let child = night.run_changed(|s3| s3.fault("", "", Fault::Status(503, "SlowDown"))).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    night.s3.lift();
    let (code, told) = ended(child).await;
    assert_eq!(code, 0, "{told}");
    (0..100).for_each(|i| assert_eq!(night.text("2026/11/20", i), format!("words of call {i}")));
    let books = night.house.sandbox.books();
    assert_eq!((books.contents.len(), books.most_billed()), (100, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_forbids_pauses_the_batch_and_the_same_command_goes_on() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..30);
    night.s3.fault("PUT", ".txt", Fault::Status(403, "AccessDenied"));
    let (code, told) = night.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("write") && told.contains("acme-transcripts"), "{told}");
    night.s3.lift();
    let (code, told) = night.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");
    let books = night.house.sandbox.books();
    assert_eq!((books.contents.len(), books.most_billed()), (30, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_refused_in_the_middle_pause_the_batch_and_blame_no_line() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..100);
    let child = night.run_changed(|s3| s3.fault("GET", ".wav", Fault::Status(403, "InvalidAccessKeyId"))).await;
    let (code, told) = ended(child).await;
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("credentials"), "{told}");
    night.s3.lift();
    let (code, told) = night.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");
    assert_eq!(night.report("nightly-calls-2026-11-20").len(), 100);
    assert_eq!(night.house.sandbox.books().most_billed(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_address_is_lent_to_the_vendor() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..3);
    night.house.write("night.toml", DEFINITION.replace("[run]", "send = \"url\"\n[run]"));
    let (code, told) = night.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");
    assert_eq!(night.text("2026/11/20", 2), "words of call 2");
    assert_eq!(night.s3.requests_about("GET", "X-Amz-Signature"), 3, "the vendor fetched them itself");
    let ledger = std::fs::read(night.house.path("wavebatch.db")).unwrap();
    assert!(!ledger.windows(15).any(|w| w == b"X-Amz-Signature"), "no signature is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_store_is_found_before_the_first_call() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..2);
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
        night.house.write("night.toml", &toml);
        let begun = Instant::now();
        let (code, told) = night.run(BEFORE, &["run", "night.toml"]).await;
        assert_eq!(code, expected, "{told}");
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}: {told}", begun.elapsed());
        words.iter().for_each(|word| assert!(told.contains(word), "{word}: {told}"));
        assert!(told.contains("hint:"), "{told}");
    }
    night.house.write("night.toml", DEFINITION);
    for (about, expected) in [("list-type", 2), ("summary.json", 3), (".wav", 3)] {
        night.s3.fault("", about, Fault::Status(403, "AccessDenied"));
        let (code, told) = night.run(BEFORE, &["run", "night.toml"]).await;
        assert_eq!(code, expected, "{told}");
        assert!(told.contains("does not allow it") && told.contains("hint:"), "{told}");
        night.s3.lift();
    }
    let mut command = night.command(BEFORE, &["run", "night.toml"]);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_EC2_METADATA_DISABLED"] {
        command.env_remove(name);
    }
    let begun = Instant::now();
    let (code, told) = ended(command.env("HOME", night.house.dir.path()).spawn().unwrap()).await;
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("no credentials") && told.contains("AWS_ACCESS_KEY_ID"), "{told}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(night.house.sandbox.books().calls, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_that_is_forbidden_in_the_middle_pauses_the_batch() {
    let night = Night::new().await;
    night.record("2026/11/20", 0..100);
    let child = night.run_changed(|s3| s3.fault("GET", ".wav", Fault::Status(403, "AccessDenied"))).await;
    let (code, told) = ended(child).await;
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("does not allow it"), "{told}");
    night.s3.lift();
    let (code, told) = night.run(BEFORE, &["run", "night.toml"]).await;
    assert_eq!(code, 0, "{told}");
    assert_eq!(night.report("nightly-calls-2026-11-20").len(), 100);
    assert_eq!(night.house.sandbox.books().most_billed(), 1);
}
