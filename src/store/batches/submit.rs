//! Submitting: sets of thousands of lines, each of which is new, the same, or changed.

use std::sync::Arc;

use serde_json::json;

use crate::store::engine::db::{Conn, query, query_as, query_scalar};
use crate::store::{
    BadSet, Begun, LineSet, Store, StoreError,
    batches::lines::{PackedLines, incoming, incoming_bad},
    batches::{control, fed},
    jobs::deliveries,
    jobs::texts,
};
use crate::{
    clock::Millis,
    domain::{identity::Identity, job::BatchId, task::TaskName},
};

/// The effects of a submission.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Submitted {
    /// Lines that the batch did not have.
    pub new: u64,
    /// Lines that it had with another recording or other options: superseded.
    pub changed: u64,
    /// Lines that it had unchanged.
    pub same: u64,
    /// Those of the unchanged ones whose outputs have other names now: delivered again.
    pub redelivered: u64,
    /// Those that should be delivered again, but whose answers are pruned.
    pub pruned: u64,
}

impl std::ops::AddAssign for Submitted {
    fn add_assign(&mut self, o: Self) {
        self.new += o.new;
        self.changed += o.changed;
        self.same += o.same;
        self.redelivered += o.redelivered;
        self.pruned += o.pruned;
    }
}

impl Store {
    /// Submits sets of lines, one statement each, in one transaction. A larger transaction writes fewer pages of the
    /// key's index twice; other processes wait meanwhile.
    pub async fn submit_sets(&self, begun: Begun, sets: Vec<(LineSet, BadSet)>) -> Result<Submitted, StoreError> {
        let sets: Arc<[_]> = sets.into_iter().map(|(good, bad)| (good.into_lines(), bad.into_json())).collect();
        self.write(move |conn, now| {
            let sets = Arc::clone(&sets);
            Box::pin(async move {
                let mut done = Submitted::default();
                for (good, bad) in &*sets {
                    done += submit_set(conn, begun, (good, bad), now).await?;
                }
                Ok(done)
            })
        })
        .await
    }

    /// The submission is complete, and the batch is worked. If it was cancelled meanwhile, so are its later lines.
    pub async fn end_submit(&self, batch: BatchId) -> Result<(), StoreError> {
        loop {
            // A `cancel` may come until the very end.
            let cancelled = self
                .write(move |conn, _| {
                    Box::pin(async move {
                        let ended = query(
                            r"-- submit::end_submit
                              UPDATE batches
                              SET submitting_at = NULL
                              WHERE id = $1 AND (cancelled_at IS NULL OR NOT EXISTS (
                                SELECT 1 FROM jobs WHERE batch = batches.id AND due_at IS NOT NULL))",
                        )
                        .bind(batch)
                        .execute(conn)
                        .await?;
                        Ok(ended.rows_affected() == 0)
                    })
                })
                .await?;
            if !cancelled {
                break;
            }
            self.cancel_lines(batch).await?;
        }
        self.show_growth().await;
        self.wake();
        Ok(())
    }

