//! One row of the report.

use crate::domain::{
    call::ErrorKind,
    cost::MicroUsd,
    row::{Note, RowStatus},
};

/// What the report's own columns are called, in their order. The manifest's come after them.
pub const COLUMNS: [&str; 23] = [
    "batch",
    "line",
    "key",
    "status",
    "source",
    "outputs",
    "model",
    "language",
    "audio_seconds",
    "channels",
    "tries",
    "billed_calls",
    "cost_usd",
    "request_id",
    "submitted_at",
    "started_at",
    "finished_at",
    "processing_ms",
    "error_kind",
    "error",
    "notes",
    "content_expiry",
    "transcript",
];

/// What the report says of one job. Times are milliseconds since 1970; `None` is an empty cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The batch's name.
    pub batch: String,
    /// The manifest's line, counted from 1.
    pub line: Option<u64>,
    /// The key, unique in the batch.
    pub key: String,
    /// How it stands.
    pub status: RowStatus,
    /// The recording's address, without user info and signature.
    pub source: String,
    /// Addresses of what was written.
    pub outputs: Vec<String>,
    /// The model.
    pub model: Option<String>,
    /// The language asked for.
    pub language: Option<String>,
    /// Length of the audio, in milliseconds; shown in seconds.
    pub audio_ms: Option<u64>,
    /// Channels of the audio.
    pub channels: Option<u32>,
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
    /// Why it failed, in words.
    pub error: Option<String>,
    /// What else there is to know.
    pub notes: Vec<Note>,
    /// What the answer said about the deletion of its content.
    pub content_expiry: Option<String>,
    /// The transcript.
    pub transcript: Option<String>,
    /// The manifest's own columns, in the order of the carried names.
    pub carried: Vec<String>,
}
