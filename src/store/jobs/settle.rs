//! The next state of a claimed job: finished, or back in the queue. Every write matches job, state and token; zero rows
//! mean that the lease was lost, and the transition is dropped.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
};

use serde_json::json;
use sqlx::{Row, SqliteConnection};

use crate::store::{OutputFile, StoreError, StoreShared, batches::control, batches::pauses, engine::sql::sql};
use crate::{
    clock::Millis,
    domain::{
        call::ErrorKind,
        facts::Facts,
        job::{BatchId, CallId, JobId, JobState, Token},
        pool::{Lane, Pool},
        retry::PauseKind,
    },
};

/// How many settled lines are enough to judge the share of failures.
const SETTLED_TO_JUDGE: i64 = 100;

/// The next state of one job.
#[derive(Debug)]
pub struct Settlement {
    /// The job.
    pub job: JobId,
    /// Its batch.
    pub batch: BatchId,
    /// Its lease.
    pub token: Token,
    /// The next state.
    pub to: To,
}

/// The possible next states.
#[derive(Debug)]
pub enum To {
    /// The job is finished.
    Finished(Box<Finish>),
    /// The job is due again at a moment.
    Queued {
        /// The moment.
        due_at: Millis,
        /// The pool, if a call is to be made then; otherwise no call is needed.
        call: Option<Pool>,
        /// Whether the source used up a try.
        source_try: bool,
    },
    /// The job is due again when its call is answered or overdue.
    Awaiting {
        /// The call. If it is no longer open, the job is due at once.
        call: CallId,
        /// The latest moment.
        until: Millis,
    },
    /// The job is due again when a call has ended: a call of another job for the same clip, or its own call in a live
    /// process. It makes no call and uses up no try.
    Waiting {
        /// The call. If it has ended meanwhile, the job is due at once.
        call: CallId,
        /// The latest moment.
        until: Millis,
    },
}

/// The result of a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It was written as intended.
    Done,
    /// The batch's specification changed meanwhile: the bought answer is kept, and the job is due once more.
    Again,
    /// The lease was lost, and nothing was written.
    Lost,
}

/// Everything that the report shows of a finished job.
#[derive(Debug, Default)]
pub struct Finish {
    /// The batch's specification that its outputs were made by; none if it has no outputs.
    pub made_by: Option<Arc<str>>,
    /// Succeeded, suspect or failed.
    pub state: Option<JobState>,
    /// The known facts about it; earlier facts stay where this has none.
    pub facts: Facts,
    /// How much it bought, in the units of its task, where that is known now.
    pub units: Option<u64>,
    /// Why it failed or is suspect.
    pub error_kind: Option<String>,
    /// The reason in words.
    pub error: Option<String>,
    /// The vendor's id of the request that counts.
    pub request_id: Option<String>,
    /// Notes, joined by `;`.
    pub notes: Option<String>,
    /// `x-content-expiry`.
    pub content_expiry: Option<String>,
    /// JSON array of receipts.
    pub outputs: Option<String>,
    /// Time of the call that counts, in ms.
    pub processing_ms: Option<i64>,
    /// Whether the source used up a try.
    pub source_try: bool,
    /// The parts that make it suspect.
    pub doubtful: Vec<i64>,
    /// Its files, all of which are written with these checksums.
    pub files: Vec<OutputFile>,
    /// Whether it may have had other files before.
    pub rewritten: bool,
}

impl Finish {
    /// A failure.
    #[must_use]
    pub fn failed(kind: ErrorKind, error: String) -> Self {
        Self {
            state: Some(JobState::Failed),
            error_kind: Some(kind.to_string()),
            error: Some(error),
            ..Self::default()
        }
    }
}

