//! The ledger: every batch, job, call and answer, in one SQLite file or a PostgreSQL database. Only this module uses `sqlx`.
//!
//! One task per process (`writer`) does all writing and commits the waiting commands as one transaction. A small pool
//! does all reading. The methods use the domain's types and hold for any engine behind them.
//!
//! | module | contents |
//! | --- | --- |
//! | `engine` | the one connection that writes, values in rows, what each database needs, which processes work on the ledger |
//! | `batches` | batches and their lines: submitting, the user's verbs, pauses and windows |
//! | `jobs` | who works on a job, how it ends, and which files belong to it |
//! | `calls` | the journal: permits, the intents that they write, and how calls end |
//! | `backup` | a ledger in one file: made while others work on it, and put back |
//! | `copy` | moving a ledger to another place, whatever engines hold the two |
//! | `forget` | content of lines that goes, and the tombstones that stay |
//! | `cache` | what is kept beside the rows: audio in the spool, and answers until they are pruned |
//! | `queries` | read-only queries that return plain data |
//! | `notices`, `schedules` | pending notifications; definitions that run on a schedule |
//! | `secrets` | the secrets of callbacks and notifications, where the ledger is on a server |

mod backup;
mod batches;
mod cache;
mod calls;
mod copy;
mod engine;
mod error;
mod forget;
mod jobs;
mod notices;
mod queries;
mod schedules;
mod secrets;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock::{self, Clock, Millis};
use crate::store::engine::db::{Conn, Readers, too_slow};

pub use crate::domain::body::Body;
pub use backup::{BackedUp, Backup, BackupError, BackupHead, BackupRequest, Loss, OnBackup, Replaced};
pub use batches::begin::{Begun, NewBatch, NewFeed, Resubmission};
pub use batches::control::Cancelled;
pub use batches::diff::{AddressChange, Diff, DiffSet, JobPlan, ToRead};
pub use batches::feed::{FeedDone, FeedOrigin, FeedPage, FeedPlace, FeedRow, FeedStep};
pub use batches::lines::{BadJob, BadSet, LineSet, NewJob, NewLocal, NewSynthesis};
pub use batches::retry::{Chosen, FreeRetry, Retried};
pub use batches::spec::StoredSpec;
pub use batches::submit::Submitted;
pub use batches::wanted::{LineHash, ReadLines, WantedChanges};
pub use batches::window::BatchStatus;
pub use cache::audio_cache::{AudioCache, KeptClip, KeptClips};
pub use cache::check::{MissingClips, SpoolCheck};
pub use cache::erase::ErasedClip;
pub use cache::folder::{CachedClip, ClipFolder, ClipPlace};
pub use cache::home::{SpoolSetting, is_of_objects};
pub use cache::objects::{ClipObject, ClipObjects, EachObject};
pub use cache::prune::Pruned;
pub use cache::source::{ClipReader, ClipSource, ObjectSource};
pub use cache::spool::{ClipTotals, SpoolLimits, SpoolPruned, SpoolView};
pub use calls::callbacks::{Callback, CallbackContent, Effect, Expected};
pub use calls::end::{End, EndReply, Ended, PoolEffect};
pub use calls::permit::{Denial, Permit, PermitRequest};
pub use calls::purchase::{Clip, Purchase};
pub use calls::spend_limits::{Lifted, SpendNotice};
pub use calls::uploads::Upload;
pub use copy::{CopyError, CopyProgress, CopyStep, LedgerCopy, OnCopy, TableCopied};
pub use engine::address::{LedgerAddress, ServerAddress};
pub use engine::mark::{CopyEnd, CopyMark};
pub use engine::opening::{LOCAL_FILES, Opening};
pub use engine::processes::{Enlisted, Life, Registered};
pub use engine::scratch::Scratch;
pub use engine::sqlite::{MIN_SQLITE, real_path};
pub use error::{EngineError, StoreError};
pub use forget::{
    BusyLine, Cleaned, ForgetId, ForgetItem, ForgetPlan, ForgottenKeys, ForgottenLine, JobTraces, MarkRefused, Marked,
    OpenForget,
};
pub use jobs::claim::{ClaimRequest, Claimed, Order};
pub use jobs::deliveries::AnswerFacts;
pub use jobs::hearings::FrozenPart;
pub use jobs::outputs::{OutputFile, OwnedFile, Ownership, Writes};
pub use jobs::parts::{JobKeys, PartKeys, PlannedPart};
pub use jobs::settle::{Finish, Settled, Settlement, To};
pub use jobs::texts::Text;
pub use notices::{NewNotice, Notice, Undelivered};
pub use queries::check::Finding;
pub use queries::engine::{EngineFacts, LedgerGrowth};
pub use queries::ledger_views::{LEDGER_VIEWS, LedgerView, ViewColumn, ViewType};
pub use queries::selection::{Condition, Field, ReportScope, Selection};
pub use queries::sizes::{DiskSpace, KeptAnswers, LedgerPlaces, LedgerSizes};
pub use queries::spend::{SpendBy, SpendGroup, SpendQuery, SpendSums, Spent};
pub use queries::views::{
    BatchPhase, BatchRow, CallRow, Counts, JobDetail, JobFilter, PoolView, ReportRow, RowAnswer, Spending,
    SynthesisCounts,
};
pub use queries::vitals::Vitals;
pub use schedules::{
    DefinitionContent, LastRun, NewRun, ScheduleAdvance, ScheduleNode, ScheduleView, TakenRun, WaitingRun,
};
pub use secrets::LedgerSecret;

