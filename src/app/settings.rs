//! The settings of a session.

use crate::{
    config::{Config, Env, PoolLimits},
    domain::{batch::BatchSpec, environment::Environment},
    report::BatchRequest,
    tasks::Registry,
    waves::account,
};

/// The account of the sandbox inside the process, on any port.
pub const SANDBOX_ACCOUNT: &str = "sandbox";
/// The output of sandbox batches, whatever the definition says.
pub const SANDBOX_OUTPUT: &str = "sandbox-out/{batch}/";

/// The settings of a session.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The settings of the file, with flags and environment merged in.
    pub config: Config,
    /// The environment: the key, the secrets, and the clock of tests.
    pub env: Env,
    /// The environment of the calls.
    pub environment: Environment,
    /// The tasks of the program.
    pub tasks: Registry,
    /// Whether calls may be made, so that a key is required. Without calls, any key is accepted.
    pub calls: bool,
    /// Whether the ledger is created if it does not exist.
    pub create: bool,
}

impl Settings {
    /// Settings for submitting and working: calls may be made, and the ledger is created if it does not exist.
    #[must_use]
    pub const fn new(config: Config, env: Env, environment: Environment, tasks: Registry) -> Self {
        Self { config, env, environment, tasks, calls: true, create: true }
    }

    /// The same without calls.
    #[must_use]
    pub fn without_calls(self) -> Self {
        Self { calls: false, ..self }
    }

    /// The same for a ledger that must exist.
    #[must_use]
    pub fn of_existing_ledger(self) -> Self {
        Self { create: false, ..self }
    }

    /// The account's name in the ledger; `None` without a key.
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

/// The limits for a batch's model, lowered by its definition.
#[must_use]
pub fn limits_of(config: &Config, spec: &BatchSpec, asked: &dyn BatchRequest) -> PoolLimits {
    config.limits_of(asked.pool()).lowered(&spec.run)
}
