//! One call: its permit, its request, its end in the journal, and what follows from that.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use super::{
    Event,
    recording::Recording,
    worker::{Next, Work, jitter},
};
use crate::{
    clock::Clock,
    domain::{
        call::{Answer, ErrorKind, LogFlags, Outcome, Trouble},
        job::{CallId, CallRecord, CallState, Trace, Why},
        options::ExpireContent,
        retry::{self, PauseKind, Used, Verdict},
        transcript::Transcript,
    },
    store::{Denial, End, EndReply, Ended, Permit, PermitAsk, PoolEffect, Purchase, StoreError, To},
    waves::{Departure, SttCall},
};

/// Beyond this a call that left late is stamped again: the rate is counted from when the vendor saw it.
const LATE_MS: i64 = 500;
const TIMEOUT_BASE: Duration = Duration::from_secs(120);
const TIMEOUT_MAX: Duration = Duration::from_secs(15 * 60);

/// What an attempt leads to.
pub(super) enum Attempt {
    /// The answer is on disk.
    Answered { call: CallId, answer: Answer, processing_ms: i64 },
    /// Anything else.
    Next(Next),
}

/// A call's time-out: two minutes and the audio's length, at most fifteen minutes, unless the definition says otherwise.
pub(super) fn timeout(setting: Option<Duration>, audio_ms: Option<u64>) -> Duration {
    setting.unwrap_or_else(|| match audio_ms {
        Some(ms) => (TIMEOUT_BASE + Duration::from_millis(ms)).min(TIMEOUT_MAX),
        None => TIMEOUT_MAX,
    })
}

pub(super) async fn attempt(
    work: &mut Work<'_>,
    why: Why,
    replaces: Option<&CallRecord>,
    recording: &Recording,
) -> Result<Attempt, StoreError> {
    let mut replaces = replaces.map(|c| c.id);
    loop {
        let probe = match replaces {
            Some(call) => probe_by_log(work, call).await?,
            None => Probe::Needless,
        };
        if let Probe::Wait(next) = probe {
            return Ok(Attempt::Next(next));
        }
        let probes = matches!(probe, Probe::Reached);
        let permit = match permit(work, why, replaces, probes, recording).await? {
            Ok(permit) => permit,
            Err(next) => return Ok(Attempt::Next(next)),
        };
        // Whatever was to be given up is given up by now.
        replaces = None;
        let (outcome, departed_at) = send(work, &permit, recording).await;
        let limits = work.limits();
        let end = end_of(work, &outcome, recording);
        let cost = if let End::Answered { cost, .. } = &end { cost.unwrap_or(0) } else { 0 };
        let pauses = broken_promise(work, &outcome);
        let ended = Ended { call: permit.call, departed_at, limits, end, pauses: pauses.clone() };
        let reply = work.shared.store.end(ended).await?;
        if let Some((kind, reason)) = pauses {
            work.shared.pause(work.batch.id, kind, &reason).await?;
        }
        let trouble = trouble_of(&outcome).cloned();
        work.shared.say(Event::CallEnded { pool: work.pool, trouble: trouble.clone(), cost });
        match outcome {
            Outcome::Answered(answer) => {
                let processing_ms = work.now() - permit.sent_at;
                return Ok(Attempt::Answered { call: permit.call, answer, processing_ms });
            }
            Outcome::Stale => continue,
            _ => {}
        }
        let trouble = trouble.expect("only an answer and a stale permit have none");
        tracing::info!(job.key = work.job.key, call.id = %permit.call, kind = %trouble.kind, status = trouble.status,
            request_id = trouble.request_id, "call failed: {}", trouble.message);
        work.reload().await?;
        // Else the pool's cooldown does the waiting: the next permit comes when it is over.
        if let Some(next) = after(work, &trouble, &reply).await? {
            return Ok(Attempt::Next(next));
        }
    }
}

