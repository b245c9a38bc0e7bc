//! Notifications: each is posted once, whichever process noticed the event, and kept until it is delivered or given up.

use uuid::Uuid;

use crate::store::engine::db::{Conn, query, query_scalar};
use crate::store::{Store, StoreError, engine::rows};
use crate::{
    clock::Millis,
    domain::{job::BatchId, notice::NoticeEvent},
};

const DAY_MS: i64 = 24 * 3_600_000;
/// After this time without success a notification is given up.
const GIVE_UP_MS: i64 = DAY_MS;
/// How long a delivered notice is remembered. No event that is older may be posted again.
const KEEP_MS: i64 = 30 * DAY_MS;

/// A notice to be posted.
#[derive(Debug, Clone)]
pub struct NewNotice {
    /// The definition's name.
    pub definition: String,
    /// The batch's name.
    pub batch: String,
    /// What happened.
    pub event: NoticeEvent,
    /// Which of several similar events of the batch it is, e.g. the moment when the batch finished.
    pub about: String,
    /// Whether the definition itself names the receivers. Then there are no others.
    pub own: bool,
    /// The complete message: a JSON object. It must contain no secret.
    pub body: String,
}

/// A notice that this process has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    id: i64,
    /// The id by which a receiver detects a repeat.
    pub uid: String,
    /// The definition's name.
    pub definition: String,
    /// The batch's name.
    pub batch: String,
    /// What happened.
    pub event: NoticeEvent,
    /// Whether the definition itself names the receivers.
    pub own: bool,
    /// The message: a JSON object.
    pub body: String,
    /// How often it was taken, including this time. A process that takes it later has another number.
    pub tries: u32,
}

/// What happens to a notice that could not be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undelivered {
    /// It is tried again.
    Again,
    /// It failed for a day: it is kept, but not tried any more.
    GivenUp,
    /// Another process has taken it since then.
    NotOurs,
}

/// The notices that are due by $1, each the oldest waiting one of its batch.
macro_rules! due {
    ($what:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM notices n WHERE n.due_at <= $1 AND NOT EXISTS (SELECT 1 FROM notices e WHERE e.definition = n.definition \
             AND e.batch = n.batch AND e.due_at IS NOT NULL AND e.id < n.id)"
        )
    };
}
const TAKE: &str = concat!(
    "UPDATE notices SET due_at = $2, leased = 1, tries = tries + 1 WHERE id = (",
    due!("n.id"),
    " ORDER BY n.due_at, n.id LIMIT 1) RETURNING id, uid, definition, batch, event, own, body, tries"
);
const IS_DUE: &str = concat!("SELECT EXISTS (", due!("1"), ")");

impl Store {
    /// Stores a notice. `false`: the same was posted before. Notices of this definition that could not be delivered so
    /// far become due at once.
    pub async fn post_notice(&self, new: NewNotice) -> Result<bool, StoreError> {
        let uid = Uuid::now_v7().to_string();
        self.write(move |conn, now| {
            let (new, uid) = (new.clone(), uid.clone());
            Box::pin(async move { post(conn, new, uid, now).await })
        })
        .await
    }

    /// Takes the notice that is due first, for `lease_ms`; after that another process may take it. Only the oldest notice
    /// of a batch is taken: they are delivered in order.
    pub async fn take_notice(&self, lease_ms: i64) -> Result<Option<Notice>, StoreError> {
        self.write(move |conn, now| {
            Box::pin(async move {
                let row = query(TAKE).bind(now).bind(now + lease_ms).fetch_optional(conn).await?;
                row.map(|row| {
                    Ok(Notice {
                        id: row.try_get("id")?,
                        uid: row.try_get("uid")?,
                        definition: row.try_get("definition")?,
                        batch: row.try_get("batch")?,
                        event: row.try_get("event")?,
                        own: row.try_get("own")?,
                        body: row.try_get("body")?,
                        tries: rows::count(&row, "tries")?,
                    })
                })
                .transpose()
            })
        })
        .await
    }

    /// Whether [`take_notice`](Self::take_notice) would return one at `by`. It only reads.
    pub async fn is_notice_due(&self, by: Millis) -> Result<bool, StoreError> {
        query_scalar(IS_DUE).bind(by).fetch_one(&self.read).await
    }

    /// How many notices are neither delivered nor given up.
    pub async fn notices_waiting(&self) -> Result<u64, StoreError> {
        let waiting: i64 =
            query_scalar("SELECT count(*) FROM notices WHERE due_at IS NOT NULL").fetch_one(&self.read).await?;
        Ok(u64::try_from(waiting).unwrap_or(0))
    }