/// How long a process that is asked to end waits for a ledger that cannot be written, or be reached.
const LAST_WAIT: Duration = Duration::from_secs(20);
/// How long each answer of a server is still waited for that was given up.
const WAIT_AFTER_ALL: Duration = Duration::from_secs(1);

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
    /// What that row says of its limits.
    settings: Mutex<String>,
    /// Boot clock at the last committed heartbeat, in ms.
    heartbeat_at: AtomicI64,
    /// Low half of the next token.
    tokens: AtomicI64,
    /// Cancelled when the writer has closed its connection.
    closed: CancellationToken,
    /// Cancelled when this process was asked to end: it waits only a little longer for a ledger that cannot be written.
    hurry: CancellationToken,
    /// Since when it is asked to end.
    hurried_since: OnceLock<Instant>,
    /// Cancelled when it waits no longer.
    give_up: CancellationToken,
    /// Whether a newer program migrated the ledger, or it was copied elsewhere.
    outgrown: engine::schema::Outgrown,
    /// Whether this process starts calls only within the windows of their batches.
    enforces_windows: AtomicBool,
    /// Whether this process ever claimed a line of a batch that was being probed.
    probes: AtomicBool,
    /// Notified when something became due here and no task waits for it.
    woken: Notify,
    /// What is wrong with the ledger now.
    trouble: Mutex<Trouble>,
    /// The ledger's file, once it was opened beside SQLite. It stays open: closing it would drop SQLite's locks on it.
    beside_sqlite: OnceLock<Arc<std::fs::File>>,
    /// The unreadable batches that were already reported.
    unreadable: Mutex<HashSet<i64>>,
}

/// What is wrong with a ledger, and since when.
#[derive(Debug, Default)]
struct Trouble {
    /// Why it cannot be written.
    broken: Option<(Instant, String)>,
    /// Since when its server has been asked and has said nothing.
    silent_since: Option<Instant>,
}

impl StoreShared {
    fn enforces_windows(&self) -> bool {
        self.enforces_windows.load(Ordering::Relaxed)
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until when a process that was asked to end waits for a ledger that cannot be written, or be reached: from then on, or
    /// from when that began, if it was later.
    fn last_moment(&self) -> Option<Instant> {
        let asked = *self.hurried_since.get()?;
        let trouble = self.trouble();
        let broken_since = trouble.broken.as_ref().map(|(since, _)| *since);
        let since = broken_since.into_iter().chain(trouble.silent_since).min();
        Some(asked.max(since.unwrap_or_else(Instant::now)) + LAST_WAIT)
    }

    /// Whether this process waits no longer for a ledger that is out of reach. Then nothing else waits either.
    fn has_waited_long_enough(&self) -> bool {
        let is_over = self.last_moment().is_some_and(|until| Instant::now() >= until);
        if is_over {
            self.give_up.cancel();
        }
        is_over
    }

    /// What a server says, if it says it in time. A network may go silent without a word, so nothing is waited for without
    /// a limit. A process that was asked to end waits no longer than it waits for a ledger that is out of reach.
    async fn in_time<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.trouble().silent_since.get_or_insert_with(Instant::now);
        tokio::select! {
            biased;
            answer = answer => {
                if !matches!(answer, Err(StoreError::Unreachable(_))) {
                    self.trouble().silent_since = None;
                }
                return answer;
            }
            () = tokio::time::sleep(limit) => {}
            () = self.last_wait() => {}
        }
        Err(too_slow())
    }

