//! The status of a ledger and its batches.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{AnswersView, Moment, Seconds, SpendLimitView};
use crate::{
    clock::Millis,
    domain::{
        batch::MicroUsd,
        chat::Usage,
        environment::Environment,
        job::JobState,
        pool::{Limits, Pool},
        process::{ProcessName, SettingDifference},
        retry::PauseKind,
        task::TaskName,
    },
    store::{BatchPhase, LedgerSizes, Life, PoolView, Registered},
};

/// A ledger, its batches, and the account's limits.
#[derive(Debug, Clone, Serialize)]
pub struct StatusView {
    /// The ledger.
    pub ledger: LedgerView,
    /// The requested batches.
    pub batches: Vec<BatchView>,
    /// The account's pools; empty if the account is unknown.
    pub pools: Vec<PoolUse>,
    /// Spend limits of the day and of the month.
    pub spend_limits: Vec<SpendLimitView>,
    /// The processes that registered for work and did not leave.
    pub processes: Vec<ProcessView>,
    /// Whether processes at work have different settings.
    pub processes_differ: bool,
    /// The settings that differ, each with its values.
    pub differing_settings: Vec<DifferenceView>,
    /// The same, for words.
    #[serde(skip)]
    pub differences: Vec<SettingDifference>,
}

/// A process that works on the ledger.
#[derive(Debug, Clone, Serialize)]
pub struct ProcessView {
    /// The name of its machine.
    pub host: String,
    /// Its number there.
    pub pid: i64,
    /// The wavebatch that it is.
    pub version: String,
    /// Whether it lives.
    pub state: ProcessState,
    /// When it began to work.
    pub started_at: Moment,
    /// The time since its last heartbeat.
    pub beat_age_seconds: Seconds,
    /// Lines in its hands.
    pub lines: u64,
    /// Its calls in flight, by pool.
    pub calls_in_flight: BTreeMap<Pool, u32>,
}

impl ProcessView {
    /// The view of a process at `now`, in ms since 1970.
    #[must_use]
    pub fn of(process: Registered, now: Millis) -> Self {
        Self {
            host: process.host,
            pid: process.pid,
            version: process.version,
            state: match process.life {
                Life::AtWork => ProcessState::AtWork,
                Life::Silent => ProcessState::Silent,
                Life::Dead => ProcessState::Died,
            },
            started_at: Moment(process.started_at),
            beat_age_seconds: Seconds(u64::try_from(now - process.beat_at).unwrap_or(0)),
            lines: process.lines,
            calls_in_flight: process.calls,
        }
    }
}

/// Whether a process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// It has a heartbeat.
    AtWork,
    /// Its heartbeat is older than a lease, and nothing proves that it is dead.
    Silent,
    /// It is dead: the next process at work goes on with its lines.
    Died,
}

/// A setting that processes have with different values.
#[derive(Debug, Clone, Serialize)]
pub struct DifferenceView {
    /// Its place in `wavebatch.toml`.
    pub setting: String,
    /// Its values.
    pub values: Vec<DifferentValueView>,
}

/// A value that some processes have.
#[derive(Debug, Clone, Serialize)]
pub struct DifferentValueView {
    /// The value; `null`: none is set.
    pub value: serde_json::Value,
    /// The processes.
    pub processes: Vec<ProcessNameView>,
}

/// A process of some machine.
#[derive(Debug, Clone, Serialize)]
pub struct ProcessNameView {
    /// The name of its machine.
    pub host: String,
    /// Its number there.
    pub pid: i64,
}

impl From<&SettingDifference> for DifferenceView {
    fn from(difference: &SettingDifference) -> Self {
        let name = |name: &ProcessName| ProcessNameView { host: name.host.clone(), pid: name.pid };
        let values = difference.values.iter().map(|(value, processes)| DifferentValueView {
            value: value.clone(),
            processes: processes.iter().map(name).collect(),
        });
        Self { setting: difference.setting.clone(), values: values.collect() }
    }
}

/// The size of a ledger on disk.
#[derive(Debug, Clone, Serialize)]
pub struct LedgerView {
    /// The path of its file.
    pub path: String,
    /// The size of the file.
    pub bytes: u64,
    /// Free pages in it.
    pub free_bytes: u64,
    /// The write-ahead log beside it.
    pub wal_bytes: u64,
    /// The spool folder beside it, for large data.
    pub spool_bytes: u64,
    /// Kept answers.
    pub answers: AnswersView,
}

