//! `wavebatch spend`

mod shown;

use std::str::FromStr;

use clap::Args;
use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};

use super::{
    context::{Context, LedgerFlags},
    error::{CliError, Exit},
    spend_limits,
    words::Money,
};
use crate::{
    app::{
        self,
        views::{GroupView, GroupsView, SpendLimitView, SpendView},
    },
    domain::{cost::Rates, environment::Environment, options::nearest},
    store::{SpendBy, SpendGroup, SpendQuery, Spent, Store},
};

/// The maximum number of groups in the table.
const TOP: usize = 50;
/// No call is older than this year.
const FIRST_YEAR: i16 = 2020;

/// Add up what batches cost, and why
///
/// Each call counts at the list price of its time: an estimate, not the vendor's bill. Calls that may have been billed
/// count as billed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  wavebatch spend\n  wavebatch spend --since 30d --by day\n  wavebatch spend --since 2026-11-01 --until 2026-11-30 --by agent --json"
)]
pub struct Spend {
    /// From this day on: 2026-11-01, today, yesterday, or 30d for thirty days ago
    #[arg(long, value_name = "DAY")]
    since: Option<Day>,
    /// To the end of this day
    #[arg(long, value_name = "DAY")]
    until: Option<Day>,
    /// What makes a group: day, batch, model, or a column of the manifests (column:day for one that is named like that)
    #[arg(long, value_name = "WHAT", default_value = "batch")]
    by: By,
    /// Where days begin, e.g. Asia/Kolkata [default: the system's time zone]
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    timezone: Option<TimeZone>,
    /// Groups to show, the others added up: the most costly ones, of days the newest [default: 50; all in JSON]
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    #[command(flatten)]
    ledger: LedgerFlags,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// A day as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Day {
    On(Date),
    Ago(i32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum By {
    Day,
    Batch,
    Model,
    Column(String),
}

/// The range of days, both ends included.
struct Range {
    zone: TimeZone,
    since: Option<Date>,
    until: Option<Date>,
}

impl Spend {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let (store, settings) = context.ledger(self.ledger.sandbox).await?;
        let range = self.range(store.clock().now())?;
        let environment = Environment::sandboxed(self.ledger.sandbox);
        if let By::Column(column) = &self.by {
            has_column(&store, environment, column).await?;
        }
        let ask = SpendQuery {
            environment,
            since: range.since.map(|day| range.begin(day)).transpose()?,
            before: range.until.map(|day| range.begin(day.saturating_add(1.day()))).transpose()?,
            by: match &self.by {
                By::Day => SpendBy::Day(range.offsets(store.clock().now())),
                By::Batch => SpendBy::Batch,
                By::Model => SpendBy::Model,
                By::Column(column) => SpendBy::Column(column.clone()),
            },
            top: self.top.unwrap_or(if self.json { usize::MAX } else { TOP }),
        };
        let spent = store.spent(&ask).await?;
        let limits = app::spend_limits(&store, &settings).await?;
        let screen = &context.screen;
        if self.json {
            screen.view(&self.view(&spent, &range, &settings.config.rates, limits))?;
        } else if spent.total.calls == 0 {
            screen.message(&format!("no calls {}", range.words()));
        } else {
            let sandbox =
                if self.ledger.sandbox { "; the sandbox is free, and this is what the API would ask" } else { "" };
            let money = Money::of(shown::amounts(&spent).chain(spend_limits::amounts(&limits)));
            screen.result(&format!(
                "spent by {}, {}\n\n{}\n{}{sandbox}\n{}",
                self.by.words(),
                range.words(),
                shown::lines(&spent, &self.by, money, screen.result_width()),
                shown::why(&spent.total, money, &settings.config.rates),
                spend_limits::words(&limits, money),
            ))?;
        }
        store.close().await;
        Ok(Exit::Success)
    }

    fn range(&self, now: i64) -> Result<Range, CliError> {
        let zone = self.timezone.clone().unwrap_or_else(TimeZone::system);
        let today = Timestamp::from_millisecond(now).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(zone.clone()).date();
        let date = |day: Day| match day {
            Day::On(date) => date,
            Day::Ago(days) => today.saturating_sub(days.days()),
        };
        let range = Range { zone, since: self.since.map(date), until: self.until.map(date) };
        match (range.since, range.until) {
            (Some(since), Some(until)) if since > until => {
                Err(CliError::usage(format!("--since {since} is after --until {until}")))
            }
            _ => Ok(range),
        }
    }

    fn view<'v>(
        &'v self,
        spent: &'v Spent,
        range: &'v Range,
        rates: &'v Rates,
        spend_limits: Vec<SpendLimitView>,
    ) -> SpendView<'v> {
        let (n, sums) = &spent.others;
        let group = |group: &'v SpendGroup| GroupView { group: group.name.as_deref(), sums: (&group.sums).into() };
        SpendView {
            by: self.by.kind(),
            column: if let By::Column(column) = &self.by { Some(column) } else { None },
            since: range.since.map(|day| day.to_string()),
            until: range.until.map(|day| day.to_string()),
            timezone: range.zone.iana_name(),
            groups: spent.groups.iter().map(group).collect(),
            others: (*n > 0).then(|| GroupsView { groups: *n, sums: sums.into() }),
            total: GroupsView { groups: spent.groups.len() as u64 + n, sums: (&spent.total).into() },
            estimate: "at the list price of each call's time; rates are those of today",
            rates,
            spend_limits,
        }
    }
}

impl Range {
    /// The start of a day, in ms since 1970.
    fn begin(&self, day: Date) -> Result<i64, CliError> {
        let begin = day.to_zoned(self.zone.clone()).map_err(|_| CliError::usage(format!("{day} is out of reach")))?;
        Ok(begin.timestamp().as_millisecond())
    }