    /// Ends when a process that was asked to end has waited long enough. Once the server is given up, each wait is short:
    /// what is left to do, such as the report, asks several times.
    async fn last_wait(&self) {
        let patience = async {
            self.hurry.cancelled().await;
            // The server may answer somebody else in the meantime: then there is more time.
            while let Some(until) = self.last_moment().filter(|until| Instant::now() < *until) {
                tokio::time::sleep_until(until.into()).await;
            }
        };
        tokio::select! {
            () = patience => {}
            () = self.give_up.cancelled() => tokio::time::sleep(WAIT_AFTER_ALL).await,
        }
    }

    /// Whether this process waits for a server that is out of reach: its lines must not fail for that.
    fn waits_for_server(&self) -> bool {
        self.process.load(Ordering::Relaxed) != 0 && !self.give_up.is_cancelled()
    }

    fn next_token(&self) -> i64 {
        (self.process.load(Ordering::Relaxed) << 32) | (self.tokens.fetch_add(1, Ordering::Relaxed) & 0xffff_ffff)
    }
}

/// Where a ledger was found.
#[derive(Debug)]
enum Place {
    /// A file, by its resolved path.
    File { path: PathBuf, shown: String },
    /// A database on a server; what is too large for it, or only of this machine, is in a folder here.
    Server { shown: String, local_files: PathBuf },
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
    /// The wall clock says `wall`.
    fn at(wall: Millis, clock: &Clock) -> Self {
        Self { wall, boot: clock.boot(), boot_id: clock::boot_id() }
    }
}

/// A handle on the ledger. Cheap to clone; the writer stops when the last handle is gone.
#[derive(Debug, Clone)]
pub struct Store {
    commands: mpsc::Sender<engine::writer::Command>,
    read: Readers,
    shared: Arc<StoreShared>,
    place: Arc<Place>,
    id: Arc<str>,
    home: Arc<cache::home::ClipHome>,
}

impl Store {
    /// The ledger's address: the resolved path of a file, or the address of a database without its password.
    #[must_use]
    pub fn address(&self) -> &str {
        match &*self.place {
            Place::File { shown, .. } | Place::Server { shown, .. } => shown,
        }
    }

    /// The ledger's file; `None` where it is on a server.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &*self.place {
            Place::File { path, .. } => Some(path),
            Place::Server { .. } => None,
        }
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

    /// The folder on this machine for what is too large for the ledger: beside a file.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        match &*self.place {
            Place::File { path, .. } => engine::sqlite::spool_beside(path),
            Place::Server { local_files, .. } => local_files.clone(),
        }
    }

    /// This process was asked to end: it waits 20 s more for a ledger that cannot be written.
    pub fn hurry(&self) {
        let _ = self.shared.hurried_since.set(Instant::now());
        self.shared.hurry.cancel();
    }

    /// From now on nothing waits for a ledger that cannot be written: each write is tried once, then refused. A refused
    /// write of a paid answer leaves its call open, and the next run looks for it in the vendor's log.
    pub fn give_up(&self) {
        self.shared.give_up.cancel();
    }

    /// Why the ledger cannot be written now, if writes wait until it can.
    #[must_use]
    pub fn why_broken(&self) -> Option<String> {
        self.shared.trouble().broken.as_ref().map(|(_, why)| why.clone())
    }

    /// Whether nothing waits any more for a ledger that cannot be written or reached.
    #[must_use]
    pub fn has_given_up(&self) -> bool {
        self.shared.give_up.is_cancelled()
    }

    fn now(&self) -> Millis {
        self.shared.clock.now()
    }

    fn moment(&self) -> Moment {
        Moment::at(self.now(), &self.shared.clock)
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
        F: for<'c> Fn(&'c mut Conn, Millis) -> BoxFuture<'c, Result<T, StoreError>> + Send + Sync + 'static,
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
mod demand_tests;
#[cfg(test)]
mod feed_tests;
#[cfg(test)]
mod harness;
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
