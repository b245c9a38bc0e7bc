//! What a server knows of the sizes of tables.

use crate::store::engine::db::{query, query_scalar};
use crate::store::{Store, StoreError};

impl Store {
    /// Lets a server look at the tables that grew much. By itself it does so within a minute; until then it would plan
    /// statements over many rows as if there were few, and hold the lock for them.
    pub(in crate::store) async fn show_growth(&self) {
        if let Err(error) = self.analyze_grown().await {
            tracing::debug!(error = %error, "the server does not look at the tables that grew; it does so later by itself");
        }
    }

    async fn analyze_grown(&self) -> Result<(), StoreError> {
        if self.file().is_some() {
            return Ok(());
        }
        let grown: Vec<String> = query_scalar(
            r"-- statistics::analyze_grown: by more than twice, and to over 256 kB.
              SELECT c.relname
              FROM pg_class AS c
              WHERE c.relnamespace = CAST(current_schema() AS REGNAMESPACE) AND c.relkind = 'r'
                AND c.relname IN ('jobs', 'texts', 'calls', 'outputs', 'job_parts', 'answers')
                AND pg_relation_size(c.oid) > 16384 * CAST(greatest(c.relpages, 16) AS BIGINT)",
        )
        .fetch_all(&self.read)
        .await?;
        for table in grown {
            query(format!("ANALYZE {table}")).execute(&self.read).await?;
        }
        Ok(())
    }
}
