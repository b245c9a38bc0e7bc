//! Amounts spent, and spend limits.

use serde::Serialize;

use super::{Moment, Seconds};
use crate::{
    domain::{
        batch::MicroUsd,
        cost::Rates,
        spend::{SpendRule, SpendUse},
    },
    report::summary::SpendReason,
    store::SpendSums,
};

/// The cost of batches in a range of days, by group.
#[derive(Debug, Clone, Serialize)]
pub struct SpendView<'v> {
    /// The grouping: day, batch, model or column.
    pub by: &'static str,
    /// The column of a grouping by column.
    pub column: Option<&'v str>,
    /// The first day, if one was requested.
    pub since: Option<String>,
    /// The last day.
    pub until: Option<String>,
    /// The time zone of the days.
    pub timezone: Option<&'v str>,
    /// The groups shown.
    pub groups: Vec<GroupView<'v>>,
    /// The sum of the groups not shown, if there are any.
    pub others: Option<GroupsView>,
    /// The sum of all.
    pub total: GroupsView,
    /// A note that these numbers are estimates.
    pub estimate: &'static str,
    /// The current list prices.
    pub rates: &'v Rates,
    /// Spend limits of the day and of the month.
    pub spend_limits: Vec<SpendLimitView>,
}

/// One group.
#[derive(Debug, Clone, Serialize)]
pub struct GroupView<'v> {
    /// A day, a batch, a model or a cell; `null` for lines of batches without the column.
    pub group: Option<&'v str>,
    /// Its sums.
    #[serde(flatten)]
    pub sums: SumsView,
}

/// Several groups, summed.
#[derive(Debug, Clone, Serialize)]
pub struct GroupsView {
    /// The number of groups.
    pub groups: u64,
    /// Their sums.
    #[serde(flatten)]
    pub sums: SumsView,
}

/// Lines, calls and money.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SumsView {
    /// Lines with at least one call that may have been billed.
    pub lines: u64,
    /// Calls.
    pub calls: u64,
    /// Calls that may have been billed.
    pub billed_calls: u64,
    /// The audio of the billed calls, once for each call.
    pub billed_audio_seconds: Seconds,
    /// The characters of the billed calls, once for each call.
    pub billed_characters: u64,
    /// Their cost at list price.
    pub cost_usd: MicroUsd,
    /// The cost by the reason of the calls.
    pub by_reason: ReasonsView,
    /// The part of the cost that bought nothing in use.
    pub not_used: NotUsedView,
    /// The amount reserved for open calls; not in the cost yet.
    pub reserved_usd: MicroUsd,
}

/// Cost by the reason of the calls.
#[derive(Debug, Clone, Copy)]
pub struct ReasonsView([(SpendReason, MicroUsd); 3]);

impl Serialize for ReasonsView {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(reason, usd)| (reason.as_str(), usd)))
    }
}

/// Cost that bought nothing in use.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct NotUsedView {
    /// Calls that were given up.
    pub lost: MicroUsd,
    /// Answers that came after another answer was taken.
    pub surplus: MicroUsd,
    /// Answers that were replaced.
    pub replaced: MicroUsd,
}

impl From<&SpendSums> for SumsView {
    fn from(sums: &SpendSums) -> Self {
        let usd = MicroUsd;
        Self {
            lines: sums.lines,
            calls: sums.calls,
            billed_calls: sums.billed,
            billed_audio_seconds: Seconds(sums.audio_ms),
            billed_characters: sums.characters,
            cost_usd: usd(sums.cost),
            by_reason: ReasonsView([
                (SpendReason::FirstCall, usd(sums.first)),
                (SpendReason::AfterUnknown, usd(sums.unknown)),
                (SpendReason::Retry, usd(sums.retry)),
            ]),
            not_used: NotUsedView { lost: usd(sums.lost), surplus: usd(sums.surplus), replaced: usd(sums.replaced) },
            reserved_usd: usd(sums.reserved),
        }
    }
}

/// The committed amount of a spend limit.
#[derive(Debug, Clone, Serialize)]
pub struct SpendLimitView {
    /// Day or month.
    pub period: crate::domain::spend::Period,
    /// The limit.
    pub limit_usd: MicroUsd,
    /// The amount spent in the period.
    pub spent_usd: MicroUsd,
    /// The amount reserved for calls in flight.
    pub reserved_usd: MicroUsd,
    /// When its period began.
    pub from: Moment,
    /// When it ends.
    pub until: Moment,
    /// The time zone of the days.
    pub timezone: Option<String>,
    /// The end in that time zone, as text.
    #[serde(skip)]
    pub until_local: String,
}

impl SpendLimitView {
    /// The view of one limit's use under a rule.
    #[must_use]
    pub fn of(one: &SpendUse, rule: &SpendRule) -> Self {
        Self {
            period: one.period,
            limit_usd: one.limit,
            spent_usd: one.spent,
            reserved_usd: one.reserved,
            from: Moment(one.span.from),
            until: Moment(one.span.until),
            timezone: rule.zone.iana_name().map(str::to_owned),
            until_local: rule.moment(one.span.until).to_string(),
        }
    }
}
