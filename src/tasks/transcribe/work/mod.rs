//! One job of a transcription batch: its recording, what is heard in it, its calls, and the vendor's log as evidence.

mod call;
mod deliver;
mod hear;
mod history;
mod logbook;
mod lookup;
mod marks;
mod plan;
mod recording;
mod sides;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use self::{
    hear::NotHeard,
    logbook::LogBook,
    marks::Marks,
    plan::{Plan, SentPart},
    recording::{Recording, not_fetched},
};
use super::Transcribe;
use crate::{
    audio::analyze::Hearing,
    clock::Clock,
    domain::{
        batch::{BatchSpec, LineOverrides},
        call::{Answer, ErrorKind},
        job::CallRecord,
        listening::{ChannelMode, Listening, Roles},
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

pub(super) use self::hear::raw;

/// How long a run waits for the log before its first call: a slow log must not delay the calls.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

impl Maker for Transcribe {
    fn join(&self, means: &Means) -> Arc<dyn RunnerTask> {
        let log = LogBook::new(means.client.clone(), means.store.clock().clone());
        let (marks, overdue, decoders) = (Marks::default(), AtomicU32::new(0), hear::decoders());
        Arc::new(TranscriptionRun(Arc::new(RunState { log, marks, overdue, decoders })))
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
    /// Turns at decoding.
    decoders: Arc<Semaphore>,
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
        Box::pin(async move {
            let job = TranscriptionJob::new(self, on)?;
            if self.asked.listening.needs_hearing() { work_heard(job).await } else { one_call::work(job, on).await }
        })
    }
}

/// A recording to be transcribed.
struct TranscriptionJob<'a> {
    on: JobContext<'a>,
    batch: &'a TranscriptionBatch,
    kept: &'a RunState,
    asked: &'a Transcription,
    options: TranscribeOptions,
    /// Who speaks on which channel.
    roles: Roles,
    recording: Recording,
    /// What the call at hand sends of it, if that was planned.
    sent: Option<SentPart>,
    /// What was heard in it, if it was heard.
    heard: Option<Hearing>,
    /// Where its answer is posted, if it is.
    webhook: Option<&'a Webhook>,
}

impl<'a> TranscriptionJob<'a> {
    fn new(batch: &'a TranscriptionBatch, on: JobContext<'a>) -> Result<Self, StoreError> {
        let own = overrides(on.job())?;
        let options = own.apply(&batch.asked.options);
        let roles = own.roles.or(&batch.asked.listening.roles);
        let (kept, asked) = (&*batch.kept, &batch.asked);
        let recording = Recording::new();
        Ok(Self { on, batch, kept, asked, options, roles, recording, sent: None, heard: None, webhook: None })
    }

    /// Whether word times are requested.
    fn word_timestamps(&self) -> bool {
        self.asked.sends_word_timestamps(&self.options)
    }
}

/// Works a job whose recording is heard before it is bought; `None` if its lease is lost.
async fn work_heard(mut job: TranscriptionJob<'_>) -> Result<Option<To>, StoreError> {
    let plan = match planned(&mut job).await? {
        Ok(plan) => plan,
        Err(Next::Leave(to)) => return Ok(Some(to)),
        Err(Next::Look | Next::Lost) => return Ok(None),
    };
    if plan.is_skipped {
        return match deliver::deliver_silence(&job, &plan).await? {
            Next::Leave(to) => Ok(Some(to)),
            Next::Look | Next::Lost => Ok(None),
        };
    }
    if !plan.is_whole() {
        return Box::pin(sides::work(job, &plan)).await;
    }
    if job.heard.is_none() {
        job.heard = hear::kept(&job).await?;
    }
    job.sent = plan.parts.into_iter().next().map(|(_, sent)| sent);
    let on = job.on;
    one_call::work(job, on).await
}

/// The plan of a job's recording: the one that is frozen, or a new one. What was bought without a plan has none. The inner error
/// is what follows if there is no plan now.
async fn planned(job: &mut TranscriptionJob<'_>) -> Result<Result<Plan, Next>, StoreError> {
    let (on, lease) = (job.on, (job.on.job().job, job.on.job().token));
    let frozen = on.store().frozen_parts(lease.0).await?;
    if let Some(plan) = Plan::thawed(&frozen) {
        return Ok(plan.map_err(|e| {
            let message = format!("a newer release of wavebatch planned its calls ({e}); use that release");
            Next::fail(ErrorKind::LedgerRefused, message)
        }));
    }
    let mut part = one_call::part_of(on, job.pool(), 0).await?;
    if !part.journal.calls.is_empty() {
        return Ok(Ok(Plan::unplanned()));
    }
    let mut outcome = None;
    let hearing = async {
        match hear::hear(job).await {
            Err(NotHeard::Source(prepared)) => prepared,
            other => {
                outcome = Some(other);
                Prepared::Ready
            }
        }
    };
    if let Some(next) = one_call::prepare(&mut part, None, hearing).await? {
        return Ok(Err(next));
    }
    let listening = &job.asked.listening;
    let plan = match outcome.expect("it was heard, or not") {
        Ok(heard) => {
            let plan = Plan::of(&heard, listening);
            job.heard = Some(heard);
            plan
        }
        Err(NotHeard::Undecodable(why)) if listening.channels == ChannelMode::Split => {
            let probe = job.recording.probe();
            let undecodable = async { hear::undecodable(&why, probe) };
            let next = one_call::prepare(&mut part, None, undecodable).await?;
            return Ok(Err(next.expect("a failure has a consequence")));
        }
        Err(NotHeard::Undecodable(why)) => {
            tracing::info!(job.key = on.job().key, "a recording is sent as it is, since it cannot be heard: {why}");
            Plan::unheard()
        }
        Err(NotHeard::Lost) => return Ok(Err(Next::Lost)),
        Err(NotHeard::Ledger(error)) => return Err(error),
        Err(NotHeard::Source(_)) => unreachable!("its consequences were drawn"),
    };
    if !on.store().freeze_parts(lease, &plan.frozen()).await? {
        return Ok(Err(Next::Lost));
    }
    Ok(Ok(plan))
}

/// How many calls buy a recording in which this was heard, and how much audio they carry, in ms.
pub(super) fn calls_of(heard: &Hearing, asked: &Listening) -> (u64, u64) {
    let plan = Plan::of(heard, asked);
    let sent = if plan.is_skipped { &[] } else { plan.parts.as_slice() };
    (sent.len() as u64, sent.iter().map(|(_, part)| part.length_ms).sum())
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
        let prepare = self.asked.listening.prepare;
        let may_be_url = self.sent.is_none() && !prepare.is_a_conversion();
        if let Err(e) = self.recording.get(self.on, &self.options, (may_be_url, prepare)).await {
            return not_fetched(e);
        }
        if let Err(not_made) = hear::make(self).await {
            return match not_made {
                NotHeard::Source(prepared) => prepared,
                NotHeard::Undecodable(why) => hear::undecodable(&why, self.recording.probe()),
                NotHeard::Lost | NotHeard::Ledger(_) => Prepared::Machine("the ledger is away".into()),
            };
        }
        self.webhook = call::webhook(self);
        Prepared::Ready
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
