//! Texts to be synthesized: each is stored once, however many jobs use it.

use std::{collections::HashSet, sync::Arc};

use crate::store::engine::db::{Conn, Insert, query, query_as, query_scalar};
use crate::store::{Store, StoreError, engine::packed};
use crate::{
    clock::Millis,
    domain::{
        identity::{Identity, text_identity},
        job::{BatchId, JobId},
    },
};

/// How many texts one statement takes: its values are limited.
const AT_ONCE: usize = 1_000;

/// A text on its way into the ledger. It is cheap to clone: the voices and formats of a line share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    id: Identity,
    body: Arc<str>,
    characters: u64,
}

impl Text {
    /// Makes a text of this body.
    #[must_use]
    pub fn new(body: impl Into<Arc<str>>) -> Self {
        let body = body.into();
        Self { id: text_identity(&body), characters: body.chars().count() as u64, body }
    }

    /// Its identity, which is also that of a job that synthesizes it.
    #[must_use]
    pub const fn id(&self) -> Identity {
        self.id
    }

    /// Its length in Unicode scalar values.
    #[must_use]
    pub const fn characters(&self) -> u64 {
        self.characters
    }
}

/// The texts of a set of lines, each one once.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Texts {
    seen: HashSet<Identity>,
    texts: Vec<Text>,
}

/// A text as it is stored in its row.
#[derive(Debug)]
pub(in crate::store) struct Packed {
    id: Identity,
    bytes: usize,
    characters: u64,
    body: Result<Vec<u8>, Vec<u8>>,
}

impl Texts {
    pub(in crate::store) fn add(&mut self, text: &Text) {
        if self.seen.insert(text.id) {
            self.texts.push(text.clone());
        }
    }

    pub(in crate::store) fn pack(self) -> Vec<Packed> {
        let pack = |text: Text| Packed {
            id: text.id,
            bytes: text.body.len(),
            characters: text.characters,
            body: packed::pack(text.body.as_bytes()),
        };
        self.texts.into_iter().map(pack).collect()
    }
}

pub(in crate::store) async fn insert(conn: &mut Conn, texts: &[Packed]) -> Result<(), StoreError> {
    for set in texts.chunks(AT_ONCE) {
        let mut insert = Insert::into("texts", &["id", "packed", "bytes", "characters", "body"]);
        for text in set {
            let (Ok(body) | Err(body)) = &text.body;
            insert
                .bind(text.id)
                .bind(text.body.is_ok())
                .bind(i64::try_from(text.bytes).unwrap_or(i64::MAX))
                .bind(i64::try_from(text.characters).unwrap_or(i64::MAX))
                .bind(body.as_slice());
        }
        insert.ending("ON CONFLICT (id) DO NOTHING").execute(&mut *conn).await?;
    }
    Ok(())
}

impl Store {
    /// The text that a job synthesizes; `None` if it has none.
    pub async fn text(&self, job: JobId) -> Result<Option<String>, StoreError> {
        let row = query(
            r"-- texts::text
              SELECT t.packed, t.bytes, t.body
              FROM jobs j JOIN texts t ON t.id = j.text
              WHERE j.id = $1",
        )
        .bind(job)
        .fetch_optional(&self.read)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let text = String::from_utf8(packed::unpack(&row)?.into());
        text.map(Some).map_err(|e| StoreError::Unexpected(format!("a text is not UTF-8: {e}")))
    }

    /// When a job was submitted, in ms since 1970.
    pub async fn submitted_at(&self, job: JobId) -> Result<Millis, StoreError> {
        query_scalar("SELECT submitted_at FROM jobs WHERE id = $1").bind(job).fetch_one(&self.read).await
    }

    /// Removes the texts of a batch's superseded jobs that no other job uses. Returns how many.
    pub(in crate::store) async fn prune_texts(&self, batch: BatchId) -> Result<u64, StoreError> {
        let mut gone = 0;
        loop {
            let (freed, left) = self.write(move |conn, _| Box::pin(prune_some(conn, batch))).await?;
            gone += freed;
            if !left {
                return Ok(gone);
            }
        }
    }
}

/// Removes some of them. Also returns whether there may be more.
async fn prune_some(conn: &mut Conn, batch: BatchId) -> Result<(u64, bool), StoreError> {
    let jobs: Vec<(i64, Vec<u8>)> = query_as(
        r"-- texts::prune_some
          SELECT id, text
          FROM jobs
          WHERE batch = $1 AND state = 'superseded' AND token IS NULL AND text IS NOT NULL
          LIMIT $2",
    )
    .bind(batch)
    .bind(i64::try_from(AT_ONCE).unwrap_or(i64::MAX))
    .fetch_all(&mut *conn)
    .await?;
    let mut gone = 0;
    for (job, text) in &jobs {
        query("UPDATE jobs SET text = NULL WHERE id = $1").bind(job).execute(&mut *conn).await?;
        let freed = query(
            r"-- texts::prune_some
              DELETE FROM texts
              WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM jobs WHERE text = $1)",
        )
        .bind(text)
        .execute(&mut *conn)
        .await?;
        gone += freed.rows_affected();
    }
    Ok((gone, jobs.len() == AT_ONCE))
}
