//! What stands in a backup.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::domain::{callback::SecretPurpose, environment::Environment};

/// The format of backups that this program writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;
/// The first member: what the backup is.
pub(super) const HEAD: &str = "backup.json";
/// The ledger's file.
pub(super) const LEDGER: &str = "ledger.db";
/// Which clips the audio cache had, one a line.
pub(super) const INDEX: &str = "clips.jsonl";
/// The last member: the checksums of all others.
pub(super) const CHECKSUMS: &str = "checksums.json";
/// The folder of clips of the audio cache.
pub(super) const CLIPS: &str = "clips";
/// The folder of clips that waited on the machine for a store of objects.
pub(super) const UNSENT: &str = "unsent";

/// The member that has a secret.
pub(super) const fn secret_member(purpose: SecretPurpose) -> &'static str {
    match purpose {
        SecretPurpose::Webhook => "webhook-secret",
        SecretPurpose::Notify => "notify-secret",
    }
}

/// Is called with the bytes that are done, and with about how many there are.
pub type OnBackup = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHead {
    /// The format of the file.
    pub format: u32,
    /// The wavebatch that made it.
    pub program: String,
    /// When it was made, in ms since 1970.
    pub made_at: Millis,
    /// The version of the ledger's schema.
    pub schema: i64,
    /// The id of the ledger.
    pub ledger: String,
    /// Its address, without a password.
    pub address: String,
    /// Whether the ledger is in it. It is not where the ledger is on a server.
    pub has_ledger: bool,
    /// Where its calls went.
    pub environment: Environment,
    /// The newest time that a process had written to it.
    pub newest_at: Millis,
    /// The number of the newest change of a line.
    pub seq: i64,
    /// The id of its newest call.
    pub newest_call: Option<String>,
    /// How many batches it has.
    pub batches: u64,
    /// How many lines.
    pub lines: u64,
    /// How many calls.
    pub calls: u64,
    /// Where its bought speech is kept, unless that is beside it.
    pub spool: Option<String>,
    /// Whether the clips of the audio cache are in it.
    pub with_cache: bool,
}

/// The part of a head that every format has.
#[derive(Debug, Deserialize)]
pub(super) struct AnyHead {
    pub(super) format: u32,
    pub(super) program: String,
}

/// A member of the archive, as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checksum {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// A clip that the audio cache had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IndexedClip {
    /// Its name below the folder of the cache: `ab/abcd….pcm`.
    pub(super) file: String,
    pub(super) bytes: u64,
    /// When it was used last, in ms since 1970.
    pub(super) used_at: Millis,
}

/// Whether this is the name of a clip below its folder, and of nothing else.
pub(super) fn is_clip_name(name: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let Some((folder, file)) = name.split_once('/') else { return false };
    let Some((key, format)) = file.split_once('.') else { return false };
    folder.len() == 2
        && key.len() == 32
        && is_hex(folder)
        && is_hex(key)
        && key.starts_with(folder)
        && !format.is_empty()
        && format.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_has_a_name_that_leads_nowhere_else() {
        let key = "ab".repeat(16);
        assert!(is_clip_name(&format!("ab/{key}.pcm")) && is_clip_name(&format!("ab/{key}.mp3")));
        for other in ["", "ab", "../x", "ab/../x.pcm", "ab/x.pcm"] {
            assert!(!is_clip_name(other), "{other}");
        }
        let others = [
            format!("cd/{key}.pcm"),
            format!("ab/{key}/x.pcm"),
            format!("ab/{key}.pcm.damaged"),
            format!("/ab/{key}.pcm"),
        ];
        assert_eq!(others.iter().find(|other| is_clip_name(other)), None);
    }
}
