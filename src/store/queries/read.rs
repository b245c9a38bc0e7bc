//! Reads batches, counts, jobs, and pages for the report, in short transactions on the read-only pool.

use std::{collections::HashMap, sync::PoisonError};

use crate::domain::{
    environment::Environment,
    facts::Facts,
    job::{BatchId, CallId, JobId, JobState, Token},
    pool::{Limits, Pool},
    retry::PauseKind,
    task::Unit,
};
use crate::store::engine::db::{Row, query, query_as, query_scalar};
use crate::store::{
    BatchRow, CallRow, Counts, JobDetail, JobFilter, PoolView, ReportRow, ReportScope, RowAnswer, Spending, Store,
    StoreError, calls::fence, engine::packed, engine::rows, jobs::claim,
};

const BATCHES: &str = "SELECT * FROM batches ORDER BY id";

pub(in crate::store) fn batch_row(row: &Row) -> Result<BatchRow, StoreError> {
    let kind: Option<PauseKind> = row.try_get("pause_kind")?;
    let reason: Option<String> = row.try_get("pause_reason")?;
    Ok(BatchRow {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        definition: row.try_get("definition")?,
        task: row.try_get("task")?,
        environment: row.try_get("environment")?,
        spec: row.try_get("spec")?,
        submitting_at: row.try_get("submitting_at")?,
        cancelled_at: row.try_get("cancelled_at")?,
        pause: kind.map(|k| (k, reason.unwrap_or_default())),
        spent: row.try_get("spent")?,
        reserved: row.try_get("reserved")?,
        max_spend: row.try_get("max_spend")?,
        submitted_at: row.try_get("submitted_at")?,
        started_at: row.try_get("started_at")?,
        finished_at: row.try_get("finished_at")?,
        paused_at: row.try_get("paused_at")?,
        pause_until: row.try_get("pause_until")?,
        window: Option::zip(row.try_get("window_from")?, row.try_get("window_until")?),
        fed_by: row.try_get("fed_by")?,
    })
}

impl Store {
    /// All batches, oldest first.
    pub async fn batches(&self) -> Result<Vec<BatchRow>, StoreError> {
        let rows = query(BATCHES).fetch_all(&self.read).await?;
        Ok(self.readable(&rows, batch_row))
    }

    /// Those of these batches that can be parsed. A batch that cannot is reported once, and does not affect the others.
    pub(in crate::store) fn readable<T>(&self, rows: &[Row], read: impl Fn(&Row) -> Result<T, StoreError>) -> Vec<T> {
        let read = |row| read(row).map_err(|e| self.log_unreadable(row, &e)).ok();
        rows.iter().filter_map(read).collect()
    }

