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
        /// No such file, object or page (404, 410).
        SourceMissing = "source_missing",
        /// The recording has no bytes.
        SourceEmpty = "source_empty",
        /// The path of the recording is a directory or a device, or it may not be read.
        SourceUnreadable = "source_unreadable",
        /// Over the API's 250 MB.
        SourceTooLarge = "source_too_large",
        /// HTML, XML, JSON, PDF, ZIP: known not to be audio; or the API cannot decode it, or finds no audio in it.
        SourceNotAudio = "source_not_audio",
        /// The recording's server refused (4xx), redirects in a circle, or from the internet into a private network.
        SourceRefused = "source_refused",
        /// The recording's server does not answer in time.
        SourceTimedOut = "source_timed_out",
        /// The recording's server cannot be reached, answers 429 or 5xx, or cuts the transfer.
        SourceUnavailable = "source_unavailable",
        /// The object is in an archive (Glacier), and must be restored before it can be read.
        SourceArchived = "source_archived",
        /// The recording changed while it was read, or since it was listed.
        SourceChanged = "source_changed",
        /// The API refused the line (400, 404, 410, 422 and other 4xx).
        BadRequest = "bad_request",
        /// 413, or the older 400 with the same message; or audio that no WAV file can hold.
        TooLarge = "too_large",
        /// `LANGUAGE_NOT_ENABLED_IN_REGION`.
        LanguageNotEnabled = "language_not_enabled",
        /// `MODEL_DEPRECATED`: the model or its route is gone.
        ModelRetired = "model_retired",
        /// 401: the key is not accepted.
        Unauthorized = "unauthorized",
        /// 402: the account cannot pay.
        PaymentRequired = "payment_required",
        /// 403: the plan or the key does not include this.
        Forbidden = "forbidden",
        /// 429 that asks for a later retry.
        RateLimited = "rate_limited",
        /// 429 that mentions quota or credit.
        QuotaExhausted = "quota_exhausted",
        /// A 5xx in the API's own shape.
        ServerError = "server_error",
        /// No connection to the API; nothing was sent.
        Unreachable = "unreachable",
        /// This machine is out of open files, memory or ports, or a disk or mount does not respond; nothing was sent.
        LocalOutage = "local_outage",
        /// Our own time-out after the request left.
        TimedOut = "timed_out",
        /// The connection broke after the request left.
        ConnectionLost = "connection_lost",
        /// The answer is incomplete.
        Truncated = "truncated",
        /// 504, or a 5xx that the API did not write (a proxy's).
        Gateway = "gateway",
        /// A complete 200 that cannot be used: wrong type, not JSON, no `transcription`.
        UnusableAnswer = "unusable_answer",
        /// A 200 larger than the largest answer that is read.
        AnswerTooLarge = "answer_too_large",
        /// The call may have been billed, nothing proves it, and `on_unknown = "park"`.
        UnknownOutcome = "unknown_outcome",
        /// `max_billed_calls` is reached.
        BilledCap = "billed_cap",
        /// The audio was bought, and its file is missing from the spool.
        AnswerLost = "answer_lost",
        /// The sink can never accept this name.
        SinkRefused = "sink_refused",
        /// `expire_content = true`, and the answer says that expiry was not applied.
        ExpiryNotApplied = "expiry_not_applied",
        /// The ledger cannot store what the line would write: an implausible number, or a row that cannot be read.
        LedgerRefused = "ledger_refused",
        /// wavebatch itself failed at this line, twice.
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
