//! Definitions that are looked at before they are submitted.

use super::{
    IntakeError,
    copy::{CopyPlace, copy_manifest},
    upstream::PlannedBatch,
};
use crate::definition::{Definition, Manifest};

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
