//! Reports that are written again after their answers were pruned.

use std::{fs, path::PathBuf};

use super::{
    publish::{PublishError, REPORT, ReportRequest, publish, put_blank_report, report_to},
    publish_tests::{Fixture, job},
    summary::SummaryState,
};
use crate::{
    domain::{cost::Rates, environment::Environment, facts::Facts, job::JobState},
    sink::Sink,
    store::{Chosen, Claimed, End, Finish, NewJob, ReportScope, Selection},
};

/// Texts that a CSV has to quote, and texts that a spreadsheet would read as formulas.
const TEXTS: [&str; 6] = ["=1+1", "'=1+1", "two\nlines, \"quoted\"", "+919812345678", "'plain", "-dash — “ü”\r\nnext"];

impl Fixture {
    fn out(&self, name: &str) -> PathBuf {
        self.dir.path().join("out").join(name)
    }

    fn report(&self) -> String {
        fs::read_to_string(self.out(REPORT)).unwrap()
    }

    async fn written(&self) -> Result<(), PublishError> {
        let sink = Sink::open(&self.spec.output, &self.spec.sink).unwrap();
        let row = self.store.batch_by_id(self.batch).await.unwrap();
        let rates = Rates::default();
        publish(&self.store, &row, (&self.spec, &crate::tasks::Transcribe), &sink, SummaryState::Finished, &rates)
            .await
            .map(|_| ())
    }

    /// Answers a line and settles it, with these addresses as its outputs.
    async fn finish_line(&self, job: &Claimed, text: &str, request_id: Option<&str>, outputs: &[&str]) {
        let call = self.permit(job).await;
        let body = serde_json::json!({"status": "success", "transcription": text}).to_string();
        let end = End::Answered {
            body: body.into(),
            from_log: false,
            request_id: request_id.map(str::to_owned),
            content_expiry: None,
            audio_ms: Some(60_000),
            cost: Some(5_000),
        };
        self.end(call, end).await;
        let addresses: Vec<_> = outputs.iter().map(|name| self.out(name).display().to_string()).collect();
        let finish = Finish {
            state: Some(JobState::Succeeded),
            facts: Facts { audio_ms: Some(60_000), ..Facts::default() },
            request_id: request_id.map(str::to_owned),
            outputs: (!outputs.is_empty()).then(|| serde_json::json!(addresses).to_string()),
            ..Finish::default()
        };
        self.settle(job, finish).await;
    }

    async fn prune(&self) {
        self.store.finish(self.batch).await.unwrap();
        assert!(self.store.prune(None, i64::MAX).await.unwrap().answers > 0);
    }

    /// This many finished lines, whose texts alternate.
    async fn done(lines: u64, request_ids: bool) -> Self {
        let w = Self::of(Environment::Live, (1..=lines).map(job).collect()).await;
        let _me = w.store.enlist("{}".into()).await.unwrap();
        for (nth, job) in w.claim(Environment::Live).await.iter().enumerate() {
            let id = format!("r{nth}");
            w.finish_line(job, TEXTS[nth % TEXTS.len()], request_ids.then_some(id.as_str()), &[]).await;
        }
        w
    }

    fn cells(&self, column: &str) -> Vec<String> {
        let report = self.report();
        let mut reader = csv::Reader::from_reader(report.as_bytes());
        let place = reader.headers().unwrap().iter().position(|name| name == column).unwrap();
        reader.records().map(|row| row.unwrap()[place].to_owned()).collect()
    }
}

#[tokio::test]
async fn what_is_pruned_stays_in_the_report() {
    for request_ids in [true, false] {
        let w = Fixture::done(150, request_ids).await;
        w.written().await.unwrap();
        let before = w.report();
        assert!(before.contains("'=1+1") && before.contains("two\nlines, \"\"quoted\"\""));
        w.prune().await;
        for _ in 0..2 {
            w.written().await.unwrap();
            assert!(w.report() == before, "ids: {request_ids}");
        }
        assert_eq!(fs::read_dir(w.store.spool()).unwrap().count(), 0, "nothing is left in the spool");
        // To another file, as `report -o` writes it.
        let row = w.store.batch_by_id(w.batch).await.unwrap();
        let all = ReportRequest {
            scope: ReportScope { with_dropped: true, ..ReportScope::default() },
            ..ReportRequest::default()
        };
        let elsewhere =
            report_to(&w.store, &row, (&w.spec, &crate::tasks::Transcribe), &all, Vec::new()).await.unwrap();
        assert!(elsewhere == before.as_bytes());
    }
}

#[tokio::test]
async fn one_more_carried_column_loses_nothing() {
    let mut w = Fixture::done(6, true).await;
    w.written().await.unwrap();
    let texts = w.cells("transcript");
    w.prune().await;
    w.spec.carried.insert(0, "transcript".into());
    w.written().await.unwrap();
    assert_eq!(w.cells("transcript"), texts);
    assert_eq!(w.cells("notes"), [""; 7]);
}

