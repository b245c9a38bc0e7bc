//! The first and the last step of submitting: the new specification, and its effects on the lines already there.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::store::engine::db::{Conn, query, query_scalar};
use crate::store::{Store, StoreError, StoredSpec, batches::control, jobs::deliveries};
use crate::{
    clock::Millis,
    domain::{
        environment::Environment,
        feed::FeedSettings,
        job::BatchId,
        share::DEFAULT_PRIORITY,
        task::{Asked, TaskName, Unit},
    },
};

/// How many lines one transaction handles: other processes wait for the lock meanwhile.
const LINES_AT_ONCE: i64 = 4_000;

/// Which batch feeds a new one, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFeed {
    /// The batch whose lines it takes.
    pub by: BatchId,
    /// What makes lines of them.
    pub with: FeedSettings,
}

/// A batch by its current definition.
#[derive(Debug, Clone)]
pub struct NewBatch {
    /// Unique in the ledger.
    pub name: String,
    /// The definition's name.
    pub definition: String,
    /// The environment of its calls.
    pub environment: Environment,
    /// The task for each line.
    pub task: TaskName,
    /// What the units of its jobs and calls count.
    pub unit: Unit,
    /// The complete specification.
    pub spec: StoredSpec,
    /// The spend limit over all runs, in micro-USD.
    pub max_spend: Option<i64>,
    /// How many calls may be in flight at once.
    pub concurrency: Option<u32>,
    /// Its weight, where definitions wait for calls of the same pool.
    pub priority: u32,
    /// Whether a high share of failures pauses it.
    pub pause_on_failures: bool,
    /// The batch whose finished lines are its manifest.
    pub feed: Option<NewFeed>,
}

impl NewBatch {
    /// A batch without limits.
    #[must_use]
    pub fn of<T: Asked>(name: &str, environment: Environment, spec: StoredSpec) -> Self {
        Self {
            name: name.to_owned(),
            definition: name.to_owned(),
            environment,
            task: T::TASK,
            unit: T::UNIT,
            spec,
            max_spend: None,
            concurrency: None,
            priority: DEFAULT_PRIORITY,
            pause_on_failures: true,
            feed: None,
        }
    }
}

/// The effects of a new specification on the lines of an existing batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resubmission {
    /// Whether the outputs differ: answered lines are rendered and delivered again.
    pub redeliver: bool,
    /// Whether the outputs go to another place, which has none of the files written before.
    pub elsewhere: bool,
    /// If the carried columns differ: for each new column, its index among the old ones.
    pub carried: Option<Vec<Option<usize>>>,
}

/// A batch whose lines are being submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// The batch.
    pub batch: BatchId,
    /// Whether it existed before.
    pub existed: bool,
    /// When submitting began.
    pub at: Millis,
    /// How many lines are delivered again.
    pub redelivered: u64,
    /// How many lines should be delivered again, but their answers are pruned: they stay unchanged.
    pub pruned: u64,
}

/// The work that is left for the lines of a batch, in the order of its report. It is stored with the batch, so that the
/// next submission finishes the work of a killed one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(in crate::store) struct Pending {
    /// Whether answered lines are delivered again.
    #[serde(default)]
    redeliver: bool,
    /// Whether all files are written, including those that the ledger has with the right content.
    #[serde(default)]
    force: bool,
    /// For each carried column, its index among those of the previous specification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    carried: Option<Vec<Option<usize>>>,
    /// The last line that is done: ordinal and id.
    #[serde(default)]
    after: (i64, i64),
}

impl Store {
    /// Records a new batch; or, for an existing one, the newest specification and its effects on the lines. The batch's
    /// jobs are not claimed until [`Store::end_submit`].
    pub async fn begin(&self, batch: NewBatch, again: Resubmission) -> Result<Begun, StoreError> {
        if let Some(row) = self.batch(&batch.name).await? {
            // First, a `cancel` or a submission that was killed halfway is finished.
            if row.cancelled_at.is_some() {
                self.cancel_lines(row.id).await?;
            }
            self.carry_out(row.id).await?;
        }
        let mut begun = self
            .write(move |conn, now| {
                let (batch, again) = (batch.clone(), again.clone());
                Box::pin(async move {
                    let (id, existed) = match update(conn, &batch, now).await? {
                        Some(id) => (id, true),
                        None => (insert(conn, &batch, now).await?, false),
                    };
                    let pending = Pending {
                        redeliver: again.redeliver,
                        force: again.elsewhere,
                        carried: again.carried,
                        ..Pending::default()
                    };
                    set_pending(conn, id, Some(&pending)).await?;
                    Ok(Begun { batch: id, existed, at: now, redelivered: 0, pruned: 0 })
                })
            })
            .await?;
        (begun.redelivered, begun.pruned) = self.carry_out(begun.batch).await?;
        Ok(begun)
    }

