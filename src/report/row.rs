//! One row of the report.

use crate::domain::{
    call::ErrorKind,
    cost::MicroUsd,
    job::Wanted,
    options::listed,
    row::{Note, RowStatus},
    synthesis_options::{AudioFormat, SampleRate},
};

listed! {
    /// One of the report's own columns. The manifest's columns follow them.
    Column, "column" {
        /// The batch's name.
        Batch = "batch",
        /// The number of the manifest's line.
        Line = "line",
        /// The line's key.
        Key = "key",
        /// The name of the output's file, without its ending.
        OutputName = "output_name",
        /// The status of the line.
        Status = "status",
        /// The recording's address, without user and password. Of its query it has only the parameters of `report_query`.
        Source = "source",
        /// The addresses of the outputs, as a JSON array.
        Outputs = "outputs",
        /// The model.
        Model = "model",
        /// The requested language.
        Language = "language",
        /// The voice.
        VoiceId = "voice_id",
        /// The audio format of the output.
        OutputFormat = "output_format",
        /// The sample rate of the output, in Hz.
        SampleRate = "sample_rate",
        /// The length of the text in characters.
        Characters = "characters",
        /// The length of the audio in seconds.
        AudioSeconds = "audio_seconds",
        /// The number of channels of the recording.
        Channels = "channels",
        /// The number of parts that the text was cut into.
        Parts = "parts",
        /// The parts among them that were reused from the audio cache.
        ReusedParts = "reused_parts",
        /// The number of tries so far.
        Tries = "tries",
        /// The number of calls that may have been billed.
        BilledCalls = "billed_calls",
        /// What those calls cost: an estimate at list price.
        CostUsd = "cost_usd",
        /// The vendor's id of the request that counts.
        RequestId = "request_id",
        /// When the line was submitted.
        SubmittedAt = "submitted_at",
        /// When the line's first call began.
        StartedAt = "started_at",
        /// When the line was finished.
        FinishedAt = "finished_at",
        /// How long the answered call took, in milliseconds.
        ProcessingMs = "processing_ms",
        /// Why the line failed: one of the [error kinds](errors.md#error-kinds).
        ErrorKind = "error_kind",
        /// Why the line failed, as a message.
        Error = "error",
        /// What else a reader should know: [notes](#notes), joined by `;`.
        Notes = "notes",
        /// Whether the output is still [wanted](#wanted): `yes`, `gone` or `dropped`.
        Wanted = "wanted",
        /// What the answer said about the deletion of its content.
        ContentExpiry = "content_expiry",
        /// The transcript; not with `[report] transcript = false`.
        Transcript = "transcript",
        /// The text that is spoken.
        Text = "text",
    }
}

/// The columns that a report has only if its definition asks for them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LongColumns {
    /// The transcripts.
    pub transcript: bool,
    /// The texts that are spoken.
    pub text: bool,
}

impl LongColumns {
    /// Whether the report has this column.
    #[must_use]
    pub fn has(self, column: Column) -> bool {
        match column {
            Column::Transcript => self.transcript,
            Column::Text => self.text,
            _ => true,
        }
    }
}

/// A cell of a column that only one task has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum OwnCell {
    /// Nothing.
    #[default]
    Empty,
    /// A text.
    Text(String),
    /// A number of things.
    Count(u64),
    /// A duration in ms; shown in seconds.
    Ms(u64),
    /// A value of JSON. Lists and objects are shown as JSON.
    Json(serde_json::Value),
}

/// The columns of a report after those of its task.
#[derive(Debug, Clone, Copy, Default)]
pub struct FurtherColumns<'a> {
    /// The names of the batch's own columns.
    pub own: &'a [String],
    /// The names of the manifest's columns.
    pub carried: &'a [String],
}

/// The report's data for one job. Times are milliseconds since 1970; `None` is an empty cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The batch's name.
    pub batch: String,
    /// The manifest's line, counted from 1.
    pub line: Option<u64>,
    /// The key, unique in the batch.
    pub key: String,
    /// The name of its file, for a synthesis.
    pub output_name: Option<String>,
    /// Its status.
    pub status: RowStatus,
    /// Whether its output is still asked for.
    pub wanted: Wanted,
    /// The recording's address, without user info and signature.
    pub source: String,
    /// Addresses of the outputs.
    pub outputs: Vec<String>,
    /// The model.
    pub model: Option<String>,
    /// The requested language.
    pub language: Option<String>,
    /// The voice.
    pub voice_id: Option<String>,
    /// The format of its file, for a synthesis.
    pub output_format: Option<AudioFormat>,
    /// The file's sample rate, in Hz.
    pub sample_rate: Option<SampleRate>,
    /// Length of its text, in Unicode scalar values.
    pub characters: Option<u64>,
    /// Length of the audio, in milliseconds; shown in seconds.
    pub audio_ms: Option<u64>,
    /// Channels of the audio.
    pub channels: Option<u32>,
    /// Parts that its text was cut into.
    pub parts: Option<u64>,
    /// Those of them that were reused.
    pub reused_parts: Option<u64>,
    /// Tries so far.
    pub tries: u32,
    /// Calls that may have been billed.
    pub billed_calls: u32,
    /// What they cost, at list price.
    pub cost: Option<MicroUsd>,
    /// The vendor's id of the request that counts.
    pub request_id: Option<String>,
    /// When the line was submitted.
    pub submitted_at: Option<i64>,
    /// When its first call began.
    pub started_at: Option<i64>,
    /// When it was finished.
    pub finished_at: Option<i64>,
    /// How long the answered call took.
    pub processing_ms: Option<u64>,
    /// Why it failed, from the closed list.
    pub error_kind: Option<ErrorKind>,
    /// Why it failed, as a message.
    pub error: Option<String>,
    /// Further remarks.
    pub notes: Vec<Note>,
    /// What the answer said about the deletion of its content.
    pub content_expiry: Option<String>,
    /// The transcript.
    pub transcript: Option<String>,
    /// The text that is spoken.
    pub text: Option<String>,
    /// The cells of the batch's own columns.
    pub own: Vec<OwnCell>,
    /// The manifest's own columns, in the order of the carried names.
    pub carried: Vec<String>,
}
