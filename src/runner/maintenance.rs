//! Maintenance once a run: old answers are pruned, and leftovers of dead processes removed.

use std::sync::Arc;

use super::shared::RunnerShared;
use crate::{sink::Sink, store::StoreError};

/// How long after a batch's end its output is still swept, in ms: a process may have died in it while another one finished it.
const SWEEP_MS: i64 = 2 * 24 * 3_600_000;

/// Failures here never stop a run.
pub(super) async fn maintain(shared: Arc<RunnerShared>) {
    if let Err(e) = prune(&shared).await {
        tracing::warn!(error = %e, "old answers could not be pruned");
    }
}

/// Prunes the answers of batches that finished longer ago than their `keep_answers`, and sweeps the outputs of batches that are
/// open or finished recently.
async fn prune(shared: &RunnerShared) -> Result<(), StoreError> {
    let now = shared.store().clock().now();
    let mut taken = 0;
    for row in shared.store().batches().await?.into_iter().filter(|row| row.environment == shared.config.environment) {
        // The run that works on it reports the unreadable specification.
        let Ok(spec) = row.spec.read() else { continue };
        let keep = i64::try_from(spec.run.keep_answers.as_millis()).unwrap_or(i64::MAX);
        match row.finished_at {
            Some(at) if at.saturating_add(keep) <= now => {
                let pruned = shared.store().prune(Some(row.id), at + 1).await?;
                taken += pruned.answers + pruned.callbacks;
            }
            Some(at) if at.saturating_add(SWEEP_MS) <= now => {}
            _ => {
                if let Ok(sink) = Sink::open(&spec.output, &spec.sink)
                    && let Err(e) = sink.sweep().await
                {
                    tracing::debug!(error = %e, "the output could not be swept");
                }
            }
        }
    }
    if taken > 0 {
        tracing::info!(
            answers = taken,
            "answers past keep_answers pruned, what else was posted for their calls among them"
        );
        shared.store().shrink().await?;
    }
    Ok(())
}
