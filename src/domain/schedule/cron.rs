//! Cron expressions: five fields, as in crontab.
//!
//! Implemented here because the crates that use jiff (croner, jiff-cron) let a wildcard match a repeated hour twice, or
//! have other fields. None of them reports which field is wrong and what is allowed there.

use std::{fmt, str::FromStr, time::Duration};

use jiff::{
    ToSpan,
    civil::{Date, DateTime, Time},
};

use crate::domain::printable::visible;

/// A set of minutes, as wall-clock times of some zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether both day fields are restricted: then a day that matches either one is enough.
    either: bool,
}

/// Why a text is not a valid expression: the wrong field, and what is allowed there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronFault(String);

/// One of the five fields.
struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    /// Names of its values, from the least value on.
    words: &'static [&'static str],
}

const fn field(name: &'static str, least: u8, most: u8, words: &'static [&'static str]) -> Field {
    Field { name, least, most, words }
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [Field; 5] = [
    field("minute", 0, 59, &[]),
    field("hour", 0, 23, &[]),
    field("day of the month", 1, 31, &[]),
    field("month", 1, 12, MONTHS),
    field("day of the week", 0, 7, WEEKDAYS),
];
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
/// The greatest length of each month.
const LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
/// A leap day on one weekday can be forty years away; a day beyond this horizon never comes.
const HORIZON_YEARS: i16 = 56;

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Cron {
    type Err = CronFault;

    fn from_str(text: &str) -> Result<Self, CronFault> {
        let plain = if text.trim_start().starts_with('@') { nickname(text.trim())? } else { text };
        let words: Vec<&str> = plain.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = words[..] else { return Err(not_five(words.len())) };
        let mut sets = [0; 5];
        for ((set, field), word) in sets.iter_mut().zip(&FIELDS).zip([minute, hour, day, month, weekday]) {
            *set = field.set(word).map_err(|what| field.fault(word, &what))?;
        }
        let [minutes, hours, days, months, weekdays] = sets;
        let cron = Self {
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
            minutes,
            hours,
            days,
            months,
            // Sunday is 0 and 7.
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            // As in cron, a field that begins with `*` restricts nothing, and the other field decides.
            either: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        if cron.never_comes() {
            return Err(CronFault(format!("`{cron}` never comes: none of its months has such a day")));
        }
        Ok(cron)
    }
}

fn nickname(text: &str) -> Result<&'static str, CronFault> {
    let known = NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    known.map(|(_, plain)| *plain).ok_or_else(|| {
        let names: Vec<_> = NICKNAMES.iter().map(|(name, _)| *name).collect();
        CronFault(format!("`{}` is not known; known: {}", visible(&text), names.join(", ")))
    })
}

fn not_five(found: usize) -> CronFault {
    let more = if found > 5 { "; there are no seconds and no years" } else { "" };
    CronFault(format!(
        "has {found} {} and needs five: minute, hour, day of the month, month, day of the week, e.g. \"0 2 * * *\"{more}",
        if found == 1 { "field" } else { "fields" },
    ))
}

impl Field {
    fn fault(&self, word: &str, what: &str) -> CronFault {
        let words = match self.words {
            [first, .., last] => format!(" or {first} to {last}"),
            _ => String::new(),
        };
        let Self { name, least, most, .. } = self;
        let shown = visible(&word);
        CronFault(format!(
            "{name} `{shown}`: {what}; allowed: *, {least} to {most}{words}, lists (1,3), ranges (1-5), steps (*/2, 1-5/2)"
        ))
    }

    /// The values of a field, as a bit set.
    fn set(&self, text: &str) -> Result<u64, String> {
        text.split(',').try_fold(0, |set, item| Ok(set | self.item(item)?))
    }

    fn item(&self, item: &str) -> Result<u64, String> {
        let (span, step) = item.split_once('/').map_or((item, None), |(span, step)| (span, Some(step)));
        let (from, to) = match (span.split_once('-'), step) {
            _ if span == "*" => (self.least, self.last()),
            (Some((from, to)), _) => self.range(from, to)?,
            (None, Some(step)) => {
                return Err(format!("a step is for * or a range; write {span}-{}/{step}", self.last()));
            }
            (None, None) => self.value(span).map(|value| (value, value))?,
        };
        let step = match step.map(number) {
            None => 1,
            Some(Some(0)) => return Err("a step of 0 goes nowhere".into()),
            Some(Some(step)) if step > to - from => {
                return Err(format!("a step of {step} leaves {from} to {to} at once, and does not go on in the next"));
            }
            Some(Some(step)) => step,
            Some(None) => return Err(format!("`{}` is no step", visible(&step.unwrap_or_default()))),
        };
        Ok((from..=to).step_by(step.into()).fold(0, |set, value| set | 1 << value))
    }

    /// The greatest value that is not a second name of another value: 7 means 0, Sunday.
    const fn last(&self) -> u8 {
        if self.most == 7 { 6 } else { self.most }
    }

    fn range(&self, from: &str, to: &str) -> Result<(u8, u8), String> {
        let (first, mut last) = (self.value(from)?, self.value(to)?);
        if self.most == 7 && last == 0 && first > 0 {
            last = 7;
        }
        if first > last {
            return Err(format!("`{from}-{to}` goes backwards; write {first}-{},{}-{last}", self.last(), self.least));
        }
        Ok((first, last))
    }

    fn value(&self, text: &str) -> Result<u8, String> {
        let word = self.words.iter().position(|word| word.eq_ignore_ascii_case(text));
        let value = match word {
            Some(at) => u8::try_from(at).ok().map(|at| self.least + at),
            None => number(text),
        };
        let Self { least, most, .. } = self;
        match value {
            Some(value) if (*least..=*most).contains(&value) => Ok(value),
            Some(value) => Err(format!("{value} is not between {least} and {most}")),
            None if text.is_empty() => Err("a value is missing".into()),
            None => Err(format!("`{}` is no value", visible(&text))),
        }
    }
}

/// Parses digits only; a sign is invalid. A number with too many digits exceeds every field's limit.
fn number(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u8::MAX))
}

