//! Reports of real ledgers, read back.

use std::collections::HashMap;

use super::{
    format::ReportFormat,
    publish::{REPORT, ReportRequest, publish, report_to},
    summary::{SpendReason, Summary, SummaryState},
};
use crate::{
    domain::{
        batch::{BatchSpec, ReportSettings, RunSettings},
        call::{ErrorKind, LogFlags},
        cost::{MicroUsd, Rates},
        environment::Environment,
        facts::Facts,
        identity::{Identity, source_identity},
        job::{BatchId, CallId, JobState, RequestFingerprint},
        length::Length,
        options::{TranscriptFormat, WebhookMode},
        pool::{Limits, Pool},
        row::RowStatus,
        talk::{SideTalk, Talk},
        task::TaskSpec,
        transcript::SuspectReason,
        transcription::Transcription,
    },
    sink::Sink,
    store::{
        BadJob, ClaimRequest, Claimed, End, Ended, Finish, NewBatch, NewJob, Opening, PermitRequest, Purchase,
        Resubmission, RowAnswer, Settlement, Store, To,
    },
};

pub(super) struct Fixture {
    pub(super) dir: tempfile::TempDir,
    pub(super) store: Store,
    pub(super) spec: BatchSpec,
    pub(super) batch: BatchId,
}

fn spec(output: String) -> BatchSpec {
    let options = serde_json::json!({"model": "pulse", "language": "en", "word_timestamps": false, "diarize": false,
        "redact_pii": false, "redact_pci": false, "redact": "strict", "emotion_detection": false, "gender_detection": false,
        "expire_content": "false", "allow_silence": false, "send": "auto"});
    BatchSpec {
        definition: "calls".into(),
        task: TaskSpec::of(&Transcription {
            options: serde_json::from_value(options).unwrap(),
            formats: vec![TranscriptFormat::Txt],
            webhook: WebhookMode::Auto,
            listening: Default::default(),
            live_speed: crate::domain::transcription::LIVE_SPEED,
        }),
        address: String::new(),
        queries: crate::domain::query::QueryRules::default(),
        manifest: "calls.csv".into(),
        output,
        run: RunSettings::default(),
        report: ReportSettings::default(),
        carried: vec!["who".into(), "key".into()],
        option_columns: vec![],
        source: Default::default(),
        private_redirects: false,
        sink: Default::default(),
        report_to: None,
        dated: false,
        manifest_hash: None,
    }
}

