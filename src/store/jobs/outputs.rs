//! Which job owns the file at a path of a batch's output, and what was written there last.

use std::{collections::HashSet, sync::Arc};

use serde_json::json;

use crate::domain::job::{BatchId, JobId, Token, Wanted};
use crate::store::engine::db::{Conn, query, query_scalar};
use crate::store::{Store, StoreError, batches::wanted, jobs::parts::is_kept};

/// A file of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFile {
    /// Its name below the output's folder or prefix.
    pub path: String,
    /// SHA-256 of its bytes, in hex.
    pub checksum: String,
}

/// Whether a job, by its own options (JSON), still writes the file at a path.
pub type Writes = Arc<dyn Fn(Option<&str>, &str) -> bool + Send + Sync>;

/// Whether a job may write its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// The job owns them. For each file: whether it is already there with the right content.
    Owned(Vec<bool>),
    /// Nobody wants the output of the job any more.
    Dropped,
    /// A job that no longer owns one of the files may be writing it at this moment.
    Busy,
    /// Another line's output has that name.
    Taken {
        /// The file's name.
        path: String,
        /// The other line.
        key: String,
    },
    /// Another worker has the job.
    LeaseLost,
}

/// The job that owns a path.
struct Owner {
    job: JobId,
    key: String,
    overrides: Option<String>,
    checksum: Option<String>,
    /// Whether a worker has it.
    running: bool,
    /// Whether its line has changed, is no longer in the manifest, or is no longer wanted in this voice or format.
    superseded: bool,
    wanted: Wanted,
}

/// A file that a line owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedFile {
    /// Its path, relative to the batch's output.
    pub path: String,
    /// Whether it was written and is still wanted.
    pub delivered: bool,
    /// The key of its line.
    pub key: String,
    /// Whether the answer that it was written from is kept.
    pub is_kept: bool,
}

impl Store {
    /// Makes a job the owner of its files, just before they are written. A file that is about to change has no checksum
    /// until the job is settled: if the process is killed in between, the file is written again. `writes` decides whether
    /// another owner still writes that file.
    pub async fn own(
        &self,
        (job, batch, token): (JobId, BatchId, Token),
        files: Vec<OutputFile>,
        writes: Writes,
    ) -> Result<Ownership, StoreError> {
        let files: Arc<[OutputFile]> = files.into();
        self.write(move |conn, _| {
            let (files, writes) = (Arc::clone(&files), Arc::clone(&writes));
            Box::pin(async move { own(conn, (job, batch, token), &files, &writes).await })
        })
        .await
    }

