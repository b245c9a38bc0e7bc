//! What submitting would do, before it does.

use sqlx::Row;

use super::{
    LineSet, NewJob, Store, StoreError,
    lines::incoming,
    sql::sql,
    submit::{IS_RENAMED, SAME_SOURCE},
};
use crate::domain::{identity::Identity, job::BatchId};

/// What submitting would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Diff {
    /// Lines that are not there.
    pub new: u64,
    /// Lines that are there, with another recording or other options.
    pub changed: u64,
    /// Lines that are there as they are and finished well.
    pub done: u64,
    /// Lines that are there as they are and are not finished, or failed.
    pub open: u64,
    /// Those of the done ones whose outputs have other names now, or are asked for again.
    pub redelivered: u64,
    /// Those of the open ones that failed.
    pub failed: u64,
    /// Lines that are answered, with the same recording and other options: bought again.
    pub rebuy: u64,
    /// Audio of those, in ms.
    pub rebuy_ms: u64,
    /// Those of the new and changed ones that name no recording.
    pub idle: u64,
    /// Lines that are to be worked and whose length is known.
    pub known: u64,
    /// Audio of those, in ms.
    pub known_ms: u64,
    /// Lines that are there with the same recording or text.
    pub same_source: u64,
    /// Lines that are there with another recording or text.
    pub other_source: u64,
    /// Those of the first that are at an http(s) address.
    pub same_urls: u64,
    /// Those of the first whose local file nobody has read, and that is found in another way than before: it is taken as it
    /// is, and nothing says that it is the same.
    pub unproven: u64,
    /// Those of the first whose local file was found in another way than before.
    pub renewed: u64,
    /// Lines that are there and whose local file has to be read: only its content can say whether it is the same.
    pub to_read: u64,
    /// Bytes of those files.
    pub to_read_bytes: u64,
    /// Lines that are there and whose local file cannot be seen: they stay as they are.
    pub unseen: u64,
}

/// A local file that has to be read, by its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToRead {
    /// The line in the manifest.
    pub line: u64,
    /// The file.
    pub path: String,
}

/// A line whose address is another one than the ledger has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readdressed {
    /// The line in the manifest.
    pub line: u64,
    /// The address in the manifest.
    pub now: String,
    /// The address in the ledger.
    pub before: String,
    /// The identity that the ledger has.
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

impl Store {
    /// What submitting these lines would do.
    pub async fn diff(&self, batch: BatchId, lines: &[NewJob]) -> Result<Diff, StoreError> {
        self.diff_set(batch, lines.iter().zip(0..).collect()).await
    }

