//! The ledger: every batch, job, call and answer, in one SQLite file. Only this module uses `sqlx`.
//!
//! One task per process (`writer`) does all writing and commits the waiting commands as one transaction. A small pool
//! does all reading. The methods use the domain's types and hold for any engine behind them.
//!
//! | module | contents |
//! | --- | --- |
//! | `engine` | the one connection that writes, values in rows, what SQLite needs, which processes work on the ledger |
//! | `batches` | batches and their lines: submitting, the user's verbs, pauses and windows |
//! | `jobs` | who works on a job, how it ends, and which files belong to it |
//! | `calls` | the journal: permits, the intents that they write, and how calls end |
//! | `cache` | what is kept beside the rows: audio in the spool, and answers until they are pruned |
//! | `queries` | read-only queries that return plain data |
//! | `notices`, `schedules` | pending notifications; definitions that run on a schedule |

mod batches;
mod cache;
mod calls;
mod engine;
mod error;
mod jobs;
mod notices;
mod queries;
mod schedules;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use futures::future::BoxFuture;
use sqlx::{SqliteConnection, SqlitePool};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Clock, Millis};

pub use crate::domain::body::Body;
pub use batches::begin::{Begun, NewBatch, Resubmission};
pub use batches::control::Cancelled;
pub use batches::diff::{AddressChange, Diff, DiffSet, JobPlan, ToRead};
pub use batches::lines::{BadJob, BadSet, LineSet, NewJob, NewLocal, NewSynthesis};
pub use batches::retry::{Chosen, FreeRetry, Retried};
pub use batches::spec::StoredSpec;
pub use batches::submit::Submitted;
pub use batches::wanted::{LineHash, ReadLines, WantedChanges};
pub use batches::window::BatchStatus;
pub use cache::audio_cache::{AudioCache, CachedClip};
pub use cache::prune::Pruned;
pub use cache::spool::{ClipTotals, SpoolLimits, SpoolPruned, SpoolView};
pub use calls::callbacks::{Callback, CallbackContent, Effect, Expected};
pub use calls::end::{End, EndReply, Ended, PoolEffect};
pub use calls::permit::{Denial, Permit, PermitRequest};
pub use calls::purchase::{Clip, Purchase};
pub use calls::spend_limits::{Lifted, SpendNotice};
pub use calls::uploads::Upload;
pub use engine::open::{MIN_SQLITE, Opening, real_path};
pub use engine::processes::{Enlisted, Life, Registered};
pub use engine::scratch::Scratch;
pub use error::StoreError;
pub use jobs::claim::{ClaimRequest, Claimed, Order};
pub use jobs::deliveries::AnswerFacts;
pub use jobs::outputs::{OutputFile, OwnedFile, Ownership, Writes};
pub use jobs::parts::{JobKeys, PartKeys, PlannedPart};
pub use jobs::settle::{Finish, Settled, Settlement, To};
pub use jobs::texts::Text;
pub use notices::{NewNotice, Notice, Undelivered};
pub use queries::selection::{Condition, Field, ReportScope, Selection};
pub use queries::sizes::{KeptAnswers, LedgerSizes};
pub use queries::spend::{SpendBy, SpendGroup, SpendQuery, SpendSums, Spent};
pub use queries::views::{
    BatchPhase, BatchRow, CallRow, Counts, JobDetail, JobFilter, PoolView, ReportRow, RowAnswer, Spending,
    SynthesisCounts,
};
pub use queries::vitals::Vitals;
pub use schedules::{LastRun, NewRun, ScheduleAdvance, ScheduleView, TakenRun, WaitingRun};

/// Lease times. Tests shorten them.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// How long a claim, and a slot, holds without a heartbeat, in ms.
    pub lease_ms: i64,
    /// Time between heartbeats, in ms.
    pub beat_ms: i64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { lease_ms: 15_000, beat_ms: 3_000 }
    }
}

