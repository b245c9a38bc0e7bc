//! A batch whose lines are those that another batch has finished. It takes them in the order of their numbers (`jobs.seq`),
//! and its cursor says up to which: whoever feeds it writes lines and cursor in one transaction.

use std::{collections::HashSet, sync::Arc};

use serde_json::json;

use crate::store::engine::db::{Conn, query, query_as, query_scalar};
use crate::store::{
    BadSet, Begun, LineSet, ReportRow, Store, StoreError, Submitted, batches::lines::PackedLines,
    batches::submit::submit_set, batches::wanted,
};
use crate::{
    clock::Millis,
    domain::{
        environment::Environment,
        feed::{FeedFrom, FeedSettings},
        job::{BatchId, JobId, JobState, Wanted},
        row::Note,
    },
};

/// A batch that is fed, and how far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPlace {
    /// The batch.
    pub batch: BatchId,
    /// Its name.
    pub name: String,
    /// The batch that feeds it.
    pub by: BatchId,
    /// Its cursor: it took what has this number or a lower one.
    pub to: i64,
    /// What makes lines of what it takes.
    pub with: FeedSettings,
    /// Whether the other batch has numbers that it did not take.
    pub is_behind: bool,
}

/// A finished line of the batch that feeds.
#[derive(Debug, Clone)]
pub struct FeedRow {
    /// The line, as a report shows it.
    pub row: ReportRow,
    /// The files of its outputs: their paths below the output, and the SHA-256 of what they hold.
    pub files: Vec<(String, String)>,
    /// Of a local recording: the SHA-256 of all its bytes.
    pub source_hash: Option<Vec<u8>>,
}

/// What a batch has to take next.
#[derive(Debug, Clone, Default)]
pub struct FeedPage {
    /// The cursor where it begins.
    pub from: i64,
    /// The cursor where it ends.
    pub to: i64,
    /// Lines that count as finished.
    pub rows: Vec<FeedRow>,
    /// Lines that nobody wants any more.
    pub dropped: Vec<JobId>,
    /// Lines that ended and do not count as finished.
    pub without: Vec<JobId>,
    /// Whether there may be more.
    pub is_full: bool,
}

/// A line of the other batch that a set has lines of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedOrigin {
    /// Its key in the batch that is fed.
    pub key: String,
    /// Its job.
    pub job: JobId,
    /// Its place in the report.
    pub ordinal: i64,
    /// Its place in the manifest.
    pub line: u64,
}

/// One step of feeding.
#[derive(Debug)]
pub struct FeedStep {
    /// The batch that is fed.
    pub batch: BatchId,
    /// The cursor that it must have.
    pub from: i64,
    /// Its next cursor.
    pub to: i64,
    /// The lines that it gets.
    pub sets: Vec<(LineSet, BadSet)>,
    /// Of which lines of the other batch they are.
    pub origins: Vec<FeedOrigin>,
    /// Jobs of the other batch that are dropped: so are the lines made of them.
    pub dropped: Vec<JobId>,
    /// Jobs of the other batch that have no result any more: the lines made of them stay, and are marked.
    pub without: Vec<JobId>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedDone {
    /// The lines are in the ledger.
    Fed(Submitted),
    /// Another process took the same, or the batch takes nothing now: nothing was written.
    Overtaken,
}

/// How many numbers a page covers.
const PAGE: u32 = 500;

const PLACE: &str = "SELECT b.id, b.name, b.fed_by, b.fed_to, b.fed_with,
        EXISTS (SELECT 1 FROM jobs AS j WHERE j.batch = b.fed_by AND j.seq > b.fed_to) AS behind
      FROM batches AS b
      WHERE b.fed_by IS NOT NULL";

impl Store {
    /// Where the feed of a batch is; `None` if no batch feeds it.
    pub async fn feed_place(&self, batch: BatchId) -> Result<Option<FeedPlace>, StoreError> {
        let found = query(format!("{PLACE} AND b.id = $1")).bind(batch).fetch_optional(&self.read).await?;
        found.as_ref().map(place_of).transpose()
    }

    /// The feeds of an environment that may go on: the batch is whole, and was not cancelled.
    pub async fn feeds(&self, environment: Environment) -> Result<Vec<FeedPlace>, StoreError> {
        let found = query(format!(
            "{PLACE} AND b.environment = $1 AND b.submitting_at IS NULL AND b.cancelled_at IS NULL ORDER BY b.id"
        ))
        .bind(environment)
        .fetch_all(&self.read)
        .await?;
        Ok(self.readable(&found, place_of))
    }

