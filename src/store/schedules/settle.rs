//! ScheduleAdvance: new runs become rows, and the checked time span is settled.

use crate::domain::environment::Environment;
use crate::store::engine::db::{Conn, query, query_as};
use jiff::civil::Date;

use crate::clock::Millis;
use crate::store::{StoreError, engine::rows};

/// How long ended runs are kept, in ms.
const KEPT: Millis = 100 * 86_400_000;

/// A run whose scheduled moment has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRun {
    /// Its scheduled moment.
    pub at: Millis,
    /// The value of `{date}` in it.
    pub date: Date,
}

/// The result of a look at a schedule.
#[derive(Debug, Clone)]
pub struct ScheduleAdvance {
    /// The definition's name.
    pub definition: String,
    /// The environment of the calls of its batches.
    pub environment: Environment,
    /// Until when all was settled before. If that has moved meanwhile, another process was first.
    pub from: Millis,
    /// Until when all is settled now.
    pub to: Millis,
    /// The new runs, oldest first.
    pub runs: Vec<NewRun>,
    /// Whether one run replaces all: older runs that were not started yet are dropped, whatever their dates.
    pub one_for_all: bool,
}

pub(super) async fn settle(
    conn: &mut Conn,
    settling: &ScheduleAdvance,
    now: Millis,
) -> Result<Option<Vec<NewRun>>, StoreError> {
    let ScheduleAdvance { definition, environment, from, to, runs, one_for_all } = settling;
    let moved = query(
        r"-- settle::settle
          UPDATE schedules
          SET settled_to = $1
          WHERE definition = $2 AND environment = $3 AND settled_to = $4",
    )
    .bind(to)
    .bind(definition)
    .bind(environment)
    .bind(from)
    .execute(&mut *conn)
    .await?;
    if moved.rows_affected() == 0 {
        return Ok(None);
    }
    let mut gone = Vec::new();
    for run in runs {
        gone.extend(add(&mut *conn, settling, run, *one_for_all, now).await?);
    }
    if !runs.is_empty() {
        let sql = r"-- settle::settle
                DELETE FROM runs
                WHERE definition = $1 AND environment = $2 AND ended_at < $3
                  AND at < (SELECT max(at) FROM runs WHERE definition = $1 AND environment = $2 AND state = 'started')";
        query(sql).bind(definition).bind(environment).bind(now - KEPT).execute(conn).await?;
    }
    Ok(Some(gone))
}

/// Adds one run. It inherits the failures of the run that it replaces, so that nothing is reported twice.
async fn add(
    conn: &mut Conn,
    settling: &ScheduleAdvance,
    run: &NewRun,
    one_for_all: bool,
    now: Millis,
) -> Result<Vec<NewRun>, StoreError> {
    let ScheduleAdvance { definition, environment, .. } = settling;
    let date = run.date.to_string();
    // This includes a run that is being started now, and that stays.
    let known: Option<(i64, Option<String>)> = query_as(
        r"-- settle::add
          SELECT failures, why
          FROM runs
          WHERE definition = $1 AND environment = $2 AND at < $3 AND due_at IS NOT NULL AND ($5 = 1 OR date = $4)
          ORDER BY at DESC
          LIMIT 1",
    )
    .bind(definition)
    .bind(environment)
    .bind(run.at)
    .bind(&date)
    .bind(i64::from(one_for_all))
    .fetch_optional(&mut *conn)
    .await?;
    let (failures, why) = known.unwrap_or_default();
    let older = query(
        r"-- settle::add
          UPDATE runs
          SET state = 'dropped', due_at = NULL, taken = 0, ended_at = $5
          WHERE definition = $1 AND environment = $2 AND at < $3 AND due_at IS NOT NULL AND NOT (taken = 1 AND due_at > $5)
            AND ($6 = 1 OR date = $4)
          RETURNING at, date",
    )
    .bind(definition)
    .bind(environment)
    .bind(run.at)
    .bind(&date)
    .bind(now)
    .bind(i64::from(one_for_all))
    .fetch_all(&mut *conn)
    .await?;
    query(
        r"-- settle::add
          INSERT INTO runs (definition, environment, at, date, state, due_at, failures, why)
          VALUES ($1, $2, $3, $4, 'due', $5, $6, $7)
          ON CONFLICT (definition, environment, at) DO NOTHING",
    )
    .bind(definition)
    .bind(environment)
    .bind(run.at)
    .bind(&date)
    .bind(now)
    .bind(failures)
    .bind(why)
    .execute(conn)
    .await?;
    let mut gone = Vec::new();
    for row in &older {
        gone.push(NewRun { at: row.try_get("at")?, date: rows::listed(row, "date")? });
    }
    gone.retain(|older| older.date != run.date);
    Ok(gone)
}