/// What the writer shares with the handles.
#[derive(Debug)]
struct StoreShared {
    clock: Clock,
    timing: Timing,
    /// This process's row; 0 = it does not work on the ledger.
    process: AtomicI64,
    /// Boot clock at the last committed heartbeat, in ms.
    heartbeat_at: AtomicI64,
    /// Low half of the next token.
    tokens: AtomicI64,
    /// Cancelled when the writer has closed its connection.
    closed: CancellationToken,
    /// Cancelled when this process was asked to end: it waits only a little longer for a ledger that cannot be written.
    hurry: CancellationToken,
    /// Cancelled when it waits no longer.
    give_up: CancellationToken,
    /// Whether a newer program migrated the ledger.
    outgrown: engine::schema::Outgrown,
    /// Whether this process starts calls only within the windows of their batches.
    enforces_windows: AtomicBool,
    /// Whether this process ever claimed a line of a batch that was being probed.
    probes: AtomicBool,
    /// Notified when something became due here and no task waits for it.
    woken: Notify,
    /// The unreadable batches that were already reported.
    unreadable: Mutex<HashSet<i64>>,
}

impl StoreShared {
    fn enforces_windows(&self) -> bool {
        self.enforces_windows.load(Ordering::Relaxed)
    }

    fn next_token(&self) -> i64 {
        (self.process.load(Ordering::Relaxed) << 32) | (self.tokens.fetch_add(1, Ordering::Relaxed) & 0xffff_ffff)
    }
}

/// A moment, by all clocks.
#[derive(Debug, Clone, Copy)]
struct Moment {
    /// Milliseconds since 1970, by the wall clock, which can be set at any time.
    wall: Millis,
    /// Milliseconds since the machine started.
    boot: Millis,
    /// Which start of the machine that was.
    boot_id: Option<&'static str>,
}

impl Moment {
    fn of(clock: &Clock) -> Self {
        Self { wall: clock.now(), boot: clock.boot(), boot_id: clock::boot_id() }
    }
}

/// A handle on the ledger. Cheap to clone; the writer stops when the last handle is gone.
#[derive(Debug, Clone)]
pub struct Store {
    commands: mpsc::Sender<engine::writer::Command>,
    read: SqlitePool,
    shared: Arc<StoreShared>,
    path: Arc<PathBuf>,
    id: Arc<str>,
}

impl Store {
    /// The ledger's absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The id that was generated with the ledger.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The clock for the stamps of this ledger.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The lease times of this process.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.shared.timing
    }

    /// The folder beside the ledger for what is too large for the ledger.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_os_string();
        name.push("-spool");
        self.path.with_file_name(name)
    }

    /// This process was asked to end: it waits 20 s more for a ledger that cannot be written.
    pub fn hurry(&self) {
        self.shared.hurry.cancel();
    }

    /// From now on nothing waits for a ledger that cannot be written: each write is tried once, then refused. A refused
    /// write of a paid answer leaves its call open, and the next run looks for it in the vendor's log.
    pub fn give_up(&self) {
        self.shared.give_up.cancel();
    }

    fn now(&self) -> Millis {
        self.shared.clock.now()
    }

    fn moment(&self) -> Moment {
        Moment::of(&self.shared.clock)
    }

    async fn send<T>(&self, make: impl FnOnce(WriterReply<T>) -> engine::writer::Command) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(make(reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs `work` inside the writer's next transaction. It may run more than once: after a roll-back each command gets a
    /// transaction of its own.
    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut SqliteConnection, Millis) -> BoxFuture<'c, Result<T, StoreError>> + Send + Sync + 'static,
    {
        let any = self
            .send(|reply| engine::writer::Command::WriterTask(engine::writer::WriterTask::new(work, reply)))
            .await?;
        Ok(*any.downcast::<T>().expect("the reply has the type of the work"))
    }

    /// Waits until everything sent before is committed, then closes the ledger. The last handle merges the write-ahead
    /// log into the ledger, so that a copy of that one file is complete.
    pub async fn close(self) {
        if self.commands.strong_count() > 1 {
            // All earlier commands are done. The last handle makes the writer do what is left and end.
            let _ = self.write(|_, _| Box::pin(async { Ok(()) })).await;
        }
        self.read.close().await;
        let Self { commands, shared, .. } = self;
        let last = commands.strong_count() == 1;
        drop(commands);
        if last {
            shared.closed.cancelled().await;
        }
    }
}

type WriterReply<T> = oneshot::Sender<Result<T, StoreError>>;

#[cfg(test)]
mod again_tests;
#[cfg(test)]
mod callback_tests;
#[cfg(test)]
mod content_tests;
#[cfg(test)]
mod control_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod money_tests;
#[cfg(test)]
mod notice_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod prune_tests;
#[cfg(test)]
mod service_tests;
#[cfg(test)]
mod spend_limit_tests;
#[cfg(test)]
mod submit_tests;
#[cfg(test)]
mod synthesis_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vitals_tests;