#[tokio::test]
async fn a_report_elsewhere_is_read_there_and_one_beside_the_outputs_too() {
    let mut w = Fixture::done(6, true).await;
    w.written().await.unwrap();
    let before = w.report();
    w.prune().await;
    let to = w.dir.path().join("bi/night.csv");
    w.spec.report_to = Some(to.display().to_string());
    w.written().await.unwrap();
    assert_eq!(fs::read_to_string(&to).unwrap(), before, "it moved");
    fs::remove_file(w.out(REPORT)).unwrap();
    w.written().await.unwrap();
    assert_eq!(fs::read_to_string(&to).unwrap(), before);
    assert!(!w.out(REPORT).exists());
    // The report moves once more.
    w.spec.report.former = Some(w.spec.report_address());
    w.spec.report_to = Some(w.dir.path().join("third.csv").display().to_string());
    w.written().await.unwrap();
    assert_eq!(fs::read_to_string(w.dir.path().join("third.csv")).unwrap(), before);
}

#[tokio::test]
async fn without_the_old_report_the_outputs_have_it() {
    let w = Fixture::of(Environment::Live, (1..=5).map(job).collect()).await;
    let _me = w.store.enlist("{}".into()).await.unwrap();
    let outputs: [&[&str]; 5] = [&["k1.srt", "k1.json"], &["k2.txt"], &["k3.vtt"], &["k4.json", "k4.txt"], &["k5.txt"]];
    for (job, outputs) in w.claim(Environment::Live).await.iter().zip(outputs) {
        w.finish_line(job, "from the ledger", Some("r"), outputs).await;
    }
    w.prune().await;
    fs::create_dir_all(w.out("")).unwrap();
    let json = serde_json::json!({"transcription": "=from json", "words": []}).to_string();
    fs::write(w.out("k1.json"), json).unwrap();
    fs::write(w.out("k2.txt"), "from txt\nof two lines\n").unwrap();
    fs::write(w.out("k3.vtt"), "WEBVTT\n").unwrap();
    fs::write(w.out("k4.json"), "no longer json").unwrap();
    fs::write(w.out("k4.txt"), "'from txt\n").unwrap();
    w.written().await.unwrap();
    let expected = ["'=from json", "from txt\nof two lines", "", "'from txt", "", ""];
    assert_eq!(w.cells("transcript"), expected);
    let pruned = ["", "", "answer_pruned", "", "answer_pruned", ""];
    assert_eq!(w.cells("notes"), pruned, "neither report nor output");
    // From now on the report has them.
    fs::remove_file(w.out("k1.json")).unwrap();
    w.written().await.unwrap();
    assert_eq!(w.cells("transcript"), expected);
    // If the output folder was moved, a file in the current output location is accepted.
    fs::remove_file(w.out(REPORT)).unwrap();
    let mut moved = w;
    fs::rename(moved.out(""), moved.dir.path().join("moved")).unwrap();
    moved.spec.output = moved.dir.path().join("moved").display().to_string();
    moved.written().await.unwrap();
    let report = fs::read_to_string(moved.dir.path().join("moved").join(REPORT)).unwrap();
    assert!(report.contains("from txt\nof two lines") && !report.contains("from json"), "{report}");
}

#[tokio::test]
async fn a_line_bought_again_after_pruning_has_its_new_transcript() {
    for request_ids in [[Some("r1"), Some("r2")], [None, None]] {
        let w = Fixture::of(Environment::Live, vec![job(1)]).await;
        let _me = w.store.enlist("{}".into()).await.unwrap();
        w.finish_line(&w.claim(Environment::Live).await[0], "the old words", request_ids[0], &[]).await;
        w.written().await.unwrap();
        w.prune().await;
        w.written().await.unwrap();
        assert_eq!(w.cells("transcript")[0], "the old words");
        let again = Chosen { batch: w.batch, lines: Selection::of_key("k1"), part: None, other_way: None };
        assert_eq!(w.store.retry(again).await.unwrap(), 1);
        w.finish_line(&w.claim(Environment::Live).await[0], "the new words", request_ids[1], &[]).await;
        let before_the_new = w.report();
        w.written().await.unwrap();
        assert_eq!(w.cells("transcript")[0], "the new words");
        w.prune().await;
        w.written().await.unwrap();
        assert_eq!(w.cells("transcript")[0], "the new words");
        // A report from before the new call has no row for it.
        fs::write(w.out(REPORT), before_the_new).unwrap();
        w.written().await.unwrap();
        assert_eq!((w.cells("transcript")[0].as_str(), w.cells("notes")[0].as_str()), ("", "answer_pruned"));
    }
}