    /// Makes finished jobs with a kept answer due for delivery. Returns how many, and how many answers are pruned.
    pub async fn redeliver(&self, batch: BatchId) -> Result<(u64, u64), StoreError> {
        self.finish_cancel(batch).await?;
        self.carry_out(batch).await?;
        let pending = Pending { redeliver: true, force: true, ..Pending::default() };
        self.write(move |conn, _| {
            let pending = pending.clone();
            Box::pin(async move { set_pending(conn, batch, Some(&pending)).await })
        })
        .await?;
        self.carry_out(batch).await
    }

    /// Does the pending work, in steps. Returns how many lines are delivered again, and how many answers are pruned.
    async fn carry_out(&self, batch: BatchId) -> Result<(u64, u64), StoreError> {
        let (mut redelivered, mut pruned) = (0, 0);
        while let Some(step) =
            self.write(move |conn, now| Box::pin(async move { carry_out_some(conn, batch, now).await })).await?
        {
            redelivered += step.0;
            pruned += step.1;
            self.let_others_write().await?;
        }
        Ok((redelivered, pruned))
    }

    /// Every line was read: bad lines that were not among them are corrected or gone. Removes them, and returns how many.
    pub async fn drop_corrected(&self, begun: Begun) -> Result<u64, StoreError> {
        let mut dropped = 0;
        loop {
            let some = self
                .write(move |conn, _| {
                    Box::pin(async move {
                        let gone = query(
                            r"-- begin::drop_corrected
                              UPDATE jobs
                              SET state = 'superseded'
                              WHERE id IN (
                                SELECT id FROM jobs
                                WHERE batch = $1 AND state = 'failed' AND error_kind = 'bad_line' AND forget IS NULL AND finished_at < $2
                                LIMIT $3)",
                        )
                        .bind(begun.batch)
                        .bind(begun.at)
                        .bind(LINES_AT_ONCE)
                        .execute(conn)
                        .await?;
                        Ok(gone.rows_affected())
                    })
                })
                .await?;
            if some == 0 {
                return Ok(dropped);
            }
            dropped += some;
            self.let_others_write().await?;
        }
    }
}

async fn update(conn: &mut Conn, batch: &NewBatch, now: Millis) -> Result<Option<BatchId>, StoreError> {
    let feed = feed_of(batch);
    query_scalar(
        r"-- begin::update: a batch takes all lines of the other again if what makes its lines of them has changed.
          UPDATE batches
          SET spec = $1, max_spend = $2, concurrency = $3, pause_on_failures = $4, submitting_at = $5, cancelled_at = NULL,
            definition = $7, priority = $8,
            fed_to = CASE WHEN CAST($9 AS BIGINT) IS NULL THEN NULL
              WHEN fed_by = $9 AND fed_with = $10 AND spec = $1 THEN fed_to ELSE 0 END,
            fed_by = $9, fed_with = $10
          WHERE name = $6
          RETURNING id",
    )
    .bind(&batch.spec)
    .bind(batch.max_spend)
    .bind(batch.concurrency)
    .bind(i64::from(batch.pause_on_failures))
    .bind(now)
    .bind(&batch.name)
    .bind(&batch.definition)
    .bind(batch.priority)
    .bind(feed.as_ref().map(|(by, _)| *by))
    .bind(feed.map(|(_, with)| with))
    .fetch_optional(conn)
    .await
}

/// The batch that feeds it, and how, as the ledger has them.
fn feed_of(batch: &NewBatch) -> Option<(BatchId, String)> {
    batch.feed.as_ref().map(|feed| (feed.by, json!(feed.with).to_string()))
}

