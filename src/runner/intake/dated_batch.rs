//! A dated batch that was begun yesterday continues under yesterday's name.

use std::sync::Arc;

use super::{
    IntakeError, IntakeTask,
    compare::{Comparison, ReadWatch, compare},
    known_sources::KnownSources,
    reader::Reader,
};
use crate::{
    definition::{Definition, Scan, template::Template},
    domain::{batch::BatchSpec, environment::Environment, hex::hex},
    store::{BatchRow, Store},
};

/// What the ledger keeps of a definition whose manifest was read to its end.
pub(super) fn spec_of(definition: &Definition, scan: &Scan) -> BatchSpec {
    let mut hash = hex(&scan.hash);
    let templates = definition.task.templates();
    if let Some(date) = definition.date
        && definition.key_column.iter().chain(&templates).any(Template::uses_date)
    {
        // The same cells mean other recordings on another day.
        hash.push_str(&format!(" of {date}"));
    }
    BatchSpec { manifest_hash: Some(hash), ..definition.spec(&scan.columns) }
}

/// An older dated batch that continues.
pub(super) struct DatedBatch {
    /// The definition, under that batch's name.
    pub(super) definition: Definition,
    /// What was read to decide that.
    pub(super) sources: Option<Arc<KnownSources>>,
}

/// Finds the definition's newest batch if it has the same manifest and options: a batch that was killed before midnight must
/// not be bought again after it. A batch that exists under its own name is left alone.
///
/// A listing's hash covers names and sizes. If local files have other times than before, their contents decide: recordings of
/// one length under the previous day's names are another batch.
pub(super) async fn same_dated_batch(
    store: &Store,
    (definition, task): (&Definition, &dyn IntakeTask),
    reader: &Reader,
    (environment, watch): (Environment, &ReadWatch),
) -> Result<Option<DatedBatch>, IntakeError> {
    let ours = spec_of(definition, &reader.scan);
    if !ours.dated || store.batch(definition.batch.as_str()).await?.is_some() {
        return Ok(None);
    }
    let batches = store.batches().await?;
    let newest = batches.into_iter().filter(|row| row.definition == definition.name && row.environment == environment);
    let Some(newest) = newest.max_by_key(|row| (row.submitted_at, row.id.0)) else { return Ok(None) };
    let theirs = newest.specification()?.clone();
    if !is_same(task, &ours, &theirs) {
        return Ok(None);
    }
    let mut sources = None;
    if task.has_sources() {
        reader.leave_out(Box::pin(store.forgotten_keys(newest.id)).await?);
        let found = compare((store, newest.id), definition, (reader, None), watch, || None).await?;
        let Comparison { diff, sources: known, .. } = found;
        if diff.other_source > 0 {
            return Ok(None);
        }
        sources = Some(known);
    }
    Ok(Some(DatedBatch { definition: under_its_name(definition, &newest, theirs), sources }))
}

/// Whether two batches of one definition are the same work, apart from their dates.
fn is_same(task: &dyn IntakeTask, ours: &BatchSpec, theirs: &BatchSpec) -> bool {
    theirs.dated
        && ours.task.name == theirs.task.name
        && ours.manifest_hash == theirs.manifest_hash
        && ours.option_columns == theirs.option_columns
        && !task.asks_for_other_calls(&theirs.task, &ours.task)
}

/// The definition as it was on the older day: only its names have dates.
fn under_its_name(definition: &Definition, row: &BatchRow, theirs: BatchSpec) -> Definition {
    let mut same = definition.clone();
    same.batch = row.name.parse().unwrap_or(same.batch);
    same.output = theirs.output;
    same.report_to = theirs.report_to;
    same.manifest = theirs.manifest;
    same
}
