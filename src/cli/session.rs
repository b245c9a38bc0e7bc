//! What makes calls: key, client, the sandbox where asked for, the runner under the eyes of the progress, the report.

use std::{future::Future, time::Duration};

use secrecy::SecretString;
use tokio::sync::mpsc::unbounded_channel;
use url::Url;

use super::{CliError, Context, Exit, context::SANDBOX_ACCOUNT, hooks::Hooks, watch::Watch};
use crate::{
    config::{Config, KEY},
    domain::{batch::BatchSpec, environment::Environment, job::BatchId, retry::PauseKind},
    media::fetch::{FetchSettings, Fetcher},
    process,
    report::{
        publish::{publish, summarize},
        summary::{Summary, SummaryState},
    },
    runner::{Events, Order, RunEnd, Runner, RunnerConfig, Webhook, intake::Account},
    sandbox::{self, Sandbox},
    shutdown::Shutdown,
    sink::Sink,
    store::{Store, StoreError},
    waves::{Client, Settings, account},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const USER_AGENT: &str = concat!("wavebatch/", env!("CARGO_PKG_VERSION"));

/// The API, or what stands in for it.
pub(super) struct Api {
    client: Client,
    account: String,
    environment: Environment,
    /// Whether there is a key to ask by.
    idle: bool,
    sandbox: Option<Sandbox>,
}

impl Api {
    /// The API with the user's key, which has to be there; or a sandbox of our own.
    pub(super) async fn open(context: &Context, config: &Config, sandboxed: bool) -> Result<Self, CliError> {
        if sandboxed {
            return Self::sandbox().await;
        }
        let key = context.env.key.clone().ok_or_else(no_key)?;
        Self::waves(config, key)
    }

    /// The same where no call will be made: any key will do.
    pub(super) async fn open_idle(context: &Context, config: &Config, sandboxed: bool) -> Result<Self, CliError> {
        if sandboxed {
            return Self::sandbox().await;
        }
        let api = Self::waves(config, context.env.key.clone().unwrap_or_else(|| SecretString::from("none")))?;
        Ok(Self { idle: context.env.key.is_none(), ..api })
    }

    fn waves(config: &Config, key: SecretString) -> Result<Self, CliError> {
        let account = account(&config.base_url, &key);
        let client = client(config.base_url.clone(), key)?;
        Ok(Self { client, account, environment: Environment::Live, idle: false, sandbox: None })
    }

    async fn sandbox() -> Result<Self, CliError> {
        let sandbox = Sandbox::start(sandbox::Config::default()).await?;
        let base_url = Url::parse(&sandbox.base_url()).expect("a sandbox has an address");
        let client = client(base_url, SecretString::from("sk_sandbox"))?;
        Ok(Self {
            client,
            account: SANDBOX_ACCOUNT.into(),
            environment: Environment::Sandbox,
            idle: false,
            sandbox: Some(sandbox),
        })
    }

    /// What questions are asked with.
    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Ends the sandbox, if it is one.
    pub(super) async fn close(self) {
        if let Some(sandbox) = self.sandbox {
            sandbox.shutdown().await;
        }
    }

    /// Where calls go.
    pub(super) const fn environment(&self) -> Environment {
        self.environment
    }
}

fn client(base_url: Url, key: SecretString) -> Result<Client, CliError> {
    let settings = Settings { base_url, key, connect_timeout: CONNECT_TIMEOUT, user_agent: USER_AGENT.into() };
    Ok(Client::new(settings)?)
}

fn no_key() -> CliError {
    CliError::blocked(format!("{KEY} is not set"))
        .hint(format!("export {KEY}=sk_…; or try everything without an account with --sandbox"))
}

pub(super) fn fetcher() -> Result<Fetcher, CliError> {
    Fetcher::new(FetchSettings::default()).map_err(|e| CliError { exit: Exit::Blocked, error: e.into(), hint: None })
}

/// All that working a ledger takes.
pub(super) struct Session<'c> {
    pub(super) context: &'c Context,
    pub(super) config: Config,
    pub(super) store: Store,
    /// Whether the ledger was made just now.
    pub(super) fresh: bool,
    pub(super) shutdown: Shutdown,
    pub(super) fetcher: Fetcher,
    api: Api,
}

impl<'c> Session<'c> {
    /// Opens the ledger, made if `create` and it is not there, and listens to signals.
    pub(super) async fn open(context: &'c Context, config: Config, api: Api, create: bool) -> Result<Self, CliError> {
        if let Some(message) = process::too_few_files() {
            context.screen.warn(&message);
        }
        let shutdown = Shutdown::listen()?;
        let fetcher = fetcher()?;
        let opened = tokio::select! {
            biased;
            // A ledger that is locked keeps whoever opens it for many seconds.
            () = shutdown.drain.cancelled() => {
                let stop = CliError::blocked("interrupted before the ledger was open");
                return Err(CliError { exit: Exit::of_signal(&shutdown), ..stop });
            }
            opened = Store::open(config.opening(create)) => opened,
        };
        let (store, fresh) = opened.map_err(|e| CliError::of_ledger(e, &config.database))?;
        Ok(Self { context, config, store, fresh, shutdown, fetcher, api })
    }

