//! A ledger on a PostgreSQL server: what is refused, its settings, and the writer's connection.
//!
//! A write transaction begins with `wb_begin`, a function of the migration. It takes the ledger's lock, and only then
//! reads the server's clock: so writers of all processes work one after the other, as `BEGIN IMMEDIATE` makes them in
//! SQLite, and each sees all that was committed before.

use std::{fs, os::unix::fs::DirBuilderExt, path::Path, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;
use uuid::Uuid;

use crate::clock::Millis;
use crate::store::{
    StoreError, StoreShared,
    engine::address::ServerAddress,
    engine::db::{Conn, Found, LAST_CONNECT, PLANS, Readers, ServerReaders, Trip, Wire, of_postgres},
    engine::opening::{Opened, Opening},
    engine::schema,
};

/// The oldest server that is supported, as `server_version_num` says it.
const MIN_SERVER: i32 = 140_000;
/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the beginning of a transaction may take: a little longer than the wait for the ledger's lock.
const BEGIN: Duration = Duration::from_secs(15);
/// How long the statements of a transaction of the hot path may take.
pub(super) const HOT: Duration = Duration::from_secs(15);

/// Settings of each connection: a lock is not waited for without end, and the server notices soon when the other end of a
/// transaction is gone, since its lock keeps all other writers waiting.
fn settings(opening: &Opening) -> [(&'static str, String); 7] {
    [
        ("lock_timeout", opening.busy_timeout.as_millis().to_string()),
        // `Wire` writes strings in which a backslash is a backslash.
        ("standard_conforming_strings", "on".to_owned()),
        ("idle_in_transaction_session_timeout", "15000".to_owned()),
        ("tcp_keepalives_idle", "5".to_owned()),
        ("tcp_keepalives_interval", "2".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
        ("tcp_user_timeout", "10000".to_owned()),
    ]
}

/// Opens a ledger on a server.
pub(super) async fn open(
    server: &ServerAddress,
    opening: &Opening,
    shared: &Arc<StoreShared>,
) -> Result<Opened<ServerLink>, StoreError> {
    let options = server.options.clone().options(settings(opening)).disable_statement_logging();
    let (mut conn, mut options) = (connect(&options.clone().options(PLANS)).await?, options);
    refuse(&mut conn).await?;
    if let Some(schema) = &server.schema {
        make_schema(&mut conn, schema, opening.create).await.map_err(of_postgres)?;
        options = options.options([("search_path", schema)]);
        conn = connect(&options.clone().options(PLANS)).await?;
    }
    let fresh = schema::of_postgres(&mut conn, &shared.outgrown.ledger, opening.create).await?;
    if opening.create {
        make_local_files(&opening.local_files)?;
    }
    let mut conn = Conn::from(conn);
    let link = ServerLink { options: options.clone().options(PLANS), conn: None, writer: Uuid::now_v7(), number: 0 };
    if opening.server_time {
        let now = super::db::query_scalar("SELECT wb_now()").fetch_one(&mut conn).await?;
        shared.clock.follow(now);
    }
    let id = schema::ledger_id(&mut conn, shared.clock.now(), &shared.outgrown.ledger, opening.for_copy).await?;
    let pool = PgPoolOptions::new()
        .max_connections(4)
        .acquire_timeout(CONNECT)
        .after_release(|conn, _| Box::pin(still_answers(conn)))
        .connect_lazy_with(options);
    let readers = Readers::Postgres(ServerReaders { pool, shared: Arc::clone(shared) });
    Ok(Opened { conn, readers, id, fresh, place: link })
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    match timeout(CONNECT, PgConnection::connect_with(options)).await {
        Ok(conn) => conn.map_err(of_postgres),
        Err(_) => Err(too_slow("the server did not answer within 5 s")),
    }
}

/// The pool waits without end for a connection that comes back, and it has few: one on a silent network is thrown away.
async fn still_answers(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    Ok(matches!(timeout(CONNECT, conn.ping()).await, Ok(Ok(()))))
}

fn too_slow(words: &str) -> StoreError {
    of_postgres(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, words)))
}

/// Makes the folder for what is only of this machine, before anything is paid for that needs it.
fn make_local_files(folder: &Path) -> Result<(), StoreError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| StoreError::Path { path: folder.to_owned(), source })
}

/// Makes the schema, if it is not there. A user who may not make schemas can use one that is.
async fn make_schema(conn: &mut PgConnection, schema: &str, create: bool) -> Result<(), sqlx::Error> {
    let there = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
    if !create || sqlx::query(there).bind(schema).fetch_optional(&mut *conn).await?.is_some() {
        return Ok(());
    }
    let made = conn.execute(sqlx::raw_sql(AssertSqlSafe(format!("CREATE SCHEMA IF NOT EXISTS {schema}")))).await;
    match made {
        // Another process may have made it at the same time.
        Err(e) if sqlx::query(there).bind(schema).fetch_optional(conn).await?.is_none() => Err(e),
        _ => Ok(()),
    }
}

/// Refuses servers that cannot hold a ledger.
async fn refuse(conn: &mut PgConnection) -> Result<(), StoreError> {
    let row = sqlx::query(
        "SELECT CAST(current_setting('server_version_num') AS INTEGER), current_setting('server_version'),
           pg_is_in_recovery()",
    )
    .fetch_one(conn)
    .await
    .map_err(of_postgres)?;
    let (number, version, standby): (i32, String, bool) = (row.get(0), row.get(1), row.get(2));
    if number < MIN_SERVER {
        return Err(StoreError::OldServer(version));
    }
    if standby {
        return Err(StoreError::Standby);
    }
    Ok(())
}

