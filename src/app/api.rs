//! The API, or the sandbox in its place.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::{
    error::AppError,
    settings::{SANDBOX_ACCOUNT, Settings},
};
use crate::{
    domain::environment::Environment,
    media::fetch::{FetchSettings, Fetcher},
    runner::intake::Account,
    sandbox::{self, Sandbox},
    waves::{self, Client, account},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const USER_AGENT: &str = concat!("wavebatch/", env!("CARGO_PKG_VERSION"));

/// The API, or a sandbox of this process.
pub struct Api {
    client: Client,
    account: String,
    environment: Environment,
    /// Whether there is a key.
    has_key: bool,
    sandbox: Option<Sandbox>,
}

impl Api {
    /// The API with the user's key, which is required if calls may be made; or a sandbox of this process.
    ///
    /// # Errors
    /// There is no key, or an invalid one; the sandbox cannot listen.
    pub async fn open(settings: &Settings) -> Result<Self, AppError> {
        if settings.is_sandbox() {
            return Self::sandbox().await;
        }
        let key = settings.env.key.clone();
        let has_key = key.is_some();
        let key = match key {
            Some(key) => key,
            None if settings.calls => {
                return Err(settings.env.key_fault.clone().map_or(AppError::NoKey, AppError::KeyPlace));
            }
            None => SecretString::from("none"),
        };
        let base_url = settings.config.base_url.clone();
        let account = account(&base_url, &key);
        Ok(Self { client: client(base_url, key)?, account, environment: Environment::Live, has_key, sandbox: None })
    }

    async fn sandbox() -> Result<Self, AppError> {
        let sandbox = Sandbox::start(sandbox::Config::default()).await?;
        let base_url = Url::parse(&sandbox.base_url()).expect("a sandbox has an address");
        Ok(Self {
            client: client(base_url, SecretString::from("sk_sandbox"))?,
            account: SANDBOX_ACCOUNT.into(),
            environment: Environment::Sandbox,
            has_key: true,
            sandbox: Some(sandbox),
        })
    }

    /// The client for queries.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The environment of the calls.
    pub(super) const fn environment(&self) -> Environment {
        self.environment
    }

    /// The account's name in the ledger.
    pub(super) fn account_name(&self) -> &str {
        &self.account
    }

    /// The account, if there is a key.
    pub(super) fn account(&self) -> Option<Account> {
        let forgets = self.sandbox.is_some();
        let account = Account { client: self.client.clone(), name: self.account.clone(), forgets };
        self.has_key.then_some(account)
    }

    /// Closes the sandbox, if there is one.
    pub async fn close(self) {
        if let Some(sandbox) = self.sandbox {
            sandbox.shutdown().await;
        }
    }
}

fn client(base_url: Url, key: SecretString) -> Result<Client, AppError> {
    let (connect_timeout, user_agent) = (CONNECT_TIMEOUT, USER_AGENT.to_owned());
    Ok(Client::new(waves::Settings { base_url, key, connect_timeout, user_agent })?)
}

/// The client for downloads of manifests and recordings.
pub(super) fn fetcher() -> Result<Fetcher, AppError> {
    Fetcher::new(FetchSettings::default()).map_err(|e| AppError::Fetcher(e.into()))
}
