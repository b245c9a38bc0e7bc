//! Metrics from the ledger, read on request. They are the same for all processes that work on the ledger.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
};

use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{
    described::register,
    labels::{OfJob, OfKind, OfLimit, OfPeriod, OfPool, label_of},
};
use crate::{
    clock::Millis,
    domain::{
        environment::Environment,
        job::JobState,
        pool::{Limits, Pool},
        retry::PauseKind,
        spend::{SpendRule, SpendUse},
        task::TaskName,
    },
    store::{PoolView, Store, StoreError, Vitals},
};

pub(super) type Float = Gauge<f64, AtomicU64>;

/// The scope of the metrics.
#[derive(Debug, Clone)]
pub(in crate::server) struct Watched {
    pub(in crate::server) store: Store,
    /// The account: a hash of base URL and key.
    pub(in crate::server) account: String,
    /// Only batches of this environment count.
    pub(in crate::server) environment: Environment,
    pub(in crate::server) limits: HashMap<Pool, Limits>,
    pub(in crate::server) spend: Option<Arc<SpendRule>>,
    pub(in crate::server) tasks: Vec<TaskName>,
}

/// One sample of the ledger.
pub(super) struct LedgerSample {
    vitals: Vitals,
    tasks: Vec<TaskName>,
    pools: Vec<(PoolView, Limits)>,
    spend: Vec<SpendUse>,
    now: Millis,
}

impl Watched {
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
        Ok(LedgerSample { vitals, tasks: self.tasks.clone(), pools, spend, now: self.store.clock().now() })
    }
}

#[derive(Debug, Default)]
pub(super) struct LedgerGauges {
    up: Gauge,
    jobs: Family<OfJob, Gauge>,
    lines_left: Gauge,
    oldest_due: Float,
    batches_paused: Family<OfKind, Gauge>,
    calls_open: Gauge,
    calls_overdue: Gauge,
    spend: Float,
    reserved: Float,
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
        register(to, "calls_open", self.calls_open.clone());
        register(to, "calls_overdue", self.calls_overdue.clone());
        register(to, "spend", self.spend.clone());
        register(to, "reserved", self.reserved.clone());
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
        let LedgerSample { vitals, tasks, pools, spend, now } = seen;
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
        self.lines_left.set(count(vitals.lines_left()));
        self.oldest_due.set(seconds(vitals.oldest_due_ms.map_or(0, |ms| i64::try_from(ms).unwrap_or(i64::MAX))));
        self.calls_open.set(count(vitals.open_calls));
        self.calls_overdue.set(count(vitals.overdue_calls));
        self.spend.set(dollars(vitals.spent));
        self.reserved.set(dollars(vitals.reserved));
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