    pub(super) const fn environment(&self) -> Environment {
        self.api.environment()
    }

    /// The account, if there is a key to ask it by.
    pub(super) fn account(&self) -> Option<Account> {
        let forgets = self.api.sandbox.is_some();
        let account = Account { client: self.api.client.clone(), name: self.api.account.clone(), forgets };
        (!self.api.idle).then_some(account)
    }

    /// Does `work` unless a signal comes first. The ledger needs no care: what was not committed was not begun.
    pub(super) async fn unless_interrupted<T>(&self, work: impl Future<Output = T>) -> Result<T, CliError> {
        tokio::select! {
            biased;
            () = self.shutdown.drain.cancelled() => Err(self.interrupted()),
            done = work => Ok(done),
        }
    }

    fn interrupted(&self) -> CliError {
        let stop = CliError::blocked("interrupted").hint("run the same command to go on");
        CliError { exit: Exit::of_signal(&self.shutdown), ..stop }
    }

    /// A runner of this account, and where its answers are posted to.
    pub(super) fn runner(&self, webhook: Option<Webhook>, events: Events) -> Runner {
        let config = RunnerConfig {
            environment: self.api.environment,
            account: self.api.account.clone(),
            limits: self.config.pool_limits(),
            spend: self.config.spend.clone(),
            rates: self.config.rates.clone(),
            webhook,
        };
        Runner::new(self.store.clone(), self.api.client.clone(), self.fetcher.clone(), config, events)
    }

    /// The account's name in the ledger.
    pub(super) fn account_name(&self) -> &str {
        &self.api.account
    }

    /// Works these batches to the end, or until they are paused or a signal comes.
    pub(super) async fn work(&self, batches: &[BatchId], order: Order) -> Result<RunEnd, CliError> {
        let (events, heard) = unbounded_channel();
        let watch = Watch {
            screen: self.context.screen.clone(),
            store: self.store.clone(),
            account: self.api.account.clone(),
            limits: self.config.pool_limits(),
            batches: batches.to_vec(),
        };
        let sandbox = self.api.sandbox.is_some();
        let hooks = Hooks::open(self.context, &self.config, &self.store, sandbox, batches).await?;
        let watching = tokio::spawn(watch.follow(heard));
        let runner = self.runner(hooks.as_ref().map(|hooks| hooks.webhook.clone()), events).in_order(order);
        let telling = tokio::spawn(print_draining(self.context.screen.clone(), self.shutdown.clone()));
        let (drain, abort) = (self.shutdown.drain.clone(), self.shutdown.abort.clone());
        let end = runner.run(batches, drain, abort).await;
        // The watch ends when the last who could speak is gone.
        drop(runner);
        let _ = tokio::time::timeout(Duration::from_secs(2), watching).await;
        telling.abort();
        if let Some(hooks) = hooks {
            hooks.close().await;
        }
        Ok(end?)
    }

    /// Writes report and summary beside the outputs; where they cannot be written, the summary is told all the same.
    pub(super) async fn publish(&self, batch: BatchId, state: SummaryState) -> Result<Published, CliError> {
        tokio::select! {
            published = publish_batch(&self.store, &self.config, batch, state) => published,
            // The signal that ended the work is the reason for this report; only one more ends it too.
            () = self.shutdown.next() => Err(self.interrupted()),
        }
    }

    /// Ends everything in order.
    pub(super) async fn close(self) {
        self.api.close().await;
        self.store.close().await;
    }
}

/// A summary, and what kept it from the sink.
pub(super) struct Published {
    pub(super) summary: Summary,
    pub(super) spec: BatchSpec,
    pub(super) sandbox: bool,
    pub(super) pause: Option<PauseKind>,
    pub(super) failed: Option<CliError>,
}

pub(super) async fn publish_batch(
    store: &Store,
    config: &Config,
    batch: BatchId,
    state: SummaryState,
) -> Result<Published, CliError> {
    let row = store.batch_by_id(batch).await?;
    let spec = spec_of(&row.name, &row.spec)?;
    let sink = Sink::open(&spec.output, &spec.sink)?;
    let (summary, failed) = match publish(store, &row, &spec, &sink, state, &config.rates).await {
        Ok(summary) => (summary, None),
        Err(e) => (summarize(store, batch, &spec, state, &config.rates).await?, Some(CliError::from(e))),
    };
    Ok(Published {
        summary,
        spec,
        sandbox: row.environment == Environment::Sandbox,
        pause: row.pause.as_ref().map(|(kind, _)| *kind),
        failed,
    })
}

/// What a batch was asked for.
pub(super) fn spec_of(batch: &str, spec: &str) -> Result<BatchSpec, StoreError> {
    serde_json::from_str(spec).map_err(|e| StoreError::Unexpected(format!("batch `{batch}`: {e}")))
}

async fn print_draining(screen: super::Screen, shutdown: Shutdown) {
    shutdown.drain.cancelled().await;
    screen.message("finishing what is in flight; Ctrl-C again leaves at once, and the next run asks what became of it");
    shutdown.abort.cancelled().await;
    screen.message("leaving");
}
