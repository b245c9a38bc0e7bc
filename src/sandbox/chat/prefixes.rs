//! The cache of beginnings: an answered request leaves its blocks, and a later one that begins alike finds them.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use sha2::{Digest as _, Sha256};

use super::request::{BYTES_A_TOKEN, ChatRequest};

/// Tokens of one block: what does not fill a block is not cached.
const BLOCK: usize = 128;

/// The blocks that are cached, each by the hash of all that stands before its end.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Prefixes(Mutex<HashSet<[u8; 32]>>);

impl Prefixes {
    /// How many tokens of a request's beginning are cached.
    pub(super) fn cached(&self, request: &ChatRequest) -> u64 {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (blocks(request).take_while(|block| known.contains(block)).count() * BLOCK) as u64
    }

    /// Keeps the beginning of a request that was answered.
    pub(super) fn remember(&self, request: &ChatRequest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(blocks(request));
    }

    /// Forgets all of them.
    pub(in crate::sandbox) fn reset(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn blocks(request: &ChatRequest) -> impl Iterator<Item = [u8; 32]> {
    let text = request.all_text().into_bytes();
    let mut hash = Sha256::new();
    let blocks: Vec<[u8; 32]> = text
        .chunks_exact(BLOCK * BYTES_A_TOKEN)
        .map(|block| {
            hash.update(block);
            hash.clone().finalize().into()
        })
        .collect();
    blocks.into_iter()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(system: &str, user: &str) -> ChatRequest {
        let messages = json!([{"role": "system", "content": system}, {"role": "user", "content": user}]);
        ChatRequest::parse(json!({"model": "electron", "messages": messages}).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn an_equal_beginning_is_cached_in_blocks_once_it_was_answered() {
        let (cache, system) = (Prefixes::default(), "rules ".repeat(200));
        let first = request(&system, "one");
        assert_eq!(cache.cached(&first), 0);
        cache.remember(&first);
        assert_eq!(cache.cached(&request(&system, "another")), 256, "1,200 bytes have two blocks of 512");
        assert_eq!(cache.cached(&request(&format!("x{system}"), "one")), 0, "it begins otherwise");
        cache.reset();
        assert_eq!(cache.cached(&first), 0);
    }
}
