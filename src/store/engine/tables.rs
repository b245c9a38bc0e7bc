//! The tables as the engine has them: their columns, whole rows of them, and the numbers that they give to their rows.

use crate::store::StoreError;
use crate::store::engine::db::{Bind, Cell, Conn, Engine, Insert, Row, Value, query, query_scalar};

/// A table, as the schema has it.
#[derive(Debug, Clone)]
pub(in crate::store) struct Table {
    pub(in crate::store) name: &'static str,
    /// In the schema's order.
    pub(in crate::store) columns: Vec<TableColumn>,
    /// The places of the columns of its primary key, in the order of the key.
    pub(in crate::store) key: Vec<usize>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct TableColumn {
    pub(in crate::store) name: String,
    pub(in crate::store) kind: Kind,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    Int,
    Real,
    Text,
    Bytes,
}

impl Kind {
    /// By the engine's own word.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "INTEGER" | "INT" | "int8" => Self::Int,
            "REAL" | "float8" => Self::Real,
            "TEXT" | "text" => Self::Text,
            "BLOB" | "bytea" => Self::Bytes,
            _ => return None,
        })
    }
}

impl Table {
    /// A table of this ledger.
    pub(in crate::store) async fn of(conn: &mut Conn, name: &'static str) -> Result<Self, StoreError> {
        // The place of a column in the primary key is counted from 1; 0 is none.
        let text = match conn.engine() {
            Engine::Sqlite => "SELECT name, type, pk FROM pragma_table_info($1) ORDER BY cid",
            Engine::Postgres => {
                r"-- tables::of
                  SELECT CAST(a.attname AS TEXT) AS name, CAST(t.typname AS TEXT) AS type,
                    CAST(coalesce(array_position(CAST(i.indkey AS INT2[]), a.attnum) + 1, 0) AS BIGINT) AS pk
                  FROM pg_attribute AS a
                  JOIN pg_type AS t ON t.oid = a.atttypid
                  LEFT JOIN pg_index AS i ON i.indrelid = a.attrelid AND i.indisprimary
                  WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
                  ORDER BY a.attnum"
            }
        };
        let mut table = Self { name, columns: Vec::new(), key: Vec::new() };
        let mut key: Vec<(i64, usize)> = Vec::new();
        for (at, row) in query(text).bind(name).fetch_all(conn).await?.iter().enumerate() {
            let (column, kind, place): (String, String, i64) =
                (row.try_get("name")?, row.try_get("type")?, row.try_get("pk")?);
            let unknown = || StoreError::Unexpected(format!("{name}.{column} is of the type {kind}"));
            let kind = Kind::named(&kind).ok_or_else(unknown)?;
            table.columns.push(TableColumn { name: column, kind });
            if place > 0 {
                key.push((place, at));
            }
        }
        key.sort_unstable();
        table.key = key.into_iter().map(|(_, at)| at).collect();
        Ok(table)
    }

    /// The names of its columns, as a list.
    pub(in crate::store) fn column_list(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        names.join(", ")
    }

    /// The names of the columns of its key, as a list with this behind each.
    pub(in crate::store) fn key_list(&self, behind: &str) -> String {
        let names: Vec<String> = self.key.iter().map(|at| format!("{}{behind}", self.columns[*at].name)).collect();
        names.join(", ")
    }

    /// All values of a row, read in the order of the columns.
    pub(in crate::store) fn values(&self, row: &Row) -> Result<Vec<Value<'static>>, StoreError> {
        let of = |(at, column): (usize, &TableColumn)| value_of(row.cell(at)?, column.kind);
        self.columns.iter().enumerate().map(of).collect()
    }
}

