//! Feeds a batch with what another one has finished.

use std::{path::PathBuf, sync::Arc};

use super::{
    IntakeError, IntakeTask,
    reader::{Reader, Wanted},
    upstream::{columns_of, leave_pruned, needs_of, write},
};
use crate::{
    definition::{Definition, Fault, ScanDepth},
    domain::{job::BatchId, task::Tasks},
    report::feed::{FeedReader, FeedTable},
    store::{FeedDone, FeedPage, FeedPlace, FeedStep, ForgottenKeys, Store, Submitted},
};

/// Makes lines of one batch of what another one has finished, and writes them to the ledger.
pub struct Feeder {
    store: Store,
    definition: Definition,
    task: Arc<dyn IntakeTask>,
    batch: BatchId,
    by: BatchId,
    reader: tokio::sync::Mutex<FeedReader>,
    dir: PathBuf,
}

impl std::fmt::Debug for Feeder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feeder").field("batch", &self.batch).field("by", &self.by).finish_non_exhaustive()
    }
}

impl Feeder {
    /// A feeder of a batch that was submitted from this definition.
    ///
    /// # Errors
    /// No batch feeds it; the definition makes other lines than the batch has; the ledger cannot be read.
    pub async fn open(
        store: &Store,
        definition: &Definition,
        place: &FeedPlace,
        tasks: &Tasks<dyn IntakeTask>,
    ) -> Result<Self, IntakeError> {
        let fault = |message: String| IntakeError::Faults(Fault::of_file(definition.manifest.clone(), message).into());
        let row = store.batch_by_id(place.by).await?;
        let task = tasks.get(definition.task.task()).cloned();
        let task = task.ok_or_else(|| fault("this release does not have its task".to_owned()))?;
        let spec = row.specification()?;
        let unknown_task = || fault(format!("is of the task `{}`, which this release does not have", spec.task.name));
        let their_task = tasks.get(spec.task.name).cloned().ok_or_else(unknown_task)?;
        let dir = store.spool();
        let none = write(&dir, &FeedTable::of(&row.name, spec, &*their_task).columns, Vec::new())?;
        let own = store.batch_by_id(place.batch).await?;
        let definition = task.at_its_origin(definition, &own.specification()?.task);
        let columns = columns_of(definition.clone(), none.spooled().clone()).await?;
        if definition.feed_settings(&columns) != place.with
            || !task.makes_same_lines(&own.specification()?.task, &definition.task.spec())
        {
            let message = format!("the batch `{}` was submitted from another version of its definition", place.name);
            return Err(fault(message));
        }
        let reader = FeedReader::open(store, &row, (spec, &*their_task), needs_of(&columns))?;
        let reader = tokio::sync::Mutex::new(reader);
        Ok(Self { store: store.clone(), definition, task, batch: place.batch, by: place.by, reader, dir })
    }

    /// The batch that is fed.
    #[must_use]
    pub const fn batch(&self) -> BatchId {
        self.batch
    }

    /// Takes all that is there. Returns what became of it.
    ///
    /// # Errors
    /// The ledger cannot be read or written; a transcript cannot be read.
    pub async fn catch_up(&self) -> Result<Submitted, IntakeError> {
        let mut reader = self.reader.lock().await;
        let mut done = Submitted::default();
        loop {
            let place = self.store.feed_place(self.batch).await?;
            let Some(place) = place.filter(|place| place.is_behind && place.by == self.by) else { return Ok(done) };
            let from = (place.to, self.definition.from);
            let page = self.store.feed_page(place.by, from, reader.with_answers()).await?;
            if page.to == page.from {
                return Ok(done);
            }
            let step = Box::pin(self.step(&mut reader, page)).await?;
            crate::crash::point("before-feed");
            match self.store.feed(step).await? {
                FeedDone::Fed(submitted) => done += submitted,
                // Another process took the same, or nothing is taken now.
                FeedDone::Overtaken => return Ok(done),
            }
            crate::crash::point("after-feed");
        }
    }

    async fn step(&self, reader: &mut FeedReader, page: FeedPage) -> Result<FeedStep, IntakeError> {
        let FeedPage { from, to, rows, dropped, without, .. } = page;
        let (sets, origins) = (Vec::new(), Vec::new());
        let mut step = FeedStep { batch: self.batch, from, to, sets, origins, dropped, without };
        let mut records = reader.records(&self.store, rows).await?;
        leave_pruned(&self.store, self.batch, &mut records).await?;
        if records.is_empty() {
            return Ok(step);
        }
        step.origins = records.iter().map(|record| record.origin.clone()).collect();
        let forgotten: ForgottenKeys = Box::pin(self.store.forgotten_keys(self.batch)).await?;
        let copy = write(&self.dir, reader.columns(), records)?;
        let lines =
            Reader::start(&self.definition, Some(copy.spooled()), Arc::clone(&self.task), ScanDepth::Faults).await?;
        lines.leave_out(forgotten);
        let mut chunks = lines.chunks(Wanted::default());
        while let Some(chunk) = chunks.next().await? {
            step.sets.push((chunk.good, chunk.bad));
        }
        Ok(step)
    }
}
