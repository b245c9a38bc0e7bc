//! The vendor's log of transcriptions, as it is asked and as it answers.

use serde::{Deserialize, Serialize};

use super::body::Body;

/// One entry of the vendor's STT log (`GET /waves/v1/analytics/asr/logs`), newest first on the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// The vendor's id of the request.
    pub request_id: String,
    /// When it was served, in seconds since 1970 if the log's clock, whose zone nobody tells, is UTC. Only the log's own
    /// filters are to be asked with it.
    pub logged_at: Option<i64>,
    /// Whether it was a live one, through a socket.
    pub is_socket: bool,
    /// E.g. `pulse`.
    pub model: String,
    /// Language code.
    pub language: String,
    /// Length of the audio, in seconds.
    pub duration_s: Option<f64>,
    /// Size of the audio, in bytes.
    pub bytes: Option<u64>,
    /// The transcript: a walk through the log holds many of them.
    pub transcription: Body,
    /// The flags of the request.
    pub flags: LogFlags,
    /// The words that were listened for, as the log lists them.
    pub keywords: String,
    /// The emotions that were heard, as the log has them.
    pub emotions: Option<String>,
    /// The speaker's gender, if it was asked for.
    pub gender: Option<String>,
    /// The callback's address, if the request had one.
    pub webhook_url: Option<String>,
}

impl LogEntry {
    /// An entry that says nothing but its id.
    #[must_use]
    pub fn named(request_id: &str) -> Self {
        Self {
            request_id: request_id.to_owned(),
            logged_at: None,
            is_socket: false,
            model: String::new(),
            language: String::new(),
            duration_s: None,
            bytes: None,
            transcription: "".into(),
            flags: LogFlags::default(),
            keywords: String::new(),
            emotions: None,
            gender: None,
            webhook_url: None,
        }
    }
}

/// A page of the vendor's log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogPage {
    /// Its entries, newest first.
    pub entries: Vec<LogEntry>,
    /// How many pages there are in all, where it says so.
    pub pages: Option<u32>,
}

/// Which entries of the vendor's log are asked for; by nothing but the page, all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogFilter<'a> {
    /// Not older than this, in seconds since 1970.
    pub from: Option<i64>,
    /// Of this model alone.
    pub model: Option<&'a str>,
}

/// The request flags that the vendor's log records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogFlags {
    /// `word_timestamps`
    pub word_timestamps: bool,
    /// `diarize`
    pub diarize: bool,
    /// `redact_pii`
    pub redact_pii: bool,
    /// `redact_pci`
    pub redact_pci: bool,
    /// `emotion_detection`
    pub emotion_detection: bool,
    /// `gender_detection`
    pub gender_detection: bool,
}

/// Why the vendor's log could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// 401, 403, 404: this account or installation has no log. Final.
    #[error("the vendor's log is not available here ({0})")]
    Absent(String),
    /// Anything else: worth another look later.
    #[error("the vendor's log could not be read ({0})")]
    Unreachable(String),
    /// This machine lacks what asking takes. It says nothing about the vendor.
    #[error("the vendor's log could not be asked ({0})")]
    Unasked(String),
}
