//! Jobs of many parts: their journals in one read, and the parts that needed no call.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use serde_json::json;

use crate::store::engine::db::{Conn, query, query_as, query_scalar};
use crate::store::{
    Store, StoreError,
    engine::packed::unpack,
    engine::rows::{self, call_columns},
};
use crate::{
    clock::{Millis, boot_id},
    domain::{
        identity::Identity,
        job::{BatchId, JobId, Journals, Token},
        task::TaskSpec,
    },
};

/// How many jobs' texts are read at once.
const JOBS_AT_ONCE: i64 = 200;

/// Whether everything that a job bought is kept: its parts were planned, and each was in the audio cache, or was answered
/// by a call whose clip or answer is kept.
macro_rules! is_kept {
    ($job:literal) => {
        concat!(
            "(EXISTS (SELECT 1 FROM job_parts AS p WHERE p.job = ",
            $job,
            ".id) AND NOT EXISTS (
               SELECT 1 FROM job_parts AS p
               WHERE p.job = ",
            $job,
            ".id AND p.reused = 0 AND NOT EXISTS (
                 SELECT 1 FROM calls AS k
                 WHERE k.job = p.job AND k.part = p.part AND k.take = p.take AND k.state = 'answered'
                   AND (k.cache_key IS NOT NULL OR EXISTS (SELECT 1 FROM answers AS a WHERE a.call = k.id)))))"
        )
    };
}
pub(in crate::store) use is_kept;

/// A part of a job, as planned before its first call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedPart {
    /// Which part.
    pub part: i64,
    /// The name of its clip in the audio cache.
    pub cache_key: Identity,
    /// Length of its text, in Unicode scalar values.
    pub characters: u32,
    /// Whether the clip is there, so that this job needs no call for it.
    pub reused: bool,
}

async fn is_mine(conn: &mut Conn, job: JobId, token: Token) -> Result<bool, StoreError> {
    let sql = r"-- parts::is_mine
            SELECT EXISTS (SELECT 1 FROM jobs WHERE id = $1 AND token = $2 AND state = 'running')";
    query_scalar(sql).bind(job).bind(token).fetch_one(conn).await
}

/// The cache keys of the parts that a job with these settings and this text can use again.
pub type JobKeys = Box<dyn Fn(&str, &str) -> Vec<Identity> + Send + Sync>;

/// The tasks, as the audio cache knows them: which clips do jobs need that were not worked yet?
pub trait PartKeys: Sync {
    /// The rule for the jobs of a batch with this specification. `None`: its task buys no parts, or cannot read it.
    fn of_batch(&self, spec: &TaskSpec) -> Option<JobKeys>;
}

impl Store {
    /// The journals of all parts of a job: calls since the user's last `retry`, and every open or answered call.
    pub async fn journals(&self, job: JobId, generation: i64) -> Result<Journals, StoreError> {
        let mut journals = Journals::default();
        // journals
        let calls = query(concat!(
            "SELECT ",
            call_columns!(),
            " FROM calls AS c
             WHERE c.job = $4 AND (c.generation = $5 OR c.state IN ('sent', 'accepted', 'answered'))
             ORDER BY c.id"
        ))
        .bind(self.now())
        .bind(self.clock().boot())
        .bind(boot_id())
        .bind(job)
        .bind(generation)
        .fetch_all(&self.read)
        .await?;
        for row in &calls {
            journals.parts.entry(row.try_get("part")?).or_default().calls.push(rows::call_record(row)?);
        }
        let parts: Vec<(i64, Option<Identity>, bool, Option<Millis>)> =
            query_as("SELECT part, cache_key, reused = 1, forced_at FROM job_parts WHERE job = $1")
                .bind(job)
                .fetch_all(&self.read)
                .await?;
        for (part, planned, reused, forced_at) in parts {
            journals.planned.extend(planned.map(|planned| (part, planned)));
            journals.forced.extend(forced_at.map(|at| (part, at)));
            if reused {
                journals.reused.insert(part);
            }
        }
        Ok(journals)
    }

    /// Records the plan of a job's parts, before its first call. A part that another version of wavebatch planned
    /// differently is bought again. `false`: the lease was lost.
    pub async fn plan_parts(&self, job: JobId, token: Token, parts: &[PlannedPart]) -> Result<bool, StoreError> {
        let set = part_rows(parts);
        self.write(move |conn, _| {
            let set = set.clone();
            Box::pin(async move {
                let mine = is_mine(conn, job, token).await?;
                if mine {
                    plan(conn, job, &set).await?;
                }
                Ok(mine)
            })
        })
        .await
    }

    /// Whether any job has bought this clip at that moment (ms since 1970) or later, and that call still counts. Then the
    /// clip in the spool is not the one that was there before.
    pub async fn bought_since(&self, cache_key: Identity, at: Millis) -> Result<bool, StoreError> {
        query_scalar(
            r"-- parts::bought_since
              SELECT EXISTS (
                SELECT 1 FROM calls
                WHERE cache_key = $1 AND cache_key IS NOT NULL AND state = 'answered' AND ended_at >= $2)",
        )
        .bind(cache_key)
        .bind(at)
        .fetch_one(&self.read)
        .await
    }