    fn log_unreadable(&self, row: &Row, error: &StoreError) {
        let Ok(id) = row.try_get::<i64, _>("id") else { return };
        let name: String = row.try_get("name").unwrap_or_else(|_| id.to_string());
        if self.shared.unreadable.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
            tracing::error!(batch.name = name, error = %error.reason(), "this batch does not read, and is left alone");
        }
    }

    /// One batch by name.
    pub async fn batch(&self, name: &str) -> Result<Option<BatchRow>, StoreError> {
        let row = query("SELECT * FROM batches WHERE name = $1").bind(name).fetch_optional(&self.read).await?;
        row.as_ref().map(batch_row).transpose()
    }

    /// One batch by number.
    ///
    /// # Errors
    /// The ledger cannot be read, or has no such batch.
    pub async fn batch_by_id(&self, id: BatchId) -> Result<BatchRow, StoreError> {
        let row = query("SELECT * FROM batches WHERE id = $1").bind(id).fetch_optional(&self.read).await?;
        row.as_ref().map(batch_row).transpose()?.ok_or_else(|| StoreError::NoBatch(id.0.to_string()))
    }

    /// A batch's specification, as last submitted.
    ///
    /// # Errors
    /// There is no such batch, or the ledger cannot be read.
    pub async fn specification(&self, id: BatchId) -> Result<String, StoreError> {
        let spec = query_scalar("SELECT spec FROM batches WHERE id = $1").bind(id);
        spec.fetch_optional(&self.read).await?.ok_or_else(|| StoreError::NoBatch(id.0.to_string()))
    }

    /// Whether the worker with this token still has the job.
    pub async fn holds(&self, job: JobId, token: Token) -> Result<bool, StoreError> {
        let sql = r"-- read::holds
                SELECT EXISTS (SELECT 1 FROM jobs WHERE id = $1 AND token = $2 AND state = 'running')";
        query_scalar(sql).bind(job).bind(token).fetch_one(&self.read).await
    }

    /// Unfinished jobs of other open batches of this environment on this pool.
    pub async fn queued_elsewhere(
        &self,
        environment: Environment,
        pool: Pool,
        but: &[BatchId],
    ) -> Result<u64, StoreError> {
        let queued: i64 = query_scalar(format!(
            r"-- read::queued_elsewhere
              SELECT count(*)
              FROM jobs AS j
              JOIN batches AS b ON b.id = j.batch
              WHERE b.environment = $1 AND b.state = 'open' AND b.submitting_at IS NULL AND NOT (1 = 0 {})
                AND j.due_at IS NOT NULL AND j.pool = $2",
            claim::among("b.id", but).replacen("AND", "OR", 1)
        ))
        .bind(environment)
        .bind(pool)
        .fetch_one(&self.read)
        .await?;
        Ok(u64::try_from(queued).unwrap_or(0))
    }

    /// Jobs by state, and failures by kind.
    pub async fn counts(&self, batch: BatchId) -> Result<Counts, StoreError> {
        let mut counts = Counts::default();
        let unit: Option<Unit> =
            query_scalar("SELECT unit FROM batches WHERE id = $1").bind(batch).fetch_optional(&self.read).await?;
        // Audio that is bought is in the index; audio that is made is not.
        let audio = match unit {
            Some(Unit::AudioMs) | None => "units",
            Some(Unit::Characters) => "CAST(facts ->> 'audio_ms' AS BIGINT)",
        };
        let states = query(format!(
            r"-- read::counts
              SELECT state, count(*) AS n, coalesce(CAST(sum({audio}) AS BIGINT), 0) AS ms
              FROM jobs
              WHERE batch = $1 AND state <> 'superseded' AND wanted <> 'dropped'
              GROUP BY state"
        ))
        .bind(batch)
        .fetch_all(&self.read)
        .await?;
        for row in states {
            let state: JobState = row.try_get("state")?;
            counts.by_state.insert(state, u64::from(rows::count(&row, "n")?));
            if matches!(state, JobState::Succeeded | JobState::Suspect) {
                counts.audio_ms += rows::length(&row, "ms")?.unwrap_or(0);
            }
        }
        if counts.of(JobState::Failed) + counts.of(JobState::Suspect) > 0 {
            let failures = query(
                r"-- read::counts
                  SELECT state, coalesce(error_kind, '') AS kind, count(*) AS n, min(id) AS first
                  FROM jobs
                  WHERE batch = $1 AND state IN ('failed', 'suspect') AND wanted <> 'dropped'
                  GROUP BY state, error_kind
                  ORDER BY n DESC, kind",
            )
            .bind(batch)
            .fetch_all(&self.read)
            .await?;
            for row in failures {
                let key: String = query_scalar("SELECT key FROM jobs WHERE id = $1")
                    .bind(row.try_get::<i64, _>("first")?)
                    .fetch_one(&self.read)
                    .await?;
                counts.failures.push((
                    row.try_get("state")?,
                    row.try_get("kind")?,
                    u64::from(rows::count(&row, "n")?),
                    key,
                ));
            }
        }
        Ok(counts)
    }

    /// The cost of a batch, by model and reason.
    pub async fn spending(&self, batch: BatchId) -> Result<Vec<Spending>, StoreError> {
        let found = query(
            r"-- read::spending
              SELECT coalesce(c.request ->> 'model', c.pool) AS model, c.why, count(*) AS calls,
                count(*) FILTER (WHERE c.state NOT IN ('rejected', 'sent', 'accepted')) AS billed,
                CAST(sum(c.cost) AS BIGINT) AS cost
              FROM calls AS c
              WHERE c.batch = $1
              GROUP BY 1, 2
              ORDER BY 1, 2",
        )
        .bind(batch)
        .fetch_all(&self.read)
        .await?;
        found
            .iter()
            .map(|row| {
                Ok(Spending {
                    model: row.try_get("model")?,
                    why: row.try_get("why")?,
                    calls: u64::from(rows::count(row, "calls")?),
                    billed: u64::from(rows::count(row, "billed")?),
                    cost: row.try_get("cost")?,
                })
            })
            .collect()
    }

    /// A page of the report: jobs in the order in which they were first seen, after `(ordinal, id)`.
    pub async fn report_page(
        &self,
        batch: BatchId,
        after: (i64, i64),
        limit: u32,
        with_answers: bool,
    ) -> Result<Vec<ReportRow>, StoreError> {
        self.report_rows(batch, after, limit, with_answers, &ReportScope::default()).await
    }

    /// A page of the report, with or without answers, of the rows in this scope.
    pub async fn report_rows(
        &self,
        batch: BatchId,
        after: (i64, i64),
        limit: u32,
        with_answers: bool,
        scope: &ReportScope,
    ) -> Result<Vec<ReportRow>, StoreError> {
        let text = if with_answers { REPORT_WITH_ANSWERS } else { REPORT };
        let text = format!("{text} {} ORDER BY j.ordinal, j.id LIMIT $4", scope.lines.sql(6));
        let query = query(text.clone()).bind(batch).bind(after.0).bind(after.1).bind(limit);
        let query = query.bind(i64::from(scope.with_dropped)).bind(scope.lines.bound());
        let query = if with_answers { query.bind(LONGEST_HERE) } else { query };
        let found = query.fetch_all(&self.read).await?;
        found.iter().map(|r| report_row(r, with_answers)).collect()
    }

    /// Jobs as the report shows them, in its order.
    pub(in crate::store) async fn report_of(
        &self,
        jobs: &[JobId],
        with_answers: bool,
    ) -> Result<Vec<ReportRow>, StoreError> {
        let ids = serde_json::json!(jobs.iter().map(|job| [job.0]).collect::<Vec<_>>()).to_string();
        let query = query(if with_answers { REPORT_OF_WITH_ANSWERS } else { REPORT_OF }).bind(ids);
        let query = if with_answers { query.bind(LONGEST_HERE) } else { query };
        let found = query.fetch_all(&self.read).await?;
        found.iter().map(|r| report_row(r, with_answers)).collect()
    }

    /// The jobs of a batch that are made of these jobs of another one, each with the job that it is made of, in the order of
    /// their numbers.
    pub async fn report_made_of(
        &self,
        batch: BatchId,
        jobs: &[JobId],
        with_answers: bool,
        with_dropped: bool,
    ) -> Result<Vec<(JobId, ReportRow)>, StoreError> {
        let made: Vec<(i64, i64)> = query_as(
            r"-- read::report_made_of
              SELECT j.id, j.fed_from
              FROM rows_of($1) AS r
              JOIN jobs AS j ON j.fed_from = CAST(r.v ->> 0 AS BIGINT)
              WHERE j.batch = $2 AND j.state <> 'superseded' AND (j.wanted <> 'dropped' OR $3 = 1)",
        )
        .bind(serde_json::json!(jobs.iter().map(|job| [job.0]).collect::<Vec<_>>()).to_string())
        .bind(batch)
        .bind(i64::from(with_dropped))
        .fetch_all(&self.read)
        .await?;
        let of: HashMap<JobId, JobId> = made.into_iter().map(|(job, of)| (JobId(job), JobId(of))).collect();
        let jobs: Vec<JobId> = of.keys().copied().collect();
        let mut rows = self.report_of(&jobs, with_answers).await?;
        rows.sort_by_key(|row| row.job.0);
        Ok(rows.into_iter().filter_map(|row| Some((*of.get(&row.job)?, row))).collect())
    }

    /// Jobs with their calls.
    pub async fn jobs(&self, batch: BatchId, filter: &JobFilter) -> Result<Vec<JobDetail>, StoreError> {
        let text = format!("{JOBS} {} ORDER BY j.ordinal, j.id LIMIT $3", filter.lines.sql(2));
        let found = query(text.clone())
            .bind(batch)
            .bind(filter.lines.bound())
            .bind(filter.limit)
            .bind(i64::from(filter.with_dropped))
            .bind(filter.after.0)
            .bind(filter.after.1)
            .fetch_all(&self.read)
            .await?;
        let mut jobs = Vec::with_capacity(found.len());
        for row in &found {
            let report = report_row(row, false)?;
            let calls =
                query("SELECT * FROM calls WHERE job = $1 ORDER BY id").bind(report.job).fetch_all(&self.read).await?;
            let calls = calls.iter().map(call_row).collect::<Result<_, _>>()?;
            let doubtful = query_scalar("SELECT part FROM job_parts WHERE job = $1 AND doubtful = 1 ORDER BY part")
                .bind(report.job)
                .fetch_all(&self.read)
                .await?;
            jobs.push(JobDetail {
                row: report,
                generation: row.try_get("generation")?,
                due_at: row.try_get("due_at")?,
                calls,
                doubtful,
            });
        }
        Ok(jobs)
    }

    /// The state of a pool and its traffic, counted by `limits`.
    pub async fn pool(&self, account: &str, pool: Pool, limits: &Limits) -> Result<PoolView, StoreError> {
        let mut conn = self.read.acquire().await?;
        let now = self.moment();
        let state = rows::pool_state(&mut conn, account, pool).await?;
        let effective = state.effective(limits, now.wall);
        let traffic = fence::traffic_now(&mut conn, (account, pool), &effective, self.timing().lease_ms, &now).await?;
        Ok(PoolView { account: account.to_owned(), pool, state, traffic })
    }

    /// How many calls are open, in one batch or in all.
    pub async fn open_calls(&self, batch: Option<BatchId>) -> Result<u64, StoreError> {
        let n: i64 = query_scalar(
            r"-- read::open_calls
              SELECT count(*)
              FROM calls
              WHERE slot_until IS NOT NULL AND ($1 IS NULL OR batch = $1)",
        )
        .bind(batch.map(|b| b.0))
        .fetch_one(&self.read)
        .await?;
        Ok(u64::try_from(n).unwrap_or(0))
    }

    /// The newest call of a batch, by which `summary.json` proves the ledger's age.
    pub async fn newest_call(&self, batch: BatchId) -> Result<Option<CallId>, StoreError> {
        query_scalar("SELECT id FROM calls WHERE batch = $1 ORDER BY id DESC LIMIT 1")
            .bind(batch)
            .fetch_optional(&self.read)
            .await
    }

    /// Whether this ledger made that call.
    pub async fn knows_call(&self, call: CallId) -> Result<bool, StoreError> {
        query_scalar("SELECT EXISTS (SELECT 1 FROM calls WHERE id = $1)").bind(call).fetch_one(&self.read).await
    }
}

