//! The consequence of a failure: another try, a wait that costs no try, the failure of the line, or a pause of the batch.

use std::time::Duration;

use super::{
    call::{CallFailure, ErrorKind, Outcome},
    options::listed,
};

/// However long a `Retry-After` is, the server is called again after this time.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// The waits after a 5xx, in ms. An API problem often lasts for minutes: six tries outlast an outage of eight
/// minutes.
const AFTER_SERVER_ERROR_MS: [u64; 5] = [2_000, 8_000, 30_000, 120_000, 300_000];
/// The first wait after any other failure, and the least after a `Retry-After`, in ms.
const WAIT_FIRST_MS: u64 = 500;
const WAIT_MAX_MS: u64 = 30_000;

listed! {
    /// Why a batch is paused if no line is to blame.
    PauseKind, "pause reason" {
        /// You paused it with `wavebatch pause`.
        User = "user",
        /// The API does not accept the key, or not for this (401, 403).
        Credentials = "credentials",
        /// The account has no credit or quota left (402, or a 429 that says so).
        Quota = "quota",
        /// Another call could pass the batch's `max_spend_usd`.
        SpendLimit = "spend_limit",
        /// Another call could pass `[spend] day_usd`. The next day lifts the pause, or a higher limit.
        SpendDay = "spend_day",
        /// Another call could pass `[spend] month_usd`. The next month lifts the pause, or a higher limit.
        SpendMonth = "spend_month",
        /// The store of the recordings refuses the credentials, or no recording could be read for `outage_limit`.
        Source = "source",
        /// The output cannot be written: it refuses, is no folder any more, or took nothing for `outage_limit`.
        Sink = "sink",
        /// The API was out of reach, or answered nothing but 429, for `outage_limit`.
        Outage = "outage",
        /// Over half of at least 100 finished lines failed or are suspect (`pause_on_failures`).
        Failures = "failures",
        /// `expire_content = true`, and an answer says that deletion was not applied.
        Expiry = "expiry",
        /// The pronunciations on the account are not those that the batch was submitted with.
        Dictionary = "dictionary",
        /// The ledger's row of the batch or of one of its lines cannot be read or written: another version of wavebatch made it, or it is damaged.
        Specification = "specification",
        /// The region of the account's address does not have the language. `base_url` sets another region's host.
        Region = "region",
        /// The vendor has retired the model, or the account's plan does not include it.
        Model = "model",
    }
}

impl PauseKind {
    /// Whether only the user's `resume` lifts the pause. Any other pause is lifted by the next `run` or `work`, and a service
    /// tries one line from time to time.
    #[must_use]
    pub const fn only_the_user_lifts(self) -> bool {
        // A promise of privacy was broken: no further recording is sent without the user's consent.
        matches!(self, Self::User | Self::Expiry)
    }

    /// Whether the pause ends by itself once its cause is gone, so that a trial call gives no new information.
    #[must_use]
    pub const fn ends_by_itself(self) -> bool {
        matches!(self, Self::SpendDay | Self::SpendMonth)
    }

    /// What lets the batch go on. `again` are words for starting the same work again, and `resume` is the command that lifts a
    /// pause.
    #[must_use]
    pub fn remedy(self, again: &str, resume: &str) -> String {
        let first = match self {
            Self::User => return format!("{resume} lets it go on"),
            Self::Expiry => return format!("ask the vendor whether the plan deletes content; then {resume}"),
            Self::SpendDay => {
                return "the next day lets it go on, or a higher [spend] day_usd in wavebatch.toml".into();
            }
            Self::SpendMonth => {
                return "the next month lets it go on, or a higher [spend] month_usd in wavebatch.toml".into();
            }
            Self::SpendLimit => {
                "raise its max_spend_usd (--max-spend) and submit it again, since it pauses again with the same limit"
            }
            Self::Credentials => "check the key and the plan",
            Self::Quota => "give the account credit",
            Self::Source => "see that the recordings can be read, and with which credentials",
            Self::Sink => "see that the output can be written",
            Self::Outage => "wait until the API answers",
            Self::Failures => "look at the failed lines (`wavebatch jobs`) and mend what they have in common",
            Self::Dictionary => "submit it again, which puts its pronunciations on the account",
            Self::Specification => "use the version of wavebatch that made it, or restore the ledger from a backup",
            Self::Region => "choose a language of the region, or set another region's base_url in wavebatch.toml",
            Self::Model => "choose another model, or a plan that includes it",
        };
        format!("{first}; then {again}")
    }

    /// A description of a batch paused for this reason; it follows `the batch `x` is`.
    #[must_use]
    pub fn in_words(self, reason: &str) -> String {
        match self {
            Self::User => format!("paused by you: {reason}"),
            kind if kind.only_the_user_lifts() => format!("paused until you resume it ({kind}: {reason})"),
            kind => format!("paused ({kind}: {reason})"),
        }
    }
}

/// The wait before a retry of what this machine, or one of its disks, could not do, in ms.
pub const LOCAL_WAIT_MS: u64 = 30_000;

