//! Why a ledger is not copied.

use crate::store::{Registered, StoreError};

/// Why a ledger is not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Both addresses lead to one ledger, or one is a finished copy of the other.
    #[error("{from} and {to} are the same ledger, or one is a copy of the other")]
    Same {
        /// The source.
        from: String,
        /// The target.
        to: String,
    },
    /// Processes work on it.
    #[error("the ledger {ledger} is in use by {}", processes.join(" and "))]
    InUse {
        /// Its address.
        ledger: String,
        /// The processes.
        processes: Vec<String>,
        /// Whether some have no heartbeat, but are not provably dead.
        is_silent: bool,
    },
    /// A batch is being submitted to it.
    #[error("the batch `{batch}` is being submitted to the ledger {ledger}")]
    Submitting {
        /// The source.
        ledger: String,
        /// The batch.
        batch: String,
    },
    /// The target holds something.
    #[error("the ledger {ledger} is not empty: it has {table}")]
    NotEmpty {
        /// The target.
        ledger: String,
        /// A table with rows.
        table: &'static str,
    },
    /// A text has a character that PostgreSQL cannot hold.
    #[error("{ledger} has a text with a NUL character (column {column} of {table}), which PostgreSQL cannot hold")]
    Nul {
        /// The source.
        ledger: String,
        /// The table.
        table: &'static str,
        /// The column.
        column: String,
    },
    /// Source and target differ though all rows were copied.
    #[error("{table} of the copy differs from the ledger: {there} rows instead of {here}, or other values")]
    Differs {
        /// The table.
        table: &'static str,
        /// Rows of the source.
        here: u64,
        /// Rows of the target.
        there: u64,
    },
    /// One of the two ledgers, or a place of bought speech, cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CopyError {
    pub(super) fn named(process: &Registered) -> String {
        let on = if process.host.is_empty() { String::new() } else { format!(" on {}", process.host) };
        format!("process {}{on}", process.pid)
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Same { .. } => {
                "name two places; a ledger is moved into an empty database, or into a file that is not there yet"
            }
            Self::InUse { is_silent: false, .. } => {
                "end what works on it (`run`, `work`, `serve`, timers; Ctrl-C or SIGTERM), then run the same command again"
            }
            Self::InUse { is_silent: true, .. } => {
                "end what works on it; a process that was cut off counts as dead when its session on the server is gone: run the same command again a little later"
            }
            Self::Submitting { .. } => "wait until it is submitted, or run the same command again 15 s after its end",
            Self::NotEmpty { .. } => {
                "copy into an empty database, another schema (`?schema=…`) or a file that is not there yet; two ledgers cannot be merged"
            }
            Self::Nul { .. } => {
                "leave the ledger in its file; a line whose text lacks that character can be submitted to the new one"
            }
            Self::Differs { .. } => {
                "run the same command again: it copies everything anew; if that fails again, see whether something else writes to one of the two"
            }
            Self::Store(error) => return error.hint(),
        })
    }
}
