//! The claim loop: it claims as many jobs as there are free workers, until nothing is due or, as a service, until it is
//! stopped.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use tokio::{
    task::{Id, JoinError, JoinSet},
    time::{Instant, Interval, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    batch::{Batch, DEFAULT_CONCURRENCY},
    batches::Batches,
    differing,
    events::Event,
    feeding::Feeding,
    leftover, maintenance,
    maker::RunMakers,
    shared::RunnerShared,
    worker,
};
use crate::{
    crash,
    domain::{
        call::ErrorKind,
        job::{BatchId, JobId, JobState},
        pool::{Bound, Gate, Lane, Limits, Pool},
        process::WORKED,
        retry::PauseKind,
    },
    store::{ClaimRequest, Claimed, Finish, Order, Settlement, Store, StoreError, To},
};

/// Workers for jobs that need no call: they render and write.
const FREE_WORKERS: u32 = 16;
/// The minimum time between claims that could take only a few jobs: jobs that end in between make room for one larger claim.
const MIN_CLAIM_INTERVAL: Duration = Duration::from_millis(20);
/// How often the changes by other processes are read.
const TICK: Duration = Duration::from_secs(1);
/// How long to wait for lines that are being submitted to one of our batches: their submitter may be dead.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a finished run waits for its maintenance, which the next run continues.
const MAINTENANCE_TIME: Duration = Duration::from_secs(5);
/// A line whose worker panics this often is given up.
const MAX_PANICS: u32 = 2;
/// How often dead processes are looked for, in ticks.
const REAP_EVERY: u32 = 1;
/// How often a service does maintenance, in ticks.
const MAINTENANCE_TICKS: u32 = 6 * 3_600;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// Nothing is due any more.
    Done,
    /// At least one batch is paused.
    Paused,
    /// The user stopped it.
    Interrupted,
}

/// When a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Nothing is due any more.
    NothingDue,
    /// It was asked to stop.
    Stopped,
}

struct Engine {
    shared: Arc<RunnerShared>,
    makers: Arc<RunMakers>,
    batches: Batches,
    only: Vec<BatchId>,
    order: Order,
    until: Until,
    feeding: Option<Arc<Feeding>>,
    workers: JoinSet<Result<(), StoreError>>,
    held: HashMap<Id, (Lane, Claimed)>,
    turn: usize,
    /// When jobs were claimed last.
    claimed_at: Instant,
    /// Since when one of our batches is being submitted to again.
    submitting_since: Option<Instant>,
    ticks: u32,
    /// How often each line broke its worker.
    broken: HashMap<JobId, u32>,
    /// The known pools, and those of unknown models that lines wait for.
    pools: Vec<Pool>,
}

/// What a run is made of.
pub(super) type Parts = (Arc<RunnerShared>, Arc<RunMakers>, Option<Arc<Feeding>>);

