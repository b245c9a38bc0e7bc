//! A session: one ledger, one account and an event sink.

use std::{future::Future, sync::Arc};

use super::{
    api::{Api, fetcher},
    error::AppError,
    events::{Event, Events},
    feeders::FeederFiles,
    metrics_file::MetricsFile,
    settings::Settings,
};
use crate::{
    config::Config,
    domain::environment::Environment,
    media::fetch::Fetcher,
    process,
    runner::{self, Feeding, Means, Runner, RunnerConfig, Webhook, intake::Account},
    server::WatchedLedger,
    shutdown::Shutdown,
    store::Store,
};

/// Everything needed to submit to a ledger and to work it.
pub struct Session {
    pub(super) settings: Settings,
    pub(super) events: Events,
    pub(super) store: Store,
    pub(super) shutdown: Shutdown,
    pub(super) fetcher: Fetcher,
    /// Where the metrics of its work are written to.
    pub(super) metrics_file: Option<MetricsFile>,
    fresh: bool,
    api: Api,
    /// Feeds batches that take their lines from others.
    pub(super) feeding: Arc<Feeding>,
}

impl Session {
    /// Opens the API and the ledger, and listens for signals.
    ///
    /// # Errors
    /// There is no key, and calls may be made; the ledger does not exist, is locked or damaged; a signal came first.
    pub async fn open(settings: Settings, events: Events) -> Result<Self, AppError> {
        let api = Api::open(&settings).await?;
        if let Some(warning) = process::too_few_files() {
            events.event(Event::Warning(warning));
        }
        let shutdown = Shutdown::listen()?;
        let fetcher = fetcher()?;
        let opened = tokio::select! {
            biased;
            // A locked ledger delays the opening for many seconds.
            () = shutdown.drain.cancelled() => return Err(AppError::InterruptedOpening(shutdown.signal())),
            opened = Store::open(settings.config.opening(settings.create)) => opened,
        };
        let (store, fresh) = opened.map_err(|e| AppError::of_ledger(e, &settings.config.database))?;
        let files = FeederFiles {
            store: store.clone(),
            tasks: settings.tasks.clone(),
            environment: api.environment(),
            origin: settings.config.origin(),
        };
        let feeding = Arc::new(Feeding::new(Arc::new(files)));
        Ok(Self { settings, events, store, shutdown, fetcher, metrics_file: None, fresh, api, feeding })
    }

    /// The same, with its work counted in this file.
    #[must_use]
    pub fn measured_in(mut self, file: Option<&MetricsFile>) -> Self {
        self.metrics_file = file.cloned();
        if let Some(file) = file {
            file.watch(self.watched_ledger());
        }
        self
    }

    /// The ledger.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Whether the ledger was created by this session.
    #[must_use]
    pub const fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The settings of the file, with flags and environment merged in.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.settings.config
    }

    /// The environment of the calls.
    #[must_use]
    pub const fn environment(&self) -> Environment {
        self.api.environment()
    }

    /// The signals since the session was opened.
    #[must_use]
    pub const fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    pub(super) const fn api(&self) -> &Api {
        &self.api
    }

    /// The account, if there is a key.
    pub(super) fn account(&self) -> Option<Account> {
        self.api.account()
    }

    /// The account's name in the ledger.
    pub(super) fn account_name(&self) -> &str {
        self.api.account_name()
    }

    /// The ledger, and what of it metrics are about.
    pub(super) fn watched_ledger(&self) -> WatchedLedger {
        WatchedLedger {
            store: self.store.clone(),
            account: self.account_name().to_owned(),
            environment: self.environment(),
            limits: self.config().pool_limits(),
            spend: self.config().spend.clone(),
            tasks: self.settings.tasks.reports().iter().map(|task| task.name()).collect(),
        }
    }

    pub(super) fn say(&self, event: Event) {
        self.events.event(event);
    }

    /// Runs `work` unless a signal comes first. The ledger stays consistent: uncommitted changes are rolled back.
    pub(super) async fn unless_interrupted<T>(&self, work: impl Future<Output = T>) -> Result<T, AppError> {
        tokio::select! {
            biased;
            () = self.shutdown.drain.cancelled() => Err(self.interrupted()),
            done = work => Ok(done),
        }
    }

    pub(super) fn interrupted(&self) -> AppError {
        AppError::Interrupted(self.shutdown.signal())
    }

    /// A runner for this account, with its callback settings.
    pub(super) fn runner(&self, webhook: Option<Webhook>, events: runner::Events) -> Runner {
        let config = RunnerConfig {
            environment: self.environment(),
            account: self.account_name().to_owned(),
            limits: self.config().pool_limits(),
            share: self.config().share.unwrap_or(1.0),
            spend: self.config().spend.clone(),
            rates: self.config().rates.clone(),
            webhook,
            ffmpeg: self.config().ffmpeg.clone(),
            word_voices: self.config().word_voices.clone(),
        };
        let means =
            Means { store: self.store.clone(), client: self.api.client().clone(), fetcher: self.fetcher.clone() };
        Runner::new(means, self.settings.tasks.makers(), config, events).feeding(Arc::clone(&self.feeding))
    }

    /// Closes everything in order.
    pub async fn close(self) {
        if let Some(file) = &self.metrics_file {
            file.unwatch().await;
        }
        self.api.close().await;
        // What feeds batches has a handle of the ledger, too, and the last one closes it.
        drop(self.feeding);
        self.store.close().await;
    }
}
