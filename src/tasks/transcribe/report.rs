//! The report of a transcription.

use super::Transcribe;
use crate::{
    domain::{
        batch::LineOverrides,
        task::{SpecError, TaskSpec},
        transcription::Transcription,
    },
    report::{AskedOfJob, AskedOfJobs, ReportTask, row::Column},
    store::ReportRow,
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
    Column::ContentExpiry,
    Column::Transcript,
];

impl ReportTask for Transcribe {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn jobs(&self, spec: &TaskSpec) -> Result<Box<dyn AskedOfJobs>, SpecError> {
        Ok(Box::new(spec.read::<Transcription>()?))
    }
}

impl AskedOfJobs for Transcription {
    fn of(&self, job: &ReportRow) -> AskedOfJob {
        let own = job.overrides.as_deref().and_then(|json| serde_json::from_str(json).ok());
        let own: LineOverrides = own.unwrap_or_default();
        let model = own.model.unwrap_or(self.options.model);
        let language = own.language.unwrap_or(self.options.language);
        AskedOfJob {
            model: Some(model.as_str().to_owned()),
            language: Some(language.as_str().to_owned()),
            ..AskedOfJob::default()
        }
    }
}
