//! What is known of lines of another batch that is in no cell of them.

use crate::definition::FedLines;

/// The contents at addresses, and the keys of lines, for the jobs that are made of them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FedFacts<'a>(pub(super) Option<&'a FedLines>);

impl FedFacts<'_> {
    /// The SHA-256 of what is at this address.
    pub(super) fn content(&self, address: &str) -> Option<[u8; 32]> {
        self.0.and_then(|fed| fed.contents.get(address).copied())
    }

    /// The key of a line.
    pub(super) fn key(&self, number: u64) -> Option<String> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        self.0.and_then(|fed| fed.keys.get(at).cloned())
    }
}
