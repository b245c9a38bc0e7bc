//! One way to ask either engine: a statement with its values, a connection, and rows.
//!
//! Statements are written once (see [`sql`](super::sql)). Which driver carries them is decided here, where they run.

mod query;
mod trip;
mod values;
mod wire;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sqlx::{
    ColumnIndex, PgConnection, PgPool, Postgres, Row as _, Sqlite, SqliteConnection, SqlitePool, Transaction, TypeInfo,
    ValueRef,
    pool::PoolConnection,
    postgres::{PgRow, PgValueFormat, PgValueRef},
    sqlite::SqliteRow,
};

use crate::store::{StoreError, StoreShared};

pub(in crate::store) use crate::store::engine::kind::Engine;

pub(in crate::store) use query::{Insert, Query, query, query_as, query_scalar};
pub(in crate::store) use trip::{Asked, Found, Trip};
pub(in crate::store) use values::{Bind, Cell, Column, FromRow, Value};
pub(in crate::store::engine) use wire::PLANS;
pub(in crate::store) use wire::Wire;

/// How long to wait for a connection to a server once the ledger was given up.
pub(super) const LAST_CONNECT: Duration = Duration::from_secs(1);
/// How long a read of a process at work may take on a server.
pub(super) const READ: Duration = Duration::from_secs(30);
/// How long a statement of a verb may take there.
pub(super) const LONG: Duration = Duration::from_secs(600);

/// A connection, whoever owns it.
#[derive(Debug)]
pub(in crate::store) enum Held<DB: sqlx::Database> {
    /// The writer's own.
    Own(Box<DB::Connection>),
    /// Borrowed from the readers.
    Borrowed(PoolConnection<DB>),
    /// Borrowed, and in a transaction that sees one state of the ledger.
    View(Transaction<'static, DB>),
}

/// A connection to a ledger.
#[derive(Debug)]
pub(in crate::store) enum Conn {
    /// To a file.
    Sqlite(Held<Sqlite>),
    /// To a server, borrowed from the readers.
    Postgres(Held<Postgres>),
    /// To a server, of its own.
    Wire(Box<Wire>),
}

impl Held<Sqlite> {
    pub(super) fn conn(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Own(conn) => conn,
            Self::Borrowed(conn) => conn,
            Self::View(view) => view,
        }
    }
}

impl Held<Postgres> {
    pub(super) fn conn(&mut self) -> &mut PgConnection {
        match self {
            Self::Own(conn) => conn,
            Self::Borrowed(conn) => conn,
            Self::View(view) => view,
        }
    }
}

impl From<SqliteConnection> for Conn {
    fn from(conn: SqliteConnection) -> Self {
        Self::Sqlite(Held::Own(conn.into()))
    }
}

impl From<PgConnection> for Conn {
    fn from(conn: PgConnection) -> Self {
        Self::Wire(Wire::new(conn).into())
    }
}

impl Conn {
    /// Its engine.
    pub(in crate::store) const fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) | Self::Wire(_) => Engine::Postgres,
        }
    }

    /// Says good-bye to the engine, if this is a connection of its own.
    pub(in crate::store) async fn close(self) {
        let _ = match self {
            Self::Sqlite(Held::Own(conn)) => sqlx::Connection::close(*conn).await,
            Self::Wire(wire) => wire.close().await,
            _ => Ok(()),
        };
    }
}

/// The connections that only read.
#[derive(Debug, Clone)]
pub(in crate::store) enum Readers {
    /// To a file.
    Sqlite(SqlitePool),
    /// To a server.
    Postgres(ServerReaders),
}

/// Connections to a server that only read.
#[derive(Debug, Clone)]
pub(in crate::store) struct ServerReaders {
    pub(in crate::store) pool: PgPool,
    pub(in crate::store) shared: Arc<StoreShared>,
}

impl ServerReaders {
    /// A connection. Once the ledger was given up, it has to be there soon.
    pub(super) async fn connection(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        let limit = if self.shared.give_up.is_cancelled() { LAST_CONNECT } else { READ };
        let acquired = Box::pin(async { self.pool.acquire().await.map_err(of_postgres) });
        self.shared.in_time(limit, acquired).await
    }

    /// What a read finds, if that does not take too long: a verb may ask for much, the loop of a process at work does not.
    /// Nothing is waited for once the ledger was given up.
    pub(super) async fn in_time<T>(&self, read: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let limit = if self.shared.waits_for_server() { READ } else { LONG };
        tokio::select! {
            biased;
            found = self.shared.in_time(limit, read) => found,
            () = self.shared.give_up.cancelled(), if self.shared.process.load(Ordering::Relaxed) != 0 => Err(too_slow()),
        }
    }

