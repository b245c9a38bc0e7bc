//! What can be wrong with a ledger, grouped by what the user can do about it.

use std::path::PathBuf;

use sqlx::error::DatabaseError;

/// The ledger could not be read or written.
///
/// Every method of [`Store`](super::Store) that returns it fails where the ledger cannot be read or written. A method
/// with further reasons names them.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the write lock for longer than the busy time-out.
    #[error("the ledger is locked by another program")]
    Locked(#[source] sqlx::Error),
    /// The file or its directory cannot be written.
    #[error("the ledger cannot be written")]
    ReadOnly(#[source] sqlx::Error),
    /// It is no database, or a damaged one.
    #[error("the ledger is damaged or is no wavebatch ledger")]
    Corrupt(#[source] sqlx::Error),
    /// The system cannot open it now: too many files are open, or this user has no permission.
    #[error("the ledger cannot be opened for the moment")]
    Unopened(#[source] sqlx::Error),
    /// It was made before the first release.
    #[error("the ledger {} was made by an unreleased version of wavebatch, and this version cannot read it", .0.display())]
    Unreleased(PathBuf),
    /// A command panicked inside the writer. It was rolled back.
    #[error("wavebatch itself failed in the ledger: {0}")]
    Panicked(String),
    /// No space is left for it.
    #[error("the disk that holds the ledger is full, or failing")]
    Full(#[source] sqlx::Error),
    /// It has migrations that this program does not know.
    #[error("the ledger {} was written by a newer wavebatch (its schema is version {found}, this program knows {known})", path.display())]
    Newer {
        /// The ledger's path.
        path: PathBuf,
        /// Its schema's version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// It lies where file locks cannot be trusted.
    #[error("the ledger {} lies on a network file system ({kind}), where file locks cannot be trusted", path.display())]
    NetworkFs {
        /// The ledger's path.
        path: PathBuf,
        /// The file system's name.
        kind: &'static str,
    },
    /// The linked SQLite has the WAL-reset bug.
    #[error("SQLite {0} can corrupt databases in WAL mode")]
    OldSqlite(String),
    /// The ledger was to be opened, not created, and there is none.
    #[error("there is no ledger at {}", .0.display())]
    Missing(PathBuf),
    /// The path cannot be used at all.
    #[error("the ledger {} cannot be opened", path.display())]
    Path {
        /// The ledger's path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The folder of bought audio cannot be read, or a file in it cannot be removed.
    #[error("the spool {} cannot be used", path.display())]
    Spool {
        /// The spool's path.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The batch changed under a statement, or does not exist.
    #[error("there is no batch `{0}` in this ledger")]
    NoBatch(String),
    /// The writer has stopped.
    #[error("the ledger is closed")]
    Closed,
    /// A stored value cannot be parsed.
    #[error("the ledger holds something unexpected: {0}")]
    Unexpected(String),
    /// Any other error of SQLite.
    #[error("the ledger refused a statement")]
    Other(#[source] sqlx::Error),
}

impl StoreError {
    /// What the user can do, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Locked(_) => {
                "find who has it open (another wavebatch, a sqlite3 shell, a backup), or wait and run the same command again"
            }
            Self::ReadOnly(_) => {
                "make the ledger, its -wal and -shm files and their folder writable for this user, or name another with WAVEBATCH_DATABASE=sqlite:///path/wavebatch.db"
            }
            Self::Corrupt(_) => {
                "restore it from a backup, or check it with `sqlite3 FILE 'PRAGMA integrity_check'`; with a new ledger nothing would be known of what was bought"
            }
            Self::Full(_) => "free some space and run the same command again; nothing that was bought is lost",
            Self::Unopened(_) => {
                "see that this user may read and write the ledger, its -wal and -shm files and their folder; or close what has many files open, or raise the limit (`ulimit -n`)"
            }
            Self::Unreleased(_) => "move it away together with its -spool folder, or name another with --database",
            Self::Newer { .. } => "use the wavebatch that wrote it, or a newer one",
            Self::NetworkFs { .. } => {
                "put it on a local disk with WAVEBATCH_DATABASE=sqlite:///path/wavebatch.db; outputs may stay on the network"
            }
            Self::OldSqlite(_) => "build wavebatch with its bundled SQLite",
            Self::Missing(_) => {
                "name the right one with WAVEBATCH_DATABASE or --database; `wavebatch run` makes a new one"
            }
            Self::Spool { .. } => "make the folder writable for this user; nothing in it is lost",
            Self::NoBatch(_) => "`wavebatch status` lists the batches",
            Self::Path { .. } => {
                "make the ledger, its -wal and -shm files and their folder readable and writable for this user; or name another with --database"
            }
            Self::Closed | Self::Unexpected(_) | Self::Panicked(_) | Self::Other(_) => return None,
        })
    }

    /// The error with its causes, as the reason why a line was refused.
    #[must_use]
    pub fn reason(&self) -> String {
        let mut reason = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            reason.push_str(": ");
            reason.push_str(&error.to_string());
            cause = error.source();
        }
        reason
    }

    /// Whether the whole ledger is unusable. Any other error concerns one line, or passes.
    #[must_use]
    pub const fn is_fatal(&self) -> bool {
        match self {
            Self::ReadOnly(_)
            | Self::Corrupt(_)
            | Self::Newer { .. }
            | Self::Unreleased(_)
            | Self::NetworkFs { .. }
            | Self::OldSqlite(_)
            | Self::Missing(_)
            | Self::Path { .. }
            | Self::Closed => true,
            Self::Locked(_)
            | Self::Full(_)
            | Self::Unopened(_)
            | Self::Spool { .. }
            | Self::NoBatch(_)
            | Self::Unexpected(_)
            | Self::Panicked(_)
            | Self::Other(_) => false,
        }
    }

    /// Whether waiting may help: space is freed, or a lock is released.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Locked(_) | Self::Unopened(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(e: sqlx::Error) -> Self {
        // Primary result codes of SQLite; extended codes carry them in their low byte.
        let code =
            e.as_database_error().and_then(DatabaseError::code).and_then(|c| c.parse::<i32>().ok()).map(|c| c & 0xff);
        match code {
            Some(5 | 6) => Self::Locked(e),
            Some(3 | 8 | 23) => Self::ReadOnly(e),
            Some(11 | 26) => Self::Corrupt(e),
            // Out of memory (7), an I/O error (10), or a full disk (13).
            Some(7 | 10 | 13) => Self::Full(e),
            Some(14) => Self::Unopened(e),
            _ => match e {
                sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) | sqlx::Error::Decode(_) => {
                    Self::Unexpected(e.to_string())
                }
                e => Self::Other(e),
            },
        }
    }
}
