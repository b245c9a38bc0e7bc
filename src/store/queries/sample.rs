//! One line as an example of many.

use crate::domain::job::BatchId;
use crate::store::{Store, StoreError};

impl Store {
    /// The error of the line with this key, in words.
    pub async fn error_of(&self, batch: BatchId, key: &str) -> Result<Option<String>, StoreError> {
        let error: Option<Option<String>> = sqlx::query_scalar(
            r"-- sample::error_of
              SELECT error
              FROM jobs
              WHERE batch = $1 AND key = $2 AND state <> 'superseded'
              ORDER BY variant
              LIMIT 1",
        )
        .bind(batch)
        .bind(key)
        .fetch_optional(&self.read)
        .await?;
        Ok(error.flatten())
    }
}