    /// The same of a set that is ready.
    pub async fn diff_set(&self, batch: BatchId, lines: LineSet) -> Result<Diff, StoreError> {
        // diff_set: a line of which nothing says that its recording is another one stays as it is.
        let incoming = incoming(true);
        let row = sqlx::query(sql(&format!(
            r"-- diff::diff_set
              WITH
                i AS MATERIALIZED ({incoming}),
                e AS MATERIALIZED (
                  SELECT i.source IS NULL AND i.text IS NULL AS idle, i.options_id AS wanted_id, i.source_path AS path,
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
                  FROM e)
              SELECT count(*) FILTER (WHERE id IS NULL) AS new, count(*) FILTER (WHERE id IS NOT NULL AND NOT same) AS changed,
                count(*) FILTER (WHERE same AND done) AS done, count(*) FILTER (WHERE same AND NOT done) AS open,
                count(*) FILTER (WHERE same AND failed) AS failed, count(*) FILTER (WHERE same AND done AND rejoined) AS redelivered,
                count(*) FILTER (WHERE redefined AND bought) AS rebuy,
                coalesce(CAST(sum(units) FILTER (WHERE redefined AND bought) AS BIGINT), 0) AS rebuy_ms,
                count(*) FILTER (WHERE idle AND (id IS NULL OR NOT same)) AS idle,
                count(units) FILTER (WHERE redefined OR (same AND unfinished)) AS known,
                coalesce(CAST(sum(units) FILTER (WHERE redefined OR (same AND unfinished)) AS BIGINT), 0) AS known_ms,
                count(*) FILTER (WHERE id IS NOT NULL AND source) AS same_source,
                count(*) FILTER (WHERE id IS NOT NULL AND NOT source) AS other_source,
                count(*) FILTER (WHERE id IS NOT NULL AND source AND web) AS same_urls,
                count(*) FILTER (WHERE id IS NOT NULL AND source AND path IS NOT NULL AND source_hash IS NULL AND touched)
                  AS unproven,
                count(*) FILTER (WHERE id IS NOT NULL AND source AND path IS NOT NULL AND source_hash IS NOT NULL AND moved)
                  AS renewed,
                count(*) FILTER (WHERE id IS NOT NULL AND source IS NULL AND bytes IS NOT NULL) AS to_read,
                coalesce(CAST(sum(bytes) FILTER (WHERE id IS NOT NULL AND source IS NULL) AS BIGINT), 0) AS to_read_bytes,
                count(*) FILTER (WHERE id IS NOT NULL AND source IS NULL AND bytes IS NULL) AS unseen
              FROM d"
        )))
        .bind(&*lines.into_json())
        .bind(batch)
        .fetch_one(&self.read)
        .await?;
        let get = |name| row.try_get::<i64, _>(name).map(|n| u64::try_from(n).unwrap_or(0));
        Ok(Diff {
            new: get("new")?,
            changed: get("changed")?,
            done: get("done")?,
            open: get("open")?,
            failed: get("failed")?,
            redelivered: get("redelivered")?,
            rebuy: get("rebuy")?,
            rebuy_ms: get("rebuy_ms")?,
            idle: get("idle")?,
            known: get("known")?,
            known_ms: get("known_ms")?,
            same_source: get("same_source")?,
            other_source: get("other_source")?,
            same_urls: get("same_urls")?,
            unproven: get("unproven")?,
            renewed: get("renewed")?,
            to_read: get("to_read")?,
            to_read_bytes: get("to_read_bytes")?,
            unseen: get("unseen")?,
        })
    }

    /// The lines of a set whose local files have to be read.
    pub async fn to_read(&self, batch: BatchId, lines: LineSet) -> Result<Vec<ToRead>, StoreError> {
        let incoming = incoming(true);
        let rows: Vec<(i64, String)> = sqlx::query_as(sql(&format!(
            r"-- diff::to_read
              WITH i AS MATERIALIZED ({incoming})
              SELECT i.line, i.source
              FROM i
              JOIN jobs AS j ON j.batch = $2 AND j.key = i.key AND j.variant = i.variant AND j.state <> 'superseded'
              WHERE {SAME_SOURCE} IS NULL AND i.source_bytes IS NOT NULL"
        )))
        .bind(&*lines.into_json())
        .bind(batch)
        .fetch_all(&self.read)
        .await?;
        Ok(rows.into_iter().map(|(line, path)| ToRead { line: u64::try_from(line).unwrap_or(0), path }).collect())
    }

    /// The lines of a set that have another address than the ledger, neither of them a local file.
    pub async fn readdressed(&self, batch: BatchId, lines: LineSet) -> Result<Vec<Readdressed>, StoreError> {
        let incoming = incoming(true);
        let rows: Vec<(i64, String, String, Identity)> = sqlx::query_as(sql(&format!(
            r"-- diff::readdressed
              WITH i AS MATERIALIZED ({incoming})
              SELECT i.line, i.source, j.source, j.source_id
              FROM i
              JOIN jobs AS j ON j.batch = $2 AND j.key = i.key AND j.variant = i.variant AND j.state <> 'superseded'
              WHERE i.source IS NOT NULL AND j.source IS NOT NULL AND i.text IS NULL
                AND i.source_path IS NULL AND j.source_path IS NULL AND j.source_id <> i.source_id"
        )))
        .bind(&*lines.into_json())
        .bind(batch)
        .fetch_all(&self.read)
        .await?;
        let line = |(line, now, before, identity)| Readdressed {
            line: u64::try_from(line).unwrap_or(0),
            now,
            before,
            identity,
        };
        Ok(rows.into_iter().map(line).collect())
    }
}
