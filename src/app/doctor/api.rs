//! The key, the API, and its clock.

use std::time::{Duration, Instant, SystemTime};

use tokio::time::timeout;

use crate::{
    app::{api::Api, error::AppError, settings::Settings, views::ExaminedView},
    clock::Millis,
    config::KEY,
    domain::{
        call::{CallFailure, ErrorKind},
        span,
    },
};

/// How long an answer is waited for.
const WAIT: Duration = Duration::from_secs(8);
/// From here on a wrong clock is told. The API says whole seconds.
const SLIGHT: u64 = 5_000;
/// From here on an S3 store is about to refuse signatures, and windows and dates are wrong.
const GRAVE: u64 = 120_000;

pub(super) async fn examine(settings: &Settings, api: &Api) -> Vec<ExaminedView> {
    let client = api.client();
    let asked = Instant::now();
    let (health, key) = tokio::join!(in_time(client.health()), key(settings, api));
    let took = asked.elapsed();
    let host = client.host();
    match health {
        Err(failure) => {
            let error = AppError::Api(failure);
            let hint = error.hint();
            let clock = ExaminedView::unchecked("clock", "the API said no time");
            vec![key, ExaminedView::failed("api", error.to_string(), hint), clock]
        }
        Ok(date) => vec![key, reached(settings, &host, took), clock(date)],
    }
}

/// What the API says, if it says it in time.
async fn in_time<T>(asked: impl Future<Output = Result<T, CallFailure>>) -> Result<T, CallFailure> {
    timeout(WAIT, asked).await.unwrap_or_else(|_| {
        let message = format!("the API did not answer within {} s", WAIT.as_secs());
        Err(CallFailure::new(ErrorKind::TimedOut, message))
    })
}

fn reached(settings: &Settings, host: &str, took: Duration) -> ExaminedView {
    if settings.is_sandbox() {
        return ExaminedView::well("api", "the sandbox answers");
    }
    let region = match settings.config.base_url.host_str().and_then(region) {
        Some(region) => format!(", region {region}"),
        None => String::new(),
    };
    ExaminedView::well("api", format!("{host}{region} answers in {} ms", took.as_millis().max(1)))
}

/// The region that a host of the vendor's names: `api.REGION.smallest.ai`.
fn region(host: &str) -> Option<&str> {
    host.strip_prefix("api.")?.strip_suffix(".smallest.ai")
}

async fn key(settings: &Settings, api: &Api) -> ExaminedView {
    if settings.is_sandbox() {
        return ExaminedView::well("key", "the sandbox needs none");
    }
    if settings.env.key.is_none() {
        let error = settings.env.key_fault.clone().map_or(AppError::NoKey, AppError::KeyPlace);
        return super::failed("key", &error);
    }
    match in_time(api.client().voices()).await {
        Ok(voices) => {
            let n = voices.len();
            ExaminedView::well("key", format!("the API accepts {KEY}; the account has {n} voices"))
        }
        Err(failure) if matches!(failure.kind, ErrorKind::Unauthorized | ErrorKind::Forbidden) => {
            super::failed("key", &AppError::Api(failure))
        }
        Err(failure) => ExaminedView::unchecked(
            "key",
            format!("{KEY} is set; the API did not say whether it accepts it: {}", failure.message),
        ),
    }
}

fn clock(date: Option<Millis>) -> ExaminedView {
    let Some(date) = date else { return ExaminedView::unchecked("clock", "the API said no time") };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    compared("clock", "the API's", date, i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

/// This machine's clock, held against another one.
pub(super) fn compared(name: &'static str, whose: &str, theirs: Millis, ours: Millis) -> ExaminedView {
    let off = theirs.abs_diff(ours);
    let by = span::in_words(Duration::from_millis(off / 1_000 * 1_000));
    let what = match ours < theirs {
        _ if off <= SLIGHT => return ExaminedView::well(name, format!("this machine's clock agrees with {whose}")),
        true => format!("this machine's clock is {by} behind {whose}"),
        false => format!("this machine's clock is {by} ahead of {whose}"),
    };
    let remedy = "set it by NTP (`timedatectl`): dates, windows and S3 signatures depend on it";
    match off > GRAVE {
        true => ExaminedView::failed(name, what, Some(remedy.to_owned())),
        false => ExaminedView::warning(name, what, remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::views::Health;

    #[test]
    fn a_wrong_clock_is_told_and_a_very_wrong_one_fails() {
        let state = |theirs, ours| compared("clock", "the API's", theirs, ours).state;
        assert_eq!(state(100_000, 104_900), Health::Well);
        assert_eq!((state(100_000, 110_000), state(110_000, 100_000)), (Health::Warning, Health::Warning));
        assert_eq!((state(0, 200_000), state(200_000, 0)), (Health::Failed, Health::Failed));
        let behind = compared("clock", "the API's", 3_600_000, 0);
        assert!(behind.what.contains("1 h behind the API's"), "{}", behind.what);
        assert!(compared("clock", "the API's", 0, 200_000).what.contains("ahead of the API's"));
    }

    #[test]
    fn a_region_is_in_the_name_of_its_host() {
        assert_eq!(region("api.india.smallest.ai"), Some("india"));
        assert_eq!((region("api.smallest.ai"), region("localhost")), (None, None));
    }
}
