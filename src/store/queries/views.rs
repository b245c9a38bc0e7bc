//! What the ledger tells, for people and reports: plain data, read only.

use std::collections::BTreeMap;

use crate::store::{StoreError, StoredSpec};
use crate::{
    clock::Millis,
    domain::{
        batch::BatchSpec,
        body::Body,
        call::ErrorKind,
        environment::Environment,
        job::{BatchId, CallId, CallState, JobId, JobState, Wanted, Why},
        options::listed,
        pool::{Pool, PoolState, Traffic},
        retry::PauseKind,
        task::TaskName,
    },
};

/// A batch as the ledger has it.
#[derive(Debug, Clone)]
pub struct BatchRow {
    /// Its number.
    pub id: BatchId,
    /// Its name.
    pub name: String,
    /// Its definition's name.
    pub definition: String,
    /// What it does with each line.
    pub task: TaskName,
    /// Where its calls go.
    pub environment: Environment,
    /// What it was asked for, as it was submitted last.
    pub spec: StoredSpec,
    /// While its lines are being submitted: when its submitter wrote last. It is not worked until it is whole.
    pub submitting_at: Option<Millis>,
    /// When it was cancelled, unless it was taken up again since.
    pub cancelled_at: Option<Millis>,
    /// Who paused it, why, and in words.
    pub pause: Option<(PauseKind, String)>,
    /// Micro-USD spent, and reserved for calls in flight.
    pub spent: i64,
    /// See `spent`.
    pub reserved: i64,
    /// Micro-USD over all runs.
    pub max_spend: Option<i64>,
    /// When it was first submitted.
    pub submitted_at: Millis,
    /// When its first job was claimed.
    pub started_at: Option<Millis>,
    /// When nothing was due any more.
    pub finished_at: Option<Millis>,
    /// Since when it is paused.
    pub paused_at: Option<Millis>,
    /// When its pause ends by itself, if it does.
    pub pause_until: Option<Millis>,
    /// From when until when a service begins its calls; `None`: at any time.
    pub window: Option<(Millis, Millis)>,
}

listed! {
    /// How a batch stands, in one word.
    BatchPhase, "batch state" {
        /// Its lines are being submitted. It is not worked until it is whole.
        Submitting = "submitting",
        /// Its submission ended before it was whole. Submitting it again finishes it.
        CutOff = "cut off",
        /// It can be worked.
        Open = "open",
        /// No call is begun until it is resumed.
        Paused = "paused",
        /// The user took it back.
        Cancelled = "cancelled",
        /// Nothing is left to do.
        Finished = "finished",
    }
}

/// A submission that wrote nothing for so long is taken for cut off, in ms: its process writes several times a second.
const SUBMITTER_SILENT_MS: i64 = 60_000;

impl BatchRow {
    /// What it was asked for.
    ///
    /// # Errors
    /// Its specification does not read.
    pub fn specification(&self) -> Result<&BatchSpec, StoreError> {
        self.spec
            .read()
            .map_err(|fault| StoreError::Unexpected(format!("the specification of `{}`: {fault}", self.name)))
    }

    /// How it stands at `now` (ms since 1970), where it has so many jobs that are not finished.
    #[must_use]
    pub fn phase(&self, unfinished: u64, now: Millis) -> BatchPhase {
        match self.submitting_at {
            Some(at) if now - at > SUBMITTER_SILENT_MS => BatchPhase::CutOff,
            Some(_) => BatchPhase::Submitting,
            None if unfinished == 0 && self.cancelled_at.is_some() => BatchPhase::Cancelled,
            None if self.pause.is_some() => BatchPhase::Paused,
            None if unfinished == 0 => BatchPhase::Finished,
            None => BatchPhase::Open,
        }
    }
}

/// Jobs by state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many are in each state; superseded ones are in no count.
    pub by_state: BTreeMap<JobState, u64>,
    /// Audio of the finished ones, in ms.
    pub audio_ms: u64,
    /// Failed and suspect by kind: state, kind, count, one key.
    pub failures: Vec<(JobState, String, u64, String)>,
}

impl Counts {
    /// Jobs in a state.
    #[must_use]
    pub fn of(&self, state: JobState) -> u64 {
        self.by_state.get(&state).copied().unwrap_or(0)
    }

    /// All jobs.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_state.values().sum()
    }

    /// Jobs that somebody must still look at.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.of(JobState::Queued) + self.of(JobState::Running) + self.of(JobState::Awaiting)
    }
}

/// What a batch speaks, in characters of its lines' texts and in parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SynthesisCounts {
    /// Characters of all jobs.
    pub asked: u64,
    /// Of those, of the jobs that have a result.
    pub done: u64,
    /// Of those, of the jobs that somebody must still look at.
    pub left: u64,
    /// Of those, of parts that are there.
    pub at_work: u64,
    /// Parts of the jobs that have a result.
    pub parts: u64,
    /// Those of them that were there already.
    pub reused_parts: u64,
}

