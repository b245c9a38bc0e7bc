//! Spend limits per day and per month: the time span of a limit, and whether another call fits into it.

use jiff::{Timestamp, ToSpan, Zoned, tz::TimeZone};
use serde_json::json;

use super::{cost::MicroUsd, options::listed, retry::PauseKind};

/// Costs are summed per quarter of an hour, in ms. In every time zone in use, a day begins at the start of a quarter.
pub const QUARTER_MS: i64 = 15 * 60_000;
/// A limit is close once this percentage is committed.
const CLOSE_PERCENT: i128 = 80;

listed! {
    /// The period of a spend limit.
    Period, "period" {
        /// From midnight to midnight.
        Day = "day",
        /// From the first day of a month to the first of the next.
        Month = "month",
    }
}

impl Period {
    /// The name of the limit's setting.
    #[must_use]
    pub const fn setting(self) -> &'static str {
        match self {
            Self::Day => "day_usd",
            Self::Month => "month_usd",
        }
    }

    /// The pause reason of a batch that reaches this limit.
    #[must_use]
    pub const fn pause(self) -> PauseKind {
        match self {
            Self::Day => PauseKind::SpendDay,
            Self::Month => PauseKind::SpendMonth,
        }
    }
}

/// The start of the quarter of an hour that contains a moment.
#[must_use]
pub const fn quarter(at: i64) -> i64 {
    at - at.rem_euclid(QUARTER_MS)
}

/// A period in time: from its first moment until the first moment after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first moment, in ms since 1970.
    pub from: i64,
    /// The first moment after the period, in ms since 1970.
    pub until: i64,
}

/// The settings' `[spend]`: the most that all batches of an account and environment may cost together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendRule {
    /// The most for a day.
    pub day: Option<MicroUsd>,
    /// The most for a month.
    pub month: Option<MicroUsd>,
    /// The time zone of the days and months.
    pub zone: TimeZone,
}

/// A limit and the amount of it that is committed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpendUse {
    /// The limit's period.
    pub period: Period,
    /// The day or month in question.
    pub span: Span,
    /// The most that the period's calls may cost.
    pub limit: MicroUsd,
    /// The cost of the period's ended calls.
    pub spent: MicroUsd,
    /// The greatest possible cost of its open calls.
    pub reserved: MicroUsd,
}

impl SpendRule {
    /// The limit of a period, if one is set.
    #[must_use]
    pub const fn limit(&self, period: Period) -> Option<MicroUsd> {
        match period {
            Period::Day => self.day,
            Period::Month => self.month,
        }
    }

    /// The day or month that contains a moment. A day has 23, 24 or 25 hours, according to the zone's clocks.
    #[must_use]
    pub fn span(&self, period: Period, at: i64) -> Span {
        let begin = |day: Zoned| day.start_of_day().ok();
        let now = Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(self.zone.clone());
        let from = match period {
            Period::Day => begin(now),
            Period::Month => now.first_of_month().ok().and_then(begin),
        };
        let until = from.as_ref().and_then(|from| {
            let next = match period {
                Period::Day => from.date().checked_add(1.day()),
                Period::Month => from.date().checked_add(1.month()),
            };
            begin(next.ok()?.to_zoned(self.zone.clone()).ok()?)
        });
        let ms = |zoned: Option<Zoned>, or| zoned.map_or(or, |zoned| zoned.timestamp().as_millisecond());
        Span { from: ms(from, i64::MIN), until: ms(until, i64::MAX) }
    }

    /// The limits that are set, each with its day or month at this moment; nothing is committed yet.
    pub fn at(&self, now: i64) -> impl Iterator<Item = SpendUse> {
        Period::ALL.iter().filter_map(move |period| {
            let (spent, reserved) = (MicroUsd::ZERO, MicroUsd::ZERO);
            self.limit(*period).map(|limit| SpendUse {
                period: *period,
                span: self.span(*period, now),
                limit,
                spent,
                reserved,
            })
        })
    }

    /// A moment in the zone's time, formatted for messages.
    #[must_use]
    pub fn moment(&self, at: i64) -> String {
        let at = Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(self.zone.clone());
        let zone = self.zone.iana_name().map_or_else(|| at.offset().to_string(), str::to_owned);
        format!("{} {zone}", at.strftime("%F %H:%M"))
    }

