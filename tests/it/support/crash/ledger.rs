//! The ledger as it lies there, read with SQL: what the program says of itself is no evidence.

use std::{collections::HashMap, path::Path};

use sqlx::{
    ConnectOptions, PgConnection, SqliteConnection,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};
use wavebatch::clock::{Clock, Millis};

pub(super) struct Ledger {
    conn: Conn,
    looked_at: Millis,
}

enum Conn {
    File(SqliteConnection),
    /// On a server, which may be away: it is connected to for each question.
    Server(Box<PgConnectOptions>),
}

/// The rows of a query, whatever the ledger is in. No rows at all: the server cannot be asked now.
macro_rules! rows {
    ($ledger:expr, $query:expr) => {
        match &mut $ledger.conn {
            Conn::File(conn) => Some($query.fetch_all(conn).await.expect("the ledger")),
            Conn::Server(options) => match connect(options).await {
                Some(mut conn) => $query.fetch_all(&mut conn).await.ok(),
                None => None,
            },
        }
    };
}

async fn connect(options: &PgConnectOptions) -> Option<PgConnection> {
    options.connect().await.ok()
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

type CallRow = (Vec<u8>, String, i64, Option<Vec<u8>>, String, String, i64);

impl Ledger {
    pub(super) async fn open(path: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .busy_timeout(std::time::Duration::from_secs(20))
            .disable_statement_logging();
        Self { conn: Conn::File(options.connect().await.expect("the ledger")), looked_at: Clock::system().now() }
    }

    pub(super) fn on_server(options: PgConnectOptions) -> Self {
        let options = options.application_name("witness").disable_statement_logging();
        Self { conn: Conn::Server(Box::new(options)), looked_at: Clock::system().now() }
    }

    /// Calls that may be on the wire: all of them, or those of the process `pid` and of nobody. What was given up since the
    /// last look is among them, since a dead process may be buried before it is looked for. Nothing where the ledger cannot
    /// be asked.
    pub(super) async fn in_flight(&mut self, pid: Option<u32>) -> Option<Vec<String>> {
        let now = Clock::system().now();
        let calls: Vec<(Vec<u8>,)> = rows!(
            self,
            sqlx::query_as(
                "SELECT id FROM calls WHERE state = 'lost' AND ended_at >= $1 OR state = 'sent' AND \
                 (CAST($2 AS BIGINT) IS NULL OR process IS NULL OR process IN (SELECT id FROM processes WHERE pid = $2))",
            )
            .bind(self.looked_at)
            .bind(pid.map(i64::from))
        )?;
        self.looked_at = now;
        Some(calls.into_iter().map(|(id,)| hex(&id)).collect())
    }

    /// Batches that are not finished, or whose reports are not written, and how many lines of each are left.
    pub(super) async fn unfinished(&mut self) -> Option<Vec<(String, i64)>> {
        rows!(
            self,
            sqlx::query_as(
                "SELECT b.name, count(j.id) FROM batches b LEFT JOIN jobs j ON j.batch = b.id AND j.due_at IS NOT NULL
                 WHERE b.finished_at IS NULL OR b.reported IS DISTINCT FROM 'finished ' || b.finished_at GROUP BY b.id",
            )
        )
    }

    pub(super) async fn calls(&mut self) -> Vec<Call> {
        let rows: Option<Vec<CallRow>> = rows!(
            self,
            sqlx::query_as(
                "SELECT c.id, c.state, coalesce(c.ended_at, 0), c.cache_key, b.name, j.key, c.part \
                 FROM calls c JOIN jobs j ON j.id = c.job JOIN batches b ON b.id = c.batch",
            )
        );
        let call = |(id, state, ended_at, cache_key, batch, key, part): CallRow| Call {
            id: hex(&id),
            state,
            ended_at,
            cache_key: cache_key.map(|key| hex(&key)).filter(|key| !key.is_empty()),
            part: (batch, key, part),
        };
        rows.expect("the ledger").into_iter().map(call).collect()
    }

    /// Lines by batch and state.
    pub(super) async fn lines(&mut self) -> HashMap<(String, String), i64> {
        let rows: Option<Vec<(String, String, i64)>> = rows!(
            self,
            sqlx::query_as(
                "SELECT b.name, j.state, count(*) AS lines FROM jobs j JOIN batches b ON b.id = j.batch GROUP BY 1, 2",
            )
        );
        rows.expect("the ledger").into_iter().map(|(batch, state, lines)| ((batch, state), lines)).collect()
    }

    /// Processes that are entered.
    pub(super) async fn processes(&mut self) -> i64 {
        let rows: Option<Vec<(i64,)>> = rows!(self, sqlx::query_as("SELECT count(*) FROM processes"));
        rows.expect("the ledger")[0].0
    }

    /// `ok`, where the engine can say it.
    pub(super) async fn integrity(&mut self) -> String {
        match &mut self.conn {
            Conn::File(conn) => sqlx::query_scalar("PRAGMA integrity_check").fetch_one(conn).await.expect("the ledger"),
            Conn::Server(_) => "ok".into(),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
