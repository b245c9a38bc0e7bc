//! The report of a synthesis.

use super::Synthesize;
use crate::{
    domain::{
        synthesis::{Rendition, Synthesis},
        task::{SpecError, TaskSpec},
    },
    report::{AskedOfJob, AskedOfJobs, ReportTask, row::Column},
    store::ReportRow,
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
];

impl ReportTask for Synthesize {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn jobs(&self, spec: &TaskSpec) -> Result<Box<dyn AskedOfJobs>, SpecError> {
        Ok(Box::new(spec.read::<Synthesis>()?))
    }
}

impl AskedOfJobs for Synthesis {
    fn of(&self, job: &ReportRow) -> AskedOfJob {
        let own = job.overrides.as_deref().and_then(|json| serde_json::from_str::<Rendition>(json).ok());
        let Some(own) = own else { return AskedOfJob::default() };
        let options = own.overrides.apply(&self.options);
        AskedOfJob {
            model: Some(options.model.as_str().to_owned()),
            language: options.language.map(|language| language.as_str().to_owned()),
            output_name: Some(own.file()),
            output_format: Some(own.format.format),
            sample_rate: Some(own.format.sample_rate),
            voice_id: own.overrides.voice_id,
            own: Vec::new(),
        }
    }
}
