//! A statement with its values.

use std::{borrow::Cow, marker::PhantomData};

use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use sqlx::{Arguments, AssertSqlSafe, postgres::PgArguments, sqlite::SqliteArguments};

use super::{
    Bind, Column, Conn, Engine, FromRow, Row, Target, Value, in_long_time, of_postgres, of_sqlite, read_patiently,
};
use crate::store::{StoreError, engine::sql::spell};

/// A statement and what it binds. Only fixed text and numbers belong in its text: every value from outside is bound.
#[derive(Clone)]
#[must_use = "a statement does nothing until it runs"]
pub(in crate::store) struct Query<'q> {
    pub(super) text: Cow<'static, str>,
    pub(super) values: Vec<Value<'q>>,
}

/// What a statement changed.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Done(pub(super) u64);

impl Done {
    /// How many rows.
    pub(in crate::store) const fn rows_affected(self) -> u64 {
        self.0
    }
}

/// A statement whose rows are read by the columns' names.
pub(in crate::store) fn query<'q>(text: impl Into<Cow<'static, str>>) -> Query<'q> {
    Query { text: text.into(), values: Vec::new() }
}

/// A statement whose rows have one value.
pub(in crate::store) fn query_scalar<'q, T: Column>(text: impl Into<Cow<'static, str>>) -> QueryOf<'q, T, Scalar> {
    QueryOf { query: query(text), of: PhantomData }
}

/// A statement whose rows are tuples.
pub(in crate::store) fn query_as<'q, T: FromRow>(text: impl Into<Cow<'static, str>>) -> QueryOf<'q, T, Tuple> {
    QueryOf { query: query(text), of: PhantomData }
}

impl<'q> Query<'q> {
    /// Binds the next parameter.
    pub(in crate::store) fn bind(mut self, value: impl Bind<'q>) -> Self {
        self.values.push(value.value());
        self
    }

    /// Binds the next parameter to a value as it is.
    pub(in crate::store) fn bind_value(mut self, value: Value<'q>) -> Self {
        self.values.push(value);
        self
    }