    /// Records that the clips of these planned parts are in the audio cache. `false`: the lease was lost. A clip that is
    /// recorded first and searched for afterwards cannot be pruned in between.
    pub async fn reuse(&self, job: JobId, token: Token, parts: Vec<i64>) -> Result<bool, StoreError> {
        let set = json!(parts.iter().map(|part| [part]).collect::<Vec<_>>()).to_string();
        self.write(move |conn, _| {
            let set = set.clone();
            Box::pin(async move {
                let mine = is_mine(conn, job, token).await?;
                if mine {
                    query(
                        r"-- parts::reuse
                            UPDATE job_parts
                            SET reused = 1
                            WHERE job = $2 AND part IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r)",
                    )
                    .bind(set)
                    .bind(job)
                    .execute(conn)
                    .await?;
                }
                Ok(mine)
            })
        })
        .await
    }

    /// Sets parts of a job aside, bought or reused: they are bought again. `false`: the lease was lost.
    pub async fn set_parts_aside(&self, job: JobId, token: Token, parts: Vec<i64>) -> Result<bool, StoreError> {
        let set = json!(parts.iter().map(|part| [part]).collect::<Vec<_>>()).to_string();
        self.write(move |conn, _| {
            let set = set.clone();
            Box::pin(async move {
                let mine = is_mine(conn, job, token).await?;
                if mine {
                    for statement in [
                        r"-- parts::set_parts_aside
                          UPDATE calls
                          SET state = 'replaced'
                          WHERE job = $2 AND state = 'answered' AND part IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r)",
                        r"-- parts::set_parts_aside
                          UPDATE job_parts
                          SET reused = 0
                          WHERE job = $2 AND part IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r)",
                    ] {
                        query(statement).bind(&set).bind(job).execute(&mut *conn).await?;
                    }
                }
                Ok(mine)
            })
        })
        .await
    }

    /// The clips that the spool must keep: those that unfinished jobs have bought or reused or will need, and those that
    /// are bought now.
    pub async fn needed_cache_keys(&self, tasks: &dyn PartKeys) -> Result<HashSet<Identity>, StoreError> {
        let needed: Vec<Identity> = query_scalar(
            r"-- parts::needed_cache_keys
              SELECT c.cache_key
              FROM jobs AS j
              JOIN calls AS c ON c.job = j.id
              WHERE (j.due_at IS NOT NULL OR j.token IS NOT NULL) AND c.state = 'answered' AND c.cache_key IS NOT NULL
              UNION
              SELECT p.cache_key
              FROM jobs AS j
              JOIN job_parts AS p ON p.job = j.id
              WHERE (j.due_at IS NOT NULL OR j.token IS NOT NULL) AND p.cache_key IS NOT NULL
                AND (p.reused = 1 OR p.forced_at IS NULL)
              UNION
              SELECT cache_key FROM calls WHERE state IN ('sent', 'accepted') AND cache_key IS NOT NULL",
        )
        .fetch_all(&self.read)
        .await?;
        let mut needed = needed.into_iter().collect();
        self.add_asked_for(tasks, &mut needed).await?;
        Ok(needed)
    }

    /// Adds the clips of unfinished jobs that were not planned yet. Only the changed parts of an edited text are bought,
    /// and no row shows the others until its job is worked.
    async fn add_asked_for(&self, tasks: &dyn PartKeys, needed: &mut HashSet<Identity>) -> Result<(), StoreError> {
        let (mut after, mut batches) = (0_i64, HashMap::new());
        loop {
            let rows = query(
                r"-- parts::add_asked_for
                  SELECT j.id, j.batch, j.overrides, t.packed, t.bytes, t.body
                  FROM jobs AS j
                  JOIN texts AS t ON t.id = j.text
                  WHERE j.id > $1 AND j.due_at IS NOT NULL
                    AND NOT EXISTS (SELECT 1 FROM job_parts AS p WHERE p.job = j.id AND p.cache_key IS NOT NULL)
                  ORDER BY j.id
                  LIMIT $2",
            )
            .bind(after)
            .bind(JOBS_AT_ONCE)
            .fetch_all(&self.read)
            .await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.try_get("id")?;
            for row in &rows {
                let batch: BatchId = row.try_get("batch")?;
                if let Entry::Vacant(unread) = batches.entry(batch) {
                    let row = self.batch_by_id(batch).await?;
                    // A batch whose specification cannot be read cannot be worked either.
                    unread.insert(row.spec.read().ok().and_then(|spec| tasks.of_batch(&spec.task)));
                }
                let overrides: Option<String> = row.try_get("overrides")?;
                if let Some((keys, overrides)) = batches[&batch].as_ref().zip(overrides) {
                    let text = unpack(row)?;
                    needed.extend(keys(&overrides, std::str::from_utf8(&text).unwrap_or_default()));
                }
            }
        }
    }
}

fn part_rows(parts: &[PlannedPart]) -> String {
    json!(
        parts
            .iter()
            .map(|part| json!([part.part, part.cache_key.hex(), part.characters, u8::from(part.reused)]))
            .collect::<Vec<_>>()
    )
    .to_string()
}

async fn plan(conn: &mut Conn, job: JobId, set: &str) -> Result<(), StoreError> {
    query(
        r"-- parts::plan: what was bought for another text of that part is not this part.
            UPDATE calls
            SET state = 'replaced'
            WHERE job = $2 AND state = 'answered' AND part IN (
              SELECT p.part
              FROM rows_of($1) AS r
              JOIN job_parts AS p ON p.job = $2 AND p.part = CAST(r.v ->> 0 AS BIGINT)
              WHERE p.cache_key <> unhex(r.v ->> 1))",
    )
    .bind(set)
    .bind(job)
    .execute(&mut *conn)
    .await?;
    query(r"-- parts::plan
          INSERT INTO job_parts (job, part, cache_key, units, reused)
          SELECT $2, CAST(v ->> 0 AS BIGINT), unhex(v ->> 1), CAST(v ->> 2 AS BIGINT), CAST(v ->> 3 AS BIGINT)
          FROM rows_of($1) AS r
          WHERE 1 = 1
          ON CONFLICT (job, part) DO UPDATE SET cache_key = excluded.cache_key, units = excluded.units, reused = excluded.reused")
    .bind(set)
    .bind(job)
    .execute(conn)
    .await?;
    Ok(())
}
