//! Supervises a service's batches: records and posts their ends, writes their reports, and probes paused batches.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::{
    task::{Id, JoinSet},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Millis,
    domain::{causes::in_words, cost::Rates, environment::Environment, job::BatchId, task::Tasks},
    report::{
        ReportTask,
        publish::{PublishError, publish_at_output, summarize},
        summary::{Summary, SummaryState},
        task_of,
    },
    store::{BatchRow, BatchStatus, Store, StoreError},
};

const TICK: Duration = Duration::from_secs(1);
/// The maximum number of reports written at once; the others follow in a later round.
const AT_ONCE: usize = 4;
/// After this many failed tries at its report, the end of a batch is posted without it.
const MAX_TRIES: u32 = 3;
/// A submission that takes longer was most likely aborted halfway, in ms.
const SUBMITTING_LONG: Millis = 15 * 60_000;
const FIRST_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// A change in the status of a batch.
#[derive(Debug, Clone)]
pub struct BatchNews {
    /// The batch.
    pub batch: BatchRow,
    /// Its new status.
    pub batch_status: BatchStatus,
    /// Its summary.
    pub summary: Summary,
    /// Why the report and the summary could not be written.
    pub unpublished: Option<String>,
}

/// Supervises the batches of one environment.
#[derive(Debug)]
pub struct Supervisor<T> {
    store: Store,
    environment: Environment,
    rates: Rates,
    tasks: Tasks<dyn ReportTask>,
    notify: T,
    /// Batches whose report is being written.
    writing: HashSet<BatchId>,
    failed: HashMap<BatchId, Failed>,
    /// Batches being submitted, since when we have seen it; `None`: the warning about the long time was given.
    submitting: HashMap<BatchId, Option<Millis>>,
}

/// A report that could not be written.
#[derive(Debug)]
struct Failed {
    times: u32,
    again: Instant,
}

impl<T, F> Supervisor<T>
where
    T: Fn(BatchNews) -> F + Clone + Send + 'static,
    F: Future<Output = Result<(), StoreError>> + Send,
{
    /// A supervisor that posts news with `notify`. Each item of news is posted once, or twice if a process was killed
    /// in between.
    #[must_use]
    pub fn new(
        store: Store,
        environment: Environment,
        (rates, tasks): (Rates, Tasks<dyn ReportTask>),
        notify: T,
    ) -> Self {
        Self {
            store,
            environment,
            rates,
            tasks,
            notify,
            writing: HashSet::new(),
            failed: HashMap::new(),
            submitting: HashMap::new(),
        }
    }

    /// Supervises until it is stopped.
    ///
    /// # Errors
    /// The ledger cannot be used, and waiting does not help.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut writers: JoinSet<Result<Option<String>, StoreError>> = JoinSet::new();
        let mut written: HashMap<Id, BatchId> = HashMap::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(done) = writers.join_next_with_id() => {
                    let (id, result) = match done {
                        Ok((id, result)) => (id, result),
                        Err(e) => (e.id(), Ok(Some(e.to_string()))),
                    };
                    if let Some(batch) = written.remove(&id) {
                        self.writing.remove(&batch);
                        match result {
                            Ok(unpublished) => self.note(batch, unpublished).await,
                            // One batch that cannot be read must not stop the others.
                            Err(e) if !e.is_fatal() => self.note(batch, Some(e.reason())).await,
                            Err(e) => return Err(e),
                        }
                    }
                }
                _ = tick.tick() => match self.look().await {
                    Ok(news) => {
                        for (batch, batch_status) in news.into_iter().take(AT_ONCE.saturating_sub(writers.len())) {
                            let id = batch.id;
                            let task = writers.spawn(self.write(batch, batch_status));
                            written.insert(task.id(), id);
                        }
                    }
                    Err(e) if !e.is_fatal() => {
                        tracing::warn!(error = %e.reason(), "batches cannot be looked after now");
                    }
                    Err(e) => return Err(e),
                },
            }
        }
    }

    /// Probes paused batches, and finds the news.
    async fn look(&mut self) -> Result<Vec<(BatchRow, BatchStatus)>, StoreError> {
        self.store.watch_clock().await?;
        self.probe().await?;
        self.news().await
    }

    fn write(
        &mut self,
        batch: BatchRow,
        batch_status: BatchStatus,
    ) -> impl Future<Output = Result<Option<String>, StoreError>> + Send + 'static {
        self.writing.insert(batch.id);
        let without_report = self.failed.get(&batch.id).is_some_and(|failed| failed.times + 1 >= MAX_TRIES);
        let (store, rates, notify) = (self.store.clone(), self.rates.clone(), self.notify.clone());
        let tasks = self.tasks.clone();
        async move { write(&store, (&rates, &tasks), batch, batch_status, without_report, notify).await }
    }

    /// Tries one line of each batch that wavebatch paused, from time to time.
    async fn probe(&self) -> Result<(), StoreError> {
        for (batch, kind) in self.store.probe_paused(self.environment).await? {
            let name = self.store.batch_by_id(batch).await.map(|row| row.name).ok();
            tracing::info!(batch.name = name, batch.id = batch.0, kind = %kind, "one line of a paused batch is tried");
        }
        Ok(())
    }

    /// The batches with news now.
    async fn news(&mut self) -> Result<Vec<(BatchRow, BatchStatus)>, StoreError> {
        let mut news = Vec::new();
        let batch_statuses = self.store.batch_statuses(self.environment).await?;
        self.watch_submissions(batch_statuses.iter().map(|(batch, _)| batch));
        for (batch, batch_status) in batch_statuses {
            if batch.cancelled_at.is_some() {
                self.store.finish_cancel(batch.id).await?;
            }
            let waits = self.failed.get(&batch.id).is_some_and(|failed| failed.again > Instant::now());
            match batch_status {
                BatchStatus::Working => {}
                _ if waits || self.writing.contains(&batch.id) => {}
                BatchStatus::Over => {
                    if self.store.finish(batch.id).await?
                        && let Some(at) = self.store.batch_by_id(batch.id).await?.finished_at
                    {
                        news.push((self.store.batch_by_id(batch.id).await?, BatchStatus::Finished(at)));
                    }
                }
                batch_status => news.push((batch, batch_status)),
            }
        }
        Ok(news)
    }

    /// Warns once about batches whose submission may never end: until it ends, nobody works them.
    fn watch_submissions<'b>(&mut self, batches: impl Iterator<Item = &'b BatchRow>) {
        let now = self.store.clock().now();
        let mut before = std::mem::take(&mut self.submitting);
        for batch in batches.filter(|batch| batch.submitting_at.is_some()) {
            let since = match before.remove(&batch.id).unwrap_or(Some(now)) {
                Some(since) if now - since >= SUBMITTING_LONG => {
                    tracing::warn!(
                        batch.name = batch.name,
                        "it has been submitting for 15 min, and is not worked until that is done; if its submission was cut off, submit it again"
                    );
                    None
                }
                since => since,
            };
            self.submitting.insert(batch.id, since);
        }
    }

    async fn note(&mut self, batch: BatchId, unpublished: Option<String>) {
        let Some(why) = unpublished else {
            self.failed.remove(&batch);
            return;
        };
        let times = self.failed.get(&batch).map_or(0, |failed| failed.times) + 1;
        let wait = FIRST_WAIT.saturating_mul(1 << (times - 1).min(10)).min(LONGEST_WAIT);
        let name = self.store.batch_by_id(batch).await.map(|row| row.name).ok();
        tracing::warn!(
            batch.name = name,
            batch.id = batch.0,
            error = why,
            retry_s = wait.as_secs(),
            "a report could not be written"
        );
        self.failed.insert(batch, Failed { times, again: Instant::now() + wait });
    }
}

