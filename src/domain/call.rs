//! One request that may cost money: how it can end, and what each ending means for the bill.

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use super::vendor_log::{LogEntry, LogError, LogFilter, LogFlags, LogPage};
use super::{body::Body, options::listed, transcript::Transcript};

listed! {
    /// Why a line failed, or how a call failed. A closed list; the value is the report's `error_kind`.
    ErrorKind, "error kind" {
        /// The manifest's line is wrong (`bad_lines = "skip"`).
        BadLine = "bad_line",
        /// There is no such file, object or page (404, 410).
        SourceMissing = "source_missing",
        /// The recording has no bytes.
        SourceEmpty = "source_empty",
        /// The recording's path is a directory or a device, or it may not be read.
        SourceUnreadable = "source_unreadable",
        /// The recording is larger than the API's limit of 250 MB.
        SourceTooLarge = "source_too_large",
        /// The file is HTML, XML, JSON, PDF or ZIP; or the API cannot decode it or finds no audio in it.
        SourceNotAudio = "source_not_audio",
        /// The recording's server refused (other 4xx), redirects in a circle, or redirects from the internet into a private network.
        SourceRefused = "source_refused",
        /// The recording's server does not answer in time.
        SourceTimedOut = "source_timed_out",
        /// The recording's server cannot be reached, answers 429 or 5xx, or cuts the transfer.
        SourceUnavailable = "source_unavailable",
        /// The object is in an archive (Glacier) and must be restored before it can be read.
        SourceArchived = "source_archived",
        /// The recording changed while it was read, or since it was listed.
        SourceChanged = "source_changed",
        /// The API refused the line (400, 404, 410, 422 and other 4xx).
        BadRequest = "bad_request",
        /// The API finds the recording too large (413), or the audio is longer than a WAV file can be.
        TooLarge = "too_large",
        /// The region of the account does not have this language. Another region's host may have it.
        LanguageNotEnabled = "language_not_enabled",
        /// The vendor has retired the model or its route.
        ModelRetired = "model_retired",
        /// The API does not accept the key (401).
        Unauthorized = "unauthorized",
        /// The account cannot pay (402).
        PaymentRequired = "payment_required",
        /// The plan or the key does not include this (403, or a 400 that asks to upgrade the plan).
        Forbidden = "forbidden",
        /// There were too many requests (429). The wait costs no try.
        RateLimited = "rate_limited",
        /// The account's quota or credit is used up (a 429 that says so).
        QuotaExhausted = "quota_exhausted",
        /// The API failed (a 5xx in the API's own shape).
        ServerError = "server_error",
        /// There was no connection to the API. Nothing was sent.
        Unreachable = "unreachable",
        /// This machine is out of open files, memory or ports, or a disk or mount does not respond. Nothing was sent, and no try is used up.
        LocalOutage = "local_outage",
        /// The API did not answer in time.
        TimedOut = "timed_out",
        /// The connection broke after the request had left.
        ConnectionLost = "connection_lost",
        /// The answer is incomplete, or its audio ends in the middle.
        Truncated = "truncated",
        /// A proxy failed (504, or a 5xx that the API did not write).
        Gateway = "gateway",
        /// The answer is a complete 200 that cannot be used.
        UnusableAnswer = "unusable_answer",
        /// The answer is over 64 MB. It is billed and not read. A transcript of up to 512 MB is kept in the ledger if it packs into 64 MB.
        AnswerTooLarge = "answer_too_large",
        /// The call may have been billed, nothing proves it, and `on_unknown = "park"`.
        UnknownOutcome = "unknown_outcome",
        /// `max_billed_calls` is reached.
        BilledCap = "billed_cap",
        /// Speech was paid for, and its file in the spool is missing or damaged.
        AnswerLost = "answer_lost",
        /// The output can never have this name.
        SinkRefused = "sink_refused",
        /// `expire_content = true`, and the answer says that expiry was not applied.
        ExpiryNotApplied = "expiry_not_applied",
        /// The ledger cannot store what the line would write: an implausible length or price, or a row that cannot be read.
        LedgerRefused = "ledger_refused",
        /// wavebatch itself failed at this line, twice: please report it.
        Internal = "internal_error",
    }
}

/// The API's complete answer to a transcription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The body, byte for byte. Checked: JSON with a `transcription` string and no status other than `success`.
    pub body: Body,
    /// The transcript. A large body is read again when outputs are written, so that many transcripts do not add up.
    pub transcript: Option<Transcript>,
    /// Length of the audio as the API measured it, in ms.
    pub audio_ms: Option<u64>,
    /// The vendor's request id, if the model returns one.
    pub request_id: Option<String>,
    /// `x-content-expiry`, if the answer has it.
    pub content_expiry: Option<String>,
}

/// A failure, described so that a user can act on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFailure {
    /// The failure's kind, from the closed list.
    pub kind: ErrorKind,
    /// What happened; with the vendor's message if there was one. Never a key, a transcript, or a signed URL.
    pub message: String,
    /// HTTP status, if there was one.
    pub status: Option<u16>,
    /// The vendor's request id, for its support.
    pub request_id: Option<String>,
    /// `Retry-After`, given in seconds or as a date, already converted to a wait.
    pub retry_after: Option<Duration>,
}

impl CallFailure {
    /// A failure without a status, a request id, or a requested wait.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), status: None, request_id: None, retry_after: None }
    }
}

/// How a call ended, as far as the caller can know. The variants decide the bill (LEDGER: the journal), whatever answer type
/// `A` the call has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<A = Answer> {
    /// A usable 200.
    Answered(A),
    /// The vendor works on the request, and posts the answer when it is ready.
    Accepted {
        /// The vendor's request id.
        request_id: Option<String>,
    },
    /// The API refused the request with an error of its own format: costs nothing.
    Refused(CallFailure),
    /// Provably not one byte of the request left: costs nothing.
    NotSent(CallFailure),
    /// The permit was too old when the body was first polled; nothing was sent.
    Stale,
    /// The call may have been billed: time-out, reset, incomplete body, 504, a 5xx of a proxy.
    Unknown(CallFailure),
    /// A complete 200 that cannot be used: billed, and worthless.
    Unusable(CallFailure),
    /// A 200 larger than the largest answer that is read: billed, and another call would bring the same answer.
    TooLarge {
        /// The failure.
        failure: CallFailure,
        /// The body, if it arrived completely and could be stored.
        body: Option<Body>,
    },
}

impl<A> Outcome<A> {
    /// The same outcome with a converted answer.
    pub fn map<B>(self, answer: impl FnOnce(A) -> B) -> Outcome<B> {
        match self {
            Self::Answered(answered) => Outcome::Answered(answer(answered)),
            Self::Accepted { request_id } => Outcome::Accepted { request_id },
            Self::Refused(failure) => Outcome::Refused(failure),
            Self::NotSent(failure) => Outcome::NotSent(failure),
            Self::Stale => Outcome::Stale,
            Self::Unknown(failure) => Outcome::Unknown(failure),
            Self::Unusable(failure) => Outcome::Unusable(failure),
            Self::TooLarge { failure, body } => Outcome::TooLarge { failure, body },
        }
    }
}