fn has(set: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| set >> value & 1 == 1)
}

impl Cron {
    fn never_comes(&self) -> bool {
        let in_month = |(month, length): (usize, &u32)| {
            self.months >> (month + 1) & 1 == 1 && self.days & ((1 << (length + 1)) - 1) != 0
        };
        !self.either && !LENGTHS.iter().enumerate().any(in_month)
    }

    /// Whether the expression matches on this day.
    #[must_use]
    pub fn runs_on(&self, day: Date) -> bool {
        let of_month = has(self.days, day.day());
        let of_week = has(self.weekdays, day.weekday().to_sunday_zero_offset());
        has(self.months, day.month()) && if self.either { of_month || of_week } else { of_month && of_week }
    }

    /// The first matching wall-clock time at or after this one.
    #[must_use]
    pub fn civil_from(&self, from: DateTime) -> Option<DateTime> {
        let (mut day, mut time) = (from.date(), from.time());
        while day.year() <= from.date().year().saturating_add(HORIZON_YEARS) {
            if !has(self.months, day.month()) {
                (day, time) = (day.last_of_month().tomorrow().ok()?, Time::midnight());
                continue;
            }
            if self.runs_on(day)
                && let Some(found) = self.first_time(time)
            {
                return Some(day.to_datetime(found));
            }
            (day, time) = (day.tomorrow().ok()?, Time::midnight());
        }
        None
    }

    /// The last matching wall-clock time at or before this one.
    #[must_use]
    pub fn civil_to(&self, to: DateTime) -> Option<DateTime> {
        let (mut day, mut time) = (to.date(), to.time());
        while day.year() >= to.date().year().saturating_sub(HORIZON_YEARS) {
            if !has(self.months, day.month()) {
                (day, time) = (day.first_of_month().yesterday().ok()?, Time::MAX);
                continue;
            }
            if self.runs_on(day)
                && let Some(found) = self.last_time(time)
            {
                return Some(day.to_datetime(found));
            }
            (day, time) = (day.yesterday().ok()?, Time::MAX);
        }
        None
    }

    fn first_time(&self, from: Time) -> Option<Time> {
        (from.hour()..24).filter(|hour| has(self.hours, *hour)).find_map(|hour| {
            let least = if hour == from.hour() { from.minute() } else { 0 };
            let minute = (least..60).find(|minute| has(self.minutes, *minute))?;
            Time::new(hour, minute, 0, 0).ok()
        })
    }

    fn last_time(&self, to: Time) -> Option<Time> {
        (0..=to.hour()).rev().filter(|hour| has(self.hours, *hour)).find_map(|hour| {
            let most = if hour == to.hour() { to.minute() } else { 59 };
            let minute = (0..=most).rev().find(|minute| has(self.minutes, *minute))?;
            Time::new(hour, minute, 0, 0).ok()
        })
    }

    /// The shortest time between two matches, without clock changes.
    #[must_use]
    pub fn period(&self) -> Duration {
        /// More than the minutes of a day. In 28 years every date falls on every weekday.
        const MOST: usize = 2_000;
        let start = Date::constant(2001, 1, 1).to_datetime(Time::midnight());
        let next = |at: &DateTime| self.civil_from(at.checked_add(1.minute()).ok()?);
        let times: Vec<DateTime> =
            std::iter::successors(self.civil_from(start), next).take_while(|at| at.year() < 2030).take(MOST).collect();
        let gaps = times.windows(2).filter_map(|two| Duration::try_from(two[1].duration_since(two[0])).ok());
        // An expression that matches once in four years or less has a window of at most a year.
        gaps.min().unwrap_or(Duration::from_secs(365 * 86_400))
    }
}