    /// How many lines of a batch had their outputs before the batch existed.
    pub async fn adopted(&self, batch: BatchId) -> Result<u64, StoreError> {
        let sql = r"-- submit::adopted
                SELECT count(*)
                FROM jobs
                WHERE batch = $1 AND state = 'succeeded' AND notes = 'adopted'";
        let count: i64 = query_scalar(sql).bind(batch).fetch_one(&self.read).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

/// Whether the files of a job (`j`) have other names by its line (`i`) as it was read now.
pub(in crate::store) const IS_RENAMED: &str = "(j.overrides ->> 'name' IS DISTINCT FROM i.overrides ->> 'name'
    OR j.overrides ->> 'captions' IS DISTINCT FROM i.overrides ->> 'captions'
    OR j.overrides ->> 'format' IS DISTINCT FROM i.overrides ->> 'format')";

/// Whether the line `i` has the recording or text of the job `j`; NULL where that is unknown. The content of a local file
/// that was read before decides, unless its metadata is unchanged; so a file that was not or cannot be read again is
/// neither the same nor another. The ETag of an object that was moved in its store identifies its content.
pub(in crate::store) const SAME_SOURCE: &str = "CASE
     WHEN i.source_path IS NOT NULL AND j.source_path IS NOT NULL THEN CASE
       WHEN j.source_hash IS NULL THEN 1 = 1
       WHEN i.source_path = j.source_path AND i.source_bytes = j.source_bytes AND i.source_mtime = j.source_mtime
         AND (i.source = j.source OR i.source_inode = j.source_inode) THEN 1 = 1
       WHEN i.source_hash IS NOT NULL THEN i.source_hash = j.source_hash
       WHEN i.source_bytes <> j.source_bytes THEN 1 = 0
       END
     ELSE j.source_id = i.source_id
       OR coalesce(length(i.source_etag) >= 32 AND i.source_etag = j.source_etag AND i.source_bytes = j.source_bytes, 1 = 0)
     END";

pub(super) async fn submit_set(
    conn: &mut Conn,
    begun: Begun,
    (good, bad): (&PackedLines, &str),
    now: Millis,
) -> Result<Submitted, StoreError> {
    let batch = begun.batch;
    let mut done = Submitted::default();
    texts::insert(conn, &good.texts).await?;
    let (task, ordinal): (TaskName, i64) = query_as(
        r"-- submit::submit_set: the submitter lives.
          UPDATE batches
          SET submitting_at = CASE WHEN submitting_at IS NULL THEN NULL ELSE $2 END
          WHERE id = $1
          RETURNING task, (SELECT coalesce(max(ordinal), 0) FROM jobs WHERE batch = $1)",
    )
    .bind(batch)
    .bind(now)
    .fetch_one(&mut *conn)
    .await?;
    let place = SetPlace { batch, task, ordinal, now };
    // In a batch that was created just now no line has an older version.
    if begun.existed && ordinal > 0 {
        (done.redelivered, done.pruned) = redeliver_renamed(conn, place, good).await?;
        refresh_same(conn, place, good).await?;
        done.changed = supersede(conn, place, good).await?;
    }
    done.new = insert_new(conn, place, good).await?;
    insert_bad(conn, SetPlace { now: now.max(begun.at), ..place }, bad).await?;
    if good.adopts {
        fed::number_adopted(conn, batch).await?;
    }
    done.same = good.len.saturating_sub(done.new + done.changed);
    if begun.existed && done.new + done.changed + done.redelivered > 0 {
        control::unfinish(conn, batch).await?;
    }
    Ok(done)
}

/// The batch and position of a set of lines.
#[derive(Clone, Copy)]
struct SetPlace {
    batch: BatchId,
    task: TaskName,
    /// The last ordinal in use.
    ordinal: i64,
    now: Millis,
}

/// Makes the same texts with the same options due for delivery again, where their outputs have other names now.
async fn redeliver_renamed(conn: &mut Conn, place: SetPlace, good: &PackedLines) -> Result<(u64, u64), StoreError> {
    if !good.speaks() {
        return Ok((0, 0));
    }
    let incoming = incoming(true);
    let renamed: Vec<i64> = query_scalar(format!(
        r"-- submit::redeliver_renamed
          WITH i AS MATERIALIZED ({incoming})
          SELECT j.id
          FROM i
          JOIN jobs AS j ON j.batch = $2 AND j.key = i.key AND j.variant = i.variant AND j.state <> 'superseded'
          WHERE NOT (j.source_id <> i.source_id) AND NOT (j.options_id <> i.options_id) AND {IS_RENAMED} AND j.outputs IS NOT NULL"
    ))
    .bind(&*good.json)
    .bind(place.batch)
    .fetch_all(&mut *conn)
    .await?;
    if renamed.is_empty() {
        return Ok((0, 0));
    }
    let renamed = json!(renamed.iter().map(|id| [id]).collect::<Vec<_>>()).to_string();
    deliveries::redeliver(conn, &renamed, place.now).await
}

/// Updates lines with the same recording and options: a newer signature, another path of the same file and other carried
/// cells replace the old ones.
async fn refresh_same(conn: &mut Conn, place: SetPlace, good: &PackedLines) -> Result<(), StoreError> {
    // A self-join would read the table once for each line.
    let (incoming, same) = (incoming(good.speaks()), SAME_SOURCE.replace("j.", "jobs."));
    query(format!(
        r"-- submit::refresh_same: nearly all lines have the same options, and are not to be found by those.
          WITH i AS MATERIALIZED ({incoming})
          UPDATE jobs
          SET source = i.source, carried = i.carried, line = i.line, overrides = i.overrides, source_id = i.source_id,
            source_bytes = i.source_bytes, source_etag = i.source_etag, source_path = i.source_path,
            source_mtime = i.source_mtime, source_inode = i.source_inode
          FROM i
          WHERE jobs.batch = $2 AND jobs.key = i.key AND jobs.variant = i.variant AND jobs.state <> 'superseded'
            AND {same} AND NOT (jobs.options_id <> i.options_id)
            AND (jobs.source IS DISTINCT FROM i.source OR jobs.carried IS DISTINCT FROM i.carried OR jobs.line <> i.line
              OR jobs.overrides IS DISTINCT FROM i.overrides OR jobs.source_id <> i.source_id
              OR jobs.source_bytes IS DISTINCT FROM i.source_bytes OR jobs.source_path IS DISTINCT FROM i.source_path
              OR jobs.source_mtime IS DISTINCT FROM i.source_mtime OR jobs.source_inode IS DISTINCT FROM i.source_inode)"
    ))
    .bind(&*good.json)
    .bind(place.batch)
    .execute(&mut *conn)
    .await?;
    query(
        r"-- submit::refresh_same: a line that was bad and is mended stands under its own key now.
            UPDATE jobs
            SET state = 'superseded'
            WHERE batch = $2 AND state = 'failed' AND error_kind = 'bad_line' AND forget IS NULL AND fed_from IS NULL
              AND line IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r)",
    )
    .bind(&*good.json)
    .bind(place.batch)
    .execute(conn)
    .await?;
    Ok(())
}

