//! A claimed job, and one part of it with its journal.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{
    batch::Batch,
    config::RunnerConfig,
    disk,
    events::{Event, Events},
    shared::RunnerShared,
};
use crate::{
    domain::{
        batch::{BatchSpec, RunSettings},
        call::{ErrorKind, Outcome},
        job::{CallId, CallRecord, Journal, Step, Why},
        pool::{Limits, Pool},
        retry::{self, PauseKind, Used},
        s3::S3Address,
    },
    media::{fetch::Fetcher, s3::Objects},
    store::{Claimed, End, Ended, Finish, Store, StoreError, To},
    waves::Client,
};

/// A claimed job, with everything that is needed to work it.
#[derive(Debug, Clone, Copy)]
pub struct JobContext<'a> {
    pub(super) shared: &'a RunnerShared,
    pub(super) batch: &'a Batch,
    job: &'a Claimed,
}

impl<'a> JobContext<'a> {
    pub(super) const fn new(shared: &'a RunnerShared, batch: &'a Batch, job: &'a Claimed) -> Self {
        Self { shared, batch, job }
    }

    /// The job as it was claimed.
    #[must_use]
    pub const fn job(self) -> &'a Claimed {
        self.job
    }

    /// The name of its batch.
    #[must_use]
    pub fn batch_name(self) -> &'a str {
        &self.batch.name
    }

    /// The specification of its batch.
    #[must_use]
    pub fn spec(self) -> &'a BatchSpec {
        &self.batch.spec
    }

    /// The specification as the ledger stores it.
    #[must_use]
    pub fn spec_json(self) -> Arc<str> {
        Arc::clone(&self.batch.read)
    }

    /// How its batch runs.
    #[must_use]
    pub fn run(self) -> &'a RunSettings {
        &self.batch.spec.run
    }

    /// The ledger.
    #[must_use]
    pub const fn store(self) -> &'a Store {
        &self.shared.means.store
    }

    /// The API.
    #[must_use]
    pub const fn client(self) -> &'a Client {
        &self.shared.means.client
    }

    /// Downloads remote sources.
    #[must_use]
    pub const fn fetcher(self) -> &'a Fetcher {
        &self.shared.means.fetcher
    }

    /// The rules that the runner works under.
    #[must_use]
    pub const fn config(self) -> &'a RunnerConfig {
        &self.shared.config
    }

    /// Cancelled when no further call may be made.
    #[must_use]
    pub const fn drain(self) -> &'a CancellationToken {
        &self.shared.drain
    }

    /// Where the runner sends its events.
    #[must_use]
    pub const fn events(self) -> &'a Events {
        &self.shared.events
    }

    /// The time by the ledger's clock, in ms since 1970.
    #[must_use]
    pub fn now(self) -> i64 {
        self.store().clock().now()
    }

    /// Emits an event.
    pub fn emit(self, event: Event) {
        self.shared.emit(event);
    }

    /// Warns about a spool that cannot be used; rarely, although it affects every line.
    pub fn report_disk(self, message: String) {
        self.shared.report_disk(message);
    }

    /// Warns about what this machine cannot do at the moment; no line is to blame. Returns when to try again, in ms since 1970.
    #[must_use]
    pub fn wait_for_machine(self, message: &str) -> i64 {
        self.report_disk(format!("{message}; {}", disk::again()));
        self.now() + disk::AGAIN_MS
    }

    /// Pauses its batch, and reports it once.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn pause(self, kind: PauseKind, reason: &str) -> Result<(), StoreError> {
        self.shared.pause(self.batch.id, kind, reason).await
    }

    /// Whether its lease still holds. Call this after slow work and before outputs are written: another line's outputs may be
    /// at its paths by then.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn is_held(self) -> Result<bool, StoreError> {
        self.store().holds(self.job.job, self.job.token).await
    }

    /// The store of its batch's S3 sources.
    #[must_use]
    pub const fn objects(self) -> &'a Objects {
        &self.batch.objects
    }

    /// Records that the store of the sources returned this object: it is not down.
    pub fn store_gave(self, at: &S3Address) {
        self.batch.store_outage.works(at);
    }

    /// Warns about a call that could not be sent because this machine lacks a resource.
    pub fn note_local_outage<A>(self, outcome: &Outcome<A>) {
        if let Outcome::NotSent(failure) = outcome
            && failure.kind == ErrorKind::LocalOutage
        {
            self.report_disk(format!("{}; {}", failure.message, disk::again()));
        }
    }

    /// The same for a call that sends its job's source: a call that was sent has read the source.
    pub fn note_source_read<A>(self, outcome: &Outcome<A>) {
        self.note_local_outage(outcome);
        match outcome {
            Outcome::NotSent(failure) if failure.kind == ErrorKind::LocalOutage => {
                self.note_source_unread(&failure.message);
            }
            Outcome::NotSent(_) | Outcome::Stale => {}
            _ => self.batch.local_outage.works(),
        }
    }

    /// The reason, if the sources of its batch could not be read for as long as an outage may last.
    pub(super) fn sources_unread_too_long(self) -> Option<String> {
        self.batch.local_outage.too_long(self.now(), self.outage_limit_ms())
    }

    /// Records that this machine prevents its source from being read.
    pub(super) fn note_source_unread(self, message: &str) {
        self.batch.local_outage.failed(self.now(), message);
    }

    /// How long an outage may last before the batch pauses, in ms.
    pub(super) fn outage_limit_ms(self) -> i64 {
        i64::try_from(self.run().outage_limit.as_millis()).unwrap_or(i64::MAX)
    }
}

