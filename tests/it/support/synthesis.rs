//! Batches of speech, put into the ledger by hand.

use std::path::PathBuf;

use serde_json::json;
use wavebatch::{
    domain::{
        batch::BatchSpec,
        environment::Environment,
        identity::Identity,
        job::BatchId,
        pool::Pool,
        synthesis::Synthesis,
        synthesis::{OutputFormat, Rendition, SynthesisOverrides},
    },
    store::{NewBatch, NewJob, NewSynthesis, Resubmission, Text},
};

use super::{Fixture, submit_lines};

/// How a batch of speech is asked for; its lines are each spoken in each format.
pub struct SynthesisSetup {
    pub name: &'static str,
    pub formats: Vec<OutputFormat>,
    /// Fields of `[run]`, as the ledger has them.
    pub run: serde_json::Value,
    /// Fields of `[synthesize]` that differ, as the ledger has them.
    pub synthesize: serde_json::Value,
    pub no_reuse: bool,
}

impl Default for SynthesisSetup {
    fn default() -> Self {
        Self {
            name: "book",
            formats: vec![format("wav", "24000")],
            run: json!({}),
            synthesize: json!({}),
            no_reuse: false,
        }
    }
}

/// A format by its name and rate.
pub fn format(name: &str, rate: &str) -> OutputFormat {
    serde_json::from_value(json!({ "format": name, "sample_rate": rate, "ending": name })).expect("a format")
}

impl Fixture {
    /// Submits lines of key and text.
    pub async fn speak(&self, setup: &SynthesisSetup, lines: &[(&str, &str)]) -> BatchId {
        let spec = self.spec(setup);
        let new = NewBatch {
            max_spend: spec.run.max_spend_usd.map(|usd| usd.0),
            concurrency: Some(spec.run.concurrency.unwrap_or(16)),
            ..NewBatch::of::<Synthesis>(setup.name, Environment::Live, (&spec).into())
        };
        let batch = self.store.begin(new, Resubmission::default()).await.expect("a ledger").batch;
        let mut jobs = Vec::new();
        for (line, (key, text)) in (1..).zip(lines) {
            let text = Text::new(*text);
            for format in &setup.formats {
                let rendition = Rendition {
                    overrides: SynthesisOverrides { voice_id: Some("avery".into()), ..SynthesisOverrides::default() },
                    format: format.clone(),
                    name: (*key).to_owned(),
                    captions: true,
                    no_reuse: setup.no_reuse,
                    left_out: None,
                };
                jobs.push(NewJob {
                    line,
                    key: (*key).to_owned(),
                    source: None,
                    source_id: text.id(),
                    options_id: Identity([1; 16]),
                    overrides: Some(serde_json::to_string(&rendition).expect("JSON")),
                    carried: None,
                    pool: Pool::Tts,
                    expected: None,
                    local: None,
                    adopted: None,
                    synthesis: Some(NewSynthesis { text: text.clone(), variant: rendition.variant() }),
                });
            }
        }
        submit_lines(&self.store, batch, &jobs).await;
        self.store.end_submit(batch).await.expect("a ledger");
        batch
    }

    fn spec(&self, setup: &SynthesisSetup) -> BatchSpec {
        let mut synthesize = json!({
            "options": { "model": "lightning_v3.1", "voice_id": "avery", "language": "en", "speed": 1000,
                "number_pronunciation_language": null, "math_notation": false, "expire_content": "false" },
            "voices": ["avery"], "formats": [], "name": "{key}", "part_chars": 60,
            "pause": { "sentence_ms": 0, "paragraph_ms": 600 }, "max_chars_per_second": 25.0, "captions": [],
            "dictionary": null, "transport": "auto",
        });
        let fields = synthesize.as_object_mut().expect("an object");
        fields.extend(setup.synthesize.as_object().expect("an object").clone());
        serde_json::from_value(json!({
            "definition": setup.name, "task": "synthesize", "asked": synthesize, "manifest": "m",
            "output": self.path("out"), "run": setup.run, "report": {}, "carried": [], "option_columns": [],
        }))
        .expect("a specification")
    }

    /// Whether a part with this text was bought and is kept.
    pub fn is_in_audio_cache(&self, setup: &SynthesisSetup, text: &str) -> bool {
        let spec = self.spec(setup);
        let synthesis = spec.task.read::<Synthesis>().expect("speech");
        let bought = setup.formats[0].bought();
        let cache_key = synthesis.cache_key(&synthesis.options, text, bought);
        self.store.clip_folder().expect("a folder").find(cache_key, bought.format).expect("an audio cache").is_some()
    }

    /// A file of the output.
    pub fn spoken(&self, name: &str) -> PathBuf {
        self.path("out").join(name)
    }
}

/// A text of `paragraphs` with three sentences each, all of them different.
pub fn prose(paragraphs: usize) -> String {
    let paragraph = |n| {
        format!(
            "Paragraph {n} begins here, as it must. It goes on for a while with {n} words. And then it comes to its end, number {n}."
        )
    };
    (1..=paragraphs).map(paragraph).collect::<Vec<_>>().join("\n\n")
}