    /// The settings in the form that processes compare, to find out that they run with different ones.
    #[must_use]
    pub fn settings(&self) -> serde_json::Value {
        json!({ "day_usd": self.day, "month_usd": self.month, "timezone": self.zone.iana_name() })
    }
}

impl SpendUse {
    /// The cost of the ended calls, plus the greatest possible cost of the open ones.
    #[must_use]
    pub const fn committed(&self) -> MicroUsd {
        self.spent.saturating_add(self.reserved)
    }

    /// Whether a call with this greatest cost fits.
    #[must_use]
    pub fn has(&self, reserve: MicroUsd) -> bool {
        i128::from(self.committed().0) + i128::from(reserve.0) <= i128::from(self.limit.0)
    }

    /// Whether most of the limit is committed.
    #[must_use]
    pub fn is_close(&self) -> bool {
        self.limit > MicroUsd::ZERO && i128::from(self.committed().0) * 100 >= i128::from(self.limit.0) * CLOSE_PERCENT
    }

    /// The pause message of a batch whose next call does not fit.
    #[must_use]
    pub fn reached(&self, rule: &SpendRule) -> String {
        format!(
            "spend limit of the {}: another call could pass {} USD ([spend] {}); the pause ends by itself at {}, or when the limit is raised",
            self.period,
            cents(self.limit),
            self.period.setting(),
            rule.moment(self.span.until)
        )
    }

    /// The message once the limit is close.
    #[must_use]
    pub fn close(&self, rule: &SpendRule) -> String {
        format!(
            "{CLOSE_PERCENT} % of the spend limit of the {} is used: {} of {} USD ([spend] {}), until {}",
            self.period,
            cents(self.committed()),
            cents(self.limit),
            self.period.setting(),
            rule.moment(self.span.until)
        )
    }
}

/// The first limit that a call exceeds. Of two such limits, the one that ends later.
#[must_use]
pub fn passed(uses: &[SpendUse], reserve: MicroUsd) -> Option<&SpendUse> {
    uses.iter().filter(|one| !one.has(reserve)).max_by_key(|one| one.span.until)
}