pub(super) async fn run(
    (shared, makers, feeding): Parts,
    only: &[BatchId],
    (order, until): (Order, Until),
    drain: CancellationToken,
    abort: CancellationToken,
) -> Result<RunEnd, StoreError> {
    if shared.drain.is_cancelled() {
        return Ok(RunEnd::Interrupted);
    }
    shared.forget_pauses();
    let settings = settings(&shared, only);
    let enlisted = shared.store().enlist(settings).await?;
    leftover::sweep(shared.store()).await;
    let maintenance = tokio::spawn(maintenance::maintain(Arc::clone(&shared)));
    makers.begin().await;
    let mut engine = Engine {
        shared: Arc::clone(&shared),
        makers,
        batches: Batches::default(),
        only: only.to_vec(),
        order,
        until,
        feeding: feeding.clone(),
        workers: JoinSet::new(),
        held: HashMap::new(),
        turn: 0,
        claimed_at: Instant::now(),
        submitting_since: None,
        ticks: 0,
        broken: HashMap::new(),
        pools: Pool::ALL.to_vec(),
    };

    // Workers wait for permits, or for a ledger that cannot be written; a drain must reach them there.
    let tell = tokio::spawn({
        let (drain, shared) = (drain.clone(), Arc::clone(&shared));
        async move {
            tokio::select! {
                () = drain.cancelled() => {}
                () = shared.store().outgrown() => {
                    let message = "a newer wavebatch migrated the ledger: no call is begun any more, and what is in flight is finished";
                    shared.emit(Event::Warning(message.into()));
                    drain.cancel();
                }
            }
            shared.drain.cancel();
            shared.store().hurry();
        }
    });
    let end = tokio::select! {
        end = engine.work(&drain) => end,
        () = abort.cancelled() => Ok(RunEnd::Interrupted),
        never = differing::watch(&shared) => match never {},
        Err(error) = feed(&shared, feeding, only) => Err(error),
    };
    // After an abort or an error: no worker may continue once the leases are given back.
    engine.workers.abort_all();
    while engine.workers.join_next().await.is_some() {}
    tell.abort();
    if abort.is_cancelled() {
        shared.store().give_up();
    } else {
        let _ = tokio::time::timeout(MAINTENANCE_TIME, maintenance).await;
    }
    let left = match shared.store().leave(enlisted).await {
        // All work is done and in the ledger: this process's lock is released even if that cannot be recorded.
        Err(e) if e.is_passing() && end.is_ok() && !drain.is_cancelled() => {
            tracing::warn!(error = %e, "the end of this process is not noted in the ledger; the next one notes it");
            Ok(())
        }
        left => left,
    };
    shared.store().refuse_outgrown()?;
    match end.and_then(|end| left.map(|()| end)) {
        // The message was sent already; the next process finds this process's lock free, and takes over its leases.
        Err(e) if e.is_passing() && drain.is_cancelled() => {
            tracing::error!(error = %e, "left without a word in the ledger: the next run asks what became of the calls in flight");
            Ok(RunEnd::Interrupted)
        }
        end => end,
    }
}

/// Feeds batches, if that is asked for.
async fn feed(shared: &RunnerShared, feeding: Option<Arc<Feeding>>, only: &[BatchId]) -> Result<(), StoreError> {
    match feeding {
        Some(feeding) => feeding.feed(shared, only).await,
        None => std::future::pending().await,
    }
}

/// The settings that `status` compares between live processes.
fn settings(shared: &RunnerShared, only: &[BatchId]) -> String {
    let limits: std::collections::BTreeMap<&str, Limits> =
        shared.config.limits.iter().map(|(pool, limits)| (pool.as_str(), *limits)).collect();
    let mut settings = serde_json::json!({ "account": shared.config.account, "limits": limits });
    if let Some(rule) = &shared.config.spend {
        settings["spend"] = rule.settings();
    }
    if !only.is_empty() {
        settings[WORKED] = serde_json::json!(only);
    }
    settings.to_string()
}

