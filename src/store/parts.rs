//! Jobs of many parts: their journals in one reading, and the parts that needed no call.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use serde_json::json;
use sqlx::{Row, SqliteConnection};

use super::{Store, StoreError, packed::unpack, rows};
use crate::{
    clock::Millis,
    domain::{
        batch::BatchSpec,
        identity::Identity,
        job::{ALL_PARTS, BatchId, JobId, Journals, Token},
        synthesis::Rendition,
    },
};

/// Jobs whose texts are read at once.
const JOBS_AT_ONCE: i64 = 200;

/// Whether every part of a job that speaks is there, of its own calls or of the spool.
macro_rules! all_parts_of {
    ($job:literal) => {
        concat!(
            "coalesce((SELECT count(*) FROM (SELECT part FROM calls WHERE job = ",
            $job,
            ".id AND state = 'answered' UNION SELECT part FROM reused WHERE job = ",
            $job,
            ".id)) >= ",
            $job,
            ".parts, 0)"
        )
    };
}
pub(super) use all_parts_of;

/// A part whose sound was in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reused {
    /// Which part.
    pub part: i64,
    /// Its sound.
    pub fingerprint: Identity,
    /// Length of its text.
    pub characters: u32,
}

async fn is_mine(conn: &mut SqliteConnection, job: JobId, token: Token) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM jobs WHERE id = ? AND token = ? AND state = 'running')";
    Ok(sqlx::query_scalar(sql).bind(job.0).bind(token.0).fetch_one(conn).await?)
}

