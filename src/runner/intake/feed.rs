//! Makes lines of a batch of what another batch has finished.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    IntakeError, IntakeTask,
    copy::{CopyPlace, ManifestCopy, copy_manifest},
    reader::{Reader, Wanted},
};
use crate::{
    definition::{Columns, Definition, Fault, FedLines, FedWriter, Manifest, ScanDepth, Spooled},
    domain::{
        batch::{BatchName, BatchSpec},
        environment::Environment,
        job::BatchId,
        task::Tasks,
    },
    report::feed::{FedRecord, FeedNeeds, FeedReader, FeedTable},
    store::{BatchRow, FeedDone, FeedPage, FeedPlace, FeedStep, ForgottenKeys, Scratch, Store, Submitted},
};

/// A batch that is to be submitted before another one that takes its lines.
#[derive(Debug, Clone)]
pub struct PlannedBatch {
    /// Its name.
    pub name: BatchName,
    /// What the ledger would keep of its definition.
    pub spec: BatchSpec,
}

/// The batches whose lines may be a manifest.
#[derive(Clone, Copy)]
pub struct Upstreams<'a> {
    /// The ledger, if there is one.
    pub store: Option<&'a Store>,
    /// The known tasks.
    pub tasks: &'a Tasks<dyn IntakeTask>,
    /// The environment of the calls.
    pub environment: Environment,
    /// Batches that are not in the ledger yet, and will be.
    pub planned: &'a [PlannedBatch],
}

/// The batch that feeds another one.
struct Upstream {
    task: Arc<dyn IntakeTask>,
    table: FeedTable,
    /// As it is in the ledger; `None`: it is only planned.
    row: Option<BatchRow>,
}

impl Upstream {
    /// Finds the batch that feeds this definition's.
    async fn find(definition: &Definition, name: &BatchName, of: &Upstreams<'_>) -> Result<Self, IntakeError> {
        let fault = |message: String| IntakeError::Faults(Fault::of_file(definition.manifest.clone(), message).into());
        let row = match of.store {
            Some(store) => store.batch(name.as_str()).await?,
            None => None,
        };
        let spec = match (&row, of.planned.iter().find(|planned| planned.name == *name)) {
            // It is submitted before this one, and what it has then is what counts.
            (_, Some(planned)) => planned.spec.clone(),
            (Some(row), None) => row.specification()?.clone(),
            (None, None) => return Err(fault(unknown(definition, name, of).await?)),
        };
        if let Some(row) = row.as_ref().filter(|row| row.environment != of.environment) {
            let (theirs, ours) = (row.environment.in_words(), of.environment.in_words());
            return Err(fault(format!("is a batch of {theirs}, and its lines are never mixed with {ours}")));
        }
        if let Some((store, row)) = of.store.zip(row.as_ref())
            && let Some(circle) = circle(store, definition.batch.as_str(), row).await?
        {
            return Err(fault(format!("feeds itself: {}", circle.join(" <- "))));
        }
        let unknown_task = || fault(format!("is of the task `{}`, which this release does not have", spec.task.name));
        let task = of.tasks.get(spec.task.name).cloned().ok_or_else(unknown_task)?;
        Ok(Self { table: FeedTable::of(name.as_str(), &spec, &*task), task, row })
    }
}

async fn unknown(definition: &Definition, name: &BatchName, of: &Upstreams<'_>) -> Result<String, IntakeError> {
    let names: Vec<String> = match of.store {
        Some(store) => store.batches().await?.into_iter().map(|row| row.name).collect(),
        None => Vec::new(),
    };
    let near = crate::domain::listed::nearest(name.as_str(), names.iter().map(String::as_str));
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    let file = definition.file.as_ref().and_then(|file| file.file_name());
    let file = file.map_or_else(|| "THIS.toml".to_owned(), |file| file.to_string_lossy().into_owned());
    Ok(format!(
        "there is no such batch{near}; run the definition that makes it first, or both at once: wavebatch run FIRST.toml {file}"
    ))
}

/// The names from a batch up to itself, if its feeds lead back to it.
async fn circle(store: &Store, name: &str, by: &BatchRow) -> Result<Option<Vec<String>>, IntakeError> {
    let (mut names, mut at) = (vec![name.to_owned(), by.name.clone()], by.fed_by);
    while let Some(next) = at {
        let row = store.batch_by_id(next).await?;
        let seen = names.contains(&row.name);
        names.push(row.name);
        if seen {
            return Ok(Some(names));
        }
        at = row.fed_by;
    }
    Ok(None)
}

/// Which long columns lines are made of.
fn needs_of(columns: &Columns) -> FeedNeeds {
    let used = columns.carried_at.iter().chain(&columns.texts_at).chain(&columns.options_at);
    FeedNeeds::of(used.filter_map(|at| columns.all.get(*at)).map(String::as_str))
}

