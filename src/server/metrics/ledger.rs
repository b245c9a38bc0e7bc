//! Metrics from the ledger, read on request. They are the same for all processes that work on the ledger.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
};

use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

use super::labels::{OfJob, OfKind, OfLimit, OfPeriod, OfPool, label_of};
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
        let (dollars, ratio) = (|| Unit::Other("dollars".into()), || Unit::Other("ratio".into()));
        to.register(
            "ledger_up",
            "1 if the ledger could be read for this page; else its numbers are old",
            self.up.clone(),
        );
        to.register("jobs", "Jobs of batches that are not finished", self.jobs.clone());
        to.register("lines_left", "Jobs that are queued, running or awaiting", self.lines_left.clone());
        let help = "How long the oldest job has been due that a worker could take now, 0 if none is due";
        to.register_with_unit("oldest_due", help, Unit::Seconds, self.oldest_due.clone());
        to.register("batches_paused", "Batches that are paused, by whom or why", self.batches_paused.clone());
        to.register("calls_open", "Calls without an outcome", self.calls_open.clone());
        to.register("calls_overdue", "Open calls whose callback should have come by now", self.calls_overdue.clone());
        let help = "Spent at list price, in all batches of the ledger";
        to.register_with_unit("spend", help, dollars(), self.spend.clone());
        to.register_with_unit("reserved", "Reserved for calls without an outcome", dollars(), self.reserved.clone());
        let help = "What a day and a month may cost, where a limit is set";
        to.register_with_unit("spend_limit", help, dollars(), self.spend_limit.clone());
        let help = "Spent and reserved in this day and this month, where a limit is set";
        to.register_with_unit("spend_committed", help, dollars(), self.spend_committed.clone());
        to.register("calls_in_flight", "Calls that hold a slot, of all processes", self.in_flight.clone());
        let help = "What is used of a limit that is set, as slowed down by 429s";
        to.register_with_unit("limit_use", help, ratio(), self.limit_use.clone());
        to.register_with_unit(
            "pool_pace",
            "What 429s have left of the pace, 1 if all of it",
            ratio(),
            self.pace.clone(),
        );
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