/// Writes a batch's report and posts its status. Returns why the report could not be written, if so.
async fn write<T, F>(
    store: &Store,
    (rates, tasks): (&Rates, &Tasks<dyn ReportTask>),
    batch: BatchRow,
    batch_status: BatchStatus,
    without_report: bool,
    notify: T,
) -> Result<Option<String>, StoreError>
where
    T: Fn(BatchNews) -> F,
    F: Future<Output = Result<(), StoreError>>,
{
    let state = match batch_status {
        BatchStatus::Finished(_) => SummaryState::of_finished(&batch),
        BatchStatus::Paused(_) => SummaryState::Paused,
        BatchStatus::WindowClosed(_) => SummaryState::Waiting,
        BatchStatus::Working | BatchStatus::Over => SummaryState::Running,
    };
    let spec = batch.specification()?;
    let task = task_of(tasks, spec)?;
    let published = publish_at_output(store, &batch, (spec, &*task), state, rates).await;
    let (summary, unpublished) = match published {
        Ok(summary) => (summary, None),
        Err(PublishError::Store(e)) => return Err(e),
        Err(e) => {
            let why = in_words(&e);
            if !without_report {
                return Ok(Some(why));
            }
            (summarize(store, batch.id, (spec, &*task), state, rates).await?, Some(why))
        }
    };
    notify(BatchNews {
        batch: batch.clone(),
        batch_status: batch_status.clone(),
        summary,
        unpublished: unpublished.clone(),
    })
    .await?;
    if unpublished.is_none() {
        store.set_reported(batch.id, &batch_status).await?;
    }
    Ok(unpublished)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{NewBatch, Opening, Resubmission};

    #[tokio::test]
    async fn a_submission_that_takes_long_is_told_of_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Opening::new(dir.path().join("wavebatch.db"))).await.unwrap().0;
        let new = NewBatch::of::<crate::domain::transcription::Transcription>("b", Environment::Live, "{}".into());
        let batch = store.begin(new, Resubmission::default()).await.unwrap().batch;
        let terms = (Rates::default(), Tasks::default());
        let mut supervisor = Supervisor::new(store.clone(), Environment::Live, terms, |_| async { Ok(()) });
        assert!(supervisor.look().await.unwrap().is_empty());
        store.clock().advance(SUBMITTING_LONG - 1_000);
        supervisor.look().await.unwrap();
        assert!(supervisor.submitting[&batch].is_some(), "not yet");
        store.clock().advance(1_000);
        supervisor.look().await.unwrap();
        assert_eq!(supervisor.submitting[&batch], None, "it is told");
        supervisor.look().await.unwrap();
        assert_eq!(supervisor.submitting[&batch], None, "once");
        store.end_submit(batch).await.unwrap();
        supervisor.look().await.unwrap();
        assert!(supervisor.submitting.is_empty());
    }
}
