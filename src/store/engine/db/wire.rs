//! A connection of its own to a server.
//!
//! Each statement on its own costs a round trip, and the lock of a write transaction keeps all other writers waiting
//! meanwhile. So statements that nobody waits for travel with the next one, and statements that do not depend on each
//! other travel together: as one text, of statements that the server prepared when it met them first.

use std::{borrow::Cow, collections::HashMap, fmt::Write as _};

use futures::TryStreamExt;
use sqlx::{AssertSqlSafe, Connection, Either, Executor, PgConnection};

use super::{Engine, Query, Row, Value, of_postgres};
use crate::store::{StoreError, engine::sql::spell};

/// How the writer's statements are planned: by their indexes, whatever the server believes of the tables. It knows nothing
/// of a new ledger's until it analyzed them, and would read all rows in every transaction, under the lock. What a statement
/// costs by such a plan is beyond any measure, so nothing may be compiled for it. One plan fits all values.
pub(in crate::store::engine) const PLANS: [(&str, &str); 5] = [
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
];
/// How the others are planned.
const FREE_PLANS: [(&str, &str); 4] =
    [("enable_seqscan", "on"), ("enable_hashjoin", "on"), ("enable_mergejoin", "on"), ("plan_cache_mode", "auto")];
/// How many statements the server keeps prepared.
const PREPARED_MOST: usize = 200;
/// A longer value travels alone, as it is: in a text it would be copied and escaped.
const LONG_VALUE: usize = 128 << 10;

/// A connection of its own to a server.
#[derive(Debug)]
pub(in crate::store) struct Wire {
    conn: PgConnection,
    /// What travels with the next statement.
    text: String,
    /// How many results that will have.
    results: usize,
    /// The numbers of the statements that the server has prepared. One that is planned freely is another statement.
    prepared: HashMap<(Cow<'static, str>, bool), u64>,
    /// The statements that it prepares, each with the place of its result.
    preparing: Vec<(usize, Cow<'static, str>)>,
    /// Whether this transaction's statements are planned freely.
    is_free: bool,
    /// The number of the next statement that is prepared. None is used twice: a failed one may be there or not.
    next: u64,
    /// Round trips since the count was last taken.
    trips: u32,
}

/// What one statement said.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    pub(super) changed: u64,
}

impl Wire {
    pub(super) fn new(conn: PgConnection) -> Self {
        Self {
            conn,
            text: String::new(),
            results: 0,
            prepared: HashMap::new(),
            preparing: Vec::new(),
            is_free: false,
            next: 0,
            trips: 0,
        }
    }

    /// Puts a statement off, until the next one.
    pub(super) async fn later(&mut self, query: Query<'_>) -> Result<(), StoreError> {
        if is_long(&query) {
            self.ask_one(query).await?;
        } else {
            self.add(query)?;
        }
        Ok(())
    }

    pub(super) async fn ask_one(&mut self, query: Query<'_>) -> Result<Answer, StoreError> {
        Ok(self.ask(vec![query]).await?.pop().unwrap_or_default())
    }

    /// What statements say that do not depend on each other.
    pub(super) async fn ask(&mut self, queries: Vec<Query<'_>>) -> Result<Vec<Answer>, StoreError> {
        let mut answers = Vec::with_capacity(queries.len());
        if queries.iter().any(is_long) {
            self.send().await?;
            for query in queries {
                answers.push(self.alone(&query).await?);
            }
            return Ok(answers);
        }
        let places = queries.into_iter().map(|query| self.add(query)).collect::<Result<Vec<_>, _>>()?;
        let mut said = self.send().await?;
        for place in places {
            answers.push(said.get_mut(place).map(std::mem::take).unwrap_or_default());
        }
        Ok(answers)
    }

    /// Runs a text of several statements, after what was put off. Returns the rows of the last.
    pub(in crate::store) async fn run(&mut self, text: &str) -> Result<Vec<Row>, StoreError> {
        self.text.push_str(text);
        Ok(self.send().await?.pop().unwrap_or_default().rows)
    }

    /// From now on, until this transaction has ended, the server plans as it likes: statements over many rows.
    pub(in crate::store) fn plan_freely(&mut self) {
        if !self.is_free {
            self.is_free = true;
            for (setting, value) in FREE_PLANS {
                let _ = write!(self.text, "SET LOCAL {setting} TO {value};");
                self.results += 1;
            }
        }
    }

