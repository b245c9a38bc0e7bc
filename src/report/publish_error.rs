//! Why a report or a summary could not be written.

use std::{io, path::PathBuf};

use crate::{sink::SinkError, store::StoreError};

/// Why a report or a summary could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sink refuses it.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The file in the spool cannot be written.
    #[error("the report cannot be written in {}", dir.display())]
    Spool {
        /// The spool.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The existing report may be the only copy of some transcripts, and cannot be read. It was left as it is.
    #[error("{address} is left as it is. It may have transcripts that are nowhere else, and cannot be read: {why}")]
    OldReport {
        /// Where that report is.
        address: String,
        /// Why it cannot be read.
        why: String,
    },
    /// The user's own location for it cannot be written.
    #[error("the report cannot be written")]
    Output(#[source] io::Error),
}
