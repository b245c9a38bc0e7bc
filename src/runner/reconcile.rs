//! A call of unknown outcome is never simply made again: a task looks for the outcome first; if nothing shows it, the
//! definition's `on_unknown` decides.

use std::time::Duration;

use super::job::PartContext;
use crate::{
    domain::{batch::OnUnknown, call::ErrorKind, job::CallRecord},
    store::{Finish, StoreError},
};

const GRACE_MIN_MS: i64 = 10_000;
const GRACE_MAX_MS: i64 = 120_000;

/// What to do about a call of unknown outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconciled {
    /// Its answer was found and kept.
    Answered,
    /// The same, and the line has no worker any more.
    Left,
    /// Look again then (ms since 1970).
    Later(i64),
    /// Give it up and make another call.
    CallAgain,
    /// Give it up and leave the line to the user.
    ManualReview,
}

impl From<OnUnknown> for Reconciled {
    fn from(policy: OnUnknown) -> Self {
        match policy {
            OnUnknown::Retry => Self::CallAgain,
            OnUnknown::Park => Self::ManualReview,
        }
    }
}

/// What to do if nothing shows the outcome of a call. The time since when it is unknown is recorded.
///
/// # Errors
/// The ledger cannot be written.
pub async fn by_policy(part: &PartContext<'_>, call: &CallRecord) -> Result<Reconciled, StoreError> {
    part.unknown_since(call).await?;
    Ok(part.on.run().on_unknown.into())
}

/// The end of a line whose call is left to the user.
#[must_use]
pub fn manual_review() -> Finish {
    let message = "the call may have been billed and nothing proves its outcome; on_unknown = \"park\" leaves it to you: `wavebatch retry` pays for it again";
    Finish::failed(ErrorKind::UnknownOutcome, message.into())
}

/// How long the vendor may work on a call, in ms: the longer of 10 s and the audio's length, at most 2 minutes, unless the
/// definition says otherwise.
#[must_use]
pub fn grace_ms(setting: Option<Duration>, audio_ms: Option<u64>) -> i64 {
    match setting {
        Some(d) => i64::try_from(d.as_millis()).unwrap_or(GRACE_MAX_MS),
        None => {
            audio_ms.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(GRACE_MIN_MS).clamp(GRACE_MIN_MS, GRACE_MAX_MS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grace_is_as_long_as_the_audio_within_bounds() {
        assert_eq!(grace_ms(None, Some(3_000)), 10_000);
        assert_eq!(grace_ms(None, Some(60_000)), 60_000);
        assert_eq!(grace_ms(None, Some(3_600_000)), 120_000);
        assert_eq!(grace_ms(Some(Duration::from_millis(5)), None), 5);
    }
}