    /// The offsets from UTC, each with the moment from which it is valid, for all days with possible calls.
    fn offsets(&self, now: i64) -> Vec<(i64, i64)> {
        let ms = |at: &Timestamp| (at.as_millisecond(), i64::from(self.zone.to_offset(*at).seconds()) * 1_000);
        let first = jiff::civil::date(FIRST_YEAR, 1, 1).to_zoned(TimeZone::UTC).map(|at| at.timestamp());
        let first = first.unwrap_or(Timestamp::UNIX_EPOCH);
        let later = self.zone.following(first).map(|change| change.timestamp());
        // A clock that was set back leaves calls in the future.
        let last = now.saturating_add(2 * 366 * 86_400_000);
        let later = later.take_while(|at| at.as_millisecond() <= last);
        std::iter::once(first).chain(later).map(|at| ms(&at)).collect()
    }

    fn words(&self) -> String {
        let days = match (self.since, self.until) {
            (None, None) => "of all time".into(),
            (Some(since), None) => format!("since {since}"),
            (None, Some(until)) => format!("until {until}"),
            (Some(since), Some(until)) if since == until => format!("on {since}"),
            (Some(since), Some(until)) => format!("from {since} to {until}"),
        };
        match self.zone.iana_name() {
            Some(zone) if self.since.is_some() || self.until.is_some() => format!("{days} ({zone})"),
            _ => days,
        }
    }
}

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault =
            || format!("`{text}` is no day; write e.g. 2026-11-01, today, yesterday, or 30d for thirty days ago");
        match text {
            "today" => Ok(Self::Ago(0)),
            "yesterday" => Ok(Self::Ago(1)),
            _ => match text.strip_suffix('d') {
                Some(days) if days.bytes().all(|b| b.is_ascii_digit()) => {
                    days.parse().ok().filter(|days| *days <= 100_000).map(Self::Ago).ok_or_else(fault)
                }
                _ if text.len() == 10 => text.parse().map(Self::On).map_err(|_| fault()),
                _ => Err(fault()),
            },
        }
    }
}

impl FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("day, batch, model, or the name of a column".into()),
            "day" => Ok(Self::Day),
            "batch" => Ok(Self::Batch),
            "model" => Ok(Self::Model),
            column => Ok(Self::Column(column.strip_prefix("column:").unwrap_or(column).to_owned())),
        }
    }
}

impl By {
    fn kind(&self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Batch => "batch",
            Self::Model => "model",
            Self::Column(_) => "column",
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Column(column) => format!("the column `{}`", super::words::printable(column)),
            other => other.kind().into(),
        }
    }
}

fn zone(text: &str) -> Result<TimeZone, String> {
    TimeZone::get(text).map_err(|_| format!("there is no time zone `{text}`; write e.g. Asia/Kolkata or UTC"))
}

/// An unknown column is a typing error, unless there is no batch at all.
async fn has_column(store: &Store, environment: Environment, column: &str) -> Result<(), CliError> {
    let batches = store.batches().await?.into_iter().filter(|row| row.environment == environment);
    let batches: Vec<_> = batches.collect();
    let specs: Vec<_> = batches.iter().filter_map(|row| row.spec.read().ok()).collect();
    let mut known: Vec<&str> = specs.iter().flat_map(|spec| &spec.carried).map(String::as_str).collect();
    if specs.is_empty() || known.contains(&column) {
        return Ok(());
    }
    known.sort_unstable();
    known.dedup();
    let stop = CliError::usage(format!("--by {column}: no batch has a column of this name"));
    let names = ["day", "batch", "model"].into_iter().chain(known.iter().copied());
    Err(match nearest(column, names) {
        Some(near) => stop.hint(format!("did you mean `{near}`?")),
        None if known.is_empty() => stop.hint("write --by day, batch or model; no manifest had more columns to carry"),
        None => stop.hint(format!("there are {}; or write --by day, batch or model", known.join(", "))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_and_what_is_none_is_told() {
        let day = |text: &str| text.parse::<Day>();
        let known = ["today", "yesterday", "30d", "2026-11-01"].map(|text| day(text).unwrap());
        assert_eq!(known, [Day::Ago(0), Day::Ago(1), Day::Ago(30), Day::On(jiff::civil::date(2026, 11, 1))]);
        for bad in ["", "d", "-3d", "2026-13-01", "20261101", "2026-11-01T00:00", "99999999d", "last week"] {
            assert!(day(bad).unwrap_err().contains("write e.g. 2026-11-01, today"), "{bad}");
        }
        let columns = ["agent", "column:day"].map(|text| text.parse::<By>().unwrap());
        assert_eq!(columns, ["agent", "day"].map(|name| By::Column(name.into())));
    }

    #[test]
    fn a_day_begins_where_the_zone_says() {
        let range = Range { zone: zone("Europe/Berlin").unwrap(), since: None, until: None };
        let begin = |month, day| range.begin(jiff::civil::date(2026, month, day)).unwrap();
        assert_eq!(begin(3, 30) - begin(3, 29), 23 * 3_600_000, "the clocks go forward");
        let offsets = range.offsets(begin(11, 1));
        let at = |ms: i64| offsets.iter().rev().find(|(since, _)| *since <= ms).unwrap().1;
        assert_eq!((at(begin(3, 29)), at(begin(3, 30)), at(begin(11, 1))), (3_600_000, 7_200_000, 3_600_000));
        assert!(zone("Europe/Brelin").unwrap_err().contains("no time zone"));
        let utc = Range { zone: TimeZone::UTC, since: None, until: None };
        assert_eq!(utc.offsets(0).len(), 1);
    }
}