/// A cell as a value that can be bound. A missing one keeps the type of its column.
fn value_of(cell: Cell<'_>, kind: Kind) -> Result<Value<'static>, StoreError> {
    Ok(match (cell, kind) {
        (Cell::Null, Kind::Int) => i64::MISSING,
        (Cell::Null, Kind::Real) => f64::MISSING,
        (Cell::Null, Kind::Text) => String::MISSING,
        (Cell::Null, Kind::Bytes) => Vec::<u8>::MISSING,
        (Cell::Int(n), Kind::Int) => n.value(),
        (Cell::Real(x), Kind::Real) => x.value(),
        (Cell::Text(text), Kind::Text) => text.to_owned().value(),
        (Cell::Bytes(bytes), Kind::Bytes) => bytes.to_vec().value(),
        (cell, kind) => return Err(StoreError::Unexpected(cell.instead_of(&format!("{kind:?}")))),
    })
}

/// The most values that a statement binds. SQLite looks each one up in a list, so a longer statement is slower.
const MOST_VALUES: usize = 900;

/// Inserts whole rows.
pub(in crate::store) async fn insert_rows(
    conn: &mut Conn,
    table: &Table,
    rows: &[Vec<Value<'static>>],
) -> Result<(), StoreError> {
    if let Conn::Wire(wire) = conn {
        let copy = format!("COPY {} ({}) FROM STDIN (FORMAT BINARY)", table.name, table.column_list());
        return wire.copy_in(&copy, binary(rows)).await;
    }
    let columns: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    for rows in rows.chunks((MOST_VALUES / columns.len()).max(1)) {
        let mut insert = Insert::into(table.name, &columns);
        for value in rows.iter().flatten() {
            insert.bind_value(value.clone());
        }
        insert.ending("").execute(&mut *conn).await?;
    }
    Ok(())
}

/// Rows in PostgreSQL's binary format of COPY.
fn binary(rows: &[Vec<Value<'static>>]) -> Vec<u8> {
    let mut out = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    let field = |out: &mut Vec<u8>, bytes: Option<&[u8]>| match bytes {
        None => out.extend((-1_i32).to_be_bytes()),
        Some(bytes) => {
            out.extend(i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
            out.extend(bytes);
        }
    };
    for row in rows {
        out.extend(i16::try_from(row.len()).unwrap_or(i16::MAX).to_be_bytes());
        for value in row {
            match value {
                Value::Int(n) => field(&mut out, n.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice)),
                Value::Real(x) => field(&mut out, x.map(f64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice)),
                Value::Text(text) => field(&mut out, text.as_deref().map(str::as_bytes)),
                Value::Bytes(bytes) => field(&mut out, bytes.as_deref()),
            }
        }
    }
    out.extend((-1_i16).to_be_bytes());
    out
}

/// The highest number that a table gave to a row, of a table that numbers its rows itself; 0 is none. It may be higher than
/// that of any row that is left.
pub(in crate::store) async fn last_number(conn: &mut Conn, table: &str) -> Result<i64, StoreError> {
    let highest: i64 = query_scalar(format!("SELECT coalesce(max(id), 0) FROM {table}")).fetch_one(&mut *conn).await?;
    let given: Option<i64> = match conn.engine() {
        Engine::Sqlite => {
            query_scalar("SELECT seq FROM sqlite_sequence WHERE name = $1").bind(table).fetch_optional(conn).await?
        }
        Engine::Postgres => {
            let sequence: String = query_scalar("SELECT CAST(pg_get_serial_sequence($1, 'id') AS TEXT)")
                .bind(table)
                .fetch_one(&mut *conn)
                .await?;
            let given = format!("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {sequence}");
            query_scalar(given).fetch_optional(conn).await?
        }
    };
    Ok(given.unwrap_or(0).max(highest))
}

/// Lets a table number its next row higher than this.
pub(in crate::store) async fn number_after(conn: &mut Conn, table: &str, last: i64) -> Result<(), StoreError> {
    let last = last.max(last_number(conn, table).await?);
    if last == 0 {
        return Ok(());
    }
    match conn.engine() {
        // Of the other tables, SQLite takes the highest number that is there.
        Engine::Sqlite if table != "processes" => {}
        Engine::Sqlite => {
            let known = query("UPDATE sqlite_sequence SET seq = $2 WHERE name = $1").bind(table).bind(last);
            if known.execute(&mut *conn).await?.rows_affected() == 0 {
                query("INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)")
                    .bind(table)
                    .bind(last)
                    .execute(conn)
                    .await?;
            }
        }
        Engine::Postgres => {
            query("SELECT setval(CAST(pg_get_serial_sequence($1, 'id') AS REGCLASS), $2)")
                .bind(table)
                .bind(last)
                .fetch_one(conn)
                .await?;
        }
    }
    Ok(())
}

/// Removes all rows of these tables, each of which comes after those that it refers to.
pub(in crate::store) async fn empty(conn: &mut Conn, tables: &[&str]) -> Result<(), StoreError> {
    match conn.engine() {
        Engine::Sqlite => {
            for table in tables.iter().rev() {
                query(format!("DELETE FROM {table}")).execute(&mut *conn).await?;
            }
        }
        Engine::Postgres => {
            query(format!("TRUNCATE {}", tables.join(", "))).execute(conn).await?;
        }
    }
    Ok(())
}

/// The tables that the schema has, but those of the engine itself.
#[cfg(test)]
pub(in crate::store) async fn all(conn: &mut Conn) -> Vec<String> {
    let text = match conn.engine() {
        Engine::Sqlite => {
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        }
        Engine::Postgres => {
            "SELECT CAST(relname AS TEXT) FROM pg_class
             WHERE relnamespace = CAST(current_schema() AS REGNAMESPACE) AND relkind = 'r' ORDER BY relname"
        }
    };
    query_scalar(text).fetch_all(conn).await.unwrap()
}

/// Which tables a table refers to.
#[cfg(test)]
pub(in crate::store) async fn referred_by(conn: &mut Conn, table: &str) -> Vec<String> {
    let text = match conn.engine() {
        Engine::Sqlite => "SELECT \"table\" FROM pragma_foreign_key_list($1)",
        Engine::Postgres => {
            "SELECT CAST(r.relname AS TEXT) FROM pg_constraint AS c JOIN pg_class AS r ON r.oid = c.confrelid
             WHERE c.conrelid = to_regclass($1) AND c.contype = 'f'"
        }
    };
    query_scalar(text).bind(table).fetch_all(conn).await.unwrap()
}
