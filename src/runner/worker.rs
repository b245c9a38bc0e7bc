//! One job's life between claim and settling. What happens depends on the journal alone.

use std::sync::{Arc, atomic::Ordering};

use super::{
    Event, RunnerShared, attempt,
    batch::{Batch, Unworkable},
    call::Attempt,
    deliver,
    reconcile::{self, ReconcileStep},
    recording::{Prepared, Recording},
    store_outage::FetchOutage,
    synthesis,
};
use crate::{
    crash,
    domain::{
        built_in::BuiltIn,
        call::{CallFailure, ErrorKind},
        job::{CallId, CallRecord, JobState, Journal, Step, Why},
        options::{TranscribeOptions, TranscriptFormat, WebhookMode},
        overrides::LineOverrides,
        pool::{Limits, Pool},
        retry::{self, PauseKind, Used},
        transcription::Transcription,
    },
    media::source::Source,
    store::{Claimed, End, Ended, Finish, JobFilter, Settled, Settlement, StoreError, To},
};

/// How soon lines are tried again whose batch could not be read, in ms.
const UNREAD_MS: i64 = 5_000;

/// A part of a job in hand, and what is asked for it.
pub(super) struct ActivePart<'a, A = Transcribing<'a>> {
    pub(super) shared: &'a RunnerShared,
    pub(super) batch: &'a Batch,
    pub(super) job: &'a Claimed,
    pub(super) pool: Pool,
    /// Which part; a recording has one, and it is 0.
    pub(super) part: i64,
    pub(super) journal: Journal,
    /// No other call before this moment (ms since 1970): the API asked for the wait.
    pub(super) not_before: i64,
    pub(super) asked: A,
}

/// What is asked for a recording.
pub(super) struct Transcribing<'a> {
    pub(super) options: TranscribeOptions,
    pub(super) formats: &'a [TranscriptFormat],
    pub(super) webhook: WebhookMode,
}

/// What a stage of a job's life leads to.
pub(super) enum Next {
    /// The journal has changed: look again.
    Look,
    /// The job leaves this worker.
    Leave(To),
    /// Somebody else has it, or has finished it.
    Lost,
}

impl Next {
    pub(super) fn fail(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Leave(To::Finished(Box::new(Finish::failed(kind, message.into()))))
    }
}

pub(super) async fn work(shared: Arc<RunnerShared>, batch: Arc<Batch>, job: Claimed) -> Result<(), StoreError> {
    let asked = batch.spec.task.built_in().map_err(|e| StoreError::Unexpected(e.to_string()))?;
    let to = match &asked {
        BuiltIn::Transcribe(asked) => live(&shared, &batch, asked, &job).await?,
        BuiltIn::Synthesize(asked) => synthesis::live(&shared, &batch, asked, &job).await?,
    };
    let to = match to {
        Some(to) => to,
        None => To::Queued { due_at: shared.store.clock().now(), call: None, source_try: false },
    };
    let event = event(&batch, &job, &to);
    let settlement = Settlement { job: job.job, batch: job.batch, token: job.token, to };
    crash::point("before-settle");
    crash::defect(&job.key);
    match shared.store.conclude(settlement).await? {
        Settled::Done => shared.emit(event),
        Settled::Again => shared.emit(requeued(&batch, &job, shared.store.clock().now())),
        Settled::Lost => tracing::debug!(job.key = job.key, "the lease was lost; the transition is dropped"),
    }
    Ok(())
}

/// Gives a lease back without work: its batch cannot be worked, and pauses, or could not be read just now.
pub(super) async fn give_back(
    shared: Arc<RunnerShared>,
    job: Claimed,
    unworkable: Option<Unworkable>,
) -> Result<(), StoreError> {
    let now = shared.store.clock().now();
    let due_at = match unworkable {
        Some(Unworkable { kind, reason }) => {
            shared.pause(job.batch, kind, &reason).await?;
            now
        }
        None => now + UNREAD_MS,
    };
    let to = To::Queued { due_at, call: job.lane, source_try: false };
    shared.store.settle(Settlement { job: job.job, batch: job.batch, token: job.token, to }).await?;
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
    Event::Requeued { batch: batch.id, key: job.key.clone(), reason: String::new(), due_at }
}

