//! Definitions that run on a schedule: which of their runs were recorded, which are due, and how they ended.
//!
//! A run has one alarm clock, as a job has: `due_at`, when a process must look at it again. The process that takes it
//! moves that ahead by a lease; `tries` is the fence.

mod nodes;
mod settle;
mod shown;
#[cfg(test)]
mod tests;

use crate::domain::environment::Environment;
use crate::store::engine::db::{Conn, Row, query, query_as, query_scalar};
use jiff::civil::Date;

use crate::clock::Millis;
use crate::store::{Store, StoreError, engine::rows};

pub use nodes::{DefinitionContent, ScheduleNode};
pub use settle::{NewRun, ScheduleAdvance};
pub use shown::{LastRun, ScheduleView, WaitingRun};

/// The right to start a run until the lease expires.
#[derive(Debug, Clone)]
pub struct TakenRun {
    /// The definition's name.
    pub definition: String,
    /// The environment of the calls of its batches.
    pub environment: Environment,
    /// Its scheduled moment.
    pub at: Millis,
    /// The value of `{date}` in it.
    pub date: Date,
    /// How many times it could not be started.
    pub failures: u32,
    /// Why it was not started the last time.
    pub why: Option<String>,
    /// The batch whose submission began, if the previous process died or left meanwhile.
    pub batch: Option<String>,
    /// How many dates of this definition came after its own.
    pub newer_dates: u32,
    tries: i64,
}

impl Store {
    /// The definitions with a schedule that this ledger knows, and until when their runs are settled.
    pub async fn settled(&self, environment: Environment) -> Result<Vec<(String, Millis)>, StoreError> {
        query_as("SELECT definition, settled_to FROM schedules WHERE environment = $1")
            .bind(environment)
            .fetch_all(&self.read)
            .await
    }

    /// Records new runs, due at once. A later run of the same date replaces one that was not started yet. Returns the
    /// replaced runs of other dates. `None`: another process was first, and nothing is recorded.
    pub async fn settle_schedule(&self, settling: ScheduleAdvance) -> Result<Option<Vec<NewRun>>, StoreError> {
        self.write(move |conn, now| {
            let settling = settling.clone();
            Box::pin(async move { settle::settle(conn, &settling, now).await })
        })
        .await
    }

    /// Takes the oldest due run of these definitions, for the length of a lease. Only one run of a definition is started
    /// at a time.
    pub async fn take_run(
        &self,
        environment: Environment,
        definitions: &[String],
    ) -> Result<Option<TakenRun>, StoreError> {
        let names = name_rows(definitions);
        let due: Option<i64> = query_scalar(format!("SELECT at {TAKEABLE}"))
            .bind(environment)
            .bind(self.now())
            .bind(&names)
            .fetch_optional(&self.read)
            .await?;
        if due.is_none() {
            return Ok(None);
        }
        let lease = self.timing().lease_ms;
        self.write(move |conn, now| {
            let names = names.clone();
            Box::pin(async move { take(conn, environment, &names, now, now + lease).await })
        })
        .await
    }

    /// The next moment, from now on, at which a run of these definitions is due.
    pub async fn next_run_due(
        &self,
        environment: Environment,
        definitions: &[String],
    ) -> Result<Option<Millis>, StoreError> {
        query_scalar(
            r"-- schedules::next_run_due
                SELECT min(due_at)
                FROM runs
                WHERE environment = $1 AND due_at > $2 AND definition IN (SELECT v ->> 0 FROM rows_of($3) AS r)",
        )
        .bind(environment)
        .bind(self.now())
        .bind(name_rows(definitions))
        .fetch_one(&self.read)
        .await
    }

    /// Records that its submission to this batch begins; the process that takes the run next continues with that batch.
    /// Returns whether the lease was still ours.
    pub async fn run_begins(&self, run: &TakenRun, batch: &str) -> Result<bool, StoreError> {
        let batch = batch.to_owned();
        self.update_taken(run, "batch = $5", move |query| query.bind(batch.clone())).await
    }

