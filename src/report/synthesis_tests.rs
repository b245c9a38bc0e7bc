//! Reports of a synthesis, read back.

use std::collections::HashMap;

use super::{
    publish::{REPORT, publish},
    summary::{Summary, SummaryState, SynthesisSummary},
};
use crate::{
    domain::{
        batch::BatchSpec,
        call::LogFlags,
        cost::{MicroUsd, Rates},
        environment::Environment,
        facts::Facts,
        identity::{Identity, text_identity},
        job::{JobState, RequestFingerprint},
        pool::{Limits, Pool},
        synthesis::Synthesis,
    },
    sink::Sink,
    store::{
        BadJob, ClaimRequest, Claimed, Clip, End, Ended, Finish, NewBatch, NewJob, NewSynthesis, Opening,
        PermitRequest, Purchase, Resubmission, Settlement, Store, Text, To,
    },
};

/// Prompts in two formats, the third of which is a bad line.
struct Prompts {
    _dir: tempfile::TempDir,
    store: Store,
    spec: BatchSpec,
}

fn spec(output: &str) -> BatchSpec {
    serde_json::from_value(serde_json::json!({
        "definition": "ivr", "task": "synthesize", "manifest": "prompts.csv", "output": output,
        "asked": {
            "options": { "model": "lightning_v3.1", "voice_id": "avery", "language": null, "speed": 1000,
                "number_pronunciation_language": null, "math_notation": false, "expire_content": "false" },
            "voices": ["avery"],
            "formats": [{ "format": "wav", "sample_rate": "24000", "ending": "wav" },
                { "format": "ulaw", "sample_rate": "8000", "ending": "ul" }],
            "name": "{key}", "part_chars": 250, "pause": { "sentence_ms": 0, "paragraph_ms": 600 },
            "max_chars_per_second": 25.0, "captions": [], "dictionary": null, "transport": "auto",
        },
        "run": {}, "report": {}, "carried": ["model", "note"], "option_columns": [],
    }))
    .unwrap()
}

