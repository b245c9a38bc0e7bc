//! Writes the report and the summary of a batch beside its outputs.

use super::error::AppError;
use crate::{
    domain::{batch::BatchSpec, cost::Rates, environment::Environment, job::BatchId, retry::PauseKind, task::Tasks},
    report::{
        ReportTask,
        publish::{publish_at_output, summarize},
        summary::{Summary, SummaryState},
        task_of,
    },
    store::Store,
};

/// The status of a batch, and the error if its report could not be written.
#[derive(Debug)]
pub struct Published {
    /// The summary of the batch.
    pub summary: Summary,
    /// The specification of the batch.
    pub spec: BatchSpec,
    /// Whether it belongs to the sandbox.
    pub sandbox: bool,
    /// What paused it, if it is paused.
    pub pause: Option<PauseKind>,
    /// The batch that feeds it, where that is not finished and nobody works it.
    pub waits_for: Option<WaitsFor>,
    /// Why the report and the summary could not be written.
    pub failed: Option<AppError>,
}

/// A batch that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitsFor {
    /// Its name.
    pub batch: String,
    /// Whether only the user lets it go on.
    pub is_held: bool,
}

/// Writes the report and the summary of a batch. The summary is returned even if neither can be written.
///
/// # Errors
/// The ledger cannot be read.
pub async fn publish_batch(
    store: &Store,
    (rates, tasks): (&Rates, &Tasks<dyn ReportTask>),
    batch: BatchId,
    state: SummaryState,
) -> Result<Published, AppError> {
    let row = store.batch_by_id(batch).await?;
    let spec = row.specification()?;
    let task = task_of(tasks, spec)?;
    // Boxed, since the caller's future is already large.
    let publishing = Box::pin(publish_at_output(store, &row, (spec, &*task), state, rates));
    let (summary, failed) = match publishing.await {
        Ok(summary) => (summary, None),
        Err(e) => (summarize(store, batch, (spec, &*task), state, rates).await?, Some(AppError::from(e))),
    };
    Ok(Published {
        waits_for: None,
        summary,
        spec: spec.clone(),
        sandbox: row.environment == Environment::Sandbox,
        pause: row.pause.as_ref().map(|(kind, _)| *kind),
        failed,
    })
}
