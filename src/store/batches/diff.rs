//! The effects of submitting, computed before it happens.

use crate::domain::{identity::Identity, job::BatchId};
#[cfg(test)]
use crate::store::NewJob;
use crate::store::engine::db::query_as;
use crate::store::{
    LineSet, Store, StoreError,
    batches::lines::incoming,
    batches::submit::{IS_RENAMED, SAME_SOURCE},
};

/// The effects of submitting, as counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Diff {
    /// Lines that the batch does not have.
    pub new: u64,
    /// Lines that the batch has, with another recording or other options.
    pub changed: u64,
    /// Lines that the batch has unchanged, and that succeeded.
    pub done: u64,
    /// Lines that the batch has unchanged, and that are unfinished or failed.
    pub open: u64,
    /// Those of the done ones whose outputs have other names now, or are wanted again.
    pub redelivered: u64,
    /// Those of the open ones that failed.
    pub failed: u64,
    /// Answered lines with the same recording and other options: they are bought again.
    pub rebuy: u64,
    /// Audio of those, in ms.
    pub rebuy_ms: u64,
    /// Those of the new and changed ones that name no recording.
    pub idle: u64,
    /// Lines to be worked whose length is known.
    pub known: u64,
    /// Audio of those, in ms.
    pub known_ms: u64,
    /// Lines that the batch has with the same recording or text.
    pub same_source: u64,
    /// Lines that the batch has with another recording or text.
    pub other_source: u64,
    /// Those of `same_source` that are at an http(s) address.
    pub same_urls: u64,
    /// Those of `same_source` whose local file was never read, and whose metadata has changed: the file counts as the
    /// same, without proof.
    pub unproven: u64,
    /// Those of `same_source` whose local file was read, and whose path or metadata has changed.
    pub renewed: u64,
    /// Lines that the batch has and whose local file must be read: only its content shows whether it is the same.
    pub to_read: u64,
    /// Bytes of those files.
    pub to_read_bytes: u64,
    /// Lines that the batch has and whose local file cannot be seen: they stay unchanged.
    pub unseen: u64,
}

/// A local file that must be read, with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToRead {
    /// The line in the manifest.
    pub line: u64,
    /// The file.
    pub path: String,
}

/// A line whose address differs from the one in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressChange {
    /// The line in the manifest.
    pub line: u64,
    /// The address in the manifest.
    pub now: String,
    /// The address in the ledger.
    pub before: String,
    /// The identity in the ledger.
    pub identity: Identity,
}

impl std::ops::AddAssign for Diff {
    fn add_assign(&mut self, o: Self) {
        self.new += o.new;
        self.changed += o.changed;
        self.done += o.done;
        self.open += o.open;
        self.failed += o.failed;
        self.redelivered += o.redelivered;
        self.rebuy += o.rebuy;
        self.rebuy_ms += o.rebuy_ms;
        self.idle += o.idle;
        self.known += o.known;
        self.known_ms += o.known_ms;
        self.same_source += o.same_source;
        self.other_source += o.other_source;
        self.same_urls += o.same_urls;
        self.unproven += o.unproven;
        self.renewed += o.renewed;
        self.to_read += o.to_read;
        self.to_read_bytes += o.to_read_bytes;
        self.unseen += o.unseen;
    }
}

/// The effects of submitting on one job, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobPlan(i64);

impl JobPlan {
    /// The batch does not have the job.
    pub const NEW: Self = Self(1);
    const CHANGED: i64 = 1 << 1;
    const DONE: i64 = 1 << 2;
    const OPEN: i64 = 1 << 3;
    const FAILED: i64 = 1 << 4;
    const REDELIVERED: i64 = 1 << 5;
    const REBUY: i64 = 1 << 6;
    const IDLE: i64 = 1 << 7;
    const KNOWN: i64 = 1 << 8;
    const SAME_SOURCE: i64 = 1 << 9;
    const OTHER_SOURCE: i64 = 1 << 10;
    const SAME_URL: i64 = 1 << 11;
    const UNPROVEN: i64 = 1 << 12;
    const RENEWED: i64 = 1 << 13;
    const TO_READ: i64 = 1 << 14;
    const UNSEEN: i64 = 1 << 15;

    const fn has(self, bit: i64) -> bool {
        self.0 & bit != 0
    }

    /// Whether the job would be worked.
    #[must_use]
    pub const fn is_worked(self) -> bool {
        self.has(Self::NEW.0 | Self::CHANGED) || (self.has(Self::OPEN) && !self.has(Self::FAILED))
    }

    /// Whether the batch has the job, and its text or its options are others now.
    #[must_use]
    pub const fn is_changed(self) -> bool {
        self.has(Self::CHANGED)
    }

    /// Whether the job was bought, and other options buy it again.
    #[must_use]
    pub const fn is_bought_again(self) -> bool {
        self.has(Self::REBUY)
    }
}

