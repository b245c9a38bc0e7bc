//! The basis of every verb: settings, screen and ledger.

use std::path::PathBuf;

use clap::Args;

use super::{Global, error::CliError, screen::Screen, words::command};
use crate::{
    app::{Settings, batch_of, open_ledger},
    config::{Config, Env, Flags},
    domain::environment::{Environment, LedgerChoice},
    store::{BatchPhase, BatchRow, Store},
    tasks::Registry,
};

/// A batch of this ledger.
#[derive(Debug, Args)]
pub struct BatchArgs {
    /// The batch's name
    #[arg(value_name = "BATCH")]
    pub batch: String,
    #[command(flatten)]
    pub ledger: LedgerFlags,
}

/// Which ledger is meant.
#[derive(Debug, Clone, Copy, Args)]
pub struct LedgerFlags {
    /// The sandbox's ledger, wavebatch-sandbox.db, instead of the real one
    #[arg(long)]
    pub sandbox: bool,
}

/// The input of a verb.
#[derive(Debug)]
pub struct Context {
    global: Global,
    /// The output for messages and results.
    pub screen: Screen,
    /// The environment.
    pub env: Env,
    /// The tasks of the program.
    pub tasks: Registry,
}

impl Context {
    pub(super) fn new(global: Global, screen: Screen, tasks: Registry) -> Self {
        Self { global, screen, env: Env::read(), tasks }
    }

    /// The flags by which the user chose the ledger: hints repeat them.
    pub fn choice(&self) -> LedgerChoice {
        self.flags(false).choice()
    }

    fn flags(&self, sandbox: bool) -> Flags {
        let Global { config, database, spool, .. } = &self.global;
        Flags { config: config.clone(), database: database.clone(), spool: spool.clone(), sandbox }
    }

    /// A command as a hint, for the ledger that the user chose.
    pub(super) fn hint(&self, environment: Environment, words: &[&str]) -> String {
        command((&self.choice(), environment), words)
    }

    /// The settings.
    pub fn config(&self, sandbox: bool) -> Result<Config, CliError> {
        let flags = self.flags(sandbox);
        let cwd = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        Ok(Config::load(&flags, &self.env, &cwd)?)
    }

    /// The settings of a session.
    pub fn settings(&self, sandbox: bool) -> Result<Settings, CliError> {
        Ok(Settings::new(self.config(sandbox)?, self.env.clone(), Environment::sandboxed(sandbox), self.tasks.clone()))
    }

    /// The ledger, which must exist, and the settings.
    pub async fn ledger(&self, sandbox: bool) -> Result<(Store, Settings), CliError> {
        let settings = self.settings(sandbox)?;
        Ok((open_ledger(&settings).await?, settings))
    }

    /// One batch of a ledger. If its submission was cut off, warns first that lines are missing.
    pub async fn batch_in(&self, store: &Store, name: &str) -> Result<BatchRow, CliError> {
        let row = batch_of(store, name, &self.choice()).await?;
        // The number of unfinished lines does not matter here.
        if row.phase(0, store.clock().now()) == BatchPhase::CutOff {
            self.screen.message(&format!(
                "warning: the submission of `{name}` was cut off: lines are missing, and it is not worked until it is submitted again"
            ));
        }
        Ok(row)
    }

    /// The ledger and one batch of it.
    pub async fn batch(&self, named: &BatchArgs) -> Result<(Store, BatchRow), CliError> {
        let (store, _) = self.ledger(named.ledger.sandbox).await?;
        let row = self.batch_in(&store, &named.batch).await?;
        Ok((store, row))
    }
}