    /// Whether to read again after this failure: while the server is out of reach and this process works on the ledger,
    /// since its lines must not fail for that. It has waited a second then.
    pub(super) async fn read_again(&self, failure: &StoreError) -> bool {
        let may_help = matches!(failure, StoreError::Unreachable(_)) && self.shared.waits_for_server();
        if !may_help || self.shared.has_waited_long_enough() {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => true,
            () = self.shared.give_up.cancelled() => false,
        }
    }
}

/// Whether the connection is of no use any more.
pub(super) fn is_lost(failure: &StoreError) -> bool {
    matches!(failure, StoreError::Unreachable(_))
}

/// What a statement on a borrowed connection to a server says.
async fn in_long_time<T>(said: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(LONG, said).await {
        Ok(said) => said.map_err(of_postgres),
        Err(_) => Err(too_slow()),
    }
}

/// Does something with a server, again while that may help.
macro_rules! patiently {
    ($readers:expr, $read:expr) => {
        loop {
            match $read {
                Err(failure) if $readers.read_again(&failure).await => {}
                found => break found,
            }
        }
    };
}

/// Reads on a connection, again while that may help. One that does not answer is thrown away.
macro_rules! read_patiently {
    ($readers:expr, |$conn:ident| $read:expr) => {
        loop {
            let once = async {
                let mut held = $readers.connection().await?;
                let $conn = &mut *held;
                let read = async { $read.await.map_err($crate::store::engine::db::of_postgres) };
                let found = $readers.in_time(read).await;
                if found.as_ref().is_err_and($crate::store::engine::db::is_lost) {
                    drop(held.detach());
                }
                found
            };
            match once.await {
                Err(failure) if $readers.read_again(&failure).await => {}
                found => break found,
            }
        }
    };
}
pub(super) use read_patiently;

impl Readers {
    /// A connection for several statements.
    pub(in crate::store) async fn acquire(&self) -> Result<Conn, StoreError> {
        match self {
            Self::Sqlite(pool) => {
                pool.acquire().await.map(|conn| Conn::Sqlite(Held::Borrowed(conn))).map_err(of_sqlite)
            }
            Self::Postgres(readers) => {
                let conn = patiently!(readers, readers.connection().await)?;
                Ok(Conn::Postgres(Held::Borrowed(conn)))
            }
        }
    }

    /// A connection whose statements all see the ledger as it is now.
    pub(in crate::store) async fn view(&self) -> Result<Conn, StoreError> {
        match self {
            Self::Sqlite(pool) => pool.begin().await.map(|view| Conn::Sqlite(Held::View(view))).map_err(of_sqlite),
            Self::Postgres(readers) => {
                const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                let view = patiently!(readers, readers.pool.begin_with(BEGIN).await.map_err(of_postgres))?;
                Ok(Conn::Postgres(Held::View(view)))
            }
        }
    }

    /// Closes them, once nobody uses them.
    pub(in crate::store) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(readers) => readers.pool.close().await,
        }
    }
}

