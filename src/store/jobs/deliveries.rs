//! What a worker reads about its job beside the claim: the journal of its part, and kept answers.

use crate::store::engine::db::{Conn, query, query_scalar};
use crate::store::{
    Body, Store, StoreError,
    engine::packed,
    engine::rows::{self, call_columns},
    jobs::parts::is_kept,
};
use crate::{
    clock::{Millis, boot_id},
    domain::job::{BatchId, CallId, JobId, Journal},
};

/// The vendor's request id, `x-content-expiry`, and the time from intent to answer in ms.
#[derive(Debug, Clone, Default)]
pub struct AnswerFacts {
    /// The vendor's id of the request, for its support.
    pub request_id: Option<String>,
    /// The vendor's `x-content-expiry`.
    pub content_expiry: Option<String>,
    /// From intent to answer, in ms.
    pub processing_ms: Option<i64>,
    /// It was found in the vendor's log rather than received.
    pub from_log: bool,
}

impl Store {
    /// The calls of a part since the user's last `retry`, and every call that is open or answered, oldest first.
    pub async fn journal(&self, job: JobId, part: i64, generation: i64) -> Result<Journal, StoreError> {
        let calls = query(concat!(
            "SELECT ",
            call_columns!(),
            " FROM calls AS c
             WHERE c.job = $4 AND c.part = $5 AND (c.generation = $6 OR c.state IN ('sent', 'accepted', 'answered'))
             ORDER BY c.id"
        ))
        .bind(self.now())
        .bind(self.clock().boot())
        .bind(boot_id())
        .bind(job)
        .bind(part)
        .bind(generation)
        .fetch_all(&self.read)
        .await?;
        Ok(Journal { calls: calls.iter().map(rows::call_record).collect::<Result<_, _>>()? })
    }

    /// A kept answer; `None` if it was pruned.
    pub async fn answer(&self, call: CallId) -> Result<Option<(Body, AnswerFacts)>, StoreError> {
        let row = query(
            r"-- deliveries::answer
              SELECT a.packed, a.bytes, a.body, a.origin = 'log' AS from_log, c.request_id, c.content_expiry,
                c.ended_at - c.sent_at AS ms
              FROM answers AS a
              JOIN calls AS c ON c.id = a.call
              WHERE a.call = $1",
        )
        .bind(call)
        .fetch_optional(&self.read)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let facts = AnswerFacts {
            request_id: row.try_get("request_id")?,
            content_expiry: row.try_get("content_expiry")?,
            processing_ms: row.try_get("ms")?,
            from_log: row.try_get("from_log")?,
        };
        Ok(Some((packed::kept(&row)?, facts)))
    }

    /// How many lines of a batch have a kept answer that was bought without word times.
    pub async fn without_word_times(&self, batch: BatchId) -> Result<u64, StoreError> {
        let lines: i64 = query_scalar(
            r#"-- deliveries::without_word_times
               SELECT count(*)
               FROM jobs AS j
               JOIN calls AS c ON c.job = j.id
               JOIN answers AS a ON a.call = c.id
               WHERE j.batch = $1 AND j.state <> 'superseded' AND j.wanted <> 'dropped' AND c.state = 'answered' AND c.part = 0
                 AND c.request LIKE '%"word_timestamps":false%'"#,
        )
        .bind(batch)
        .fetch_one(&self.read)
        .await?;
        Ok(u64::try_from(lines).unwrap_or(0))
    }
}

/// Makes those of the jobs (`[[job], …]`) due for delivery again that are finished and whose answer is kept. Returns
/// their number, and how many answers are pruned.
pub(in crate::store) async fn redeliver(conn: &mut Conn, jobs: &str, now: Millis) -> Result<(u64, u64), StoreError> {
    let pruned: i64 = query_scalar(concat!(
        r"-- deliveries::redeliver
          SELECT count(*)
          FROM rows_of($1) AS r
          JOIN jobs AS j ON j.id = CAST(r.v ->> 0 AS BIGINT)
          WHERE j.state IN ('succeeded', 'suspect') AND j.wanted <> 'dropped' AND j.forget IS NULL AND NOT ",
        is_kept!("j")
    ))
    .bind(jobs)
    .fetch_one(&mut *conn)
    .await?;
    let done = query(concat!(
        r"-- deliveries::redeliver
          UPDATE jobs
          SET state = 'queued', due_at = $2, finished_at = NULL, lane = 'free'
          WHERE id IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r)
            AND state IN ('succeeded', 'suspect', 'failed') AND wanted <> 'dropped' AND forget IS NULL AND ",
        is_kept!("jobs")
    ))
    .bind(jobs)
    .bind(now)
    .execute(conn)
    .await?;
    Ok((done.rows_affected(), u64::try_from(pruned).unwrap_or(0)))
}

/// Forgets the checksums of the files of these jobs (`[[job], …]`): all of the files are written again.
pub(in crate::store) async fn forget_checksums(conn: &mut Conn, jobs: &str) -> Result<(), StoreError> {
    query(
        r"-- deliveries::forget_checksums
            UPDATE outputs
            SET checksum = NULL
            WHERE job IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r)",
    )
    .bind(jobs)
    .execute(conn)
    .await?;
    Ok(())
}