/// Jobs of a set on which submitting has the same effects.
#[derive(Debug)]
struct Alike {
    plan: JobPlan,
    count: u64,
    /// How many of them have a known length, and the sum of these lengths.
    measured: u64,
    units: u64,
    bytes: u64,
    /// Their indexes in the set, separated by commas.
    places: String,
}

/// The effects of submitting a set, by job. Usually all jobs of a set are alike.
#[derive(Debug, Default)]
pub struct DiffSet(Vec<Alike>);

impl DiffSet {
    /// The sums over all jobs.
    #[must_use]
    pub fn counts(&self) -> Diff {
        let mut diff = Diff::default();
        for Alike { plan, count, measured, units, bytes, .. } in &self.0 {
            let add = |sum: &mut u64, bit: i64, number: u64| *sum += if plan.has(bit) { number } else { 0 };
            for (sum, bit) in [
                (&mut diff.new, JobPlan::NEW.0),
                (&mut diff.changed, JobPlan::CHANGED),
                (&mut diff.done, JobPlan::DONE),
                (&mut diff.open, JobPlan::OPEN),
                (&mut diff.failed, JobPlan::FAILED),
                (&mut diff.redelivered, JobPlan::REDELIVERED),
                (&mut diff.rebuy, JobPlan::REBUY),
                (&mut diff.idle, JobPlan::IDLE),
                (&mut diff.same_source, JobPlan::SAME_SOURCE),
                (&mut diff.other_source, JobPlan::OTHER_SOURCE),
                (&mut diff.same_urls, JobPlan::SAME_URL),
                (&mut diff.unproven, JobPlan::UNPROVEN),
                (&mut diff.renewed, JobPlan::RENEWED),
                (&mut diff.to_read, JobPlan::TO_READ),
                (&mut diff.unseen, JobPlan::UNSEEN),
            ] {
                add(sum, bit, *count);
            }
            add(&mut diff.rebuy_ms, JobPlan::REBUY, *units);
            add(&mut diff.known, JobPlan::KNOWN, *measured);
            add(&mut diff.known_ms, JobPlan::KNOWN, *units);
            add(&mut diff.to_read_bytes, JobPlan::TO_READ, *bytes);
        }
        diff
    }

    /// The effects on each job, in the order of the indexes.
    ///
    /// # Errors
    /// The ledger returned something other than indexes.
    pub fn jobs(&self) -> Result<Vec<JobPlan>, StoreError> {
        let mut jobs: Vec<(u64, JobPlan)> = Vec::new();
        for Alike { plan, places, .. } in &self.0 {
            for place in places.split(',') {
                let place = place.parse().map_err(|_| StoreError::Unexpected(format!("`{place}` is no place")))?;
                jobs.push((place, *plan));
            }
        }
        jobs.sort_unstable_by_key(|(place, _)| *place);
        Ok(jobs.into_iter().map(|(_, plan)| plan).collect())
    }
}

impl Store {
    /// The effects of submitting these lines.
    #[cfg(test)]
    pub async fn diff(&self, batch: BatchId, lines: &[NewJob]) -> Result<Diff, StoreError> {
        Ok(self.diff_set(batch, lines.iter().zip(0..).collect()).await?.counts())
    }

    /// The effects of submitting a set, by job.
    pub async fn diff_set(&self, batch: BatchId, lines: LineSet) -> Result<DiffSet, StoreError> {
        let incoming = incoming(true);
        let plan = plan_of_job();
        let rows: Vec<AlikeRow> = query_as(format!(
            r"-- diff::diff_set: a line of which nothing says that its recording is another one stays as it is.
              WITH
                i AS MATERIALIZED ({incoming}),
                e AS MATERIALIZED (
                  SELECT i.place, i.source IS NULL AND i.text IS NULL AS idle, i.options_id AS wanted_id, i.source_path AS path,
                    i.source_bytes AS bytes, {SAME_SOURCE} AS source,
                    i.source_path IS DISTINCT FROM j.source_path OR i.source_mtime IS DISTINCT FROM j.source_mtime
                      OR (i.source <> j.source AND i.source_inode IS DISTINCT FROM j.source_inode) AS moved,
                    i.source_bytes IS DISTINCT FROM j.source_bytes OR i.source_mtime IS DISTINCT FROM j.source_mtime
                      OR (i.source <> j.source AND i.source_inode IS DISTINCT FROM j.source_inode) AS touched,
                    coalesce(i.source LIKE 'http%', 1 = 0) AS web,
                    j.outputs IS NOT NULL AND (j.wanted = 'dropped' OR (i.text IS NOT NULL AND {IS_RENAMED})) AS rejoined, j.id, j.state, j.units, j.options_id, j.source_hash
                  FROM i
                  LEFT JOIN jobs AS j
                    ON j.batch = $2 AND j.key = i.key AND j.variant = i.variant AND j.state <> 'superseded'),
                d AS (
                  SELECT e.*, coalesce(source, 1 = 1) AND options_id = wanted_id AS same,
                    coalesce(source, 1 = 1) AND options_id <> wanted_id AS redefined,
                    state IN ('succeeded', 'suspect', 'skipped', 'cancelled') AS done, state = 'failed' AS failed,
                    state IN ('succeeded', 'suspect')
                      OR EXISTS (SELECT 1 FROM calls AS c WHERE c.job = e.id AND c.state = 'answered') AS bought,
                    state IN ('queued', 'running', 'awaiting') AS unfinished
                  FROM e),
                p AS (SELECT place, units, bytes, {plan} AS plan FROM d)
              SELECT plan, count(*), count(units), coalesce(CAST(sum(units) AS BIGINT), 0), coalesce(CAST(sum(bytes) AS BIGINT), 0),
                string_agg(CAST(place AS TEXT), ',')
              FROM p
              GROUP BY plan"
        ))
        .bind(&*lines.into_json())
        .bind(batch)
        .fetch_all(&self.read)
        .await?;
        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        let alike = |(plan, count, measured, units, bytes, places): AlikeRow| Alike {
            plan: JobPlan(plan),
            count: number(count),
            measured: number(measured),
            units: number(units),
            bytes: number(bytes),
            places,
        };
        Ok(DiffSet(rows.into_iter().map(alike).collect()))
    }

