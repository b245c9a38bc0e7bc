//! The next state of a claimed job: finished, or back in the queue. Every write matches job, state and token; zero rows
//! mean that the lease was lost, and the transition is dropped.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
};

use serde_json::json;

use crate::store::engine::db::{Asked, Conn, Found, Row, Trip, query, query_as};
use crate::store::{OutputFile, StoreError, StoreShared, batches::control, batches::pauses, jobs::claim};
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

/// Where the rows about settlements are.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Look {
    batches: Asked,
    seq: Asked,
}

/// What is asked about the jobs that settle.
pub(in crate::store) fn ask(trip: &mut Trip<'_>, settlements: &[&Settlement]) -> Option<Look> {
    if settlements.is_empty() {
        return None;
    }
    let mut batches: Vec<BatchId> = settlements.iter().map(|s| s.batch).collect();
    batches.sort_unstable();
    batches.dedup();
    let batches = query(format!(
        r"-- settle::ask
          SELECT id, spec, lately_well AS well, lately_badly AS badly, state = 'open' AND pause_on_failures = 1 AS judged,
            resumed_at
          FROM batches
          WHERE 1 = 1 {}",
        claim::among("id", &batches)
    ));
    Some(Look { batches: trip.ask(batches), seq: trip.ask(query("SELECT seq FROM ledger")) })
}

/// A batch whose lines settle.
struct SettledIn {
    spec: String,
    /// How many of its lines succeeded lately, and how many did not.
    lately: (i64, i64),
    /// Whether it pauses if most of them fail.
    judged: bool,
    resumed_at: Millis,
}

fn settled_in(rows: &[Row]) -> Result<HashMap<i64, SettledIn>, StoreError> {
    let mut batches = HashMap::with_capacity(rows.len());
    for row in rows {
        let batch = SettledIn {
            spec: row.try_get("spec")?,
            lately: (row.try_get("well")?, row.try_get("badly")?),
            judged: row.try_get("judged")?,
            resumed_at: row.try_get("resumed_at")?,
        };
        batches.insert(row.try_get("id")?, batch);
    }
    Ok(batches)
}

/// Jobs that are being settled.
pub(in crate::store) struct Settling<'a> {
    settlements: &'a [&'a Settlement],
    batches: HashMap<i64, SettledIn>,
    outdated: HashSet<i64>,
    first_seq: i64,
    /// Where the jobs are whose leases were still held.
    held: Asked,
}

/// Settles jobs, as soon as the trip is made. What [`ask`] asked about them is found.
pub(in crate::store) async fn settle<'a>(
    conn: &mut Conn,
    trip: &mut Trip<'_>,
    (settlements, look, found): (&'a [&'a Settlement], Option<Look>, &mut Found),
    now: Millis,
) -> Result<Option<Settling<'a>>, StoreError> {
    let Some(look) = look else { return Ok(None) };
    let batches = settled_in(&found.rows(look.batches))?;
    let outdated = outdated(settlements, &batches);
    let first_seq = take_seq(conn, (settlements, &outdated), found.one(look.seq)?.try_get("seq")?, now).await?;
    let update = query(r"-- settle::settle
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
            notes = CASE WHEN notes LIKE '%upstream_changed%' THEN coalesce((v ->> 'notes') || ';', '') || 'upstream_changed'
              ELSE v ->> 'notes' END,
            content_expiry = coalesce(v ->> 'expiry', content_expiry),
            outputs = coalesce(v ->> 'outputs', outputs),
            processing_ms = coalesce(CAST(v ->> 'processing_ms' AS BIGINT), processing_ms)
          FROM rows_of($1) AS r
          WHERE jobs.id = CAST(v ->> 'job' AS BIGINT) AND jobs.token = CAST(v ->> 'token' AS BIGINT) AND jobs.state = 'running'
          RETURNING jobs.id, jobs.seq, due_at IS NULL AND EXISTS (
            SELECT 1 FROM calls AS c WHERE c.job = jobs.id AND c.state IN ('sent', 'accepted')) AS open")
    .bind(set(settlements, &outdated, first_seq, now))
    .bind(now);
    Ok(Some(Settling { settlements, batches, outdated, first_seq, held: trip.ask(update) }))
}