async fn supersede(conn: &mut Conn, place: SetPlace, good: &PackedLines) -> Result<u64, StoreError> {
    let incoming = incoming(good.speaks());
    let old: Vec<(i64, bool)> = query_as(format!(
        r"-- submit::supersede: whose process is gone has no worker any more, though its token still stands there.
          WITH i AS MATERIALIZED ({incoming})
          SELECT j.id, j.token IS NOT NULL AND EXISTS (SELECT 1 FROM processes AS p WHERE p.id = j.process)
          FROM i
          JOIN jobs AS j ON j.batch = $2 AND j.key = i.key AND j.variant = i.variant AND j.state <> 'superseded'
          WHERE NOT {SAME_SOURCE} OR ({SAME_SOURCE} AND j.options_id <> i.options_id)"
    ))
    .bind(&*good.json)
    .bind(place.batch)
    .fetch_all(&mut *conn)
    .await?;
    if old.is_empty() {
        return Ok(0);
    }
    let ids = |held: Option<bool>| {
        let ids = old.iter().filter(|(_, is_held)| held.is_none_or(|held| held == *is_held));
        json!(ids.map(|(id, _)| json!([id])).collect::<Vec<_>>()).to_string()
    };
    let (idle, held, all) = (ids(Some(false)), ids(Some(true)), ids(None));
    control::give_up_open_calls_of(conn, &idle, place.now).await?;
    // supersede: an active worker shows by its token that it has not stopped.
    for (ids, token) in [(&idle, ", token = NULL, process = NULL"), (&held, "")] {
        query(format!(
            r"-- submit::supersede
              UPDATE jobs
              SET state = 'superseded', due_at = NULL{token}
              WHERE id IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r)"
        ))
        .bind(ids)
        .execute(&mut *conn)
        .await?;
    }
    query(format!(
        r"-- submit::supersede: its place in the report is the old one's. Its start waits until the old one's worker has stopped, or that
          -- of the one for which the old one waited itself.
          WITH i AS MATERIALIZED ({incoming})
          INSERT INTO jobs (batch, ordinal, line, key, source, source_id, options_id, overrides, carried, kind, pool, source_bytes,
            source_etag, source_path, source_mtime, source_inode, variant, text, units, state, lane, due_at, after, submitted_at,
            finished_at)
          SELECT o.batch, o.ordinal, i.line, i.key, i.source, i.source_id, i.options_id, i.overrides, i.carried, $4, i.pool,
            i.source_bytes, i.source_etag, i.source_path, i.source_mtime, i.source_inode, i.variant, i.text,
            i.units,
            CASE WHEN i.source IS NULL AND i.text IS NULL THEN 'skipped' ELSE 'queued' END,
            CASE WHEN i.source IS NULL AND i.text IS NULL THEN 'free' ELSE i.pool END,
            CASE WHEN i.source IS NULL AND i.text IS NULL THEN NULL WHEN h.id IS NULL THEN $3 ELSE $3 + 60000 END,
            h.id, $3,
            CASE WHEN i.source IS NULL AND i.text IS NULL THEN $3 END
          FROM rows_of($2) AS c
          JOIN jobs AS o ON o.id = CAST(c.v ->> 0 AS BIGINT)
          JOIN i ON i.key = o.key AND i.variant = o.variant
          LEFT JOIN jobs AS h ON h.id = CASE WHEN o.token IS NULL THEN o.after ELSE o.id END AND h.token IS NOT NULL"
    ))
    .bind(&*good.json)
    .bind(&all)
    .bind(place.now)
    .bind(place.task)
    .execute(conn)
    .await?;
    Ok(u64::try_from(old.len()).unwrap_or(0))
}

