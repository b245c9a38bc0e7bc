//! The pipeline, free of tasks: a claim loop, one job's life, permits, delivery. A task joins it as a [`Maker`]; most tasks
//! need only [`OneCall`]. It never prints; it emits [`Event`]s.

mod batch;
mod batches;
mod call;
mod config;
mod differing;
pub mod disk;
mod engine;
mod events;
mod feeding;
pub mod intake;
mod job;
mod leftover;
mod maintenance;
mod maker;
pub mod one_call;
pub mod outputs;
pub mod reconcile;
mod shared;
mod source_failure;
mod store_outage;
mod worker;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{domain::job::BatchId, store::StoreError};

use self::{engine::Until, maker::RunMakers, shared::RunnerShared};
pub use batch::DEFAULT_CONCURRENCY;
pub use call::{Attempt, Caller, DepartureCheck, Reach, attempt};
pub use config::{Means, RunnerConfig, Webhook};
pub use engine::RunEnd;
pub use events::{AfterDelivery, CallEnd, Event, Events};
pub use feeding::{Feeding, OpenFeeder};
pub use job::{JobContext, Next, PartContext, jitter_of};
pub use leftover::Leftover;
pub use maker::{BatchTask, Maker, Makers, RunnerTask, UnnamedCall, VendorEntry, VendorLog};
pub use one_call::OneCall;

pub use crate::store::Order;

/// Works batches of one ledger with one account.
#[derive(Debug, Clone)]
pub struct Runner {
    shared: Arc<RunnerShared>,
    makers: Arc<RunMakers>,
    order: Order,
    feeding: Option<Arc<Feeding>>,
}

impl Runner {
    /// A runner that has not started.
    #[must_use]
    pub fn new(means: Means, makers: &Makers, config: RunnerConfig, events: Events) -> Self {
        let makers = Arc::new(makers.join(&means));
        Self {
            shared: Arc::new(RunnerShared::new(means, config, events)),
            makers,
            order: Order::default(),
            feeding: None,
        }
    }

    /// Uses another order of batches than the default.
    #[must_use]
    pub fn in_order(self, order: Order) -> Self {
        Self { order, ..self }
    }

    /// Feeds batches that take their lines from others.
    #[must_use]
    pub fn feeding(self, feeding: Arc<Feeding>) -> Self {
        Self { feeding: Some(feeding), ..self }
    }

    /// Works these batches until nothing is due, they are paused, or `drain` is cancelled (calls in flight finish); `abort`
    /// gives the leases back and stops immediately. Without batches: works all open ones.
    ///
    /// # Errors
    /// The ledger could not be written.
    pub async fn run(
        &self,
        batches: &[BatchId],
        drain: CancellationToken,
        abort: CancellationToken,
    ) -> Result<RunEnd, StoreError> {
        engine::run(self.parts(), batches, (self.order, Until::NothingDue), drain, abort).await
    }

    /// Works whatever becomes due, for each definition its oldest batch first and only within its window, until `drain` or
    /// `abort` is cancelled.
    ///
    /// # Errors
    /// The ledger could not be written.
    pub async fn serve(&self, drain: CancellationToken, abort: CancellationToken) -> Result<RunEnd, StoreError> {
        self.shared.store().enforce_windows();
        engine::run(self.parts(), &[], (Order::ByDefinition, Until::Stopped), drain, abort).await
    }

    fn parts(&self) -> engine::Parts {
        (Arc::clone(&self.shared), Arc::clone(&self.makers), self.feeding.clone())
    }
}
