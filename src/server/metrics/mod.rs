//! The metrics served at `/metrics`, or written to a file by a run. Names are stable and described in `described`. No label
//! contains a batch, a key or an address.

mod described;
mod disk;
mod labels;
mod ledger;
mod perhaps;
mod process;
mod text_format;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use tokio::time::timeout;

pub use self::{
    described::{METRICS, MetricDoc, MetricScope},
    ledger::WatchedLedger,
};
use self::{
    described::{PREFIX, register},
    disk::DiskGauges,
    labels::{OfCall, OfDefinition, OfEffect, OfPool, OfReason, OfResult, OfState, OfThen, label_of},
    ledger::{Float, LedgerGauges, seconds},
    perhaps::OptionalGauge,
    process::ProcessCollector,
    text_format::text_format,
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
    registries: Registries,
    counts: Counts,
    ledger: LedgerGauges,
    disk: DiskGauges,
    run: RunGauges,
    /// When the ledger was last sampled, ms since 1970.
    read_at: tokio::sync::Mutex<Option<Millis>>,
    /// When a delivery last failed, by batch; removed by a success.
    sinks: Mutex<HashMap<BatchId, Instant>>,
    /// Held while related numbers are set, and while a page is written.
    page: Mutex<()>,
}

/// A registry for each scope, as a page does not have them all.
#[derive(Debug)]
struct Registries {
    own: Registry,
    ledger: Registry,
    process: Registry,
    run: Registry,
}

/// How a run stands that writes its metrics to a file.
#[derive(Debug, Default)]
struct RunGauges {
    started: Float,
    written: Float,
    ended: OptionalGauge,
    exit_status: OptionalGauge,
    success: OptionalGauge,
}

impl RunGauges {
    fn register(&self, to: &mut Registry) {
        register(to, "run_started_timestamp", self.started.clone());
        register(to, "run_written_timestamp", self.written.clone());
        register(to, "run_ended_timestamp", self.ended.clone());
        register(to, "run_exit_status", self.exit_status.clone());
        register(to, "run_success", self.success.clone());
    }
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
        Self::labelled(&[])
    }

    /// The metrics of a run that began at `started_at` (ms since 1970) and writes them to a file of this name. The node
    /// exporter refuses a series that is in two files, so that each has the name as its label `file`.
    #[must_use]
    pub fn of_run(file: &str, started_at: Millis) -> Self {
        let this = Self::labelled(&[("file", file)]);
        this.0.run.started.set(seconds(started_at));
        this
    }

    fn labelled(labels: &[(&'static str, &str)]) -> Self {
        let with = || labels.iter().map(|(name, value)| ((*name).into(), (*value).to_owned().into()));
        let ours = || Registry::with_prefix_and_labels(PREFIX, with());
        let mut registries =
            Registries { own: ours(), ledger: ours(), process: Registry::with_labels(with()), run: ours() };
        let (counts, ledger, disk, run) =
            (Counts::new(), LedgerGauges::default(), DiskGauges::default(), RunGauges::default());
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        register(&mut registries.own, "build", build);
        counts.register(&mut registries.own);
        counts.begin();
        ledger.register(&mut registries.ledger);
        disk.register(&mut registries.ledger);
        registries.process.register_collector(Box::new(ProcessCollector));
        run.register(&mut registries.run);
        let (read_at, sinks, page) = (tokio::sync::Mutex::default(), Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { registries, counts, ledger, disk, run, read_at, sinks, page }))
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

    /// The run that writes its metrics to a file has ended, at this moment (ms since 1970).
    pub fn run_ended(&self, at: Millis, exit_status: u8) {
        let (run, _page) = (&self.0.run, lock(&self.0.page));
        run.ended.set(seconds(at));
        run.exit_status.set(f64::from(exit_status));
        run.success.set(if exit_status == 0 { 1.0 } else { 0.0 });
    }

    /// The whole page, as OpenMetrics text. Pages within a short time share one sample of the ledger.
    pub(super) async fn page(&self, watched: &WatchedLedger) -> Result<String, std::fmt::Error> {
        self.sample(watched, FRESH_MS).await;
        let (_page, registries) = (lock(&self.0.page), &self.0.registries);
        let mut text = String::new();
        for registry in [&registries.own, &registries.ledger, &registries.process] {
            encode_registry(&mut text, registry)?;
        }
        encode_eof(&mut text)?;
        Ok(text)
    }

    /// The content of a run's file, in Prometheus' text format. The ledger's numbers are those of the last
    /// [sample](Self::sample_now); without one they are absent. `process_*` is not there, because the exporter that reads
    /// the file has metrics of these names itself.
    ///
    /// # Errors
    /// A number cannot be written.
    pub async fn file(&self, now: Millis) -> Result<String, std::fmt::Error> {
        let is_ledger_known = self.0.read_at.lock().await.is_some();
        self.count_sinks();
        self.0.run.written.set(seconds(now));
        let (_page, registries) = (lock(&self.0.page), &self.0.registries);
        let mut text = String::new();
        encode_registry(&mut text, &registries.own)?;
        if is_ledger_known {
            encode_registry(&mut text, &registries.ledger)?;
        }
        encode_registry(&mut text, &registries.run)?;
        Ok(text_format(&text))
    }

    /// Takes a sample of the ledger and its disks for the next [file](Self::file).
    pub async fn sample_now(&self, watched: &WatchedLedger) {
        self.0.disk.forget_count();
        self.sample(watched, 0).await;
    }

    /// Takes a sample of the ledger, unless there is one that is younger than `fresh_ms`.
    async fn sample(&self, watched: &WatchedLedger, fresh_ms: i64) {
        let mut read_at = self.0.read_at.lock().await;
        self.count_sinks();
        let now = watched.store.clock().now();
        // A clock that was set back must not keep the sample alive.
        if read_at.is_some_and(|at| (at..at + fresh_ms).contains(&now)) {
            return;
        }
        *read_at = Some(now);
        let places = watched.store.places();
        let (seen, ()) = tokio::join!(timeout(LEDGER_TIME, watched.look()), self.0.disk.look(&places));
        let _page = lock(&self.0.page);
        match seen {
            Ok(Ok(seen)) => {
                self.0.ledger.set(&seen);
                if let Some(bytes) = seen.bytes {
                    self.0.disk.set_ledger(bytes);
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "the ledger could not be read for its metrics");
                self.0.ledger.lost();
            }
            Err(_) => {
                tracing::warn!("the ledger could not be read for its metrics in time");
                self.0.ledger.lost();
            }
        }
    }

    fn count_sinks(&self) {
        let mut sinks = lock(&self.0.sinks);
        sinks.retain(|_, failed_at| failed_at.elapsed() < SINK_FAILURE);
        self.0.counts.sinks_down.set(i64::try_from(sinks.len()).unwrap_or(i64::MAX));
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
