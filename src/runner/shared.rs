//! What the engine and all workers share.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicU32},
};

use tokio_util::sync::CancellationToken;

use super::{
    config::{Means, RunnerConfig},
    disk::MessageInterval,
    events::{Event, Events},
};
use crate::{
    domain::{job::BatchId, retry::PauseKind, spend::SpendUse},
    store::{Store, StoreError},
};

#[derive(Debug)]
pub(super) struct RunnerShared {
    pub(super) means: Means,
    pub(super) config: RunnerConfig,
    pub(super) events: Events,
    /// Cancelled: no further call is made, and jobs that wait for one go back to the queue.
    pub(super) drain: CancellationToken,
    /// The number of answers in a row whose content could not be made to expire for the moment.
    pub(super) expiry_unavailable: AtomicU32,
    /// The interval between warnings about the spool.
    disk: MessageInterval,
    /// Batches that this process paused and reported as paused.
    paused: Mutex<HashSet<BatchId>>,
}

impl RunnerShared {
    pub(super) fn new(means: Means, config: RunnerConfig, events: Events) -> Self {
        Self {
            means,
            config,
            events,
            drain: CancellationToken::new(),
            expiry_unavailable: AtomicU32::default(),
            disk: MessageInterval::default(),
            paused: Mutex::default(),
        }
    }

    pub(super) const fn store(&self) -> &Store {
        &self.means.store
    }

    pub(super) fn emit(&self, event: Event) {
        // There may be no observer; the runner continues.
        let _ = self.events.send(event);
    }

    /// Warns about a spool that cannot be used; rarely, although it affects every line.
    pub(super) fn report_disk(&self, message: String) {
        if self.disk.is_due(self.store().clock().now()) {
            self.emit(Event::Warning(message));
        }
    }

    /// Pauses a batch, and reports it once, however many workers meet the same cause.
    pub(super) async fn pause(&self, batch: BatchId, kind: PauseKind, reason: &str) -> Result<(), StoreError> {
        self.store().pause(batch, kind, reason.to_owned()).await?;
        self.report_paused(batch, kind, reason).await;
        Ok(())
    }

    /// Pauses a batch because one of its calls exceeded a spend limit.
    pub(super) async fn pause_for_spend(
        &self,
        batch: BatchId,
        limit: &SpendUse,
        reserve: i64,
    ) -> Result<(), StoreError> {
        let Some(rule) = &self.config.spend else { return Ok(()) };
        let reason = limit.reached(rule);
        self.store().pause_for_spend(batch, limit, reserve, reason.clone()).await?;
        self.report_paused(batch, limit.period.pause(), &reason).await;
        Ok(())
    }

    async fn report_paused(&self, batch: BatchId, kind: PauseKind, reason: &str) {
        let is_new = self.paused().insert(batch);
        if is_new {
            let name = self.store().batch_by_id(batch).await.map(|row| row.name).ok();
            tracing::warn!(batch.name = name, batch.id = batch.0, kind = %kind, reason, "batch paused");
            self.emit(Event::Paused { batch, kind, reason: reason.to_owned() });
        }
    }

    /// Records that a batch continues: its next pause is reported.
    pub(super) fn forget_pause(&self, batch: BatchId) {
        self.paused().remove(&batch);
    }

    /// Records that all batches continue.
    pub(super) fn forget_pauses(&self) {
        self.paused().clear();
    }

    /// Forgets the batches that continue, so that their next pause is reported again.
    pub(super) async fn forget_resumed(&self) -> Result<(), StoreError> {
        let paused: Vec<BatchId> = self.paused().iter().copied().collect();
        for batch in paused {
            if self.store().batch_by_id(batch).await?.pause.is_none() {
                self.forget_pause(batch);
            }
        }
        Ok(())
    }

    fn paused(&self) -> MutexGuard<'_, HashSet<BatchId>> {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