macro_rules! report_columns {
    () => {
        "j.id, j.ordinal, j.line, j.key, j.variant, j.state, j.wanted, j.source, j.overrides, j.carried, j.units, j.facts, j.request_id,
         (SELECT b.unit FROM batches AS b WHERE b.id = j.batch) AS unit, j.submitted_at, j.started_at, j.finished_at, j.processing_ms, j.error_kind, j.error,
         j.notes, j.content_expiry, j.outputs, j.forgotten_at, j.due_at, j.generation,
         j.source_tries + (
           SELECT CAST(coalesce(sum(counts), 0) AS BIGINT) FROM calls AS c WHERE c.job = j.id AND c.generation = j.generation) AS tries,
         EXISTS (SELECT 1 FROM calls AS c WHERE c.job = j.id AND c.generation = j.generation AND c.state = 'answered') AS answered,
         (SELECT count(*) FROM calls AS c
          WHERE c.job = j.id AND c.state IN ('answered', 'lost', 'surplus', 'replaced')) AS billed_calls,
         (SELECT CAST(coalesce(sum(cost), 0) AS BIGINT) FROM calls AS c WHERE c.job = j.id) AS cost"
    };
}
/// No join: a server that knows nothing of the tables yet may read all calls for each line.
macro_rules! answered_call {
    () => {
        "(SELECT k.id FROM calls AS k WHERE k.job = j.id AND k.part = 0 AND k.state = 'answered' ORDER BY k.take DESC LIMIT 1)"
    };
}
/// The longest body that comes with its row, in bytes as stored: that of about an hour of audio.
const LONGEST_HERE: i64 = 128 << 10;
const REPORT: &str = concat!(
    "SELECT ",
    report_columns!(),
    " FROM jobs AS j
      WHERE j.batch = $1 AND (j.ordinal, j.id) > ($2, $3) AND j.state <> 'superseded' AND (j.wanted <> 'dropped' OR $5 = 1)"
);
const REPORT_WITH_ANSWERS: &str = concat!(
    "SELECT ",
    report_columns!(),
    ", ",
    answered_call!(),
    " AS call, a.packed, a.bytes, CASE WHEN length(a.body) <= $7 THEN a.body END AS body
      FROM jobs AS j
      LEFT JOIN answers AS a ON a.call = ",
    answered_call!(),
    " WHERE j.batch = $1 AND (j.ordinal, j.id) > ($2, $3) AND j.state <> 'superseded' AND (j.wanted <> 'dropped' OR $5 = 1)"
);
const REPORT_OF: &str = concat!(
    "SELECT ",
    report_columns!(),
    " FROM jobs AS j
      WHERE j.id IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r)
      ORDER BY j.ordinal, j.id"
);
const REPORT_OF_WITH_ANSWERS: &str = concat!(
    "SELECT ",
    report_columns!(),
    ", ",
    answered_call!(),
    " AS call, a.packed, a.bytes, CASE WHEN length(a.body) <= $2 THEN a.body END AS body
      FROM jobs AS j
      LEFT JOIN answers AS a ON a.call = ",
    answered_call!(),
    " WHERE j.id IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($1) AS r)
      ORDER BY j.ordinal, j.id"
);
const JOBS: &str = concat!(
    "SELECT ",
    report_columns!(),
    " FROM jobs AS j
      WHERE j.batch = $1 AND j.state <> 'superseded' AND (j.wanted <> 'dropped' OR $4 = 1)
        AND (j.ordinal, j.id) > ($5, $6)"
);