    /// Begins a transaction by a statement, and runs others in it. Each of them sees what was committed before that
    /// statement ended. Returns the first row of it, and the others' answers.
    pub(super) async fn begin(
        &mut self,
        statement: &str,
        queries: Vec<Query<'_>>,
    ) -> Result<(Option<Row>, Vec<Answer>), StoreError> {
        self.is_free = false;
        let _ = write!(self.text, "BEGIN;{statement};");
        self.results += 2;
        let begun = self.results - 1;
        let are_long = queries.iter().any(is_long);
        let (together, apart) = if are_long { (Vec::new(), queries) } else { (queries, Vec::new()) };
        let places = together.into_iter().map(|query| self.add(query)).collect::<Result<Vec<_>, _>>()?;
        let mut said = self.send().await?;
        let mut take = |place: usize| said.get_mut(place).map(std::mem::take).unwrap_or_default();
        let row = take(begun).rows.into_iter().next();
        let mut answers: Vec<Answer> = places.into_iter().map(take).collect();
        if !apart.is_empty() {
            answers = self.ask(apart).await?;
        }
        Ok((row, answers))
    }

    /// Runs a `COPY … FROM STDIN` of this content, after what was put off.
    pub(in crate::store) async fn copy_in(&mut self, statement: &str, content: Vec<u8>) -> Result<(), StoreError> {
        self.send().await?;
        self.trips += 1;
        let mut stream = self.conn.copy_in_raw(statement).await.map_err(of_postgres)?;
        match stream.send(content).await {
            Ok(_) => stream.finish().await.map(drop).map_err(of_postgres),
            Err(e) => {
                // The transaction is undone anyway.
                let _ = stream.abort("it broke off").await;
                Err(of_postgres(e))
            }
        }
    }

    /// Forgets what was put off: its transaction is undone.
    pub(in crate::store) fn forget_later(&mut self) {
        self.text.clear();
        self.results = 0;
        for (_, statement) in self.preparing.drain(..) {
            forget(&mut self.prepared, statement);
        }
    }

    /// How many round trips there were since this was asked last.
    pub(in crate::store) fn take_trips(&mut self) -> u32 {
        std::mem::take(&mut self.trips)
    }

    pub(in crate::store) async fn close(self) -> Result<(), sqlx::Error> {
        self.conn.close().await
    }

    /// Adds a statement to the text. Returns the place of its result.
    fn add(&mut self, query: Query<'_>) -> Result<usize, StoreError> {
        if !can_be_prepared(&query.text) {
            self.text.push_str(&spell(Engine::Postgres, query.text));
            self.text.push_str("\n;");
        } else {
            let number = match self.prepared.get(&(query.text.clone(), self.is_free)) {
                Some(number) => *number,
                None => self.prepare(&query),
            };
            let _ = write!(self.text, "EXECUTE wb_{number}");
            for (at, value) in query.values.iter().enumerate() {
                self.text.push_str(if at == 0 { " (" } else { ", " });
                write_literal(&mut self.text, value)?;
            }
            self.text.push_str(if query.values.is_empty() { ";" } else { ");" });
        }
        self.results += 1;
        Ok(self.results - 1)
    }

    /// Adds the order to prepare a statement. Returns the statement's number.
    fn prepare(&mut self, query: &Query<'_>) -> u64 {
        if self.prepared.len() >= PREPARED_MOST && self.preparing.is_empty() {
            self.results += self.prepared.len();
            for (_, number) in self.prepared.drain() {
                let _ = write!(self.text, "DEALLOCATE wb_{number};");
            }
        }
        let number = self.next;
        self.next += 1;
        let _ = write!(self.text, "PREPARE wb_{number}");
        for (at, value) in query.values.iter().enumerate() {
            self.text.push_str(if at == 0 { " (" } else { ", " });
            self.text.push_str(match value {
                Value::Int(_) => "BIGINT",
                Value::Real(_) => "DOUBLE PRECISION",
                Value::Text(_) => "TEXT",
                Value::Bytes(_) => "BYTEA",
            });
        }
        self.text.push_str(if query.values.is_empty() { " AS " } else { ") AS " });
        self.text.push_str(&spell(Engine::Postgres, query.text.clone()));
        self.text.push_str("\n;");
        self.preparing.push((self.results, query.text.clone()));
        self.results += 1;
        self.prepared.insert((query.text.clone(), self.is_free), number);
        number
    }

