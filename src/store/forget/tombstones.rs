//! The keys of forgotten lines, by which a manifest that still has them brings nothing back.

use std::collections::HashSet;

use crate::domain::{
    forget::{hashed_key, is_hashed},
    job::BatchId,
};
use crate::store::engine::db::query_scalar;
use crate::store::{Store, StoreError};

/// Which lines of a batch are forgotten.
#[derive(Debug, Clone, Default)]
pub struct ForgottenKeys {
    keys: HashSet<String>,
    /// The ledger's id, if some keys are hashed.
    salt: Option<String>,
}

impl ForgottenKeys {
    /// Whether the line with this key is forgotten.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        !self.keys.is_empty()
            && (self.keys.contains(key)
                || self.salt.as_deref().is_some_and(|salt| self.keys.contains(&hashed_key(salt, key))))
    }
}

impl Store {
    /// The forgotten lines of a batch.
    pub async fn forgotten_keys(&self, batch: BatchId) -> Result<ForgottenKeys, StoreError> {
        let keys: Vec<String> = query_scalar(
            r"-- tombstones::forgotten_keys
              SELECT DISTINCT key
              FROM jobs
              WHERE batch = $1 AND forget IS NOT NULL",
        )
        .bind(batch)
        .fetch_all(&self.read)
        .await?;
        let salt = keys.iter().any(|key| is_hashed(key)).then(|| self.id().to_owned());
        Ok(ForgottenKeys { keys: keys.into_iter().collect(), salt })
    }
}
