//! Outputs that were there before the ledger knew their lines, as after a lost ledger: such lines are done.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use crate::{
    domain::{key::Key, options::TranscriptFormat},
    sink::{Sink, SinkError},
};

/// What stands in a sink.
#[derive(Debug)]
pub(super) struct Adopt {
    sink: Sink,
    formats: Vec<TranscriptFormat>,
    /// Half a SHA-256 of each name: a million of them are small, and no two run into each other.
    there: HashSet<[u8; 16]>,
}

impl Adopt {
    /// Lists the sink.
    pub(super) async fn look(sink: &Sink, formats: &[TranscriptFormat]) -> Result<Self, SinkError> {
        let mut there = HashSet::new();
        let endings: Vec<String> = formats.iter().map(|format| format!(".{format}")).collect();
        sink.list_names(|name| {
            if endings.iter().any(|ending| name.ends_with(ending)) {
                there.insert(half_hash(name));
            }
        })
        .await?;
        Ok(Self { sink: sink.clone(), formats: formats.to_vec(), there })
    }

    /// The addresses of a line's outputs as a JSON array, if all of them are there.
    pub(super) fn outputs(&self, key: &Key) -> Option<String> {
        let names: Vec<String> = self.formats.iter().map(|format| format!("{key}.{format}")).collect();
        let all = names.iter().all(|name| self.there.contains(&half_hash(name)));
        let addresses: Vec<String> = names.iter().map(|name| self.sink.address(name)).collect();
        all.then(|| serde_json::json!(addresses).to_string())
    }
}

fn half_hash(name: &str) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(name.as_bytes())[..16]);
    half
}