    /// The batches that take their lines from this one, and from each other, whatever their states.
    pub async fn fed_by(&self, batch: BatchId) -> Result<Vec<BatchId>, StoreError> {
        query_scalar(
            r"-- feed::fed_by
              WITH RECURSIVE fed (id) AS (
                SELECT id FROM batches WHERE fed_by = $1
                UNION
                SELECT b.id FROM fed AS f JOIN batches AS b ON b.fed_by = f.id)
              SELECT id FROM fed ORDER BY id",
        )
        .bind(batch)
        .fetch_all(&self.read)
        .await
    }

    /// The lines of other batches that share content with these lines, since one was made of the other, however far apart. Those
    /// that are forgotten are not among them.
    pub async fn linked_lines(
        &self,
        batch: BatchId,
        keys: &[String],
    ) -> Result<Vec<(BatchId, Vec<String>)>, StoreError> {
        let keys = json!(keys.iter().map(|key| [key]).collect::<Vec<_>>()).to_string();
        let found: Vec<(BatchId, String)> = query_as(
            r"-- feed::linked_lines
              WITH RECURSIVE linked (id, fed_from) AS (
                SELECT j.id, j.fed_from
                FROM rows_of($2) AS r
                JOIN jobs AS j ON j.batch = $1 AND j.key = r.v ->> 0
                UNION
                SELECT j.id, j.fed_from
                FROM linked AS l
                JOIN jobs AS j ON j.fed_from = l.id OR j.id = l.fed_from)
              SELECT DISTINCT j.batch, j.key
              FROM linked AS l
              JOIN jobs AS j ON j.id = l.id
              WHERE j.batch <> $1 AND j.forget IS NULL
              ORDER BY j.batch, j.key",
        )
        .bind(batch)
        .bind(keys)
        .fetch_all(&self.read)
        .await?;
        let mut lines: Vec<(BatchId, Vec<String>)> = Vec::new();
        for (batch, key) in found {
            match lines.last_mut() {
                Some((last, keys)) if *last == batch => keys.push(key),
                _ => lines.push((batch, vec![key])),
            }
        }
        Ok(lines)
    }

    /// Whether a batch has a line that is not finished.
    pub async fn has_due(&self, batch: BatchId) -> Result<bool, StoreError> {
        query_scalar("SELECT EXISTS (SELECT 1 FROM jobs WHERE batch = $1 AND due_at IS NOT NULL)")
            .bind(batch)
            .fetch_one(&self.read)
            .await
    }

    /// The number of the newest change of a line in the whole ledger.
    pub async fn newest_seq(&self) -> Result<i64, StoreError> {
        query_scalar("SELECT seq FROM ledger").fetch_one(&self.read).await
    }

    /// What comes after a cursor in a batch, in the order of its numbers. `with_answers`: with their transcripts.
    pub async fn feed_page(
        &self,
        batch: BatchId,
        (after, from): (i64, FeedFrom),
        with_answers: bool,
    ) -> Result<FeedPage, StoreError> {
        let numbered: Vec<(i64, i64, JobState, Wanted, bool)> = query_as(
            r"-- feed::feed_page
              SELECT id, seq, state, wanted, forget IS NOT NULL
              FROM jobs
              WHERE batch = $1 AND seq > $2
              ORDER BY seq
              LIMIT $3",
        )
        .bind(batch)
        .bind(after)
        .bind(PAGE)
        .fetch_all(&self.read)
        .await?;
        let mut page =
            FeedPage { from: after, to: after, is_full: numbered.len() >= PAGE as usize, ..FeedPage::default() };
        let mut good = Vec::new();
        for (job, seq, state, wanted, is_forgotten) in numbered {
            page.to = seq;
            if is_forgotten || state == JobState::Superseded {
                continue;
            }
            match (wanted, state) {
                (Wanted::Dropped, _) => page.dropped.push(JobId(job)),
                (_, state) if from.takes(state) => good.push(JobId(job)),
                (_, JobState::Failed | JobState::Suspect) => page.without.push(JobId(job)),
                // It is due again, and will get a higher number.
                _ => {}
            }
        }
        page.rows = self.feed_rows(&good, with_answers).await?;
        Ok(page)
    }