/// What a statement runs on.
pub(in crate::store) enum Target<'c> {
    Sqlite(&'c mut SqliteConnection),
    SqlitePool(&'c SqlitePool),
    Postgres(&'c mut PgConnection),
    Wire(&'c mut Wire),
    ServerReaders(&'c ServerReaders),
}

impl<'c> From<&'c mut Conn> for Target<'c> {
    fn from(conn: &'c mut Conn) -> Self {
        match conn {
            Conn::Sqlite(held) => Self::Sqlite(held.conn()),
            Conn::Postgres(held) => Self::Postgres(held.conn()),
            Conn::Wire(wire) => Self::Wire(wire),
        }
    }
}

impl<'c> From<&'c Readers> for Target<'c> {
    fn from(readers: &'c Readers) -> Self {
        match readers {
            Readers::Sqlite(pool) => Self::SqlitePool(pool),
            Readers::Postgres(readers) => Self::ServerReaders(readers),
        }
    }
}

/// A row of an answer.
pub(in crate::store) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// A column's value, by name or place.
    ///
    /// # Errors
    /// There is no such column, or its value is of another type.
    pub(in crate::store) fn try_get<T, I>(&self, column: I) -> Result<T, StoreError>
    where
        T: Column,
        I: ColumnIndex<SqliteRow> + ColumnIndex<PgRow> + std::fmt::Display + Copy,
    {
        let unexpected = |reason: String| StoreError::Unexpected(format!("{column}: {reason}"));
        match self {
            Self::Sqlite(row) => {
                let value = row.try_get_raw(column).map_err(of_sqlite)?;
                T::read(sqlite_cell(value).map_err(unexpected)?).map_err(unexpected)
            }
            Self::Postgres(row) => {
                let value = row.try_get_raw(column).map_err(of_postgres)?;
                T::read(postgres_cell(value).map_err(unexpected)?).map_err(unexpected)
            }
        }
    }
}

impl Row {
    /// The same, in a test.
    #[cfg(test)]
    pub(in crate::store) fn get<T, I>(&self, column: I) -> T
    where
        T: Column,
        I: ColumnIndex<SqliteRow> + ColumnIndex<PgRow> + std::fmt::Display + Copy,
    {
        self.try_get(column).unwrap()
    }

    /// A column's value as it is, by its place.
    ///
    /// # Errors
    /// There is no such column, or its type is none of those of a ledger.
    pub(in crate::store) fn cell(&self, place: usize) -> Result<Cell<'_>, StoreError> {
        let cell = match self {
            Self::Sqlite(row) => sqlite_cell(row.try_get_raw(place).map_err(of_sqlite)?),
            Self::Postgres(row) => postgres_cell(row.try_get_raw(place).map_err(of_postgres)?),
        };
        cell.map_err(|reason| StoreError::Unexpected(format!("column {}: {reason}", place + 1)))
    }

    /// A column's text, without a copy.
    ///
    /// # Errors
    /// There is no such column, or it has no text.
    pub(in crate::store) fn text(&self, column: &str) -> Result<&str, StoreError> {
        let cell = match self {
            Self::Sqlite(row) => sqlite_cell(row.try_get_raw(column).map_err(of_sqlite)?),
            Self::Postgres(row) => postgres_cell(row.try_get_raw(column).map_err(of_postgres)?),
        };
        match cell {
            Ok(Cell::Text(text)) => Ok(text),
            Ok(other) => Err(StoreError::Unexpected(format!("{column}: {}", other.instead_of("text")))),
            Err(reason) => Err(StoreError::Unexpected(format!("{column}: {reason}"))),
        }
    }

    /// The same, of a column that may be empty.
    ///
    /// # Errors
    /// There is no such column, or something else is in it.
    pub(in crate::store) fn text_if_any(&self, column: &str) -> Result<Option<&str>, StoreError> {
        if self.is_null(column)? { Ok(None) } else { self.text(column).map(Some) }
    }

    /// Whether a column has no value.
    ///
    /// # Errors
    /// There is no such column.
    pub(in crate::store) fn is_null(&self, column: &str) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(row) => row.try_get_raw(column).map(|value| value.is_null()).map_err(of_sqlite),
            Self::Postgres(row) => row.try_get_raw(column).map(|value| value.is_null()).map_err(of_postgres),
        }
    }
}

fn sqlite_cell(value: sqlx::sqlite::SqliteValueRef<'_>) -> Result<Cell<'_>, String> {
    use sqlx::Decode;
    if value.is_null() {
        return Ok(Cell::Null);
    }
    let kind = value.type_info();
    let cell = match kind.name() {
        "TEXT" => <&str as Decode<Sqlite>>::decode(value).map(Cell::Text),
        "BLOB" => <&[u8] as Decode<Sqlite>>::decode(value).map(|bytes| Cell::Bytes(bytes.into())),
        "REAL" => <f64 as Decode<Sqlite>>::decode(value).map(Cell::Real),
        _ => <i64 as Decode<Sqlite>>::decode(value).map(Cell::Int),
    };
    cell.map_err(|e| e.to_string())
}

fn postgres_cell(value: PgValueRef<'_>) -> Result<Cell<'_>, String> {
    use sqlx::Decode;
    if value.is_null() {
        return Ok(Cell::Null);
    }
    let kind = value.type_info();
    let cell = match kind.name() {
        "INT8" => <i64 as Decode<Postgres>>::decode(value).map(Cell::Int),
        "INT4" => <i32 as Decode<Postgres>>::decode(value).map(|n| Cell::Int(n.into())),
        "BOOL" => <bool as Decode<Postgres>>::decode(value).map(|truth| Cell::Int(truth.into())),
        "FLOAT8" => <f64 as Decode<Postgres>>::decode(value).map(Cell::Real),
        "TEXT" | "VARCHAR" | "NAME" | "UNKNOWN" => <&str as Decode<Postgres>>::decode(value).map(Cell::Text),
        "BYTEA" => match value.format() {
            PgValueFormat::Binary => <&[u8] as Decode<Postgres>>::decode(value).map(|bytes| Cell::Bytes(bytes.into())),
            PgValueFormat::Text => <Vec<u8> as Decode<Postgres>>::decode(value).map(|bytes| Cell::Bytes(bytes.into())),
        },
        other => return Err(format!("values of the type {other} are not read")),
    };
    cell.map_err(|e| e.to_string())
}

pub(in crate::store) fn of_sqlite(error: sqlx::Error) -> StoreError {
    StoreError::of(Engine::Sqlite, error)
}

/// What a server says too late.
pub(in crate::store) fn too_slow() -> StoreError {
    of_postgres(sqlx::Error::PoolTimedOut)
}

pub(super) fn of_postgres(error: sqlx::Error) -> StoreError {
    StoreError::of(Engine::Postgres, error)
}
