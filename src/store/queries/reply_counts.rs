//! The tokens of batches that chat.

use crate::domain::{chat::Usage, job::BatchId};
use crate::store::engine::db::query;
use crate::store::{Store, StoreError, engine::rows};

impl Store {
    /// The tokens of the replies of a batch, with those of their repairs.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn reply_tokens(&self, batch: BatchId) -> Result<Usage, StoreError> {
        let row = query(
            r"-- reply_counts::reply_tokens
              SELECT CAST(sum(CAST(facts ->> 'reply' ->> 'prompt_tokens' AS BIGINT)) AS BIGINT) AS prompt,
                CAST(sum(CAST(facts ->> 'reply' ->> 'cached_tokens' AS BIGINT)) AS BIGINT) AS cached,
                CAST(sum(CAST(facts ->> 'reply' ->> 'completion_tokens' AS BIGINT)) AS BIGINT) AS completion
              FROM jobs
              WHERE batch = $1 AND state IN ('succeeded', 'suspect') AND wanted <> 'dropped'",
        )
        .bind(batch)
        .fetch_one(&self.read)
        .await?;
        let get = |name| rows::length(&row, name).map(Option::unwrap_or_default);
        Ok(Usage {
            prompt_tokens: get("prompt")?,
            cached_tokens: get("cached")?,
            completion_tokens: get("completion")?,
        })
    }
}
