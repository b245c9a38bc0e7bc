//! What a session is opened with.

use crate::{
    config::{Config, Env, PoolLimits},
    domain::{batch::BatchSpec, environment::Environment},
    waves::account,
};

/// The account of the sandbox inside the process, whatever port it got.
pub const SANDBOX_ACCOUNT: &str = "sandbox";
/// Where outputs of the sandbox go, whatever the definition says.
pub const SANDBOX_OUTPUT: &str = "sandbox-out/{batch}/";

/// What a session is opened with. A registry of tasks belongs here, too, once there is one.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The settings of the file, with flags and environment merged in.
    pub config: Config,
    /// The environment: the key, the secrets, and the clock of tests.
    pub env: Env,
    /// Where calls go.
    pub environment: Environment,
    /// Whether calls may be made, so that a key has to be there. Without them any key will do.
    pub calls: bool,
    /// Whether the ledger is made if it is not there.
    pub create: bool,
}

impl Settings {
    /// Settings to submit and to work with: calls may be made, and the ledger is made if it is not there.
    #[must_use]
    pub const fn new(config: Config, env: Env, environment: Environment) -> Self {
        Self { config, env, environment, calls: true, create: true }
    }

    /// The same where no call will be made.
    #[must_use]
    pub fn without_calls(self) -> Self {
        Self { calls: false, ..self }
    }

    /// The same where the ledger has to be there.
    #[must_use]
    pub fn of_existing_ledger(self) -> Self {
        Self { create: false, ..self }
    }

    /// The account's name in the ledger; without a key it is not known.
    #[must_use]
    pub fn account(&self) -> Option<String> {
        match self.environment {
            Environment::Sandbox => Some(SANDBOX_ACCOUNT.to_owned()),
            Environment::Live => self.env.key.as_ref().map(|key| account(&self.config.base_url, key)),
        }
    }

    pub(super) const fn is_sandbox(&self) -> bool {
        self.environment.is_sandbox()
    }
}

/// The limits of a batch's model, lowered by its definition.
#[must_use]
pub fn limits_of(config: &Config, spec: &BatchSpec) -> PoolLimits {
    config.limits_of(spec.task.pool()).lowered(&spec.run)
}