/// Where the job goes; `None` when its lease is lost.
async fn live(
    shared: &RunnerShared,
    batch: &Batch,
    asked: &Transcription,
    job: &Claimed,
) -> Result<Option<To>, StoreError> {
    let overrides: LineOverrides = match &job.overrides {
        Some(json) => {
            serde_json::from_str(json).map_err(|e| StoreError::Unexpected(format!("options of `{}`: {e}", job.key)))?
        }
        None => LineOverrides::default(),
    };
    let options = overrides.apply(&asked.options);
    let pool = Pool::from(options.model);
    let asked = Transcribing { options, formats: &asked.formats, webhook: asked.webhook };
    let mut work = ActivePart { shared, batch, job, pool, part: 0, journal: Journal::default(), not_before: 0, asked };
    if job.has_calls {
        work.reload().await?;
    }
    let mut recording = Recording::new();
    loop {
        let next = match work.journal.step(shared.store.clock().now(), shared.store.timing().lease_ms) {
            Step::Deliver(call) => {
                if work.journal.calls.iter().any(|c| c.id == call && c.overdue_at.is_some()) {
                    shared.overdue.store(0, Ordering::Relaxed);
                }
                deliver::deliver_kept(&work, call).await?
            }
            Step::Await { call, until } => Next::Leave(To::Awaiting { call, until }),
            Step::PutBack { call, until } => Next::Leave(To::Waiting { call, until }),
            Step::Reconcile(call) => work.reconcile(&call, &mut recording).await?,
            Step::Call(why) => work.call(why, None, &mut recording).await?,
        };
        match next {
            Next::Look => work.reload().await?,
            Next::Leave(to) => return Ok(Some(to)),
            Next::Lost => return Ok(None),
        }
    }
}

impl<A> ActivePart<'_, A> {
    pub(super) async fn reload(&mut self) -> Result<(), StoreError> {
        self.journal = self.shared.store.journal(self.job.job, self.part, self.job.generation).await?;
        Ok(())
    }

    /// The account's limits, lowered by the definition where it does.
    pub(super) fn limits(&self) -> Limits {
        let mut limits = self.shared.config.limits(self.pool);
        let wish = self.batch.spec.run.requests_per_minute;
        limits.requests_per_minute = limits.requests_per_minute.into_iter().chain(wish).min();
        limits
    }

    pub(super) fn now(&self) -> i64 {
        self.shared.store.clock().now()
    }

    /// Back to the queue for a call, with the tries untouched.
    pub(super) fn put_back(&self, due_at: i64) -> Next {
        // With an open call there is something to reconcile first, and that needs no room in the pool.
        let open = self.journal.calls.iter().any(|c| matches!(c.state.as_str(), "sent" | "accepted"));
        Next::Leave(To::Queued { due_at, call: (!open).then_some(self.pool), source_try: false })
    }

    pub(super) async fn give_up(&self, call: CallId) -> Result<(), StoreError> {
        let ended = Ended { call, departed_at: None, limits: self.limits(), end: End::GivenUp, pauses: None };
        self.shared.store.end(ended).await?;
        Ok(())
    }

    /// Tries used up, those of the source included.
    pub(super) fn used(&self) -> Used {
        let tries = self.journal.tries() + self.job.source_tries;
        Used { tries, timed_out: self.journal.timed_out(), limited: 0 }
    }

    /// When another call may follow one whose outcome is unknown: not at once after a 5xx.
    pub(super) fn call_again_at(&self, call: &CallRecord) -> i64 {
        let wait = match call.error_kind {
            Some(kind @ ErrorKind::Gateway) => retry::wait_ms(kind, self.used().tries, jitter_of(call.id)),
            _ => 0,
        };
        let since = call.unknown_at.unwrap_or(call.sent_at);
        self.not_before.max(since + i64::try_from(wait).unwrap_or(300_000))
    }

    /// The end of the line, if its part has used up what it may.
    pub(super) fn spent(&self, last: Option<ErrorKind>) -> Option<Next> {
        if let Some(call) = self.journal.too_large() {
            let message = call.error.clone().unwrap_or_else(|| "the answer is too large".into());
            return Some(Next::fail(ErrorKind::AnswerTooLarge, message));
        }
        let (used, run) = (self.used(), &self.batch.spec.run);
        let last = last.or_else(|| self.journal.calls.iter().rev().find_map(|c| c.error_kind));
        if used.timed_out >= 2 {
            let message = "the API did not finish in time, twice; a longer call_timeout may help";
            return Some(Next::fail(ErrorKind::TimedOut, message));
        }
        if used.tries >= run.max_tries {
            let words = self.journal.calls.iter().rev().find_map(|c| c.error.as_deref());
            let words = words.map(|w| format!("; the last: {w}")).unwrap_or_default();
            let message = format!("given up after {} tries{words}", used.tries);
            return Some(Next::fail(last.unwrap_or(ErrorKind::ServerError), message));
        }
        let billed = self.journal.billed();
        if billed >= run.max_billed_calls {
            let message = format!(
                "{billed} calls for this line may have been billed, and max_billed_calls = {} allows no more",
                run.max_billed_calls
            );
            return Some(Next::fail(ErrorKind::BilledCap, message));
        }
        None
    }
}

