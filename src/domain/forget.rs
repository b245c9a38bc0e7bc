//! What `forget` removes, and what it leaves.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{hex::hex, options::listed};

listed! {
    /// What `forget` removes of a line.
    ForgottenKind, "kind of forgotten content" {
        /// The cells of the line in the ledger: source, options, manifest columns, words of errors.
        Row = "row",
        /// A kept answer.
        Answer = "answer",
        /// What was posted for its calls.
        Callback = "callback",
        /// The text that it speaks.
        Text = "text",
        /// A file in the output.
        Output = "output",
        /// Bought audio in the audio cache.
        Clip = "clip",
        /// The entry of a call in the vendor's log.
        Vendor = "vendor",
    }
}

listed! {
    /// What became of it.
    ForgottenState, "state of forgotten content" {
        /// It is still to be removed.
        Waiting = "waiting",
        /// It was removed.
        Removed = "removed",
        /// It was gone already.
        Absent = "absent",
        /// It stays, because another line uses it.
        Kept = "kept",
        /// It cannot be found, so nobody knows whether it is there.
        Unknown = "unknown",
        /// Its removal was refused, and is tried again.
        Refused = "refused",
    }
}

impl ForgottenState {
    /// Whether it is still to be removed.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Refused)
    }
}

/// What becomes of the outputs of forgotten lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForgottenOutputs {
    /// They are removed.
    #[default]
    Remove,
    /// They stay where they are, and the ledger forgets whose they are.
    Leave,
    /// They stay until their own time has come: the ledger still knows whose they are.
    Later,
}

/// What a `forget` is to remove, as the ledger keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetSpec {
    /// Whether keys are replaced by their hashes.
    #[serde(default)]
    pub hash_key: bool,
    /// What becomes of outputs.
    #[serde(default)]
    pub outputs: ForgottenOutputs,
    /// The tasks whose calls have entries in the vendor's log that can be removed.
    #[serde(default)]
    pub at_vendor: Vec<String>,
}

/// What takes the place of a key. `salt` is the ledger's id, so that the same key has another name in another ledger.
///
/// Whoever has the ledger and guesses the key can tell that the guess is right: a key that is a telephone number can be found
/// by trying all numbers.
#[must_use]
pub fn hashed_key(salt: &str, key: &str) -> String {
    let mut hash = Sha256::new();
    for field in ["wavebatch forgotten key", salt, key] {
        hash.update((field.len() as u64).to_le_bytes());
        hash.update(field.as_bytes());
    }
    format!("{HASHED}{}", hex(&hash.finalize()[..16]))
}

/// How a hashed key begins.
const HASHED: &str = "forgotten-";

/// The number of hexadecimal digits of a hashed key.
const DIGITS: usize = 32;

/// Whether a key has the form of a hashed one.
#[must_use]
pub fn is_hashed(key: &str) -> bool {
    key.strip_prefix(HASHED).is_some_and(|hash| hash.len() == DIGITS && hash.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hashed_key_is_the_same_in_one_ledger_and_another_in_another() {
        let hashed = hashed_key("ledger-1", "+49 170 1234567");
        assert_eq!(hashed, hashed_key("ledger-1", "+49 170 1234567"));
        assert_ne!(hashed, hashed_key("ledger-2", "+49 170 1234567"));
        assert_ne!(hashed_key("ab", "c"), hashed_key("a", "bc"), "fields do not run together");
        assert!(is_hashed(&hashed) && !hashed.contains("1234567"), "{hashed}");
        assert!(!is_hashed("forgotten-call") && !is_hashed("a"));
    }
}
