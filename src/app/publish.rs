//! Report and summary of a batch, written beside its outputs.

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

/// How a batch stands, and what kept that from being written beside its outputs.
#[derive(Debug)]
pub struct Published {
    /// How it stands.
    pub summary: Summary,
    /// What it was asked for.
    pub spec: BatchSpec,
    /// Whether it is the sandbox's.
    pub sandbox: bool,
    /// What paused it, if it is paused.
    pub pause: Option<PauseKind>,
    /// Why report and summary are not where they should be.
    pub failed: Option<AppError>,
}

/// Writes report and summary of a batch; where they cannot be written, the summary is made all the same.
///
/// # Errors
/// The ledger does not tell.
pub async fn publish_batch(
    store: &Store,
    (rates, tasks): (&Rates, &Tasks<dyn ReportTask>),
    batch: BatchId,
    state: SummaryState,
) -> Result<Published, AppError> {
    let row = store.batch_by_id(batch).await?;
    let spec = row.specification()?;
    let task = task_of(tasks, spec)?;
    // Boxed, since what calls this is deep already.
    let publishing = Box::pin(publish_at_output(store, &row, (spec, &*task), state, rates));
    let (summary, failed) = match publishing.await {
        Ok(summary) => (summary, None),
        Err(e) => (summarize(store, batch, (spec, &*task), state, rates).await?, Some(AppError::from(e))),
    };
    Ok(Published {
        summary,
        spec: spec.clone(),
        sandbox: row.environment == Environment::Sandbox,
        pause: row.pause.as_ref().map(|(kind, _)| *kind),
        failed,
    })
}
