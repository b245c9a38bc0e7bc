//! A snapshot of a ledger.

use std::collections::BTreeMap;

use crate::store::engine::db::{Row, query};
use crate::{
    domain::{
        cost::MicroUsd,
        job::{BatchId, CallId, CallState, JobId, JobState, Token},
        spend::{SpendRule, SpendUse, quarter},
    },
    store::{Claimed, Store, engine::rows},
};

pub(super) struct SeenCall {
    pub(super) id: CallId,
    pub(super) job: JobId,
    state: CallState,
    pub(super) sent_at: i64,
    slot_until: Option<i64>,
    cost: i64,
    reserve: i64,
}

pub(super) struct SeenJob {
    pub(super) state: JobState,
    key: String,
    /// A worker has its lease, or had it and did not say that it stopped.
    token: Option<Token>,
}

pub(super) struct Seen {
    pub(super) calls: Vec<SeenCall>,
    pub(super) jobs: BTreeMap<JobId, SeenJob>,
    pub(super) spent: i64,
    pub(super) reserved: i64,
    pub(super) paused: bool,
    pub(super) by_user: bool,
    /// Spent and reserved by quarter of an hour, as summed up by the ledger.
    quarters: BTreeMap<i64, (i64, i64)>,
}

impl Seen {
    pub(super) async fn of(store: &Store, batch: BatchId) -> Self {
        let calls = query("SELECT id, job, state, sent_at, slot_until, cost, reserve FROM calls ORDER BY id");
        let calls = calls.fetch_all(&store.read).await.unwrap();
        let jobs = query("SELECT id, key, state, token FROM jobs").fetch_all(&store.read).await.unwrap();
        let sums = query("SELECT quarter, spent, reserved FROM spending").fetch_all(&store.read).await.unwrap();
        let sql = "SELECT spent, reserved, state = 'paused' AS paused, coalesce(pause_kind = 'user', 1 = 0) AS by_user FROM batches WHERE id = $1";
        let batch = query(sql).bind(batch.0).fetch_one(&store.read).await.unwrap();
        let call = |row: &Row| SeenCall {
            id: rows::call_id(row, "id").unwrap().unwrap(),
            job: JobId(row.get("job")),
            state: rows::listed(row, "state").unwrap(),
            sent_at: row.get("sent_at"),
            slot_until: row.get("slot_until"),
            cost: row.get("cost"),
            reserve: row.get("reserve"),
        };
        let job = |row: &Row| {
            let token: Option<i64> = row.get("token");
            let state = rows::listed(row, "state").unwrap();
            let job = SeenJob { state, key: row.get("key"), token: token.map(Token) };
            (JobId(row.get("id")), job)
        };
        Self {
            calls: calls.iter().map(call).collect(),
            jobs: jobs.iter().map(job).collect(),
            spent: batch.get("spent"),
            reserved: batch.get("reserved"),
            paused: batch.get("paused"),
            by_user: batch.get("by_user"),
            quarters: sums.iter().map(|row| (row.get("quarter"), (row.get("spent"), row.get("reserved")))).collect(),
        }
    }

    pub(super) fn job(&self, job: JobId) -> &SeenJob {
        &self.jobs[&job]
    }

    pub(super) fn holds(&self, hand: &Claimed) -> bool {
        let job = self.job(hand.job);
        job.state == JobState::Running && job.token == Some(hand.token)
    }

    /// Whether a worker may still have the older version of the line.
    pub(super) fn older_is_held(&self, key: &str) -> bool {
        let held = |job: &SeenJob| job.state == JobState::Superseded && job.token.is_some();
        self.jobs.values().any(|job| job.key == key && held(job))
    }

    pub(super) fn knows(&self, call: CallId) -> bool {
        self.calls.iter().any(|one| one.id == call)
    }

    pub(super) fn open(&self, job: JobId) -> Option<CallId> {
        self.calls.iter().find(|call| call.job == job && call.state.is_open()).map(|call| call.id)
    }

    pub(super) fn in_flight(&self, now: i64) -> usize {
        self.calls.iter().filter(|call| call.slot_until.is_some_and(|until| until > now)).count()
    }

    pub(super) fn awaits(&self) -> bool {
        self.jobs.values().any(|job| job.state == JobState::Awaiting)
    }

    /// How many calls of a job may have been billed.
    pub(super) fn billed(&self, job: JobId) -> usize {
        let billed = |call: &&SeenCall| !call.state.is_open() && call.state != CallState::Rejected;
        self.calls.iter().filter(|call| call.job == job).filter(billed).count()
    }

    /// What is committed of each limit of a rule, summed over the calls themselves.
    pub(super) fn uses(&self, rule: &SpendRule, now: i64) -> Vec<SpendUse> {
        let mut uses: Vec<_> = rule.at(now).collect();
        for one in &mut uses {
            let calls = || self.calls.iter().filter(|call| (one.span.from..one.span.until).contains(&call.sent_at));
            let (spent, reserved) = (calls().map(|call| call.cost).sum(), calls().map(|call| call.reserve).sum());
            (one.spent, one.reserved) = (MicroUsd(spent), MicroUsd(reserved));
        }
        uses
    }

    /// Checks that the batch's money is that of its calls, and that no line has two calls where only one is allowed.
    pub(super) fn add_up(&self) {
        assert_eq!(self.spent, self.calls.iter().map(|call| call.cost).sum::<i64>());
        assert_eq!(self.reserved, self.calls.iter().map(|call| call.reserve).sum::<i64>());
        let mut quarters: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for call in &self.calls {
            let sums = quarters.entry(quarter(call.sent_at)).or_default();
            *sums = (sums.0 + call.cost, sums.1 + call.reserve);
        }
        assert_eq!(self.quarters, quarters);
        for job in self.jobs.keys() {
            let of = |is: fn(CallState) -> bool| self.calls.iter().filter(|c| c.job == *job && is(c.state)).count();
            assert!(of(CallState::is_open) <= 1 && of(|state| state == CallState::Answered) <= 1);
        }
    }
}
