//! Submitting: lines in sets of thousands, each new, the same, or changed.

use std::sync::Arc;

use sqlx::SqliteConnection;

use super::{Again, BadSet, Begun, LineSet, Store, StoreError, Text, control, lines::Lines, texts};
use crate::{
    clock::Millis,
    domain::{identity::Identity, job::BatchId, pool::Pool, s3::Listed},
};

/// A batch as its definition has it now.
#[derive(Debug, Clone)]
pub struct NewBatch {
    /// Unique in the ledger.
    pub name: String,
    /// The definition's name.
    pub definition: String,
    /// `waves` or `sandbox`.
    pub world: &'static str,
    /// JSON of the whole specification.
    pub spec: String,
    /// Micro-USD over all runs.
    pub max_spend: Option<i64>,
    /// Calls at once.
    pub concurrency: Option<u32>,
    /// Whether a bad share pauses it.
    pub pause_on_failures: bool,
}

/// A line that can be worked, or that names no recording and is skipped.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Its place in the manifest, from 1.
    pub line: u64,
    /// Its key.
    pub key: String,
    /// Where its recording is; `None`: the line names none.
    pub source: Option<String>,
    /// Identity of the recording.
    pub source_id: Identity,
    /// Identity of what shapes the call.
    pub options_id: Identity,
    /// JSON of options that differ from the batch's.
    pub overrides: Option<String>,
    /// JSON array of carried cells.
    pub carried: Option<String>,
    /// Where its call goes.
    pub pool: Pool,
    /// What a listing knew of its recording.
    pub expected: Option<Listed>,
    /// JSON array of its outputs' addresses, where they are there already: it is done, if it is new.
    pub adopted: Option<String>,
    /// What it speaks.
    pub speech: Option<NewSpeech>,
}

/// What a job speaks. Its `source_id` is the text's, so that a file that was only moved is the same line.
#[derive(Debug, Clone)]
pub struct NewSpeech {
    /// The text.
    pub text: Text,
    /// Which of its line's jobs it is: voice and format.
    pub variant: String,
}

/// A line that cannot: it stands in the report until it is mended.
#[derive(Debug, Clone)]
pub struct BadJob {
    /// Its place in the manifest.
    pub line: u64,
    /// What is wrong with it.
    pub fault: String,
    /// JSON array of carried cells.
    pub carried: Option<String>,
}

/// What submitting did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Submitted {
    /// Lines that were not there.
    pub new: u64,
    /// Lines that were, with another recording or other options: superseded.
    pub changed: u64,
    /// Lines that were there as they are.
    pub same: u64,
}

impl std::ops::AddAssign for Submitted {
    fn add_assign(&mut self, o: Self) {
        self.new += o.new;
        self.changed += o.changed;
        self.same += o.same;
    }
}

