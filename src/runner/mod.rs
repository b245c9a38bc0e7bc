//! The pipeline: a claim loop, one job's life, the vendor's log as witness, delivery. It never prints; it says what
//! happens in [`Event`]s.

mod attempt;
mod batch;
mod call;
mod deliver;
mod disk;
mod engine;
mod events;
pub mod intake;
mod logbook;
mod maintenance;
mod marks;
mod outputs;
mod reconcile;
mod recording;
mod store_outage;
mod synthesis;
mod worker;

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU32},
};

use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    domain::{
        callback::{Rule, Secret},
        cost::Rates,
        environment::Environment,
        job::BatchId,
        pool::{Limits, Pool},
        spend::SpendRule,
    },
    media::fetch::Fetcher,
    store::{Store, StoreError},
    waves::Client,
};

use self::engine::Until;
pub use batch::DEFAULT_CONCURRENCY;
pub use events::{AfterDelivery, CallEnd, Event, Events};
pub use logbook::LogBook;

pub use crate::store::Order;

/// What a runner works under.
#[derive(Debug, Clone)]
pub struct RunnerConfig {
    /// Batches of the other environment are not touched.
    pub environment: Environment,
    /// The account: a hash of base URL and key.
    pub account: String,
    /// The account's limits by pool.
    pub limits: HashMap<Pool, Limits>,
    /// What the account may spend in a day and in a month, in all batches together.
    pub spend: Option<Arc<SpendRule>>,
    /// List prices.
    pub rates: Rates,
    /// Where answers can be posted to; `None`: all are waited for.
    pub webhook: Option<Webhook>,
}

/// Where answers can be posted to.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// What the vendor reaches a receiver of this ledger by.
    pub public_url: Url,
    /// What addresses are made with.
    pub secret: Secret,
    /// When, and for how long.
    pub rule: Rule,
}

impl RunnerConfig {
    fn limits(&self, pool: Pool) -> Limits {
        self.limits.get(&pool).copied().unwrap_or_else(|| pool.default_limits(self.environment))
    }
}

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

/// Works batches of one ledger with one account.
#[derive(Debug, Clone)]
pub struct Runner {
    shared: Arc<RunnerShared>,
    order: Order,
}

/// What the engine and all workers share.
#[derive(Debug)]
struct RunnerShared {
    store: Store,
    client: Client,
    fetcher: Fetcher,
    config: RunnerConfig,
    events: Events,
    log: LogBook,
    marks: marks::Marks,
    batches: batch::Batches,
    drain: CancellationToken,
    /// Callbacks that were overdue since one has come.
    overdue: AtomicU32,
    /// Answers in a row whose content could not be made to expire for the moment.
    expiry_unavailable: AtomicU32,
    /// When it was told that the spool cannot be written.
    disk: disk::MessageInterval,
}

impl RunnerShared {
    fn emit(&self, event: Event) {
        // Nobody may be watching; that is no reason to stop.
        let _ = self.events.send(event);
    }

    /// Tells of a spool that cannot be used; seldom, though it befalls each line.
    fn report_disk(&self, message: String) {
        if self.disk.is_due(self.store.clock().now()) {
            self.emit(Event::Warning(message));
        }
    }
}

impl Runner {
    /// A runner that has not started.
    #[must_use]
    pub fn new(store: Store, client: Client, fetcher: Fetcher, config: RunnerConfig, events: Events) -> Self {
        let log = LogBook::new(client.clone(), store.clock().clone());
        let shared = RunnerShared {
            store,
            client,
            fetcher,
            config,
            events,
            log,
            marks: marks::Marks::default(),
            batches: batch::Batches::default(),
            drain: CancellationToken::new(),
            overdue: AtomicU32::new(0),
            expiry_unavailable: AtomicU32::default(),
            disk: disk::MessageInterval::default(),
        };
        Self { shared: Arc::new(shared), order: Order::default() }
    }

    /// With another order of batches than the usual.
    #[must_use]
    pub fn in_order(self, order: Order) -> Self {
        Self { order, ..self }
    }

    /// Works these batches until nothing is due, they are paused, or `drain` is cancelled (calls in flight finish);
    /// `abort` gives the leases back and leaves at once. Without batches: all that are open.
    ///
    /// # Errors
    /// The ledger could not be told.
    pub async fn run(
        &self,
        batches: &[BatchId],
        drain: CancellationToken,
        abort: CancellationToken,
    ) -> Result<RunEnd, StoreError> {
        engine::run(Arc::clone(&self.shared), batches, (self.order, Until::NothingDue), drain, abort).await
    }

    /// Works whatever becomes due, of each definition its oldest batch first and only within its window, until `drain` or
    /// `abort` is cancelled.
    ///
    /// # Errors
    /// The ledger could not be told.
    pub async fn serve(&self, drain: CancellationToken, abort: CancellationToken) -> Result<RunEnd, StoreError> {
        self.shared.store.enforce_windows();
        engine::run(Arc::clone(&self.shared), &[], (Order::ByDefinition, Until::Stopped), drain, abort).await
    }
}
