//! What the runner says while it works. Bars, logs and metrics read it; the runner itself never prints.

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
    /// A call left.
    CallStarted {
        /// Its pool.
        pool: Pool,
    },
    /// A call ended, however it did.
    CallEnded {
        /// Its pool.
        pool: Pool,
        /// How it ended.
        how: CallEnd,
        /// What went wrong, if something did.
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
        /// Why it failed or is suspect: kind and words.
        error: Option<(String, String)>,
    },
    /// A job went back to the queue.
    Requeued {
        /// Its batch.
        batch: BatchId,
        /// Its key.
        key: String,
        /// When it is looked at again, ms since 1970.
        due_at: i64,
    },
    /// Outputs could not be delivered. Their answer is kept.
    DeliveryFailed {
        /// Its batch.
        batch: BatchId,
        /// What follows.
        then: AfterDelivery,
    },
    /// A callback should have come by now; the vendor's log is asked.
    CallbackOverdue {
        /// Its pool.
        pool: Pool,
    },
    /// A pool holds calls back, or does so no more.
    Held {
        /// The pool.
        pool: Pool,
        /// By what, and until when if that is known (ms since 1970).
        by: Option<(Bound, Option<i64>)>,
    },
    /// A batch was paused by wavebatch.
    Paused {
        /// The batch.
        batch: BatchId,
        /// Why.
        kind: PauseKind,
        /// In words.
        reason: String,
    },
    /// Something the user should know and that stops nothing.
    Warning(String),
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// With its answer.
    Answered,
    /// The vendor works on it, and posts its answer.
    Accepted,
    /// Its permit went stale before the first byte had left.
    Unsent,
    /// With a failure.
    Failed,
}

listed! {
    /// What follows from a failed delivery.
    AfterDelivery, "way on" {
        /// The line fails: the sink can never take its name.
        Refused = "refused",
        /// It is tried again.
        Retried = "retried",
        /// The batch pauses.
        Paused = "paused",
    }
}

/// Where events go. Unbounded: the runner never waits for whoever watches.
pub type Events = tokio::sync::mpsc::UnboundedSender<Event>;