impl Engine {
    async fn work(&mut self, drain: &CancellationToken) -> Result<RunEnd, StoreError> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The user may have raised the limit before this start.
        self.lift_spend_pauses(true).await?;
        // If this fails for the moment, the first tick finds them.
        if let Err(error) = self.find_pools().await
            && error.is_fatal()
        {
            return Err(error);
        }
        let mut is_logged = false;
        loop {
            match self.round(drain, &mut tick).await {
                Ok(Some(end)) => return Ok(end),
                Ok(None) => is_logged = false,
                Err(error) if error.is_fatal() => return Err(error),
                // It was waited for long enough after the drain began: what is in hand is left to the next run.
                Err(error) if self.shared.store().has_given_up() => return Err(error),
                // Too many open files, low memory or an unreadable row: the other jobs continue.
                Err(error) => {
                    if !std::mem::replace(&mut is_logged, true) {
                        tracing::error!(error = %error.reason(), "the ledger cannot be read now; it is tried again every second");
                    }
                    tokio::time::sleep(TICK).await;
                }
            }
        }
    }

    /// Claims and waits once. `Some`: the run is over.
    async fn round(&mut self, drain: &CancellationToken, tick: &mut Interval) -> Result<Option<RunEnd>, StoreError> {
        let stopping = drain.is_cancelled();
        if stopping && self.workers.is_empty() {
            return Ok(Some(RunEnd::Interrupted));
        }
        let mut next = None;
        let rest = self.rest();
        if !stopping && rest.is_none() {
            let (claimed, want) = self.claim().await?;
            if !claimed && self.until == Until::NothingDue && self.workers.is_empty() && self.over().await? {
                return self.ended().await.map(Some);
            }
            if let Some(want) = want {
                next = self.shared.store().next_due(&want).await?;
            }
        }
        let store = self.shared.store().clone();
        tokio::select! {
            Some(done) = self.workers.join_next_with_id() => self.done(done).await?,
            () = wait_until(&store, next) => {}
            () = tokio::time::sleep_until(rest.unwrap_or_else(Instant::now)), if rest.is_some() => {}
            () = store.woken(), if !stopping => {}
            () = drain.cancelled(), if !stopping => {}
            _ = tick.tick() => {
                self.ticks = self.ticks.wrapping_add(1);
                Box::pin(self.tick(self.ticks)).await?;
            }
        }
        // Jobs that have ended in the meantime make room for one larger claim instead of many small ones.
        while let Some(done) = self.workers.try_join_next_with_id() {
            self.done(done).await?;
        }
        Ok(None)
    }

    /// Until when a claim is not worth its transaction, since it could take only a few jobs.
    fn rest(&self) -> Option<Instant> {
        let until = self.claimed_at + MIN_CLAIM_INTERVAL;
        let much = |pool: &Pool| {
            let (busy, workers) = (self.busy(Lane::Call(*pool)), self.workers_for(*pool));
            busy > 0 && workers.saturating_sub(busy) >= workers / 4
        };
        (Instant::now() < until && !self.workers.is_empty() && !self.pools.iter().any(much)).then_some(until)
    }

    fn busy(&self, lane: Lane) -> u32 {
        u32::try_from(self.held.values().filter(|(l, _)| *l == lane).count()).unwrap_or(u32::MAX)
    }

    /// The jobs that there is room for.
    fn room(&self) -> ClaimRequest {
        let calls = self
            .pools
            .iter()
            .map(|pool| (*pool, self.workers_for(*pool).saturating_sub(self.busy(Lane::Call(*pool)))))
            .filter(|(_, room)| *room > 0)
            .collect();
        let free = FREE_WORKERS.saturating_sub(self.busy(Lane::Free));
        let (batches, environment) = (self.only.clone(), self.shared.config.environment);
        ClaimRequest { batches, environment, free, calls, turn: self.turn, order: self.order }
    }

    /// Claims what is due and fits. Returns whether there was anything, and the room that is left, if any.
    async fn claim(&mut self) -> Result<(bool, Option<ClaimRequest>), StoreError> {
        self.turn = self.turn.wrapping_add(1);
        let want = self.room();
        if want.calls.is_empty() && want.free == 0 {
            return Ok((false, None));
        }
        let claimed = self.shared.store().claim(want).await?;
        self.claimed_at = Instant::now();
        let any = !claimed.is_empty();
        if any {
            crash::point("after-claim");
        }
        let mut opened = HashMap::new();
        for job in claimed {
            if let Entry::Vacant(unread) = opened.entry(job.batch) {
                unread.insert(self.batches.get(&self.shared, &self.makers, job.batch).await);
            }
            let lane = Lane::from(job.lane);
            let shared = Arc::clone(&self.shared);
            // Every claimed job gets a worker: without one its lease would be renewed for ever.
            let task = match &opened[&job.batch] {
                Ok(Ok(open)) => {
                    self.shared.emit(Event::Claimed { batch: job.batch });
                    self.workers.spawn(worker::work(shared, Arc::clone(open), job.clone()))
                }
                Ok(Err(unworkable)) => {
                    self.workers.spawn(worker::give_back(shared, job.clone(), Some(unworkable.clone())))
                }
                Err(error) => {
                    tracing::warn!(error = %error.reason(), "a batch could not be read; its lines are tried again");
                    self.workers.spawn(worker::give_back(shared, job.clone(), None))
                }
            };
            self.held.insert(task.id(), (lane, job));
        }
        let left = self.room();
        // While every worker is busy, the loop waits for the end of a job, not for the clock.
        Ok((any, (!left.calls.is_empty()).then_some(left)))
    }

    /// The number of workers that keeps every permitted call on the wire while others prepare and deliver.
    fn workers_for(&self, pool: Pool) -> u32 {
        let asked = self.batches.seen().map(Batch::concurrency).max().unwrap_or(DEFAULT_CONCURRENCY);
        let calls = self.shared.config.limits(pool).concurrency.map_or(asked, |n| n.min(asked));
        calls * 2 + 8
    }

    async fn done(&mut self, done: Result<(Id, Result<(), StoreError>), JoinError>) -> Result<(), StoreError> {
        match done {
            Ok((id, result)) => {
                let Some((_, job)) = self.held.remove(&id) else { return Ok(()) };
                match result {
                    Ok(()) => Ok(()),
                    Err(error) if error.is_fatal() => Err(error),
                    Err(error) => self.failed_in_the_ledger(&job, error).await,
                }
            }
            Err(e) => {
                let Some((_, job)) = self.held.remove(&e.id()) else { return Ok(()) };
                self.broke(&job, &e).await
            }
        }
    }

    /// Handles a worker that could not read or write the ledger. The failure concerns one line and ends with it; a passing
    /// failure is waited for.
    async fn failed_in_the_ledger(&mut self, job: &Claimed, error: StoreError) -> Result<(), StoreError> {
        let reason = error.reason();
        if !error.is_passing() {
            tracing::error!(job.key = job.key, error = %reason, "a line's worker failed in the ledger");
        }
        self.shared.store().abandon_calls(job.job).await?;
        if error.is_passing() {
            return self.put_back(job, false).await;
        }
        self.fail(job, ErrorKind::LedgerRefused, reason).await
    }

    /// Handles a worker that panicked. One panic may have been a matter of timing; a line that panics its worker again is given
    /// up.
    async fn broke(&mut self, job: &Claimed, error: &JoinError) -> Result<(), StoreError> {
        self.shared.store().abandon_calls(job.job).await?;
        let times = self.broken.entry(job.job).or_default();
        *times += 1;
        let times = *times;
        if times < MAX_PANICS {
            tracing::error!(job.key = job.key, error = %error, "a worker broke; its line is tried again in 30 s");
            return self.put_back(job, true).await;
        }
        tracing::error!(job.key = job.key, error = %error, "a worker broke at this line again; the line fails");
        self.fail(job, ErrorKind::Internal, format!("wavebatch itself failed at this line, {times} times: {error}"))
            .await
    }

    async fn put_back(&self, job: &Claimed, source_try: bool) -> Result<(), StoreError> {
        let due_at = self.shared.store().clock().now() + 30_000;
        let to = To::Queued { due_at, call: None, source_try };
        self.settle(job, to).await
    }

    /// Ends a line as failed. If the ledger does not accept that either, its batch is paused.
    async fn fail(&self, job: &Claimed, kind: ErrorKind, reason: String) -> Result<(), StoreError> {
        let event = Event::Finished {
            batch: job.batch,
            key: job.key.clone(),
            state: JobState::Failed,
            audio_ms: None,
            error: Some((kind.to_string(), reason.clone())),
        };
        match self.settle(job, To::Finished(Box::new(Finish::failed(kind, reason.clone())))).await {
            Ok(()) => self.shared.emit(event),
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => {
                let message =
                    format!("the line `{}` cannot be ended in the ledger: {reason}; {}", job.key, error.reason());
                self.shared.pause(job.batch, PauseKind::Specification, &message).await?;
                self.put_back(job, false).await?;
            }
        }
        Ok(())
    }

    async fn settle(&self, job: &Claimed, to: To) -> Result<(), StoreError> {
        self.shared.store().settle(Settlement { job: job.job, batch: job.batch, token: job.token, to }).await?;
        Ok(())
    }

    async fn tick(&mut self, ticks: u32) -> Result<(), StoreError> {
        self.lift_spend_pauses(false).await?;
        if ticks.is_multiple_of(REAP_EVERY) {
            self.shared.store().reap().await?;
            self.shared.forget_resumed().await?;
        }
        if self.until == Until::Stopped && ticks.is_multiple_of(MAINTENANCE_TICKS) {
            self.batches.forget_finished(&self.shared).await?;
            tokio::spawn(maintenance::maintain(Arc::clone(&self.shared)));
        }
        self.makers.tick(!self.workers.is_empty());
        self.find_pools().await?;
        for pool in &self.pools {
            if self.held.values().any(|(lane, _)| *lane == Lane::Call(*pool)) {
                let limits = self.shared.config.limits(*pool);
                let view = self.shared.store().pool(&self.shared.config.account, *pool, &limits).await?;
                let by = match view.state.gate(&limits, &view.traffic, self.shared.store().clock().now()) {
                    Gate::Open(_) | Gate::Shut { bound: Bound::InFlight, .. } => None,
                    Gate::Shut { until, bound } => Some((bound, until)),
                };
                self.shared.emit(Event::Held { pool: *pool, by });
            }
        }
        Ok(())
    }

    /// Lifts the pauses of a spend limit once a new day or month has begun.
    async fn lift_spend_pauses(&self, at_once: bool) -> Result<(), StoreError> {
        let config = &self.shared.config;
        let place = (config.account.as_str(), config.environment);
        for lifted in self.shared.store().lift_spend_pauses(place, config.spend.clone(), at_once).await? {
            tracing::info!(batch.name = lifted.name, kind = %lifted.kind, "the batch goes on: it fits into its spend limit again");
            self.shared.forget_pause(lifted.batch);
        }
        Ok(())
    }

    /// Adds the models that lines use and this release does not know: each has a pool of its own.
    async fn find_pools(&mut self) -> Result<(), StoreError> {
        for pool in self.shared.store().pools_waited_for(self.shared.config.environment).await? {
            if !self.pools.contains(&pool) {
                self.pools.push(pool);
            }
        }
        Ok(())
    }

    /// Whether nothing is left to do in any batch. A batch whose last job is done is marked finished.
    async fn over(&mut self) -> Result<bool, StoreError> {
        let (store, targets) = (self.shared.store().clone(), self.targets().await?);
        for batch in &targets {
            store.finish_cancel(*batch).await?;
        }
        // The end of one may be the end of those that it feeds.
        let mut open = targets.clone();
        loop {
            let before = open.len();
            let mut left = Vec::new();
            for batch in open {
                if store.is_working(batch).await? && !store.finish(batch).await? {
                    left.push(batch);
                }
            }
            open = left;
            if open.is_empty() || open.len() == before {
                break;
            }
        }
        for batch in open {
            let goes_on = match &self.feeding {
                Some(feeding) => feeding.goes_on(&self.shared, batch, &targets).await?,
                None => true,
            };
            if goes_on {
                return Ok(false);
            }
        }
        // A batch that was open when we worked on it will be open again as soon as its new lines are in the ledger.
        for batch in self.batches.seen() {
            if self.shared.store().batch_by_id(batch.id).await?.submitting_at.is_some() {
                return Ok(self.submitting_since.get_or_insert_with(Instant::now).elapsed() > SUBMIT_TIMEOUT);
            }
        }
        self.submitting_since = None;
        Ok(true)
    }

    async fn targets(&self) -> Result<Vec<BatchId>, StoreError> {
        if !self.only.is_empty() {
            return Ok(self.only.clone());
        }
        let rows = self.shared.store().batches().await?;
        Ok(rows.into_iter().filter(|b| b.environment == self.shared.config.environment).map(|b| b.id).collect())
    }

    async fn ended(&self) -> Result<RunEnd, StoreError> {
        for batch in self.targets().await? {
            if self.shared.store().batch_by_id(batch).await?.pause.is_some() {
                return Ok(RunEnd::Paused);
            }
        }
        Ok(RunEnd::Done)
    }
}

async fn wait_until(store: &Store, moment: Option<i64>) {
    let Some(moment) = moment else { return std::future::pending().await };
    // The job became due since the claim, or its batch stopped in the meantime: the next claim decides.
    if moment <= store.clock().now() {
        return tokio::time::sleep(Duration::from_millis(5)).await;
    }
    store.clock().sleep_until(moment).await;
}