impl Store {
    /// The journals of all parts of a job: their calls since the user's last `retry`, and any that is open or answered.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn journals(&self, job: JobId, era: i64) -> Result<Journals, StoreError> {
        let mut journals = Journals::default();
        let calls = sqlx::query(
            "SELECT c.*, EXISTS (SELECT 1 FROM processes p WHERE p.id = c.process) AS awaited FROM calls c \
             WHERE job = ? AND (era = ? OR state IN ('sent', 'accepted', 'answered')) ORDER BY id",
        )
        .bind(job.0)
        .bind(era)
        .fetch_all(&self.read)
        .await?;
        for row in &calls {
            journals.parts.entry(row.try_get("part")?).or_default().calls.push(rows::call_record(row)?);
        }
        let anew: Vec<(i64, Millis)> =
            sqlx::query_as("SELECT part, at FROM anew WHERE job = ?").bind(job.0).fetch_all(&self.read).await?;
        journals.anew = anew.into_iter().collect();
        let reused: Vec<i64> =
            sqlx::query_scalar("SELECT part FROM reused WHERE job = ?").bind(job.0).fetch_all(&self.read).await?;
        journals.reused = reused.into_iter().collect();
        Ok(journals)
    }

    /// Whether any job has bought this sound at that moment (ms since 1970) or later, and it counts yet: then what is in
    /// the spool is not what was there before.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn bought_since(&self, sound: Identity, at: Millis) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM calls WHERE fingerprint = ? AND fingerprint IS NOT NULL AND state = 'answered' AND ended_at >= ?)",
        )
        .bind(sound.0.as_slice())
        .bind(at)
        .fetch_one(&self.read)
        .await?)
    }

    /// Notes parts whose sound is in the spool. `false`: the lease was lost. What is noted first and looked at then cannot be
    /// pruned in between.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn reuse(&self, job: JobId, token: Token, parts: &[Reused]) -> Result<bool, StoreError> {
        let set: Vec<_> = parts.iter().map(|r| json!([r.part, r.fingerprint.hex(), r.characters])).collect();
        let set = serde_json::Value::from(set).to_string();
        self.write(move |conn, _| {
            let set = set.clone();
            Box::pin(async move {
                let mine = is_mine(conn, job, token).await?;
                if mine {
                    sqlx::query(
                        "INSERT OR REPLACE INTO reused (job, part, fingerprint, characters) \
                         SELECT ?2, value ->> 0, unhex(value ->> 1), value ->> 2 FROM json_each(?1)",
                    )
                    .bind(set)
                    .bind(job.0)
                    .execute(conn)
                    .await?;
                }
                Ok(mine)
            })
        })
        .await
    }

    /// Sets parts of a job aside, however they came to be there: they are bought anew. `false`: the lease was lost.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn set_parts_aside(&self, job: JobId, token: Token, parts: Vec<i64>) -> Result<bool, StoreError> {
        let set = json!(parts).to_string();
        self.write(move |conn, _| {
            let set = set.clone();
            Box::pin(async move {
                let mine = is_mine(conn, job, token).await?;
                if mine {
                    for sql in [
                        "UPDATE calls SET state = 'replaced' WHERE job = ? AND state = 'answered' AND part IN (SELECT value FROM json_each(?))",
                        "DELETE FROM reused WHERE job = ? AND part IN (SELECT value FROM json_each(?))",
                    ] {
                        sqlx::query(sql).bind(job.0).bind(&set).execute(&mut *conn).await?;
                    }
                }
                Ok(mine)
            })
        })
        .await
    }

    /// Sounds that the spool must keep: those that unfinished jobs have bought or reused, or are going to ask for, and those
    /// that are bought now.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn needed_fingerprints(&self) -> Result<HashSet<Identity>, StoreError> {
        let needed: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT c.fingerprint FROM jobs j JOIN calls c ON c.job = j.id \
             WHERE (j.due_at IS NOT NULL OR j.token IS NOT NULL) AND c.state = 'answered' AND c.fingerprint IS NOT NULL \
             UNION SELECT r.fingerprint FROM reused r JOIN jobs j ON j.id = r.job WHERE j.due_at IS NOT NULL OR j.token IS NOT NULL \
             UNION SELECT fingerprint FROM calls WHERE state IN ('sent', 'accepted') AND fingerprint IS NOT NULL",
        )
        .fetch_all(&self.read)
        .await?;
        let identity = |bytes: Vec<u8>| {
            let half =
                bytes.try_into().map_err(|_| StoreError::Unexpected("a fingerprint of another length".into()))?;
            Ok(Identity(half))
        };
        let mut needed = needed.into_iter().map(identity).collect::<Result<_, StoreError>>()?;
        self.add_asked_for(&mut needed).await?;
        Ok(needed)
    }

    /// Adds the sounds of all unfinished jobs: a text that was edited is bought but for what has changed, and until its job
    /// is worked nothing says so.
    async fn add_asked_for(&self, needed: &mut HashSet<Identity>) -> Result<(), StoreError> {
        let (mut after, mut specs) = (0_i64, HashMap::new());
        let anew: Vec<(i64, i64)> =
            sqlx::query_as("SELECT a.job, a.part FROM anew a JOIN jobs j ON j.id = a.job WHERE j.due_at IS NOT NULL")
                .fetch_all(&self.read)
                .await?;
        let anew: HashSet<_> = anew.into_iter().collect();
        loop {
            let rows = sqlx::query(
                "SELECT j.id, j.batch, j.overrides, t.packed, t.bytes, t.body FROM jobs j JOIN texts t ON t.id = j.text \
                 WHERE j.id > ? AND j.due_at IS NOT NULL ORDER BY j.id LIMIT ?",
            )
            .bind(after)
            .bind(JOBS_AT_ONCE)
            .fetch_all(&self.read)
            .await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.try_get("id")?;
            for row in &rows {
                let batch = BatchId(row.try_get("batch")?);
                if let Entry::Vacant(unread) = specs.entry(batch) {
                    // One that cannot be read cannot be worked either.
                    unread.insert(serde_json::from_str::<BatchSpec>(&self.batch_by_id(batch).await?.spec).ok());
                }
                let asked = specs[&batch].as_ref().and_then(|spec| spec.task.synthesis());
                let of: Option<String> = row.try_get("overrides")?;
                let of = of.and_then(|json| serde_json::from_str::<Rendition>(&json).ok());
                // What is to be spoken again is not needed as it was.
                let job: i64 = row.try_get("id")?;
                let of = of.filter(|of| !of.no_reuse && !anew.contains(&(job, ALL_PARTS)));
                if let Some((asked, of)) = asked.zip(of) {
                    let text = unpack(row)?;
                    let sounds = asked.sounds(&of, std::str::from_utf8(&text).unwrap_or_default());
                    needed.extend(sounds.filter(|(part, _)| !anew.contains(&(job, *part))).map(|(_, sound)| sound));
                }
            }
        }
    }
}
