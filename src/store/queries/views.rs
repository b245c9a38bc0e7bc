//! Query results for people and reports: plain data, read only.

use std::collections::BTreeMap;

use crate::store::{Selection, StoreError, StoredSpec};
use crate::{
    clock::Millis,
    domain::{
        batch::BatchSpec,
        body::Body,
        call::ErrorKind,
        environment::Environment,
        facts::ReplyFacts,
        job::{BatchId, CallId, CallState, JobId, JobState, Wanted, Why},
        options::listed,
        pool::{Pool, PoolState, Traffic},
        retry::PauseKind,
        talk::Talk,
        task::TaskName,
    },
};

/// A batch as it is in the ledger.
#[derive(Debug, Clone)]
pub struct BatchRow {
    /// Its number.
    pub id: BatchId,
    /// Its name.
    pub name: String,
    /// Its definition's name.
    pub definition: String,
    /// The task for each line.
    pub task: TaskName,
    /// The environment of its calls.
    pub environment: Environment,
    /// Its specification, as last submitted.
    pub spec: StoredSpec,
    /// While its lines are being submitted: when its submitter wrote last. The batch is not worked until it is complete.
    pub submitting_at: Option<Millis>,
    /// When it was cancelled, unless it was reopened since then.
    pub cancelled_at: Option<Millis>,
    /// The kind of its pause, and the reason in words.
    pub pause: Option<(PauseKind, String)>,
    /// The micro-USD that its calls cost.
    pub spent: i64,
    /// The micro-USD that are reserved for its open calls.
    pub reserved: i64,
    /// The spend limit over all runs, in micro-USD.
    pub max_spend: Option<i64>,
    /// When it was first submitted.
    pub submitted_at: Millis,
    /// When its first job was claimed.
    pub started_at: Option<Millis>,
    /// When none of its jobs was due any more.
    pub finished_at: Option<Millis>,
    /// When its pause began.
    pub paused_at: Option<Millis>,
    /// When its pause ends by itself, if it does.
    pub pause_until: Option<Millis>,
    /// The window in which a service begins its calls; `None`: at any time.
    pub window: Option<(Millis, Millis)>,
    /// The batch whose finished lines are its manifest.
    pub fed_by: Option<BatchId>,
}

listed! {
    /// The status of a batch in one word.
    BatchPhase, "batch state" {
        /// Its lines are being submitted. It is not worked until it is complete.
        Submitting = "submitting",
        /// Its submission ended before it was complete. Submitting it again finishes it.
        CutOff = "cut off",
        /// It can be worked.
        Open = "open",
        /// No call begins until it is resumed.
        Paused = "paused",
        /// The user cancelled it.
        Cancelled = "cancelled",
        /// Nothing is left to do.
        Finished = "finished",
    }
}

/// After this time without a write a submission counts as cut off, in ms: its process writes several times a second.
const SUBMITTER_SILENT_MS: i64 = 60_000;

impl BatchRow {
    /// Its specification.
    ///
    /// # Errors
    /// The specification cannot be parsed.
    pub fn specification(&self) -> Result<&BatchSpec, StoreError> {
        self.spec
            .read()
            .map_err(|fault| StoreError::Unexpected(format!("the specification of `{}`: {fault}", self.name)))
    }

    /// Its status at `now` (ms since 1970), given how many of its jobs are not finished.
    #[must_use]
    pub fn phase(&self, unfinished: u64, now: Millis) -> BatchPhase {
        match self.submitting_at {
            Some(at) if now - at > SUBMITTER_SILENT_MS => BatchPhase::CutOff,
            Some(_) => BatchPhase::Submitting,
            None if unfinished == 0 && self.cancelled_at.is_some() => BatchPhase::Cancelled,
            None if self.pause.is_some() => BatchPhase::Paused,
            None if unfinished == 0 && (self.fed_by.is_none() || self.finished_at.is_some()) => BatchPhase::Finished,
            None => BatchPhase::Open,
        }
    }
}

/// Jobs by state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many jobs are in each state, without superseded ones.
    pub by_state: BTreeMap<JobState, u64>,
    /// Audio of the finished jobs, in ms.
    pub audio_ms: u64,
    /// Failed and suspect jobs by kind: state, kind, count, one key.
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

    /// Jobs that are not finished.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.of(JobState::Queued) + self.of(JobState::Running) + self.of(JobState::Awaiting)
    }
}

/// How much a batch synthesizes, in characters of its lines' texts and in parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SynthesisCounts {
    /// Characters of all jobs.
    pub asked: u64,
    /// The characters of the jobs that have a result.
    pub done: u64,
    /// The characters of the jobs that are not finished.
    pub left: u64,
    /// The characters of the parts that running jobs already have.
    pub at_work: u64,
    /// Parts of the jobs that have a result.
    pub parts: u64,
    /// How many of those parts were in the audio cache already.
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
    /// The characters whose audio is there.
    #[must_use]
    pub const fn there(&self) -> u64 {
        self.done + self.at_work
    }
}

