//! A call whose outcome is unknown is never simply made again: the vendor's log is asked first, at once and once more
//! after a grace time; then the definition's `on_unknown` decides.

use super::{
    logbook::{LogMatch, Witness},
    worker::ActivePart,
};
use crate::{
    domain::{
        batch::OnUnknown,
        call::{LogEntry, LogError},
        callback::Rule,
        job::CallRecord,
        length,
        transcript::recovered_answer,
    },
    large::look_into,
    store::{End, Ended, StoreError},
};

const GRACE_MIN_MS: i64 = 10_000;
const GRACE_MAX_MS: i64 = 120_000;
/// How soon an unreachable log is tried again, in ms.
const LOG_RETRY_MS: i64 = 5_000;

/// What is to be done about the call.
pub(super) enum ReconcileStep {
    /// Its answer was found and kept.
    Answered,
    /// The same, and its line is nobody's any more.
    Left,
    /// Look again then (ms since 1970).
    Later(i64),
    /// Give it up and make another.
    CallAgain,
    /// Give it up and leave the line to the user.
    ManualReview,
}

/// The grace time: the longer of 10 s and the audio's length, at most 2 minutes.
pub(super) fn grace_ms(setting: Option<std::time::Duration>, audio_ms: Option<u64>) -> i64 {
    match setting {
        Some(d) => i64::try_from(d.as_millis()).unwrap_or(GRACE_MAX_MS),
        None => {
            audio_ms.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(GRACE_MIN_MS).clamp(GRACE_MIN_MS, GRACE_MAX_MS)
        }
    }
}

/// When to look again, or `None` when it is time to decide.
fn look_again(
    found: &Result<LogMatch, LogError>,
    unknown_at: i64,
    grace: i64,
    (outage_limit, away_since): (i64, Option<i64>),
    now: i64,
) -> Option<i64> {
    match found {
        Ok(LogMatch::One(_)) | Err(LogError::Absent(_)) => None,
        Ok(LogMatch::None | LogMatch::Unclear) => (now < unknown_at + grace).then_some(unknown_at + grace),
        Err(LogError::Unreachable(_)) => {
            // Nobody asked while nobody ran: the log is given its time from when it was first found away.
            let since = unknown_at.max(away_since.unwrap_or(now).min(now));
            (now < since + outage_limit).then_some(now + LOG_RETRY_MS)
        }
        Err(LogError::Unasked(_)) => Some(now + LOG_RETRY_MS),
    }
}

pub(super) async fn look(work: &ActivePart<'_>, call: &CallRecord) -> Result<ReconcileStep, StoreError> {
    let shared = work.shared;
    let unknown_at = match call.unknown_at {
        Some(at) => at,
        None => shared.store.note_unknown(call.id).await?,
    };
    let run = &work.batch.spec.run;
    let posted_grace = posted_grace(work, call);
    // What was to be posted is unknown from when it was overdue.
    let (unknown_at, grace) = match (posted_grace, call.overdue_at) {
        (Some(grace), Some(overdue_at)) => (unknown_at.max(overdue_at), grace),
        _ => (unknown_at, grace_ms(run.unknown_grace, call.request.audio_ms)),
    };
    // What decides must have been read when the grace was over.
    let looked_at = work.now();
    let not_before = if looked_at < unknown_at + grace { unknown_at + 1 } else { unknown_at + grace };
    let witness = if posted_grace.is_some() { Witness::Posted(call.id) } else { Witness::Request(&call.request) };
    let mut found = shared.log.look(call.log_cursor.as_deref(), &witness, not_before).await;
    if let Ok(LogMatch::One(entry)) = &found {
        if posted_grace.is_none() && shared.store.is_ambiguous(call.id).await? {
            found = Ok(LogMatch::Unclear);
        } else {
            let verdict = keep(work, call, entry).await?;
            tracing::info!(job.key = work.job.key, call.id = %call.id, "recovered from the vendor's log");
            return Ok(verdict);
        }
    }
    let outage_limit = i64::try_from(run.outage_limit.as_millis()).unwrap_or(i64::MAX);
    if let Some(at) = look_again(&found, unknown_at, grace, (outage_limit, shared.log.away_since()), looked_at) {
        return Ok(ReconcileStep::Later(at));
    }
    Ok(match run.on_unknown {
        OnUnknown::Retry => ReconcileStep::CallAgain,
        OnUnknown::Park => ReconcileStep::ManualReview,
    })
}