/// What a part has used up, including this failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// Tries used up by calls and by the source.
    pub tries: u32,
    /// Calls that ran into our own time-out.
    pub timed_out: u32,
    /// 429s in a row; 0 if the pool waits for them.
    pub limited: u32,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryDecision {
    /// Request another permit at once: the pool's cooldown provides the wait.
    Again,
    /// Look again after this many ms.
    Later(u64),
    /// Fail the line.
    Fail,
    /// Pause the batch; the line keeps its tries.
    Pause(PauseKind),
}

/// Whether this outcome uses up a try of its part (during an outage none does).
#[must_use]
pub fn counts_as_try<A>(outcome: &Outcome<A>) -> bool {
    match outcome {
        Outcome::Unknown(_) | Outcome::Unusable(_) | Outcome::TooLarge { .. } => true,
        Outcome::Refused(failure) => failure.kind == ErrorKind::ServerError,
        Outcome::Answered(_) | Outcome::Accepted { .. } | Outcome::NotSent(_) | Outcome::Stale => false,
    }
}

/// The wait after the `n`-th try (n from 1) with this failure, in ms, if the server requests none. `jitter` in 0..1
/// spreads it.
#[must_use]
pub fn wait_ms(kind: ErrorKind, n: u32, jitter: f64) -> u64 {
    let nth = n.saturating_sub(1);
    let (full, least) = match kind {
        ErrorKind::ServerError | ErrorKind::Gateway => {
            let last = AFTER_SERVER_ERROR_MS.len() - 1;
            (AFTER_SERVER_ERROR_MS[usize::try_from(nth).unwrap_or(last).min(last)], 0.9)
        }
        _ => ((WAIT_FIRST_MS << nth.min(6)).min(WAIT_MAX_MS), 0.5),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "0..300,000"
    )]
    let ms = (full as f64 * (least + (1.0 - least) * jitter.clamp(0.0, 1.0))) as u64;
    ms
}

