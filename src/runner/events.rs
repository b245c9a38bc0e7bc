//! Events that the runner emits while it works. Progress bars, logs and metrics read them; the runner itself never prints.

use crate::domain::{
    call::CallFailure,
    job::{BatchId, JobState},
    options::listed,
    pool::{Bound, Pool},
    retry::PauseKind,
};

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A job was claimed.
    Claimed {
        /// Its batch.
        batch: BatchId,
    },
    /// A call was sent.
    CallStarted {
        /// Its pool.
        pool: Pool,
    },
    /// A call ended, in any way.
    CallEnded {
        /// Its pool.
        pool: Pool,
        /// How it ended.
        how: CallEnd,
        /// The failure, if there was one.
        failure: Option<CallFailure>,
        /// What it cost at list price, in micro-USD.
        cost: i64,
    },
    /// A job is finished.
    Finished {
        /// Its batch.
        batch: BatchId,
        /// Its key.
        key: String,
        /// Succeeded, suspect or failed.
        state: JobState,
        /// Length of its audio, in ms.
        audio_ms: Option<u64>,
        /// Why it failed or is suspect: kind and message.
        error: Option<(String, String)>,
    },
    /// A job went back to the queue.
    Requeued {
        /// Its batch.
        batch: BatchId,
        /// Its key.
        key: String,
        /// When it is due again, ms since 1970.
        due_at: i64,
    },
    /// Outputs could not be delivered. Their answer is kept.
    DeliveryFailed {
        /// Its batch.
        batch: BatchId,
        /// What follows.
        then: AfterDelivery,
    },
    /// A callback is overdue; the vendor's log is asked.
    CallbackOverdue {
        /// Its pool.
        pool: Pool,
    },
    /// A pool starts or stops holding calls back.
    Held {
        /// The pool.
        pool: Pool,
        /// The limit that holds them back, and until when if that is known (ms since 1970).
        by: Option<(Bound, Option<i64>)>,
    },
    /// wavebatch paused a batch.
    Paused {
        /// The batch.
        batch: BatchId,
        /// Why.
        kind: PauseKind,
        /// The reason as text.
        reason: String,
    },
    /// Something that the user should know and that stops nothing.
    Warning(String),
}

impl Event {
    /// The batch that the event is about, if it is about one.
    #[must_use]
    pub const fn batch(&self) -> Option<BatchId> {
        match self {
            Self::Claimed { batch }
            | Self::Finished { batch, .. }
            | Self::Requeued { batch, .. }
            | Self::DeliveryFailed { batch, .. }
            | Self::Paused { batch, .. } => Some(*batch),
            Self::CallStarted { .. }
            | Self::CallEnded { .. }
            | Self::CallbackOverdue { .. }
            | Self::Held { .. }
            | Self::Warning(_) => None,
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// With an answer.
    Answered,
    /// The vendor accepted it, and posts its answer later.
    Accepted,
    /// Its permit went stale before the first byte left.
    Unsent,
    /// With a failure.
    Failed,
}

listed! {
    /// What follows from a failed delivery.
    AfterDelivery, "way on" {
        /// The line fails: the sink can never accept its name.
        Refused = "refused",
        /// It is tried again.
        Retried = "retried",
        /// The batch pauses.
        Paused = "paused",
    }
}

/// Where events go. Unbounded: the runner never waits for its observer.
pub type Events = tokio::sync::mpsc::UnboundedSender<Event>;
