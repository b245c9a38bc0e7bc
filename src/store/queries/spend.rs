//! The cost of calls, summed over batches: one pass over the calls, grouped by the ledger itself.

use std::collections::VecDeque;

use futures::TryStreamExt;
use jiff::{Span, civil::date};
use serde_json::json;

use crate::store::engine::db::{Conn, Row, query, query_as};
use crate::store::{Store, StoreError, StoredSpec, engine::rows};
use crate::{
    clock::Millis,
    domain::{environment::Environment, job::BatchId, task::Unit},
};

/// The calls to sum up, and how to group them.
#[derive(Debug, Clone)]
pub struct SpendQuery {
    /// Only batches of this environment: free calls are not mixed with paid ones.
    pub environment: Environment,
    /// Calls sent at or after this moment.
    pub since: Option<Millis>,
    /// Calls sent before this moment.
    pub before: Option<Millis>,
    /// How calls are grouped.
    pub by: SpendBy,
    /// How many groups are listed: the most expensive ones, or the newest days. The other groups are summed up.
    pub top: usize,
}

/// How calls are grouped.
#[derive(Debug, Clone)]
pub enum SpendBy {
    /// By the day on which a call was sent. Each pair is a moment and the offset from UTC that holds from then on, both
    /// in ms, oldest first; the first offset also holds before.
    Day(Vec<(Millis, i64)>),
    /// By batch.
    Batch,
    /// By model.
    Model,
    /// By the cells of a column carried from the manifests.
    Column(String),
}

/// The sums of a group's calls. Money is in micro-USD.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpendSums {
    /// Lines with at least one call that may have been billed.
    pub lines: u64,
    /// Calls.
    pub calls: u64,
    /// Those that may have been billed.
    pub billed: u64,
    /// Audio of the billed calls, in ms, counted each time it was sent.
    pub audio_ms: u64,
    /// Characters of the billed calls' texts, counted each time they were sent.
    pub characters: u64,
    /// The cost at list price.
    pub cost: i64,
    /// The part of the cost for first calls.
    pub first: i64,
    /// The part of the cost for calls after an unknown outcome.
    pub unknown: i64,
    /// The part of the cost for calls after a useless answer, or by the user's `retry`.
    pub retry: i64,
    /// The part of the cost for calls that were given up.
    pub lost: i64,
    /// The part of the cost for answers that came after another answer had won.
    pub surplus: i64,
    /// The part of the cost for answers that were set aside.
    pub replaced: i64,
    /// The amount reserved for open calls; not part of the cost yet.
    pub reserved: i64,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendGroup {
    /// A day (`2026-11-21`), a batch, a model or a cell; `None` for lines of batches without the column.
    pub name: Option<String>,
    /// Its sums.
    pub sums: SpendSums,
}

/// The result: groups and sums.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spent {
    /// The groups by cost, the highest first; days in their order.
    pub groups: Vec<SpendGroup>,
    /// How many more groups there are, and their sums.
    pub others: (u64, SpendSums),
    /// The sums of all groups. A line that was billed on two days is one line here.
    pub total: SpendSums,
}

impl std::ops::AddAssign for SpendSums {
    fn add_assign(&mut self, o: Self) {
        self.lines += o.lines;
        self.calls += o.calls;
        self.billed += o.billed;
        self.audio_ms += o.audio_ms;
        self.characters += o.characters;
        self.cost = self.cost.saturating_add(o.cost);
        self.first = self.first.saturating_add(o.first);
        self.unknown = self.unknown.saturating_add(o.unknown);
        self.retry = self.retry.saturating_add(o.retry);
        self.lost = self.lost.saturating_add(o.lost);
        self.surplus = self.surplus.saturating_add(o.surplus);
        self.replaced = self.replaced.saturating_add(o.replaced);
        self.reserved = self.reserved.saturating_add(o.reserved);
    }
}

impl Store {
    /// The cost of the calls, grouped and summed up.
    pub async fn spent(&self, ask: &SpendQuery) -> Result<Spent, StoreError> {
        // One snapshot of the ledger for both queries.
        let mut view = self.read.view().await?;
        let mut spent = grouped(&mut view, ask).await?;
        if matches!(ask.by, SpendBy::Day(_)) {
            spent.total.lines = lines(&mut view, ask).await?;
        }
        Ok(spent)
    }
}

