//! Spend limits of a day and of a month: the sums that they are checked against, the pauses that end with them, and the
//! notices that one is close.
//!
//! Sums are kept by quarters of an hour. So the time zone of the limits can change at any time, and calls from before a
//! limit was set count. A permit adds up at most the 2,976 rows of a month, however many calls that had.

use std::{collections::HashMap, sync::Arc};

use serde_json::json;

use crate::store::engine::db::{Asked, Conn, Found, Query, Row, Trip, query, query_scalar};
use crate::store::{
    Moment, PermitRequest, Store, StoreError, StoreShared,
    batches::pauses,
    calls::fence::{Money, age, holds_slot},
};
use crate::{
    clock::Millis,
    domain::{
        cost::MicroUsd,
        environment::Environment,
        job::{BatchId, CallId},
        retry::PauseKind,
        spend::{self, Period, QUARTER_MS, SpendRule, SpendUse, quarter},
    },
};

/// How long a pause lasts at least, in ms, unless its day or month ends. Without it, two processes with different
/// settings would lift and pause in turn.
const PAUSE_LEAST_MS: Millis = 60_000;

/// The account that paid, its environment, and the quarter of an hour in which it paid.
pub(in crate::store) type SpendQuarter = (String, Environment, Millis);

/// Changes of the spent and reserved amounts, by quarter.
#[derive(Debug, Default)]
pub(in crate::store) struct Bookings(HashMap<SpendQuarter, (i64, i64)>);

impl Bookings {
    /// Adds amounts for a call that was sent at this moment. Either may be negative.
    pub(in crate::store) fn add(
        &mut self,
        account: &str,
        environment: Environment,
        sent_at: Millis,
        amounts: (i64, i64),
    ) {
        let place = (account.to_owned(), environment, quarter(sent_at));
        let (spent, reserved) = self.0.entry(place).or_default();
        *spent = spent.saturating_add(amounts.0);
        *reserved = reserved.saturating_add(amounts.1);
    }

    /// Writes the changes. No amount makes it fail, because a paid answer must be kept.
    pub(in crate::store) async fn write(self, conn: &mut Conn) -> Result<(), StoreError> {
        let set: Vec<_> = self
            .0
            .iter()
            .filter(|(_, amounts)| **amounts != (0, 0))
            .map(|((account, environment, quarter), (spent, reserved))| {
                json!([account, environment, quarter, spent, reserved])
            })
            .collect();
        if set.is_empty() {
            return Ok(());
        }
        // Bookings::write
        query(
            r"-- spend_limits::write
                INSERT INTO spending (account, environment, quarter, spent, reserved)
                SELECT v ->> 0, v ->> 1, CAST(v ->> 2 AS BIGINT), CAST(v ->> 3 AS BIGINT), CAST(v ->> 4 AS BIGINT)
                FROM rows_of($1) AS r
                WHERE 1 = 1
                ON CONFLICT (account, environment, quarter) DO UPDATE
                SET spent = CASE WHEN spending.spent > 8000000000000000000 THEN spending.spent
                    ELSE spending.spent + excluded.spent END,
                  reserved = CASE WHEN spending.reserved > 8000000000000000000 THEN spending.reserved
                    ELSE spending.reserved + excluded.reserved END",
        )
        .bind(serde_json::Value::from(set).to_string())
        .later(conn)
        .await
    }
}

/// Sums up all calls again, after many of their moments have changed.
pub(in crate::store) async fn sum_up(conn: &mut Conn) -> Result<(), StoreError> {
    query("DELETE FROM spending").execute(&mut *conn).await?;
    query(format!(
        r"-- spend_limits::sum_up
          INSERT INTO spending (account, environment, quarter, spent, reserved)
          SELECT c.account, b.environment, c.sent_at - c.sent_at % {QUARTER_MS}, CAST(sum(c.cost) AS BIGINT),
            CAST(sum(c.reserve) AS BIGINT)
          FROM calls AS c
          JOIN batches AS b ON b.id = c.batch
          WHERE c.cost > 0 OR c.reserve > 0
          GROUP BY 1, 2, 3"
    ))
    .execute(conn)
    .await?;
    Ok(())
}