/// How long the log may be without a call whose answer was to be posted, in ms; nothing for another call. This process need
/// not know where to.
fn posted_grace(work: &ActivePart<'_>, call: &CallRecord) -> Option<i64> {
    call.overdue_at?;
    let rule = work.shared.config.webhook.as_ref().map_or_else(Rule::default, |webhook| webhook.rule);
    Some(i64::try_from(rule.grace_ms).unwrap_or(GRACE_MAX_MS))
}

/// Keeps what the log says as the call's answer.
async fn keep(work: &ActivePart<'_>, call: &CallRecord, entry: &LogEntry) -> Result<ReconcileStep, StoreError> {
    let (found, from) = (entry.clone(), entry.transcription.len());
    let body = look_into(from, move || {
        let text = found.transcription.whole().expect("it was packed by this process");
        let text = std::str::from_utf8(&text).expect("it was packed as text");
        recovered_answer(text, &found)
    });
    let body = body.await;
    let heard = entry.duration_s.and_then(length::from_seconds);
    let audio_ms = heard.or(call.request.audio_ms);
    let end = End::Answered {
        body,
        from_log: true,
        request_id: Some(entry.request_id.clone()),
        content_expiry: None,
        audio_ms,
        cost: audio_ms.map(|ms| work.shared.config.rates.cost(work.asked.options.model, ms).0),
    };
    let limits = work.limits();
    let ended = Ended { call: call.id, departed_at: None, limits, end, pauses: None };
    let reply = work.shared.store.end(ended).await?;
    Ok(if reply.worked { ReconcileStep::Answered } else { ReconcileStep::Left })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_grace_is_as_long_as_the_audio_within_bounds() {
        assert_eq!(grace_ms(None, Some(3_000)), 10_000);
        assert_eq!(grace_ms(None, Some(60_000)), 60_000);
        assert_eq!(grace_ms(None, Some(3_600_000)), 120_000);
        assert_eq!(grace_ms(Some(Duration::from_millis(5)), None), 5);
    }

    #[test]
    fn the_log_is_asked_twice_and_an_unreachable_one_until_the_limit() {
        let none = Ok(LogMatch::None);
        assert_eq!(look_again(&none, 1_000, 10_000, (99_000, None), 2_000), Some(11_000));
        assert_eq!(look_again(&none, 1_000, 10_000, (99_000, None), 11_000), None);
        let away = Err(LogError::Unreachable(String::new()));
        assert_eq!(look_again(&away, 1_000, 10_000, (99_000, Some(500)), 50_000), Some(55_000));
        assert_eq!(look_again(&away, 1_000, 10_000, (99_000, Some(500)), 100_001), None);
        let absent = Err(LogError::Absent(String::new()));
        assert_eq!(look_again(&absent, 1_000, 10_000, (99_000, None), 1_001), None);
    }

    #[test]
    fn the_log_is_given_its_time_from_when_it_was_first_found_away() {
        let away = Err(LogError::Unreachable(String::new()));
        let night = 8 * 3_600_000;
        assert_eq!(look_again(&away, 0, 10_000, (99_000, Some(night)), night), Some(night + LOG_RETRY_MS));
        assert_eq!(look_again(&away, 0, 10_000, (99_000, None), night), Some(night + LOG_RETRY_MS));
        assert_eq!(look_again(&away, 0, 10_000, (99_000, Some(night)), night + 99_000), None);
    }

    #[test]
    fn what_this_machine_lacks_decides_nothing() {
        let unasked = Err(LogError::Unasked(String::new()));
        for now in [1_001, 11_000, 100_001, 9_000_000] {
            assert_eq!(look_again(&unasked, 1_000, 10_000, (99_000, Some(1_000)), now), Some(now + LOG_RETRY_MS));
        }
    }
}
