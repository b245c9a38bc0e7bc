//! What the runner needs from a task: it moves a claimed job to its next state.

use std::{fmt::Debug, sync::Arc};

use futures::future::BoxFuture;

use serde_json::Value;

use super::{
    config::{Means, RunnerConfig},
    job::JobContext,
};
use crate::{
    clock::Clock,
    domain::{
        batch::BatchSpec,
        call::{CallFailure, LogError},
        job::CallId,
        task::{SpecError, Task, TaskName},
    },
    store::{StoreError, To},
    waves::Client,
};

/// A task, in its runner role.
pub trait Maker: Task {
    /// Creates the task's state for a runner, once in the runner's life.
    fn join(&self, means: &Means) -> Arc<dyn RunnerTask>;

    /// The vendor's log of its calls, if the vendor keeps one from which entries can be removed.
    fn vendor_log(&self, _client: &Client, _clock: &Clock) -> Option<Arc<dyn VendorLog>> {
        None
    }
}

/// A log at the vendor, from which entries can be removed.
pub trait VendorLog: Debug + Send + Sync {
    /// Looks for the entry of a call whose id the vendor never told us.
    ///
    /// # Errors
    /// The log cannot be read.
    fn find<'a>(&'a self, call: &'a UnnamedCall) -> BoxFuture<'a, Result<VendorEntry, LogError>>;

    /// Which of these ids of requests the log still shows.
    ///
    /// # Errors
    /// The log cannot be read.
    fn still_shows<'a>(&'a self, ids: &'a [String], since: i64) -> BoxFuture<'a, Result<Vec<String>, LogError>>;

    /// Removes an entry. One that is not there is removed, too.
    ///
    /// # Errors
    /// The vendor refuses, or cannot be reached.
    fn remove<'a>(&'a self, request_id: &'a str) -> BoxFuture<'a, Result<(), CallFailure>>;
}

/// A call whose id the vendor never told us, by what its entry in the vendor's log shows.
#[derive(Debug, Clone, PartialEq)]
pub struct UnnamedCall {
    /// Our id of it.
    pub id: CallId,
    /// What was sent, as the ledger keeps it.
    pub request: Value,
    /// The newest entry of the log before the call.
    pub cursor: Option<String>,
    /// Whether its answer was to be posted to us: then its entry names our id.
    pub posted: bool,
    /// Whether a call for another line could own its entry.
    pub ambiguous: bool,
}

/// What a log shows of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VendorEntry {
    /// The entry with this id of the vendor.
    Found(String),
    /// None: the call never arrived.
    None,
    /// Nothing can be proved.
    Unclear,
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
    /// The task with this name.
    #[must_use]
    pub fn get(&self, task: TaskName) -> Option<&dyn Maker> {
        self.0.iter().find(|maker| maker.name() == task).map(|maker| &**maker)
    }

    /// All tasks.
    pub fn iter(&self) -> impl Iterator<Item = &dyn Maker> {
        self.0.iter().map(|maker| &**maker)
    }

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
