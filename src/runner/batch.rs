//! What workers need to know of a batch, as it was submitted last.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use tokio::sync::Semaphore;

use crate::{
    domain::{batch::BatchSpec, job::BatchId, pool::Pool, retry::PauseKind, spend::SpendUse},
    media::s3::Objects,
    sink::Sink,
    store::{Store, StoreError},
};

use super::{Event, RunnerConfig, RunnerShared, disk::LocalOutage, store_outage::StoreOutage, synthesis::Turns};

/// Parts of bought speech that are written at once.
const WRITERS: usize = 2;

/// Calls at once where neither the definition nor the account says otherwise.
pub const DEFAULT_CONCURRENCY: u32 = 16;

/// One batch, as its workers see it.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) id: BatchId,
    pub(super) name: String,
    pub(super) spec: BatchSpec,
    /// The same as it was read.
    pub(super) read: Arc<str>,
    pub(super) sink: Sink,
    /// The store of its S3 sources.
    pub(super) objects: Objects,
    /// Whether it is down.
    pub(super) store_outage: StoreOutage,
    /// Whether this machine keeps the recordings from being read.
    pub(super) local_outage: LocalOutage,
    /// Since when the sink has taken nothing; 0 = it works.
    pub(super) sink_failing_since: AtomicI64,
    /// Turns of parts that are bought.
    pub(super) turns: Arc<Turns>,
    /// Who may write bought speech to the disk.
    pub(super) writing: Semaphore,
    stereo_told: AtomicBool,
}

impl Batch {
    /// True once: the warning about stereo is for the user, not for each line.
    pub(super) fn first_stereo(&self) -> bool {
        !self.stereo_told.swap(true, Ordering::Relaxed)
    }

    /// Calls at once.
    pub(super) fn concurrency(&self) -> u32 {
        self.spec.run.concurrency.unwrap_or(DEFAULT_CONCURRENCY).max(1)
    }
}

/// Why a batch cannot be worked. No line is to blame, and no other batch.
#[derive(Debug, Clone)]
pub(super) struct Unworkable {
    pub(super) kind: PauseKind,
    /// In words.
    pub(super) reason: String,
}

/// The batches seen so far, and those that this process paused already.
#[derive(Debug, Default)]
pub(super) struct Batches {
    known: Mutex<HashMap<BatchId, Arc<Batch>>>,
    paused: Mutex<HashSet<BatchId>>,
}

impl Batches {
    pub(super) async fn get(
        &self,
        store: &Store,
        config: &RunnerConfig,
        id: BatchId,
    ) -> Result<Result<Arc<Batch>, Unworkable>, StoreError> {
        let known = lock(&self.known).get(&id).cloned();
        // It may have been submitted again since.
        if let Some(batch) = known
            && *batch.read == *store.specification(id).await?
        {
            return Ok(Ok(batch));
        }
        let row = match store.batch_by_id(id).await {
            Ok(row) => row,
            Err(e) if e.is_fatal() || e.is_passing() => return Err(e),
            Err(e) => return Ok(Err(Unworkable { kind: PauseKind::Specification, reason: e.reason() })),
        };
        let spec: BatchSpec = match serde_json::from_str(&row.spec) {
            Ok(spec) => spec,
            Err(e) => {
                let reason = format!(
                    "its specification does not read ({e}); a newer wavebatch may have submitted it: work it with that one, or submit it again"
                );
                return Ok(Err(Unworkable { kind: PauseKind::Specification, reason }));
            }
        };
        let sink = match Sink::open(&spec.output, &spec.sink) {
            Ok(sink) => sink,
            Err(e) => return Ok(Err(Unworkable { kind: PauseKind::Sink, reason: e.message() })),
        };
        let batch = Arc::new(Batch {
            id,
            objects: Objects::new(&spec.source),
            store_outage: StoreOutage::default(),
            local_outage: LocalOutage::default(),
            writing: Semaphore::new(WRITERS),
            turns: Arc::new(Turns::new(turns(config, &spec))),
            name: row.name,
            spec,
            read: row.spec.into(),
            sink,
            sink_failing_since: AtomicI64::new(0),
            stereo_told: AtomicBool::new(false),
        });
        lock(&self.known).insert(id, Arc::clone(&batch));
        Ok(Ok(batch))
    }

    pub(super) fn seen(&self) -> Vec<Arc<Batch>> {
        lock(&self.known).values().cloned().collect()
    }

    /// A batch that goes on may be paused again, and that is to be told again.
    pub(super) async fn forget_resumed(&self, store: &Store) -> Result<(), StoreError> {
        let paused: Vec<BatchId> = lock(&self.paused).iter().copied().collect();
        for batch in paused {
            if store.batch_by_id(batch).await?.pause.is_none() {
                lock(&self.paused).remove(&batch);
            }
        }
        Ok(())
    }

    /// A batch goes on: its next pause is told.
    pub(super) fn forget_pause(&self, batch: BatchId) {
        lock(&self.paused).remove(&batch);
    }

    /// Forgets batches that are done, for a process that lives long.
    pub(super) async fn forget_finished(&self, store: &Store) -> Result<(), StoreError> {
        for batch in self.seen() {
            if store.batch_by_id(batch.id).await?.finished_at.is_some() {
                lock(&self.known).remove(&batch.id);
            }
        }
        Ok(())
    }

    /// Forgets what was read: a later run may find another specification.
    pub(super) fn forget(&self) {
        lock(&self.known).clear();
        lock(&self.paused).clear();
    }
}

/// As many as keep every permitted call on the wire: one that asks for each that is under way.
fn turns(config: &RunnerConfig, spec: &BatchSpec) -> usize {
    let asked = spec.run.concurrency.unwrap_or(DEFAULT_CONCURRENCY).max(1);
    let most = config.limits(Pool::Tts).concurrency.map_or(asked, |n| n.min(asked).max(1));
    usize::try_from(most).unwrap_or(usize::MAX).saturating_mul(2)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl RunnerShared {
    /// Pauses a batch, and says so once however many workers run into the same wall.
    pub(super) async fn pause(&self, batch: BatchId, kind: PauseKind, reason: &str) -> Result<(), StoreError> {
        self.store.pause(batch, kind, reason.to_owned()).await?;
        self.report_paused(batch, kind, reason);
        Ok(())
    }

    /// Pauses a batch, a call of which did not fit into a spend limit.
    pub(super) async fn pause_for_spend(
        &self,
        batch: BatchId,
        limit: &SpendUse,
        reserve: i64,
    ) -> Result<(), StoreError> {
        let Some(rule) = &self.config.spend else { return Ok(()) };
        let reason = limit.reached(rule);
        self.store.pause_for_spend(batch, limit, reserve, reason.clone()).await?;
        self.report_paused(batch, limit.period.pause(), &reason);
        Ok(())
    }

    fn report_paused(&self, batch: BatchId, kind: PauseKind, reason: &str) {
        if lock(&self.batches.paused).insert(batch) {
            tracing::warn!(batch.id = batch.0, kind = %kind, "batch paused");
            self.emit(Event::Paused { batch, kind, reason: reason.to_owned() });
        }
    }
}