/// Writes lines to a file in the folder.
fn write(
    dir: &Path,
    columns: &crate::definition::FedColumns,
    records: Vec<FedRecord>,
) -> Result<ManifestCopy, IntakeError> {
    let message = |source| IntakeError::Copy { dir: dir.to_owned(), source };
    let (scratch, file) = Scratch::create(dir, "lines").map_err(message)?;
    let mut writer = FedWriter::new(file, columns).map_err(message)?;
    let mut fed = FedLines::default();
    for record in records {
        match record.cells {
            Ok(cells) => writer.write(cells).map_err(message)?,
            Err(fault) => writer.write_bad(&fault).map_err(message)?,
        }
        fed.keys.push(record.origin.key);
        fed.contents.extend(record.contents);
    }
    writer.finish().map_err(message)?;
    Ok(ManifestCopy::of_batch(scratch, fed))
}

/// The lines that are there for a definition whose manifest is another batch: those that its batch did not take, or all if it
/// would take all again.
pub(super) async fn snapshot(
    definition: &Definition,
    name: &BatchName,
    dir: &Path,
    of: &Upstreams<'_>,
) -> Result<ManifestCopy, IntakeError> {
    let upstream = Upstream::find(definition, name, of).await?;
    let none = write(dir, &upstream.table.columns, Vec::new())?;
    let Some((store, row)) = of.store.zip(upstream.row.as_ref()) else { return Ok(none) };
    let columns = columns_of(definition.clone(), none.spooled().clone()).await?;
    let spec = row.specification()?;
    let mut reader = FeedReader::open(store, row, (spec, &*upstream.task), needs_of(&columns))?;
    let own = store.batch(definition.batch.as_str()).await?;
    let place = match &own {
        Some(own) => store.feed_place(own.id).await?.filter(|place| place.by == row.id),
        None => None,
    };
    let taken = place.filter(|place| place.with == definition.feed_settings(&columns));
    let (own_task, spec_now) = (of.tasks.get(definition.task.task()).cloned(), definition.task.spec());
    let taken = match taken.zip(own_task) {
        Some((place, task))
            if task.makes_same_lines(&store.batch_by_id(place.batch).await?.specification()?.task, &spec_now) =>
        {
            place.to
        }
        _ => 0,
    };
    let (mut after, mut records) = (taken, Vec::new());
    loop {
        let page = store.feed_page(row.id, (after, definition.from), reader.with_answers()).await?;
        after = page.to;
        records.extend(reader.records(store, page.rows).await?);
        if !page.is_full {
            break;
        }
    }
    if let Some(own) = own {
        leave_pruned(store, own.id, &mut records).await?;
    }
    write(dir, reader.columns(), records)
}

/// Leaves out lines whose transcript is gone, and of which something was made before: that is kept as it is.
async fn leave_pruned(store: &Store, batch: BatchId, records: &mut Vec<FedRecord>) -> Result<(), IntakeError> {
    let pruned: Vec<_> =
        records.iter().filter(|record| record.cells.is_err()).map(|record| record.origin.job).collect();
    if !pruned.is_empty() {
        let made = store.made_of(batch, &pruned).await?;
        records.retain(|record| record.cells.is_ok() || !made.contains(&record.origin.job));
    }
    Ok(())
}

/// What submitting a definition would put into the ledger, as far as its columns say. Its lines are not read.
///
/// # Errors
/// Faults of its manifest; a manifest that cannot be reached.
pub async fn planned(definition: &Definition, place: CopyPlace<'_>) -> Result<PlannedBatch, IntakeError> {
    let copy = copy_manifest(definition, place, tokio::io::empty()).await?;
    let (of, spooled) = (definition.clone(), copy.as_ref().map(|copy| copy.spooled().clone()));
    let reading = move || Manifest::open(&of, spooled.as_ref()).map(|manifest| of.spec(manifest.columns()));
    let spec = tokio::task::spawn_blocking(reading).await.map_err(|_| IntakeError::Interrupted)??;
    Ok(PlannedBatch { name: definition.batch.clone(), spec })
}

/// The columns of lines of another batch, and their uses.
async fn columns_of(definition: Definition, copy: Spooled) -> Result<Columns, IntakeError> {
    let reading = move || Manifest::open(&definition, Some(&copy)).map(|manifest| manifest.columns().clone());
    Ok(tokio::task::spawn_blocking(reading).await.map_err(|_| IntakeError::Interrupted)??)
}

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

/// The contents at addresses, and the keys of lines, for the jobs that are made of them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FedFacts<'a>(pub(super) Option<&'a FedLines>);

impl FedFacts<'_> {
    /// The SHA-256 of what is at this address.
    pub(super) fn content(&self, address: &str) -> Option<[u8; 32]> {
        self.0.and_then(|fed| fed.contents.get(address).copied())
    }

    /// The key of a line.
    pub(super) fn key(&self, number: u64) -> Option<String> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        self.0.and_then(|fed| fed.keys.get(at).cloned())
    }
}