/// Asks what is committed now of a limit. Without an account: the sum over all accounts.
fn committed<'q>((account, environment): (Option<&'q str>, Environment), one: &SpendUse) -> Query<'q> {
    let whose = if account.is_some() { "account = $1" } else { "$1 IS NULL" };
    query(format!(
        r"-- spend_limits::committed: no row counts for more than a billion dollars, so that the sum is one.
          SELECT CAST(coalesce(sum(CASE WHEN spent > $5 THEN $5 ELSE spent END), 0) AS BIGINT) AS spent,
            CAST(coalesce(sum(CASE WHEN reserved > $5 THEN $5 ELSE reserved END), 0) AS BIGINT) AS reserved,
            EXISTS (SELECT 1 FROM spend_notices AS n
              WHERE n.account = $1 AND n.environment = $2 AND n.period = $6 AND n.from_at = $7 AND n.max_spend = $8) AS noticed
          FROM spending
          WHERE {whose} AND environment = $2 AND quarter >= $3 AND quarter < $4"
    ))
    .bind(account)
    .bind(environment)
    .bind(quarter(one.span.from))
    .bind(one.span.until)
    .bind(MicroUsd::MOST.0)
    .bind(one.period)
    .bind(one.span.from)
    .bind(one.limit.0)
}

/// Reads what is committed of a limit. Returns whether it was noticed that the limit is close.
fn read_committed(one: &mut SpendUse, row: &Row) -> Result<bool, StoreError> {
    one.spent = MicroUsd(row.try_get("spent")?);
    one.reserved = MicroUsd(row.try_get("reserved")?);
    row.try_get("noticed")
}

/// What is committed now of each limit of a rule. Without an account: the sum over all accounts.
async fn uses(
    conn: &mut Conn,
    whose: (Option<&str>, Environment),
    rule: &SpendRule,
    now: Millis,
) -> Result<Vec<SpendUse>, StoreError> {
    let mut uses: Vec<SpendUse> = rule.at(now).collect();
    for one in &mut uses {
        let row = committed(whose, one).fetch_one(&mut *conn).await?;
        read_committed(one, &row)?;
    }
    Ok(uses)
}

/// The limits that the asks of one look are checked against, and what is committed of them.
#[derive(Debug, Default)]
pub(in crate::store) struct SpendUsages(Vec<SpendUsage>);

#[derive(Debug)]
struct SpendUsage {
    account: String,
    environment: Environment,
    rule: Arc<SpendRule>,
    uses: Vec<SpendUse>,
    /// Of each of these limits, whether it was noticed that it is close.
    noticed: Vec<bool>,
    /// Whether calls of the account hold a slot: they may turn out cheaper.
    in_flight: bool,
}

/// Whether a call fits into the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Fit {
    /// It fits, or there are no limits.
    Fits,
    /// It may fit once the calls under way have ended.
    OptionalGauge,
    /// It does not fit.
    Not(SpendUse),
}

/// Where the rows about the limits of a look are.
pub(in crate::store) struct SpendLook(Vec<(SpendUsage, Vec<Asked>, Asked)>);