impl std::ops::AddAssign for SynthesisCounts {
    fn add_assign(&mut self, o: Self) {
        self.asked += o.asked;
        self.done += o.done;
        self.left += o.left;
        self.at_work += o.at_work;
        self.parts += o.parts;
        self.reused_parts += o.reused_parts;
    }
}

impl SynthesisCounts {
    /// Characters that are there.
    #[must_use]
    pub const fn there(&self) -> u64 {
        self.done + self.at_work
    }
}

/// What was spent, by model and reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spending {
    /// The model.
    pub model: String,
    /// Why the calls were made.
    pub why: Why,
    /// Calls.
    pub calls: u64,
    /// Those that may have been billed.
    pub billed: u64,
    /// Micro-USD at list price.
    pub cost: i64,
}

/// The kept answer of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowAnswer {
    /// It came with the row.
    Here(Body),
    /// It is long, and is asked for by itself: a page of such rows would not fit into memory.
    Apart(CallId),
}

/// One row of the report, as the ledger has it.
#[derive(Debug, Clone)]
pub struct ReportRow {
    /// The job.
    pub job: JobId,
    /// Its place in the report.
    pub ordinal: i64,
    /// Its line in the manifest.
    pub line: u64,
    /// Its key.
    pub key: String,
    /// Its state.
    pub state: JobState,
    /// Whether it is asked for.
    pub wanted: Wanted,
    /// Where its recording is.
    pub source: Option<String>,
    /// JSON of its own options.
    pub overrides: Option<String>,
    /// JSON array of carried cells.
    pub carried: Option<String>,
    /// Length in ms.
    pub audio_ms: Option<u64>,
    /// Channels.
    pub channels: Option<u16>,
    /// Tries used up in all.
    pub tries: u32,
    /// Calls that may have been billed.
    pub billed_calls: u32,
    /// Micro-USD.
    pub cost: i64,
    /// The vendor's id of the request that counts.
    pub request_id: Option<String>,
    /// Times, ms since 1970.
    pub submitted_at: Millis,
    /// First claim.
    pub started_at: Option<Millis>,
    /// End.
    pub finished_at: Option<Millis>,
    /// Time of the call that counts.
    pub processing_ms: Option<i64>,
    /// Why it failed.
    pub error_kind: Option<String>,
    /// In words.
    pub error: Option<String>,
    /// Joined by `;`.
    pub notes: Option<String>,
    /// What the vendor said about expiry.
    pub content_expiry: Option<String>,
    /// JSON array.
    pub outputs: Option<String>,
    /// The kept answer.
    pub answer: Option<RowAnswer>,
    /// Which of its line's jobs it is: voice and format. Empty where a line has one job.
    pub variant: String,
    /// Length of its text, in Unicode scalar values.
    pub characters: Option<u64>,
    /// Parts that its text was cut into.
    pub parts: Option<u64>,
    /// Those of them that were there already.
    pub reused_parts: Option<u64>,
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only this state.
    pub state: Option<JobState>,
    /// Only this key.
    pub key: Option<String>,
    /// At most so many.
    pub limit: u32,
    /// Also what is not asked for any more: in other voices or formats.
    pub with_dropped: bool,
}

/// A job with its calls.
#[derive(Debug, Clone)]
pub struct JobDetail {
    /// The job.
    pub row: ReportRow,
    /// How often the user's `retry` began it again.
    pub generation: i64,
    /// When it is looked at again.
    pub due_at: Option<Millis>,
    /// Its calls, oldest first.
    pub calls: Vec<CallRow>,
    /// Its parts that make it suspect.
    pub doubtful: Vec<i64>,
}

/// A call, for people.
#[derive(Debug, Clone)]
pub struct CallRow {
    /// Its id.
    pub id: CallId,
    /// Which part it was for, from 0.
    pub part: i64,
    /// Its state.
    pub state: CallState,
    /// Why it was made.
    pub why: Why,
    /// Its intent.
    pub sent_at: Millis,
    /// Its end.
    pub ended_at: Option<Millis>,
    /// The vendor's id.
    pub request_id: Option<String>,
    /// HTTP status.
    pub status: Option<u16>,
    /// What went wrong.
    pub error_kind: Option<ErrorKind>,
    /// In words.
    pub error: Option<String>,
    /// Micro-USD.
    pub cost: i64,
}

/// A pool's state and what the journal says of it.
#[derive(Debug, Clone)]
pub struct PoolView {
    /// The account's hash.
    pub account: String,
    /// The pool.
    pub pool: Pool,
    /// What processes share about it.
    pub state: PoolState,
    /// Calls in flight and in the window.
    pub traffic: Traffic,
}
