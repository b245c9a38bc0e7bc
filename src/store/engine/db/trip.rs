//! Several statements in one round trip.

use super::{Conn, Query, Row, query::QueryOf, query::no_row, wire::Wire};
use crate::store::StoreError;

/// Statements that do not depend on each other. To a server they go in one round trip.
#[derive(Default, Clone)]
#[must_use = "a trip does nothing until it is made"]
pub(in crate::store) struct Trip<'q> {
    queries: Vec<Query<'q>>,
}

/// The place of a statement in its trip.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Asked(usize);

/// The rows that a trip found.
#[derive(Default)]
pub(in crate::store) struct Found(Vec<Vec<Row>>);

impl<'q> Trip<'q> {
    /// Takes a statement along.
    pub(in crate::store) fn ask(&mut self, query: impl Into<Query<'q>>) -> Asked {
        self.queries.push(query.into());
        Asked(self.queries.len() - 1)
    }

    /// Runs them, in their order.
    pub(in crate::store) async fn make(self, conn: &mut Conn) -> Result<Found, StoreError> {
        let mut found = Vec::with_capacity(self.queries.len());
        match conn {
            Conn::Wire(_) if self.queries.is_empty() => {}
            Conn::Wire(wire) => found.extend(wire.ask(self.queries).await?.into_iter().map(|answer| answer.rows)),
            conn => {
                for query in self.queries {
                    found.push(query.fetch_all(&mut *conn).await?);
                }
            }
        }
        Ok(Found(found))
    }
}

impl Trip<'_> {
    /// Begins a transaction, and runs them in it. Returns the row of the statement that begins it, too.
    pub(in crate::store) async fn make_with_begin(
        self,
        wire: &mut Wire,
        begin: &str,
    ) -> Result<(Option<Row>, Found), StoreError> {
        let (row, answers) = wire.begin(begin, self.queries).await?;
        Ok((row, Found(answers.into_iter().map(|answer| answer.rows).collect())))
    }
}

impl Found {
    /// The rows of a statement. They can be taken once.
    pub(in crate::store) fn rows(&mut self, asked: Asked) -> Vec<Row> {
        self.0.get_mut(asked.0).map(std::mem::take).unwrap_or_default()
    }

    /// The one row of a statement.
    ///
    /// # Errors
    /// It has none.
    pub(in crate::store) fn one(&mut self, asked: Asked) -> Result<Row, StoreError> {
        self.rows(asked).into_iter().next().ok_or_else(no_row)
    }
}

impl<'q, T, By> From<QueryOf<'q, T, By>> for Query<'q> {
    fn from(query: QueryOf<'q, T, By>) -> Self {
        query.into_query()
    }
}
