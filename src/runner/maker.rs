//! What the runner needs from a task: it moves a claimed job to its next state.

use std::{fmt::Debug, sync::Arc};

use futures::future::BoxFuture;

use super::{
    config::{Means, RunnerConfig},
    job::JobContext,
};
use crate::{
    domain::{
        batch::BatchSpec,
        task::{SpecError, Task, TaskName},
    },
    store::{StoreError, To},
};

/// A task, in its runner role.
pub trait Maker: Task {
    /// Creates the task's state for a runner, once in the runner's life.
    fn join(&self, means: &Means) -> Arc<dyn RunnerTask>;
}

/// A task in one runner, with the state that it keeps across batches.
pub trait RunnerTask: Debug + Send + Sync {
    /// Prepares a batch, once it is opened.
    ///
    /// # Errors
    /// The specification cannot be read, for example because a newer release wrote it.
    fn bind(&self, spec: &BatchSpec, config: &RunnerConfig) -> Result<Arc<dyn BatchTask>, SpecError>;

    /// Called before the first job of a run is claimed.
    fn begin(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    /// Called every second of a run. `busy`: jobs are being worked.
    fn tick(&self, _busy: bool) {}
}

/// A task in one batch.
pub trait BatchTask: Debug + Send + Sync {
    /// Moves a job to its next state. `None`: its lease is lost, or it must be looked at again immediately.
    ///
    /// # Errors
    /// The ledger cannot be read or written.
    fn work<'a>(&'a self, on: JobContext<'a>) -> BoxFuture<'a, Result<Option<To>, StoreError>>;
}

/// The tasks that this program can work.
#[derive(Debug, Clone, Default)]
pub struct Makers(Vec<Arc<dyn Maker>>);

impl FromIterator<Arc<dyn Maker>> for Makers {
    fn from_iter<I: IntoIterator<Item = Arc<dyn Maker>>>(makers: I) -> Self {
        Self(makers.into_iter().collect())
    }
}

impl Makers {
    /// Joins all of them to a runner.
    pub(super) fn join(&self, means: &Means) -> RunMakers {
        RunMakers(self.0.iter().map(|maker| (maker.name(), maker.join(means))).collect())
    }
}

/// The tasks of one runner.
#[derive(Debug)]
pub(super) struct RunMakers(Vec<(TaskName, Arc<dyn RunnerTask>)>);

impl RunMakers {
    pub(super) fn get(&self, task: TaskName) -> Option<&dyn RunnerTask> {
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