fn job(line: u64, own: &str, format: &str, rate: &str, ending: &str) -> NewJob {
    let text = Text::new(format!("This is prompt {line}."));
    let format_json = format!(r#"{{"format":"{format}","sample_rate":"{rate}","ending":"{ending}"}}"#);
    NewJob {
        line,
        key: format!("=k{line}"),
        source: None,
        source_id: text.id(),
        options_id: Identity([1; 16]),
        overrides: Some(format!(r#"{{"voice_id":"avery"{own},"format":{format_json},"name":"=k{line}"}}"#)),
        carried: Some(format!(r#"["mine","+{line}"]"#)),
        pool: Pool::Tts,
        expected: None,
        local: None,
        adopted: None,
        synthesis: Some(NewSynthesis { text, variant: format!("avery|{format}|{rate}") }),
    }
}

impl Prompts {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Opening::new(dir.path().join("wavebatch.db"))).await.unwrap().0;
        let spec = spec(&dir.path().join("out").display().to_string());
        let new = NewBatch::of::<Synthesis>("ivr", Environment::Live, (&spec).into());
        let batch = store.begin(new, Resubmission::default()).await.unwrap().batch;
        let own = r#","language":"hi","model":"lightning_v3.1_pro""#;
        let jobs = vec![
            job(1, "", "wav", "24000", "wav"),
            job(1, "", "ulaw", "8000", "ul"),
            job(2, own, "wav", "24000", "wav"),
        ];
        let bad = BadJob { line: 3, key: None, fault: "its text is blank".into(), carried: None };
        store.submit(batch, jobs, vec![bad]).await.unwrap();
        store.end_submit(batch).await.unwrap();
        Self { _dir: dir, store, spec }
    }

    async fn buy(&self, job: &Claimed, model: &str) {
        let text = format!("This is prompt {}.", job.job.0);
        let clip = Clip {
            cache_key: text_identity(&text),
            looked_at: 0,
            characters: 17,
            cost: MicroUsd(332),
            respects_manual_review: false,
        };
        let flags = LogFlags::default();
        let ask = PermitRequest::new(
            job,
            "acc".into(),
            Pool::Tts,
            Purchase::Clip(clip),
            RequestFingerprint {
                model: model.into(),
                language: String::new(),
                flags,
                bytes: None,
                audio_ms: None,
                estimated_ms: None,
                keywords: Default::default(),
            },
        );
        let call = self.store.permit(ask).await.unwrap().unwrap().call;
        let end = End::Synthesized {
            object: None,
            bytes: 48_000,
            found: false,
            request_id: Some("r-1".into()),
            content_expiry: None,
        };
        self.store.end(Ended { call, departed_at: None, limits: Limits::default(), end, pauses: None }).await.unwrap();
    }

    async fn settle(&self, job: &Claimed, finish: Finish) {
        let to = To::Finished(Box::new(finish));
        assert!(self.store.settle(Settlement { job: job.job, batch: job.batch, token: job.token, to }).await.unwrap());
    }

    async fn publish(&self) -> (String, Summary) {
        let sink = Sink::open(&self.spec.output, &self.spec.sink).unwrap();
        let row = self.store.batch("ivr").await.unwrap().unwrap();
        let state = SummaryState::Running;
        let summary =
            publish(&self.store, &row, (&self.spec, &crate::tasks::Synthesize), &sink, state, &Rates::default())
                .await
                .unwrap();
        (String::from_utf8(sink.get(REPORT).await.unwrap().unwrap().to_vec()).unwrap(), summary)
    }
}

#[tokio::test]
async fn a_report_of_speech_has_a_row_for_each_output() {
    let p = Prompts::new().await;
    let _me = p.store.enlist("{}".into()).await.unwrap();
    let want = ClaimRequest { environment: Environment::Live, calls: vec![(Pool::Tts, 9)], ..ClaimRequest::default() };
    let jobs = p.store.claim(want).await.unwrap();
    p.buy(&jobs[0], "lightning_v3.1").await;
    let well = Finish {
        state: Some(JobState::Succeeded),
        facts: Facts { audio_ms: Some(1_130), parts: Some(1), reused_parts: Some(0), ..Facts::default() },
        units: Some(17),
        request_id: Some("r-1".into()),
        notes: Some("paid_again".into()),
        outputs: Some(r#"["/out/=k1.wav"]"#.into()),
        processing_ms: Some(120),
        ..Finish::default()
    };
    p.settle(&jobs[0], well).await;
    p.buy(&jobs[2], "lightning_v3.1_pro").await;
    let short = Finish {
        state: Some(JobState::Suspect),
        error_kind: Some("too_short".into()),
        facts: Facts { audio_ms: Some(20), parts: Some(3), reused_parts: Some(2), ..Facts::default() },
        units: Some(17),
        notes: Some("too_short".into()),
        ..Finish::default()
    };
    p.settle(&jobs[2], short).await;

    let (report, summary) = p.publish().await;
    let header = report.lines().next().unwrap();
    assert_eq!(
        header,
        "batch,line,key,output_name,status,outputs,model,language,voice_id,output_format,sample_rate,characters,audio_seconds,parts,\
         reused_parts,tries,billed_calls,cost_usd,request_id,submitted_at,started_at,finished_at,processing_ms,error_kind,error,notes,wanted,left_out,\
         manifest_model,note"
    );
    let rows: Vec<HashMap<String, String>> =
        csv::Reader::from_reader(report.as_bytes()).deserialize().collect::<Result<_, _>>().unwrap();
    let column = |name: &str| rows.iter().map(|row| row[name].as_str()).collect::<Vec<_>>();
    assert_eq!(column("output_name"), ["'=k1.wav", "'=k1.ul", "'=k2.wav", ""]);
    assert_eq!(column("status"), ["succeeded", "running", "suspect", "failed"]);
    assert_eq!(column("model"), ["lightning_v3.1", "lightning_v3.1", "lightning_v3.1_pro", ""]);
    assert_eq!(column("language"), ["", "", "hi", ""], "empty where none is set");
    assert_eq!(column("voice_id"), ["avery", "avery", "avery", ""]);
    assert_eq!(column("output_format"), ["wav", "ulaw", "wav", ""]);
    assert_eq!(column("sample_rate"), ["24000", "8000", "24000", ""]);
    assert_eq!(column("characters"), ["17", "17", "17", ""]);
    assert_eq!(column("audio_seconds"), ["1.130", "", "0.020", ""]);
    assert_eq!((column("parts"), column("reused_parts")), (vec!["1", "", "3", ""], vec!["0", "", "2", ""]));
    assert_eq!(column("notes"), ["paid_again", "", "too_short", ""], "answers of speech are files: none is pruned");
    assert_eq!(column("error_kind")[3], "bad_line");
    assert_eq!((column("manifest_model")[0], column("note")[0]), ("mine", "+1"));

    assert_eq!(summary.synthesis, Some(SynthesisSummary { characters: 34, parts: 4, reused_parts: 2 }));
    assert!((summary.audio_seconds - 1.15).abs() < 1e-9);
    let by_model: Vec<_> = summary.spend.by_model.iter().map(|(model, cost)| (model.as_str(), *cost)).collect();
    assert_eq!(by_model, [("lightning_v3.1", MicroUsd(332)), ("lightning_v3.1_pro", MicroUsd(332))]);
    let json = summary.to_json();
    assert_eq!(serde_json::from_slice::<Summary>(&json).unwrap(), summary);
    assert!(String::from_utf8(json).unwrap().contains("\"reused_parts\": 2"));
}
