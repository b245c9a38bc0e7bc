//! A call of unknown outcome: the vendor's log is the evidence. It is queried at once, and once more after a grace time.

use super::{
    TranscriptionJob,
    logbook::{LogMatch, Witness},
};
use crate::{
    domain::{
        call::{LogEntry, LogError},
        callback::Rule,
        job::CallRecord,
        length,
        transcript::recovered_answer,
    },
    large::look_into,
    runner::{
        PartContext,
        reconcile::{Reconciled, grace_ms},
    },
    store::{End, StoreError},
};

/// How soon an unreachable log is tried again, in ms.
const LOG_RETRY_MS: i64 = 5_000;

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
            // While no process ran, the log was not queried: its time counts from when it was first found unreachable.
            let since = unknown_at.max(away_since.unwrap_or(now).min(now));
            (now < since + outage_limit).then_some(now + LOG_RETRY_MS)
        }
        Err(LogError::Unasked(_)) => Some(now + LOG_RETRY_MS),
    }
}

/// Looks for the call in the log.
pub(super) async fn look(
    job: &TranscriptionJob<'_>,
    part: &PartContext<'_>,
    call: &CallRecord,
) -> Result<Reconciled, StoreError> {
    let (log, store, run) = (&job.kept.log, part.on.store(), part.on.run());
    let unknown_at = part.unknown_since(call).await?;
    let posted_grace = posted_grace(part, call);
    // A call with a callback is of unknown outcome from when it was overdue.
    let (unknown_at, grace) = match (posted_grace, call.overdue_at) {
        (Some(grace), Some(overdue_at)) => (unknown_at.max(overdue_at), grace),
        _ => (unknown_at, grace_ms(run.unknown_grace, call.request.likely_ms())),
    };
    // The log must have been read after the grace time for the decision.
    let looked_at = part.now();
    let not_before = if looked_at < unknown_at + grace { unknown_at + 1 } else { unknown_at + grace };
    let witness = if posted_grace.is_some() { Witness::Posted(call.id) } else { Witness::Request(&call.request) };
    let mut found = log.look(call.log_cursor.as_deref(), &witness, not_before).await;
    if let Ok(LogMatch::One(entry)) = &found {
        if posted_grace.is_none() && store.is_ambiguous(call.id).await? {
            found = Ok(LogMatch::Unclear);
        } else {
            let worked = keep(job, part, call, entry).await?;
            tracing::info!(job.key = part.on.job().key, call.id = %call.id, "recovered from the vendor's log");
            return Ok(if worked { Reconciled::Answered } else { Reconciled::Left });
        }
    }
    let outage_limit = i64::try_from(run.outage_limit.as_millis()).unwrap_or(i64::MAX);
    if let Some(at) = look_again(&found, unknown_at, grace, (outage_limit, log.away_since()), looked_at) {
        return Ok(Reconciled::Later(at));
    }
    Ok(run.on_unknown.into())
}

/// How long the log may lack a call with a callback, in ms; `None` for another call. This process need not know the callback
/// address.
fn posted_grace(part: &PartContext<'_>, call: &CallRecord) -> Option<i64> {
    call.overdue_at?;
    let rule = part.on.config().webhook.as_ref().map_or_else(Rule::default, |webhook| webhook.rule);
    Some(i64::try_from(rule.grace_ms).unwrap_or(i64::MAX / 4))
}

/// Stores the log's transcript as the call's answer. Returns whether the job is still worked.
async fn keep(
    job: &TranscriptionJob<'_>,
    part: &PartContext<'_>,
    call: &CallRecord,
    entry: &LogEntry,
) -> Result<bool, StoreError> {
    let (found, from) = (entry.clone(), entry.transcription.len());
    let body = look_into(from, move || {
        let text = found.transcription.whole().expect("it was packed by this process");
        let text = std::str::from_utf8(&text).expect("it was packed as text");
        recovered_answer(text, &found)
    });
    let body = body.await;
    let heard = entry.duration_s.and_then(length::from_seconds);
    let audio_ms = heard.or(call.request.likely_ms());
    let end = End::Answered {
        body,
        from_log: true,
        request_id: Some(entry.request_id.clone()),
        content_expiry: None,
        audio_ms,
        cost: audio_ms.map(|ms| part.on.config().rates.cost(job.options.model, ms).0),
    };
    part.end(call.id, end).await
}

#[cfg(test)]
mod tests {
    use super::*;

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
