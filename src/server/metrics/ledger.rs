//! Metrics from the ledger, read on request. They are the same for all processes that work on the ledger.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
};

use jiff::tz::TimeZone;
use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{
    described::register,
    labels::{OfJob, OfKind, OfLimit, OfPeriod, OfPool, OfState, label_of},
};
use crate::{
    clock::Millis,
    domain::{
        cost::MicroUsd,
        environment::Environment,
        job::JobState,
        pool::{Limits, Pool},
        process::{ProcessName, differences},
        retry::PauseKind,
        spend::{SpendRule, SpendUse},
        task::TaskName,
    },
    store::{Life, PoolView, Registered, Store, StoreError, Vitals},
};

pub(super) type Float = Gauge<f64, AtomicU64>;

/// The ledger that metrics are about, and what of it counts.
#[derive(Debug, Clone)]
pub struct WatchedLedger {
    /// The ledger.
    pub store: Store,
    /// The account: a hash of base URL and key.
    pub account: String,
    /// Only batches of this environment count.
    pub environment: Environment,
    /// The account's limits by pool.
    pub limits: HashMap<Pool, Limits>,
    /// What the account may spend in a day and in a month.
    pub spend: Option<Arc<SpendRule>>,
    /// The tasks. Each task is shown, with jobs or without.
    pub tasks: Vec<TaskName>,
}

/// One sample of the ledger.
pub(super) struct LedgerSample {
    vitals: Vitals,
    tasks: Vec<TaskName>,
    pools: Vec<(PoolView, Limits)>,
    spend: Vec<SpendUse>,
    today: MicroUsd,
    processes: Vec<Registered>,
    /// Of a ledger on a server.
    pub(super) bytes: Option<u64>,
    now: Millis,
}

impl WatchedLedger {
    pub(super) async fn look(&self) -> Result<LedgerSample, StoreError> {
        let vitals = self.store.vitals(self.environment).await?;
        let mut pools = Vec::with_capacity(Pool::ALL.len());
        for pool in Pool::ALL {
            let limits = self.limits.get(pool).copied().unwrap_or_default();
            pools.push((self.store.pool(&self.account, *pool, &limits).await?, limits));
        }
        let spend = match &self.spend {
            Some(rule) => self.store.spend_uses(Some(&self.account), self.environment, rule).await?,
            None => Vec::new(),
        };
        let (today, bytes) = (self.spent_today().await?, self.store.bytes_on_server().await?);
        let processes = self.store.registered().await?;
        let (tasks, now) = (self.tasks.clone(), self.store.clock().now());
        Ok(LedgerSample { vitals, tasks, pools, spend, today, processes, bytes, now })
    }

    /// What the account has spent since midnight.
    async fn spent_today(&self) -> Result<MicroUsd, StoreError> {
        let zone = self.spend.as_ref().map_or(TimeZone::UTC, |rule| rule.zone.clone());
        let any = SpendRule { day: Some(MicroUsd::MOST), month: None, zone };
        let uses = self.store.spend_uses(Some(&self.account), self.environment, &any).await?;
        Ok(uses.first().map_or(MicroUsd::ZERO, |day| day.spent))
    }
}

#[derive(Debug, Default)]
pub(super) struct LedgerGauges {
    up: Gauge,
    jobs: Family<OfJob, Gauge>,
    lines_left: Gauge,
    oldest_due: Float,
    batches_paused: Family<OfKind, Gauge>,
    processes: Family<OfState, Gauge>,
    settings_differing: Gauge,
    calls_open: Gauge,
    calls_overdue: Gauge,
    spend: Float,
    reserved: Float,
    today: Float,
    spend_limit: Family<OfPeriod, Float>,
    spend_committed: Family<OfPeriod, Float>,
    in_flight: Family<OfPool, Gauge>,
    limit_use: Family<OfLimit, Float>,
    pace: Family<OfPool, Float>,
}