/// Dollars with as many decimals as needed, but at least two.
fn cents(amount: MicroUsd) -> String {
    let text = amount.to_string();
    let short = text.trim_end_matches('0');
    let decimals = short.len() - short.find('.').map_or(0, |dot| dot + 1);
    text[..short.len() + 2_usize.saturating_sub(decimals)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn rule(zone: &str) -> SpendRule {
        SpendRule { day: Some(MicroUsd(2_000_000)), month: None, zone: TimeZone::get(zone).unwrap() }
    }

    fn ms(at: &str) -> i64 {
        at.parse::<Timestamp>().unwrap().as_millisecond()
    }

    fn used(limit: i64, spent: i64, reserved: i64) -> SpendUse {
        let span = Span { from: 0, until: 86_400_000 };
        let (spent, reserved) = (MicroUsd(spent), MicroUsd(reserved));
        SpendUse { period: Period::Day, span, limit: MicroUsd(limit), spent, reserved }
    }

    #[test]
    fn days_and_months_are_those_of_the_zone() {
        let kolkata = rule("Asia/Kolkata");
        let at = ms("2026-11-29T18:29:59.999Z");
        let day = Span { from: ms("2026-11-28T18:30:00Z"), until: ms("2026-11-29T18:30:00Z") };
        assert_eq!(kolkata.span(Period::Day, at), day);
        assert_eq!(kolkata.span(Period::Day, at + 1).from, day.until, "the first moment of a day is the day's");
        let month = Span { from: ms("2026-10-31T18:30:00Z"), until: ms("2026-11-30T18:30:00Z") };
        assert_eq!(kolkata.span(Period::Month, at), month);
        let new_year = rule("UTC").span(Period::Month, ms("2026-12-31T23:59:59Z"));
        assert_eq!(new_year, Span { from: ms("2026-12-01T00:00:00Z"), until: ms("2027-01-01T00:00:00Z") });
        let feb = rule("UTC").span(Period::Month, ms("2028-02-29T12:00:00Z"));
        assert_eq!(feb.until - feb.from, 29 * 24 * HOUR);
    }

    #[test]
    fn a_day_on_which_the_clocks_change_is_one_day() {
        let length = |zone: &str, at: &str| {
            let span = rule(zone).span(Period::Day, ms(at));
            (span.until - span.from) / HOUR
        };
        assert_eq!(length("Europe/Berlin", "2026-03-29T12:00:00Z"), 23);
        assert_eq!(length("Europe/Berlin", "2026-10-25T00:30:00Z"), 25);
        assert_eq!(length("Europe/Berlin", "2026-10-25T22:59:59Z"), 25);
        assert_eq!(length("Europe/Berlin", "2026-10-25T23:00:00Z"), 24);
        // In this zone midnight itself is skipped: the day begins at 01:00.
        let span = rule("America/Sao_Paulo").span(Period::Day, ms("2018-11-04T12:00:00Z"));
        assert_eq!((span.until - span.from, span.from), (23 * HOUR, ms("2018-11-04T03:00:00Z")));
        // A skipped day leaves no gap.
        let samoa = rule("Pacific/Apia");
        let before = samoa.span(Period::Day, ms("2011-12-30T09:59:59Z"));
        assert_eq!(samoa.span(Period::Day, before.until).from, before.until);
    }

    #[test]
    fn days_begin_with_a_quarter_of_an_hour() {
        for zone in ["UTC", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Eucla", "America/St_Johns", "Pacific/Chatham"]
        {
            let span = rule(zone).span(Period::Day, ms("2026-11-29T12:00:00Z"));
            assert_eq!((quarter(span.from), quarter(span.until)), (span.from, span.until), "{zone}");
        }
        assert_eq!((quarter(QUARTER_MS - 1), quarter(QUARTER_MS), quarter(-1)), (0, QUARTER_MS, -QUARTER_MS));
    }

    #[test]
    fn a_call_fits_up_to_the_last_micro_dollar() {
        assert!(used(10, 4, 3).has(MicroUsd(3)));
        assert!(!used(10, 4, 3).has(MicroUsd(4)));
        assert!(used(10, 10, 0).has(MicroUsd::ZERO), "what is free always fits");
        assert!(!used(10, 11, 0).has(MicroUsd::ZERO), "unless the limit is passed already");
        assert!(!used(i64::MAX, i64::MAX, i64::MAX).has(MicroUsd(1)));
    }

    #[test]
    fn the_limit_that_holds_longer_is_told() {
        let day = used(10, 10, 0);
        let month = SpendUse { period: Period::Month, span: Span { from: 0, until: 99 * 86_400_000 }, ..day };
        assert_eq!(passed(&[day, month], MicroUsd(1)).unwrap().period, Period::Month);
        let wide = SpendUse { limit: MicroUsd(99), ..month };
        assert_eq!(passed(&[day, wide], MicroUsd(1)).unwrap().period, Period::Day);
        assert_eq!(passed(&[day, wide], MicroUsd(0)), None);
        assert_eq!(passed(&[], MicroUsd(1)), None);
    }

    #[test]
    fn four_fifths_are_close() {
        assert!(!used(100, 70, 9).is_close());
        assert!(used(100, 70, 10).is_close());
        assert!(!used(0, 0, 0).is_close(), "nothing is no part of nothing");
        assert!(used(i64::MAX, i64::MAX, 1).is_close());
    }

    #[test]
    fn limits_are_told_in_plain_words() {
        let berlin = rule("Europe/Berlin");
        let one = berlin.at(ms("2026-11-29T12:00:00Z")).next().unwrap();
        assert_eq!(
            one.reached(&berlin),
            "spend limit of the day: another call could pass 2.00 USD ([spend] day_usd); the pause ends by itself at 2026-11-30 00:00 Europe/Berlin, or when the limit is raised"
        );
        let close = SpendUse { spent: MicroUsd(1_600_500), ..one };
        assert_eq!(
            close.close(&berlin),
            "80 % of the spend limit of the day is used: 1.6005 of 2.00 USD ([spend] day_usd), until 2026-11-30 00:00 Europe/Berlin"
        );
        for (micros, message) in
            [(0, "0.00"), (100_000, "0.10"), (84, "0.000084"), (12_000_000, "12.00"), (1, "0.000001")]
        {
            assert_eq!(cents(MicroUsd(micros)), message);
        }
    }
}