impl SpendUsages {
    /// Asks what is committed of the limits that these asks are checked against.
    pub(in crate::store) fn ask<'q>(
        trip: &mut Trip<'q>,
        shared: &StoreShared,
        asks: &[(usize, &'q PermitRequest)],
        batches: &HashMap<BatchId, Money>,
        now: &Moment,
    ) -> SpendLook {
        let mut books: Vec<(SpendUsage, Vec<Asked>, Asked)> = Vec::new();
        for (_, ask) in asks {
            let (Some(rule), Some(batch)) = (&ask.spend, batches.get(&ask.batch)) else { continue };
            if books.iter().any(|(book, ..)| book.is(ask, batch.environment)) {
                continue;
            }
            let place = (Some(ask.account.as_str()), batch.environment);
            let uses: Vec<SpendUse> = rule.at(now.wall).collect();
            let committed = uses.iter().map(|one| trip.ask(committed(place, one))).collect();
            let in_flight = trip.ask(is_in_flight(&ask.account, shared.timing.lease_ms, now));
            let book = SpendUsage {
                account: ask.account.clone(),
                environment: batch.environment,
                rule: Arc::clone(rule),
                uses,
                noticed: Vec::new(),
                in_flight: false,
            };
            books.push((book, committed, in_flight));
        }
        SpendLook(books)
    }

    /// What is committed.
    pub(in crate::store) fn read(found: &mut Found, look: SpendLook) -> Result<Self, StoreError> {
        let mut books = Vec::with_capacity(look.0.len());
        for (mut book, committed, in_flight) in look.0 {
            for (one, asked) in book.uses.iter_mut().zip(committed) {
                book.noticed.push(read_committed(one, &found.one(asked)?)?);
            }
            book.in_flight = found.one(in_flight)?.try_get(0_usize)?;
            books.push(book);
        }
        Ok(Self(books))
    }

    fn of(&self, ask: &PermitRequest, environment: Environment) -> Option<&SpendUsage> {
        self.0.iter().find(|book| book.is(ask, environment))
    }

    /// Whether a call that may cost so much fits.
    pub(in crate::store) fn fit(&self, ask: &PermitRequest, batch: &Money, reserve: i64) -> Fit {
        let Some(book) = self.of(ask, batch.environment) else { return Fit::Fits };
        match spend::passed(&book.uses, MicroUsd(reserve)) {
            None => Fit::Fits,
            Some(_) if book.in_flight || batch.awaits => Fit::OptionalGauge,
            Some(one) => Fit::Not(*one),
        }
    }

    /// Until when a permit that is granted now is valid, as far as limits are concerned: a call belongs to the day whose
    /// limit it was checked against.
    pub(in crate::store) fn until(&self, ask: &PermitRequest, batch: &Money) -> Millis {
        let ends = self.of(ask, batch.environment).into_iter().flat_map(|book| &book.uses).map(|one| one.span.until);
        ends.min().unwrap_or(Millis::MAX)
    }

    /// Books a granted call. Returns a message if this call has brought a limit close that was not close before.
    pub(in crate::store) async fn grant(
        &mut self,
        conn: &mut Conn,
        (ask, batch): (&PermitRequest, &Money),
        reserve: i64,
        now: Millis,
    ) -> Result<Vec<String>, StoreError> {
        let mut reported = Vec::new();
        for book in &mut self.0 {
            if book.account != ask.account || book.environment != batch.environment {
                continue;
            }
            book.in_flight = true;
            let judged_by_it = book.is(ask, batch.environment);
            for (one, noticed) in book.uses.iter_mut().zip(&mut book.noticed) {
                one.reserved = one.reserved.saturating_add(MicroUsd(reserve));
                if judged_by_it && !*noticed && one.is_close() {
                    let words = one.close(&book.rule);
                    let place = (book.account.as_str(), book.environment);
                    note_close(conn, place, one, (ask.batch, &words), now).await?;
                    *noticed = true;
                    reported.push(words);
                }
            }
        }
        Ok(reported)
    }
}

impl SpendUsage {
    fn is(&self, ask: &PermitRequest, environment: Environment) -> bool {
        self.account == ask.account
            && self.environment == environment
            && ask.spend.as_ref().is_some_and(|rule| Arc::ptr_eq(rule, &self.rule) || *rule == self.rule)
    }
}

pub(in crate::store) const IS_IN_FLIGHT: &str = concat!(
    r"-- spend_limits::is_in_flight: by the calls in flight, which are few, and not by all of the account (hence the text that adds nothing).
      SELECT EXISTS (SELECT 1 FROM calls WHERE account || '' = $1 AND ",
    holds_slot!("$2", "$3", "$4", "$5"),
    ")"
);

fn is_in_flight<'q>(account: &'q str, lease_ms: i64, now: &Moment) -> Query<'q> {
    query(IS_IN_FLIGHT).bind(account).bind(now.wall).bind(now.boot).bind(now.boot_id).bind(lease_ms)
}