    /// The lines of a set whose local files must be read.
    pub async fn to_read(&self, batch: BatchId, lines: LineSet) -> Result<Vec<ToRead>, StoreError> {
        let incoming = incoming(true);
        let rows: Vec<(i64, String)> = query_as(format!(
            r"-- diff::to_read
              WITH i AS MATERIALIZED ({incoming})
              SELECT i.line, i.source
              FROM i
              JOIN jobs AS j ON j.batch = $2 AND j.key = i.key AND j.variant = i.variant AND j.state <> 'superseded'
              WHERE {SAME_SOURCE} IS NULL AND i.source_bytes IS NOT NULL"
        ))
        .bind(&*lines.into_json())
        .bind(batch)
        .fetch_all(&self.read)
        .await?;
        Ok(rows.into_iter().map(|(line, path)| ToRead { line: u64::try_from(line).unwrap_or(0), path }).collect())
    }

    /// The lines of a set whose address differs from the one in the ledger, and that have no local file before or after.
    pub async fn readdressed(&self, batch: BatchId, lines: LineSet) -> Result<Vec<AddressChange>, StoreError> {
        let incoming = incoming(true);
        let rows: Vec<(i64, String, String, Identity)> = query_as(format!(
            r"-- diff::readdressed
              WITH i AS MATERIALIZED ({incoming})
              SELECT i.line, i.source, j.source, j.source_id
              FROM i
              JOIN jobs AS j ON j.batch = $2 AND j.key = i.key AND j.variant = i.variant AND j.state <> 'superseded'
              WHERE i.source IS NOT NULL AND j.source IS NOT NULL AND i.text IS NULL
                AND i.source_path IS NULL AND j.source_path IS NULL AND j.source_id <> i.source_id"
        ))
        .bind(&*lines.into_json())
        .bind(batch)
        .fetch_all(&self.read)
        .await?;
        let line = |(line, now, before, identity)| AddressChange {
            line: u64::try_from(line).unwrap_or(0),
            now,
            before,
            identity,
        };
        Ok(rows.into_iter().map(line).collect())
    }
}

/// The plan, the number of jobs, those with units, the units, the bytes, and the indexes.
type AlikeRow = (i64, i64, i64, i64, i64, String);

/// The bits of [`JobPlan`] for a job (`d`).
fn plan_of_job() -> String {
    let bits = [
        (JobPlan::NEW.0, "id IS NULL"),
        (JobPlan::CHANGED, "id IS NOT NULL AND NOT same"),
        (JobPlan::DONE, "same AND done"),
        (JobPlan::OPEN, "same AND NOT done"),
        (JobPlan::FAILED, "same AND failed"),
        (JobPlan::REDELIVERED, "same AND done AND rejoined"),
        (JobPlan::REBUY, "redefined AND bought"),
        (JobPlan::IDLE, "idle AND (id IS NULL OR NOT same)"),
        (JobPlan::KNOWN, "redefined OR (same AND unfinished)"),
        (JobPlan::SAME_SOURCE, "id IS NOT NULL AND source"),
        (JobPlan::OTHER_SOURCE, "id IS NOT NULL AND NOT source"),
        (JobPlan::SAME_URL, "id IS NOT NULL AND source AND web"),
        (JobPlan::UNPROVEN, "id IS NOT NULL AND source AND path IS NOT NULL AND source_hash IS NULL AND touched"),
        (JobPlan::RENEWED, "id IS NOT NULL AND source AND path IS NOT NULL AND source_hash IS NOT NULL AND moved"),
        (JobPlan::TO_READ, "id IS NOT NULL AND source IS NULL AND bytes IS NOT NULL"),
        (JobPlan::UNSEEN, "id IS NOT NULL AND source IS NULL AND bytes IS NULL"),
    ];
    let bits = bits.map(|(bit, holds)| format!("CASE WHEN {holds} THEN {bit} ELSE 0 END"));
    bits.join("\n                 + ")
}