#[tokio::test]
async fn what_was_adopted_keeps_its_words_length_and_request_id() {
    let lost = Fixture::done(3, true).await;
    lost.written().await.unwrap();
    let adopted = |line: u64, ending: &str| {
        let address = format!("/elsewhere/k{line}.{ending}");
        NewJob { adopted: Some(serde_json::json!([address]).to_string()), ..job(line) }
    };
    let lines = vec![adopted(1, "srt"), adopted(2, "srt"), job(3), adopted(4, "json"), adopted(5, "srt")];
    let w = Fixture::of(Environment::Live, lines).await;
    fs::create_dir_all(w.out("")).unwrap();
    fs::copy(lost.out(REPORT), w.out(REPORT)).unwrap();
    let json = serde_json::json!({"transcription": "four", "metadata": {"duration": 2.5}, "request_id": "r9"});
    fs::write(w.out("k4.json"), json.to_string()).unwrap();
    for _ in 0..2 {
        w.written().await.unwrap();
        assert_eq!(w.cells("transcript")[..5], ["'=1+1", "'=1+1", "", "four", ""]);
        assert_eq!(w.cells("request_id")[..5], ["r0", "r1", "", "r9", ""], "what is not done has none");
        assert_eq!(w.cells("audio_seconds")[..5], ["60.000", "60.000", "", "2.500", ""]);
        assert_eq!(w.cells("notes")[..5], ["adopted", "adopted", "", "adopted", "adopted"]);
        fs::remove_file(w.out("k4.json")).unwrap_or_default();
    }
}

#[tokio::test]
async fn an_old_report_that_cannot_be_read_is_left_as_it_is() {
    let w = Fixture::done(3, true).await;
    w.written().await.unwrap();
    let whole = w.report();
    w.prune().await;
    let cut = whole.lines().take(2).collect::<Vec<_>>().join("\n") + "\ncalls,3,k3\n";
    let bad: [Vec<u8>; 3] = [vec![0x1f, 0x8b, 8, 0, 0, 7, 7, 7], cut.into(), b"not,a,report\n1,2,3\n".to_vec()];
    for bytes in bad {
        fs::write(w.out(REPORT), &bytes).unwrap();
        let error = w.written().await.unwrap_err();
        assert!(matches!(error, PublishError::OldReport { .. }), "{error}");
        assert!(error.to_string().contains("report.csv"), "{error}");
        assert_eq!(fs::read(w.out(REPORT)).unwrap(), bytes, "it is left as it is");
    }
    let summary = fs::read_to_string(w.out("summary.json")).unwrap();
    assert!(summary.contains("\"state\": \"finished\""), "{summary}");
    // If every transcript is available elsewhere, losing the report loses nothing.
    fs::write(w.out(REPORT), "not,a,report\n").unwrap();
    (1..=3).for_each(|n| fs::write(w.out(&format!("k{n}.json")), r#"{"transcription":"kept"}"#).unwrap());
    assert!(w.written().await.is_err(), "the ledger knows no such outputs");
    fs::remove_file(w.out(REPORT)).unwrap();
    w.written().await.unwrap();
    assert_eq!(w.cells("notes")[..3], ["answer_pruned"; 3]);
}

#[tokio::test]
async fn an_unreadable_report_is_no_trouble_where_nothing_is_pruned() {
    let w = Fixture::done(3, true).await;
    fs::create_dir_all(w.out("")).unwrap();
    fs::write(w.out(REPORT), [0x1f, 0x8b, 8]).unwrap();
    w.written().await.unwrap();
    assert_eq!(w.cells("transcript")[..2], ["'=1+1", "'=1+1"]);
    let mut w = w;
    w.prune().await;
    fs::write(w.out(REPORT), [0x1f, 0x8b, 8]).unwrap();
    w.spec.report.transcript = false;
    w.written().await.unwrap();
    assert!(w.report().starts_with("batch,"), "nor where the report has no transcripts");
}

#[tokio::test]
async fn an_empty_transcript_that_is_known_is_none_that_is_lost() {
    let w = Fixture::of(Environment::Live, vec![job(1)]).await;
    let _me = w.store.enlist("{}".into()).await.unwrap();
    w.finish_line(&w.claim(Environment::Live).await[0], "", Some("r1"), &[]).await;
    w.written().await.unwrap();
    let before = w.report();
    w.prune().await;
    w.written().await.unwrap();
    assert_eq!(w.report(), before);
}

#[tokio::test]
async fn the_first_report_of_a_batch_is_written_over_nothing() {
    let mut w = Fixture::done(1, true).await;
    let to = w.dir.path().join("bi/night.csv");
    w.spec.report_to = Some(to.display().to_string());
    let sink = Sink::open(&w.spec.output, &w.spec.sink).unwrap();
    put_blank_report((&w.spec, &crate::tasks::Transcribe), &sink).await.unwrap();
    assert!(fs::read_to_string(&to).unwrap().starts_with("batch,line,key"), "a place that can be written");
    fs::write(&to, "somebody's").unwrap();
    put_blank_report((&w.spec, &crate::tasks::Transcribe), &sink).await.unwrap();
    assert_eq!(fs::read_to_string(&to).unwrap(), "somebody's");
    assert_eq!(fs::read_dir(to.parent().unwrap()).unwrap().count(), 1, "no trace of the trial");
    fs::remove_file(&to).unwrap();
    fs::create_dir(&to).unwrap();
    assert!(put_blank_report((&w.spec, &crate::tasks::Transcribe), &sink).await.is_err(), "a folder stands there");
}
