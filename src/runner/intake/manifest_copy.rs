//! A manifest's copy in the spool.

use std::sync::Arc;

use crate::{
    definition::{FedLines, Spooled},
    store::Scratch,
};

/// The copy of a manifest. Dropping this value removes it.
#[derive(Debug)]
pub struct ManifestCopy {
    spooled: Spooled,
    _scratch: Scratch,
}

impl ManifestCopy {
    /// The copy in this file.
    pub(super) fn of(scratch: Scratch) -> Self {
        Self { spooled: Spooled { path: scratch.path().to_owned(), fed: None }, _scratch: scratch }
    }

    /// The lines of another batch.
    pub(super) fn of_batch(scratch: Scratch, fed: FedLines) -> Self {
        Self { spooled: Spooled { path: scratch.path().to_owned(), fed: Some(Arc::new(fed)) }, _scratch: scratch }
    }

    /// The copy, for [`plan`](super::plan) and [`submit`](super::submit).
    #[must_use]
    pub const fn spooled(&self) -> &Spooled {
        &self.spooled
    }
}
