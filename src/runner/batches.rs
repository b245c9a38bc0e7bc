//! The batches that a run has seen so far, each with the task that works it.

use std::{collections::HashMap, sync::Arc};

use super::{
    batch::{Batch, Unworkable},
    maker::{BatchTask, RunMakers},
    shared::RunnerShared,
};
use crate::{domain::job::BatchId, store::StoreError};

/// A batch and its task.
#[derive(Debug)]
pub(super) struct OpenBatch {
    pub(super) batch: Batch,
    pub(super) maker: Arc<dyn BatchTask>,
}

impl OpenBatch {
    async fn open(
        shared: &RunnerShared,
        makers: &RunMakers,
        id: BatchId,
    ) -> Result<Result<Self, Unworkable>, StoreError> {
        let batch = match Batch::open(shared.store(), id).await? {
            Ok(batch) => batch,
            Err(unworkable) => return Ok(Err(unworkable)),
        };
        let task = batch.spec.task.name;
        let Some(maker) = makers.get(task) else {
            return Ok(Err(Unworkable::by_spec(format!("its task `{task}` is not known to this program"))));
        };
        Ok(match maker.bind(&batch.spec, &shared.config) {
            Ok(maker) => Ok(Self { batch, maker }),
            Err(error) => Err(Unworkable::by_spec(format!(
                "{error}; a newer wavebatch may have submitted it: work it with that one, or submit it again"
            ))),
        })
    }
}

/// The batches seen so far.
#[derive(Debug, Default)]
pub(super) struct Batches(HashMap<BatchId, Arc<OpenBatch>>);

impl Batches {
    pub(super) async fn get(
        &mut self,
        shared: &RunnerShared,
        makers: &RunMakers,
        id: BatchId,
    ) -> Result<Result<Arc<OpenBatch>, Unworkable>, StoreError> {
        let known = self.0.get(&id).cloned();
        // The batch may have been submitted again since.
        if let Some(open) = known
            && *open.batch.read == *shared.store().specification(id).await?
        {
            return Ok(Ok(open));
        }
        let open = match OpenBatch::open(shared, makers, id).await? {
            Ok(open) => Arc::new(open),
            Err(unworkable) => return Ok(Err(unworkable)),
        };
        self.0.insert(id, Arc::clone(&open));
        Ok(Ok(open))
    }

    pub(super) fn seen(&self) -> impl Iterator<Item = &Batch> {
        self.0.values().map(|open| &open.batch)
    }

    /// Forgets finished batches, for a long-lived process.
    pub(super) async fn forget_finished(&mut self, shared: &RunnerShared) -> Result<(), StoreError> {
        let seen: Vec<BatchId> = self.0.keys().copied().collect();
        for batch in seen {
            if shared.store().batch_by_id(batch).await?.finished_at.is_some() {
                self.0.remove(&batch);
            }
        }
        Ok(())
    }
}
