//! How a ledger is opened, and what is found.

use std::{path::PathBuf, time::Duration};

use crate::clock::Clock;
use crate::store::{
    SpoolSetting, Timing,
    engine::address::LedgerAddress,
    engine::db::{Conn, Readers},
};

/// How to open a ledger.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Where it is.
    pub ledger: LedgerAddress,
    /// Whether to create it if it is not there.
    pub create: bool,
    /// Lease times.
    pub timing: Timing,
    /// The clock for its stamps.
    pub clock: Clock,
    /// Whether the server's clock counts, where the ledger is on a server, instead of `clock`.
    pub server_time: bool,
    /// How long to wait for another process's write lock.
    pub busy_timeout: Duration,
    /// The folder for the local files of a ledger on a server; a file has its own beside it.
    pub local_files: PathBuf,
    /// Where bought audio is kept.
    pub spool: SpoolSetting,
    /// Whether a ledger is opened too that was copied elsewhere, or is a copy that is not finished.
    pub for_copy: bool,
}

impl Opening {
    /// The ledger at this address, created if it is not there, with the usual times.
    #[must_use]
    pub fn new(ledger: impl Into<LedgerAddress> + Clone) -> Self {
        #[cfg(test)]
        if let Some((ledger, local_files)) = crate::store::harness::on_server(ledger.clone().into()) {
            let spool = SpoolSetting::folder(local_files.clone());
            return Self { ledger, server_time: false, local_files, spool, ..Self::at(PathBuf::new()) };
        }
        Self::at(ledger)
    }

    fn at(ledger: impl Into<LedgerAddress>) -> Self {
        Self {
            ledger: ledger.into(),
            create: true,
            timing: Timing::default(),
            clock: Clock::system(),
            server_time: true,
            busy_timeout: Duration::from_secs(10),
            local_files: PathBuf::from(LOCAL_FILES),
            spool: SpoolSetting::default(),
            for_copy: false,
        }
    }
}

/// The folder for the local files of a ledger on a server.
pub const LOCAL_FILES: &str = "wavebatch-spool";

/// A ledger that was opened.
pub(super) struct Opened<Place> {
    /// The writer's connection.
    pub(super) conn: Conn,
    pub(super) readers: Readers,
    pub(super) id: String,
    /// Whether it was created just now.
    pub(super) fresh: bool,
    /// Where it is, once found.
    pub(super) place: Place,
}
