//! The vendor's log of transcriptions: filters and entries.

use serde::{Deserialize, Serialize};

use super::body::Body;

/// One entry of the vendor's STT log (`GET /waves/v1/analytics/asr/logs`), newest first on the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// The vendor's id of the request.
    pub request_id: String,
    /// When the request was served, in seconds since 1970, assuming that the log's clock is UTC (its zone is undocumented). Use
    /// this value only in the log's own filters.
    pub logged_at: Option<i64>,
    /// Whether it was a live transcription, through a socket.
    pub is_socket: bool,
    /// E.g. `pulse`.
    pub model: String,
    /// Language code.
    pub language: String,
    /// Length of the audio, in seconds.
    pub duration_s: Option<f64>,
    /// Size of the audio, in bytes.
    pub bytes: Option<u64>,
    /// The transcript, packed because a search of the log holds many of them.
    pub transcription: Body,
    /// The flags of the request.
    pub flags: LogFlags,
    /// The keywords of the request, as the log lists them.
    pub keywords: String,
    /// The detected emotions, as the log has them.
    pub emotions: Option<String>,
    /// The speaker's gender, if it was requested.
    pub gender: Option<String>,
    /// The callback's address, if the request had one.
    pub webhook_url: Option<String>,
}

impl LogEntry {
    /// An entry that contains only its id.
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
    /// The total number of pages, if the log says it.
    pub pages: Option<u32>,
}

/// Which entries of the vendor's log are requested; the default requests all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogFilter<'a> {
    /// The earliest time, in seconds since 1970.
    pub from: Option<i64>,
    /// The only model.
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
    /// This machine lacks what a request needs. That says nothing about the vendor.
    #[error("the vendor's log could not be asked ({0})")]
    Unasked(String),
}