/// Waits for the right to call. A drain ends the wait.
async fn permit(
    work: &Work<'_>,
    why: Why,
    replaces: Option<CallId>,
    probes: bool,
    recording: &Recording,
) -> Result<Result<Permit, Next>, StoreError> {
    let shared = work.shared;
    let ask = PermitAsk {
        job: work.job.job,
        token: work.job.token,
        batch: work.batch.id,
        part: 0,
        account: shared.config.account.clone(),
        pool: work.pool,
        limits: work.limits(),
        why,
        replaces,
        probes,
        buys: Purchase::Transcript {
            audio_ms: recording.audio_ms(),
            rate: shared.config.rates.per_minute(work.options.model).0,
        },
        mark: shared.log.mark(),
        trace: trace(work, recording),
        reply: None,
    };
    let verdict = tokio::select! {
        biased;
        verdict = shared.store.permit(ask) => verdict?,
        () = shared.drain.cancelled() => return Ok(Err(work.put_back(work.now()))),
    };
    Ok(match verdict {
        Ok(permit) => {
            shared.say(Event::CallStarted { pool: work.pool });
            Ok(permit)
        }
        Err(Denial::LeaseLost) => Err(Next::Lost),
        Err(
            Denial::AlreadyAnswered | Denial::OpenCall | Denial::SameSoundOpen { .. } | Denial::SameSoundKept { .. },
        ) => Err(Next::Look),
        Err(Denial::BatchPaused) => Err(work.put_back(work.now())),
        Err(Denial::SpendLimit) => {
            let reason = "another call could pass max_spend_usd; raise it to go on";
            shared.pause(work.batch.id, PauseKind::SpendLimit, reason).await?;
            Err(work.put_back(work.now()))
        }
    })
}

fn trace(work: &Work<'_>, recording: &Recording) -> Trace {
    let o = &work.options;
    Trace {
        model: o.model.to_string(),
        language: o.language.to_string(),
        flags: LogFlags {
            word_timestamps: o.sends_word_timestamps(&work.formats),
            diarize: o.diarize,
            redact_pii: o.redact_pii,
            redact_pci: o.redact_pci,
            emotion_detection: o.emotion_detection,
            gender_detection: o.gender_detection,
        },
        bytes: recording.bytes(),
        audio_ms: recording.audio_ms(),
    }
}

async fn send(work: &Work<'_>, permit: &Permit, recording: &Recording) -> (Outcome, Option<i64>) {
    let departed = Arc::new(AtomicI64::new(0));
    let departs = departs(permit.clone(), work.shared.store.clock().clone(), Arc::clone(&departed));
    let id = permit.call.to_string();
    let call = SttCall {
        options: &work.options,
        word_timestamps: work.options.sends_word_timestamps(&work.formats),
        call_id: &id,
    };
    let timeout = timeout(work.batch.spec.run.call_timeout, recording.audio_ms());
    let outcome = work.shared.client.transcribe(&call, recording.body(), departs, timeout).await;
    let departed = departed.load(Ordering::Acquire);
    (outcome, (departed - permit.sent_at > LATE_MS).then_some(departed))
}

/// The last moment before the first byte leaves: a permit that went stale meanwhile (SIGSTOP, suspend) must not be used,
/// since another worker may have given the call up.
fn departs(permit: Permit, clock: Clock, departed: Arc<AtomicI64>) -> impl FnOnce() -> Departure + Send + 'static {
    move || {
        if permit.is_stale() {
            return Departure::Stale;
        }
        departed.store(clock.now(), Ordering::Release);
        Departure::Go
    }
}

fn trouble_of(outcome: &Outcome) -> Option<&Trouble> {
    match outcome {
        Outcome::Refused { trouble, .. } => Some(trouble),
        Outcome::NotSent(t) | Outcome::Unknown(t) | Outcome::Unusable(t) => Some(t),
        Outcome::Answered(_) | Outcome::Stale => None,
    }
}

