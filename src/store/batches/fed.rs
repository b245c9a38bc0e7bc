//! What happens to a batch means for the batches that it feeds.

use serde_json::json;

use crate::domain::job::BatchId;
use crate::store::StoreError;
use crate::store::engine::db::{Conn, query, query_scalar};

/// Lets the batches that this one feeds go on, and those that they feed. One that was cancelled stays so.
pub(in crate::store) async fn unfinish_fed(conn: &mut Conn, batch: BatchId) -> Result<(), StoreError> {
    query(
        r"-- feed::unfinish_fed
          WITH RECURSIVE fed (id) AS (
            SELECT id FROM batches WHERE fed_by = $1
            UNION
            SELECT b.id FROM fed AS f JOIN batches AS b ON b.fed_by = f.id)
          UPDATE batches
          SET finished_at = NULL
          WHERE id IN (SELECT id FROM fed) AND finished_at IS NOT NULL AND cancelled_at IS NULL",
    )
    .bind(batch)
    .execute(conn)
    .await?;
    Ok(())
}

/// Numbers lines that were done when they came.
pub(in crate::store) async fn number_adopted(conn: &mut Conn, batch: BatchId) -> Result<(), StoreError> {
    let adopted: Vec<i64> = query_scalar(
        r"-- feed::number_adopted
          SELECT id
          FROM jobs
          WHERE batch = $1 AND state = 'succeeded' AND seq IS NULL AND notes = 'adopted'
          ORDER BY id",
    )
    .bind(batch)
    .fetch_all(&mut *conn)
    .await?;
    if adopted.is_empty() {
        return Ok(());
    }
    let n = i64::try_from(adopted.len()).unwrap_or(i64::MAX);
    let last: i64 =
        query_scalar("UPDATE ledger SET seq = seq + $1 RETURNING seq").bind(n).fetch_one(&mut *conn).await?;
    let set: Vec<_> = adopted.iter().zip(last - n + 1..).map(|(job, seq)| json!([job, seq])).collect();
    query(
        r"-- feed::number_adopted
          UPDATE jobs
          SET seq = CAST(r.v ->> 1 AS BIGINT)
          FROM rows_of($1) AS r
          WHERE jobs.id = CAST(r.v ->> 0 AS BIGINT)",
    )
    .bind(json!(set).to_string())
    .execute(&mut *conn)
    .await?;
    unfinish_fed(conn, batch).await
}