impl Settling<'_> {
    /// Whether the end of it changes nothing that claims and permits look at.
    pub(in crate::store) fn pauses_nothing(&self, shared: &StoreShared) -> bool {
        let mut badly: HashMap<i64, i64> = HashMap::new();
        for s in self.settlements {
            *badly.entry(s.batch.0).or_default() += i64::from(!is_success(s));
        }
        let may_pause = |(batch, badly): (&i64, &i64)| {
            self.batches.get(batch).is_some_and(|batch| batch.judged && batch.lately.1 + badly > batch.lately.0)
        };
        !shared.probes.load(Ordering::Relaxed) && !badly.iter().any(may_pause)
    }

    /// Carries out what follows from it, once the trip is made.
    pub(in crate::store) async fn finish(
        self,
        conn: &mut Conn,
        shared: &StoreShared,
        found: &mut Found,
        now: Millis,
    ) -> Result<Vec<Settled>, StoreError> {
        let Self { settlements, batches, outdated, first_seq, held } = self;
        let rows = found.rows(held);
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
        judge(conn, settlements, (&done, &batches), now).await?;
        Ok(replies)
    }
}

/// Whether it ends a line well.
fn is_success(s: &Settlement) -> bool {
    matches!(&s.to, To::Finished(finish) if finish.state == Some(JobState::Succeeded))
}

/// Jobs whose outputs were made by a specification that their batch no longer has.
fn outdated(settlements: &[&Settlement], batches: &HashMap<i64, SettledIn>) -> HashSet<i64> {
    let is_outdated = |s: &&&Settlement| {
        let To::Finished(finish) = &s.to else { return false };
        let spec = batches.get(&s.batch.0).map(|batch| batch.spec.as_str());
        finish.made_by.as_deref().is_some_and(|made_by| Some(made_by) != spec)
    };
    settlements.iter().filter(is_outdated).map(|s| s.job.0).collect()
}

/// Whether this ends the job, which then takes a number.
fn is_numbered(s: &Settlement, outdated: &HashSet<i64>) -> bool {
    matches!(s.to, To::Finished(_)) && !outdated.contains(&s.job.0)
}

/// Takes the ledger's next numbers, one for each job that ends. Returns the first.
async fn take_seq(
    conn: &mut Conn,
    (settlements, outdated): (&[&Settlement], &HashSet<i64>),
    last: i64,
    now: Millis,
) -> Result<i64, StoreError> {
    let n = settlements.iter().filter(|s| is_numbered(s, outdated)).count();
    if n > 0 {
        query(
            r"-- settle::take_seq
              UPDATE ledger SET seq = seq + $1, newest_at = CASE WHEN $2 > newest_at THEN $2 ELSE newest_at END",
        )
        .bind(i64::try_from(n).unwrap_or(i64::MAX))
        .bind(now)
        .later(conn)
        .await?;
    }
    Ok(last + 1)
}

