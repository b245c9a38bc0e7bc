//! What the runner knows of a task: something that takes a claimed job to its next place.

use std::{fmt::Debug, sync::Arc};

use futures::future::BoxFuture;

use super::{
    config::{Means, RunnerConfig},
    job::JobInHand,
};
use crate::{
    domain::{
        batch::BatchSpec,
        task::{SpecError, Task, TaskName},
    },
    store::{StoreError, To},
};

/// A task, as the runner knows it.
pub trait Maker: Task {
    /// Joins a runner, once in the runner's life.
    fn join(&self, means: &Means) -> Arc<dyn RunMaker>;
}

/// A task in one runner, and what it keeps there from batch to batch.
pub trait RunMaker: Debug + Send + Sync {
    /// Takes note of what a batch was asked for, once it is opened.
    ///
    /// # Errors
    /// What was asked for cannot be read: a newer release's, for one.
    fn bind(&self, spec: &BatchSpec, config: &RunnerConfig) -> Result<Arc<dyn BatchMaker>, SpecError>;

    /// Before the first job of a run is claimed.
    fn begin(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    /// Every second of a run. `busy`: jobs are worked.
    fn tick(&self, _busy: bool) {}
}

/// A task in one batch.
pub trait BatchMaker: Debug + Send + Sync {
    /// Takes a job to its next place. `None`: its lease is lost, or it is to be looked at again at once.
    ///
    /// # Errors
    /// The ledger cannot be read or written.
    fn work<'a>(&'a self, on: JobInHand<'a>) -> BoxFuture<'a, Result<Option<To>, StoreError>>;
}

/// The tasks that this program knows how to work.
#[derive(Debug, Clone, Default)]
pub struct Makers(Vec<Arc<dyn Maker>>);

impl FromIterator<Arc<dyn Maker>> for Makers {
    fn from_iter<I: IntoIterator<Item = Arc<dyn Maker>>>(makers: I) -> Self {
        Self(makers.into_iter().collect())
    }
}

impl Makers {
    /// Has them all join a runner.
    pub(super) fn join(&self, means: &Means) -> RunMakers {
        RunMakers(self.0.iter().map(|maker| (maker.name(), maker.join(means))).collect())
    }
}

/// The tasks of one runner.
#[derive(Debug)]
pub(super) struct RunMakers(Vec<(TaskName, Arc<dyn RunMaker>)>);

impl RunMakers {
    pub(super) fn get(&self, task: TaskName) -> Option<&dyn RunMaker> {
        self.0.iter().find(|(name, _)| *name == task).map(|(_, maker)| &**maker)
    }

    pub(super) async fn begin(&self) {
        for (_, maker) in &self.0 {
            maker.begin().await;
        }
    }

    pub(super) fn tick(&self, busy: bool) {
        for (_, maker) in &self.0 {
            maker.tick(busy);
        }
    }
}
