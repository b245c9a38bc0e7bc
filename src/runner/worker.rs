//! One job's life between claim and settling: its task moves it to its next state, which the ledger records.

use std::sync::Arc;

use super::{
    batch::{Batch, Unworkable},
    batches::OpenBatch,
    events::Event,
    job::JobContext,
    shared::RunnerShared,
};
use crate::{
    crash,
    domain::job::JobState,
    store::{Claimed, Settled, Settlement, StoreError, To},
};

/// The delay before lines are tried again whose batch could not be read, in ms.
const UNREAD_MS: i64 = 5_000;

pub(super) async fn work(shared: Arc<RunnerShared>, open: Arc<OpenBatch>, job: Claimed) -> Result<(), StoreError> {
    let batch = &open.batch;
    let to = match open.maker.work(JobContext::new(&shared, batch, &job)).await? {
        Some(to) => to,
        None => To::Queued { due_at: shared.store().clock().now(), call: None, source_try: false },
    };
    let event = event(batch, &job, &to);
    let settlement = Settlement { job: job.job, batch: job.batch, token: job.token, to };
    crash::point("before-settle");
    crash::defect(&job.key);
    match shared.store().conclude(settlement).await? {
        Settled::Done => shared.emit(event),
        Settled::Again => shared.emit(requeued(batch, &job, shared.store().clock().now())),
        Settled::Lost => tracing::debug!(job.key = job.key, "the lease was lost; the transition is dropped"),
    }
    Ok(())
}

/// Gives a lease back without work, because its batch cannot be worked and pauses, or could not be read at the moment.
pub(super) async fn give_back(
    shared: Arc<RunnerShared>,
    job: Claimed,
    unworkable: Option<Unworkable>,
) -> Result<(), StoreError> {
    let now = shared.store().clock().now();
    let due_at = match unworkable {
        Some(Unworkable { kind, reason }) => {
            shared.pause(job.batch, kind, &reason).await?;
            now
        }
        None => now + UNREAD_MS,
    };
    let to = To::Queued { due_at, call: job.lane, source_try: false };
    shared.store().settle(Settlement { job: job.job, batch: job.batch, token: job.token, to }).await?;
    Ok(())
}

fn event(batch: &Batch, job: &Claimed, to: &To) -> Event {
    match to {
        To::Finished(finish) => Event::Finished {
            batch: batch.id,
            key: job.key.clone(),
            state: finish.state.unwrap_or(JobState::Failed),
            audio_ms: finish.facts.audio_ms,
            error: finish.error_kind.clone().map(|kind| (kind, finish.error.clone().unwrap_or_default())),
        },
        To::Queued { due_at, .. } | To::Waiting { until: due_at, .. } | To::Awaiting { until: due_at, .. } => {
            requeued(batch, job, *due_at)
        }
    }
}

fn requeued(batch: &Batch, job: &Claimed, due_at: i64) -> Event {
    Event::Requeued { batch: batch.id, key: job.key.clone(), due_at }
}
