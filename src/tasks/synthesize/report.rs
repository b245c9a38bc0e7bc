//! The report of a synthesis.

use super::Synthesize;
use crate::{
    domain::{
        cost::Rates,
        cut::Part,
        identity::Identity,
        pool::Pool,
        synthesis::{Rendition, Synthesis},
        synthesis_options::TtsModel,
        task::{SpecError, TaskSpec},
    },
    report::{
        BatchRequest, JobRequest, OwnColumn, ReportTask, RequestedPart, RequestedParts,
        row::{Column, OwnCell},
        words::{counted, dollars, unpriced},
    },
    store::{Field, ReportRow, Retried},
};

const COLUMNS: &[Column] = &[
    Column::Batch,
    Column::Line,
    Column::Key,
    Column::OutputName,
    Column::Status,
    Column::Outputs,
    Column::Model,
    Column::Language,
    Column::VoiceId,
    Column::OutputFormat,
    Column::SampleRate,
    Column::Characters,
    Column::AudioSeconds,
    Column::Parts,
    Column::ReusedParts,
    Column::Tries,
    Column::BilledCalls,
    Column::CostUsd,
    Column::RequestId,
    Column::SubmittedAt,
    Column::StartedAt,
    Column::FinishedAt,
    Column::ProcessingMs,
    Column::ErrorKind,
    Column::Error,
    Column::Notes,
    Column::Wanted,
    Column::Text,
];

const OWN_COLUMNS: &[OwnColumn] = &[("left_out", "What of the text's file is not spoken, e.g. `1 table, 2 images`.")];

impl ReportTask for Synthesize {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn own_columns(&self) -> &'static [OwnColumn] {
        OWN_COLUMNS
    }

    fn batch(&self, spec: &TaskSpec) -> Result<Box<dyn BatchRequest>, SpecError> {
        Ok(Box::new(spec.read::<Synthesis>()?))
    }

    fn invented(&self) -> &'static str {
        "audio is invented"
    }

    fn gone(&self) -> &'static str {
        " of the batch belonging to lines that are gone, or to voices, formats or languages that are not asked for any more"
    }
}

impl BatchRequest for Synthesis {
    fn own_columns(&self) -> Vec<String> {
        OWN_COLUMNS.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    fn job(&self, job: &ReportRow) -> JobRequest {
        job.overrides.as_deref().and_then(rendition).map(|own| request(self, own)).unwrap_or_default()
    }

    fn parts(&self, overrides: &str, text: &str, rates: &Rates) -> Option<RequestedParts> {
        let own = rendition(overrides)?;
        let (options, clip) = (own.overrides.apply(&self.options), own.format.bought());
        let cut: Vec<Part> = self.parts(&options, text).collect();
        let pauses = self.pause.after(&cut);
        let requested = |(part, pause_ms): (Part, u32)| RequestedPart {
            cache_key: self.cache_key(&options, &part.text, clip),
            cost: rates.synthesis_cost(options.model, part.chars() as u64),
            part,
            pause_ms,
        };
        let parts = cut.into_iter().zip(pauses).map(requested).collect();
        Some(RequestedParts { request: request(self, own), clip, parts })
    }

    fn usable_cache_keys(&self, overrides: &str, text: &str) -> Vec<Identity> {
        match rendition(overrides) {
            Some(own) if !own.no_reuse => self.cache_keys(&own, text).map(|(_, cache_key)| cache_key).collect(),
            // A text that is to be synthesized again does not need its old clips.
            _ => Vec::new(),
        }
    }

    fn field_of(&self, column: Column) -> Option<Field> {
        let (path, default): (&[&str], _) = match column {
            Column::Model => (&["model"], Some(self.options.model.as_str())),
            Column::Language => (&["language"], self.options.language.as_ref().map(|language| language.as_str())),
            Column::VoiceId => (&["voice_id"], None),
            Column::OutputFormat => (&["format", "format"], None),
            Column::SampleRate => (&["format", "sample_rate"], None),
            _ => return None,
        };
        Some(Field::Option { path, default: default.map(str::to_owned) })
    }

    fn pool(&self) -> Pool {
        Pool::Tts
    }

    fn is_priced(&self, rates: &Rates) -> bool {
        rates.known_per_10k_chars(self.options.model).is_some()
    }

    fn price(&self, rates: &Rates) -> String {
        price_of(self.options.model, rates)
    }

    fn price_of_retry(&self, plan: &Retried, rates: &Rates) -> String {
        let (model, characters) = (self.options.model, counted(plan.units, "character"));
        if rates.known_per_10k_chars(model).is_none() {
            return format!("{characters}, at a price that is {}", unpriced(model.as_str()));
        }
        format!("about {} for {characters}", dollars(rates.synthesis_cost(model, plan.units).0))
    }

    /// `800 lines × 4 voices × 2 formats = 6,400 outputs`
    fn product(&self, lines: u64, jobs: u64) -> Option<String> {
        let (languages, formats) = (self.languages.len() as u64, self.formats.len() as u64);
        let (outputs, all) = (counted(jobs, "output"), counted(lines, "line"));
        // Where each language has voices of its own, it may have one.
        let voices = if languages > 0 { self.voices.len().max(1) } else { self.voices.len() } as u64;
        let factors = [(languages, "language"), (voices, "voice"), (formats, "format")];
        Some(if lines * languages.max(1) * voices * formats == jobs {
            let by = factors.iter().filter(|(n, _)| *n > 1).map(|(n, what)| format!(" × {}", counted(*n, what)));
            format!("{all}{} = {outputs}", by.collect::<String>())
        } else if languages > 0 {
            format!("{all} in up to {}, in {} = {outputs}", counted(languages, "language"), counted(formats, "format"))
        } else {
            format!("{all}, some with voices of their own, in {} = {outputs}", counted(formats, "format"))
        })
    }
}

fn rendition(overrides: &str) -> Option<Rendition> {
    serde_json::from_str(overrides).ok()
}

fn request(asked: &Synthesis, own: Rendition) -> JobRequest {
    let options = own.overrides.apply(&asked.options);
    JobRequest {
        model: Some(options.model.as_str().to_owned()),
        language: options.language.map(|language| language.as_str().to_owned()),
        output_name: Some(own.file()),
        output_format: Some(own.format.format),
        sample_rate: Some(own.format.sample_rate),
        voice_id: own.overrides.voice_id,
        own: vec![OwnCell::Text(own.left_out.unwrap_or_default())],
    }
}

/// The list price of a model as text.
pub(super) fn price_of(model: TtsModel, rates: &Rates) -> String {
    let Some(price) = rates.known_per_10k_chars(model) else { return unpriced(model.as_str()) };
    let price = price.to_string();
    let price = price.trim_end_matches('0').trim_end_matches('.');
    format!("${price} per 10,000 characters by {model}, list price of {}", rates.as_of)
}
