//! Midnight: a dated batch that was begun yesterday goes on under yesterday's name.

use std::sync::Arc;

use super::{
    IntakeError,
    compare::{Comparison, ReadWatch, Verdicts, compare},
    reader::Reader,
    scanned::{ScanOf, Scanned},
};
use crate::{
    definition::{Definition, template::Template},
    domain::{batch::BatchSpec, environment::Environment, hex::hex},
    store::{BatchRow, Store},
};

/// What the ledger keeps of a definition whose manifest was read to its end.
pub(super) fn spec_of(definition: &Definition, scan: &Scanned) -> BatchSpec {
    let mut hash = hex(&scan.hash);
    let templates = definition.task.templates();
    if let Some(date) = definition.date
        && definition.key_column.iter().chain(&templates).any(Template::uses_date)
    {
        // The same cells name other recordings on another day.
        hash.push_str(&format!(" of {date}"));
    }
    BatchSpec { manifest_hash: Some(hash), ..definition.spec(&scan.columns) }
}

/// An older night that goes on.
pub(super) struct OlderBatch {
    /// The definition, under that night's name.
    pub(super) definition: Definition,
    /// What was read to find that out.
    pub(super) verdicts: Option<Arc<Verdicts>>,
}

/// The batch that this dated one is, if the definition's newest one has the same manifest and the same options: a night
/// that was killed before midnight must not be bought again after it. A batch that is there under its own name is itself.
///
/// A listing's hash has names and sizes. Where local files have other times than then, their contents decide: recordings of
/// one length under the names of the night before are another night.
pub(super) async fn older_batch(
    store: &Store,
    definition: &Definition,
    reader: &Reader,
    (environment, watch): (Environment, &ReadWatch),
) -> Result<Option<OlderBatch>, IntakeError> {
    let ours = spec_of(definition, &reader.scan);
    if !ours.dated || store.batch(definition.batch.as_str()).await?.is_some() {
        return Ok(None);
    }
    let batches = store.batches().await?;
    let newest = batches.into_iter().filter(|row| row.definition == definition.name && row.environment == environment);
    let Some(newest) = newest.max_by_key(|row| (row.submitted_at, row.id.0)) else { return Ok(None) };
    let theirs = newest.specification()?.clone();
    if !is_same(&ours, &theirs) {
        return Ok(None);
    }
    if matches!(reader.scan.of, ScanOf::Recordings(_)) {
        let Comparison { diff, verdicts, .. } = compare(store, newest.id, definition, (reader, None), watch).await?;
        if diff.other_source > 0 {
            return Ok(None);
        }
        return Ok(Some(OlderBatch {
            definition: under_its_name(definition, &newest, theirs),
            verdicts: Some(verdicts),
        }));
    }
    Ok(Some(OlderBatch { definition: under_its_name(definition, &newest, theirs), verdicts: None }))
}

/// Whether two batches of one definition are the same work, whatever their dates.
fn is_same(ours: &BatchSpec, theirs: &BatchSpec) -> bool {
    theirs.dated
        && ours.task.name == theirs.task.name
        && ours.manifest_hash == theirs.manifest_hash
        && ours.option_columns == theirs.option_columns
        && ours.task.identity() == theirs.task.identity()
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