    /// Those of these jobs of which a batch has lines that were not bad.
    pub async fn made_of(&self, batch: BatchId, jobs: &[JobId]) -> Result<HashSet<JobId>, StoreError> {
        let made: Vec<i64> = query_scalar(
            r"-- feed::made_of
              SELECT DISTINCT j.fed_from
              FROM rows_of($1) AS r
              JOIN jobs AS j ON j.fed_from = CAST(r.v ->> 0 AS BIGINT)
              WHERE j.batch = $2 AND j.state <> 'superseded' AND j.error_kind IS DISTINCT FROM 'bad_line'",
        )
        .bind(job_rows(jobs))
        .bind(batch)
        .fetch_all(&self.read)
        .await?;
        Ok(made.into_iter().map(JobId).collect())
    }

    async fn feed_rows(&self, jobs: &[JobId], with_answers: bool) -> Result<Vec<FeedRow>, StoreError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.report_of(jobs, with_answers).await?;
        let ids = json!(jobs.iter().map(|job| [job.0]).collect::<Vec<_>>()).to_string();
        let files: Vec<(i64, String, String)> = query_as(
            r"-- feed::feed_rows
              SELECT o.job, o.path, o.checksum
              FROM rows_of($1) AS r
              JOIN outputs AS o ON o.job = CAST(r.v ->> 0 AS BIGINT)
              WHERE o.checksum IS NOT NULL",
        )
        .bind(ids.clone())
        .fetch_all(&self.read)
        .await?;
        let hashes: Vec<(i64, Vec<u8>)> = query_as(
            r"-- feed::feed_rows
              SELECT j.id, j.source_hash
              FROM rows_of($1) AS r
              JOIN jobs AS j ON j.id = CAST(r.v ->> 0 AS BIGINT)
              WHERE length(j.source_hash) = 32",
        )
        .bind(ids)
        .fetch_all(&self.read)
        .await?;
        let row = |row: ReportRow| FeedRow {
            files: files.iter().filter(|f| f.0 == row.job.0).map(|f| (f.1.clone(), f.2.clone())).collect(),
            source_hash: hashes.iter().find(|h| h.0 == row.job.0).map(|h| h.1.clone()),
            row,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    /// Writes what a batch takes, if nobody else did.
    pub async fn feed(&self, step: FeedStep) -> Result<FeedDone, StoreError> {
        let FeedStep { batch, from, to, sets, origins, dropped, without } = step;
        let sets: Vec<_> = sets.into_iter().map(|(good, bad)| (good.into_lines(), bad.into_json())).collect();
        let packed = Arc::new(PackedStep {
            batch,
            from,
            to,
            sets,
            origins: origins_json(&origins),
            dropped: job_rows(&dropped),
            without: job_rows(&without),
        });
        let done = self
            .write(move |conn, now| {
                let step = Arc::clone(&packed);
                Box::pin(async move { feed(conn, &step, now).await })
            })
            .await?;
        if done != FeedDone::Overtaken {
            self.wake();
        }
        Ok(done)
    }
}

/// A step in the form that its statements take.
struct PackedStep {
    batch: BatchId,
    from: i64,
    to: i64,
    sets: Vec<(PackedLines, Arc<str>)>,
    /// `[[key, job, ordinal, line], …]`
    origins: String,
    /// `[[job], …]`
    dropped: String,
    without: String,
}

fn place_of(row: &crate::store::engine::db::Row) -> Result<FeedPlace, StoreError> {
    let with: String = row.try_get("fed_with")?;
    let name: String = row.try_get("name")?;
    let unread = |e| StoreError::Unexpected(format!("what feeds the batch `{name}`: {e}"));
    Ok(FeedPlace {
        batch: row.try_get("id")?,
        by: row.try_get("fed_by")?,
        to: row.try_get("fed_to")?,
        with: serde_json::from_str(&with).map_err(unread)?,
        is_behind: row.try_get("behind")?,
        name: row.try_get("name")?,
    })
}

fn job_rows(jobs: &[JobId]) -> String {
    json!(jobs.iter().map(|job| [job.0]).collect::<Vec<_>>()).to_string()
}

fn origins_json(origins: &[FeedOrigin]) -> String {
    json!(origins.iter().map(|o| json!([o.key, o.job.0, o.ordinal, o.line])).collect::<Vec<_>>()).to_string()
}

async fn feed(conn: &mut Conn, step: &PackedStep, now: Millis) -> Result<FeedDone, StoreError> {
    let batch = step.batch;
    let moved = query(
        r"-- feed::feed: whoever is first moves the cursor.
          UPDATE batches
          SET fed_to = $3
          WHERE id = $1 AND fed_to = $2 AND submitting_at IS NULL AND cancelled_at IS NULL",
    )
    .bind(batch)
    .bind(step.from)
    .bind(step.to)
    .execute(&mut *conn)
    .await?;
    if moved.rows_affected() == 0 {
        return Ok(FeedDone::Overtaken);
    }
    let begun = Begun { batch, existed: true, at: now, redelivered: 0, pruned: 0 };
    let mut done = Submitted::default();
    for (good, bad) in &step.sets {
        mend(conn, batch, good).await?;
        done += submit_set(conn, begun, (good, bad), now).await?;
    }
    place(conn, batch, &step.origins).await?;
    let mut changes = Vec::new();
    for (good, _) in &step.sets {
        changes.extend(wanted_of(conn, batch, good).await?);
        unmark(conn, batch, good).await?;
    }
    changes.extend(dropped_of(conn, batch, &step.dropped).await?);
    let (redelivered, pruned) = wanted::change(conn, batch, &changes, now).await?;
    done.redelivered += redelivered;
    done.pruned += pruned;
    mark(conn, batch, &step.without).await?;
    mark_good_of_bad(conn, batch, &step.origins, &step.sets).await?;
    Ok(FeedDone::Fed(done))
}

/// Sets bad lines aside whose line is good now.
async fn mend(conn: &mut Conn, batch: BatchId, good: &PackedLines) -> Result<(), StoreError> {
    query(
        r"-- feed::mend
          UPDATE jobs
          SET state = 'superseded'
          WHERE batch = $2 AND state = 'failed' AND error_kind = 'bad_line' AND forget IS NULL
            AND key IN (SELECT v ->> 1 FROM rows_of($1) AS r)",
    )
    .bind(&*good.json)
    .bind(batch)
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts lines where the other batch has them.
async fn place(conn: &mut Conn, batch: BatchId, origins: &str) -> Result<(), StoreError> {
    query(
        r"-- feed::place
          UPDATE jobs
          SET fed_from = CAST(r.v ->> 1 AS BIGINT), ordinal = CAST(r.v ->> 2 AS BIGINT), line = CAST(r.v ->> 3 AS BIGINT)
          FROM rows_of($1) AS r
          WHERE jobs.batch = $2 AND jobs.key = r.v ->> 0 AND jobs.state <> 'superseded' AND jobs.forget IS NULL",
    )
    .bind(origins)
    .bind(batch)
    .execute(conn)
    .await?;
    Ok(())
}

/// What became of the jobs of lines that are fed: those of the set are wanted, and all others are not asked for any more.
async fn wanted_of(
    conn: &mut Conn,
    batch: BatchId,
    good: &PackedLines,
) -> Result<Vec<(i64, Wanted, Wanted)>, StoreError> {
    let variant = if good.speaks() { "coalesce(r.v ->> 12, '')" } else { "''" };
    let jobs: Vec<(i64, Wanted, bool)> = query_as(format!(
        r"-- feed::wanted_of
          SELECT j.id, j.wanted, max(CASE WHEN j.variant = {variant} THEN 1 ELSE 0 END) = 1
          FROM rows_of($1) AS r
          JOIN jobs AS j ON j.batch = $2 AND j.key = r.v ->> 1 AND j.state <> 'superseded' AND j.forget IS NULL
          GROUP BY j.id, j.wanted"
    ))
    .bind(&*good.json)
    .bind(batch)
    .fetch_all(conn)
    .await?;
    let now = |in_set: bool| if in_set { Wanted::Yes } else { Wanted::Dropped };
    Ok(jobs.into_iter().map(|(job, was, in_set)| (job, was, now(in_set))).filter(|(_, was, now)| was != now).collect())
}

/// The lines made of jobs that are dropped.
async fn dropped_of(conn: &mut Conn, batch: BatchId, jobs: &str) -> Result<Vec<(i64, Wanted, Wanted)>, StoreError> {
    if jobs == "[]" {
        return Ok(Vec::new());
    }
    let found: Vec<(i64, Wanted)> = query_as(
        r"-- feed::dropped_of
          SELECT j.id, j.wanted
          FROM rows_of($1) AS r
          JOIN jobs AS j ON j.fed_from = CAST(r.v ->> 0 AS BIGINT)
          WHERE j.batch = $2 AND j.state <> 'superseded' AND j.wanted <> 'dropped' AND j.forget IS NULL",
    )
    .bind(jobs)
    .bind(batch)
    .fetch_all(conn)
    .await?;
    Ok(found.into_iter().map(|(job, was)| (job, was, Wanted::Dropped)).collect())
}

/// Marks the lines made of jobs that have no result any more. One that is not finished keeps the mark when it is.
async fn mark(conn: &mut Conn, batch: BatchId, jobs: &str) -> Result<(), StoreError> {
    if jobs == "[]" {
        return Ok(());
    }
    let lines: Vec<(i64, Option<String>)> = query_as(
        r"-- feed::mark
          SELECT j.id, j.notes
          FROM rows_of($1) AS r
          JOIN jobs AS j ON j.fed_from = CAST(r.v ->> 0 AS BIGINT)
          WHERE j.batch = $2 AND j.state NOT IN ('superseded', 'skipped', 'cancelled') AND j.error_kind IS DISTINCT FROM 'bad_line'
            AND j.forget IS NULL",
    )
    .bind(jobs)
    .bind(batch)
    .fetch_all(&mut *conn)
    .await?;
    set_notes(conn, lines, true).await
}

/// Marks finished lines whose line cannot be read as it is fed now: their results are of what it was.
async fn mark_good_of_bad(
    conn: &mut Conn,
    batch: BatchId,
    origins: &str,
    sets: &[(PackedLines, Arc<str>)],
) -> Result<(), StoreError> {
    let mut jobs = Vec::new();
    for (_, bad) in sets.iter().filter(|(_, bad)| &**bad != "[]") {
        let found: Vec<i64> = query_scalar(
            r"-- feed::mark_good_of_bad
              SELECT CAST(o.v ->> 1 AS BIGINT)
              FROM rows_of($1) AS b
              JOIN rows_of($2) AS o ON o.v ->> 0 = b.v ->> 1",
        )
        .bind(&**bad)
        .bind(origins)
        .fetch_all(&mut *conn)
        .await?;
        jobs.extend(found.into_iter().map(JobId));
    }
    mark(conn, batch, &job_rows(&jobs)).await
}

/// Takes the mark from lines that are fed again.
async fn unmark(conn: &mut Conn, batch: BatchId, good: &PackedLines) -> Result<(), StoreError> {
    let lines: Vec<(i64, Option<String>)> = query_as(
        r"-- feed::unmark
          SELECT DISTINCT j.id, j.notes
          FROM rows_of($1) AS r
          JOIN jobs AS j ON j.batch = $2 AND j.key = r.v ->> 1 AND j.state <> 'superseded'
          WHERE j.notes LIKE '%upstream_changed%'",
    )
    .bind(&*good.json)
    .bind(batch)
    .fetch_all(&mut *conn)
    .await?;
    set_notes(conn, lines, false).await
}

async fn set_notes(conn: &mut Conn, lines: Vec<(i64, Option<String>)>, marked: bool) -> Result<(), StoreError> {
    let set: Vec<_> = lines.iter().map(|(job, notes)| json!([job, with_mark(notes.as_deref(), marked)])).collect();
    if set.is_empty() {
        return Ok(());
    }
    query(
        r"-- feed::set_notes
          UPDATE jobs
          SET notes = r.v ->> 1
          FROM rows_of($1) AS r
          WHERE jobs.id = CAST(r.v ->> 0 AS BIGINT)",
    )
    .bind(json!(set).to_string())
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes with or without the mark, each once.
fn with_mark(notes: Option<&str>, marked: bool) -> Option<String> {
    let mark = Note::UpstreamChanged.as_str();
    let mut seen = HashSet::new();
    let kept = notes.unwrap_or_default().split(';').filter(|note| !note.is_empty() && *note != mark);
    let all: Vec<&str> = kept.chain(marked.then_some(mark)).filter(|note| seen.insert(*note)).collect();
    (!all.is_empty()).then(|| all.join(";"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_marked_once_and_keeps_its_other_notes() {
        let mark = Some("upstream_changed".to_owned());
        assert_eq!(with_mark(None, true), mark);
        assert_eq!(with_mark(Some("upstream_changed"), true), mark);
        assert_eq!(with_mark(Some("stereo;upstream_changed"), true).as_deref(), Some("stereo;upstream_changed"));
        assert_eq!(with_mark(Some("upstream_changed;stereo"), false).as_deref(), Some("stereo"));
        assert_eq!(with_mark(Some("upstream_changed"), false), None);
    }
}
