//! The date of a batch: explicit, or by the clock and a time zone; and its format in templates.

use std::{borrow::Cow, env, str::FromStr};

use jiff::{Timestamp, civil::Date, fmt::strtime::BrokenDownTime, tz::TimeZone};

use super::text::excerpt;
use crate::domain::printable::visible;

/// The value of `date`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Today,
    Yesterday,
    On(Date),
}

impl FromStr for When {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "today" => Ok(Self::Today),
            "yesterday" => Ok(Self::Yesterday),
            // Jiff also accepts longer and shorter forms; only one is documented.
            text => text.parse().ok().filter(|_| text.len() == 10).map(Self::On).ok_or_else(|| {
                format!("`{}` is neither \"today\", \"yesterday\" nor a day like \"2026-11-20\"", excerpt(text))
            }),
        }
    }
}

impl When {
    /// The day at the moment `now`. Without a zone, the system's zone is used.
    pub(super) fn date(self, now: Option<Timestamp>, zone: Option<&TimeZone>) -> Result<Date, String> {
        if let Self::On(date) = self {
            return Ok(date);
        }
        let zone = zone.map_or_else(system_zone, |zone| Ok(zone.clone()))?;
        let today = now.unwrap_or_else(Timestamp::now).to_zoned(zone).date();
        match self {
            Self::Yesterday => today.yesterday().map_err(|e| e.to_string()),
            _ => Ok(today),
        }
    }
}

/// A machine without a zone has UTC, as usual. A `TZ` that names no zone is an error.
pub(crate) fn system_zone() -> Result<TimeZone, String> {
    let zone = TimeZone::system();
    match env::var("TZ") {
        Ok(said) if zone.is_unknown() && !said.is_empty() => Err(format!(
            "the system's time zone, TZ=`{}`, does not exist; say timezone = \"Asia/Kolkata\"",
            excerpt(&said)
        )),
        _ => Ok(zone),
    }
}

/// The time zone of this name.
pub(crate) fn zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).ok().filter(|zone| !zone.is_unknown()).ok_or_else(|| {
        let near = nearest_zone(name).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        format!("`{}` is not a time zone{near} (names are those of the tz database, e.g. Asia/Kolkata)", excerpt(name))
    })
}

/// The zone whose full name or city is nearest.
fn nearest_zone(name: &str) -> Option<String> {
    let name = name.trim().to_lowercase().replace(' ', "_");
    let distance = |zone: &str| {
        let zone = zone.to_lowercase();
        let city = zone.rsplit('/').next().unwrap_or(&zone);
        strsim::damerau_levenshtein(&name, &zone).min(strsim::damerau_levenshtein(&name, city))
    };
    jiff::tz::db()
        .available()
        .map(|zone| zone.to_string())
        // Other names are abbreviations or duplicates.
        .filter(|zone| {
            zone == "UTC" || zone.contains('/') && !zone.starts_with("posix/") && !zone.starts_with("right/")
        })
        .map(|zone| (distance(&zone), zone))
        .filter(|(distance, _)| *distance <= 1.max(name.len() / 4))
        .min()
        .map(|(_, zone)| zone)
}

/// The date conversions for messages.
const KNOWN: &str = "%Y %y (year), %m %B %b (month), %d %e %j (day), %A %a %u (weekday), %G %V %U %W (week), %q (quarter), %F (2026-11-20), %%";
const OF_DATES: &str = "AaBbhCDdeFGgjmqUuVWwYy%";
const OF_TIMES: &str = "cfHIklMNPpQRrSsTXxZz.:";

/// Checks that a date can be written in this format.
pub(super) fn check_format(format: &str) -> Result<(), String> {
    let message = |what: String| Err(format!("{what}; known: {KNOWN}"));
    let mut rest = format;
    let mut any = false;
    while let Some(at) = rest.find('%') {
        // Jiff's flags and widths: `%-d`, `%_m`, `%^b`, `%3j`.
        let after = rest[at + 1..].trim_start_matches(|c: char| "-_0^#".contains(c) || c.is_ascii_digit());
        let Some(conversion) = after.chars().next() else {
            return message(format!("`{{date:{format}}}` ends in the middle of a conversion"));
        };
        if OF_TIMES.contains(conversion) {
            return message(format!("`%{conversion}` is for a time of day or a zone, and a date has none"));
        }
        if !OF_DATES.contains(conversion) {
            return message(format!("`%{}` is no conversion of a date", visible(&conversion.to_string())));
        }
        any = true;
        rest = &after[conversion.len_utf8()..];
    }
    if !any {
        return message(format!("`{{date:{}}}` has no conversion like %Y", excerpt(format)));
    }
    let sample = Date::constant(2000, 1, 1);
    BrokenDownTime::from(sample).to_string(format).map(drop).or_else(|e| message(format!("`{{date:{format}}}`: {e}")))
}