    /// The files that lines of a batch own, in the order of their paths, after `after`.
    pub async fn owned_files(&self, batch: BatchId, after: &str, limit: u32) -> Result<Vec<OwnedFile>, StoreError> {
        let rows = query(concat!(
            r"-- outputs::owned_files
              SELECT o.path, j.key, j.state IN ('succeeded', 'suspect') AND j.wanted <> 'dropped' AS delivered, ",
            is_kept!("j"),
            r" AS is_kept
              FROM outputs AS o
              JOIN jobs AS j ON j.id = o.job
              WHERE o.batch = $1 AND o.path > $2
              ORDER BY o.path
              LIMIT $3"
        ))
        .bind(batch)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.read)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(OwnedFile {
                    path: row.try_get("path")?,
                    delivered: row.try_get("delivered")?,
                    key: row.try_get("key")?,
                    is_kept: row.try_get("is_kept")?,
                })
            })
            .collect()
    }

    /// These files of a finished batch were removed: nobody owns them any more.
    pub async fn outputs_expired(&self, batch: BatchId, paths: Vec<String>) -> Result<(), StoreError> {
        let set = json!(paths.iter().map(|path| [path]).collect::<Vec<_>>()).to_string();
        self.write(move |conn, _| {
            let set = set.clone();
            Box::pin(async move {
                query(
                    r"-- outputs::outputs_expired
                      UPDATE jobs
                      SET outputs = NULL
                      WHERE id IN (SELECT o.job FROM rows_of($1) AS r JOIN outputs AS o ON o.batch = $2 AND o.path = r.v ->> 0)",
                )
                .bind(&set)
                .bind(batch)
                .execute(&mut *conn)
                .await?;
                query("DELETE FROM outputs WHERE batch = $2 AND path IN (SELECT v ->> 0 FROM rows_of($1) AS r)")
                    .bind(&set)
                    .bind(batch)
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// Whether a job owns a file.
    pub async fn has_files(&self, job: JobId) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM outputs WHERE job = $1)";
        query_scalar(sql).bind(job).fetch_one(&self.read).await
    }
}

async fn own(
    conn: &mut Conn,
    (job, batch, token): (JobId, BatchId, Token),
    files: &[OutputFile],
    writes: &Writes,
) -> Result<Ownership, StoreError> {
    let wanted: Option<Wanted> =
        query_scalar("SELECT wanted FROM jobs WHERE id = $1 AND token = $2 AND state = 'running'")
            .bind(job)
            .bind(token)
            .fetch_optional(&mut *conn)
            .await?;
    match wanted {
        None => return Ok(Ownership::LeaseLost),
        Some(Wanted::Dropped) => return Ok(Ownership::Dropped),
        Some(Wanted::Yes | Wanted::Gone) => {}
    }
    let (mut unchanged, mut rows, mut dropped) = (Vec::with_capacity(files.len()), Vec::new(), HashSet::new());
    for file in files {
        let owner = owner(conn, batch, &file.path).await?;
        let is_same = match &owner {
            Some(owner) if owner.job == job => owner.checksum.as_deref() == Some(file.checksum.as_str()),
            Some(owner) => {
                let leaves = owner.superseded
                    || owner.wanted == Wanted::Dropped
                    || !writes(owner.overrides.as_deref(), &file.path);
                // A line that is not in the manifest makes room for one that is, but not the other way round.
                let makes_room = owner.wanted == Wanted::Gone && wanted == Some(Wanted::Yes);
                if !leaves && wanted == Some(Wanted::Gone) && owner.wanted == Wanted::Yes {
                    wanted::note(conn, &[(job.0, Wanted::Dropped)]).await?;
                    return Ok(Ownership::Dropped);
                }
                if !leaves && !makes_room {
                    return Ok(Ownership::Taken { path: file.path.clone(), key: owner.key.clone() });
                }
                if owner.running {
                    return Ok(Ownership::Busy);
                }
                if makes_room && !leaves {
                    dropped.insert(owner.job);
                }
                false
            }
            None => false,
        };
        unchanged.push(is_same);
        if !is_same {
            rows.push(json!([file.path]));
        }
    }
    if !rows.is_empty() {
        query(
            r"-- outputs::own
                INSERT INTO outputs (batch, path, job, checksum)
                SELECT $2, v ->> 0, $3, NULL FROM rows_of($1) AS r WHERE 1 = 1
                ON CONFLICT (batch, path) DO UPDATE SET job = excluded.job, checksum = NULL",
        )
        .bind(json!(rows).to_string())
        .bind(batch)
        .bind(job)
        .execute(&mut *conn)
        .await?;
    }
    if !dropped.is_empty() {
        wanted::note(conn, &dropped.iter().map(|job| (job.0, Wanted::Dropped)).collect::<Vec<_>>()).await?;
    }
    Ok(Ownership::Owned(unchanged))
}

async fn owner(conn: &mut Conn, batch: BatchId, path: &str) -> Result<Option<Owner>, StoreError> {
    let row = query(
        r"-- outputs::owner
          SELECT j.id, j.key, j.overrides, j.wanted, j.token IS NOT NULL AS running, j.state = 'superseded' AS superseded,
            o.checksum
          FROM outputs AS o
          JOIN jobs AS j ON j.id = o.job
          WHERE o.batch = $1 AND o.path = $2",
    )
    .bind(batch)
    .bind(path)
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Owner {
        job: row.try_get("id")?,
        key: row.try_get("key")?,
        overrides: row.try_get("overrides")?,
        checksum: row.try_get("checksum")?,
        running: row.try_get("running")?,
        superseded: row.try_get("superseded")?,
        wanted: row.try_get("wanted")?,
    }))
}