/// Records that a limit is close.
async fn note_close(
    conn: &mut Conn,
    (account, environment): (&str, Environment),
    one: &SpendUse,
    (batch, words): (BatchId, &str),
    now: Millis,
) -> Result<(), StoreError> {
    query(
        r"-- spend_limits::note_close
          INSERT INTO spend_notices (account, environment, period, from_at, until_at, max_spend, batch, words, noticed_at)
          VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
          ON CONFLICT (account, environment, period, from_at, max_spend) DO NOTHING",
    )
    .bind(account)
    .bind(environment)
    .bind(one.period)
    .bind(one.span.from)
    .bind(one.span.until)
    .bind(one.limit.0)
    .bind(batch)
    .bind(words)
    .bind(now)
    .later(conn)
    .await
}

/// A notice that a limit is close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendNotice {
    account: String,
    environment: Environment,
    /// The period of the limit.
    pub period: Period,
    /// When its day or month begins, in ms since 1970.
    pub from: Millis,
    /// The limit.
    pub limit: MicroUsd,
    /// The batch whose call brought it close.
    pub batch: BatchId,
    /// The message.
    pub words: String,
    /// When the limit came close.
    pub at: Millis,
}

/// A pause that has ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifted {
    /// The batch.
    pub batch: BatchId,
    /// Its name.
    pub name: String,
    /// Why it was paused.
    pub kind: PauseKind,
    /// The reason in words.
    pub reason: String,
}

impl Store {
    /// What is committed of each limit now. Without an account: the sum over all accounts.
    pub async fn spend_uses(
        &self,
        account: Option<&str>,
        environment: Environment,
        rule: &SpendRule,
    ) -> Result<Vec<SpendUse>, StoreError> {
        let mut view = self.read.view().await?;
        uses(&mut view, (account, environment), rule, self.now()).await
    }

