//! Forgetting: the content of lines goes, and a tombstone stays, so that nothing is bought again and the books add up.
//!
//! A `forget` has a row. Its lines are first marked, then their rows are scrubbed in short transactions, each of which also
//! notes what is to be removed outside the ledger ([`items`]). So a process that is killed leaves a list of what is left to
//! do, and the next one goes on. The rows of that list go last, when the receipt is final: a path often has a key in it.
//!
//! [`personal`] names the columns that hold content. The statements of [`scrub`] are held against it by a test.

mod clean;
mod items;
mod mark;
pub(super) mod personal;
mod scrub;
mod tombstones;
mod traces;

pub use clean::Cleaned;
pub use items::{ForgetItem, ForgetPlan, ForgottenLine};
pub use mark::{BusyLine, MarkRefused, Marked};
pub use tombstones::ForgottenKeys;
pub use traces::JobTraces;

use std::sync::atomic::Ordering;

use serde_json::json;

use crate::store::engine::db::{Row, query, query_as};
use crate::store::{Store, StoreError};
use crate::{clock::Millis, domain::forget::ForgetSpec};

/// The number of a `forget` in its ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ForgetId(pub i64);

/// A `forget` that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenForget {
    /// Its number.
    pub id: ForgetId,
    /// By which its receipt names it.
    pub uid: String,
    /// What it removes.
    pub spec: ForgetSpec,
    /// When it was asked for, in ms since 1970.
    pub asked_at: Millis,
    /// Where its receipt is written.
    pub receipt: Option<String>,
}

fn id_rows(ids: impl IntoIterator<Item = i64>) -> String {
    json!(ids.into_iter().map(|id| [id]).collect::<Vec<_>>()).to_string()
}

fn open_forget(row: &Row) -> Result<OpenForget, StoreError> {
    let spec: String = row.try_get("spec")?;
    Ok(OpenForget {
        id: ForgetId(row.try_get("id")?),
        uid: row.try_get("uid")?,
        spec: serde_json::from_str(&spec)
            .map_err(|e| StoreError::Unexpected(format!("what a `forget` is to remove: {e}")))?,
        asked_at: row.try_get("asked_at")?,
        receipt: row.try_get("receipt")?,
    })
}

impl Store {
    /// Begins a `forget`, which has no lines yet.
    pub async fn begin_forget(
        &self,
        uid: String,
        spec: ForgetSpec,
        receipt: Option<String>,
    ) -> Result<OpenForget, StoreError> {
        let json = json!(spec).to_string();
        let asked_for = receipt.clone();
        let (kept, process) = (uid.clone(), self.own_process());
        let (id, asked_at) = self
            .write(move |conn, now| {
                let (uid, json, receipt) = (kept.clone(), json.clone(), asked_for.clone());
                Box::pin(async move {
                    query_as::<(i64, Millis)>(
                        r"-- forget::begin_forget
                          INSERT INTO forgets (uid, spec, state, asked_at, receipt, process) VALUES ($1, $2, 'marking', $3, $4, $5)
                          RETURNING id, asked_at",
                    )
                    .bind(uid)
                    .bind(json)
                    .bind(now)
                    .bind(receipt)
                    .bind(process)
                    .fetch_one(conn)
                    .await
                })
            })
            .await?;
        Ok(OpenForget { id: ForgetId(id), uid, spec, asked_at, receipt })
    }

    fn own_process(&self) -> Option<i64> {
        Some(self.shared.process.load(Ordering::Acquire)).filter(|id| *id != 0)
    }

    /// Takes a `forget` over, unless a process that lives works on it.
    pub async fn take_forget(&self, forget: ForgetId) -> Result<bool, StoreError> {
        self.reap().await?;
        let process = self.own_process();
        self.write(move |conn, _| {
            Box::pin(async move {
                let taken = query(
                    r"-- forget::take_forget
                      UPDATE forgets
                      SET process = $2
                      WHERE id = $1 AND state <> 'done' AND (process IS NULL OR process = $2
                        OR NOT EXISTS (SELECT 1 FROM processes AS p WHERE p.id = forgets.process))",
                )
                .bind(forget.0)
                .bind(process)
                .execute(conn)
                .await?;
                Ok(taken.rows_affected() > 0)
            })
        })
        .await
    }