impl SpendBy {
    /// The SQL for the group of a call, and for the name of a group.
    fn sql(&self) -> (String, &'static str) {
        match self {
            // Rust formats the day, because engines format dates differently.
            Self::Day(offsets) => (day(offsets), "CAST(grp AS TEXT)"),
            Self::Batch => ("c.batch".into(), "(SELECT name FROM batches WHERE id = grp)"),
            Self::Model => ("coalesce(c.request ->> 'model', c.pool)".into(), "grp"),
            // A superseded job's cells may belong to an older manifest's columns; the line's current cells count.
            Self::Column(_) => (
                "CASE WHEN p.place IS NULL THEN NULL ELSE coalesce(CASE j.state WHEN 'superseded' \
                 THEN coalesce((SELECT n.carried FROM jobs n WHERE n.batch = j.batch AND n.key = j.key \
                   AND n.variant = j.variant AND n.state <> 'superseded'), j.carried) ELSE j.carried END ->> p.place, '') END"
                    .into(),
                "CAST(grp AS TEXT)",
            ),
        }
    }
}

/// The SQL for the number of days since 1970 by the local clock.
fn day(offsets: &[(Millis, i64)]) -> String {
    let first = offsets.first().map_or(0, |(_, ms)| *ms);
    let whens: String =
        offsets.iter().skip(1).rev().map(|(at, ms)| format!("WHEN c.sent_at >= {at} THEN {ms} ")).collect();
    let offset = if whens.is_empty() { first.to_string() } else { format!("CASE {whens}ELSE {first} END") };
    format!("(c.sent_at + {offset}) / 86400000")
}

const IN_RANGE: &str = "c.sent_at >= $2 AND c.sent_at < $3";
const BILLED: &str = "c.state NOT IN ('rejected', 'sent', 'accepted')";

async fn grouped(conn: &mut Conn, ask: &SpendQuery) -> Result<Spent, StoreError> {
    let (group, name) = ask.by.sql();
    let by_day = matches!(ask.by, SpendBy::Day(_));
    let order = if by_day { "grp" } else { "cost DESC, name" };
    let places = places(conn, ask).await?;
    // Materialized, so that the rows to sort are small: they lack a call's request and a job's cells.
    let statement = format!(
        r"-- spend::grouped
          WITH
            places AS MATERIALIZED (
              SELECT CAST(v ->> 0 AS BIGINT) AS id, CAST(v ->> 1 AS BIGINT) AS place, v ->> 2 AS unit
              FROM rows_of($1) AS r),
            spent AS MATERIALIZED (
              SELECT {group} AS grp, c.job, {BILLED} AS billed, c.state, c.why, c.cost, c.reserve,
                CASE WHEN {BILLED} AND p.unit = 'audio_ms' THEN coalesce(c.units, j.units, 0) ELSE 0 END AS ms,
                CASE WHEN {BILLED} AND p.unit = 'characters' THEN coalesce(c.units, 0) ELSE 0 END AS characters
              FROM calls AS c
              JOIN places AS p ON p.id = c.batch
              JOIN jobs AS j ON j.id = c.job
              WHERE {IN_RANGE}),
            sums AS (
              SELECT grp, count(DISTINCT CASE WHEN billed THEN job END) AS lines, count(*) AS calls,
                count(*) FILTER (WHERE billed) AS billed, CAST(sum(ms) AS BIGINT) AS audio_ms,
                CAST(sum(characters) AS BIGINT) AS characters, CAST(sum(cost) AS BIGINT) AS cost,
                CAST(sum(reserve) AS BIGINT) AS reserved,
                CAST(coalesce(sum(cost) FILTER (WHERE why = 'first'), 0) AS BIGINT) AS first,
                CAST(coalesce(sum(cost) FILTER (WHERE why = 'unknown'), 0) AS BIGINT) AS unknown,
                CAST(coalesce(sum(cost) FILTER (WHERE why = 'retry'), 0) AS BIGINT) AS retry,
                CAST(coalesce(sum(cost) FILTER (WHERE state = 'lost'), 0) AS BIGINT) AS lost,
                CAST(coalesce(sum(cost) FILTER (WHERE state = 'surplus'), 0) AS BIGINT) AS surplus,
                CAST(coalesce(sum(cost) FILTER (WHERE state = 'replaced'), 0) AS BIGINT) AS replaced
              FROM spent
              GROUP BY grp)
          SELECT {name} AS name, * FROM sums ORDER BY {order}"
    );
    let mut found = query(statement.clone())
        .bind(places)
        .bind(ask.since.unwrap_or(0))
        .bind(ask.before.unwrap_or(Millis::MAX))
        .fetch(conn);
    let (mut kept, mut others, mut total) = (VecDeque::new(), (0, SpendSums::default()), SpendSums::default());
    while let Some(row) = found.try_next().await? {
        let name: Option<String> = row.try_get("name")?;
        let group = SpendGroup { name: name.map(|name| if by_day { date_of(&name) } else { name }), sums: sums(&row)? };
        total += group.sums;
        kept.push_back(group);
        if kept.len() > ask.top {
            let out = if by_day { kept.pop_front() } else { kept.pop_back() };
            others.0 += 1;
            others.1 += out.map(|group| group.sums).unwrap_or_default();
        }
    }
    Ok(Spent { groups: kept.into(), others, total })
}

