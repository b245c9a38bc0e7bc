//! Reports that are written again: what they had, they have.

use std::{fs, path::Path};

use crate::{
    cli::{code, run, stderr},
    dated_batch::{BEFORE, DEFINITION, DatedBatch, ended},
    support::{s3::Fault, synthesis},
};

const BATCH: &str = "nightly-calls-2026-11-20";
const REPORT: &str = "calls/nightly-calls-2026-11-20.csv";

impl DatedBatch {
    async fn well(&self, args: &[&str]) -> String {
        let (code, message) = self.run(BEFORE, args).await;
        assert_eq!(code, 0, "{args:?}: {message}");
        message
    }

    fn csv(&self) -> Vec<u8> {
        self.s3.get("acme-bi", REPORT).expect("a report").to_vec()
    }

    fn transcripts(&self) -> Vec<String> {
        self.report(BATCH).iter().map(|row| row[23].to_owned()).collect()
    }
}

fn words(calls: std::ops::Range<usize>) -> Vec<String> {
    calls.map(|i| format!("words of call {i}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_in_a_bucket_keeps_what_it_had_when_answers_are_pruned() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..20);
    dated.well(&["run", "night.toml"]).await;
    let before = dated.csv();
    dated.well(&["prune", "--older-than", "0s"]).await;
    for args in [&["run", "night.toml"][..], &["report", BATCH]] {
        dated.well(args).await;
        assert!(dated.csv() == before, "{args:?}");
    }
    assert_eq!(dated.s3.requests_about("GET", ".txt"), 0, "one report is read, and not every output");

    dated.s3.remove("acme-bi", REPORT);
    dated.well(&["report", BATCH]).await;
    assert!(dated.csv() == before, "from the outputs");
    dated.s3.remove("acme-transcripts", "2026/11/20/3_ann_1763625603.txt");
    dated.s3.fault("GET", REPORT, Fault::Status(403, "AccessDenied"));
    let (code, message) = dated.run(BEFORE, &["report", BATCH]).await;
    assert_eq!(code, 3, "{message}");
    for words in [&format!("s3://acme-bi/{REPORT} is left as it is"), "hint:", "does not allow it"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    assert!(dated.csv() == before, "it is left as it is");
    dated.s3.lift();
    dated.s3.remove("acme-bi", REPORT);
    let (code, message) = dated.run(BEFORE, &["report", BATCH]).await;
    assert_eq!(code, 1, "the output that is gone is told: {message}");
    assert!(
        message.contains("3_ann_1763625603.txt")
            && message.contains("--key 3_ann_1763625603 ")
            && message.contains("  pays for one again"),
        "{message}"
    );
    let mut expected = words(0..20);
    let lost = dated.report(BATCH).iter().position(|row| &row[20] == "answer_pruned").expect("neither has it");
    assert!(dated.report(BATCH)[lost][2].starts_with("3_"), "{:?}", dated.report(BATCH)[lost]);
    expected[3] = String::new();
    let (mut had, _) = (dated.transcripts(), expected.sort());
    had.sort();
    assert_eq!(had, expected);
    assert_eq!(dated.fixture.sandbox.books().billed, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_ledger_writes_over_no_report_before_it_has_read_it() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..5);
    dated.fixture.write("night.toml", DEFINITION.replace("[\"txt\"]", "[\"srt\", \"vtt\"]"));
    dated.well(&["run", "night.toml"]).await;
    let before = dated.transcripts();
    let message = dated.well(&["submit", "night.toml", "--take-over", "--adopt", "--database", "fresh.db"]).await;
    assert!(message.contains("nothing is left to do") && !message.contains("wavebatch work"), "{message}");
    assert_eq!(dated.transcripts(), before, "submitting leaves it as it is");
    assert_eq!(dated.s3.uploads(), 0, "and nothing is left of the trial");
    dated.well(&["report", BATCH, "--database", "fresh.db"]).await;
    assert_eq!(dated.transcripts(), before, "the old report is the only one that has them");
    assert_eq!(dated.fixture.sandbox.books().billed, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_goes_to_the_store_of_the_sink_wherever_the_outputs_go() {
    let dated = DatedBatch::new().await;
    dated.record("2026/11/20", 0..2);
    let endpoint = dated.s3.endpoint().to_owned();
    let source = format!("[source]\nendpoint_url = \"{endpoint}\"\n");
    let own = |table: &str| format!("{table}\nendpoint_url = \"{endpoint}\"");
    let run = async |toml: String, args: &[&str]| {
        dated.fixture.write("night.toml", toml);
        let mut command = dated.command(BEFORE, &[&["run", "night.toml", "--again"][..], args].concat());
        let message = ended(command.env_remove("AWS_ENDPOINT_URL_S3").spawn().expect("the program")).await;
        assert_eq!(message.0, 0, "{}", message.1);
        message.1
    };
    let directory = |batch: &str| dated.fixture.path(batch).display().to_string();
    let elsewhere = directory("out-1");
    let sink = format!("{source}{}", own("[sink]"));
    let toml = DEFINITION.replace("[sink]", &sink);
    let message = run(toml.clone(), &["--output", &elsewhere, "--batch", "one"]).await;
    assert!(message.contains("s3://acme-bi/calls/one.csv"), "{message}");
    assert_eq!(dated.report("one").len(), 2);
    assert_eq!(dated.s3.stored("acme-bi", "calls/one.csv").unwrap().sse.as_deref(), Some("AES256"));

    let toml = DEFINITION
        .replace("[sink]\nsse = \"AES256\"\n", &source)
        .replace("s3://acme-transcripts/{date:%Y/%m/%d}/", "out-2")
        .replace("[report]", &own("[report]"));
    run(toml.clone(), &["--batch", "two"]).await;
    assert_eq!(dated.report("two").len(), 2);
    assert_eq!(
        dated.s3.stored("acme-bi", "calls/two.csv").unwrap().sse,
        None,
        "a store of its own keeps it as it does"
    );

    let path = directory("here/three.csv");
    run(toml.clone(), &["--batch", "three", "--output", "out-3", "--report", "here/{batch}.csv"]).await;
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
    run(toml, &["--batch", "four", "--output", "out-4", "--report", "s3://acme-bi/calls/four.csv"]).await;
    assert_eq!(dated.report("four").len(), 2);
    let mut command = dated.command(BEFORE, &["report", "four", "--report", "s3://acme-bi/calls/five.csv"]);
    let (code, message) = ended(command.env_remove("AWS_ENDPOINT_URL_S3").spawn().expect("the program")).await;
    assert_eq!(code, 0, "{message}");
    assert_eq!(dated.report("five").len(), 2);
}

fn recordings(dir: &Path, n: usize, column: Option<&str>) {
    let mut manifest = format!("key,source{}\n", column.map(|name| format!(",{name}")).unwrap_or_default());
    fs::create_dir_all(dir.join("rec")).expect("a folder");
    for i in 1..=n {
        let file = format!("rec/{i}.wav");
        if !dir.join(&file).exists() {
            fs::write(dir.join(&file), synthesis(&format!("words of call {i}"), 1.0, i)).expect("a recording");
        }
        manifest.push_str(&format!("call-{i},{file}{}\n", column.map(|_| format!(",agent {i}")).unwrap_or_default()));
    }
    fs::write(dir.join("calls.csv"), manifest).expect("a manifest");
}

const RUN: [&str; 8] = ["calls.csv", "--task", "transcribe", "--model", "pulse", "--language", "en", "--sandbox"];

fn well(dir: &Path, verb: &str, more: &[&str]) -> String {
    let output = run(dir, &[&[verb][..], &RUN, more].concat());
    assert_eq!(code(&output), 0, "{verb} {more:?}: {}", stderr(&output));
    stderr(&output) + &String::from_utf8_lossy(&output.stdout)
}

fn column(dir: &Path, name: &str) -> Vec<String> {
    let mut report = csv::Reader::from_path(dir.join("sandbox-out/calls/report.csv")).expect("a report");
    let place = report.headers().unwrap().iter().position(|column| column == name).expect("that column");
    report.records().map(|row| row.unwrap()[place].to_owned()).collect()
}

#[test]
fn one_more_column_and_another_ledger_lose_no_transcript() {
    let dir = tempfile::tempdir().unwrap();
    recordings(dir.path(), 3, None);
    well(dir.path(), "run", &["--formats", "srt"]);
    let before = column(dir.path(), "transcript");
    assert_eq!(before, ["words of call 1", "words of call 2", "words of call 3"]);
    let pruned = run(dir.path(), &["prune", "--older-than", "0s", "--sandbox"]);
    assert_eq!(code(&pruned), 0, "{}", stderr(&pruned));
    let report = dir.path().join("sandbox-out/calls/report.csv");
    let whole = fs::read(&report).unwrap();
    well(dir.path(), "run", &["--formats", "srt", "--report", "elsewhere/{batch}.csv"]);
    assert!(fs::read(dir.path().join("elsewhere/calls.csv")).unwrap() == whole);
    fs::remove_file(&report).unwrap();
    well(dir.path(), "run", &["--formats", "srt"]);
    assert!(fs::read(&report).unwrap() == whole, "there and back again");
    recordings(dir.path(), 4, Some("agent"));
    well(dir.path(), "run", &["--formats", "srt"]);
    assert_eq!(column(dir.path(), "transcript")[..3], before);
    assert_eq!(column(dir.path(), "transcript")[3], "words of call 4", "what is new is there too");
    assert_eq!(column(dir.path(), "agent"), ["agent 1", "agent 2", "agent 3", "agent 4"]);

    fs::remove_file(dir.path().join("wavebatch-sandbox.db")).expect("a ledger");
    fs::remove_dir_all(dir.path().join("wavebatch-sandbox.db-spool")).expect("its spool");
    let adopting = ["--formats", "srt", "--adopt", "--take-over"];
    well(dir.path(), "run", &adopting);
    assert_eq!(column(dir.path(), "notes"), ["sandbox;adopted"; 4]);
    assert_eq!(column(dir.path(), "transcript")[..3], before);
    assert_eq!(column(dir.path(), "audio_seconds")[..3], ["1.000"; 3]);
}

#[test]
fn a_report_that_does_not_read_is_left_and_told() {
    let dir = tempfile::tempdir().unwrap();
    recordings(dir.path(), 2, None);
    well(dir.path(), "run", &["--formats", "srt"]);
    run(dir.path(), &["prune", "--older-than", "0s", "--sandbox"]);
    let report = dir.path().join("sandbox-out/calls/report.csv");
    let gzipped = [0x1f_u8, 0x8b, 8, 0, 1, 2, 3];
    fs::write(&report, gzipped).unwrap();
    for args in [&["report", "calls", "--sandbox"][..], &[&["run"][..], &RUN, &["--formats", "srt"]].concat()] {
        let output = run(dir.path(), args);
        assert_eq!(code(&output), 3, "{args:?}: {}", stderr(&output));
        let message = stderr(&output);
        assert!(message.contains("report.csv is left as it is") && message.contains("hint:"), "{message}");
        assert_eq!(fs::read(&report).unwrap(), gzipped);
    }
    fs::rename(&report, dir.path().join("report.csv.gz")).unwrap();
    let output = run(dir.path(), &["report", "calls", "--sandbox"]);
    assert_eq!(code(&output), 0, "what the hint says: {}", stderr(&output));
}

#[test]
fn captions_of_lines_without_word_times_are_told_before_and_no_line_is_suspect() {
    let dir = tempfile::tempdir().unwrap();
    recordings(dir.path(), 3, None);
    well(dir.path(), "run", &["--formats", "json", "--word-timestamps=false"]);
    let more = ["--formats", "json,srt", "--word-timestamps=false"];
    let message = "3 lines bought without word times: their captions share the length out";
    let check = well(dir.path(), "check", &more);
    assert!(check.contains(message), "{check}");
    let run = well(dir.path(), "run", &more);
    assert!(run.contains(message), "{run}");
    assert_eq!(column(dir.path(), "status"), ["succeeded"; 3]);
    assert_eq!(column(dir.path(), "notes"), ["sandbox;words_not_asked"; 3]);
    let srt = fs::read_to_string(dir.path().join("sandbox-out/calls/call-1.srt")).unwrap();
    assert!(srt.contains("words of call 1"), "{srt}");
    for quiet in [well(dir.path(), "check", &more), well(dir.path(), "run", &more)] {
        assert!(!quiet.contains("without word times"), "nothing is done anew: {quiet}");
    }
    recordings(dir.path(), 4, None);
    well(dir.path(), "run", &more);
    assert_eq!(column(dir.path(), "notes")[3], "sandbox", "what is bought with captions has word times");
}

crate::support::server::on_postgres_in_the_gate! {
    a_report_in_a_bucket_keeps_what_it_had_when_answers_are_pruned,
    a_new_ledger_writes_over_no_report_before_it_has_read_it,
    a_report_goes_to_the_store_of_the_sink_wherever_the_outputs_go,
}