    /// Pauses a batch because one of its calls did not fit into a spend limit.
    pub async fn pause_for_spend(
        &self,
        batch: BatchId,
        one: &SpendUse,
        reserve: i64,
        reason: String,
    ) -> Result<(), StoreError> {
        let (kind, until) = (one.period.pause(), one.span.until);
        self.write(move |conn, now| {
            let reason = reason.clone();
            Box::pin(async move {
                pauses::pause_in(conn, batch, kind, &reason, now).await?;
                query(
                    r"-- spend_limits::pause_for_spend: the least call that does not fit is the first that will.
                      UPDATE batches
                      SET pause_until = $2, pause_reserve = CASE WHEN pause_reserve < $3 THEN pause_reserve ELSE $3 END
                      WHERE id = $1 AND state = 'paused' AND pause_kind = $4",
                )
                .bind(batch)
                .bind(until)
                .bind(reserve)
                .bind(kind)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Lifts the pauses for spend limits whose day or month is over, and those whose call would fit now. The latter must
    /// have lasted a minute, unless `at_once`. Returns the lifted pauses.
    pub async fn lift_spend_pauses(
        &self,
        (account, environment): (&str, Environment),
        rule: Option<Arc<SpendRule>>,
        at_once: bool,
    ) -> Result<Vec<Lifted>, StoreError> {
        let any: bool =
            query_scalar(format!("SELECT EXISTS ({PAUSED_FOR_SPEND})")).bind(environment).fetch_one(&self.read).await?;
        if !any {
            return Ok(Vec::new());
        }
        let account = account.to_owned();
        let lifted = self
            .write(move |conn, now| {
                let (account, rule) = (account.clone(), rule.clone());
                Box::pin(async move { lift(conn, (&account, environment), rule.as_deref(), (at_once, now)).await })
            })
            .await?;
        if !lifted.is_empty() {
            self.wake();
        }
        Ok(lifted)
    }

    /// The limits that came close and have no posted notice yet, as long as their day or month lasts.
    pub async fn spend_notices(&self, environment: Environment) -> Result<Vec<SpendNotice>, StoreError> {
        let rows = query(
            r"-- spend_limits::spend_notices
              SELECT *
              FROM spend_notices
              WHERE environment = $1 AND posted = 0 AND until_at > $2
              ORDER BY noticed_at",
        )
        .bind(environment)
        .bind(self.now())
        .fetch_all(&self.read)
        .await?;
        let notice = |row: &Row| {
            Ok(SpendNotice {
                account: row.try_get("account")?,
                environment,
                period: row.try_get("period")?,
                from: row.try_get("from_at")?,
                limit: MicroUsd(row.try_get("max_spend")?),
                batch: row.try_get("batch")?,
                words: row.try_get("words")?,
                at: row.try_get("noticed_at")?,
            })
        };
        rows.iter().map(notice).collect()
    }

    /// A notification of it was posted, or nobody is subscribed.
    pub async fn spend_notice_posted(&self, notice: &SpendNotice) -> Result<(), StoreError> {
        let notice = notice.clone();
        self.write(move |conn, _| {
            let notice = notice.clone();
            Box::pin(async move {
                query(
                    r"-- spend_limits::spend_notice_posted
                      UPDATE spend_notices
                      SET posted = 1
                      WHERE account = $1 AND environment = $2 AND period = $3 AND from_at = $4 AND max_spend = $5",
                )
                .bind(notice.account)
                .bind(notice.environment)
                .bind(notice.period)
                .bind(notice.from)
                .bind(notice.limit.0)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }
}

/// Batches that are paused for a spend limit.
const PAUSED_FOR_SPEND: &str = r"-- spend_limits::paused_for_spend
        SELECT id, name, pause_kind, coalesce(pause_reason, '') AS pause_reason, paused_at,
          pause_until, pause_reserve
        FROM batches
        WHERE state = 'paused' AND pause_kind IN ('spend_day', 'spend_month') AND environment = $1";

async fn lift(
    conn: &mut Conn,
    place: (&str, Environment),
    rule: Option<&SpendRule>,
    (at_once, now): (bool, Millis),
) -> Result<Vec<Lifted>, StoreError> {
    let paused = query(PAUSED_FOR_SPEND).bind(place.1).fetch_all(&mut *conn).await?;
    let uses = match rule {
        Some(rule) => uses(conn, (Some(place.0), place.1), rule, now).await?,
        None => Vec::new(),
    };
    let mut lifted = Vec::new();
    for row in paused {
        let until: Option<Millis> = row.try_get("pause_until")?;
        let since: Option<Millis> = row.try_get("paused_at")?;
        let reserve: Option<i64> = row.try_get("pause_reserve")?;
        let is_over = until.is_none_or(|until| until <= now);
        let may = at_once || is_over || since.is_none_or(|since| since + PAUSE_LEAST_MS <= now);
        if may && spend::passed(&uses, MicroUsd(reserve.unwrap_or(0))).is_none() {
            let batch = row.try_get("id")?;
            pauses::lift(conn, batch, now).await?;
            lifted.push(Lifted {
                batch,
                name: row.try_get("name")?,
                kind: row.try_get("pause_kind")?,
                reason: row.try_get("pause_reason")?,
            });
        }
    }
    Ok(lifted)
}

/// A call left later than its intent, and may belong to another quarter of an hour.
pub(in crate::store) async fn note_departure(
    conn: &mut Conn,
    call: CallId,
    departed_at: Millis,
) -> Result<(), StoreError> {
    let row = query(
        r"-- spend_limits::note_departure
          SELECT c.account, b.environment, c.sent_at, c.cost, c.reserve
          FROM calls AS c
          JOIN batches AS b ON b.id = c.batch
          WHERE c.id = $1 AND c.state = 'sent' AND c.sent_at < $2",
    )
    .bind(call)
    .bind(departed_at)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let (account, environment): (String, Environment) = (row.try_get("account")?, row.try_get("environment")?);
    let (cost, reserve): (i64, i64) = (row.try_get("cost")?, row.try_get("reserve")?);
    let mut bookings = Bookings::default();
    bookings.add(&account, environment, row.try_get("sent_at")?, (-cost, -reserve));
    bookings.add(&account, environment, departed_at, (cost, reserve));
    bookings.write(conn).await
}
