//! Outputs that exist before the ledger knows their lines, for example after a lost ledger: such lines count as done.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::OutputEndings;
use crate::sink::{Sink, SinkError};

/// The files that exist in a sink.
#[derive(Debug)]
pub(super) struct Adopt {
    sink: Sink,
    /// Half a SHA-256 of each name: a million of them take little memory, and no two collide.
    there: HashSet<[u8; 16]>,
    /// Files without bytes, where a transcript without words is empty: such a file alone proves nothing.
    empty: HashSet<[u8; 16]>,
}

impl Adopt {
    /// Lists the sink.
    pub(super) async fn look(sink: &Sink, endings: &OutputEndings) -> Result<Self, SinkError> {
        let (mut there, mut empty) = (HashSet::new(), HashSet::new());
        let is_one_of = |name: &str, endings: &[String]| endings.iter().any(|ending| name.ends_with(ending));
        sink.list_names(|name, bytes| {
            if !is_one_of(name, &endings.all) {
                return;
            }
            if bytes > 0 {
                there.insert(half_hash(name));
            } else if is_one_of(name, &endings.may_be_empty) {
                empty.insert(half_hash(name));
            }
        })
        .await?;
        Ok(Self { sink: sink.clone(), there, empty })
    }

    /// The addresses of these files as a JSON array, if all of them exist.
    pub(super) fn outputs(&self, names: &[String]) -> Option<String> {
        let hashes: Vec<_> = names.iter().map(|name| half_hash(name)).collect();
        let any = hashes.iter().any(|hash| self.there.contains(hash));
        let all = hashes.iter().all(|hash| self.there.contains(hash) || self.empty.contains(hash));
        let addresses: Vec<String> = names.iter().map(|name| self.sink.address(name)).collect();
        (any && all).then(|| serde_json::json!(addresses).to_string())
    }
}

fn half_hash(name: &str) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(name.as_bytes())[..16]);
    half
}