/// A part of a claimed job, with its journal. A job of one call has the single part 0.
#[derive(Debug)]
pub struct PartContext<'a> {
    /// The job.
    pub on: JobContext<'a>,
    /// The pool of its calls.
    pub pool: Pool,
    /// Which part.
    pub part: i64,
    /// Its calls so far, in the current generation (since the user's last `retry`).
    pub journal: Journal,
    /// No other call before this time (ms since 1970): the API requested the delay.
    pub(super) not_before: i64,
}

/// The outcome of a stage in a job's life.
#[derive(Debug)]
pub enum Next {
    /// The journal has changed: read it again.
    Look,
    /// The job leaves this worker.
    Leave(To),
    /// Another worker has it, or has finished it.
    Lost,
}

impl Next {
    /// The job fails.
    #[must_use]
    pub fn fail(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::finish(Finish::failed(kind, message.into()))
    }

    /// The job is finished.
    #[must_use]
    pub fn finish(finish: Finish) -> Self {
        Self::Leave(To::Finished(Box::new(finish)))
    }

    /// Back to the queue until then, for work that needs no call.
    #[must_use]
    pub const fn again_at(due_at: i64) -> Self {
        Self::Leave(To::Queued { due_at, call: None, source_try: false })
    }
}

impl<'a> PartContext<'a> {
    /// A part with the calls that the journal has for it.
    #[must_use]
    pub const fn new(on: JobContext<'a>, pool: Pool, part: i64, journal: Journal) -> Self {
        Self { on, pool, part, journal, not_before: 0 }
    }

