//! The content of the lines' local recordings, recorded before they are sent.

use serde_json::json;

use crate::domain::{
    hex::hex,
    identity::{ContentHash, SeenFile},
    job::{JobId, Token},
};
use crate::store::engine::db::{Conn, query};
use crate::store::{Store, StoreError};

/// Records the content of the recordings whose calls are about to be made.
pub(in crate::store) async fn note(
    conn: &mut Conn,
    contents: impl Iterator<Item = (JobId, (SeenFile, ContentHash))>,
) -> Result<(), StoreError> {
    let row = |(job, (seen, content)): (JobId, (SeenFile, ContentHash))| {
        let bytes = i64::try_from(seen.bytes).unwrap_or(i64::MAX);
        json!([job.0, hex(&content.0), bytes, seen.modified_ns, seen.inode.cast_signed()])
    };
    let set: Vec<_> = contents.map(row).collect();
    if set.is_empty() {
        return Ok(());
    }
    query(
        r"-- content::note
            UPDATE jobs
            SET source_hash = unhex(r.v ->> 1), source_bytes = CAST(r.v ->> 2 AS BIGINT),
              source_mtime = CAST(r.v ->> 3 AS BIGINT), source_inode = CAST(r.v ->> 4 AS BIGINT)
            FROM rows_of($1) AS r
            WHERE jobs.id = CAST(r.v ->> 0 AS BIGINT) AND source_path IS NOT NULL",
    )
    .bind(json!(set).to_string())
    .later(conn)
    .await
}

impl Store {
    /// Records for a claimed job the metadata of its file after it was sent, and the file's content. `content`: `None`
    /// where the file changed meanwhile, so that it is unknown what the vendor received; then no file ever counts as the
    /// same. Without the lease nothing happens.
    pub async fn note_content(
        &self,
        (job, token): (JobId, Token),
        seen: SeenFile,
        content: Option<ContentHash>,
    ) -> Result<(), StoreError> {
        let bytes = i64::try_from(seen.bytes).unwrap_or(i64::MAX);
        self.write(move |conn, _| {
            Box::pin(async move {
                query(
                    r"-- content::note_content
                      UPDATE jobs
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