impl LedgerView {
    /// The view of a ledger at `path`.
    #[must_use]
    pub fn of(path: String, sizes: LedgerSizes, answers: AnswersView) -> Self {
        let LedgerSizes { file: bytes, free: free_bytes, wal: wal_bytes, spool: spool_bytes } = sizes;
        Self { path, bytes, free_bytes, wal_bytes, spool_bytes, answers }
    }
}

/// A batch and its progress.
#[derive(Debug, Clone, Serialize)]
pub struct BatchView {
    /// Its name.
    pub batch: String,
    /// Its definition's name.
    pub definition: String,
    /// Its task.
    pub task: TaskName,
    /// The environment of its calls.
    pub environment: Environment,
    /// The window in which a service starts its calls, if there is one.
    pub window: Option<WindowView>,
    /// Its state.
    pub state: BatchPhase,
    /// Its pause, if it is paused.
    pub pause: Option<PauseView>,
    /// The address of its manifest.
    pub manifest: Option<String>,
    /// Where its outputs go.
    pub outputs: Option<String>,
    /// Why neither is known: the specification cannot be read.
    #[serde(skip)]
    pub unreadable: Option<String>,
    /// Jobs by state.
    pub lines: BTreeMap<JobState, u64>,
    /// Running jobs of processes that died.
    #[serde(skip)]
    pub left_behind: u64,
    /// The total number of jobs.
    pub total: u64,
    /// Failed and suspect jobs by kind.
    pub failures: Vec<FailureView>,
    /// Audio of the finished jobs.
    pub audio_seconds: Seconds,
    /// The cost over all its runs, at list price.
    pub spent_usd: MicroUsd,
    /// The amount reserved for calls in flight.
    pub reserved_usd: MicroUsd,
    /// Its spend limit, if it has one.
    pub max_spend_usd: Option<MicroUsd>,
    /// When it was first submitted.
    pub submitted_at: Moment,
    /// When its first job was claimed.
    pub started_at: Option<Moment>,
    /// When its last job was finished.
    pub finished_at: Option<Moment>,
    /// For a synthesis, its progress in characters and parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub synthesis: Option<SynthesisProgressView>,
    /// For a chat, the tokens of its replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Usage>,
}

impl BatchView {
    /// The number of unfinished jobs.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        let of = |state| self.lines.get(&state).copied().unwrap_or(0);
        of(JobState::Queued) + of(JobState::Running) + of(JobState::Awaiting)
    }
}

/// A time window.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct WindowView {
    /// Its start.
    pub from: Moment,
    /// Its end.
    pub until: Moment,
}

/// The reason for a pause.
#[derive(Debug, Clone, Serialize)]
pub struct PauseView {
    /// What paused it.
    pub kind: PauseKind,
    /// The message.
    pub reason: String,
    /// When the pause ends by itself, if it does.
    pub until: Option<Moment>,
}

/// Jobs with the same kind of failure.
#[derive(Debug, Clone, Serialize)]
pub struct FailureView {
    /// Failed or suspect.
    pub state: JobState,
    /// The kind of failure.
    pub kind: String,
    /// The number of jobs.
    pub count: u64,
    /// The key of one of them.
    pub key: String,
}

/// The progress of a synthesis.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SynthesisProgressView {
    /// The characters of all its texts.
    pub characters: u64,
    /// The characters whose audio is bought or was in the cache.
    pub characters_there: u64,
    /// The number of parts so far.
    pub parts: u64,
    /// The parts that did not have to be bought.
    pub reused_parts: u64,
}

/// The use of a pool's limits.
#[derive(Debug, Clone, Serialize)]
pub struct PoolUse {
    /// The pool.
    pub pool: Pool,
    /// The limits that are set.
    pub limits: Limits,
    /// The limits in force. 429 responses lower them.
    pub effective: Limits,
    /// Calls in flight.
    pub in_flight: u32,
    /// Calls in the last minute.
    pub calls_in_last_minute: u32,
    /// The end of the wait that the API requested, if it is in the future.
    pub cooldown_until: Option<Moment>,
    /// Since when the API is unreachable.
    pub outage_since: Option<Moment>,
    /// When the API is probed next.
    #[serde(skip)]
    pub probe_at: Moment,
}

impl PoolUse {
    /// The view of a pool at `now`, in ms since 1970.
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