fn report_row(row: &Row, with_answer: bool) -> Result<ReportRow, StoreError> {
    let facts = Facts::from_json(row.text_if_any("facts")?);
    // A conversation has an answer for each side, and none of them is its transcript.
    let has_one_answer = with_answer && facts.talk.is_none();
    let answer = if has_one_answer { row_answer(row)? } else { None };
    let units = rows::length(row, "units")?;
    let (audio_ms, characters) = match row.try_get("unit")? {
        Unit::AudioMs => (facts.audio_ms.or(units), None),
        Unit::Characters => (facts.audio_ms, units),
    };
    Ok(ReportRow {
        text: None,
        job: row.try_get("id")?,
        ordinal: row.try_get("ordinal")?,
        line: rows::length(row, "line")?.unwrap_or(0),
        key: row.try_get("key")?,
        state: row.try_get("state")?,
        wanted: row.try_get("wanted")?,
        source: row.try_get("source")?,
        overrides: row.try_get("overrides")?,
        carried: row.try_get("carried")?,
        audio_ms,
        channels: facts.channels,
        talk: facts.talk,
        channels_note: facts.channels_note,
        reply: facts.reply,
        tries: rows::count(row, "tries")?,
        answered: row.try_get("answered")?,
        billed_calls: rows::count(row, "billed_calls")?,
        cost: row.try_get("cost")?,
        request_id: row.try_get("request_id")?,
        submitted_at: row.try_get("submitted_at")?,
        started_at: row.try_get("started_at")?,
        finished_at: row.try_get("finished_at")?,
        processing_ms: row.try_get("processing_ms")?,
        error_kind: row.try_get("error_kind")?,
        error: row.try_get("error")?,
        notes: row.try_get("notes")?,
        content_expiry: row.try_get("content_expiry")?,
        outputs: row.try_get("outputs")?,
        forgotten_at: row.try_get("forgotten_at")?,
        answer,
        variant: row.try_get("variant")?,
        characters,
        parts: facts.parts,
        reused_parts: facts.reused_parts,
    })
}

fn row_answer(row: &Row) -> Result<Option<RowAnswer>, StoreError> {
    if row.try_get::<Option<i64>, _>("packed")?.is_none() {
        return Ok(None);
    }
    Ok(match row.is_null("body")? {
        true => rows::call_id(row, "call")?.map(RowAnswer::Apart),
        false => Some(RowAnswer::Here(packed::kept(row)?)),
    })
}

fn call_row(row: &Row) -> Result<CallRow, StoreError> {
    Ok(CallRow {
        id: row.try_get("id")?,
        part: row.try_get("part")?,
        state: row.try_get("state")?,
        why: row.try_get("why")?,
        sent_at: row.try_get("sent_at")?,
        ended_at: row.try_get("ended_at")?,
        request_id: row.try_get("request_id")?,
        status: row.try_get::<Option<i64>, _>("status")?.and_then(|n| u16::try_from(n).ok()),
        error_kind: row.try_get("error_kind")?,
        error: row.try_get("error")?,
        cost: row.try_get("cost")?,
    })
}