impl ActivePart<'_> {
    async fn reconcile(&mut self, call: &CallRecord, recording: &mut Recording) -> Result<Next, StoreError> {
        if call.overdue_at.is_some() && call.unknown_at.is_none() {
            self.shared.overdue.fetch_add(1, Ordering::Relaxed);
            self.shared.emit(Event::CallbackOverdue { pool: self.pool });
            tracing::warn!(job.key = self.job.key, call.id = %call.id, "a callback is overdue; the vendor's log is asked");
        }
        match reconcile::look(self, call).await? {
            ReconcileStep::Answered => Ok(Next::Look),
            ReconcileStep::Left => Ok(Next::Lost),
            ReconcileStep::Later(at) => {
                let due_at = at.max(self.not_before);
                Ok(Next::Leave(To::Queued { due_at, call: None, source_try: false }))
            }
            ReconcileStep::CallAgain => {
                if let Some(end) = self.spent(call.error_kind) {
                    self.give_up(call.id).await?;
                    return Ok(end);
                }
                let at = self.call_again_at(call);
                if self.now() < at {
                    return Ok(Next::Leave(To::Queued { due_at: at, call: None, source_try: false }));
                }
                self.call(Why::Unknown, Some(call), recording).await
            }
            ReconcileStep::ManualReview => {
                self.give_up(call.id).await?;
                let message = "the call may have been billed and nothing proves its outcome; on_unknown = \"park\" leaves it to you: `wavebatch retry` buys it again";
                Ok(Next::fail(ErrorKind::UnknownOutcome, message))
            }
        }
    }

    async fn call(
        &mut self,
        why: Why,
        replaces: Option<&CallRecord>,
        recording: &mut Recording,
    ) -> Result<Next, StoreError> {
        if replaces.is_none()
            && let Some(end) = self.spent(None)
        {
            return Ok(end);
        }
        let ready = tokio::select! {
            biased;
            ready = recording.prepare(self) => ready,
            // A download may take many minutes, and nothing is lost with it.
            () = self.shared.drain.cancelled() => return Ok(self.put_back(self.now())),
        };
        let prepared = match ready {
            Prepared::Ready => recording,
            Prepared::CallFailure { failure, transient } => {
                return self.source_failure(failure, transient, replaces).await;
            }
            Prepared::Disk(message) => {
                self.shared.report_disk(format!("{message}; its lines are tried again every 30 s"));
                return Ok(self.put_back(self.now() + 30_000));
            }
            Prepared::Refused(message) => {
                self.shared.pause(self.batch.id, PauseKind::Source, &message).await?;
                return Ok(self.put_back(self.now()));
            }
        };
        let why = if why == Why::First && self.job.generation > 0 { Why::Retry } else { why };
        match attempt::attempt(self, why, replaces, prepared).await? {
            Attempt::Answered { call, answer, processing_ms } => {
                deliver::deliver_fresh(self, call, answer, processing_ms, prepared).await
            }
            Attempt::Next(next) => Ok(next),
            // Transcripts are not kept in the audio cache.
            Attempt::ClipOpen { .. } | Attempt::ClipKept | Attempt::ClipInManualReview => Ok(Next::Look),
        }
    }

    /// When the store of the recordings is down, or forbids line after line, no line is to blame: they wait for it with
    /// their tries untouched; too long, and the batch pauses.
    async fn store_is_down(&self, failure: &CallFailure, transient: bool) -> Result<Option<Next>, StoreError> {
        if !matches!(Source::parse(&self.job.source), Ok(Source::S3(_))) {
            return Ok(None);
        }
        let now = self.now();
        let FetchOutage::Down { since, first } = self.batch.store_outage.failed(self.job.job, now) else {
            return Ok(None);
        };
        if first && transient {
            let message = format!("{}; recordings wait for the store, and use up no tries", failure.message);
            self.shared.emit(Event::Warning(message));
        }
        if !transient && self.store_still_gives().await? {
            return Ok(None);
        }
        let limit = i64::try_from(self.batch.spec.run.outage_limit.as_millis()).unwrap_or(i64::MAX);
        // Who is forbidden one after the other has to do something, and not to wait.
        if !transient || now - since >= limit {
            self.shared.pause(self.batch.id, PauseKind::Source, &failure.message).await?;
            return Ok(Some(self.put_back(now)));
        }
        Ok(Some(self.put_back(now + ((now - since) / 4).clamp(1_000, 30_000))))
    }

    /// Whether the store gives what it gave before, so that what it forbids is forbidden for itself: an object that is
    /// not there, to who may not list.
    async fn store_still_gives(&self) -> Result<bool, StoreError> {
        let given = match self.batch.store_outage.given() {
            Some(at) => Some(at),
            None => {
                let done = JobFilter { state: Some(JobState::Succeeded), limit: 1, ..JobFilter::default() };
                let done = self.shared.store.jobs(self.batch.id, &done).await?;
                done.first().and_then(|job| job.row.source.as_deref()?.parse().ok())
            }
        };
        let Some(at) = given else { return Ok(false) };
        let gives = self.batch.objects.look(&at, None).await.is_ok();
        if gives {
            self.batch.store_outage.works(&at);
        }
        Ok(gives)
    }

    async fn source_failure(
        &mut self,
        failure: CallFailure,
        transient: bool,
        replaces: Option<&CallRecord>,
    ) -> Result<Next, StoreError> {
        if (transient || failure.kind == ErrorKind::SourceRefused)
            && let Some(next) = self.store_is_down(&failure, transient).await?
        {
            return Ok(next);
        }
        let mut used = self.used();
        used.tries += 1;
        let verdict = retry::verdict(&failure, used, self.batch.spec.run.max_tries, jitter());
        match verdict {
            retry::RetryDecision::Later(wait) if transient => {
                let due_at = self.now() + i64::try_from(wait).unwrap_or(30_000);
                let call = replaces.is_none().then_some(self.pool);
                Ok(Next::Leave(To::Queued { due_at, call, source_try: true }))
            }
            _ => {
                if let Some(open) = replaces {
                    self.give_up(open.id).await?;
                }
                let finish = Finish { source_try: true, ..Finish::failed(failure.kind, failure.message) };
                Ok(Next::Leave(To::Finished(Box::new(finish))))
            }
        }
    }
}

/// 0..1, the same for the same call.
pub(super) fn jitter_of(call: CallId) -> f64 {
    let [.., high, low] = call.0.into_bytes();
    f64::from(u16::from_be_bytes([high, low])) / 65_536.0
}

/// 0..1, from the clock's lowest digits: enough to spread retries.
pub(super) fn jitter() -> f64 {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
    f64::from((nanos / 64) % 1_024) / 1_024.0
}
