//! One job of a transcription batch: its recording, what is heard in it, its calls, and the vendor's log as evidence.

mod call;
mod deliver;
mod hear;
mod history;
mod logbook;
mod lookup;
mod marks;
mod parts;
mod plan;
mod recording;
mod speech;

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
    plan::{Plan, Plans, SentPart},
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
        listening::{ChannelMode, Listening, OtherWay, Prepare, Roles},
        options::{SttModel, TranscribeOptions},
        pool::Pool,
        task::SpecError,
        transcription::Transcription,
    },
    media::source::{MAX_SOURCE_BYTES, Source},
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
            let is_heard = self.asked.listening.needs_hearing() || on.job().other_way.is_some() || job.is_large().await;
            if is_heard { work_heard(job).await } else { one_call::work(job, on).await }
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
    /// The model that its line asks for.
    own_model: SttModel,
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
        let (recording, own_model) = (Recording::new(), options.model);
        Ok(Self {
            on,
            batch,
            kept,
            asked,
            options,
            own_model,
            roles,
            recording,
            sent: None,
            heard: None,
            webhook: None,
        })
    }

    /// Whether word times are requested: by them the words of several calls become one transcript.
    fn word_timestamps(&self) -> bool {
        let is_cut = self.sent.as_ref().is_some_and(|sent| sent.channel.is_some() || !sent.cuts.is_empty());
        is_cut || self.asked.sends_word_timestamps(&self.options)
    }

    /// Sends this part from now on.
    fn turn_to(&mut self, sent: &SentPart) {
        self.options.model = sent.way.and_then(OtherWay::model).unwrap_or(self.own_model);
        self.sent = Some(sent.clone());
        self.recording.send_as_it_is();
    }

    /// Whether the recording is converted even if all of it is sent.
    fn is_converted(&self) -> bool {
        let Some(probe) = self.recording.probe() else {
            return self.is_live() || self.asked.listening.prepare.is_a_conversion();
        };
        let known = (probe.is_listed, probe.bytes);
        hear::Conversion::of(None, (self.asked.listening.prepare, self.is_live()), known, probe.length.ms()).is_some()
    }

    /// Whether its recording is larger than the API takes, so that it may have to be sent in several pieces.
    async fn is_large(&self) -> bool {
        let job = self.on.job();
        let bytes = match (&job.expected, Source::parse(&job.source)) {
            (Some(listed), _) => Some(listed.bytes),
            (None, Ok(Source::File(path))) => tokio::fs::metadata(path).await.ok().map(|file| file.len()),
            (None, _) => None,
        };
        bytes.is_some_and(|bytes| bytes > MAX_SOURCE_BYTES) && self.asked.listening.prepare != Prepare::Never
    }
}

/// Works a job whose recording is heard before it is bought; `None` if its lease is lost.
async fn work_heard(mut job: TranscriptionJob<'_>) -> Result<Option<To>, StoreError> {
    let mut plans = match planned(&mut job).await? {
        Ok(plans) => plans,
        Err(Next::Leave(to)) => return Ok(Some(to)),
        Err(Next::Look | Next::Lost) => return Ok(None),
    };
    // A way that a newer release knows is left to it.
    let way = job.on.job().other_way.as_deref().and_then(|way| way.parse().ok());
    if let Some(way) = way
        && plans.other.is_none()
    {
        plans = match planned_otherwise(&mut job, plans, way).await? {
            Ok(plans) => plans,
            Err(Next::Leave(to)) => return Ok(Some(to)),
            Err(Next::Look | Next::Lost) => return Ok(None),
        };
    }
    if plans.own.is_skipped {
        return match deliver::deliver_silence(&job, &plans.own).await? {
            Next::Leave(to) => Ok(Some(to)),
            Next::Look | Next::Lost => Ok(None),
        };
    }
    if plans.other.is_some() || !plans.own.is_whole() {
        return Box::pin(parts::work(job, plans)).await;
    }
    if job.heard.is_none() {
        job.heard = hear::kept(&job).await?;
    }
    job.sent = plans.own.parts.into_iter().next().map(|(_, sent)| sent);
    let on = job.on;
    one_call::work(job, on).await
}