pub(super) fn job(line: u64) -> NewJob {
    let source = format!("https://me:secret@h.org/{line}.wav?Signature=x");
    NewJob {
        line,
        key: format!("k{line}"),
        source_id: source_identity(&source, &crate::domain::query::QueryRules::default()),
        source: Some(source),
        options_id: Identity([1; 16]),
        overrides: (line == 2).then(|| r#"{"language":"hi"}"#.to_owned()),
        carried: Some(format!(r#"["Ann {line}","=1+1"]"#)),
        pool: Pool::Pulse,
        expected: None,
        local: None,
        adopted: None,
        synthesis: None,
    }
}

impl Fixture {
    async fn new(environment: Environment, lines: u64) -> Self {
        Self::of(environment, (1..=lines).map(job).collect()).await
    }

    /// A ledger with these lines, and a bad one after them.
    pub(super) async fn of(environment: Environment, lines: Vec<NewJob>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Opening::new(dir.path().join("wavebatch.db"))).await.unwrap().0;
        let spec = spec(dir.path().join("out").display().to_string());
        let new = NewBatch::of::<Transcription>("calls", environment, (&spec).into());
        let batch = store.begin(new, Resubmission::default()).await.unwrap().batch;
        let bad = BadJob { line: lines.len() as u64 + 1, key: None, fault: "too few fields".into(), carried: None };
        store.submit(batch, lines, vec![bad]).await.unwrap();
        store.end_submit(batch).await.unwrap();
        Self { dir, store, spec, batch }
    }

    pub(super) async fn claim(&self, environment: Environment) -> Vec<Claimed> {
        let want = ClaimRequest { environment, calls: vec![(Pool::Pulse, 9_999)], ..ClaimRequest::default() };
        self.store.claim(want).await.unwrap()
    }

    pub(super) async fn permit(&self, job: &Claimed) -> CallId {
        let model = "pulse".to_owned();
        let request = RequestFingerprint {
            model,
            language: "en".into(),
            flags: LogFlags::default(),
            bytes: None,
            audio_ms: None,
            estimated_ms: None,
            keywords: Default::default(),
        };
        let ask = PermitRequest::new(
            job,
            "acc".into(),
            Pool::Pulse,
            Purchase::Transcript { length: Length::Exact(60_000), rate: MicroUsd(5_000) },
            request,
        );
        self.store.permit(ask).await.unwrap().unwrap().call
    }

    pub(super) async fn answer(&self, job: &Claimed, text: &str) {
        let call = self.permit(job).await;
        let body = serde_json::json!({"status": "success", "transcription": text}).to_string();
        let end = End::Answered {
            body: body.into(),
            from_log: false,
            request_id: None,
            content_expiry: None,
            audio_ms: Some(60_000),
            cost: Some(5_000),
        };
        self.end(call, end).await;
    }

    pub(super) async fn end(&self, call: CallId, end: End) {
        self.store.end(Ended { call, departed_at: None, limits: Limits::default(), end, pauses: None }).await.unwrap();
    }

    pub(super) async fn settle(&self, job: &Claimed, finish: Finish) {
        self.place(job, To::Finished(Box::new(finish))).await;
    }

    pub(super) async fn place(&self, job: &Claimed, to: To) {
        let settlement = Settlement { job: job.job, batch: job.batch, token: job.token, to };
        assert!(self.store.settle(settlement).await.unwrap());
    }

    pub(super) async fn publish(&self, state: SummaryState) -> (Summary, Vec<HashMap<String, String>>) {
        let sink = Sink::open(&self.spec.output, &self.spec.sink).unwrap();
        let row = self.store.batch_by_id(self.batch).await.unwrap();
        let summary =
            publish(&self.store, &row, (&self.spec, &crate::tasks::Transcribe), &sink, state, &Rates::default())
                .await
                .unwrap();
        let csv = sink.get(REPORT).await.unwrap().unwrap();
        let rows = csv::Reader::from_reader(csv.as_slice()).deserialize().collect::<Result<_, _>>().unwrap();
        (summary, rows)
    }
}

#[tokio::test]
async fn a_report_of_channels_has_the_figures_of_each_role() {
    let mut w = Fixture::new(Environment::Live, 2).await;
    let listening = serde_json::json!({ "channels": "auto", "roles": { "1": "agent", "2": "The Customer" } });
    let mut asked: Transcription = w.spec.task.read().unwrap();
    asked.listening = serde_json::from_value(listening).unwrap();
    w.spec.task = TaskSpec::of(&asked);
    let _me = w.store.enlist("{}".into()).await.unwrap();
    let jobs = w.claim(Environment::Live).await;
    let side = |name: &str, talk_ms, first_word_ms| SideTalk {
        name: name.into(),
        talk_ms,
        first_word_ms,
        words: 9,
        turns: 3,
        interruptions: 1,
    };
    let talk = Talk {
        sides: vec![side("agent", 12_340, Some(560)), side("The Customer", 0, None)],
        overlap_ms: 7,
        silence_ms: 2_000,
        longest_silence_ms: 1_500,
    };
    for (job, talk, note) in [(&jobs[0], Some(talk), None), (&jobs[1], None, Some("dual_mono".to_owned()))] {
        w.answer(job, "hi").await;
        let facts = Facts { talk, channels_note: note, ..Facts::default() };
        w.settle(job, Finish { state: Some(JobState::Succeeded), facts, ..Finish::default() }).await;
    }

    let (_, rows) = w.publish(SummaryState::Interrupted).await;
    let column = |name: &str| rows.iter().map(|row| row[name].as_str()).collect::<Vec<_>>();
    assert_eq!(column("silence_s"), ["2.000", "", ""]);
    assert_eq!(column("longest_silence_s")[0], "1.500");
    assert_eq!((column("overlap_s")[0], column("interruptions")[0], column("turns")[0]), ("0.007", "2", "6"));
    assert_eq!(column("channels_note"), ["", "dual_mono", ""]);
    assert_eq!((column("agent_talk_s")[0], column("agent_first_word_s")[0]), ("12.340", "0.560"));
    assert_eq!((column("the_customer_talk_s")[0], column("the_customer_first_word_s")[0]), ("0.000", ""));
    assert_eq!(column("who")[0], "Ann 1");

    let request = ReportRequest { format: ReportFormat::of_name("calls.jsonl").unwrap(), ..ReportRequest::default() };
    let row = w.store.batch_by_id(w.batch).await.unwrap();
    let of = (&w.spec, &crate::tasks::Transcribe as &dyn crate::report::ReportTask);
    let lines = report_to(&w.store, &row, of, &request, Vec::new()).await.unwrap();
    let first: serde_json::Value = serde_json::Deserializer::from_slice(&lines).into_iter().next().unwrap().unwrap();
    assert_eq!((&first["agent_talk_s"], &first["turns"]), (&12.34.into(), &6.into()));
    assert_eq!((&first["channels_note"], &first["who"]), (&serde_json::Value::Null, &"Ann 1".into()));
}

#[tokio::test]
async fn a_report_reads_back_with_everything_the_ledger_knows() {
    let w = Fixture::new(Environment::Sandbox, 4).await;
    let _me = w.store.enlist("{}".into()).await.unwrap();
    let jobs = w.claim(Environment::Sandbox).await;
    w.answer(&jobs[0], "hello, \"you\"\nthere").await;
    let well = Finish {
        state: Some(JobState::Succeeded),
        facts: Facts { audio_ms: Some(60_000), channels: Some(2), ..Facts::default() },
        units: Some(60_000),
        notes: Some("stereo;recovered;of_the_future".into()),
        outputs: Some(r#"["/out/k1.txt"]"#.into()),
        processing_ms: Some(120),
        ..Finish::default()
    };
    w.settle(&jobs[0], well).await;
    w.answer(&jobs[1], "").await;
    let suspect = Finish {
        state: Some(JobState::Suspect),
        error_kind: Some("empty".into()),
        notes: Some("empty".into()),
        ..Finish::default()
    };
    w.settle(&jobs[1], suspect).await;
    w.settle(&jobs[2], Finish::failed(ErrorKind::SourceMissing, "404".into())).await;

    let (summary, rows) = w.publish(SummaryState::Interrupted).await;
    let column = |name: &str| rows.iter().map(|row| row[name].as_str()).collect::<Vec<_>>();
    assert_eq!(column("key"), ["k1", "k2", "k3", "k4", "line-000005"]);
    assert_eq!(column("status"), ["succeeded", "suspect", "failed", "running", "failed"]);
    assert_eq!(column("source")[0], "https://h.org/1.wav", "neither user nor signature");
    assert_eq!(column("outputs")[..2], [r#"["/out/k1.txt"]"#, "[]"]);
    assert_eq!(column("language"), ["en", "hi", "en", "en", ""]);
    assert_eq!(column("audio_seconds")[..2], ["60.000", ""]);
    assert_eq!(column("cost_usd")[1..3], ["0.005000", "0.000000"]);
    assert_eq!(column("error_kind"), ["", "", "source_missing", "", "bad_line"]);
    assert_eq!(column("notes")[..3], ["sandbox;stereo;recovered", "sandbox;empty", "sandbox"]);
    assert_eq!(column("transcript")[0], "hello, \"you\"\nthere");
    assert_eq!((column("who")[0], column("manifest_key")[0], column("who")[4]), ("Ann 1", "'=1+1", ""));

    let on_disk: Summary =
        serde_json::from_slice(&std::fs::read(w.dir.path().join("out/summary.json")).unwrap()).unwrap();
    assert_eq!(on_disk, summary);
    assert_eq!((summary.count(RowStatus::Succeeded), summary.count(RowStatus::Failed), summary.total()), (1, 2, 5));
    let missing = summary.failures.iter().find(|f| f.kind == ErrorKind::SourceMissing).unwrap();
    assert_eq!((missing.count, missing.key.as_str(), missing.error.as_str()), (1, "k3", "404"));
    assert_eq!(summary.suspects[0].reason, SuspectReason::Empty);
    assert_eq!((summary.calls, summary.billed_calls, summary.spend.total_usd), (2, 2, MicroUsd(10_000)));
    assert_eq!(summary.spend.by_reason[&SpendReason::FirstCall], MicroUsd(10_000));
    assert!(summary.ledger.newest_call.is_some());
    assert_eq!(std::fs::read_dir(w.store.spool()).unwrap().count(), 0, "nothing is left in the spool");
}

#[tokio::test]
async fn an_answer_that_was_pruned_is_noted() {
    let w = Fixture::new(Environment::Live, 1).await;
    let _me = w.store.enlist("{}".into()).await.unwrap();
    let job = w.claim(Environment::Live).await.remove(0);
    w.answer(&job, "hi").await;
    w.settle(&job, Finish { state: Some(JobState::Succeeded), ..Finish::default() }).await;
    assert_eq!(w.publish(SummaryState::Finished).await.1[0]["notes"], "");
    w.store.finish(w.batch).await.unwrap();
    w.store.prune(None, i64::MAX).await.unwrap();
    std::fs::remove_file(w.dir.path().join("out").join(REPORT)).unwrap();
    let (_, rows) = w.publish(SummaryState::Finished).await;
    assert_eq!((rows[0]["notes"].as_str(), rows[0]["transcript"].as_str()), ("answer_pruned", ""));
}

#[tokio::test]
async fn long_answers_stand_between_short_ones() {
    let w = Fixture::new(Environment::Live, 4).await;
    let _me = w.store.enlist("{}".into()).await.unwrap();
    // Numbers compress badly.
    let long: String = (1..60_000_u64).map(|n| (n * n * 2_654_435_761 % 1_000_003).to_string() + " ").collect();
    let texts = [long.as_str(), "short", &long[1..], "last"];
    for (job, text) in w.claim(Environment::Live).await.iter().zip(texts) {
        w.answer(job, text).await;
        w.settle(job, Finish { state: Some(JobState::Succeeded), ..Finish::default() }).await;
    }
    let page = w.store.report_page(w.batch, (0, 0), 9, true).await.unwrap();
    let is_apart: Vec<_> = page.iter().map(|row| matches!(row.answer, Some(RowAnswer::Apart(_)))).collect();
    assert_eq!(is_apart, [true, false, true, false, false]);
    let (_, rows) = w.publish(SummaryState::Finished).await;
    let written: Vec<_> = rows.iter().map(|row| row["transcript"].as_str()).collect();
    assert!(written == [texts[0], texts[1], texts[2], texts[3], ""]);
    assert!(rows.iter().all(|row| row["notes"].is_empty()));
}

#[tokio::test]
async fn pages_meet_without_a_gap() {
    for transcript in [true, false] {
        let mut w = Fixture::new(Environment::Live, 2_099).await;
        w.spec.report.transcript = transcript;
        let row = w.store.batch_by_id(w.batch).await.unwrap();
        let csv =
            report_to(&w.store, &row, (&w.spec, &crate::tasks::Transcribe), &ReportRequest::default(), Vec::new())
                .await
                .unwrap();
        let mut reader = csv::Reader::from_reader(csv.as_slice());
        let lines: Vec<u64> = reader.records().map(|r| r.unwrap()[1].parse().unwrap()).collect();
        assert_eq!(lines, (1..=2_100).collect::<Vec<_>>());
    }
}