    /// All lines of a `forget` are marked: from now on it removes.
    pub async fn all_marked(&self, forget: ForgetId) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            Box::pin(async move {
                query("UPDATE forgets SET state = 'working' WHERE id = $1 AND state = 'marking'")
                    .bind(forget.0)
                    .execute(conn)
                    .await?;
                Ok(())
            })
        })
        .await
    }

    /// The ones that are not done, oldest first. One that was cut off while it marked its lines goes on with those.
    pub async fn open_forgets(&self) -> Result<Vec<OpenForget>, StoreError> {
        let rows = query(
            r"-- forget::open_forgets
              SELECT id, uid, spec, asked_at, receipt
              FROM forgets
              WHERE state <> 'done'
              ORDER BY id",
        )
        .fetch_all(&self.read)
        .await?;
        rows.iter().map(open_forget).collect()
    }

    /// Scrubs the next marked lines of a `forget`, in one short transaction. Returns how many; 0 is the end.
    pub async fn forget_some(&self, forget: &OpenForget) -> Result<u64, StoreError> {
        let (id, spec, salt) = (forget.id, forget.spec.clone(), self.id().to_owned());
        let done = self
            .write(move |conn, now| {
                let (spec, salt) = (spec.clone(), salt.clone());
                Box::pin(async move { scrub::scrub_some(conn, (id, &spec, &salt), now).await })
            })
            .await?;
        self.let_others_write().await?;
        Ok(done)
    }

    /// A `forget` has left nothing to do, and its receipt is final: its list goes. `digest` is the receipt's.
    pub async fn end_forget(&self, forget: ForgetId, digest: String) -> Result<(), StoreError> {
        let note = move |ends: bool| {
            let digest = digest.clone();
            self.write(move |conn, now| {
                let digest = digest.clone();
                Box::pin(async move {
                    if !ends {
                        let gone = query(
                            r"-- forget::end_forget
                              DELETE FROM forget_items
                              WHERE forget = $1 AND nth IN (SELECT nth FROM forget_items WHERE forget = $1 ORDER BY nth LIMIT $2)",
                        )
                        .bind(forget.0)
                        .bind(ITEMS_AT_ONCE)
                        .execute(conn)
                        .await?;
                        return Ok(gone.rows_affected() > 0);
                    }
                    query(
                        r"-- forget::end_forget
                          UPDATE forgets
                          SET state = 'done', finished_at = $2, digest = $3
                          WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM forget_items WHERE forget = $1)",
                    )
                    .bind(forget.0)
                    .bind(now)
                    .bind(digest)
                    .execute(conn)
                    .await?;
                    Ok(false)
                })
            })
        };
        while note(false).await? {
            self.let_others_write().await?;
        }
        note(true).await?;
        Ok(())
    }

    /// Notes the digest of a receipt, while something is still to be tried again.
    pub async fn note_receipt(&self, forget: ForgetId, digest: String) -> Result<(), StoreError> {
        self.write(move |conn, _| {
            let digest = digest.clone();
            Box::pin(async move {
                query("UPDATE forgets SET digest = $2 WHERE id = $1").bind(forget.0).bind(digest).execute(conn).await?;
                Ok(())
            })
        })
        .await
    }

    /// The digest of the receipt with this name, if this ledger wrote one; the inner one is `None` while it works.
    pub async fn receipt_digest(&self, uid: &str) -> Result<Option<Option<String>>, StoreError> {
        let found: Option<(Option<String>,)> =
            query_as("SELECT digest FROM forgets WHERE uid = $1").bind(uid).fetch_optional(&self.read).await?;
        Ok(found.map(|(digest,)| digest))
    }
}

/// How many rows of the list one transaction removes.
const ITEMS_AT_ONCE: i64 = 4_000;

#[cfg(test)]
mod tests;