    /// Sends the text.
    async fn send(&mut self) -> Result<Vec<Answer>, StoreError> {
        if self.text.is_empty() {
            return Ok(Vec::new());
        }
        self.results = 0;
        self.trips += 1;
        let preparing = std::mem::take(&mut self.preparing);
        let text = std::mem::take(&mut self.text);
        let mut said = vec![Answer::default()];
        let answers = async {
            let mut stream = self.conn.fetch_many(sqlx::raw_sql(AssertSqlSafe(text)));
            while let Some(one) = stream.try_next().await? {
                let answer = said.last_mut().expect("there is always one");
                match one {
                    Either::Right(row) => answer.rows.push(Row::Postgres(row)),
                    Either::Left(done) => {
                        answer.changed = done.rows_affected();
                        said.push(Answer::default());
                    }
                }
            }
            Ok(())
        };
        if let Err(e) = answers.await {
            // The server runs one statement after the other: it has prepared those that it has answered.
            let answered = said.len() - 1;
            for (_, statement) in preparing.iter().filter(|(place, _)| *place >= answered) {
                forget(&mut self.prepared, statement.clone());
            }
            return Err(of_postgres(e));
        }
        said.pop();
        Ok(said)
    }

    async fn alone(&mut self, query: &Query<'_>) -> Result<Answer, StoreError> {
        self.trips += 1;
        let mut answer = Answer::default();
        let mut stream = self.conn.fetch_many(query.for_postgres()?);
        while let Some(one) = stream.try_next().await.map_err(of_postgres)? {
            match one {
                Either::Right(row) => answer.rows.push(Row::Postgres(row)),
                Either::Left(done) => answer.changed += done.rows_affected(),
            }
        }
        Ok(answer)
    }
}

/// Forgets a statement that may not be prepared.
fn forget(prepared: &mut HashMap<(Cow<'static, str>, bool), u64>, statement: Cow<'static, str>) {
    let mut name = (statement, false);
    prepared.remove(&name);
    name.1 = true;
    prepared.remove(&name);
}

fn is_long(query: &Query<'_>) -> bool {
    query.values.iter().any(|value| match value {
        Value::Text(Some(text)) => text.len() > LONG_VALUE,
        Value::Bytes(Some(bytes)) => bytes.len() > LONG_VALUE,
        _ => false,
    })
}

/// Whether a statement is one of those that PostgreSQL prepares.
fn can_be_prepared(text: &str) -> bool {
    let first = text.lines().map(str::trim_start).find(|line| !line.is_empty() && !line.starts_with("--"));
    first.is_some_and(|line| ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].iter().any(|verb| line.starts_with(verb)))
}

/// Writes a value as the server reads it, where strings keep their backslashes.
fn write_literal(text: &mut String, value: &Value<'_>) -> Result<(), StoreError> {
    let written = match value {
        Value::Int(Some(n)) => write!(text, "{n}"),
        // A fraction that is none is written as a word.
        Value::Real(Some(x)) => write!(text, "'{x}'"),
        Value::Text(Some(words)) if words.contains('\0') => {
            return Err(of_postgres(sqlx::Error::Encode("a text with a zero byte".into())));
        }
        Value::Text(Some(words)) => {
            text.reserve(words.len() + 2);
            text.push('\'');
            for (at, piece) in words.split('\'').enumerate() {
                text.push_str(if at == 0 { "" } else { "''" });
                text.push_str(piece);
            }
            text.push('\'');
            Ok(())
        }
        Value::Bytes(Some(bytes)) => {
            text.push_str("'\\x");
            text.push_str(&crate::domain::hex::hex(bytes));
            text.push('\'');
            Ok(())
        }
        Value::Int(None) | Value::Real(None) | Value::Text(None) | Value::Bytes(None) => {
            text.push_str("NULL");
            Ok(())
        }
    };
    written.map_err(|_| StoreError::Unexpected("a value cannot be written".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(value: Value<'_>) -> String {
        let mut text = String::new();
        write_literal(&mut text, &value).unwrap();
        text
    }

    #[test]
    fn values_are_written_so_that_they_end_where_they_end() {
        assert_eq!(literal(Value::Text(Some("it's; -- '' \\' $1".into()))), r"'it''s; -- '''' \'' $1'");
        assert_eq!(literal(Value::Text(Some("".into()))), "''");
        assert_eq!(literal(Value::Bytes(Some(vec![0, 255].into()))), r"'\x00ff'");
        assert_eq!(literal(Value::Int(Some(-5))), "-5");
        assert_eq!(literal(Value::Real(Some(f64::NAN))), "'NaN'");
        assert_eq!(literal(Value::Text(None)), "NULL");
        assert!(write_literal(&mut String::new(), &Value::Text(Some("a\0b".into()))).is_err());
    }

    #[test]
    fn only_statements_over_tables_are_prepared() {
        assert!(can_be_prepared("-- room::name: why\n      SELECT 1"));
        assert!(can_be_prepared("WITH x AS (SELECT 1) UPDATE y SET z = 1"));
        assert!(!can_be_prepared("SET LOCAL lock_timeout = 1"));
        assert!(!can_be_prepared("-- nothing"));
    }
}