async fn insert_new(conn: &mut Conn, place: SetPlace, good: &PackedLines) -> Result<u64, StoreError> {
    let incoming = incoming(good.speaks());
    let inserted = query(format!(
        r"-- submit::insert_new
          INSERT INTO jobs (batch, ordinal, line, key, source, source_id, options_id, overrides, carried, kind, pool, source_bytes,
            source_etag, source_path, source_mtime, source_inode, variant, text, units, state, lane, due_at, submitted_at,
            finished_at, outputs, notes)
          SELECT $2, $3 + 1 + place, line, key, source, source_id, options_id, overrides, carried, $5, pool, source_bytes,
            source_etag, source_path, source_mtime, source_inode, variant, text, units,
            CASE WHEN adopted IS NOT NULL THEN 'succeeded' WHEN source IS NULL AND text IS NULL THEN 'skipped' ELSE 'queued' END,
            CASE WHEN adopted IS NOT NULL OR (source IS NULL AND text IS NULL) THEN 'free' ELSE pool END,
            CASE WHEN adopted IS NOT NULL OR (source IS NULL AND text IS NULL) THEN NULL ELSE $4 END,
            $4,
            CASE WHEN adopted IS NOT NULL OR (source IS NULL AND text IS NULL) THEN $4 END,
            adopted,
            CASE WHEN adopted IS NOT NULL THEN 'adopted' END
          FROM ({incoming}) AS i
          WHERE 1 = 1
          ON CONFLICT DO NOTHING"
    ))
    .bind(&*good.json)
    .bind(place.batch)
    .bind(place.ordinal)
    .bind(place.now)
    .bind(place.task)
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected())
}

async fn insert_bad(conn: &mut Conn, place: SetPlace, bad: &str) -> Result<(), StoreError> {
    if bad == "[]" {
        return Ok(());
    }
    // insert_bad: `finished_at` is when it was last read as bad. Once all lines are read, older ones are corrected lines.
    let incoming = incoming_bad();
    query(format!(
        r"-- submit::insert_bad
          INSERT INTO jobs (batch, ordinal, line, key, source_id, options_id, carried, kind, pool, state, lane, submitted_at,
            finished_at, error_kind, error)
          SELECT $2, $4 + 1 + place, line, key, $6, $6, carried, $5, '', 'failed', 'free', $3, $3, 'bad_line', fault
          FROM ({incoming}) AS i
          WHERE NOT EXISTS (
            SELECT 1 FROM jobs AS o
            WHERE o.batch = $2 AND o.key = i.key AND o.state <> 'superseded' AND o.error_kind IS DISTINCT FROM 'bad_line')
          ON CONFLICT (batch, key, variant) WHERE state <> 'superseded'
            DO UPDATE SET error = excluded.error, carried = excluded.carried, line = excluded.line,
              finished_at = excluded.finished_at
            WHERE jobs.error_kind = 'bad_line' AND jobs.forget IS NULL"
    ))
    .bind(bad)
    .bind(place.batch)
    .bind(place.now)
    .bind(place.ordinal)
    .bind(place.task)
    .bind(Identity([0; 16]))
    .execute(conn)
    .await?;
    Ok(())
}
