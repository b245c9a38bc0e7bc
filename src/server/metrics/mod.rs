//! The metrics served at `/metrics`. Names are stable and described in `described`. No label contains a
//! batch, a key or an address.

mod described;
mod labels;
mod ledger;
mod perhaps;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use tokio::time::timeout;

pub use self::described::{METRICS, MetricDoc};
use self::{
    described::{PREFIX, register},
    labels::{OfCall, OfDefinition, OfEffect, OfPool, OfReason, OfResult, OfState, OfThen, label_of},
    ledger::{Float, LedgerGauges, seconds},
    perhaps::OptionalGauge,
};
use super::{ScheduleState, refusal::Refusal};
use crate::{
    clock::Millis,
    domain::{
        call::{CallFailure, ErrorKind},
        job::{BatchId, JobState},
        pool::Pool,
    },
    runner::{AfterDelivery, CallEnd, Event},
    store::Effect,
};

pub(super) use ledger::Watched;

/// How long a sample of the ledger is reused, in ms.
const FRESH_MS: i64 = 5_000;
/// The time limit for reading the ledger.
const LEDGER_TIME: Duration = Duration::from_secs(5);
/// Bucket bounds of the callback delay, in seconds: from the delay of a short recording to half a day.
const DELAYS: [f64; 13] =
    [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 10_800.0, 43_200.0];
/// A failing sink is tried at least every 30 s. A sink that was not tried for longer no longer counts as failing.
const SINK_FAILURE: Duration = Duration::from_secs(120);

/// All metrics of this process. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    counts: Counts,
    ledger: LedgerGauges,
    /// When the ledger was last sampled, ms since 1970.
    read_at: tokio::sync::Mutex<Option<Millis>>,
    /// When a delivery last failed, by batch; removed by a success.
    sinks: Mutex<HashMap<BatchId, Instant>>,
    /// Held while related numbers are set, and while a page is written.
    page: Mutex<()>,
}