    /// Runs it for its effect.
    pub(in crate::store) async fn execute<'c>(self, on: impl Into<Target<'c>>) -> Result<Done, StoreError> {
        match on.into() {
            Target::Sqlite(conn) => done_by_sqlite(self.for_sqlite()?.execute(conn).await),
            Target::SqlitePool(pool) => done_by_sqlite(self.for_sqlite()?.execute(pool).await),
            Target::Postgres(conn) => {
                let done = in_long_time(self.for_postgres()?.execute(conn)).await?;
                Ok(Done(done.rows_affected()))
            }
            Target::Wire(wire) => wire.ask_one(self).await.map(|answer| Done(answer.changed)),
            Target::ServerReaders(readers) => {
                let done = read_patiently!(readers, |conn| self.for_postgres()?.execute(conn))?;
                Ok(Done(done.rows_affected()))
            }
        }
    }

    /// Runs it for its effect, before the next statement of this connection or with it. A failure is then that
    /// statement's, or the commit's: so it is for transactions, which a failure undoes as a whole.
    pub(in crate::store) async fn later(self, on: &mut Conn) -> Result<(), StoreError> {
        match Target::from(on) {
            Target::Wire(wire) => wire.later(self).await,
            on => self.execute(on).await.map(drop),
        }
    }

    /// All its rows.
    pub(in crate::store) async fn fetch_all<'c>(self, on: impl Into<Target<'c>>) -> Result<Vec<Row>, StoreError> {
        let rows = match on.into() {
            Target::Sqlite(conn) => return rows_of_sqlite(self.for_sqlite()?.fetch_all(conn).await),
            Target::SqlitePool(pool) => return rows_of_sqlite(self.for_sqlite()?.fetch_all(pool).await),
            Target::Postgres(conn) => in_long_time(self.for_postgres()?.fetch_all(conn)).await?,
            Target::Wire(wire) => return Ok(wire.ask_one(self).await?.rows),
            Target::ServerReaders(readers) => read_patiently!(readers, |conn| self.for_postgres()?.fetch_all(conn))?,
        };
        Ok(rows.into_iter().map(Row::Postgres).collect())
    }

    /// Its first row, if it has one.
    pub(in crate::store) async fn fetch_optional<'c>(
        self,
        on: impl Into<Target<'c>>,
    ) -> Result<Option<Row>, StoreError> {
        let row = match on.into() {
            Target::Sqlite(conn) => return row_of_sqlite(self.for_sqlite()?.fetch_optional(conn).await),
            Target::SqlitePool(pool) => return row_of_sqlite(self.for_sqlite()?.fetch_optional(pool).await),
            Target::Postgres(conn) => in_long_time(self.for_postgres()?.fetch_optional(conn)).await?,
            Target::Wire(wire) => return Ok(wire.ask_one(self).await?.rows.into_iter().next()),
            Target::ServerReaders(readers) => {
                read_patiently!(readers, |conn| self.for_postgres()?.fetch_optional(conn))?
            }
        };
        Ok(row.map(Row::Postgres))
    }

    /// Its one row.
    ///
    /// # Errors
    /// Also where it has none.
    pub(in crate::store) async fn fetch_one<'c>(self, on: impl Into<Target<'c>>) -> Result<Row, StoreError> {
        self.fetch_optional(on).await?.ok_or_else(no_row)
    }

    /// Its rows one after the other, without keeping them.
    pub(in crate::store) fn fetch<'c>(self, on: &'c mut Conn) -> BoxStream<'c, Result<Row, StoreError>>
    where
        'q: 'c,
    {
        let failed = |e| futures::stream::once(async { Err(e) }).boxed();
        match Target::from(on) {
            Target::Sqlite(conn) => match self.for_sqlite() {
                Ok(query) => query.fetch(conn).map_ok(Row::Sqlite).map_err(of_sqlite).boxed(),
                Err(e) => failed(e),
            },
            Target::Postgres(conn) => match self.for_postgres() {
                Ok(query) => query.fetch(conn).map_ok(Row::Postgres).map_err(of_postgres).boxed(),
                Err(e) => failed(e),
            },
            Target::Wire(wire) => {
                let all = futures::stream::once(async { wire.ask_one(self).await.map(|answer| answer.rows) });
                all.map_ok(|rows| futures::stream::iter(rows.into_iter().map(Ok))).try_flatten().boxed()
            }
            Target::SqlitePool(_) | Target::ServerReaders(_) => unreachable!("a connection is no pool"),
        }
    }

    fn for_sqlite<'s>(self) -> Result<sqlx::query::Query<'s, sqlx::Sqlite, SqliteArguments>, StoreError> {
        let mut arguments = SqliteArguments::default();
        for value in self.values {
            let added = match value {
                Value::Int(n) => arguments.add(n),
                Value::Real(x) => arguments.add(x),
                Value::Text(text) => arguments.add(text.map(Cow::into_owned)),
                Value::Bytes(bytes) => arguments.add(bytes.map(Cow::into_owned)),
            };
            added.map_err(|e| of_sqlite(sqlx::Error::Encode(e)))?;
        }
        Ok(sqlx::query_with(AssertSqlSafe(spell(Engine::Sqlite, self.text)), arguments))
    }

    pub(super) fn for_postgres<'s>(&self) -> Result<sqlx::query::Query<'s, sqlx::Postgres, PgArguments>, StoreError> {
        let mut arguments = PgArguments::default();
        for value in &self.values {
            let added = match value {
                Value::Int(n) => arguments.add(*n),
                Value::Real(x) => arguments.add(*x),
                Value::Text(text) => arguments.add(text.as_deref()),
                Value::Bytes(bytes) => arguments.add(bytes.as_deref()),
            };
            added.map_err(|e| of_postgres(sqlx::Error::Encode(e)))?;
        }
        Ok(sqlx::query_with(AssertSqlSafe(spell(Engine::Postgres, self.text.clone())), arguments))
    }
}

/// How a row becomes a value.
pub(in crate::store) trait Reading<T> {
    /// Reads it.
    fn read(row: &Row) -> Result<T, StoreError>;
}

/// By its first column.
pub(in crate::store) struct Scalar;

/// By all its columns.
pub(in crate::store) struct Tuple;