async fn insert(conn: &mut Conn, batch: &NewBatch, now: Millis) -> Result<BatchId, StoreError> {
    let feed = feed_of(batch);
    query_scalar(
        r"-- begin::insert: It has its window at once: a service that works beside the submission must not begin its calls early.
          INSERT INTO batches (name, definition, task, unit, environment, spec, state, submitting_at, max_spend, concurrency,
            pause_on_failures, submitted_at, resumed_at, window_from, window_until, priority,
            fed_by, fed_to, fed_with)
          SELECT $1, $2, $3, $10, $4, $5, 'open', $6, $7, $8, $9, $6, $6, s.window_from, s.window_until, $11, $12,
            CASE WHEN CAST($12 AS BIGINT) IS NULL THEN NULL ELSE 0 END, $13
          FROM (SELECT 1 AS one) AS o
          LEFT JOIN schedules AS s ON s.definition = $2 AND s.environment = $4
          RETURNING id",
    )
    .bind(&batch.name)
    .bind(&batch.definition)
    .bind(batch.task)
    .bind(batch.environment)
    .bind(&batch.spec)
    .bind(now)
    .bind(batch.max_spend)
    .bind(batch.concurrency)
    .bind(i64::from(batch.pause_on_failures))
    .bind(batch.unit)
    .bind(batch.priority)
    .bind(feed.as_ref().map(|(by, _)| *by))
    .bind(feed.map(|(_, with)| with))
    .fetch_one(conn)
    .await
}

async fn set_pending(conn: &mut Conn, batch: BatchId, pending: Option<&Pending>) -> Result<(), StoreError> {
    let pending = pending.filter(|pending| pending.redeliver || pending.carried.is_some());
    let json = pending.map(|pending| json!(pending).to_string());
    query("UPDATE batches SET pending = $2 WHERE id = $1").bind(batch).bind(json).execute(conn).await?;
    Ok(())
}

/// Does one step. `None`: nothing is pending any more.
async fn carry_out_some(conn: &mut Conn, batch: BatchId, now: Millis) -> Result<Option<(u64, u64)>, StoreError> {
    let pending: Option<String> = query_scalar("SELECT pending FROM batches WHERE id = $1")
        .bind(batch)
        .fetch_optional(&mut *conn)
        .await?
        .flatten();
    let Some(pending) = pending else { return Ok(None) };
    let mut pending: Pending = serde_json::from_str(&pending)
        .map_err(|e| StoreError::Unexpected(format!("what is pending of batch {}: {e}", batch.0)))?;
    let lines = query(
        r"-- begin::carry_out_some
          SELECT id, ordinal, carried
          FROM jobs
          WHERE batch = $1 AND (ordinal, id) > ($2, $3)
          ORDER BY ordinal, id
          LIMIT $4",
    )
    .bind(batch)
    .bind(pending.after.0)
    .bind(pending.after.1)
    .bind(LINES_AT_ONCE)
    .fetch_all(&mut *conn)
    .await?;
    let Some(last) = lines.last() else {
        set_pending(conn, batch, None).await?;
        return Ok(Some((0, 0)));
    };
    pending.after = (last.try_get("ordinal")?, last.try_get("id")?);
    if let Some(places) = &pending.carried {
        let mut moved = Vec::new();
        for line in &lines {
            if let Some(carried) = line.try_get::<Option<String>, _>("carried")? {
                moved.push(json!([line.try_get::<i64, _>("id")?, moved_cells(&carried, places)]));
            }
        }
        carry_over(conn, &moved).await?;
    }
    let mut done = (0, 0);
    if pending.redeliver {
        let ids =
            lines.iter().map(|line| Ok(json!([line.try_get::<i64, _>("id")?]))).collect::<Result<Vec<_>, StoreError>>();
        let ids = json!(ids?).to_string();
        if pending.force {
            deliveries::forget_checksums(conn, &ids).await?;
        }
        done = deliveries::redeliver(conn, &ids, now).await?;
        if done.0 > 0 {
            control::unfinish(conn, batch).await?;
        }
    }
    set_pending(conn, batch, Some(&pending)).await?;
    Ok(Some(done))
}

/// The cells under the current columns. A line that is no longer in the manifest keeps its own cells.
fn moved_cells(carried: &str, places: &[Option<usize>]) -> String {
    let cells: Vec<Value> = serde_json::from_str(carried).unwrap_or_default();
    let cell = |place: &Option<usize>| place.and_then(|at| cells.get(at)).cloned().unwrap_or_else(|| json!(""));
    json!(places.iter().map(cell).collect::<Vec<_>>()).to_string()
}

async fn carry_over(conn: &mut Conn, moved: &[Value]) -> Result<(), StoreError> {
    query(
        r"-- begin::carry_over
            UPDATE jobs
            SET carried = r.v ->> 1
            FROM rows_of($1) AS r
            WHERE jobs.id = CAST(r.v ->> 0 AS BIGINT) AND jobs.state <> 'superseded' AND jobs.forget IS NULL",
    )
    .bind(json!(moved).to_string())
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_go_where_their_columns_are() {
        let moved = moved_cells(r#"["a","b","c"]"#, &[Some(2), None, Some(0), Some(9)]);
        assert_eq!(moved, r#"["c","","a",""]"#);
    }
}
