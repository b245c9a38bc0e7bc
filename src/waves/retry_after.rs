//! `Retry-After`: seconds, or a date.

use std::time::Duration;

use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    fmt::{rfc2822::DateTimeParser, strtime},
    tz::TimeZone,
};
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use crate::{clock::Millis, domain::retry::LONGEST_RETRY_AFTER};

/// The wait that the answer requests, at most [`LONGEST_RETRY_AFTER`]. A moment in the past and a negative number
/// are a wait of zero. A value that is neither number nor date requests no wait.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        let within = seconds.clamp(0.0, LONGEST_RETRY_AFTER.as_secs_f64());
        return (!seconds.is_nan()).then(|| Duration::from_secs_f64(within));
    }
    let until = date(headers, &RETRY_AFTER)?;
    // Both dates are the server's, so a wrong local clock does no harm.
    let since = date(headers, &DATE).unwrap_or_else(|| TimeZone::UTC.to_datetime(now));
    let wait = until.duration_since(since).max(SignedDuration::ZERO);
    Some(wait.unsigned_abs().min(LONGEST_RETRY_AFTER))
}

/// The time of the server's clock, in ms since 1970, if it says it.
pub(super) fn date_of(headers: &HeaderMap) -> Option<Millis> {
    Some(date(headers, &DATE)?.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

/// A date in HTTP's current format or one of its two older ones, or in the format of mails (RFC 2822) or of RFC 3339.
/// In UTC.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<DateTime> {
    const OF_HTTP: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    const OF_MAIL: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
    let text = headers.get(name)?.to_str().ok()?.trim();
    let of = |format| strtime::parse(format, text).and_then(|parsed| parsed.to_datetime()).ok();
    let other = || OF_MAIL.parse_timestamp(text).ok().or_else(|| text.parse().ok());
    OF_HTTP.into_iter().find_map(of).or_else(|| other().map(|moment| TimeZone::UTC.to_datetime(moment)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(retry_after_value: &str, date_value: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after_value.parse().unwrap());
        if let Some(date) = date_value {
            headers.insert(DATE, date.parse().unwrap());
        }
        retry_after(&headers, "2026-08-07T08:00:00Z".parse().unwrap())
    }

    #[test]
    fn seconds_and_dates() {
        assert_eq!(wait("7", None), Some(Duration::from_secs(7)));
        assert_eq!(wait(" 0.5 ", None), Some(Duration::from_millis(500)));
        assert_eq!(wait("Fri, 07 Aug 2026 08:00:30 GMT", None), Some(Duration::from_secs(30)));
        let servers_clock = Some("Fri, 07 Aug 2026 08:00:20 GMT");
        assert_eq!(wait("Fri, 07 Aug 2026 08:00:30 GMT", servers_clock), Some(Duration::from_secs(10)));
        assert_eq!(wait("Fri, 07 Aug 2026 08:00:30 GMT", Some("yesterday")), Some(Duration::from_secs(30)));
    }

    #[test]
    fn a_date_in_any_of_its_spellings() {
        for half_a_minute in [
            "Fri, 07 Aug 2026 08:00:30 GMT",
            "Fri, 7 Aug 2026 08:00:30 +0000",
            "Mon, 07 Aug 2026 08:00:30 GMT",
            "Friday, 07-Aug-26 08:00:30 GMT",
            "Fri Aug  7 08:00:30 2026",
            "2026-08-07T08:00:30Z",
            "2026-08-07T10:00:30+02:00",
        ] {
            assert_eq!(wait(half_a_minute, None), Some(Duration::from_secs(30)), "{half_a_minute}");
        }
    }

    #[test]
    fn what_has_passed_is_a_wait_of_nothing() {
        for past in [
            "0",
            "-1",
            "-0.5",
            "-inf",
            "-99999999999",
            "Fri, 07 Aug 2026 07:00:00 GMT",
            "Thu, 01 Jan 1970 00:00:00 GMT",
        ] {
            assert_eq!(wait(past, None), Some(Duration::ZERO), "{past}");
        }
    }

    #[test]
    fn never_longer_than_an_hour_and_never_nonsense() {
        for long in [
            "3601",
            "86400",
            "31536000",
            "1e300",
            "inf",
            "99999999999999999999",
            "Sat, 08 Aug 2026 08:00:00 GMT",
            "Sat, 07 Aug 2027 08:00:00 GMT",
            "Fri, 31 Dec 9999 23:59:59 GMT",
        ] {
            assert_eq!(wait(long, None), Some(LONGEST_RETRY_AFTER), "{long}");
        }
        for nonsense in ["NaN", "soon", "", "7 s", "5, 10", "Fri, 07 Aug 12026 08:00:30 GMT", "2026-08-07", "08:00:30"]
        {
            assert_eq!(wait(nonsense, None), None, "{nonsense}");
        }
    }
}