pub(in crate::store) async fn settle(
    conn: &mut SqliteConnection,
    shared: &StoreShared,
    settlements: &[&Settlement],
    now: Millis,
) -> Result<Vec<Settled>, StoreError> {
    if settlements.is_empty() {
        return Ok(Vec::new());
    }
    let outdated = outdated(conn, settlements).await?;
    let first_seq = take_seq(conn, settlements, &outdated, now).await?;
    let rows = sqlx::query(sql(
        r"-- settle::settle
          UPDATE jobs
          SET state = v ->> 'state', token = NULL, process = NULL, waits_for = unhex(v ->> 'waits'),
            due_at = CASE
              WHEN wanted = 'dropped' AND v ->> 'state' = 'queued' THEN NULL
              WHEN v ->> 'until' IS NULL OR EXISTS (
                SELECT 1 FROM calls AS c WHERE c.id = unhex(v ->> 'until') AND c.state IN ('sent', 'accepted'))
              THEN CAST(v ->> 'due' AS BIGINT) ELSE $2 END,
            lane = v ->> 'lane',
            source_tries = source_tries + CAST(v ->> 'source_try' AS BIGINT),
            finished_at = CASE WHEN v ->> 'due' IS NULL THEN $2 END,
            seq = coalesce(CAST(v ->> 'seq' AS BIGINT), seq),
            units = coalesce(CAST(v ->> 'units' AS BIGINT), units), facts = coalesce(v ->> 'facts', facts),
            error_kind = v ->> 'error_kind', error = v ->> 'error', request_id = coalesce(v ->> 'request_id', request_id),
            notes = v ->> 'notes', content_expiry = coalesce(v ->> 'expiry', content_expiry),
            outputs = coalesce(v ->> 'outputs', outputs),
            processing_ms = coalesce(CAST(v ->> 'processing_ms' AS BIGINT), processing_ms)
          FROM rows_of($1) AS r
          WHERE jobs.id = CAST(v ->> 'job' AS BIGINT) AND jobs.token = CAST(v ->> 'token' AS BIGINT) AND jobs.state = 'running'
          RETURNING jobs.id, jobs.seq, due_at IS NULL AND EXISTS (
            SELECT 1 FROM calls AS c WHERE c.job = jobs.id AND c.state IN ('sent', 'accepted')) AS open",
    ))
    .bind(set(settlements, &outdated, first_seq, now))
    .bind(now)
    .fetch_all(&mut *conn)
    .await?;
    let (mut held, mut open) = (HashSet::new(), false);
    for row in &rows {
        held.insert(row.try_get::<i64, _>("id")?);
        open |= row.try_get::<bool, _>("open")?;
    }
    let all_held = held.len() == settlements.len();
    if !all_held {
        close_gaps(conn, settlements, (&outdated, &held), first_seq).await?;
        release_superseded(conn, settlements, now).await?;
    }
    if open || !all_held {
        close_books(conn, settlements, now).await?;
    }
    let settled = |s: &&Settlement| match (held.contains(&s.job.0), outdated.contains(&s.job.0)) {
        (false, _) => Settled::Lost,
        (true, true) => Settled::Again,
        (true, false) => Settled::Done,
    };
    let replies: Vec<Settled> = settlements.iter().map(settled).collect();
    let done: HashSet<i64> = held.difference(&outdated).copied().collect();
    note_doubts(conn, settlements, &done).await?;
    note_files(conn, settlements, &done).await?;
    if shared.probes.load(Ordering::Relaxed) {
        end_probes(conn, settlements, &done, now).await?;
    }
    judge(conn, settlements, &done, now).await?;
    Ok(replies)
}

/// Jobs whose outputs were made by a specification that their batch no longer has.
async fn outdated(conn: &mut SqliteConnection, settlements: &[&Settlement]) -> Result<HashSet<i64>, StoreError> {
    let made: Vec<(&Settlement, &str)> = settlements
        .iter()
        .filter_map(|s| if let To::Finished(f) = &s.to { f.made_by.as_deref().map(|spec| (*s, spec)) } else { None })
        .collect();
    let mut batches: Vec<i64> = made.iter().map(|(s, _)| s.batch.0).collect();
    batches.sort_unstable();
    batches.dedup();
    let mut outdated = HashSet::new();
    for batch in batches {
        let spec: String =
            sqlx::query_scalar("SELECT spec FROM batches WHERE id = $1").bind(batch).fetch_one(&mut *conn).await?;
        outdated.extend(made.iter().filter(|(s, read)| s.batch.0 == batch && *read != spec).map(|(s, _)| s.job.0));
    }
    Ok(outdated)
}

