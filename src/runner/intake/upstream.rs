//! The batch whose lines are a manifest, and those of its lines that are there.

use std::{path::Path, sync::Arc};

use super::{IntakeError, IntakeTask, manifest_copy::ManifestCopy};
use crate::{
    definition::{Columns, Definition, Fault, FedLines, FedWriter, Manifest, Spooled},
    domain::{
        batch::{BatchName, BatchSpec},
        environment::Environment,
        job::BatchId,
        task::Tasks,
    },
    report::feed::{FedRecord, FeedNeeds, FeedReader, FeedTable},
    store::{BatchRow, Scratch, Store},
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
pub(super) struct Upstream {
    task: Arc<dyn IntakeTask>,
    pub(super) table: FeedTable,
    /// As it is in the ledger; `None`: it is only planned.
    row: Option<BatchRow>,
}

impl Upstream {
    /// Finds the batch that feeds this definition's.
    pub(super) async fn find(
        definition: &Definition,
        name: &BatchName,
        of: &Upstreams<'_>,
    ) -> Result<Self, IntakeError> {
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
pub(super) fn needs_of(columns: &Columns) -> FeedNeeds {
    let used = columns.carried_at.iter().chain(&columns.texts_at).chain(&columns.options_at);
    let used = used.filter_map(|at| columns.all.get(*at)).chain(&columns.content);
    FeedNeeds::of(used.map(String::as_str))
}

/// Writes lines to a file in the folder.
pub(super) fn write(
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
pub(super) async fn leave_pruned(
    store: &Store,
    batch: BatchId,
    records: &mut Vec<FedRecord>,
) -> Result<(), IntakeError> {
    let pruned: Vec<_> =
        records.iter().filter(|record| record.cells.is_err()).map(|record| record.origin.job).collect();
    if !pruned.is_empty() {
        let made = store.made_of(batch, &pruned).await?;
        records.retain(|record| record.cells.is_ok() || !made.contains(&record.origin.job));
    }
    Ok(())
}

/// The columns of lines of another batch, and their uses.
pub(super) async fn columns_of(definition: Definition, copy: Spooled) -> Result<Columns, IntakeError> {
    let reading = move || Manifest::open(&definition, Some(&copy)).map(|manifest| manifest.columns().clone());
    Ok(tokio::task::spawn_blocking(reading).await.map_err(|_| IntakeError::Interrupted)??)
}
