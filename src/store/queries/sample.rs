//! One line as an example of many.

use crate::domain::{call::ErrorKind, job::BatchId};
use crate::store::engine::db::{query_as, query_scalar};
use crate::store::{Store, StoreError};

impl Store {
    /// How many jobs have which notes, joined by `;`. A job that is gone or dropped has that as a note, too. Notes that are
    /// the reason of a suspect job are left out.
    pub async fn note_counts(&self, batch: BatchId) -> Result<Vec<(String, u64)>, StoreError> {
        let found: Vec<(String, i64)> = query_as(
            r"-- sample::note_counts
              SELECT coalesce(notes, '') || CASE wanted WHEN 'yes' THEN '' ELSE ';' || wanted END AS noted, count(*) AS n
              FROM jobs
              WHERE batch = $1 AND state <> 'superseded' AND (notes IS NOT NULL OR wanted <> 'yes')
                AND NOT (state = 'suspect' AND notes IS NOT DISTINCT FROM error_kind)
              GROUP BY 1
              ORDER BY 1",
        )
        .bind(batch)
        .fetch_all(&self.read)
        .await?;
        Ok(found.into_iter().map(|(notes, count)| (notes, u64::try_from(count).unwrap_or(0))).collect())
    }

    /// The error of the line with this key, in words: that of an output that failed in this way. Others may have succeeded, or
    /// failed in another way.
    pub async fn error_of(&self, batch: BatchId, key: &str, kind: ErrorKind) -> Result<Option<String>, StoreError> {
        let error: Option<Option<String>> = query_scalar(
            r"-- sample::error_of
              SELECT error
              FROM jobs
              WHERE batch = $1 AND key = $2 AND state = 'failed' AND error_kind = $3 AND wanted <> 'dropped'
              ORDER BY variant
              LIMIT 1",
        )
        .bind(batch)
        .bind(key)
        .bind(kind.as_str())
        .fetch_optional(&self.read)
        .await?;
        Ok(error.flatten())
    }
}
