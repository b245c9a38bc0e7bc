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
        /// The manifest's line.
        Line = "line",
        /// The line's key.
        Key = "key",
        /// The name of its file.
        OutputName = "output_name",
        /// Its status.
        Status = "status",
        /// The recording's address.
        Source = "source",
        /// Addresses of the outputs.
        Outputs = "outputs",
        /// The model.
        Model = "model",
        /// The requested language.
        Language = "language",
        /// The voice.
        VoiceId = "voice_id",
        /// The format of its file.
        OutputFormat = "output_format",
        /// The file's sample rate, in Hz.
        SampleRate = "sample_rate",
        /// Length of the text.
        Characters = "characters",
        /// Length of the audio.
        AudioSeconds = "audio_seconds",
        /// Channels of the recording.
        Channels = "channels",
        /// Parts that the text was cut into.
        Parts = "parts",
        /// Those of them that were reused.
        ReusedParts = "reused_parts",
        /// Tries so far.
        Tries = "tries",
        /// Calls that may have been billed.
        BilledCalls = "billed_calls",
        /// What they cost.
        CostUsd = "cost_usd",
        /// The vendor's id of the request that counts.
        RequestId = "request_id",
        /// When the line was submitted.
        SubmittedAt = "submitted_at",
        /// When its first call began.
        StartedAt = "started_at",
        /// When it was finished.
        FinishedAt = "finished_at",
        /// How long the answered call took.
        ProcessingMs = "processing_ms",
        /// Why it failed, from the closed list.
        ErrorKind = "error_kind",
        /// Why it failed, as a message.
        Error = "error",
        /// Further remarks.
        Notes = "notes",
        /// Whether its output is still asked for: `yes`, `gone` or `dropped`.
        Wanted = "wanted",
        /// What the answer said about the deletion of its content.
        ContentExpiry = "content_expiry",
        /// The transcript.
        Transcript = "transcript",
    }
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
    /// The task's own columns.
    pub own: Vec<String>,
    /// The manifest's own columns, in the order of the carried names.
    pub carried: Vec<String>,
}