/// The writer's connection to a server. It is made anew after it broke.
#[derive(Debug)]
pub(super) struct ServerLink {
    options: PgConnectOptions,
    conn: Option<Conn>,
    /// By which the ledger knows this writer.
    writer: Uuid,
    /// The number of its transaction under way.
    number: i64,
}

/// What became of a transaction whose connection broke while it was committed.
#[derive(Debug)]
pub(super) enum CommitFailed {
    /// It is undone.
    Undone(StoreError),
    /// Only the ledger knows.
    Unknown(StoreError),
}

/// What is found under the ledger's lock.
struct Locked {
    /// The server's time, in ms since 1970.
    now: Millis,
    /// The number of this writer's last committed transaction.
    last: i64,
    found: Found,
}

impl ServerLink {
    pub(super) fn connected(mut self, conn: Conn) -> Self {
        self.conn = Some(conn);
        self
    }

    /// The connection, which a transaction has begun on.
    pub(super) fn conn(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("a transaction has a connection")
    }

    fn wire(&mut self) -> &mut Wire {
        let Some(Conn::Wire(wire)) = &mut self.conn else { unreachable!("this is a server's connection") };
        wire
    }

    /// Lets go of a connection of which nobody knows in what state it is.
    pub(super) fn drop_conn(&mut self) {
        self.conn = None;
    }

    /// Begins a transaction under the ledger's lock. Returns the server's time, in ms since 1970, and what these statements
    /// find, which change nothing.
    pub(super) async fn begin(&mut self, shared: &StoreShared, trip: Trip<'_>) -> Result<(Millis, Found), StoreError> {
        let begun = self.locked(shared, trip).await.map(|locked| (locked.now, locked.found));
        self.number += 1;
        begun
    }

    /// Connects, begins, takes the lock, and looks.
    async fn locked(&mut self, shared: &StoreShared, trip: Trip<'_>) -> Result<Locked, StoreError> {
        let had = self.conn.is_some();
        match self.locked_once(shared, trip.clone()).await {
            // The connection may have broken long ago. Nothing has been done on it yet.
            Err(StoreError::Unreachable(_)) if had && !shared.has_waited_long_enough() => {
                self.locked_once(shared, trip).await
            }
            locked => locked,
        }
    }

    /// The same, in one round trip once it is connected. The lock is taken by a statement of its own, and each statement
    /// sees what was committed before it began.
    async fn locked_once(&mut self, shared: &StoreShared, trip: Trip<'_>) -> Result<Locked, StoreError> {
        if self.conn.is_none() {
            let limit = if shared.give_up.is_cancelled() { LAST_CONNECT } else { CONNECT };
            let connecting = Box::pin(async {
                let mut conn = Conn::from(connect(&self.options).await?);
                super::sessions::hold_session(&mut conn, shared).await?;
                Ok(conn)
            });
            self.conn = Some(shared.in_time(limit, connecting).await?);
        }
        let begin = format!("SELECT now_ms, last FROM wb_begin('{}')", self.writer);
        match shared.in_time(BEGIN, trip.make_with_begin(self.wire(), &begin)).await {
            Ok((row, found)) => {
                let row = row.ok_or_else(|| StoreError::Unexpected("wb_begin() said nothing".into()))?;
                Ok(Locked { now: row.try_get("now_ms")?, last: row.try_get("last")?, found })
            }
            Err(e @ StoreError::Unreachable(_)) => {
                self.drop_conn();
                Err(e)
            }
            Err(e) => {
                self.roll_back().await;
                Err(e)
            }
        }
    }

    /// Commits in one round trip, together with what was put off. A transaction that changed something leaves its number.
    pub(super) async fn commit(&mut self, shared: &StoreShared, now: Millis) -> Result<(), CommitFailed> {
        let (writer, number) = (self.writer, self.number);
        let commit = format!(
            "INSERT INTO writers (id, number, at) SELECT '{writer}', {number}, {now}
             WHERE pg_current_xact_id_if_assigned() IS NOT NULL
             ON CONFLICT (id) DO UPDATE SET number = excluded.number, at = excluded.at; COMMIT"
        );
        let done = shared.in_time(HOT, self.wire().run(&commit)).await;
        let trips = self.wire().take_trips();
        tracing::trace!(trips, "round trips of a transaction");
        match done {
            Ok(_) => Ok(()),
            Err(e @ StoreError::Unreachable(_)) => {
                self.drop_conn();
                Err(CommitFailed::Unknown(e))
            }
            Err(e) => {
                self.roll_back().await;
                Err(CommitFailed::Undone(e))
            }
        }
    }

    /// Whether the transaction that was begun last is in the ledger. It waits for the ledger's lock, which that transaction
    /// holds until it has ended.
    pub(super) async fn is_in(&mut self, shared: &StoreShared) -> Result<bool, StoreError> {
        let locked = self.locked(shared, Trip::default()).await?;
        self.roll_back().await;
        Ok(locked.last >= self.number)
    }

    /// Undoes the transaction, if the connection still stands.
    pub(super) async fn roll_back(&mut self) {
        let Some(Conn::Wire(wire)) = &mut self.conn else { return };
        wire.forget_later();
        let undone = timeout(CONNECT, wire.run("ROLLBACK")).await;
        wire.take_trips();
        if !matches!(undone, Ok(Ok(_))) {
            self.drop_conn();
        }
    }

    pub(super) async fn close(self) {
        if let Some(conn) = self.conn {
            let _ = timeout(CONNECT, conn.close()).await;
        }
    }
}