/// The outcome as the journal takes it.
fn end_of(work: &Work<'_>, outcome: &Outcome, recording: &Recording) -> End {
    let counts = retry::counts_as_try(outcome);
    match outcome {
        Outcome::Answered(answer) => {
            let heard = Transcript::parse(&answer.body).ok().and_then(|t| t.duration_ms);
            let audio_ms = heard.or(recording.audio_ms());
            End::Answered {
                body: answer.body.clone(),
                from_log: false,
                request_id: answer.request_id.clone(),
                content_expiry: answer.content_expiry.clone(),
                audio_ms,
                cost: audio_ms.map(|ms| work.shared.config.rates.cost(work.options.model, ms).0),
            }
        }
        Outcome::Refused { trouble, retry_after } => {
            let effect = match trouble.kind {
                ErrorKind::RateLimited => PoolEffect::Limited(*retry_after),
                ErrorKind::ServerError => PoolEffect::Failed(false),
                ErrorKind::Unauthorized
                | ErrorKind::Forbidden
                | ErrorKind::PaymentRequired
                | ErrorKind::QuotaExhausted => PoolEffect::None,
                _ => PoolEffect::Clean,
            };
            End::Rejected { trouble: Some(trouble.clone()), effect, counts }
        }
        Outcome::NotSent(trouble) => {
            let ours = trouble.kind == ErrorKind::Unreachable;
            let effect = if ours { PoolEffect::Failed(true) } else { PoolEffect::None };
            End::Rejected { trouble: Some(trouble.clone()), effect, counts }
        }
        Outcome::Stale => End::Rejected { trouble: None, effect: PoolEffect::None, counts },
        Outcome::Unknown(trouble) => End::Unknown {
            trouble: trouble.clone(),
            // Only our own time-out leaves the vendor at work; a broken connection ends its request.
            keeps_slot: trouble.kind == ErrorKind::TimedOut,
            effect: match trouble.kind {
                ErrorKind::Gateway | ErrorKind::ConnectionLost => PoolEffect::Failed(false),
                _ => PoolEffect::None,
            },
        },
        Outcome::Unusable(trouble) => End::Unusable { trouble: trouble.clone() },
    }
}

/// What follows from a trouble; `None` = ask for another permit.
async fn after(work: &mut Work<'_>, trouble: &Trouble, reply: &EndReply) -> Result<Option<Next>, StoreError> {
    if let Some(next) = outage(work, trouble, reply).await? {
        return Ok(Some(next));
    }
    if reply.state == CallState::Sent {
        // Its outcome is unknown: the log is the first to be asked.
        return Ok(Some(Next::Look));
    }
    let mut used = work.used();
    let source_try =
        matches!(trouble.kind, ErrorKind::SourceChanged | ErrorKind::SourceTimedOut | ErrorKind::SourceUnavailable);
    if source_try {
        used.tries += 1;
    }
    let max_tries = work.batch.spec.run.max_tries;
    let verdict = retry::verdict(trouble, Used { tries: used.tries, ..used }, max_tries, jitter());
    Ok(match verdict {
        Verdict::Again => None,
        Verdict::Later(wait) => {
            let due_at = work.now() + i64::try_from(wait).unwrap_or(30_000);
            Some(Next::Leave(To::Queued { due_at, call: Some(work.pool), source_try }))
        }
        Verdict::Fail => Some(Work::fail(trouble.kind, told(trouble))),
        Verdict::Pause(kind) => {
            work.shared.pause(work.batch.id, kind, &told(trouble)).await?;
            Some(work.put_back(work.now()))
        }
    })
}

/// A trouble in one line, with the id that the vendor's support asks for.
fn told(trouble: &Trouble) -> String {
    match &trouble.request_id {
        Some(id) if !trouble.message.contains(id.as_str()) => format!("{} (request id {id})", trouble.message),
        _ => trouble.message.clone(),
    }
}

