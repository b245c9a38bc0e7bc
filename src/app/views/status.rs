//! How a ledger and its batches stand.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{AnswersView, Moment, Seconds, SpendLimitView};
use crate::{
    clock::Millis,
    domain::{
        batch::MicroUsd,
        environment::Environment,
        job::JobState,
        pool::{Limits, Pool},
        retry::PauseKind,
        task::TaskName,
    },
    store::{BatchPhase, LedgerSizes, PoolView},
};

/// A ledger, its batches, and the account's limits.
#[derive(Debug, Clone, Serialize)]
pub struct StatusView {
    /// The ledger.
    pub ledger: LedgerView,
    /// The batches that were asked for.
    pub batches: Vec<BatchView>,
    /// The account's pools; none where it is not known which account that is.
    pub pools: Vec<PoolUse>,
    /// Spend limits of the day and of the month.
    pub spend_limits: Vec<SpendLimitView>,
    /// Processes at work, by their ids.
    pub processes: Vec<i64>,
    /// Whether processes work under different limits.
    pub processes_differ: bool,
    /// Two processes that do.
    #[serde(skip)]
    pub differing: Option<(i64, i64)>,
}

/// What a ledger takes on disk.
#[derive(Debug, Clone, Serialize)]
pub struct LedgerView {
    /// Its file.
    pub path: String,
    /// The file.
    pub bytes: u64,
    /// Free pages in it.
    pub free_bytes: u64,
    /// The write-ahead log beside it.
    pub wal_bytes: u64,
    /// The folder beside it for what is too big for it.
    pub spool_bytes: u64,
    /// Kept answers.
    pub answers: AnswersView,
}

impl LedgerView {
    /// Of a ledger at `path`.
    #[must_use]
    pub fn of(path: String, sizes: LedgerSizes, answers: AnswersView) -> Self {
        let LedgerSizes { file: bytes, free: free_bytes, wal: wal_bytes, spool: spool_bytes } = sizes;
        Self { path, bytes, free_bytes, wal_bytes, spool_bytes, answers }
    }
}

/// A batch, and how far it is.
#[derive(Debug, Clone, Serialize)]
pub struct BatchView {
    /// Its name.
    pub batch: String,
    /// Its definition's name.
    pub definition: String,
    /// What it does with each line.
    pub task: TaskName,
    /// Where its calls go.
    pub environment: Environment,
    /// From when until when a service begins its calls, if that is set.
    pub window: Option<WindowView>,
    /// How it stands.
    pub state: BatchPhase,
    /// Its pause, if it is paused.
    pub pause: Option<PauseView>,
    /// The address of its manifest.
    pub manifest: Option<String>,
    /// Where its outputs go.
    pub outputs: Option<String>,
    /// Why neither is known: its specification does not read.
    #[serde(skip)]
    pub unreadable: Option<String>,
    /// Jobs by state.
    pub lines: BTreeMap<JobState, u64>,
    /// All jobs.
    pub total: u64,
    /// Failed and suspect jobs by kind.
    pub failures: Vec<FailureView>,
    /// Audio of the finished jobs.
    pub audio_seconds: Seconds,
    /// What it cost over all its runs, at list price.
    pub spent_usd: MicroUsd,
    /// What is reserved for calls in flight.
    pub reserved_usd: MicroUsd,
    /// What it may cost, if that is limited.
    pub max_spend_usd: Option<MicroUsd>,
    /// When it was first submitted.
    pub submitted_at: Moment,
    /// When its first job was claimed.
    pub started_at: Option<Moment>,
    /// When nothing was left to do.
    pub finished_at: Option<Moment>,
    /// Of a synthesis, how much is spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synthesis: Option<SpeechView>,
}

impl BatchView {
    /// Jobs that are not finished.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        let of = |state| self.lines.get(&state).copied().unwrap_or(0);
        of(JobState::Queued) + of(JobState::Running) + of(JobState::Awaiting)
    }
}

/// From when until when.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct WindowView {
    /// Its begin.
    pub from: Moment,
    /// Its end.
    pub until: Moment,
}

/// Why a batch is paused.
#[derive(Debug, Clone, Serialize)]
pub struct PauseView {
    /// What paused it.
    pub kind: PauseKind,
    /// In words.
    pub reason: String,
    /// When it ends by itself, if it does.
    pub until: Option<Moment>,
}

/// Jobs that went wrong in one way.
#[derive(Debug, Clone, Serialize)]
pub struct FailureView {
    /// Failed or suspect.
    pub state: JobState,
    /// What went wrong.
    pub kind: String,
    /// How many jobs.
    pub count: u64,
    /// The key of one of them.
    pub key: String,
}

/// How much of a synthesis is there.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SpeechView {
    /// Characters that are asked for.
    pub characters: u64,
    /// Those of them that are bought, or were there.
    pub characters_there: u64,
    /// Parts that texts were cut into so far.
    pub parts: u64,
    /// Those of them that were there already.
    pub reused_parts: u64,
}

/// What is in use of a pool's limits.
#[derive(Debug, Clone, Serialize)]
pub struct PoolUse {
    /// The pool.
    pub pool: Pool,
    /// The limits that are set.
    pub limits: Limits,
    /// The limits in force, which 429s lower.
    pub effective: Limits,
    /// Calls in flight.
    pub in_flight: u32,
    /// Calls in the last minute.
    pub calls_in_last_minute: u32,
    /// Until when the API said to wait, if that is to come.
    pub cooldown_until: Option<Moment>,
    /// Since when the API is out of reach.
    pub outage_since: Option<Moment>,
    /// When it is tried next whether it is.
    #[serde(skip)]
    pub probe_at: Moment,
}

impl PoolUse {
    /// Of a pool at `now`, in ms since 1970.
    #[must_use]
    pub fn of(view: &PoolView, limits: Limits, now: Millis) -> Self {
        let (state, traffic) = (&view.state, &view.traffic);
        Self {
            pool: view.pool,
            limits,
            effective: state.effective(&limits, now),
            in_flight: traffic.in_flight,
            calls_in_last_minute: traffic.in_window,
            cooldown_until: Some(Moment(state.cooldown_until)).filter(|at| at.0 > now),
            outage_since: state.outage_since.map(Moment),
            probe_at: Moment(state.probe_at),
        }
    }
}