impl LedgerGauges {
    pub(super) fn register(&self, to: &mut Registry) {
        register(to, "ledger_up", self.up.clone());
        register(to, "jobs", self.jobs.clone());
        register(to, "lines_left", self.lines_left.clone());
        register(to, "oldest_due", self.oldest_due.clone());
        register(to, "batches_paused", self.batches_paused.clone());
        register(to, "processes", self.processes.clone());
        register(to, "settings_differing", self.settings_differing.clone());
        register(to, "calls_open", self.calls_open.clone());
        register(to, "calls_overdue", self.calls_overdue.clone());
        register(to, "spend", self.spend.clone());
        register(to, "reserved", self.reserved.clone());
        register(to, "spend_today", self.today.clone());
        register(to, "spend_limit", self.spend_limit.clone());
        register(to, "spend_committed", self.spend_committed.clone());
        register(to, "calls_in_flight", self.in_flight.clone());
        register(to, "limit_use", self.limit_use.clone());
        register(to, "pool_pace", self.pace.clone());
    }

    /// Marks the numbers as old after a failed read; they stay.
    pub(super) fn lost(&self) {
        self.up.set(0);
    }

    /// Every value of a closed list is set, zero or not: a series that comes and goes cannot be monitored.
    pub(super) fn set(&self, seen: &LedgerSample) {
        let LedgerSample { vitals, tasks, pools, spend, today, now, .. } = seen;
        self.up.set(1);
        for task in tasks {
            for state in JobState::ALL.iter().filter(|state| **state != JobState::Superseded) {
                let n = vitals.jobs.get(&(*task, *state)).copied().unwrap_or(0);
                self.jobs.get_or_create(&OfJob { task: task.to_string(), state: state.as_str() }).set(count(n));
            }
        }
        for kind in PauseKind::ALL {
            let n = vitals.paused.get(kind).copied().unwrap_or(0);
            self.batches_paused.get_or_create(&OfKind { kind: kind.as_str() }).set(count(n));
        }
        self.set_processes(&seen.processes);
        self.lines_left.set(count(vitals.lines_left()));
        self.oldest_due.set(seconds(vitals.oldest_due_ms.map_or(0, |ms| i64::try_from(ms).unwrap_or(i64::MAX))));
        self.calls_open.set(count(vitals.open_calls));
        self.calls_overdue.set(count(vitals.overdue_calls));
        self.spend.set(dollars(vitals.spent));
        self.reserved.set(dollars(vitals.reserved));
        self.today.set(today.usd());
        for one in spend {
            let period = one.period.as_str();
            self.spend_limit.get_or_create(&OfPeriod { period }).set(one.limit.usd());
            self.spend_committed.get_or_create(&OfPeriod { period }).set(one.committed().usd());
        }
        for (view, limits) in pools {
            let (pool, effective) = (label_of(view.pool), view.state.effective(limits, *now));
            self.in_flight.get_or_create(&OfPool { pool }).set(i64::from(view.traffic.in_flight));
            self.pace.get_or_create(&OfPool { pool }).set(view.state.pace(limits, *now));
            for (limit, used, most) in [
                ("requests_per_minute", view.traffic.in_window, effective.requests_per_minute),
                ("concurrency", view.traffic.in_flight, effective.concurrency),
            ] {
                let labels = OfLimit { pool, limit };
                match most {
                    Some(most) => {
                        self.limit_use.get_or_create(&labels).set((f64::from(used) / f64::from(most.max(1))).min(1.0));
                    }
                    // A limit that only a slow-down had set is removed with it.
                    None => {
                        self.limit_use.remove(&labels);
                    }
                }
            }
        }
    }
}

impl LedgerGauges {
    fn set_processes(&self, processes: &[Registered]) {
        for (state, life) in [("at_work", Life::AtWork), ("silent", Life::Silent), ("died", Life::Dead)] {
            let n = processes.iter().filter(|process| process.life == life).count();
            self.processes.get_or_create(&OfState { state }).set(count(n as u64));
        }
        let at_work = processes.iter().filter(|process| process.life == Life::AtWork);
        let settings: Vec<_> =
            at_work.map(|one| (ProcessName { host: one.host.clone(), pid: one.pid }, one.settings.clone())).collect();
        self.settings_differing.set(count(differences(&settings).len() as u64));
    }
}

fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Converts milliseconds to seconds.
#[expect(clippy::cast_precision_loss, reason = "exact for ages of the environment")]
pub(super) fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "exact up to nine thousand million dollars")]
fn dollars(micros: i64) -> f64 {
    micros as f64 / 1_000_000.0
}
