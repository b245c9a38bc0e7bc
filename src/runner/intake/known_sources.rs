//! What comparing found about the sources of lines, for later readings of the manifest.

use std::collections::HashMap;

use crate::domain::identity::{ContentHash, Identity, SeenFile};

/// Facts about lines whose recording is in the ledger in another form, by line number.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownSources {
    pub(super) contents: HashMap<u64, (SeenFile, ContentHash)>,
    pub(super) aliases: HashMap<u64, Identity>,
}

impl KnownSources {
    /// The content of a line's file, if it was read and the file is unchanged since.
    pub(super) fn content(&self, line: u64, seen: SeenFile) -> Option<ContentHash> {
        self.contents.get(&line).filter(|(then, _)| *then == seen).map(|(_, content)| *content)
    }

    /// The identity that the ledger has for a line's address, where the two are the same by the current rules.
    pub(super) fn alias(&self, line: u64) -> Option<Identity> {
        self.aliases.get(&line).copied()
    }
}