impl<T: Column> Reading<T> for Scalar {
    fn read(row: &Row) -> Result<T, StoreError> {
        row.try_get(0_usize)
    }
}

impl<T: FromRow> Reading<T> for Tuple {
    fn read(row: &Row) -> Result<T, StoreError> {
        T::from_row(row)
    }
}

/// A statement whose rows are values of one type.
#[must_use = "a statement does nothing until it runs"]
pub(in crate::store) struct QueryOf<'q, T, By> {
    query: Query<'q>,
    of: PhantomData<fn() -> (T, By)>,
}

impl<'q, T, By: Reading<T>> QueryOf<'q, T, By> {
    /// Binds the next parameter.
    pub(in crate::store) fn bind(mut self, value: impl Bind<'q>) -> Self {
        self.query = self.query.bind(value);
        self
    }

    /// All its values.
    pub(in crate::store) async fn fetch_all<'c>(self, on: impl Into<Target<'c>>) -> Result<Vec<T>, StoreError> {
        self.query.fetch_all(on).await?.iter().map(By::read).collect()
    }

    /// The first, if there is one.
    pub(in crate::store) async fn fetch_optional<'c>(self, on: impl Into<Target<'c>>) -> Result<Option<T>, StoreError> {
        self.query.fetch_optional(on).await?.as_ref().map(By::read).transpose()
    }

    /// The one.
    ///
    /// # Errors
    /// Also where there is none.
    pub(in crate::store) async fn fetch_one<'c>(self, on: impl Into<Target<'c>>) -> Result<T, StoreError> {
        By::read(&self.query.fetch_one(on).await?)
    }
}

impl<'q, T, By> QueryOf<'q, T, By> {
    /// The statement itself.
    pub(super) fn into_query(self) -> Query<'q> {
        self.query
    }
}

/// Rows that are inserted by one statement, whose values are too large or too raw for JSON.
pub(in crate::store) struct Insert<'q> {
    text: String,
    columns: usize,
    values: Vec<Value<'q>>,
}

impl<'q> Insert<'q> {
    /// Into these columns of a table.
    pub(in crate::store) fn into(table: &str, columns: &[&str]) -> Self {
        Self {
            text: format!("INSERT INTO {table} ({}) VALUES ", columns.join(", ")),
            columns: columns.len(),
            values: Vec::new(),
        }
    }

    /// Adds a value, in the order of the columns and row by row.
    pub(in crate::store) fn bind(&mut self, value: impl Bind<'q>) -> &mut Self {
        self.values.push(value.value());
        self
    }

    /// Adds a value as it is.
    pub(in crate::store) fn bind_value(&mut self, value: Value<'q>) -> &mut Self {
        self.values.push(value);
        self
    }

    /// The statement, with what follows the rows.
    pub(in crate::store) fn ending(mut self, clause: &str) -> Query<'q> {
        debug_assert!(self.values.len().is_multiple_of(self.columns));
        for at in 0..self.values.len() {
            let before = match (at, at % self.columns) {
                (0, _) => "(",
                (_, 0) => "), (",
                _ => ", ",
            };
            self.text.push_str(before);
            self.text.push('$');
            self.text.push_str(&(at + 1).to_string());
        }
        self.text.push_str(") ");
        self.text.push_str(clause);
        Query { text: self.text.into(), values: self.values }
    }
}

pub(super) fn no_row() -> StoreError {
    StoreError::Unexpected("a statement found no row".into())
}

fn done_by_sqlite(done: Result<sqlx::sqlite::SqliteQueryResult, sqlx::Error>) -> Result<Done, StoreError> {
    done.map(|done| Done(done.rows_affected())).map_err(of_sqlite)
}

fn rows_of_sqlite(rows: Result<Vec<sqlx::sqlite::SqliteRow>, sqlx::Error>) -> Result<Vec<Row>, StoreError> {
    rows.map(|rows| rows.into_iter().map(Row::Sqlite).collect()).map_err(of_sqlite)
}

fn row_of_sqlite(row: Result<Option<sqlx::sqlite::SqliteRow>, sqlx::Error>) -> Result<Option<Row>, StoreError> {
    row.map(|row| row.map(Row::Sqlite)).map_err(of_sqlite)
}