/// The plans of a job's recording: those that are frozen, or a new one. What was bought without a plan has none. The inner error
/// is what follows if there is no plan now.
async fn planned(job: &mut TranscriptionJob<'_>) -> Result<Result<Plans, Next>, StoreError> {
    let (on, lease) = (job.on, (job.on.job().job, job.on.job().token));
    let frozen = on.store().frozen_parts(lease.0).await?;
    if let Some(plans) = Plans::thawed(&frozen) {
        return Ok(plans.map_err(|e| not_frozen(&e)));
    }
    let mut part = one_call::part_of(on, job.pool(), 0).await?;
    if !part.journal.calls.is_empty() {
        return Ok(Ok(Plans::first(Plan::unplanned())));
    }
    let plan = match heard_now(job, &mut part).await? {
        Ok(Some(heard)) => {
            let plan = Plan::of(&heard, &job.asked.listening, job.is_converted());
            job.heard = Some(heard);
            plan
        }
        Ok(None) => Plan::unheard(),
        Err(next) => return Ok(Err(next)),
    };
    if !on.store().freeze_parts(lease, &plan.frozen(), 0).await? {
        return Ok(Err(Next::Lost));
    }
    Ok(Ok(Plans::first(plan)))
}

/// The plans with one more, for another way.
async fn planned_otherwise(
    job: &mut TranscriptionJob<'_>,
    plans: Plans,
    way: OtherWay,
) -> Result<Result<Plans, Next>, StoreError> {
    let (on, lease) = (job.on, (job.on.job().job, job.on.job().token));
    if job.heard.is_none() {
        job.heard = hear::kept(job).await?;
    }
    if job.heard.is_none() && way == OtherWay::Split {
        let mut part = one_call::part_of(on, job.pool(), 0).await?;
        job.heard = match heard_now(job, &mut part).await? {
            Ok(heard) => heard,
            Err(next) => return Ok(Err(next)),
        };
    }
    let asked = match way {
        OtherWay::Split => Listening { channels: ChannelMode::Split, ..job.asked.listening.clone() },
        OtherWay::Pulse | OtherWay::PulsePro => job.asked.listening.clone(),
    };
    let plan = match &job.heard {
        Some(heard) => Plan::of(heard, &asked, job.is_converted()),
        None => Plan::unplanned(),
    };
    let model = way.model().unwrap_or(job.own_model);
    let is_faulty = !TranscribeOptions { model, ..job.options.clone() }.faults().is_empty();
    let is_the_same = if way == OtherWay::Split { !plan.is_by_channel() } else { model == job.own_model };
    if is_faulty || is_the_same {
        // There is one voice, or one channel, or the line has options of its own.
        return Ok(Ok(plans));
    }
    let (plan, from) = plans.next(plan.tried(way));
    if !on.store().freeze_parts(lease, &plan.frozen(), from).await? {
        return Ok(Err(Next::Lost));
    }
    Ok(Ok(plans.with(plan)))
}

/// What is heard in the recording now; `None` if it cannot be heard and need not be. The inner error is what follows otherwise.
async fn heard_now<'a>(
    job: &mut TranscriptionJob<'a>,
    part: &mut PartContext<'a>,
) -> Result<Result<Option<Hearing>, Next>, StoreError> {
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
    if let Some(next) = one_call::prepare(part, None, hearing).await? {
        return Ok(Err(next));
    }
    match outcome.expect("it was heard, or not") {
        Ok(heard) => Ok(Ok(Some(heard))),
        Err(NotHeard::Undecodable(why)) if job.asked.listening.must_be_heard() => {
            let probe = job.recording.probe();
            let undecodable = async { hear::undecodable(&why, probe) };
            let next = one_call::prepare(part, None, undecodable).await?;
            Ok(Err(next.expect("a failure has a consequence")))
        }
        Err(NotHeard::Undecodable(why)) => {
            let key = &job.on.job().key;
            tracing::info!(job.key = key, "a recording is sent as it is, since it cannot be heard: {why}");
            Ok(Ok(None))
        }
        Err(NotHeard::Lost) => Ok(Err(Next::Lost)),
        Err(NotHeard::Ledger(error)) => Err(error),
        Err(NotHeard::Source(_)) => unreachable!("its consequences were drawn"),
    }
}

/// What follows if a plan cannot be read.
fn not_frozen(why: &str) -> Next {
    let message = format!("a newer release of wavebatch planned its calls ({why}); use that release");
    Next::fail(ErrorKind::LedgerRefused, message)
}

/// How many calls buy a recording in which this was heard, and how much audio they carry, in ms.
pub(super) fn calls_of(heard: &Hearing, asked: &Listening) -> (u64, u64) {
    let plan = Plan::of(heard, asked, asked.prepare.is_a_conversion());
    if plan.is_skipped { (0, 0) } else { (plan.parts.len() as u64, plan.sent_ms()) }
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