/// Pauses the batch when the API has been out of reach, or has answered nothing but 429, for too long.
async fn outage(work: &Work<'_>, trouble: &Trouble, reply: &EndReply) -> Result<Option<Next>, StoreError> {
    let limit = i64::try_from(work.batch.spec.run.outage_limit.as_millis()).unwrap_or(i64::MAX);
    let now = work.now();
    let reason = if reply.outage_since.is_some_and(|t| now - t >= limit) {
        format!("the API has been out of reach for {} min: {}", limit / 60_000, trouble.message)
    } else if reply.only_limited_since.is_some_and(|t| now - t >= limit) {
        format!("the API has answered nothing but 429 for {} min: {}", limit / 60_000, trouble.message)
    } else {
        return Ok(None);
    };
    work.shared.pause(work.batch.id, PauseKind::Outage, &reason).await?;
    Ok(Some(work.put_back(now)))
}

/// What an outage means for a line whose last call may have been billed.
enum Probe {
    /// There is no outage.
    Needless,
    /// The log answers: this line may call, alone, and its answer says whether the outage is over.
    Reached,
    /// It is not its turn, or the log does not answer either.
    Wait(Next),
}

/// In an outage a line whose last call may have been billed probes last, and not by calling: reading the log comes first.
async fn probe_by_log(work: &Work<'_>, call: CallId) -> Result<Probe, StoreError> {
    let shared = work.shared;
    let account = shared.config.account.clone();
    let Some((mine, since, probe_at)) = shared.store.take_probe(account.clone(), work.pool, call).await? else {
        return Ok(Probe::Needless);
    };
    let mut again_at = probe_at;
    if mine {
        if shared.log.answers().await {
            return Ok(Probe::Reached);
        }
        shared.store.probe_failed(account, work.pool).await?;
        let limit = i64::try_from(work.batch.spec.run.outage_limit.as_millis()).unwrap_or(i64::MAX);
        if work.now() - since >= limit {
            let reason = format!("the API has been out of reach for {} min", limit / 60_000);
            shared.pause(work.batch.id, PauseKind::Outage, &reason).await?;
        }
        again_at = work.now() + 1_000;
    }
    Ok(Probe::Wait(work.put_back(again_at.max(work.now() + 200))))
}

/// Why the batch must stop after this answer: its content was to expire, and does not.
fn broken_promise(work: &Work<'_>, outcome: &Outcome) -> Option<(PauseKind, String)> {
    let Outcome::Answered(answer) = outcome else { return None };
    if !breaks_expiry(work.options.expire_content, answer.content_expiry.as_deref()) {
        return None;
    }
    let said = answer.content_expiry.as_deref().unwrap_or("nothing");
    let told = format!(
        "expire_content = true, and the API says `{said}` instead of `applied` ({}); expire_content = \"try\" goes on all the same",
        ErrorKind::ExpiryNotApplied
    );
    Some((PauseKind::Expiry, told))
}

/// Whether an answer breaks the promise that its content expires.
fn breaks_expiry(policy: ExpireContent, answered: Option<&str>) -> bool {
    policy == ExpireContent::Required && answered != Some("applied")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_two_minutes_and_the_audios_length() {
        assert_eq!(timeout(None, Some(30_000)), Duration::from_secs(150));
        assert_eq!(timeout(None, Some(3_600_000)), Duration::from_secs(900));
        assert_eq!(timeout(None, None), Duration::from_secs(900));
        assert_eq!(timeout(Some(Duration::from_secs(7)), Some(30_000)), Duration::from_secs(7));
    }

    #[test]
    fn only_applied_keeps_the_promise_of_expiry() {
        assert!(!breaks_expiry(ExpireContent::Required, Some("applied")));
        assert!(breaks_expiry(ExpireContent::Required, Some("not-entitled")));
        assert!(breaks_expiry(ExpireContent::Required, None));
        assert!(!breaks_expiry(ExpireContent::Try, None));
    }
}
