//! The lines of a batch, and their calls.

use serde::Serialize;

use super::{Moment, Seconds};
use crate::{
    domain::{
        batch::MicroUsd,
        call::ErrorKind,
        job::{CallState, JobState, Wanted, Why},
        query::QueryRules,
        synthesis::Rendition,
        synthesis_options::{AudioFormat, TtsLanguage},
    },
    store::{CallRow, JobDetail},
};

/// A job and its calls.
#[derive(Debug, Clone, Serialize)]
pub struct JobView {
    /// Its line in the manifest.
    pub line: u64,
    /// Its key.
    pub key: String,
    /// Its state.
    pub state: JobState,
    /// Whether the manifest still has it.
    pub wanted: Wanted,
    /// The location of its recording, without credentials.
    pub source: Option<String>,
    /// Length of its audio.
    pub audio_seconds: Option<Seconds>,
    /// How many tries were made: those that failed, and the one that was answered.
    pub tries: u32,
    /// Calls that may have been billed.
    pub billed_calls: u32,
    /// What they cost at list price.
    pub cost_usd: MicroUsd,
    /// The vendor's id of the request whose answer is used.
    pub request_id: Option<String>,
    /// Why it failed or is suspect.
    pub error_kind: Option<String>,
    /// The error message.
    pub error: Option<String>,
    /// Further notes.
    pub notes: Vec<String>,
    /// The locations of its outputs.
    pub outputs: Vec<String>,
    /// When it was submitted.
    pub submitted_at: Moment,
    /// When it was claimed first.
    pub started_at: Option<Moment>,
    /// When it was finished.
    pub finished_at: Option<Moment>,
    /// When a worker must look at it again.
    pub due_at: Option<Moment>,
    /// Its calls, oldest first.
    pub calls: Vec<CallView>,
    /// Further fields of a synthesis job.
    #[serde(flatten)]
    pub rendition: Option<RenditionView>,
}

/// A text synthesized with one voice in one format.
#[derive(Debug, Clone, Serialize)]
pub struct RenditionView {
    /// The voice.
    pub voice_id: String,
    /// The language that its line or its column sets.
    pub language: Option<TtsLanguage>,
    /// The format of its audio.
    pub output_format: AudioFormat,
    /// Sample rate in Hz.
    pub sample_rate: u32,
    /// The name of its output file.
    pub output_name: String,
    /// Length of its text, in Unicode scalar values.
    pub characters: Option<u64>,
    /// The number of its parts.
    pub parts: Option<u64>,
    /// The number of parts that did not have to be bought.
    pub reused_parts: Option<u64>,
}

/// A call.
#[derive(Debug, Clone, Serialize)]
pub struct CallView {
    /// Its id.
    pub id: String,
    /// Its state.
    pub state: CallState,
    /// Why it was made.
    pub why: Why,
    /// When the intent of the call was recorded.
    pub sent_at: Moment,
    /// When it ended.
    pub ended_at: Option<Moment>,
    /// The vendor's id of the request.
    pub request_id: Option<String>,
    /// The HTTP status of the answer.
    pub http_status: Option<u16>,
    /// The kind of its error.
    pub error_kind: Option<ErrorKind>,
    /// The error message.
    pub error: Option<String>,
    /// What it cost at list price.
    pub cost_usd: MicroUsd,
    /// For a text in parts: the number of its part, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<i64>,
}

impl JobView {
    /// The view of a job in the ledger.
    #[must_use]
    pub fn of(job: &JobDetail) -> Self {
        let row = &job.row;
        let own = row.overrides.as_deref().filter(|_| !row.variant.is_empty());
        let own = own.and_then(|json| serde_json::from_str::<Rendition>(json).ok());
        let rendition = own.map(|own| RenditionView {
            voice_id: own.voice_id().to_owned(),
            language: own.overrides.language,
            output_format: own.format.format,
            sample_rate: own.format.sample_rate.hz(),
            output_name: own.file(),
            characters: row.characters,
            parts: row.parts,
            reused_parts: row.reused_parts,
        });
        let call = |call| CallView::of(call, rendition.is_some());
        Self {
            line: row.line,
            key: row.key.clone(),
            state: row.state,
            wanted: row.wanted,
            source: row.source.as_deref().map(|source| QueryRules::default().shown(source)),
            audio_seconds: row.audio_ms.map(Seconds),
            tries: row.tries_made(),
            billed_calls: row.billed_calls,
            cost_usd: MicroUsd(row.cost),
            request_id: row.request_id.clone(),
            error_kind: row.error_kind.clone(),
            error: row.error.clone(),
            notes: row.notes.iter().flat_map(|notes| notes.split(';')).map(str::to_owned).collect(),
            outputs: row.outputs.as_deref().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default(),
            submitted_at: Moment(row.submitted_at),
            started_at: row.started_at.map(Moment),
            finished_at: row.finished_at.map(Moment),
            due_at: job.due_at.map(Moment),
            calls: job.calls.iter().map(call).collect(),
            rendition,
        }
    }
}

impl CallView {
    fn of(call: &CallRow, of_part: bool) -> Self {
        Self {
            id: call.id.to_string(),
            state: call.state,
            why: call.why,
            sent_at: Moment(call.sent_at),
            ended_at: call.ended_at.map(Moment),
            request_id: call.request_id.clone(),
            http_status: call.status,
            error_kind: call.error_kind,
            error: call.error.clone(),
            cost_usd: MicroUsd(call.cost),
            part: of_part.then_some(call.part + 1),
        }
    }
}
