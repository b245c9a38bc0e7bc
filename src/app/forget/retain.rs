//! Retention: what a definition keeps for a time goes when that time is over.

use std::time::Duration;

use super::{ForgetOptions, Forgetter, LinesOfBatch, remove};
use crate::{
    app::{error::AppError, events::Event, session::Session},
    clock::Millis,
    domain::{environment::Environment, forget::ForgottenOutputs},
    report::publish::REPORT,
    sink::Sink,
    store::{BatchRow, OwnedFile, Selection},
};

/// Files that are removed before the ledger notes it.
const FILES_AT_ONCE: u32 = 200;
/// How often a service looks.
const LOOK: Duration = Duration::from_mins(15);

/// What went because its time was over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retained {
    /// Jobs whose content is gone from the ledger.
    pub jobs: u64,
    /// Outputs that were removed.
    pub outputs: u64,
    /// What could not be removed, and is tried again.
    pub failed: Vec<String>,
}

/// When something that is kept for a time may go; `None`: it stays.
fn goes_at(row: &BatchRow, keep: Option<Duration>) -> Option<Millis> {
    let keep = i64::try_from(keep?.as_millis()).unwrap_or(i64::MAX);
    row.finished_at.map(|at| at.saturating_add(keep))
}

impl Forgetter {
    /// Carries out `keep_rows` and `keep_outputs` of the batches of an environment, or of one batch.
    ///
    /// # Errors
    /// The ledger cannot be read or written.
    pub async fn retain(&self, environment: Environment, only: Option<&str>) -> Result<Retained, AppError> {
        let mut done = Retained::default();
        let now = self.store.clock().now();
        for row in self.store.batches().await? {
            // The run that works on it reports the unreadable specification.
            let Ok(spec) = row.spec.read() else { continue };
            if row.environment != environment || only.is_some_and(|name| name != row.name) {
                continue;
            }
            // Outputs first: afterwards the ledger may forget whose they were.
            if goes_at(&row, spec.run.keep_outputs).is_some_and(|at| at <= now) {
                self.remove_outputs(&row, &mut done).await?;
            }
            if goes_at(&row, spec.run.keep_rows).is_some_and(|at| at <= now) {
                let keys = self.store.keys_to_forget(row.id, &Selection::default()).await?;
                if keys.is_empty() {
                    continue;
                }
                let lines = [LinesOfBatch { batch: row.clone(), keys }];
                let options = ForgetOptions {
                    outputs: ForgottenOutputs::Later,
                    keep_at_vendor: true,
                    without_receipt: true,
                    ..ForgetOptions::default()
                };
                let gone = Box::pin(self.forget(&lines, &options)).await?;
                done.jobs += gone.jobs;
                done.failed.extend(gone.unfinished);
            }
        }
        Ok(done)
    }

    /// Removes the outputs and the report of a finished batch.
    async fn remove_outputs(&self, row: &BatchRow, done: &mut Retained) -> Result<(), AppError> {
        let spec = row.specification()?;
        let sink = Sink::open(&spec.output, &spec.sink)?;
        let mut after = String::new();
        let mut removed = 0;
        loop {
            let files = self.store.owned_files(row.id, &after, FILES_AT_ONCE).await?;
            let Some(last) = files.last() else { break };
            after.clone_from(&last.path);
            let mut gone = Vec::with_capacity(files.len());
            for OwnedFile { path, .. } in files {
                match sink.erase(&path).await {
                    Ok(_) => gone.push(path),
                    Err(e) => {
                        done.failed.push(format!("{}: the output is not removed: {e}", row.name));
                        self.store.outputs_expired(row.id, gone).await?;
                        return Ok(());
                    }
                }
            }
            removed += gone.len() as u64;
            self.store.outputs_expired(row.id, gone).await?;
        }
        if removed > 0 {
            done.outputs += removed;
            if let Err(e) = remove::erase_report(&spec.report_address(), spec).await {
                done.failed.push(format!("{}: the report is not removed: {e}", row.name));
            }
            if let Err(e) = sink.erase(REPORT).await {
                done.failed.push(format!("{}: the report is not removed: {e}", row.name));
            }
        }
        Ok(())
    }
}

impl Session {
    /// What forgets lines in this session's ledger.
    pub(in crate::app) fn forgetter(&self) -> Forgetter {
        Forgetter::new(&self.store, &self.settings, Ok(self.api()))
    }

    /// Finishes what a `forget` left, and carries out retention. Failures never stop a run.
    pub(in crate::app) async fn forget_what_is_due(&self) {
        for warning in due(&self.forgetter(), self.environment()).await {
            self.say(Event::Warning(warning));
        }
    }
}

/// Does it, and returns what could not be done.
async fn due(forgetter: &Forgetter, environment: Environment) -> Vec<String> {
    let work = async {
        let mut failed = Vec::new();
        for done in Box::pin(forgetter.resume()).await? {
            failed.extend(done.unfinished.into_iter().map(|why| format!("`forget` is not done: {why}")));
            failed.extend(done.reasons);
        }
        let retained = Box::pin(forgetter.retain(environment, None)).await?;
        if retained.jobs + retained.outputs > 0 {
            tracing::info!(
                lines = retained.jobs,
                outputs = retained.outputs,
                "past keep_rows or keep_outputs, removed"
            );
        }
        failed.extend(retained.failed);
        Ok::<_, AppError>(failed)
    };
    work.await.unwrap_or_else(|e| vec![format!("what is due to be removed stays: {e}")])
}

/// The same from time to time, in a service.
pub(in crate::app) async fn keep_forgetting(
    forgetter: Forgetter,
    environment: Environment,
    stop: tokio_util::sync::CancellationToken,
) {
    while stop
        .run_until_cancelled(async {
            for warning in due(&forgetter, environment).await {
                tracing::warn!("{warning}");
            }
            tokio::time::sleep(LOOK).await;
        })
        .await
        .is_some()
    {}
}
