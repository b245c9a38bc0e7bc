//! Why a fetch failed, and who is to blame.

use std::{io, path::PathBuf};

use super::source::SourceFailure;

/// Why a fetch failed.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The source is to blame.
    #[error(transparent)]
    Source(#[from] SourceFailure),
    /// Who asks is to blame: no credentials, wrong ones, or for another region; and so no line.
    #[error("{0}")]
    Credentials(String),
    /// The disk here is to blame (full, read-only), and so no line.
    #[error("`{}` cannot be written", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