#[derive(Debug)]
struct Counts {
    calls: Family<OfCall, Counter>,
    rate_limited: Family<OfPool, Counter>,
    jobs_finished: Family<OfState, Counter>,
    deliveries_failed: Family<OfThen, Counter>,
    sinks_down: Gauge,
    callbacks: Family<OfEffect, Counter>,
    callbacks_refused: Family<OfReason, Counter>,
    callbacks_overdue: Family<OfPool, Counter>,
    callback_delay: Histogram,
    /// Without a probe, both of these are absent.
    probe_success: OptionalGauge,
    probe_last_success: OptionalGauge,
    notifications: Family<OfResult, Counter>,
    broken: Family<OfDefinition, Gauge>,
    next: Family<OfDefinition, Float>,
    last_started: Family<OfDefinition, Float>,
    waiting: Family<OfDefinition, Gauge>,
    left_over: Family<OfDefinition, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let (counts, ledger) = (Counts::new(), LedgerGauges::default());
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        register(&mut registry, "build", build);
        ledger.register(&mut registry);
        counts.register(&mut registry);
        counts.begin();
        let (read_at, sinks, page) = (tokio::sync::Mutex::default(), Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { registry, counts, ledger, read_at, sinks, page }))
    }

    /// Counts an event of the runner.
    pub fn event(&self, event: &Event) {
        let counts = &self.0.counts;
        match event {
            Event::CallEnded { pool, how, failure, .. } => {
                let pool = label_of(*pool);
                let outcome = outcome(*how, failure.as_ref());
                counts.calls.get_or_create(&OfCall { pool, outcome }).inc();
                if failure.as_ref().is_some_and(is_429) {
                    counts.rate_limited.get_or_create(&OfPool { pool }).inc();
                }
            }
            Event::Finished { batch, state, .. } => {
                counts.jobs_finished.get_or_create(&OfState { state: state.as_str() }).inc();
                if matches!(state, JobState::Succeeded | JobState::Suspect) {
                    lock(&self.0.sinks).remove(batch);
                }
            }
            Event::DeliveryFailed { batch, then } => {
                counts.deliveries_failed.get_or_create(&OfThen { then: then.as_str() }).inc();
                if *then == AfterDelivery::Retried {
                    lock(&self.0.sinks).insert(*batch, Instant::now());
                }
            }
            Event::CallbackOverdue { pool } => {
                counts.callbacks_overdue.get_or_create(&OfPool { pool: label_of(*pool) }).inc();
            }
            // From now on the batch counts as paused, whatever its sink does.
            Event::Paused { batch, .. } => {
                lock(&self.0.sinks).remove(batch);
            }
            Event::Claimed { .. }
            | Event::CallStarted { .. }
            | Event::Requeued { .. }
            | Event::Held { .. }
            | Event::Warning(_) => {}
        }
    }

    /// Counts a try to send a notification.
    pub fn notice(&self, ok: bool) {
        self.0.counts.notifications.get_or_create(&OfResult { result: if ok { "sent" } else { "failed" } }).inc();
    }

    /// Sets the metrics of these schedules, and removes all others.
    pub fn schedules(&self, schedules: Vec<ScheduleState>) {
        let counts = &self.0.counts;
        let _page = lock(&self.0.page);
        counts.broken.clear();
        counts.next.clear();
        counts.last_started.clear();
        counts.waiting.clear();
        counts.left_over.clear();
        for ScheduleState { definition, broken, next, last_started, waiting, left_over } in schedules {
            let of = OfDefinition { definition };
            counts.broken.get_or_create(&of).set(i64::from(broken));
            for (family, at) in [(&counts.next, next), (&counts.last_started, last_started)] {
                if let Some(at) = at {
                    family.get_or_create(&of).set(seconds(at));
                }
            }
            counts.waiting.get_or_create(&of).set(i64::try_from(waiting).unwrap_or(i64::MAX));
            counts.left_over.get_or_create(&of).set(i64::try_from(left_over).unwrap_or(i64::MAX));
        }
    }

    /// Counts a callback that was kept. `delay`: since its call's intent, in ms.
    pub(super) fn callback(&self, effect: Effect, delay: Millis) {
        let counts = &self.0.counts;
        counts.callbacks.get_or_create(&OfEffect { effect: effect.as_str() }).inc();
        // Only the first callback of a call measures the vendor's time; repeats do not.
        if matches!(effect, Effect::Answered | Effect::Surplus | Effect::Failed) {
            counts.callback_delay.observe(seconds(delay.max(0)));
        }
    }

    /// Counts a refused callback.
    pub(super) fn refused(&self, reason: Refusal) {
        self.0.counts.callbacks_refused.get_or_create(&OfReason { reason: reason.as_str() }).inc();
    }

    /// Records the result of a probe, at `now`.
    pub(super) fn probed(&self, well: bool, now: Millis) {
        let counts = &self.0.counts;
        counts.probe_success.set(if well { 1.0 } else { 0.0 });
        if well {
            counts.probe_last_success.set(seconds(now));
        }
    }

    /// The whole page, as OpenMetrics text. Pages within a short time share one sample of the ledger.
    pub(super) async fn page(&self, watched: &Watched) -> Result<String, std::fmt::Error> {
        let mut read_at = self.0.read_at.lock().await;
        let now = watched.store.clock().now();
        // A clock that was set back must not keep the sample alive.
        let seen = if read_at.is_some_and(|at| (at..at + FRESH_MS).contains(&now)) {
            None
        } else {
            *read_at = Some(now);
            Some(timeout(LEDGER_TIME, watched.look()).await)
        };
        let mut sinks = lock(&self.0.sinks);
        sinks.retain(|_, failed_at| failed_at.elapsed() < SINK_FAILURE);
        self.0.counts.sinks_down.set(i64::try_from(sinks.len()).unwrap_or(i64::MAX));
        drop(sinks);
        let _page = lock(&self.0.page);
        match seen {
            Some(Ok(Ok(seen))) => self.0.ledger.set(&seen),
            Some(Ok(Err(error))) => {
                tracing::warn!(error = %error, "the ledger could not be read for /metrics");
                self.0.ledger.lost();
            }
            Some(Err(_)) => {
                tracing::warn!("the ledger could not be read for /metrics in time");
                self.0.ledger.lost();
            }
            None => {}
        }
        let mut text = String::new();
        encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

impl Counts {
    fn new() -> Self {
        Self {
            calls: Family::default(),
            rate_limited: Family::default(),
            jobs_finished: Family::default(),
            deliveries_failed: Family::default(),
            sinks_down: Gauge::default(),
            callbacks: Family::default(),
            callbacks_refused: Family::default(),
            callbacks_overdue: Family::default(),
            callback_delay: Histogram::new(DELAYS),
            probe_success: OptionalGauge::default(),
            probe_last_success: OptionalGauge::default(),
            notifications: Family::default(),
            broken: Family::default(),
            next: Family::default(),
            last_started: Family::default(),
            waiting: Family::default(),
            left_over: Family::default(),
        }
    }

    fn register(&self, to: &mut Registry) {
        register(to, "calls", self.calls.clone());
        register(to, "rate_limited", self.rate_limited.clone());
        register(to, "jobs_finished", self.jobs_finished.clone());
        register(to, "deliveries_failed", self.deliveries_failed.clone());
        register(to, "sinks_down", self.sinks_down.clone());
        register(to, "callbacks", self.callbacks.clone());
        register(to, "callbacks_refused", self.callbacks_refused.clone());
        register(to, "callbacks_overdue", self.callbacks_overdue.clone());
        register(to, "callback_delay", self.callback_delay.clone());
        register(to, "probe_success", self.probe_success.clone());
        register(to, "probe_last_success_timestamp", self.probe_last_success.clone());
        register(to, "notifications", self.notifications.clone());
        register(to, "schedule_broken", self.broken.clone());
        register(to, "schedule_next_timestamp", self.next.clone());
        register(to, "schedule_last_started_timestamp", self.last_started.clone());
        register(to, "schedule_waiting", self.waiting.clone());
        register(to, "schedule_lines_left_over", self.left_over.clone());
    }

    /// A counter that appears with its first event shows no increase: all counters exist from the start.
    fn begin(&self) {
        for pool in Pool::ALL {
            let pool = label_of(*pool);
            for outcome in ["answered", "accepted", "unsent"] {
                drop(self.calls.get_or_create(&OfCall { pool, outcome }));
            }
            drop(self.rate_limited.get_or_create(&OfPool { pool }));
        }
        drop(self.callbacks_overdue.get_or_create(&OfPool { pool: label_of(Pool::PulsePro) }));
        for state in [JobState::Succeeded, JobState::Suspect, JobState::Failed] {
            drop(self.jobs_finished.get_or_create(&OfState { state: state.as_str() }));
        }
        for then in AfterDelivery::NAMES {
            drop(self.deliveries_failed.get_or_create(&OfThen { then }));
        }
        for effect in Effect::ALL {
            drop(self.callbacks.get_or_create(&OfEffect { effect: effect.as_str() }));
        }
        for reason in Refusal::ALL {
            drop(self.callbacks_refused.get_or_create(&OfReason { reason: reason.as_str() }));
        }
        for result in ["sent", "failed"] {
            drop(self.notifications.get_or_create(&OfResult { result }));
        }
    }
}

fn outcome(how: CallEnd, failure: Option<&CallFailure>) -> &'static str {
    match (how, failure) {
        (CallEnd::Answered, _) => "answered",
        (CallEnd::Accepted, _) => "accepted",
        (CallEnd::Unsent, _) => "unsent",
        (CallEnd::Failed, failure) => failure.map_or("failed", |failure| failure.kind.as_str()),
    }
}

fn is_429(failure: &CallFailure) -> bool {
    failure.status == Some(429) || failure.kind == ErrorKind::RateLimited
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
