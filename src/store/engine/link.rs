//! The writer's connection, and how its transactions begin and end.

use std::time::Duration;

use crate::clock::Millis;
use crate::store::{
    StoreError, StoreShared,
    engine::db::{Conn, Found, LONG, Trip, query, too_slow},
    engine::postgres::{self, CommitFailed, ServerLink},
};

/// The writer's connection.
#[derive(Debug)]
pub(super) enum Link {
    /// To a file.
    File(Conn),
    /// To a server.
    Server(Box<ServerLink>),
}

impl Link {
    /// Begins a write transaction, and waits for the ledger's lock. Returns the time, read after that wait, and what these
    /// statements find under the lock.
    pub(super) async fn begin(&mut self, shared: &StoreShared, trip: Trip<'_>) -> Result<(Millis, Found), StoreError> {
        match self {
            Self::File(conn) => {
                query("BEGIN IMMEDIATE").execute(&mut *conn).await?;
                let now = shared.clock.now();
                match trip.make(conn).await {
                    Ok(found) => Ok((now, found)),
                    Err(e) => {
                        self.roll_back().await;
                        Err(e)
                    }
                }
            }
            Self::Server(link) => {
                let (now, found) = link.begin(shared, trip).await?;
                shared.clock.follow(now);
                Ok((shared.clock.now(), found))
            }
        }
    }

    /// The connection in a transaction.
    pub(super) fn conn(&mut self) -> &mut Conn {
        match self {
            Self::File(conn) => conn,
            Self::Server(link) => link.conn(),
        }
    }

    /// Commits. What failed is undone, unless only the ledger knows.
    pub(super) async fn commit(&mut self, shared: &StoreShared, now: Millis) -> Result<(), CommitFailed> {
        match self {
            Self::File(conn) => match query("COMMIT").execute(&mut *conn).await {
                Ok(_) => Ok(()),
                Err(e) => {
                    self.roll_back().await;
                    Err(CommitFailed::Undone(e))
                }
            },
            Self::Server(link) => link.commit(shared, now).await,
        }
    }

    /// Whether the transaction whose commit is in doubt is in the ledger.
    pub(super) async fn is_in(&mut self, shared: &StoreShared) -> Result<bool, StoreError> {
        match self {
            Self::File(_) => Ok(false),
            Self::Server(link) => link.is_in(shared).await,
        }
    }

    /// Undoes the transaction.
    pub(super) async fn roll_back(&mut self) {
        match self {
            // SQLite rolls back by itself on some errors; then this has nothing to do and fails.
            Self::File(conn) => drop(query("ROLLBACK").execute(conn).await),
            Self::Server(link) => link.roll_back().await,
        }
    }

    /// How long the statements of a transaction may take; `None`: as long as they take.
    pub(super) const fn patience(&self, has_verbs: bool) -> Option<Duration> {
        match self {
            Self::File(_) => None,
            Self::Server(_) if has_verbs => Some(LONG),
            Self::Server(_) => Some(postgres::HOT),
        }
    }

    /// A transaction took too long: its connection is given up.
    pub(super) fn give_up(&mut self) -> StoreError {
        if let Self::Server(link) = self {
            link.drop_conn();
        }
        too_slow()
    }

    pub(super) async fn close(self) {
        match self {
            Self::File(conn) => conn.close().await,
            Self::Server(link) => link.close().await,
        }
    }
}