    /// Renews the lease. Returns whether it was still ours.
    pub async fn renew_run(&self, run: &TakenRun) -> Result<bool, StoreError> {
        let due_at = self.now() + self.timing().lease_ms;
        self.update_taken(run, "due_at = $5", move |query| query.bind(due_at)).await
    }

    /// Records that the run's batch was submitted. Returns whether the lease was still ours.
    pub async fn run_started(&self, run: &TakenRun, batch: &str) -> Result<bool, StoreError> {
        let (now, batch) = (self.now(), batch.to_owned());
        let set = "state = 'started', due_at = NULL, taken = 0, ended_at = $5, batch = $6, why = NULL";
        self.update_taken(run, set, move |query| query.bind(now).bind(batch.clone())).await
    }

    /// Records that it could not be started, and is due again at this moment. Returns whether the lease was still ours.
    pub async fn run_failed(&self, run: &TakenRun, due_at: Millis, why: &str) -> Result<bool, StoreError> {
        let why = why.to_owned();
        let set = "due_at = $5, taken = 0, failures = failures + 1, batch = NULL, why = $6";
        self.update_taken(run, set, move |query| query.bind(due_at).bind(why.clone())).await
    }

    /// Records that it has to wait, without a fault. Returns whether the lease was still ours.
    pub async fn run_waits(&self, run: &TakenRun, due_at: Millis, why: &str) -> Result<bool, StoreError> {
        let why = why.to_owned();
        let set = "due_at = $5, taken = 0, failures = 0, why = $6";
        self.update_taken(run, set, move |query| query.bind(due_at).bind(why.clone())).await
    }

    /// Drops the run. Returns whether the lease was still ours.
    pub async fn run_dropped(&self, run: &TakenRun, why: &str) -> Result<bool, StoreError> {
        let (now, why) = (self.now(), why.to_owned());
        let set = "state = 'dropped', due_at = NULL, taken = 0, ended_at = $5, why = $6";
        self.update_taken(run, set, move |query| query.bind(now).bind(why.clone())).await
    }

    /// Gives the lease back: another process may take it at once.
    pub async fn give_run_back(&self, run: &TakenRun) -> Result<bool, StoreError> {
        let now = self.now();
        self.update_taken(run, "due_at = $5, taken = 0", move |query| query.bind(now)).await
    }