/// Closes gaps: jobs whose lease was lost took no number, and the other jobs move up.
async fn close_gaps(
    conn: &mut Conn,
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
    query(
        r"-- settle::close_gaps
            UPDATE jobs
            SET seq = CAST(r.v ->> 1 AS BIGINT)
            FROM rows_of($1) AS r
            WHERE jobs.id = CAST(r.v ->> 0 AS BIGINT)",
    )
    .bind(json!(set).to_string())
    .later(conn)
    .await?;
    query("UPDATE ledger SET seq = seq - $1").bind(lost).later(conn).await
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
async fn note_files(conn: &mut Conn, settlements: &[&Settlement], done: &HashSet<i64>) -> Result<(), StoreError> {
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
    query(
        r"-- settle::note_files
            INSERT INTO outputs (batch, path, job, checksum)
            SELECT CAST(v ->> 0 AS BIGINT), v ->> 1, CAST(v ->> 2 AS BIGINT), v ->> 3 FROM rows_of($1) AS r WHERE 1 = 1
            ON CONFLICT (batch, path) DO UPDATE SET job = excluded.job, checksum = excluded.checksum",
    )
    .bind(&written)
    .later(conn)
    .await?;
    if !again.is_empty() {
        query(
            r"-- settle::note_files
              DELETE FROM outputs
              WHERE job IN (SELECT CAST(v ->> 0 AS BIGINT) FROM rows_of($2) AS r)
                AND path NOT IN (SELECT w.v ->> 1 FROM rows_of($1) AS w WHERE CAST(w.v ->> 2 AS BIGINT) = outputs.job)",
        )
        .bind(&written)
        .bind(json!(again).to_string())
        .later(conn)
        .await?;
    }
    Ok(())
}

/// Records what a `retry` of a suspect job will buy.
async fn note_doubts(conn: &mut Conn, settlements: &[&Settlement], done: &HashSet<i64>) -> Result<(), StoreError> {
    let mut set = Vec::new();
    for s in settlements.iter().filter(|s| done.contains(&s.job.0)) {
        if let To::Finished(finish) = &s.to {
            set.extend(finish.doubtful.iter().map(|part| json!([s.job.0, part])));
        }
    }
    if set.is_empty() {
        return Ok(());
    }
    query(
        r"-- settle::note_doubts
            UPDATE job_parts
            SET doubtful = 1
            WHERE (job, part) IN (SELECT CAST(v ->> 0 AS BIGINT), CAST(v ->> 1 AS BIGINT) FROM rows_of($1) AS r)",
    )
    .bind(serde_json::Value::from(set).to_string())
    .later(conn)
    .await
}

/// Gives up and books the calls of finished (or cancelled) jobs that stayed open and that nobody waits for. Otherwise
/// their money would stay reserved for ever.
async fn close_books(conn: &mut Conn, settlements: &[&Settlement], now: Millis) -> Result<(), StoreError> {
    let jobs = json!(settlements.iter().map(|s| [s.job.0]).collect::<Vec<_>>()).to_string();
    let open = query(
        r"-- settle::close_books
          SELECT c.id
          FROM rows_of($1) AS r
          JOIN calls AS c ON c.job = CAST(r.v ->> 0 AS BIGINT)
          JOIN jobs AS j ON j.id = c.job
          WHERE c.state IN ('sent', 'accepted') AND c.process IS NULL AND j.due_at IS NULL AND j.state <> 'superseded'",
    )
    .bind(jobs)
    .fetch_all(&mut *conn)
    .await?;
    control::give_up_all(conn, &open, now).await
}

/// The worker of a superseded job has stopped: the job's successor may start.
async fn release_superseded(conn: &mut Conn, settlements: &[&Settlement], now: Millis) -> Result<(), StoreError> {
    for s in settlements {
        let gone = query(
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
    conn: &mut Conn,
    settlements: &[&Settlement],
    done: &HashSet<i64>,
    now: Millis,
) -> Result<(), StoreError> {
    let probing: Vec<(i64, i64)> =
        query_as("SELECT id, probe_job FROM batches WHERE probing = 1 AND probe_job IS NOT NULL")
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
    conn: &mut Conn,
    settlements: &[&Settlement],
    (done, batches): (&HashSet<i64>, &HashMap<i64, SettledIn>),
    now: Millis,
) -> Result<(), StoreError> {
    let mut counts: HashMap<i64, (i64, i64)> = HashMap::new();
    for s in settlements.iter().filter(|s| done.contains(&s.job.0)) {
        if matches!(s.to, To::Finished(_)) {
            let (well, badly) = counts.entry(s.batch.0).or_default();
            if is_success(s) { *well += 1 } else { *badly += 1 }
        }
    }
    for (batch, (well, badly)) in counts {
        query(
            r"-- settle::judge
              UPDATE batches SET lately_well = lately_well + $1, lately_badly = lately_badly + $2 WHERE id = $3",
        )
        .bind(well)
        .bind(badly)
        .bind(batch)
        .later(conn)
        .await?;
        let Some(judged) = batches.get(&batch).filter(|batch| batch.judged) else { continue };
        let (well, badly) = (judged.lately.0 + well, judged.lately.1 + badly);
        if well + badly >= SETTLED_TO_JUDGE && badly > well {
            let reason = why_most_fail(conn, batch, (well, badly), judged.resumed_at).await?;
            pauses::pause_in(conn, BatchId(batch), PauseKind::Failures, &reason, now).await?;
        }
    }
    Ok(())
}

/// Why a batch pauses most of whose lines fail, in words.
async fn why_most_fail(
    conn: &mut Conn,
    batch: i64,
    (well, badly): (i64, i64),
    since: Millis,
) -> Result<String, StoreError> {
    let worst: Option<(String, i64)> = query_as(
        r"-- settle::why_most_fail
          SELECT coalesce(error_kind, state), count(*) AS n
          FROM jobs
          WHERE batch = $1 AND state IN ('failed', 'suspect') AND finished_at >= $2
          GROUP BY 1
          ORDER BY n DESC
          LIMIT 1",
    )
    .bind(batch)
    .bind(since)
    .fetch_optional(conn)
    .await?;
    let failed = format!("{badly} of the last {} lines failed or are suspect", well + badly);
    Ok(match worst {
        Some((kind, n)) => format!("{failed}, {n} of them with {kind}"),
        None => failed,
    })
}
