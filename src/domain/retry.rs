//! What follows from a trouble: another try, a wait that costs no try, the end of the line, or a pause of the batch.

use super::{
    call::{ErrorKind, Outcome, Trouble},
    options::listed,
};

listed! {
    /// Why a batch is paused when no line is to blame.
    PauseKind, "pause reason" {
        /// The user said so.
        User = "user",
        /// 401 or 403 from the API.
        Credentials = "credentials",
        /// 402, or a 429 that speaks of quota or credit.
        Quota = "quota",
        /// `max_spend_usd` is reached.
        SpendLimit = "spend_limit",
        /// The store that holds the recordings refuses the credentials.
        Source = "source",
        /// The sink refuses to be written.
        Sink = "sink",
        /// The API was out of reach, or answered nothing but 429, for `outage_limit`.
        Outage = "outage",
        /// Over half of the lines failed or are suspect.
        Failures = "failures",
        /// The content's expiry was asked for and not applied.
        Expiry = "expiry",
        /// The account's dictionary says something else than when the batch was submitted.
        Dictionary = "dictionary",
    }
}

/// What a part has used up, this trouble included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// Tries, by calls and by the source.
    pub tries: u32,
    /// Calls that ran into our own time-out.
    pub timed_out: u32,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Ask for another permit at once; the pool's cooldown does the waiting.
    Again,
    /// Look again after so many ms.
    Later(u64),
    /// Give the line up.
    Fail,
    /// Stop the batch; the line keeps its tries.
    Pause(PauseKind),
}

/// Whether this outcome uses up a try of its part (in an outage none does).
#[must_use]
pub fn counts_as_try<A>(outcome: &Outcome<A>) -> bool {
    match outcome {
        Outcome::Unknown(_) | Outcome::Unusable(_) | Outcome::TooLarge { .. } => true,
        Outcome::Refused { trouble, .. } => trouble.kind == ErrorKind::ServerError,
        Outcome::Answered(_) | Outcome::Accepted { .. } | Outcome::NotSent(_) | Outcome::Stale => false,
    }
}

/// The wait before try `n + 1` (n from 1): 500 ms, doubling to 30 s. `jitter` in 0..1 spreads it over half to whole.
#[must_use]
pub fn wait_ms(n: u32, jitter: f64) -> u64 {
    let full = 500u64.saturating_mul(1 << n.saturating_sub(1).min(6)).min(30_000);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "0..30,000"
    )]
    let ms = (full as f64 * (0.5 + 0.5 * jitter.clamp(0.0, 1.0))) as u64;
    ms
}

/// What follows from `trouble`, when `used` of `max_tries` are used up.
#[must_use]
pub fn verdict(trouble: &Trouble, used: Used, max_tries: u32, jitter: f64) -> Verdict {
    use ErrorKind as K;
    let another = || {
        if used.tries >= max_tries { Verdict::Fail } else { Verdict::Later(wait_ms(used.tries.max(1), jitter)) }
    };
    match trouble.kind {
        K::RateLimited => Verdict::Again,
        K::Unauthorized | K::Forbidden => Verdict::Pause(PauseKind::Credentials),
        K::PaymentRequired | K::QuotaExhausted => Verdict::Pause(PauseKind::Quota),
        K::ExpiryNotApplied => Verdict::Pause(PauseKind::Expiry),
        K::TimedOut if used.timed_out >= 2 => Verdict::Fail,
        K::Unreachable => Verdict::Later(wait_ms(1, jitter)),
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
        | K::LanguageNotEnabled
        | K::UnknownOutcome
        | K::BilledCap
        | K::SinkRefused => Verdict::Fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(kind: ErrorKind, tries: u32, timed_out: u32) -> Verdict {
        verdict(&Trouble::new(kind, ""), Used { tries, timed_out }, 6, 1.0)
    }

    #[test]
    fn each_trouble_has_its_consequence() {
        assert_eq!(after(ErrorKind::RateLimited, 99, 0), Verdict::Again, "a 429 is never the line's fault");
        assert_eq!(after(ErrorKind::Unauthorized, 0, 0), Verdict::Pause(PauseKind::Credentials));
        assert_eq!(after(ErrorKind::QuotaExhausted, 0, 0), Verdict::Pause(PauseKind::Quota));
        assert_eq!(after(ErrorKind::BadRequest, 0, 0), Verdict::Fail);
        assert_eq!(after(ErrorKind::ServerError, 1, 0), Verdict::Later(500));
        assert_eq!(after(ErrorKind::ServerError, 6, 0), Verdict::Fail);
        assert_eq!(after(ErrorKind::TimedOut, 1, 1), Verdict::Later(500));
        assert_eq!(after(ErrorKind::TimedOut, 2, 2), Verdict::Fail, "not paid for six times");
        assert_eq!(after(ErrorKind::UnusableAnswer, 1, 0), Verdict::Later(500));
        assert_eq!(after(ErrorKind::AnswerTooLarge, 1, 0), Verdict::Fail, "another call would bring the same");
        assert_eq!(after(ErrorKind::Unreachable, 50, 0), Verdict::Later(500), "the outage rules, not tries");
    }

    #[test]
    fn waits_double_to_half_a_minute() {
        let waits: Vec<u64> = (1..=9).map(|n| wait_ms(n, 1.0)).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(wait_ms(1, 0.0), 250);
    }
}