    /// Reads the journal again.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn reload(&mut self) -> Result<(), StoreError> {
        let job = self.on.job();
        self.journal = self.on.store().journal(job.job, self.part, job.generation).await?;
        Ok(())
    }

    /// The time by the ledger's clock, in ms since 1970.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.on.now()
    }

    /// The next step at `now`, according to its journal.
    #[must_use]
    pub fn step(&self, now: i64) -> Step {
        match self.journal.step(now, self.on.store().timing().lease_ms) {
            // The user requested it again.
            Step::Call(Why::First) if self.on.job().generation > 0 => Step::Call(Why::Retry),
            step => step,
        }
    }

    /// The account's limits.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.on.config().limits(self.pool)
    }

    /// How many calls its definition begins in a minute, where that is less than the account's limit.
    #[must_use]
    pub fn own_rate(&self) -> Option<u32> {
        let most = self.limits().requests_per_minute;
        self.on.run().requests_per_minute.filter(|own| most.is_none_or(|most| *own < most))
    }

    /// No other call before this time (ms since 1970): the API requested the delay.
    #[must_use]
    pub const fn not_before(&self) -> i64 {
        self.not_before
    }

    /// Back to the queue for a call, without using up a try.
    #[must_use]
    pub fn put_back(&self, due_at: i64) -> Next {
        // An open call must be reconciled first, and that needs no room in the pool.
        let open = self.journal.calls.iter().any(CallRecord::is_open);
        Next::Leave(To::Queued { due_at, call: (!open).then_some(self.pool), source_try: false })
    }

    /// Commits how one of its calls ended, if something other than its own response shows that. Returns whether the job is
    /// still worked.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn end(&self, call: CallId, end: End) -> Result<bool, StoreError> {
        let ended = Ended { call, departed_at: None, limits: self.limits(), end, pauses: None };
        Ok(self.on.store().end(ended).await?.worked)
    }

    /// Gives a call up without making another.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn give_up(&self, call: CallId) -> Result<(), StoreError> {
        self.end(call, End::GivenUp).await?;
        Ok(())
    }

    /// Since when the outcome of a call is unknown, in ms since 1970. This time is recorded.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn unknown_since(&self, call: &CallRecord) -> Result<i64, StoreError> {
        match call.unknown_at {
            Some(at) => Ok(at),
            None => self.on.store().note_unknown(call.id).await,
        }
    }

    /// Tries used up, including those of the source.
    #[must_use]
    pub fn used(&self) -> Used {
        let tries = self.journal.tries() + self.on.job().source_tries;
        Used { tries, timed_out: self.journal.timed_out(), limited: 0 }
    }

    /// When another call may follow one of unknown outcome: after a 5xx, not immediately.
    #[must_use]
    pub fn call_again_at(&self, call: &CallRecord) -> i64 {
        let wait = match call.error_kind {
            Some(kind @ ErrorKind::Gateway) => retry::wait_ms(kind, self.used().tries, jitter_of(call.id)),
            _ => 0,
        };
        let since = call.unknown_at.unwrap_or(call.sent_at);
        self.not_before.max(since + i64::try_from(wait).unwrap_or(300_000))
    }

    /// The failure of the job, if this part has used up its tries or billed calls. `last`: the error of its last call, if the
    /// journal does not have it.
    #[must_use]
    pub fn spent(&self, last: Option<ErrorKind>) -> Option<Finish> {
        if let Some(call) = self.journal.too_large() {
            let message = call.error.clone().unwrap_or_else(|| "the answer is too large".into());
            return Some(Finish::failed(ErrorKind::AnswerTooLarge, message));
        }
        let (used, run) = (self.used(), self.on.run());
        let last = last.or_else(|| self.journal.calls.iter().rev().find_map(|c| c.error_kind));
        if used.timed_out >= 2 {
            let message = "the API did not finish in time, twice; a longer call_timeout may help";
            return Some(Finish::failed(ErrorKind::TimedOut, message.into()));
        }
        if used.tries >= run.max_tries {
            let words = self.journal.calls.iter().rev().find_map(|c| c.error.as_deref());
            let words = words.map(|w| format!("; the last: {w}")).unwrap_or_default();
            let message = format!("given up after {} tries{words}", used.tries);
            return Some(Finish::failed(last.unwrap_or(ErrorKind::ServerError), message));
        }
        let billed = self.journal.billed();
        if billed >= run.max_billed_calls {
            let message = format!(
                "{billed} calls for this line may have been billed, and max_billed_calls = {} allows no more",
                run.max_billed_calls
            );
            return Some(Finish::failed(ErrorKind::BilledCap, message));
        }
        None
    }
}

/// A number in 0..1, always the same for the same call.
#[must_use]
pub fn jitter_of(call: CallId) -> f64 {
    let [.., high, low] = call.0.into_bytes();
    f64::from(u16::from_be_bytes([high, low])) / 65_536.0
}

/// A number in 0..1 from the clock's lowest digits: enough to spread retries.
pub(super) fn jitter() -> f64 {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
    f64::from((nanos / 64) % 1_024) / 1_024.0
}