/// The cost of calls, by model and reason.
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
    /// The cost at list price, in micro-USD.
    pub cost: i64,
}

/// The kept answer of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowAnswer {
    /// It came with the row.
    Here(Body),
    /// It is long and must be read separately: a page of such rows would not fit into memory.
    Apart(CallId),
}

/// One row of the report, as it is in the ledger.
#[derive(Debug, Clone)]
pub struct ReportRow {
    /// The job.
    pub job: JobId,
    /// Its position in the report.
    pub ordinal: i64,
    /// Its line number in the manifest.
    pub line: u64,
    /// Its key.
    pub key: String,
    /// Its state.
    pub state: JobState,
    /// Whether it is wanted.
    pub wanted: Wanted,
    /// The address of its recording.
    pub source: Option<String>,
    /// JSON of its own options.
    pub overrides: Option<String>,
    /// JSON array of carried cells.
    pub carried: Option<String>,
    /// Length of the audio, in ms.
    pub audio_ms: Option<u64>,
    /// Number of channels.
    pub channels: Option<u16>,
    /// The figures of the conversation, if its sides were transcribed apart.
    pub talk: Option<Talk>,
    /// Why its channels were not transcribed as asked for.
    pub channels_note: Option<String>,
    /// What a model replied, and what that used.
    pub reply: Option<ReplyFacts>,
    /// How many tries it has used up: those that failed.
    pub tries: u32,
    /// Whether a call of it was answered since it was begun, or begun again.
    pub answered: bool,
    /// How many calls may have been billed.
    pub billed_calls: u32,
    /// The cost in micro-USD.
    pub cost: i64,
    /// The vendor's id of the request that counts.
    pub request_id: Option<String>,
    /// When it was submitted, in ms since 1970.
    pub submitted_at: Millis,
    /// When it was first claimed, in ms since 1970.
    pub started_at: Option<Millis>,
    /// When it ended, in ms since 1970.
    pub finished_at: Option<Millis>,
    /// Time of the call that counts, in ms.
    pub processing_ms: Option<i64>,
    /// Why it failed.
    pub error_kind: Option<String>,
    /// The reason in words.
    pub error: Option<String>,
    /// Notes, joined by `;`.
    pub notes: Option<String>,
    /// The vendor's `x-content-expiry`.
    pub content_expiry: Option<String>,
    /// JSON array of receipts.
    pub outputs: Option<String>,
    /// When it was forgotten, in ms since 1970.
    pub forgotten_at: Option<Millis>,
    /// The kept answer.
    pub answer: Option<RowAnswer>,
    /// Which of its line's jobs it is: voice, format, and the language where a line has several texts. Empty where a line has one job.
    pub variant: String,
    /// Length of its text, in Unicode scalar values.
    pub characters: Option<u64>,
    /// How many parts its text was cut into.
    pub parts: Option<u64>,
    /// How many of those parts were in the audio cache already.
    pub reused_parts: Option<u64>,
    /// The text that is spoken, if somebody has looked it up.
    pub text: Option<String>,
}

impl ReportRow {
    /// How many tries were made: those that failed, and the one that was answered.
    #[must_use]
    pub fn tries_made(&self) -> u32 {
        self.tries + u32::from(self.answered)
    }
}

/// Which jobs to list.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only these lines.
    pub lines: Selection,
    /// Only jobs after this place in the report: ordinal and number.
    pub after: (i64, i64),
    /// At most this many jobs.
    pub limit: u32,
    /// Whether to list also jobs that are not wanted any more, in other voices, formats or languages.
    pub with_dropped: bool,
}

/// A job with its calls.
#[derive(Debug, Clone)]
pub struct JobDetail {
    /// The job.
    pub row: ReportRow,
    /// How often the user's `retry` started it again.
    pub generation: i64,
    /// When it is due again.
    pub due_at: Option<Millis>,
    /// Its calls, oldest first.
    pub calls: Vec<CallRow>,
    /// The parts that make it suspect.
    pub doubtful: Vec<i64>,
}

/// A call, for display.
#[derive(Debug, Clone)]
pub struct CallRow {
    /// Its id.
    pub id: CallId,
    /// The part of the job, from 0.
    pub part: i64,
    /// Its state.
    pub state: CallState,
    /// Why it was made.
    pub why: Why,
    /// When it was sent, in ms since 1970.
    pub sent_at: Millis,
    /// When it ended, in ms since 1970.
    pub ended_at: Option<Millis>,
    /// The vendor's id of the request.
    pub request_id: Option<String>,
    /// HTTP status.
    pub status: Option<u16>,
    /// The kind of error.
    pub error_kind: Option<ErrorKind>,
    /// The error in words.
    pub error: Option<String>,
    /// The cost in micro-USD.
    pub cost: i64,
}

/// A pool's state, and the traffic by the journal.
#[derive(Debug, Clone)]
pub struct PoolView {
    /// The account's hash.
    pub account: String,
    /// The pool.
    pub pool: Pool,
    /// The state that processes share about it.
    pub state: PoolState,
    /// Calls in flight, and calls in the rate's window.
    pub traffic: Traffic,
}
