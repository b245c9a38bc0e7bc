//! What can be wrong with a ledger, grouped by what the user can do about it.

use std::{fmt, path::PathBuf};

use crate::store::engine::{
    kind::Engine,
    mark::{CopyEnd, CopyMark},
};

/// What an engine says.
#[derive(Debug)]
pub enum EngineError {
    /// SQLite.
    Sqlite(sqlx::Error),
    /// A server, or the way to it.
    Postgres(sqlx::Error),
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(e) => e.fmt(f),
            Self::Postgres(sqlx::Error::Database(e)) => f.write_str(e.message()),
            Self::Postgres(sqlx::Error::Io(e)) => e.fmt(f),
            Self::Postgres(sqlx::Error::Tls(e)) => e.fmt(f),
            Self::Postgres(sqlx::Error::Protocol(words)) => {
                let words = words.split_once(" (sqlx").map_or(&**words, |(words, _)| words);
                write!(f, "it answers as no PostgreSQL server does: {words}")
            }
            Self::Postgres(sqlx::Error::PoolTimedOut) => f.write_str("it takes too long to answer"),
            Self::Postgres(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for EngineError {}

/// The ledger could not be read or written.
///
/// Every method of [`Store`](super::Store) that returns it fails where the ledger cannot be read or written. A method
/// with further reasons names them.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the write lock for longer than the busy time-out.
    #[error("the ledger is locked by another program")]
    Locked(#[source] EngineError),
    /// The file or its directory cannot be written.
    #[error("the ledger cannot be written")]
    ReadOnly(#[source] EngineError),
    /// It is no database, or a damaged one.
    #[error("the ledger is damaged or is no wavebatch ledger")]
    Corrupt(#[source] EngineError),
    /// The system cannot open it now: too many files are open, or this user has no permission.
    #[error("the ledger cannot be opened for the moment")]
    Unopened(#[source] EngineError),
    /// The server of the ledger does not answer.
    #[error("the server of the ledger cannot be reached")]
    Unreachable(#[source] EngineError),
    /// The server does not let this user in, or has no such database.
    #[error("the server of the ledger refuses the connection")]
    Refused(#[source] EngineError),
    /// The server copies another one, and cannot be written.
    #[error("the server of the ledger is a read-only standby")]
    Standby,
    /// The user of the server may not do what a ledger needs.
    #[error("this user may not use the ledger on its server")]
    NoRights(#[source] EngineError),
    /// The server is too old.
    #[error("the server of the ledger runs PostgreSQL {0}; wavebatch needs 14 or newer")]
    OldServer(String),
    /// The database holds something else.
    #[error("the schema `{schema}` of that database holds tables of another program (`{table}`)")]
    Foreign {
        /// The schema.
        schema: String,
        /// One of its tables.
        table: String,
    },
    /// It was made before the first release.
    #[error("the ledger {} was made by an unreleased version of wavebatch, and this version cannot read it", .0)]
    Unreleased(String),
    /// A command panicked inside the writer. It was rolled back.
    #[error("wavebatch itself failed in the ledger: {0}")]
    Panicked(String),
    /// No space is left for it.
    #[error("the disk that holds the ledger is full, or failing")]
    Full(#[source] EngineError),
    /// It has migrations that this program does not know.
    #[error(
        "the ledger {ledger} was written by a newer wavebatch (its schema is version {found}, this program knows {known})"
    )]
    Newer {
        /// The ledger's address.
        ledger: String,
        /// Its schema's version.
        found: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// It was copied elsewhere, or is a copy that is not finished.
    #[error("{}", copied(ledger, mark))]
    Copied {
        /// The ledger's address.
        ledger: String,
        /// What it is.
        mark: CopyMark,
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
    /// The bought audio cannot be read or written now, or not be removed.
    #[error("the spool {place} cannot be used")]
    Spool {
        /// The spool's path, or its address.
        place: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The user says another place of bought audio than the ledger's.
    #[error("the ledger {ledger} keeps its bought speech in {has}, not in {asked}")]
    OtherSpool {
        /// The ledger's address.
        ledger: String,
        /// Where it keeps it.
        has: String,
        /// What the user says.
        asked: String,
    },
    /// The place of bought audio cannot be used at all.
    #[error("the spool {address} {why}")]
    BadSpool {
        /// Its address.
        address: String,
        /// Why not, as the end of the sentence.
        why: String,
    },
    /// Machines share the ledger, and it has no place for bought audio.
    #[error("machines share the ledger {ledger}, and it has no place for bought speech that all of them reach")]
    NoSharedSpool {
        /// The ledger's address.
        ledger: String,
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
    /// Any other error of the engine.
    #[error("the ledger refused a statement")]
    Other(#[source] EngineError),
}

fn copied(ledger: &str, mark: &CopyMark) -> String {
    let with = &mark.with;
    match mark.end {
        CopyEnd::Source => format!("the ledger {ledger} is being copied to {with}"),
        CopyEnd::Target => format!("{ledger} is an unfinished copy of the ledger {with}"),
        CopyEnd::Moved => format!("the ledger {ledger} was moved to {with}"),
    }
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
            Self::Copied { mark, .. } => match mark.end {
                CopyEnd::Source => {
                    "let `wavebatch ledger copy` finish, or start it again with the same two addresses; `wavebatch ledger reopen` gives the copying up"
                }
                CopyEnd::Target => {
                    "start `wavebatch ledger copy` again with the same two addresses: it goes on where it was"
                }
                CopyEnd::Moved => {
                    "name the new place with --database or WAVEBATCH_DATABASE; `wavebatch ledger reopen` takes this one into use again"
                }
            },
            Self::NetworkFs { .. } => {
                "put it on a local disk with WAVEBATCH_DATABASE=sqlite:///path/wavebatch.db; outputs may stay on the network"
            }
            Self::OldSqlite(_) => "build wavebatch with its bundled SQLite",
            Self::Missing(_) => {
                "name the right one with WAVEBATCH_DATABASE or --database; `wavebatch run` makes a new one"
            }
            Self::Spool { .. } => "make it writable for this user, or reachable from here; nothing in it is lost",
            Self::OtherSpool { .. } => {
                "set `spool` (--spool, WAVEBATCH_SPOOL) to the place that the ledger names, or leave it out; to keep speech elsewhere, use another ledger"
            }
            Self::BadSpool { .. } => {
                "write spool = \"s3://bucket/prefix/\", or the path of a folder that all machines share"
            }
            Self::NoSharedSpool { .. } => {
                "write into wavebatch.toml spool = \"s3://bucket/prefix/\"; or, if all machines share a folder, its path: spool = \"/mnt/shared\" (also --spool, WAVEBATCH_SPOOL)"
            }
            Self::NoBatch(_) => "`wavebatch status` lists the batches",
            Self::Path { .. } => {
                "make the ledger, its -wal and -shm files and their folder readable and writable for this user; or name another with --database"
            }
            Self::Unreachable(_) => {
                "see that the server runs and can be reached from here (`psql` with the same address), then run the same command again; nothing that was paid for is lost"
            }
            Self::Refused(_) => {
                "see that the user, the password (PGPASSWORD, or ~/.pgpass), the database and `sslmode` of the address are right, and that pg_hba.conf lets this machine in"
            }
            Self::Standby => {
                "name the primary server; several hosts may be named by a DNS name that follows the primary"
            }
            Self::NoRights(_) => {
                "let this user create and use tables in the schema: `GRANT ALL ON SCHEMA public TO …`, or a schema of its own"
            }
            Self::OldServer(_) => "upgrade the server, or use another one",
            Self::Foreign { .. } => {
                "use a database of its own (`CREATE DATABASE wavebatch`), or a schema of its own: `?schema=wavebatch` at the end of the address"
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
            | Self::Copied { .. }
            | Self::Unreleased(_)
            | Self::NetworkFs { .. }
            | Self::OldSqlite(_)
            | Self::Missing(_)
            | Self::Path { .. }
            | Self::Refused(_)
            | Self::Standby
            | Self::NoRights(_)
            | Self::OldServer(_)
            | Self::Foreign { .. }
            | Self::OtherSpool { .. }
            | Self::BadSpool { .. }
            | Self::Closed => true,
            Self::Locked(_)
            | Self::Full(_)
            | Self::Unopened(_)
            | Self::Unreachable(_)
            | Self::Spool { .. }
            | Self::NoSharedSpool { .. }
            | Self::NoBatch(_)
            | Self::Unexpected(_)
            | Self::Panicked(_)
            | Self::Other(_) => false,
        }
    }

    /// Whether waiting may help: space is freed, or a lock is released.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Locked(_) | Self::Unopened(_) | Self::Unreachable(_))
    }
}

impl StoreError {
    pub(in crate::store) fn of(engine: Engine, e: sqlx::Error) -> Self {
        if matches!(e, sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) | sqlx::Error::Decode(_)) {
            return Self::Unexpected(e.to_string());
        }
        match engine {
            Engine::Sqlite => Self::of_sqlite(e),
            Engine::Postgres => Self::of_postgres(e),
        }
    }

    fn of_sqlite(e: sqlx::Error) -> Self {
        // Primary result codes of SQLite; extended codes carry them in their low byte.
        let code = e.as_database_error().and_then(|e| e.code()).and_then(|c| c.parse::<i32>().ok()).map(|c| c & 0xff);
        match code {
            Some(5 | 6) => Self::Locked(EngineError::Sqlite(e)),
            Some(3 | 8 | 23) => Self::ReadOnly(EngineError::Sqlite(e)),
            Some(11 | 26) => Self::Corrupt(EngineError::Sqlite(e)),
            // Out of memory (7), an I/O error (10), or a full disk (13).
            Some(7 | 10 | 13) => Self::Full(EngineError::Sqlite(e)),
            Some(14) => Self::Unopened(EngineError::Sqlite(e)),
            _ => Self::Other(EngineError::Sqlite(e)),
        }
    }

    fn of_postgres(e: sqlx::Error) -> Self {
        use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
        let code = e.as_database_error().and_then(|e| e.code()).map(std::borrow::Cow::into_owned);
        match code.as_deref() {
            // The SQLSTATE classes and codes of PostgreSQL's appendix A.
            Some("55P03" | "40001" | "40P01") => Self::Locked(EngineError::Postgres(e)),
            Some("25006") => Self::Standby,
            Some("42501") => Self::NoRights(EngineError::Postgres(e)),
            Some(code) if code.starts_with("28") || code == "3D000" => Self::Refused(EngineError::Postgres(e)),
            Some("53100" | "53200") => Self::Full(EngineError::Postgres(e)),
            Some("XX001" | "XX002") => Self::Corrupt(EngineError::Postgres(e)),
            // Too many clients; shutting down, crashed or starting up; an idle transaction was ended; the connection broke.
            Some("53300" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04") => {
                Self::Unreachable(EngineError::Postgres(e))
            }
            Some(code) if code.starts_with("08") => Self::Unreachable(EngineError::Postgres(e)),
            Some(_) => Self::Other(EngineError::Postgres(e)),
            None => match e {
                // The TLS layer refuses a certificate in this way.
                Io(ref io) if io.kind() == std::io::ErrorKind::InvalidData => Self::Refused(EngineError::Postgres(e)),
                Io(_) | PoolTimedOut | PoolClosed | Protocol(_) | WorkerCrashed => {
                    Self::Unreachable(EngineError::Postgres(e))
                }
                Tls(_) => Self::Refused(EngineError::Postgres(e)),
                e => Self::Other(EngineError::Postgres(e)),
            },
        }
    }
}