    /// Sets the window in which calls of the definition's batches may begin, also for later batches. A window that is not
    /// open yet does not change a batch whose last window closed and was not reported so far.
    pub async fn set_schedule_window(
        &self,
        definition: &str,
        environment: Environment,
        window: Option<(Millis, Millis)>,
    ) -> Result<(), StoreError> {
        const DIFFERS: &str = "definition = $1 AND environment = $2
             AND (window_from IS DISTINCT FROM $3 OR window_until IS DISTINCT FROM $4)";
        const UNFINISHED: &str = "finished_at IS NULL AND ($3 IS NULL OR $3 <= $5 OR window_until IS NULL
             OR window_until > $5 OR reported = 'window ' || CAST(window_until AS TEXT))";
        let (name, (from, until)) = (definition.to_owned(), window.unzip());
        let run = move |statement: String, now: Millis| {
            query(statement.clone()).bind(name.clone()).bind(environment).bind(from).bind(until).bind(now)
        };
        let differs = format!(
            r"-- schedules::set_schedule_window
              SELECT EXISTS (SELECT 1 FROM schedules WHERE {DIFFERS} AND $5 > 0)
                OR EXISTS (SELECT 1 FROM batches WHERE {DIFFERS} AND {UNFINISHED})"
        );
        if !run(differs, self.now()).fetch_one(&self.read).await?.try_get::<bool, _>(0)? {
            return Ok(());
        }
        self.write(move |conn, now| {
            let set = "SET window_from = $3, window_until = $4";
            let schedule = run(format!("UPDATE schedules {set} WHERE {DIFFERS} AND $5 > 0"), now);
            let batches = run(format!("UPDATE batches {set} WHERE {DIFFERS} AND {UNFINISHED}"), now);
            Box::pin(async move {
                schedule.execute(&mut *conn).await?;
                batches.execute(conn).await?;
                Ok(())
            })
        })
        .await?;
        self.wake();
        Ok(())
    }

    /// When a run with this batch was last started.
    pub async fn last_start(&self, batch: &str) -> Result<Option<Millis>, StoreError> {
        query_scalar("SELECT max(ended_at) FROM runs WHERE batch = $1 AND state = 'started'")
            .bind(batch)
            .fetch_one(&self.read)
            .await
    }

    /// The dates of runs that were started since then, oldest first.
    pub async fn started_dates(&self, environment: Environment, since: Millis) -> Result<Vec<String>, StoreError> {
        query_scalar(
            r"-- schedules::started_dates
              SELECT DISTINCT date FROM runs WHERE environment = $1 AND state = 'started' AND ended_at >= $2 ORDER BY date",
        )
        .bind(environment)
        .bind(since)
        .fetch_all(&self.read)
        .await
    }

    /// Updates a run that is ours; the columns in `set` take their values from `$5` on.
    async fn update_taken(
        &self,
        run: &TakenRun,
        set: &'static str,
        values: impl Fn(Query<'static>) -> Query<'static> + Send + Sync + 'static,
    ) -> Result<bool, StoreError> {
        let run = run.clone();
        let statement = format!(
            r"-- schedules::update_taken
              UPDATE runs
              SET {set}
              WHERE definition = $1 AND environment = $2 AND at = $3 AND tries = $4 AND taken = 1"
        );
        self.write(move |conn, _| {
            let query = query(statement.clone());
            let query = query.bind(run.definition.clone()).bind(run.environment).bind(run.at).bind(run.tries);
            let query = values(query);
            Box::pin(async move { Ok(query.execute(conn).await?.rows_affected() == 1) })
        })
        .await
    }
}

type Query<'q> = crate::store::engine::db::Query<'q>;

/// The oldest due run, of a definition without a run that is being started.
const TAKEABLE: &str = "FROM runs AS t
     WHERE environment = $1 AND due_at <= $2 AND definition IN (SELECT v ->> 0 FROM rows_of($3) AS r)
       AND NOT EXISTS (
         SELECT 1 FROM runs AS o
         WHERE o.definition = t.definition AND o.environment = t.environment AND o.taken = 1 AND o.due_at > $2)
     ORDER BY at, definition
     LIMIT 1";

fn name_rows(names: &[String]) -> String {
    serde_json::json!(names.iter().map(|name| [name]).collect::<Vec<_>>()).to_string()
}

async fn take(
    conn: &mut Conn,
    environment: Environment,
    names: &str,
    now: Millis,
    until: Millis,
) -> Result<Option<TakenRun>, StoreError> {
    let statement = format!(
        r"-- schedules::take
          UPDATE runs
          SET taken = 1, tries = tries + 1, due_at = $4
          WHERE (definition, at) = (SELECT definition, at {TAKEABLE}) AND environment = $1
          RETURNING definition, at, date, failures, why, batch, tries, (
            SELECT count(DISTINCT n.date) FROM runs AS n
            WHERE n.definition = runs.definition AND n.environment = runs.environment AND n.at > runs.at
              AND n.date <> runs.date) AS newer"
    );
    let row = query(statement.clone()).bind(environment).bind(now).bind(names).bind(until).fetch_optional(conn).await?;
    row.as_ref().map(|row| taken(row, environment)).transpose()
}

fn taken(row: &Row, environment: Environment) -> Result<TakenRun, StoreError> {
    Ok(TakenRun {
        definition: row.try_get("definition")?,
        environment,
        at: row.try_get("at")?,
        date: rows::listed(row, "date")?,
        failures: rows::count(row, "failures")?,
        why: row.try_get("why")?,
        batch: row.try_get("batch")?,
        newer_dates: rows::count(row, "newer")?,
        tries: row.try_get("tries")?,
    })
}