/// The wait that a server requested, in ms, within bounds: after a wait of 0 the server would be called without a pause.
#[must_use]
pub fn asked_ms(asked: Duration) -> i64 {
    let ms = u64::try_from(asked.min(LONGEST_RETRY_AFTER).as_millis()).unwrap_or(u64::MAX).max(WAIT_FIRST_MS);
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// The consequence of `failure` after `used` of `max_tries`.
#[must_use]
pub fn verdict(failure: &CallFailure, used: Used, max_tries: u32, jitter: f64) -> RetryDecision {
    use ErrorKind as K;
    let later = |n| {
        let asked = failure.retry_after.map(|asked| asked_ms(asked).unsigned_abs());
        RetryDecision::Later(asked.unwrap_or_else(|| wait_ms(failure.kind, n, jitter)))
    };
    let another = || if used.tries >= max_tries { RetryDecision::Fail } else { later(used.tries.max(1)) };
    match failure.kind {
        K::RateLimited if used.limited == 0 => RetryDecision::Again,
        K::RateLimited => later(used.limited),
        K::Unauthorized | K::Forbidden => RetryDecision::Pause(PauseKind::Credentials),
        K::PaymentRequired | K::QuotaExhausted => RetryDecision::Pause(PauseKind::Quota),
        K::LanguageNotEnabled => RetryDecision::Pause(PauseKind::Region),
        K::ModelRetired => RetryDecision::Pause(PauseKind::Model),
        K::ExpiryNotApplied => RetryDecision::Pause(PauseKind::Expiry),
        K::TimedOut if used.timed_out >= 2 => RetryDecision::Fail,
        K::Unreachable => later(1),
        K::LocalOutage => RetryDecision::Later(LOCAL_WAIT_MS),
        K::ServerError
        | K::TimedOut
        | K::ConnectionLost
        | K::Truncated
        | K::Gateway
        | K::UnusableAnswer
        | K::SourceTimedOut
        | K::SourceUnavailable
        | K::SourceChanged => another(),
        K::BadLine
        | K::SourceMissing
        | K::SourceEmpty
        | K::SourceUnreadable
        | K::SourceTooLarge
        | K::SourceNotAudio
        | K::SourceRefused
        | K::SourceArchived
        | K::BadRequest
        | K::TooLarge
        | K::AnswerLost
        | K::AnswerTooLarge
        | K::UnknownOutcome
        | K::BilledCap
        | K::SinkRefused
        | K::LedgerRefused
        | K::Internal => RetryDecision::Fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(kind: ErrorKind, tries: u32, timed_out: u32) -> RetryDecision {
        verdict(&CallFailure::new(kind, ""), Used { tries, timed_out, limited: 0 }, 6, 1.0)
    }

    #[test]
    fn every_pause_has_its_remedy() {
        let remedies: Vec<String> = PauseKind::ALL.iter().map(|kind| kind.remedy("AGAIN", "RESUME")).collect();
        for (kind, remedy) in PauseKind::ALL.iter().zip(&remedies) {
            assert_eq!(remedy.contains("RESUME"), kind.only_the_user_lifts(), "{remedy}");
            assert_eq!(remedy.contains("AGAIN"), !kind.only_the_user_lifts() && !kind.ends_by_itself(), "{remedy}");
        }
        assert_eq!(PauseKind::Quota.remedy("run it again", ""), "give the account credit; then run it again");
    }

    #[test]
    fn each_failure_has_its_consequence() {
        assert_eq!(after(ErrorKind::RateLimited, 99, 0), RetryDecision::Again, "a 429 is never the line's fault");
        assert_eq!(after(ErrorKind::Unauthorized, 0, 0), RetryDecision::Pause(PauseKind::Credentials));
        assert_eq!(after(ErrorKind::QuotaExhausted, 0, 0), RetryDecision::Pause(PauseKind::Quota));
        assert_eq!(after(ErrorKind::LanguageNotEnabled, 0, 0), RetryDecision::Pause(PauseKind::Region));
        assert_eq!(after(ErrorKind::ModelRetired, 0, 0), RetryDecision::Pause(PauseKind::Model));
        assert_eq!(after(ErrorKind::SourceNotAudio, 1, 0), RetryDecision::Fail);
        assert_eq!(after(ErrorKind::BadRequest, 0, 0), RetryDecision::Fail);
        assert_eq!(after(ErrorKind::ServerError, 1, 0), RetryDecision::Later(2_000));
        assert_eq!(after(ErrorKind::ServerError, 6, 0), RetryDecision::Fail);
        assert_eq!(after(ErrorKind::TimedOut, 1, 1), RetryDecision::Later(500));
        assert_eq!(after(ErrorKind::TimedOut, 2, 2), RetryDecision::Fail, "not paid for six times");
        assert_eq!(after(ErrorKind::UnusableAnswer, 1, 0), RetryDecision::Later(500));
        assert_eq!(after(ErrorKind::AnswerTooLarge, 1, 0), RetryDecision::Fail, "another call would bring the same");
        assert_eq!(after(ErrorKind::Unreachable, 50, 0), RetryDecision::Later(500), "the outage rules, not tries");
        assert_eq!(after(ErrorKind::LocalOutage, 50, 0), RetryDecision::Later(30_000), "no line's fault");
        let local = Outcome::<()>::NotSent(CallFailure::new(ErrorKind::LocalOutage, ""));
        assert!(!counts_as_try(&local));
    }

    #[test]
    fn waits_double_to_half_a_minute() {
        let waits = |kind| (1..=9).map(|n| wait_ms(kind, n, 1.0)).collect::<Vec<_>>();
        for kind in [ErrorKind::UnusableAnswer, ErrorKind::SourceTimedOut, ErrorKind::RateLimited] {
            assert_eq!(waits(kind), [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
            assert_eq!(wait_ms(kind, 1, 0.0), 250);
        }
    }

    #[test]
    fn after_a_5xx_the_tries_of_a_line_are_spread_over_minutes() {
        for kind in [ErrorKind::ServerError, ErrorKind::Gateway] {
            let waits: Vec<u64> = (0..=7).map(|n| wait_ms(kind, n, 1.0)).collect();
            assert_eq!(waits, [2_000, 2_000, 8_000, 30_000, 120_000, 300_000, 300_000, 300_000]);
            assert_eq!((wait_ms(kind, 1, 0.0), wait_ms(kind, 5, 0.0)), (1_800, 270_000), "spread a little");
            assert_eq!(wait_ms(kind, u32::MAX, 0.0), 270_000);
            // The fourth try comes after more than half a minute: an outage of 15 s is over by then.
            assert!((1..=3).map(|n| wait_ms(kind, n, 0.0)).sum::<u64>() > 30_000);
        }
    }

    #[test]
    fn a_wait_that_is_asked_for_goes_before() {
        let asked = |kind, seconds, limited| {
            let retry_after = Some(Duration::from_secs(seconds));
            let failure = CallFailure { retry_after, ..CallFailure::new(kind, "") };
            verdict(&failure, Used { tries: 1, timed_out: 0, limited }, 6, 1.0)
        };
        use ErrorKind as K;
        for kind in [K::ServerError, K::Gateway, K::UnusableAnswer, K::RateLimited] {
            assert_eq!(asked(kind, 7, 1), RetryDecision::Later(7_000), "{kind}");
            assert_eq!(asked(kind, 0, 1), RetryDecision::Later(500), "{kind}: never without a pause");
            assert_eq!(asked(kind, u64::MAX, 1), RetryDecision::Later(3_600_000), "{kind}: a year is an hour");
        }
        assert_eq!(asked(K::RateLimited, 7, 0), RetryDecision::Again, "the pool waits");
        assert_eq!(asked(K::BadRequest, 7, 0), RetryDecision::Fail, "the same again would be refused again");
    }

    #[test]
    fn a_line_that_is_refused_alone_waits_twice_as_long_each_time() {
        let waits: Vec<RetryDecision> = (1..=3)
            .map(|limited| {
                let used = Used { tries: 0, timed_out: 0, limited };
                verdict(&CallFailure::new(ErrorKind::RateLimited, ""), used, 1, 1.0)
            })
            .collect();
        assert_eq!(waits, [500, 1_000, 2_000].map(RetryDecision::Later));
    }
}
