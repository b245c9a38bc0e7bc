//! Definitions without a schedule whose manifest is the batch of one that has one: they follow it.

use std::{path::PathBuf, sync::Arc};

use super::{SchedulerState, Scheduling, moment, start};
use crate::{
    definition::{Definition, Fault, Overrides, Timetable},
    domain::{causes::in_words, environment::Environment},
    runner::intake::IntakeError,
    store::StoreError,
};

/// A definition whose batch is to begin, since the batch that feeds it has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Follower {
    pub(super) definition: String,
    pub(super) file: PathBuf,
    /// The date of both batches.
    pub(super) date: String,
    /// Its batch.
    batch: String,
}

impl SchedulerState {
    /// The definitions whose batch is not in the ledger, and the batch that feeds it is, of a run that was started since then.
    pub(super) async fn followers(&self, since: i64) -> Result<Vec<Follower>, StoreError> {
        let files = self.folder.followers();
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for date in self.store.started_dates(self.settings.environment, since).await? {
            for (file, table) in &files {
                if let Some(follower) = self.follower(file.clone(), table, &date).await? {
                    found.push(follower);
                }
            }
        }
        Ok(found)
    }

    async fn follower(&self, file: PathBuf, table: &Timetable, date: &str) -> Result<Option<Follower>, StoreError> {
        let Ok(day) = date.parse() else { return Ok(None) };
        let (Ok(batch), Some(by)) = (table.batch(day), table.fed_by(day)) else { return Ok(None) };
        if self.store.batch(batch.as_str()).await?.is_some_and(|row| row.submitting_at.is_none()) {
            return Ok(None);
        }
        let by = self.store.batch(by.as_str()).await?;
        let begins = by.is_some_and(|by| by.environment == self.settings.environment && by.submitting_at.is_none());
        let (definition, date, batch) = (table.name.clone(), date.to_owned(), batch.to_string());
        Ok(begins.then_some(Follower { definition, file, date, batch }))
    }
}

/// Submits the batch of a follower. What prevents it is told, and it is tried again later.
pub(super) async fn follow(shared: Arc<SchedulerState>, follower: Follower) -> Result<(), StoreError> {
    let at = shared.store.clock().now();
    let tried = match load(&shared, &follower).await {
        Ok(definition) => start::submit(&shared, false, &definition).await,
        Err(error) => Err(error),
    };
    let Follower { definition, batch, .. } = follower;
    match tried {
        Ok(done) => {
            shared.store.wake();
            shared.emit(Scheduling::Started {
                definition,
                at,
                batch: done.batch,
                name: done.name,
                added: done.submitted.new + done.submitted.changed,
                older_batch: done.older_batch,
                warnings: done.warnings,
                faults: done.faults,
            });
        }
        Err(IntakeError::Store(error)) => return Err(error),
        Err(error) => {
            let (batch, why, hint) = (Some(batch), in_words(&error), error.hint().map(str::to_owned));
            shared.emit(Scheduling::CouldNotStart { definition, batch, at, why, hint });
        }
    }
    Ok(())
}

async fn load(shared: &SchedulerState, follower: &Follower) -> Result<Definition, IntakeError> {
    let settings = &shared.settings;
    let overrides = Overrides {
        date: Some(follower.date.clone()),
        now: Some(moment(shared.store.clock().now())),
        output: settings.sandbox_output.clone(),
        sandbox: settings.environment == Environment::Sandbox,
        ..Overrides::default()
    };
    let (file, tasks) = (follower.file.clone(), settings.tasks.definitions().clone());
    let shown = file.display().to_string();
    let loaded = tokio::task::spawn_blocking(move || Definition::load(&file, &tasks, &overrides)).await;
    let loaded = loaded.unwrap_or_else(|_| Err(Fault::of_file(shown, "could not be read to its end").into()));
    Ok(loaded?.asked_at(settings.origin.clone()))
}
