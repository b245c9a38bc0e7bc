//! What the local recordings of lines contain, noted before they are sent.

use super::{Store, StoreError};
use crate::domain::{
    identity::{ContentHash, SeenFile},
    job::{JobId, Token},
};

impl Store {
    /// Notes what a claimed job's recording contains, and how its file was found when it was read. Before a call this is on
    /// disk before the call's first byte leaves, so that a killed process leaves no answer whose recording nobody knows.
    /// `content`: `None` where the file changed while it was sent, so that nobody knows what the vendor has heard; then no
    /// file is ever taken for the same. Nothing happens where the lease is lost.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn note_content(
        &self,
        (job, token): (JobId, Token),
        seen: SeenFile,
        content: Option<ContentHash>,
    ) -> Result<(), StoreError> {
        let bytes = i64::try_from(seen.bytes).unwrap_or(i64::MAX);
        self.write(move |conn, _| {
            Box::pin(async move {
                // note_content
                sqlx::query(
                    "UPDATE jobs
                     SET source_hash = $3, source_bytes = $4, source_inode = $6,
                       source_mtime = CASE WHEN length($3) = 0 THEN NULL ELSE $5 END
                     WHERE id = $1 AND token = $2 AND source_path IS NOT NULL",
                )
                .bind(job)
                .bind(token)
                .bind(content.map_or_else(Vec::new, |content| content.0.to_vec()))
                .bind(bytes)
                .bind(seen.modified_ns)
                .bind(seen.inode.cast_signed())
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }
}
