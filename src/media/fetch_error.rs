//! Why a fetch failed, and who is to blame.

use std::{io, path::PathBuf};

use super::source::SourceFailure;

/// Why a fetch failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The source is to blame.
    #[error(transparent)]
    Source(#[from] SourceFailure),
    /// The caller's credentials are to blame (none, wrong, or for another region), not a line.
    #[error("{0}")]
    Credentials(String),
    /// The local disk is to blame (full, read-only), not a line.
    #[error("`{}` cannot be written", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}
