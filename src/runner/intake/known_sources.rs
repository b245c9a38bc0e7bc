//! What comparing has found of the sources of lines, for the readings after it.

use std::collections::HashMap;

use crate::domain::identity::{ContentHash, Identity, SeenFile};

/// What is known of lines whose recording the ledger has in another way, by their numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownSources {
    pub(super) contents: HashMap<u64, (SeenFile, ContentHash)>,
    pub(super) aliases: HashMap<u64, Identity>,
}

impl KnownSources {
    /// What is in a line's file, if it was read, and is found still as it was then.
    pub(super) fn content(&self, line: u64, seen: SeenFile) -> Option<ContentHash> {
        self.contents.get(&line).filter(|(then, _)| *then == seen).map(|(_, content)| *content)
    }

    /// The identity by which the ledger has a line's address, where that is the same by the rules of today.
    pub(super) fn alias(&self, line: u64) -> Option<Identity> {
        self.aliases.get(&line).copied()
    }
}
