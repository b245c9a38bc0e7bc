//! The report of a transcription.

use super::Transcribe;
use crate::{
    domain::{
        batch::LineOverrides,
        cost::Rates,
        options::{SttModel, WebhookMode},
        pool::Pool,
        task::{SpecError, TaskSpec},
        transcription::Transcription,
    },
    report::{
        BatchRequest, JobRequest, ReportTask, Rest,
        row::Column,
        words::{counted, dollars, duration, grouped, unpriced},
    },
    store::{Field, ReportRow, Retried},
};

const COLUMNS: &[Column] = &[
    Column::Batch,
    Column::Line,
    Column::Key,
    Column::Status,
    Column::Source,
    Column::Outputs,
    Column::Model,
    Column::Language,
    Column::AudioSeconds,
    Column::Channels,
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
    Column::ContentExpiry,
    Column::Transcript,
];

impl ReportTask for Transcribe {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn batch(&self, spec: &TaskSpec) -> Result<Box<dyn BatchRequest>, SpecError> {
        Ok(Box::new(spec.read::<Transcription>()?))
    }

    fn invented(&self) -> &'static str {
        "transcripts are invented"
    }
}

impl BatchRequest for Transcription {
    fn job(&self, job: &ReportRow) -> JobRequest {
        let own = job.overrides.as_deref().and_then(|json| serde_json::from_str(json).ok());
        let own: LineOverrides = own.unwrap_or_default();
        let model = own.model.unwrap_or(self.options.model);
        let language = own.language.unwrap_or(self.options.language);
        JobRequest {
            model: Some(model.as_str().to_owned()),
            language: Some(language.as_str().to_owned()),
            ..JobRequest::default()
        }
    }

    fn field_of(&self, column: Column) -> Option<Field> {
        let (path, default): (&[&str], _) = match column {
            Column::Model => (&["model"], self.options.model.as_str()),
            Column::Language => (&["language"], self.options.language.as_str()),
            _ => return None,
        };
        Some(Field::Option { path, default: Some(default.to_owned()) })
    }

    fn pool(&self) -> Pool {
        self.options.model.into()
    }

    fn is_priced(&self, rates: &Rates) -> bool {
        rates.known_per_minute(self.options.model).is_some()
    }

    fn price(&self, rates: &Rates) -> String {
        let model = self.options.model;
        match rates.known_per_minute(model) {
            Some(price) => format!("{} a minute by {model}, list price of {}", dollars(price.0), rates.as_of),
            None => unpriced(model.as_str()),
        }
    }

    fn price_of_rest(&self, rest: &Rest, rates: &Rates) -> String {
        let (model, price) = (self.options.model, self.price(rates));
        match (rest.done, rest.audio_ms) {
            _ if rates.known_per_minute(model).is_none() => price,
            (0, _) | (_, 0) => format!("{price}; how long the audio is shows as it is opened"),
            (done, known) => {
                let audio_ms = known / done * rest.jobs;
                let (cost, audio) = (dollars(rates.cost(model, audio_ms).0), duration(audio_ms));
                format!("about {cost} for {audio} of audio, judging by the {} done ({price})", grouped(done))
            }
        }
    }

    fn price_of_retry(&self, plan: &Retried, rates: &Rates) -> String {
        let model = self.options.model;
        if rates.known_per_minute(model).is_none() {
            return format!("at a price that is {}", unpriced(model.as_str()));
        }
        let known = format!("about {} for {} of audio", dollars(rates.cost(model, plan.units).0), duration(plan.units));
        match (plan.unknown, plan.units) {
            (0, _) => known,
            (_, 0) => format!("at {} a minute, of unknown length", dollars(rates.per_minute(model).0)),
            (n, _) => format!("{known}, and {} of unknown length", counted(n, "line")),
        }
    }

    fn may_be_posted(&self, option_columns: &[String]) -> bool {
        let pro = self.options.model == SttModel::PulsePro || option_columns.iter().any(|column| column == "model");
        match self.webhook {
            WebhookMode::Auto => pro,
            WebhookMode::Always => true,
            WebhookMode::Never => false,
        }
    }
}