impl Store {
    /// Records a batch, or the newest specification of one that is there. Until [`Store::end_submit`] it is not worked.
    /// The second value: whether it was there.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn begin_submit(&self, batch: NewBatch) -> Result<(BatchId, bool), StoreError> {
        let begun = self.begin(batch, Again::default()).await?;
        Ok((begun.batch, begun.existed))
    }

    /// Submits a set of lines, in one transaction.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn submit(&self, batch: BatchId, good: Vec<NewJob>, bad: Vec<BadJob>) -> Result<Submitted, StoreError> {
        let begun = Begun { batch, existed: true, at: self.now(), redelivered: 0, pruned: 0 };
        let places = u64::try_from(good.len()).unwrap_or(0);
        let good: LineSet = good.iter().zip(0..).collect();
        let bad: BadSet = bad.iter().zip(places..).collect();
        self.submit_sets(begun, vec![(good, bad)]).await
    }

    /// Submits sets of lines, a statement each, in one transaction. The larger it is, the fewer pages of the key's index
    /// are written twice; meanwhile other processes wait.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn submit_sets(&self, begun: Begun, sets: Vec<(LineSet, BadSet)>) -> Result<Submitted, StoreError> {
        let sets: Arc<[_]> = sets.into_iter().map(|(good, bad)| (good.into_lines(), bad.into_json())).collect();
        self.write(move |conn, now| {
            let sets = Arc::clone(&sets);
            Box::pin(async move {
                let mut done = Submitted::default();
                for (good, bad) in &*sets {
                    done += submit_set(conn, begun, (good, bad), now).await?;
                }
                Ok(done)
            })
        })
        .await
    }

    /// The batch is whole: from now on it is worked. Where it was cancelled meanwhile, so are the lines that came after.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn end_submit(&self, batch: BatchId) -> Result<(), StoreError> {
        self.write(move |conn, now| {
            Box::pin(async move {
                sqlx::query(
                    "UPDATE jobs SET state = 'cancelled', due_at = NULL, finished_at = ?1, lane = 'free' \
                     WHERE batch = (SELECT id FROM batches WHERE id = ?2 AND state = 'submitting' AND finished_at IS NOT NULL) \
                     AND state = 'queued' AND due_at IS NOT NULL",
                )
                .bind(now)
                .bind(batch.0)
                .execute(&mut *conn)
                .await?;
                sqlx::query("UPDATE batches SET state = 'open' WHERE id = ? AND state = 'submitting'")
                    .bind(batch.0)
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .await?;
        self.stir();
        Ok(())
    }

    /// Lines of a batch whose outputs were there before it.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub async fn adopted(&self, batch: BatchId) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM jobs WHERE batch = ? AND state = 'succeeded' AND notes = 'adopted'";
        let count: i64 = sqlx::query_scalar(sql).bind(batch.0).fetch_one(&self.read).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

// `jsonb_each`: `json_each` would write each line out as text again, only to have it parsed for each of its cells.

async fn submit_set(
    conn: &mut SqliteConnection,
    begun: Begun,
    (good, bad): (&Lines, &str),
    now: Millis,
) -> Result<Submitted, StoreError> {
    let batch = begun.batch;
    let mut done = Submitted::default();
    texts::insert(conn, &good.texts).await?;
    let ordinal: i64 = sqlx::query_scalar("SELECT coalesce(max(ordinal), 0) FROM jobs WHERE batch = ?")
        .bind(batch.0)
        .fetch_one(&mut *conn)
        .await?;
    // In a batch that was made just now no line can meet an older self.
    if begun.existed && ordinal > 0 {
        sqlx::query(STAGE_TABLE).execute(&mut *conn).await?;
        sqlx::query("DELETE FROM incoming").execute(&mut *conn).await?;
        let stage = if good.speaks() { STAGE_SPEECH } else { STAGE };
        sqlx::query(stage).bind(&*good.json).execute(&mut *conn).await?;
        refresh_same(conn, batch).await?;
        done.changed = supersede(conn, batch, now).await?;
    }
    done.new = insert_new(conn, batch, good, ordinal, now).await?;
    insert_bad(conn, batch, bad, ordinal, now.max(begun.at)).await?;
    done.same = good.len.saturating_sub(done.new + done.changed);
    if begun.existed && done.new + done.changed > 0 {
        control::unfinish(conn, batch).await?;
    }
    Ok(done)
}

const STAGE_TABLE: &str = "CREATE TEMP TABLE IF NOT EXISTS incoming (line INTEGER, key TEXT, source TEXT, source_id BLOB, \
     options_id BLOB, overrides TEXT, carried TEXT, pool TEXT, source_bytes INTEGER, source_etag TEXT, variant TEXT, text BLOB, \
     characters INTEGER, PRIMARY KEY (key, variant))";
macro_rules! stage {
    ($variant:literal, $text:literal, $characters:literal) => {
        concat!(
            "INSERT OR IGNORE INTO incoming SELECT value ->> 0, value ->> 1, value ->> 2, unhex(value ->> 3), unhex(value ->> 4), \
             value ->> 5, value ->> 6, value ->> 7, value ->> 9, value ->> 10, ",
            $variant,
            ", ",
            $text,
            ", ",
            $characters,
            " FROM jsonb_each(?)"
        )
    };
}
const STAGE: &str = stage!("''", "NULL", "NULL");
const STAGE_SPEECH: &str = stage!("coalesce(value ->> 12, '')", "unhex(value ->> 13)", "value ->> 14");

/// The same recordings with the same options: a fresher signature and other carried cells take the place of the old.
async fn refresh_same(conn: &mut SqliteConnection, batch: BatchId) -> Result<(), StoreError> {
    // CROSS JOIN: the few thousand that come are looked up among the million that are there, and not the other way round.
    sqlx::query(
        "UPDATE jobs SET (source, carried, line, overrides) = \
           (SELECT i.source, i.carried, i.line, i.overrides FROM incoming i WHERE i.key = jobs.key AND i.variant = jobs.variant) \
         WHERE id IN (SELECT j.id FROM incoming i CROSS JOIN jobs j \
           ON j.batch = ? AND j.key = i.key AND j.variant = i.variant AND j.state <> 'superseded' \
           WHERE j.source_id = i.source_id AND j.options_id = i.options_id \
           AND (j.source IS NOT i.source OR j.carried IS NOT i.carried OR j.line <> i.line OR j.overrides IS NOT i.overrides))",
    )
    .bind(batch.0)
    .execute(&mut *conn)
    .await?;
    // A line that was bad and is mended stands under its own key now.
    sqlx::query(
        "UPDATE jobs SET state = 'superseded' WHERE batch = ? AND state = 'failed' AND error_kind = 'bad_line' \
         AND line IN (SELECT line FROM incoming)",
    )
    .bind(batch.0)
    .execute(conn)
    .await?;
    Ok(())
}

async fn supersede(conn: &mut SqliteConnection, batch: BatchId, now: Millis) -> Result<u64, StoreError> {
    // Whose process is gone has no worker any more, though its token still stands there.
    let old: Vec<(i64, bool)> = sqlx::query_as(
        "SELECT j.id, j.token IS NOT NULL AND EXISTS (SELECT 1 FROM processes p WHERE p.id = j.process) \
         FROM incoming i CROSS JOIN jobs j ON j.batch = ? AND j.key = i.key AND j.variant = i.variant AND j.state <> 'superseded' \
         WHERE j.source_id <> i.source_id OR j.options_id <> i.options_id",
    )
    .bind(batch.0)
    .fetch_all(&mut *conn)
    .await?;
    for (id, held) in &old {
        if !held {
            control::give_up_open_calls(conn, *id, now).await?;
        }
        sqlx::query(
            "UPDATE jobs SET state = 'superseded', due_at = NULL, token = iif(?2, token, NULL), process = iif(?2, process, NULL) \
             WHERE id = ?1",
        )
        .bind(id)
        .bind(held)
        .execute(&mut *conn)
        .await?;
        // Its place in the report is the old one's; its start waits until the old one's worker has stopped, or that of
        // the one for which the old one waited itself.
        sqlx::query(
            "INSERT INTO jobs (batch, ordinal, line, key, source, source_id, options_id, overrides, carried, pool, source_bytes, \
               source_etag, variant, text, characters, state, lane, due_at, after, submitted_at, finished_at) \
             SELECT o.batch, o.ordinal, i.line, i.key, i.source, i.source_id, i.options_id, i.overrides, i.carried, i.pool, i.source_bytes, \
               i.source_etag, i.variant, i.text, i.characters, \
               CASE WHEN i.source IS NULL AND i.text IS NULL THEN 'skipped' ELSE 'queued' END, CASE WHEN i.source IS NULL AND i.text IS NULL THEN 'free' ELSE i.pool END, \
               CASE WHEN i.source IS NULL AND i.text IS NULL THEN NULL WHEN h.id IS NULL THEN ?2 ELSE ?2 + 60000 END, \
               h.id, ?2, CASE WHEN i.source IS NULL AND i.text IS NULL THEN ?2 END \
             FROM jobs o JOIN incoming i ON i.key = o.key AND i.variant = o.variant \
             LEFT JOIN jobs h ON h.id = iif(o.token IS NULL, o.after, o.id) AND h.token IS NOT NULL WHERE o.id = ?1",
        )
        .bind(id)
        .bind(now)
        .execute(&mut *conn)
        .await?;
    }
    Ok(u64::try_from(old.len()).unwrap_or(0))
}

macro_rules! insert_new {
    ($variant:literal, $text:literal, $characters:literal, $idle:literal) => {
        concat!(
            "INSERT INTO jobs (batch, ordinal, line, key, source, source_id, options_id, overrides, carried, pool, source_bytes, \
               source_etag, variant, text, characters, state, lane, due_at, submitted_at, finished_at, outputs, notes) \
             SELECT ?2, ?3 + 1 + (value ->> 8), value ->> 0, value ->> 1, value ->> 2, unhex(value ->> 3), unhex(value ->> 4), \
               value ->> 5, value ->> 6, value ->> 7, value ->> 9, value ->> 10, ",
            $variant, ", ", $text, ", ", $characters,
            ", iif(value ->> 11 IS NOT NULL, 'succeeded', iif(", $idle, ", 'skipped', 'queued')), \
               iif(", $idle, " OR value ->> 11 IS NOT NULL, 'free', value ->> 7), \
               iif(", $idle, " OR value ->> 11 IS NOT NULL, NULL, ?4), ?4, \
               iif(", $idle, " OR value ->> 11 IS NOT NULL, ?4, NULL), value ->> 11, iif(value ->> 11 IS NULL, NULL, 'adopted') \
             FROM jsonb_each(?1) WHERE true ON CONFLICT DO NOTHING"
        )
    };
}
const INSERT: &str = insert_new!("''", "NULL", "NULL", "value ->> 2 IS NULL");
const INSERT_SPEECH: &str = insert_new!(
    "coalesce(value ->> 12, '')",
    "unhex(value ->> 13)",
    "value ->> 14",
    "(value ->> 2 IS NULL AND value ->> 13 IS NULL)"
);

async fn insert_new(
    conn: &mut SqliteConnection,
    batch: BatchId,
    good: &Lines,
    ordinal: i64,
    now: Millis,
) -> Result<u64, StoreError> {
    let inserted = sqlx::query(if good.speaks() { INSERT_SPEECH } else { INSERT })
        .bind(&*good.json)
        .bind(batch.0)
        .bind(ordinal)
        .bind(now)
        .execute(conn)
        .await?;
    Ok(inserted.rows_affected())
}

async fn insert_bad(
    conn: &mut SqliteConnection,
    batch: BatchId,
    bad: &str,
    ordinal: i64,
    now: Millis,
) -> Result<(), StoreError> {
    if bad == "[]" {
        return Ok(());
    }
    // `finished_at` is when it was last seen to be bad: what is older when all lines are read has been mended.
    sqlx::query(
        "INSERT INTO jobs (batch, ordinal, line, key, source_id, options_id, carried, pool, state, lane, submitted_at, finished_at, \
           error_kind, error) \
         SELECT ?2, ?4 + 1 + (value ->> 4), value ->> 0, value ->> 1, zeroblob(16), zeroblob(16), value ->> 3, \
           iif((SELECT task FROM batches WHERE id = ?2) = 'synthesize', 'tts', 'pulse'), 'failed', 'free', \
           ?3, ?3, 'bad_line', value ->> 2 FROM jsonb_each(?1) WHERE true \
         ON CONFLICT (batch, key, variant) WHERE state <> 'superseded' DO UPDATE SET error = excluded.error, carried = excluded.carried, \
           line = excluded.line, finished_at = excluded.finished_at WHERE error_kind IS 'bad_line'",
    )
    .bind(bad)
    .bind(batch.0)
    .bind(now)
    .bind(ordinal)
    .execute(conn)
    .await?;
    Ok(())
}
