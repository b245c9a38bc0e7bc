//! Where calls go: the API, or its stand-in. Results of the two are never mixed.

use std::path::Path;

use super::options::listed;

listed! {
    /// Where the calls of a batch go.
    Environment, "environment" {
        /// The vendor's API.
        Live = "live",
        /// The local stand-in.
        Sandbox = "sandbox",
    }
}

/// The flags by which the user has chosen the ledger and the settings, as typed. Hints repeat them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerChoice(Vec<String>);

impl LedgerChoice {
    /// `--database` and `--config`, where the user gave them.
    #[must_use]
    pub fn of(database: Option<&str>, config: Option<&Path>) -> Self {
        let config = config.map(|path| path.to_string_lossy().into_owned());
        let flags = [("--database", database.map(str::to_owned)), ("--config", config)];
        let given = flags.into_iter().filter_map(|(flag, value)| Some([flag.to_owned(), value?]));
        Self(given.flatten().collect())
    }

    /// The flags and their values, as words of a command.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.0
    }
}

/// The ledger that a hint names, and where the calls of its batch go.
pub type NamedLedger<'c> = (&'c LedgerChoice, Environment);

impl Environment {
    /// The stand-in if `sandbox` is true, else the API.
    #[must_use]
    pub const fn sandboxed(sandbox: bool) -> Self {
        if sandbox { Self::Sandbox } else { Self::Live }
    }

    /// The environment as messages name it.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Live => "the API",
            Self::Sandbox => "the sandbox",
        }
    }

    /// Whether calls go to the stand-in.
    #[must_use]
    pub const fn is_sandbox(self) -> bool {
        matches!(self, Self::Sandbox)
    }
}