/// Formats a date with a checked format.
pub(super) fn written(date: Date, format: &str) -> String {
    BrokenDownTime::from(date).to_string(format).unwrap_or_else(|_| date.to_string())
}

/// A day as a TOML date or as a string.
pub(super) fn when_of(value: &toml::de::DeValue<'_>) -> Option<Result<When, String>> {
    let text = match value {
        toml::de::DeValue::String(text) => Cow::Borrowed(text.as_ref()),
        toml::de::DeValue::Datetime(day) => Cow::Owned(day.to_string()),
        _ => return None,
    };
    Some(text.parse())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn the_zone_decides_which_day_it_is() {
        let now = Some("2026-11-20T18:31:00Z".parse().unwrap());
        let (kolkata, lima) = (zone("Asia/Kolkata").unwrap(), zone("america/lima").unwrap());
        assert_eq!(When::Today.date(now, Some(&kolkata)), Ok(day("2026-11-21")));
        assert_eq!(When::Yesterday.date(now, Some(&kolkata)), Ok(day("2026-11-20")));
        assert_eq!(When::Today.date(now, Some(&lima)), Ok(day("2026-11-20")));
        assert_eq!(When::On(day("2024-02-29")).date(now, Some(&lima)), Ok(day("2024-02-29")));
    }

    #[test]
    fn a_day_has_one_writing() {
        assert_eq!("today".parse(), Ok(When::Today));
        assert_eq!("2026-11-20".parse(), Ok(When::On(day("2026-11-20"))));
        for bad in ["Today", "", "20261120", "2026-11-20T00:00", "2026-02-30", "20-11-2026", "tomorrow"] {
            assert!(bad.parse::<When>().unwrap_err().contains("nor a day like \"2026-11-20\""), "{bad}");
        }
    }

    #[test]
    fn a_zone_that_does_not_exist_is_told_with_the_nearest() {
        for (name, near) in [
            ("Asia/Kolkatta", "Asia/Kolkata"),
            ("Kolkata", "Asia/Kolkata"),
            ("new york", "America/New_York"),
            ("Europe/Berln", "Europe/Berlin"),
        ] {
            let message = zone(name).unwrap_err();
            assert!(message.contains(&format!("did you mean `{near}`?")), "{message}");
        }
        assert!(zone("+05:30").unwrap_err().contains("e.g. Asia/Kolkata"));
        assert!(!zone("Nowhere/Atlantis").unwrap_err().contains("did you mean"));
    }

    #[test]
    fn formats_are_of_dates_alone() {
        let date = day("2026-11-05");
        for (format, text) in [
            ("%Y/%m/%d", "2026/11/05"),
            ("%-d.%-m.%y", "5.11.26"),
            ("week-%G-W%V", "week-2026-W45"),
            ("%A %^b %j %F q%q", "Thursday NOV 309 2026-11-05 q4"),
            ("100%%", "100%"),
        ] {
            assert_eq!(check_format(format), Ok(()), "{format}");
            assert_eq!(written(date, format), text);
        }
        for (format, message) in [
            ("%Y%H", "`%H` is for a time of day or a zone, and a date has none; known: %Y"),
            ("%Y-%:z", "`%:` is for a time of day"),
            ("%E", "`%E` is no conversion of a date; known: %Y"),
            ("%Y%", "`{date:%Y%}` ends in the middle"),
            ("YYYY/MM/DD", "`{date:YYYY/MM/DD}` has no conversion like %Y"),
            ("", "`{date:}` has no conversion"),
        ] {
            let fault = check_format(format).unwrap_err();
            assert!(fault.starts_with(message), "{fault}");
        }
        for conversion in OF_DATES.chars() {
            assert_eq!(check_format(&format!("%{conversion}")), Ok(()), "{conversion}");
        }
    }
}
