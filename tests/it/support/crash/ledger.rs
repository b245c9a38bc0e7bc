//! The ledger as it lies there, read with SQL: what the program says of itself is no evidence.

use std::{collections::HashMap, path::Path};

use sqlx::{
    ConnectOptions, Connection, Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use wavebatch::clock::{Clock, Millis};

pub(super) struct Ledger {
    conn: SqliteConnection,
    looked_at: Millis,
}

/// What the ledger has of one call.
pub(super) struct Call {
    pub id: String,
    pub state: String,
    /// When it ended, in ms since 1970.
    pub ended_at: i64,
    /// Its fingerprint, in hexadecimal; of speech alone.
    pub cache_key: Option<String>,
    /// Its line's batch and key, and its part.
    pub part: (String, String, i64),
}

impl Ledger {
    pub(super) async fn open(path: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(std::time::Duration::from_secs(20))
            .disable_statement_logging();
        let conn = SqliteConnection::connect_with(&options).await.expect("the ledger");
        Self { conn, looked_at: Clock::system().now() }
    }

    /// Calls that may be on the wire: all of them, or those of the process `pid` and of nobody. What was given up since the
    /// last look is among them, since a dead process may be buried before it is looked for.
    pub(super) async fn in_flight(&mut self, pid: Option<u32>) -> Vec<String> {
        let now = Clock::system().now();
        let since = std::mem::replace(&mut self.looked_at, now);
        sqlx::query_scalar(
            "SELECT lower(hex(id)) FROM calls WHERE state = 'lost' AND ended_at >= ?1 OR state = 'sent' AND \
             (?2 IS NULL OR process IS NULL OR process IN (SELECT id FROM processes WHERE pid = ?2))",
        )
        .bind(since)
        .bind(pid)
        .fetch_all(&mut self.conn)
        .await
        .expect("the ledger")
    }

    /// Batches that are not finished, or whose reports are not written, and how many lines of each are left.
    pub(super) async fn unfinished(&mut self) -> Vec<(String, i64)> {
        sqlx::query_as(
            "SELECT b.name, count(j.id) FROM batches b LEFT JOIN jobs j ON j.batch = b.id AND j.due_at IS NOT NULL
             WHERE b.finished_at IS NULL OR b.reported IS NOT 'finished ' || b.finished_at GROUP BY b.id",
        )
        .fetch_all(&mut self.conn)
        .await
        .expect("the ledger")
    }

    pub(super) async fn calls(&mut self) -> Vec<Call> {
        let rows = sqlx::query(
            "SELECT lower(hex(c.id)) AS id, c.state, coalesce(c.ended_at, 0) AS ended_at, lower(hex(c.cache_key)) AS sound, \
               b.name AS batch, j.key, c.part FROM calls c JOIN jobs j ON j.id = c.job JOIN batches b ON b.id = c.batch",
        )
        .fetch_all(&mut self.conn)
        .await
        .expect("the ledger");
        rows.iter()
            .map(|row| Call {
                id: row.get("id"),
                state: row.get("state"),
                ended_at: row.get("ended_at"),
                cache_key: row.get::<Option<String>, _>("sound").filter(|cache_key| !cache_key.is_empty()),
                part: (row.get("batch"), row.get("key"), row.get("part")),
            })
            .collect()
    }

    /// Lines by batch and state.
    pub(super) async fn lines(&mut self) -> HashMap<(String, String), i64> {
        let rows = sqlx::query(
            "SELECT b.name, j.state, count(*) AS lines FROM jobs j JOIN batches b ON b.id = j.batch GROUP BY 1, 2",
        )
        .fetch_all(&mut self.conn)
        .await
        .expect("the ledger");
        rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect()
    }

    /// Processes that are entered.
    pub(super) async fn processes(&mut self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM processes").fetch_one(&mut self.conn).await.expect("the ledger")
    }

    pub(super) async fn integrity(&mut self) -> String {
        sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut self.conn).await.expect("the ledger")
    }
}