    /// Records that it was delivered. `false`: another process has taken it since then, and delivers it again.
    pub async fn notice_delivered(&self, notice: &Notice) -> Result<bool, StoreError> {
        let (id, tries) = (notice.id, notice.tries);
        self.write(move |conn, _| {
            Box::pin(async move {
                let message = query(
                    r"-- notices::notice_told
                      UPDATE notices
                      SET state = 'delivered', due_at = NULL, leased = 0, failing_since = NULL, error = NULL
                      WHERE id = $1 AND tries = $2 AND state = 'waiting'",
                )
                .bind(id)
                .bind(tries)
                .execute(conn)
                .await?;
                Ok(message.rows_affected() > 0)
            })
        })
        .await
    }

    /// Records that it could not be delivered, with the reason, which must contain no secret; it is due again at `due`.
    pub async fn notice_failed(&self, notice: &Notice, due: Millis, error: &str) -> Result<Undelivered, StoreError> {
        let (id, tries, error) = (notice.id, notice.tries, error.to_owned());
        self.write(move |conn, now| {
            let error = error.clone();
            Box::pin(async move {
                let given_up: Option<bool> = query_scalar(
                    r"-- notices::notice_failed
                      UPDATE notices
                      SET failing_since = coalesce(failing_since, $3), error = $5, leased = 0,
                        state = CASE WHEN coalesce(failing_since, $3) + $6 <= $3 THEN 'given_up' ELSE 'waiting' END,
                        due_at = CASE WHEN coalesce(failing_since, $3) + $6 <= $3 THEN NULL ELSE $4 END
                      WHERE id = $1 AND tries = $2 AND state = 'waiting'
                      RETURNING state = 'given_up'",
                )
                .bind(id)
                .bind(tries)
                .bind(now)
                .bind(due)
                .bind(error)
                .bind(GIVE_UP_MS)
                .fetch_optional(conn)
                .await?;
                Ok(match given_up {
                    Some(true) => Undelivered::GivenUp,
                    Some(false) => Undelivered::Again,
                    None => Undelivered::NotOurs,
                })
            })
        })
        .await
    }

    /// Puts it back without a try, for a process that knows its receivers; it is due again at `due`.
    pub async fn notice_left(&self, notice: &Notice, due: Millis) -> Result<(), StoreError> {
        let (id, tries) = (notice.id, notice.tries);
        self.write(move |conn, _| {
            Box::pin(async move {
                query(
                    r"-- notices::notice_left
                      UPDATE notices
                      SET due_at = $1, leased = 0, tries = tries - 1
                      WHERE id = $2 AND tries = $3 AND state = 'waiting'",
                )
                .bind(due)
                .bind(id)
                .bind(tries)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Deletes notices that were posted over 30 days ago. Returns how many of them were never delivered.
    pub async fn prune_notices(&self) -> Result<u64, StoreError> {
        self.write(move |conn, now| {
            Box::pin(async move {
                let untold: Vec<bool> =
                    query_scalar("DELETE FROM notices WHERE posted_at <= $1 RETURNING state = 'waiting'")
                        .bind(now - KEEP_MS)
                        .fetch_all(conn)
                        .await?;
                Ok(untold.iter().filter(|untold| **untold).count() as u64)
            })
        })
        .await
    }

    /// When a batch was first submitted or last resumed: this identifies its current pause.
    pub async fn resumed_at(&self, batch: BatchId) -> Result<Millis, StoreError> {
        query_scalar("SELECT resumed_at FROM batches WHERE id = $1").bind(batch).fetch_one(&self.read).await
    }
}

async fn post(conn: &mut Conn, new: NewNotice, uid: String, now: Millis) -> Result<bool, StoreError> {
    let posted = query(
        r"-- notices::post
          INSERT INTO notices (uid, definition, batch, event, about, own, body, state, posted_at, due_at)
          VALUES ($1, $2, $3, $4, $5, $6, $7, 'waiting', $8, $8)
          ON CONFLICT (definition, batch, event, about) DO NOTHING",
    )
    .bind(uid)
    .bind(&new.definition)
    .bind(new.batch)
    .bind(new.event)
    .bind(new.about)
    .bind(i64::from(new.own))
    .bind(new.body)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    query(
        r"-- notices::post
          UPDATE notices
          SET due_at = $1
          WHERE definition = $2 AND due_at > $1 AND leased = 0",
    )
    .bind(now)
    .bind(new.definition)
    .execute(conn)
    .await?;
    Ok(posted.rows_affected() > 0)
}
