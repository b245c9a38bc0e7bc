//! The row of a process, and the lock of its session that shows on a server that it lives.

use std::sync::{PoisonError, atomic::Ordering};

use crate::clock::Millis;
use crate::store::engine::db::{Conn, query, query_scalar};
use crate::store::{StoreError, StoreShared};

/// The name of this machine.
pub(in crate::store) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

pub(super) async fn insert(conn: &mut Conn, settings: &str, now: Millis) -> Result<i64, StoreError> {
    query_scalar(
        r"-- processes::insert
          INSERT INTO processes (pid, host, started_at, beat_at, version, settings)
          VALUES ($1, $2, $3, $3, $4, $5)
          RETURNING id",
    )
    .bind(i64::from(std::process::id()))
    .bind(host())
    .bind(now)
    .bind(env!("CARGO_PKG_VERSION"))
    .bind(settings)
    .fetch_one(conn)
    .await
}

/// Takes the lock that shows on a server that this process lives, for as long as its session lasts.
pub(super) async fn lock_session(conn: &mut Conn, process: i64) -> Result<(), StoreError> {
    // An older session of this process may still have it: the server has not noticed its end. Its lock does as well.
    query("SELECT pg_try_advisory_lock(wb_class(), CAST($1 AS INTEGER))").bind(process).fetch_one(conn).await?;
    Ok(())
}

pub(super) async fn unlock_session(conn: &mut Conn, process: i64) -> Result<(), StoreError> {
    query("SELECT pg_advisory_unlock(wb_class(), CAST($1 AS INTEGER))").bind(process).fetch_one(conn).await?;
    Ok(())
}

pub(super) async fn unlock_shared(conn: &mut Conn, process: i64) -> Result<(), StoreError> {
    query("SELECT pg_advisory_unlock_shared(wb_class(), CAST($1 AS INTEGER))").bind(process).fetch_one(conn).await?;
    Ok(())
}

/// A new session on a server shows that its process lives.
pub(super) async fn hold_session(conn: &mut Conn, shared: &StoreShared) -> Result<(), StoreError> {
    match shared.process.load(Ordering::Acquire) {
        0 => Ok(()),
        process => lock_session(conn, process).await,
    }
}

/// Others took this process for dead and gave its jobs to others: it goes on under another number.
pub(super) async fn enlist_anew(conn: &mut Conn, shared: &StoreShared, now: Millis) -> Result<i64, StoreError> {
    let settings = shared.settings.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let id = insert(conn, &settings, now).await?;
    lock_session(conn, id).await?;
    tracing::warn!(
        "the ledger was out of reach for so long that others took over this process's lines; it goes on with new ones"
    );
    Ok(id)
}
