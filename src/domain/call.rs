//! One request that may cost money: how it can end, and what that says about the bill.

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use super::vendor_log::{LogEntry, LogError, LogFilter, LogFlags, LogPage};
use super::{body::Body, options::listed, transcript::Transcript};

listed! {
    /// Why a line failed, or what a call ran into. A closed list: it stands in the report's `error_kind`.
    ErrorKind, "error kind" {
        /// The manifest's line is wrong (`bad_lines = "skip"`).
        BadLine = "bad_line",
        /// No such file, object or page (404, 410).
        SourceMissing = "source_missing",
        /// The recording has no bytes.
        SourceEmpty = "source_empty",
        /// A directory or a device stands where the recording should be, or it may not be read.
        SourceUnreadable = "source_unreadable",
        /// Over the API's 250 MB.
        SourceTooLarge = "source_too_large",
        /// HTML, XML, JSON, PDF, ZIP: known not to be audio; or the API cannot decode it, or hears nothing in it.
        SourceNotAudio = "source_not_audio",
        /// The recording's server refused (4xx), redirects in a circle, or from the internet into a private network.
        SourceRefused = "source_refused",
        /// The recording's server hangs.
        SourceTimedOut = "source_timed_out",
        /// The recording's server cannot be reached, answers 429 or 5xx, or cuts the transfer.
        SourceUnavailable = "source_unavailable",
        /// The object is in an archive (Glacier), and has to be restored before it can be read.
        SourceArchived = "source_archived",
        /// The recording changed while it was read, or since it was listed.
        SourceChanged = "source_changed",
        /// The API refused the line (400, 404, 410, 422 and other 4xx).
        BadRequest = "bad_request",
        /// 413, or the older 400 with the same words; or speech that no WAV file holds.
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
        /// 429 that asks to come back later.
        RateLimited = "rate_limited",
        /// 429 that speaks of quota or credit.
        QuotaExhausted = "quota_exhausted",
        /// A 5xx in the API's own shape.
        ServerError = "server_error",
        /// No connection to the API; nothing was sent.
        Unreachable = "unreachable",
        /// This machine is out of open files, memory or ports, or a disk or mount of it does not answer; nothing was sent.
        LocalOutage = "local_outage",
        /// Our own time-out after the request left.
        TimedOut = "timed_out",
        /// The connection broke after the request left.
        ConnectionLost = "connection_lost",
        /// Half an answer.
        Truncated = "truncated",
        /// 504, or a 5xx that the API did not write (a proxy's).
        Gateway = "gateway",
        /// A complete 200 that cannot be used: wrong type, not JSON, no `transcription`.
        UnusableAnswer = "unusable_answer",
        /// A 200 larger than any answer that is read.
        AnswerTooLarge = "answer_too_large",
        /// It may have been paid for, nothing proves it, and `on_unknown = "park"`.
        UnknownOutcome = "unknown_outcome",
        /// `max_billed_calls` is reached.
        BilledCap = "billed_cap",
        /// Speech was bought, and its file is gone from the spool.
        AnswerLost = "answer_lost",
        /// The sink can never take this name.
        SinkRefused = "sink_refused",
        /// `expire_content = true`, and the answer says it was not applied.
        ExpiryNotApplied = "expiry_not_applied",
        /// The ledger cannot take what the line would write: a number beyond belief, a row that does not read.
        LedgerRefused = "ledger_refused",
        /// wavebatch itself broke at this line, twice.
        Internal = "internal_error",
    }
}

/// The API's complete answer to a transcription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The body, byte for byte. Checked: JSON with a `transcription` string and no status but `success`.
    pub body: Body,
    /// What it says. Of a large body that is read once more when it is written out, so that many of them do not add up.
    pub transcript: Option<Transcript>,
    /// Length of the audio as the API heard it, in ms.
    pub audio_ms: Option<u64>,
    /// The vendor's request id, where the model gives one.
    pub request_id: Option<String>,
    /// `x-content-expiry`, where the answer has it.
    pub content_expiry: Option<String>,
}

/// A failure in words that a user can act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFailure {
    /// Its place in the closed list.
    pub kind: ErrorKind,
    /// What happened; with the vendor's words where it had any. Never a key, a transcript, or a signed URL.
    pub message: String,
    /// HTTP status, if there was one.
    pub status: Option<u16>,
    /// The vendor's request id, for its support.
    pub request_id: Option<String>,
    /// `Retry-After`, in seconds or as a date, already turned into a wait.
    pub retry_after: Option<Duration>,
}

impl CallFailure {
    /// A failure without a status, a request id, or a wait that was asked for.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), status: None, request_id: None, retry_after: None }
    }
}

/// How a call ended, as far as the caller can know. The classes decide the bill (LEDGER: the journal), whatever `A` was
/// asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<A = Answer> {
    /// A usable 200.
    Answered(A),
    /// The vendor works on it, and posts the answer when it has one.
    Accepted {
        /// The vendor's request id.
        request_id: Option<String>,
    },
    /// Refused by the API in its own shape: costs nothing.
    Refused(CallFailure),
    /// Provably not one byte of the request left: costs nothing.
    NotSent(CallFailure),
    /// The permit was too old when the body was first asked for; nothing was sent.
    Stale,
    /// It may have been billed: time-out, reset, half a body, 504, a 5xx of a proxy.
    Unknown(CallFailure),
    /// A complete 200 that cannot be used: billed, and worth nothing.
    Unusable(CallFailure),
    /// A 200 larger than any that is read: billed, and another call would bring the same.
    TooLarge {
        /// What it came to.
        failure: CallFailure,
        /// The body, where all of it came and it could be kept.
        body: Option<Body>,
    },
}

impl<A> Outcome<A> {
    /// The same with another answer.
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
