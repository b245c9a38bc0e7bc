//! What was spent, and of which limits.

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

/// What batches cost in some days, by group.
#[derive(Debug, Clone, Serialize)]
pub struct SpendView<'v> {
    /// What makes a group: day, batch, model or column.
    pub by: &'static str,
    /// The column, if one does.
    pub column: Option<&'v str>,
    /// The first day, if one is asked for.
    pub since: Option<String>,
    /// The last day.
    pub until: Option<String>,
    /// Where days begin.
    pub timezone: Option<&'v str>,
    /// The groups that are shown.
    pub groups: Vec<GroupView<'v>>,
    /// The sum of the others, if there are any.
    pub others: Option<GroupsView>,
    /// The sum of all.
    pub total: GroupsView,
    /// What these numbers are.
    pub estimate: &'static str,
    /// List prices of today.
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

/// Several groups together.
#[derive(Debug, Clone, Serialize)]
pub struct GroupsView {
    /// How many.
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
    /// Those that may have been billed.
    pub billed_calls: u64,
    /// Audio of these, as often as it was sent.
    pub billed_audio_seconds: Seconds,
    /// Characters of these, as often as they were sent.
    pub billed_characters: u64,
    /// What they cost at list price.
    pub cost_usd: MicroUsd,
    /// The same by why the calls were made.
    pub by_reason: ReasonsView,
    /// What of it bought nothing that is used.
    pub not_used: NotUsedView,
    /// What is reserved for calls that are open; in no cost yet.
    pub reserved_usd: MicroUsd,
}

/// Money by why calls were made.
#[derive(Debug, Clone, Copy)]
pub struct ReasonsView([(SpendReason, MicroUsd); 3]);

impl Serialize for ReasonsView {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(reason, usd)| (reason.as_str(), usd)))
    }
}

/// Money that bought nothing that is used.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct NotUsedView {
    /// For calls that were given up.
    pub lost: MicroUsd,
    /// For answers that came after another had won.
    pub surplus: MicroUsd,
    /// For answers that were set aside.
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

/// What is committed of a spend limit.
#[derive(Debug, Clone, Serialize)]
pub struct SpendLimitView {
    /// Day or month.
    pub period: crate::domain::spend::Period,
    /// The limit.
    pub limit_usd: MicroUsd,
    /// What was spent of it.
    pub spent_usd: MicroUsd,
    /// What is reserved for calls in flight.
    pub reserved_usd: MicroUsd,
    /// When its period began.
    pub from: Moment,
    /// When it ends.
    pub until: Moment,
    /// Where days begin.
    pub timezone: Option<String>,
    /// The end in that time zone, in words.
    #[serde(skip)]
    pub until_local: String,
}

impl SpendLimitView {
    /// Of a rule and what is used of one of its limits.
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
