//! Feeds batches with what other batches finish, while they are worked.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;

use super::{
    events::Event,
    intake::{Feeder, IntakeError},
    shared::RunnerShared,
};
use crate::{
    domain::{causes::in_words, job::BatchId},
    store::{FeedPlace, StoreError},
};

/// How often it is looked what has finished. What finishes in between is taken together.
const LOOK: Duration = Duration::from_millis(150);
/// The wait after something could not be read, and the longest time between two looks at all batches.
const SELDOM: Duration = Duration::from_secs(2);

/// Opens feeders of batches that other processes submitted.
pub trait OpenFeeder: fmt::Debug + Send + Sync {
    /// The feeder of a batch, or why it cannot be fed here, as a part of a sentence.
    fn open<'a>(&'a self, place: &'a FeedPlace) -> BoxFuture<'a, Result<Arc<Feeder>, String>>;
}

/// The feeders of a process.
#[derive(Debug)]
pub struct Feeding {
    opener: Arc<dyn OpenFeeder>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    feeders: HashMap<BatchId, Arc<Feeder>>,
    /// Batches that cannot be fed here.
    refused: BTreeSet<BatchId>,
}

impl Feeding {
    /// Without feeders yet.
    #[must_use]
    pub fn new(opener: Arc<dyn OpenFeeder>) -> Self {
        Self { opener, known: Mutex::default() }
    }

    /// Adds the feeder of a batch that this process submitted.
    pub fn add(&self, feeder: Arc<Feeder>) {
        let mut known = self.known();
        known.refused.remove(&feeder.batch());
        known.feeders.insert(feeder.batch(), feeder);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuses(&self, batch: BatchId) -> bool {
        self.known().refused.contains(&batch)
    }

    /// Feeds these batches, or all, until it is dropped.
    pub(super) async fn feed(&self, shared: &RunnerShared, only: &[BatchId]) -> Result<(), StoreError> {
        let (mut seen, mut whole) = (None, Instant::now());
        loop {
            // A batch may also have been submitted without a change of a line.
            if whole.elapsed() > SELDOM {
                (seen, whole) = (None, Instant::now());
            }
            match self.look(shared, only, seen).await {
                Ok(newest) => seen = Some(newest),
                Err(error) if error.is_fatal() => return Err(error),
                Err(_) => seen = None,
            }
            tokio::time::sleep(if seen.is_some() { LOOK } else { SELDOM }).await;
        }
    }

    /// Feeds once, if a line has changed since then. Returns the newest number before it.
    async fn look(&self, shared: &RunnerShared, only: &[BatchId], seen: Option<i64>) -> Result<i64, StoreError> {
        let newest = shared.store().newest_seq().await?;
        if seen == Some(newest) {
            return Ok(newest);
        }
        let places = shared.store().feeds(shared.config.environment).await?;
        let wanted = |place: &&FeedPlace| place.is_behind && (only.is_empty() || only.contains(&place.batch));
        let mut failed = false;
        for place in places.iter().filter(wanted) {
            let Some(feeder) = self.feeder(shared, place).await else { continue };
            match feeder.catch_up().await {
                Ok(_) => {}
                Err(IntakeError::Store(error)) => return Err(error),
                // It is the definition, which another look would not change.
                Err(IntakeError::Faults(faults)) => self.refuse(shared, place, &faults.to_string()),
                Err(error) => {
                    shared.emit(Event::Warning(format!(
                        "the batch `{}` gets no lines now: {}",
                        place.name,
                        in_words(&error)
                    )));
                    failed = true;
                }
            }
        }
        if failed {
            tokio::time::sleep(SELDOM).await;
        }
        // What failed is looked at again, whatever changes.
        Ok(if failed { -1 } else { newest })
    }

    async fn feeder(&self, shared: &RunnerShared, place: &FeedPlace) -> Option<Arc<Feeder>> {
        if self.refuses(place.batch) {
            return None;
        }
        let known = self.known().feeders.get(&place.batch).cloned();
        if let Some(known) = known {
            return Some(known);
        }
        match self.opener.open(place).await {
            Ok(feeder) => {
                self.add(Arc::clone(&feeder));
                Some(feeder)
            }
            Err(why) => {
                self.refuse(shared, place, &why);
                None
            }
        }
    }

    fn refuse(&self, shared: &RunnerShared, place: &FeedPlace, why: &str) {
        self.known().refused.insert(place.batch);
        shared.emit(Event::Warning(format!("the batch `{}` gets no lines in this process: {why}", place.name)));
        shared.store().wake();
    }

    /// Whether an open batch that has nothing due gets more, from what this process or another one does. `ours` are the batches
    /// that this process works.
    pub(super) async fn goes_on(
        &self,
        shared: &RunnerShared,
        batch: BatchId,
        ours: &[BatchId],
    ) -> Result<bool, StoreError> {
        let (store, mut at) = (shared.store(), batch);
        loop {
            if store.has_due(at).await? {
                return Ok(true);
            }
            let Some(place) = store.feed_place(at).await? else { return Ok(true) };
            if place.is_behind {
                return Ok(!self.refuses(at));
            }
            if store.batch_by_id(place.by).await?.finished_at.is_some() {
                return Ok(true);
            }
            if !ours.contains(&place.by) {
                return store.is_worked_by_others(place.by).await;
            }
            if !store.is_working(place.by).await? {
                return Ok(false);
            }
            at = place.by;
        }
    }
}
