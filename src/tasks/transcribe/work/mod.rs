//! One job of a transcription batch: its recording, its call, and the vendor's log as evidence.

mod call;
mod deliver;
mod history;
mod logbook;
mod lookup;
mod marks;
mod recording;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;

use self::{logbook::LogBook, marks::Marks, recording::Recording};
use super::Transcribe;
use crate::{
    clock::Clock,
    domain::{
        batch::{BatchSpec, LineOverrides},
        call::Answer,
        job::CallRecord,
        options::TranscribeOptions,
        pool::Pool,
        task::SpecError,
        transcription::Transcription,
    },
    runner::{
        BatchTask, Event, JobContext, Maker, Means, Next, OneCall, PartContext, RunnerConfig, RunnerTask, VendorLog,
        Webhook,
        one_call::{self, FreshAnswer, KeptAnswer, PartCall, Prepared},
        reconcile::Reconciled,
    },
    store::{Claimed, StoreError, To},
    waves::Client,
};

/// How long a run waits for the log before its first call: a slow log must not delay the calls.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

impl Maker for Transcribe {
    fn join(&self, means: &Means) -> Arc<dyn RunnerTask> {
        let log = LogBook::new(means.client.clone(), means.store.clock().clone());
        Arc::new(TranscriptionRun(Arc::new(RunState { log, marks: Marks::default(), overdue: AtomicU32::new(0) })))
    }

    fn vendor_log(&self, client: &Client, clock: &Clock) -> Option<Arc<dyn VendorLog>> {
        Some(Arc::new(history::History::new(client.clone(), clock.clone())))
    }
}

/// What a runner keeps across batches.
#[derive(Debug)]
struct RunState {
    log: LogBook,
    marks: Marks,
    /// Overdue callbacks since the last one that came.
    overdue: AtomicU32,
}

#[derive(Debug)]
struct TranscriptionRun(Arc<RunState>);

impl RunnerTask for TranscriptionRun {
    fn bind(&self, spec: &BatchSpec, _: &RunnerConfig) -> Result<Arc<dyn BatchTask>, SpecError> {
        let (kept, asked) = (Arc::clone(&self.0), spec.task.read()?);
        Ok(Arc::new(TranscriptionBatch { kept, asked, stereo_warned: AtomicBool::new(false) }))
    }

    fn begin(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.log.refresh_within(LOG_PATIENCE))
    }

    fn tick(&self, busy: bool) {
        self.0.log.keep_fresh(busy);
    }
}

#[derive(Debug)]
struct TranscriptionBatch {
    kept: Arc<RunState>,
    asked: Transcription,
    /// Whether the warning about stereo was sent: it is sent once, not for each line.
    stereo_warned: AtomicBool,
}

impl BatchTask for TranscriptionBatch {
    fn work<'a>(&'a self, on: JobContext<'a>) -> BoxFuture<'a, Result<Option<To>, StoreError>> {
        Box::pin(async move { one_call::work(TranscriptionJob::new(self, on)?, on).await })
    }
}

/// A recording to be transcribed.
struct TranscriptionJob<'a> {
    on: JobContext<'a>,
    batch: &'a TranscriptionBatch,
    kept: &'a RunState,
    asked: &'a Transcription,
    options: TranscribeOptions,
    recording: Recording,
    /// Where its answer is posted, if it is.
    webhook: Option<&'a Webhook>,
}

impl<'a> TranscriptionJob<'a> {
    fn new(batch: &'a TranscriptionBatch, on: JobContext<'a>) -> Result<Self, StoreError> {
        let options = overrides(on.job())?.apply(&batch.asked.options);
        let (kept, asked) = (&*batch.kept, &batch.asked);
        Ok(Self { on, batch, kept, asked, options, recording: Recording::new(), webhook: None })
    }

    /// Whether word times are requested.
    fn word_timestamps(&self) -> bool {
        self.asked.sends_word_timestamps(&self.options)
    }
}

fn overrides(job: &Claimed) -> Result<LineOverrides, StoreError> {
    let Some(json) = &job.overrides else { return Ok(LineOverrides::default()) };
    serde_json::from_str(json).map_err(|e| StoreError::Unexpected(format!("options of `{}`: {e}", job.key)))
}

impl PartCall for TranscriptionJob<'_> {
    fn pool(&self) -> Pool {
        self.options.model.into()
    }

    async fn prepare(&mut self) -> Prepared {
        let prepared = self.recording.prepare(self.on, &self.options).await;
        self.webhook = call::webhook(self);
        prepared
    }

    async fn look(&mut self, part: &PartContext<'_>, call: &CallRecord) -> Result<Reconciled, StoreError> {
        if call.overdue_at.is_some() && call.unknown_at.is_none() {
            self.kept.overdue.fetch_add(1, Ordering::Relaxed);
            self.on.emit(Event::CallbackOverdue { pool: part.pool });
            tracing::warn!(job.key = self.on.job().key, call.id = %call.id, "a callback is overdue; the vendor's log is asked");
        }
        lookup::look(self, part, call).await
    }
}

impl OneCall for TranscriptionJob<'_> {
    async fn deliver(&mut self, part: &PartContext<'_>, fresh: FreshAnswer<Answer>) -> Result<Next, StoreError> {
        deliver::deliver_fresh(self, part, fresh).await
    }

    async fn deliver_kept(&mut self, part: &PartContext<'_>, kept: KeptAnswer) -> Result<Next, StoreError> {
        // A callback has come: the count of overdue ones starts again.
        if part.journal.calls.iter().any(|call| call.id == kept.call && call.overdue_at.is_some()) {
            self.kept.overdue.store(0, Ordering::Relaxed);
        }
        deliver::deliver_kept(self, part, kept).await
    }
}
