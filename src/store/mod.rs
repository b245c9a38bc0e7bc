//! The ledger: every batch, job, call and answer, in one SQLite file. The only home of `sqlx`.
//!
//! All writing goes through one task per process (`writer`) that commits what is waiting as one transaction; reading goes
//! through a small pool. Methods speak domain words, and hold for any engine behind them.

mod audio_cache;
mod beat;
mod begin;
mod callbacks;
mod claim;
mod clips;
mod columns;
mod commands;
mod content;
mod control;
mod deliveries;
mod dictionaries;
mod diff;
mod end;
mod error;
mod fence;
mod intent;
mod lines;
mod look;
mod notices;
mod open;
mod outcome;
mod outputs;
mod packed;
mod parts;
mod pauses;
mod permit;
mod processes;
mod prune;
mod purchase;
mod read;
mod rows;
mod sample;
mod schedules;
mod scratch;
mod settle;
mod sizes;
mod space;
mod spec;
mod spend;
mod spend_limits;
mod spool;
mod sql;
mod submit;
mod synthesis_counts;
mod texts;
mod uploads;
mod views;
mod vitals;
mod wanted;
mod window;
mod writer;

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
pub use audio_cache::{AudioCache, CachedClip};
pub use begin::{Begun, NewBatch, Resubmission};
pub use callbacks::{Callback, CallbackContent, Effect, Expected};
pub use claim::{ClaimRequest, Claimed, Order};
pub use control::{Cancelled, Chosen, Retried};
pub use deliveries::AnswerFacts;
pub use diff::{Diff, DiffSet, JobPlan, Readdressed, ToRead};
pub use end::{End, EndReply, Ended, PoolEffect};
pub use error::StoreError;
pub use lines::{BadJob, BadSet, LineSet, NewJob, NewLocal, NewSynthesis};
pub use notices::{NewNotice, Notice, Undelivered};
pub use open::{MIN_SQLITE, Opening, real_path};
pub use outputs::{OutputFile, Ownership, Writes};
pub use parts::PlannedPart;
pub use permit::{Denial, Permit, PermitAsk};
pub use processes::Enlisted;
pub use prune::Pruned;
pub use purchase::{Clip, Purchase};
pub use schedules::{LastRun, NewRun, ScheduleView, Settling, TakenRun, WaitingRun};
pub use scratch::Scratch;
pub use settle::{Finish, Settled, Settlement, To};
pub use sizes::{KeptAnswers, LedgerSizes};
pub use spec::StoredSpec;
pub use spend::{SpendAsk, SpendBy, SpendGroup, SpendSums, Spent};
pub use spend_limits::{Lifted, SpendNotice};
pub use spool::{ClipTotals, SpoolLimits, SpoolPruned, SpoolView};
pub use submit::Submitted;
pub use texts::Text;
pub use uploads::Upload;
pub use views::{
    BatchPhase, BatchRow, CallRow, Counts, JobDetail, JobFilter, PoolView, ReportRow, RowAnswer, Spending,
    SynthesisCounts,
};
pub use vitals::Vitals;
pub use wanted::{LineMark, ReadLines, Rewanted};
pub use window::BatchStatus;

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
    beaten_at: AtomicI64,
    /// Low half of the next token.
    tokens: AtomicI64,
    /// Cancelled when the writer has closed its connection.
    closed: CancellationToken,
    /// Cancelled when this process was asked to end: a ledger that cannot be written is waited for a little longer.
    hurry: CancellationToken,
    /// Cancelled when it is waited for no longer.
    give_up: CancellationToken,
    /// Whether this process starts calls only within the windows of their batches.
    enforces_windows: AtomicBool,
    /// Whether this process ever claimed a line of a batch that is probed.
    probes: AtomicBool,
    /// Told when something became due here that nobody waits for.
    woken: Notify,
    /// The batches that do not read and that were told of.
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
    /// Milliseconds since 1970, by the wall clock, which somebody may set.
    wall: Millis,
    /// Milliseconds since the machine started.
    boot: Millis,
    /// Which start that was.
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
    commands: mpsc::Sender<writer::Command>,
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

    /// The id that was made with the ledger.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The clock that stamps this ledger.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// The lease times of this process.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.shared.timing
    }

    /// The folder beside the ledger for what is too big for it.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_os_string();
        name.push("-spool");
        self.path.with_file_name(name)
    }

    /// This process was asked to end: a ledger that cannot be written is waited for 20 s more.
    pub fn hurry(&self) {
        self.shared.hurry.cancel();
    }

    /// From now on nothing waits for a ledger that cannot be written: it is tried once, and refused. A paid answer that
    /// is refused so leaves its call open, and the next run asks the vendor's log for it.
    pub fn give_up(&self) {
        self.shared.give_up.cancel();
    }

    fn now(&self) -> Millis {
        self.shared.clock.now()
    }

    fn moment(&self) -> Moment {
        Moment::of(&self.shared.clock)
    }

    async fn send<T>(&self, make: impl FnOnce(WriterReply<T>) -> writer::Command) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(make(reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Runs `work` inside the writer's next transaction. It may run more than once: after a roll-back each piece of work
    /// gets a transaction of its own.
    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut SqliteConnection, Millis) -> BoxFuture<'c, Result<T, StoreError>> + Send + Sync + 'static,
    {
        let any = self.send(|reply| writer::Command::WriterTask(writer::WriterTask::new(work, reply))).await?;
        Ok(*any.downcast::<T>().expect("the reply has the type of the work"))
    }

    /// Waits until everything sent before is committed, then closes the ledger. The last handle leaves one file: what
    /// stood in the log beside it is brought in, so that a copy of the ledger is a whole one.
    pub async fn close(self) {
        if self.commands.strong_count() > 1 {
            // What was asked for before is done. The last handle has the writer do all that is left and end.
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