/// Whether this ends the job, which then takes a number.
fn is_numbered(s: &Settlement, outdated: &HashSet<i64>) -> bool {
    matches!(s.to, To::Finished(_)) && !outdated.contains(&s.job.0)
}

/// Takes the ledger's next numbers, one for each job that ends. Returns the first.
async fn take_seq(
    conn: &mut SqliteConnection,
    settlements: &[&Settlement],
    outdated: &HashSet<i64>,
    now: Millis,
) -> Result<i64, StoreError> {
    let n = settlements.iter().filter(|s| is_numbered(s, outdated)).count();
    if n == 0 {
        return Ok(0);
    }
    let n = i64::try_from(n).unwrap_or(i64::MAX);
    let last: i64 = sqlx::query_scalar(
        r"-- settle::take_seq
          UPDATE ledger
          SET seq = seq + $1, newest_at = CASE WHEN $2 > newest_at THEN $2 ELSE newest_at END
          RETURNING seq",
    )
    .bind(n)
    .bind(now)
    .fetch_one(conn)
    .await?;
    Ok(last - n + 1)
}

/// Closes gaps: jobs whose lease was lost took no number, and the other jobs move up.
async fn close_gaps(
    conn: &mut SqliteConnection,
    settlements: &[&Settlement],
    (outdated, held): (&HashSet<i64>, &HashSet<i64>),
    first: i64,
) -> Result<(), StoreError> {
    let numbered: Vec<_> = settlements.iter().filter(|s| is_numbered(s, outdated)).collect();
    let kept: Vec<_> = numbered.iter().filter(|s| held.contains(&s.job.0)).collect();
    let lost = i64::try_from(numbered.len() - kept.len()).unwrap_or(0);
    if lost == 0 {
        return Ok(());
    }
    let set: Vec<_> = kept.iter().zip(first..).map(|(s, seq)| json!([s.job.0, seq])).collect();
    sqlx::query(sql(r"-- settle::close_gaps
            UPDATE jobs
            SET seq = CAST(r.v ->> 1 AS BIGINT)
            FROM rows_of($1) AS r
            WHERE jobs.id = CAST(r.v ->> 0 AS BIGINT)"))
    .bind(json!(set).to_string())
    .execute(&mut *conn)
    .await?;
    sqlx::query("UPDATE ledger SET seq = seq - $1").bind(lost).execute(conn).await?;
    Ok(())
}

fn set(settlements: &[&Settlement], outdated: &HashSet<i64>, first_seq: i64, now: Millis) -> String {
    let mut next_seq = first_seq;
    let set: Vec<serde_json::Value> = settlements
        .iter()
        .map(|s| match &s.to {
            To::Finished(_) if outdated.contains(&s.job.0) => json!({
                "job": s.job.0, "token": s.token.0, "state": JobState::Queued, "due": now, "lane": Lane::Free, "source_try": 0,
            }),
            To::Queued { due_at, call, source_try } => json!({
                "job": s.job.0, "token": s.token.0, "state": JobState::Queued, "due": due_at,
                "lane": Lane::from(*call), "source_try": u8::from(*source_try),
            }),
            To::Waiting { call, until } => json!({
                "job": s.job.0, "token": s.token.0, "state": JobState::Queued, "due": until, "lane": Lane::Free,
                "source_try": 0, "waits": call.0.simple().to_string(), "until": call.0.simple().to_string(),
            }),
            To::Awaiting { call, until } => json!({
                "job": s.job.0, "token": s.token.0, "state": JobState::Awaiting, "due": until, "lane": Lane::Free,
                "source_try": 0, "until": call.0.simple().to_string(),
            }),
            To::Finished(f) => {
                next_seq += 1;
                json!({
                    "job": s.job.0, "token": s.token.0, "state": f.state, "lane": Lane::Free, "seq": next_seq - 1,
                    "source_try": u8::from(f.source_try), "units": f.units, "facts": f.facts.to_json(),
                    "error_kind": f.error_kind, "error": f.error, "request_id": f.request_id, "notes": f.notes,
                    "expiry": f.content_expiry, "outputs": f.outputs, "processing_ms": f.processing_ms,
                })
            }
        })
        .collect();
    serde_json::Value::from(set).to_string()
}

/// Records the files of the jobs just settled. Files that such a job no longer writes lose their owner.
async fn note_files(
    conn: &mut SqliteConnection,
    settlements: &[&Settlement],
    done: &HashSet<i64>,
) -> Result<(), StoreError> {
    let (mut written, mut again) = (Vec::new(), Vec::new());
    for s in settlements.iter().filter(|s| done.contains(&s.job.0)) {
        let To::Finished(finish) = &s.to else { continue };
        written.extend(finish.files.iter().map(|file| json!([s.batch.0, file.path, s.job.0, file.checksum])));
        if finish.rewritten && !finish.files.is_empty() {
            again.push(json!([s.job.0]));
        }
    }
    if written.is_empty() {
        return Ok(());
    }
    let written = json!(written).to_string();
    sqlx::query(sql(r"-- settle::note_files
            INSERT INTO outputs (batch, path, job, checksum)
            SELECT CAST(v ->> 0 AS BIGINT), v ->> 1, CAST(v ->> 2 AS BIGINT), v ->> 3 FROM rows_of($1) AS r WHERE 1 = 1
            ON CONFLICT (batch, path) DO UPDATE SET job = excluded.job, checksum = excluded.checksum"))
    .bind(&written)
    .execute(&mut *conn)
    .await?;
    if !again.is_empty() {
        sqlx::query(sql(
            r"-- settle::note_files
              DELETE FROM outputs
              WHERE job IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($2) AS r)
                AND path NOT IN (SELECT w.v ->> 1 FROM rows_of($1) AS w WHERE CAST(w.v ->> 2 AS BIGINT) = outputs.job)",
        ))
        .bind(&written)
        .bind(json!(again).to_string())
        .execute(conn)
        .await?;
    }
    Ok(())
}

/// Records what a `retry` of a suspect job will buy.
async fn note_doubts(
    conn: &mut SqliteConnection,
    settlements: &[&Settlement],
    done: &HashSet<i64>,
) -> Result<(), StoreError> {
    let mut set = Vec::new();
    for s in settlements.iter().filter(|s| done.contains(&s.job.0)) {
        if let To::Finished(finish) = &s.to {
            set.extend(finish.doubtful.iter().map(|part| json!([s.job.0, part])));
        }
    }
    if set.is_empty() {
        return Ok(());
    }
    sqlx::query(sql(r"-- settle::note_doubts
            UPDATE job_parts
            SET doubtful = 1
            WHERE (job, part) IN (SELECT CAST(v ->> 0 AS BIGINT), CAST(v ->> 1 AS BIGINT) FROM rows_of($1) AS r)"))
    .bind(serde_json::Value::from(set).to_string())
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives up and books the calls of finished (or cancelled) jobs that stayed open and that nobody waits for. Otherwise
/// their money would stay reserved for ever.
async fn close_books(conn: &mut SqliteConnection, settlements: &[&Settlement], now: Millis) -> Result<(), StoreError> {
    let jobs = json!(settlements.iter().map(|s| [s.job.0]).collect::<Vec<_>>()).to_string();
    let open = sqlx::query(sql(
        r"-- settle::close_books
          SELECT c.id
          FROM rows_of($1) AS r
          JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT)
          JOIN jobs AS j ON j.id = c.job
          WHERE c.state IN ('sent', 'accepted') AND c.process IS NULL AND j.due_at IS NULL AND j.state <> 'superseded'",
    ))
    .bind(jobs)
    .fetch_all(&mut *conn)
    .await?;
    control::give_up_all(conn, &open, now).await
}

/// The worker of a superseded job has stopped: the job's successor may start.
async fn release_superseded(
    conn: &mut SqliteConnection,
    settlements: &[&Settlement],
    now: Millis,
) -> Result<(), StoreError> {
    for s in settlements {
        let gone = sqlx::query(
            r"-- settle::release_superseded
              UPDATE jobs
              SET token = NULL, process = NULL
              WHERE id = $1 AND token = $2 AND state = 'superseded'",
        )
        .bind(s.job.0)
        .bind(s.token.0)
        .execute(&mut *conn)
        .await?;
        if gone.rows_affected() > 0 {
            control::give_up_open_calls(conn, s.job.0, now).await?;
            control::release_successors(conn, &[s.job.0], now).await?;
        }
    }
    Ok(())
}

/// Evaluates the settled lines that probe their batches.
async fn end_probes(
    conn: &mut SqliteConnection,
    settlements: &[&Settlement],
    done: &HashSet<i64>,
    now: Millis,
) -> Result<(), StoreError> {
    let probing: Vec<(i64, i64)> =
        sqlx::query_as("SELECT id, probe_job FROM batches WHERE probing = 1 AND probe_job IS NOT NULL")
            .fetch_all(&mut *conn)
            .await?;
    for s in settlements.iter().filter(|s| probing.contains(&(s.batch.0, s.job.0)) && done.contains(&s.job.0)) {
        if let To::Finished(finish) = &s.to {
            let sources = finish.error_kind.as_deref().is_some_and(|kind| kind.starts_with("source_"));
            match finish.state {
                // Another line is chosen, since this one is over.
                Some(JobState::Failed) if sources => {}
                state => pauses::end_probe(conn, s.batch, state != Some(JobState::Failed), now).await?,
            }
        }
    }
    Ok(())
}

/// Counts the settled lines, and pauses a batch if over half fail: a wrong setting must not spend all the money.
async fn judge(
    conn: &mut SqliteConnection,
    settlements: &[&Settlement],
    done: &HashSet<i64>,
    now: Millis,
) -> Result<(), StoreError> {
    let mut batches: HashMap<i64, (i64, i64)> = HashMap::new();
    for s in settlements.iter().filter(|s| done.contains(&s.job.0)) {
        if let To::Finished(f) = &s.to {
            let (well, badly) = batches.entry(s.batch.0).or_default();
            if f.state == Some(JobState::Succeeded) { *well += 1 } else { *badly += 1 }
        }
    }
    for (batch, (well, badly)) in batches {
        let row = sqlx::query(
            r"-- settle::judge
              UPDATE batches
              SET lately_well = lately_well + $1, lately_badly = lately_badly + $2
              WHERE id = $3
              RETURNING lately_well AS well, lately_badly AS badly, state = 'open' AND pause_on_failures = 1 AS judged, resumed_at",
        )
        .bind(well)
        .bind(badly)
        .bind(batch)
        .fetch_one(&mut *conn)
        .await?;
        let (well, badly): (i64, i64) = (row.try_get("well")?, row.try_get("badly")?);
        if row.try_get("judged")? && well + badly >= SETTLED_TO_JUDGE && badly > well {
            let worst: Option<(String, i64)> = sqlx::query_as(
                r"-- settle::judge
                  SELECT coalesce(error_kind, state), count(*) AS n
                  FROM jobs
                  WHERE batch = $1 AND state IN ('failed', 'suspect') AND finished_at >= $2
                  GROUP BY 1
                  ORDER BY n DESC
                  LIMIT 1",
            )
            .bind(batch)
            .bind(row.try_get::<i64, _>("resumed_at")?)
            .fetch_optional(&mut *conn)
            .await?;
            let reason = match worst {
                Some((kind, n)) => {
                    format!("{badly} of the last {} lines failed or are suspect, {n} of them with {kind}", well + badly)
                }
                None => format!("{badly} of the last {} lines failed or are suspect", well + badly),
            };
            pauses::pause_in(conn, BatchId(batch), PauseKind::Failures, &reason, now).await?;
        }
    }
    Ok(())
}
