//! Opens feeders for batches that other processes submitted: from the file of their definition.

use std::{path::PathBuf, sync::Arc};

use futures::future::BoxFuture;

use super::settings::SANDBOX_OUTPUT;
use crate::{
    definition::{Definition, Overrides},
    domain::{causes::in_words, environment::Environment},
    runner::{OpenFeeder, intake::Feeder},
    store::{FeedPlace, Store},
    tasks::Registry,
};

/// What feeders are opened with.
#[derive(Debug)]
pub(super) struct FeederFiles {
    pub(super) store: Store,
    pub(super) tasks: Registry,
    pub(super) environment: Environment,
    /// The origin of the API, if it is not the vendor's own.
    pub(super) origin: Option<String>,
}

impl FeederFiles {
    async fn definition(&self, place: &FeedPlace) -> Result<Definition, String> {
        let Some(file) = place.with.file.clone() else {
            return Err(
                "its sources were given on the command line, and the same command makes lines of them".to_owned()
            );
        };
        let sandbox = self.environment.is_sandbox();
        let overrides = Overrides {
            date: place.with.date.clone(),
            output: sandbox.then(|| SANDBOX_OUTPUT.to_owned()),
            sandbox,
            ..Overrides::default()
        };
        let tasks = self.tasks.definitions().clone();
        let loading = move || Definition::load(&PathBuf::from(file), &tasks, &overrides);
        let loaded = tokio::task::spawn_blocking(loading).await.map_err(|e| e.to_string())?;
        Ok(loaded.map_err(|faults| faults.to_string())?.asked_at(self.origin.clone()))
    }
}

impl OpenFeeder for FeederFiles {
    fn open<'a>(&'a self, place: &'a FeedPlace) -> BoxFuture<'a, Result<Arc<Feeder>, String>> {
        Box::pin(async move {
            let definition = self.definition(place).await?;
            let opened = Feeder::open(&self.store, &definition, place, self.tasks.intakes()).await;
            opened.map(Arc::new).map_err(|e| in_words(&e))
        })
    }
}
