//! `Retry-After`: seconds, or a date.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

/// However long a server asks for, it is asked again after this.
const LONGEST: Duration = Duration::from_secs(3600);

/// The wait that the answer asks for, at most an hour. A moment that has passed is a wait of nothing.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return (seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(LONGEST.as_secs_f64())));
    }
    let until = date(headers, &RETRY_AFTER)?;
    // Both dates are the server's, so that a clock that is wrong here does no harm.
    let since = date(headers, &DATE).unwrap_or(now);
    Some(Duration::try_from(until.duration_since(since)).unwrap_or_default().min(LONGEST))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<Timestamp> {
    const PARSER: DateTimeParser = DateTimeParser::new();
    PARSER.parse_timestamp(headers.get(name)?.to_str().ok()?.trim()).ok()
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
        assert_eq!(wait("Fri, 07 Aug 2026 07:00:00 GMT", None), Some(Duration::ZERO));
        let servers_clock = Some("Fri, 07 Aug 2026 08:00:20 GMT");
        assert_eq!(wait("Fri, 07 Aug 2026 08:00:30 GMT", servers_clock), Some(Duration::from_secs(10)));
    }

    #[test]
    fn never_longer_than_an_hour_and_never_nonsense() {
        assert_eq!(wait("86400", None), Some(LONGEST));
        assert_eq!(wait("inf", None), Some(LONGEST));
        assert_eq!(wait("Sat, 08 Aug 2026 08:00:00 GMT", None), Some(LONGEST));
        for nonsense in ["-1", "NaN", "soon", ""] {
            assert_eq!(wait(nonsense, None), None, "{nonsense}");
        }
    }
}