/// The batches of the environment, each with the index of the column among its carried ones and its unit: `[[id, place, unit], …]`. A batch
/// whose specification cannot be parsed has no column.
async fn places(conn: &mut Conn, ask: &SpendQuery) -> Result<String, StoreError> {
    let batches: Vec<(BatchId, StoredSpec, Unit)> =
        query_as("SELECT id, spec, unit FROM batches WHERE environment = $1")
            .bind(ask.environment)
            .fetch_all(conn)
            .await?;
    let place = |spec: &StoredSpec| match (&ask.by, spec.read()) {
        (SpendBy::Column(column), Ok(spec)) => spec.carried.iter().position(|carried| carried == column),
        _ => None,
    };
    Ok(json!(batches.iter().map(|(batch, spec, unit)| (batch.0, place(spec), unit.as_str())).collect::<Vec<_>>())
        .to_string())
}

/// Formats a number of days since 1970 as `2026-11-21`.
fn date_of(days: &str) -> String {
    let since = days.parse::<i64>().ok().and_then(|days| Span::new().try_days(days).ok());
    let date = since.and_then(|since| date(1970, 1, 1).checked_add(since).ok());
    date.map_or_else(|| days.to_owned(), |date| date.to_string())
}

/// How many lines have a billed call, each counted once.
async fn lines(conn: &mut Conn, ask: &SpendQuery) -> Result<u64, StoreError> {
    let statement = format!(
        r"-- spend::lines
          SELECT count(DISTINCT c.job) AS n
          FROM calls AS c
          WHERE {IN_RANGE} AND {BILLED} AND c.batch IN (SELECT id FROM batches WHERE environment = $1)"
    );
    let row = query(statement.clone())
        .bind(ask.environment)
        .bind(ask.since.unwrap_or(0))
        .bind(ask.before.unwrap_or(Millis::MAX))
        .fetch_one(conn)
        .await?;
    Ok(rows::length(&row, "n")?.unwrap_or(0))
}

fn sums(row: &Row) -> Result<SpendSums, StoreError> {
    let count = |name| rows::length(row, name).map(Option::unwrap_or_default);
    Ok(SpendSums {
        lines: count("lines")?,
        calls: count("calls")?,
        billed: count("billed")?,
        audio_ms: count("audio_ms")?,
        characters: count("characters")?,
        cost: row.try_get("cost")?,
        first: row.try_get("first")?,
        unknown: row.try_get("unknown")?,
        retry: row.try_get("retry")?,
        lost: row.try_get("lost")?,
        surplus: row.try_get("surplus")?,
        replaced: row.try_get("replaced")?,
        reserved: row.try_get("reserved")?,
    })
}
