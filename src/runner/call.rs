//! One call of any kind: its permit, its request, its end in the journal, and what follows from that end.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use super::{
    events::{CallEnd, Event},
    job::{JobContext, Next, PartContext, jitter},
    shared::RunnerShared,
};
use crate::{
    crash,
    domain::{
        call::{CallFailure, ErrorKind, LogError, Outcome},
        identity::{ContentHash, SeenFile},
        job::{CallId, CallState, RequestFingerprint, Why},
        options::ExpireContent,
        pool::Limited,
        retry::{self, PauseKind, RetryDecision},
    },
    store::{Denial, End, EndReply, Ended, Permit, PermitRequest, PoolEffect, Purchase, Store, StoreError, To, Upload},
    waves::Departure,
};

/// The batch is paused after this many answers in a row whose content cannot be made to expire.
const MAX_EXPIRY_UNAVAILABLE: u32 = 3;
/// A call that leaves later than this gets a new start time: the rate is counted from when the vendor saw it.
const LATE_MS: i64 = 500;

/// What is called for a part.
pub trait Caller: Sync {
    /// An answer that is durable already, or that the journal can make durable.
    type Answer: Send;

    /// What the call pays for.
    fn buys(&self) -> Purchase;

    /// Its model, if no price is known for it.
    fn unpriced(&self) -> Option<&str>;

    /// What the vendor's log would show of the call, if there is a log.
    fn request_fingerprint(&self) -> RequestFingerprint;

    /// The newest known entry of the vendor's log, if the log lists these calls: the call's own entry will be newer.
    fn log_cursor(&self) -> Option<String> {
        None
    }

    /// The recording that it uploads, if any.
    fn upload(&self) -> Option<Upload> {
        None
    }

    /// The content hash of the local file that it sends, and how the file was found.
    fn content(&self) -> Option<(SeenFile, ContentHash)> {
        None
    }

    /// How long to wait for its answer.
    fn timeout(&self) -> Duration;

    /// How long the vendor may work on it after this process died, in ms.
    fn grace_ms(&self) -> i64;

    /// If the answer comes by callback: how long after the call's intent it is overdue, in ms.
    fn overdue_after(&self) -> Option<i64> {
        None
    }

    /// Sends the request.
    fn send(&self, permit: &Permit, departs: DepartureCheck) -> impl Future<Output = Outcome<Self::Answer>> + Send;

    /// An answer in the form that the journal stores.
    fn answered(&self, answer: &Self::Answer) -> End;

    /// What the answer says about its content's expiry, and what was requested.
    fn expiry<'a>(&self, answer: &'a Self::Answer) -> (ExpireContent, Option<&'a str>);

    /// Whether the API answers a request that costs nothing. If a log lists the calls, that request reads the log; otherwise it
    /// is a health check.
    fn reach(&self, on: JobContext<'_>) -> impl Future<Output = Reach> + Send {
        async move { Reach::of_health(on.client().health().await.err()) }
    }
}

/// The outcome of an attempt. The last three are for calls that buy something with a `cache_key`.
#[derive(Debug)]
pub enum Attempt<A> {
    /// The answer is on disk.
    Answered {
        /// The call.
        call: CallId,
        /// Its answer.
        answer: A,
        /// Time from its intent to its answer, in ms.
        processing_ms: i64,
    },
    /// Anything else.
    Next(Next),
    /// Another call is buying something with the same key.
    SameOpen {
        /// That call.
        call: CallId,
        /// Until when; `None`: nobody waits for that call any more.
        until: Option<i64>,
    },
    /// Something with the same key was bought in the meantime.
    SameKept,
    /// A call for the same key is in manual review.
    SameInManualReview,
}

/// Makes a call if one is allowed, and repeats while only permits stand in the way. `replaces`: an open call that is given up
/// together with the new call's intent.
///
/// # Errors
/// The ledger cannot be read or written.
pub async fn attempt<C: Caller>(
    part: &mut PartContext<'_>,
    caller: &C,
    why: Why,
    mut replaces: Option<CallId>,
) -> Result<Attempt<C::Answer>, StoreError> {
    if let Some(next) = unpriced(part, caller).await? {
        return Ok(Attempt::Next(next));
    }
    loop {
        let probe = match replaces {
            Some(call) => probe(part, caller, call).await?,
            None => Probe::Needless,
        };
        if let Probe::Wait(next) = probe {
            return Ok(Attempt::Next(next));
        }
        let probes = matches!(probe, Probe::Reached);
        let permit = match permit(part, caller, why, (replaces, probes)).await? {
            Ok(permit) => permit,
            Err(other) => return Ok(other),
        };
        crash::point("after-intent");
        // The call to be replaced is given up by now.
        replaces = None;
        if let Some(done) = send(part, caller, permit).await? {
            return Ok(done);
        }
    }
}

/// Pauses the batch if a spend limit cannot be enforced because the price of the call is unknown.
async fn unpriced<C: Caller>(part: &PartContext<'_>, caller: &C) -> Result<Option<Next>, StoreError> {
    let on = part.on;
    let limited = on.run().max_spend_usd.is_some() || on.config().rates.are_limited;
    let Some(model) = caller.unpriced().filter(|_| limited) else { return Ok(None) };
    let reason = format!(
        "the spend limit cannot be kept: the price of `{model}` is not known; write it into wavebatch.toml, under [rates]"
    );
    on.pause(PauseKind::SpendLimit, &reason).await?;
    Ok(Some(part.put_back(part.now())))
}

/// Makes the permitted call and records how it ended. `None`: ask for another permit.
async fn send<C: Caller>(
    part: &mut PartContext<'_>,
    caller: &C,
    permit: Permit,
) -> Result<Option<Attempt<C::Answer>>, StoreError> {
    let departs = DepartureCheck::new(permit.clone(), part.on.store().clone());
    let departed = Arc::clone(&departs.departed);
    let outcome = caller.send(&permit, departs).await;
    crash::point("after-request");
    let departed = departed.load(Ordering::Acquire);
    let departed_at = (departed - permit.sent_at > LATE_MS).then_some(departed);
    let reply = note_end(part, caller, (permit.call, departed_at), &outcome).await?;
    let failure = failure_of(&outcome).cloned();
    let failure = match outcome {
        // The job was cancelled or changed in the meantime: another line's outputs may be at its paths.
        Outcome::Answered(_) if !reply.worked => return Ok(Some(Attempt::Next(Next::Lost))),
        // Another call's answer came first, and that one counts.
        Outcome::Answered(_) if reply.state != CallState::Answered => return Ok(Some(Attempt::Next(Next::Look))),
        Outcome::Answered(answer) => {
            let processing_ms = part.now() - permit.sent_at;
            return Ok(Some(Attempt::Answered { call: permit.call, answer, processing_ms }));
        }
        // The next reader of the journal sees until when the answer is awaited, or that it has arrived.
        Outcome::Accepted { .. } => return Ok(Some(Attempt::Next(Next::Look))),
        Outcome::Stale => return Ok(None),
        _ => failure.expect("only an answer and a stale permit have none"),
    };
    tracing::info!(job.key = part.on.job().key, call.id = %permit.call, kind = %failure.kind, status = failure.status,
        request_id = failure.request_id, "call failed: {}", failure.message);
    part.reload().await?;
    // Otherwise the pool's cooldown does the waiting: the next permit comes when it is over.
    Ok(after(part, caller, permit.call, (&failure, &reply)).await?.map(Attempt::Next))
}

/// Records how a call ended, and emits the event.
async fn note_end<C: Caller>(
    part: &PartContext<'_>,
    caller: &C,
    (call, departed_at): (CallId, Option<i64>),
    outcome: &Outcome<C::Answer>,
) -> Result<EndReply, StoreError> {
    let on = part.on;
    let end = match outcome {
        Outcome::Answered(answer) => caller.answered(answer),
        failed => end_of_failed(failed),
    };
    let cost = match &end {
        End::Answered { cost, .. } => cost.unwrap_or(0),
        End::Synthesized { .. } => caller.buys().clip().map_or(0, |clip| clip.cost.0),
        _ => 0,
    };
    let pauses =
        if let Outcome::Answered(answer) = outcome { expiry_violation(on.shared, caller, answer) } else { None };
    let ended = Ended { call, departed_at, limits: part.limits(), end, pauses: pauses.clone() };
    let reply = on.store().end(ended).await?;
    crash::point("after-answer");
    if let Some((kind, reason)) = pauses {
        on.pause(kind, &reason).await?;
    }
    on.emit(Event::CallEnded { pool: part.pool, how: how(outcome), failure: failure_of(outcome).cloned(), cost });
    Ok(reply)
}

/// Waits for a permit to call. A drain ends the wait.
async fn permit<C: Caller>(
    part: &PartContext<'_>,
    caller: &C,
    why: Why,
    (replaces, probes): (Option<CallId>, bool),
) -> Result<Result<Permit, Attempt<C::Answer>>, StoreError> {
    let on = part.on;
    let ask = PermitRequest {
        part: part.part,
        limits: part.limits(),
        own_rate: part.own_rate(),
        spend: on.config().spend.clone(),
        why,
        replaces,
        probes,
        upload: caller.upload(),
        content: caller.content(),
        timeout_ms: i64::try_from(caller.timeout().as_millis()).unwrap_or(i64::MAX / 4),
        grace_ms: caller.grace_ms(),
        overdue_after: caller.overdue_after(),
        log_cursor: caller.log_cursor(),
        ..PermitRequest::new(
            on.job(),
            on.config().account.clone(),
            part.pool,
            caller.buys(),
            caller.request_fingerprint(),
        )
    };
    let verdict = tokio::select! {
        biased;
        verdict = on.store().permit(ask) => verdict?,
        () = on.drain().cancelled() => return Ok(Err(Attempt::Next(part.put_back(part.now())))),
    };
    Ok(match verdict {
        Ok(permit) => {
            on.emit(Event::CallStarted { pool: part.pool });
            permit.close_limits.iter().for_each(|words| on.emit(Event::Warning(words.clone())));
            Ok(permit)
        }
        Err(Denial::LeaseLost) => Err(Attempt::Next(Next::Lost)),
        Err(Denial::AlreadyAnswered | Denial::OpenCall) => Err(Attempt::Next(Next::Look)),
        Err(Denial::SameClipOpen { call, until }) => Err(Attempt::SameOpen { call, until }),
        Err(Denial::SameClipKept { .. }) => Err(Attempt::SameKept),
        Err(Denial::ClipInManualReview) => Err(Attempt::SameInManualReview),
        Err(Denial::BatchPaused | Denial::WindowClosed | Denial::Dropped) => {
            Err(Attempt::Next(part.put_back(part.now())))
        }
        Err(Denial::Refused(reason)) => Err(Attempt::Next(Next::fail(ErrorKind::LedgerRefused, reason))),
        Err(Denial::SpendLimit) => {
            let reason = "another call could pass max_spend_usd; raise it to go on";
            on.pause(PauseKind::SpendLimit, reason).await?;
            Err(Attempt::Next(part.put_back(part.now())))
        }
        Err(Denial::SpendPeriod { limit, reserve }) => {
            on.shared.pause_for_spend(on.batch.id, &limit, reserve).await?;
            Err(Attempt::Next(part.put_back(part.now())))
        }
    })
}

/// The last check before the first byte leaves: a permit that went stale in the meantime (SIGSTOP, suspend) must not be used,
/// since another worker may have given the call up.
#[derive(Debug)]
pub struct DepartureCheck {
    permit: Permit,
    store: Store,
    departed: Arc<AtomicI64>,
}

impl DepartureCheck {
    fn new(permit: Permit, store: Store) -> Self {
        Self { permit, store, departed: Arc::default() }
    }

    /// Called when the first byte is about to leave: whether it may.
    #[must_use]
    pub fn asked(self) -> Departure {
        // Taken before the check: if the check says that it is not too late, this moment is not too late either.
        let now = self.store.clock().now();
        if self.permit.is_stale() {
            return Departure::Stale;
        }
        self.departed.store(now, Ordering::Release);
        if now - self.permit.sent_at > LATE_MS {
            // Immediately, not at the call's end: until then the rate would be counted from too early.
            let (store, call) = (self.store, self.permit.call);
            tokio::spawn(async move {
                if let Err(error) = store.note_departure(call).await {
                    tracing::debug!(call.id = %call, error = %error, "a late departure was not noted");
                }
            });
        }
        Departure::Go
    }
}

fn failure_of<A>(outcome: &Outcome<A>) -> Option<&CallFailure> {
    match outcome {
        Outcome::Refused(t)
        | Outcome::NotSent(t)
        | Outcome::Unknown(t)
        | Outcome::Unusable(t)
        | Outcome::TooLarge { failure: t, .. } => Some(t),
        Outcome::Answered(_) | Outcome::Accepted { .. } | Outcome::Stale => None,
    }
}

const fn how<A>(outcome: &Outcome<A>) -> CallEnd {
    match outcome {
        Outcome::Answered(_) => CallEnd::Answered,
        Outcome::Accepted { .. } => CallEnd::Accepted,
        Outcome::Stale => CallEnd::Unsent,
        Outcome::Refused(_)
        | Outcome::NotSent(_)
        | Outcome::Unknown(_)
        | Outcome::Unusable(_)
        | Outcome::TooLarge { .. } => CallEnd::Failed,
    }
}

/// An outcome without an answer, in the form that the journal stores.
fn end_of_failed<A>(outcome: &Outcome<A>) -> End {
    let counts = retry::counts_as_try(outcome);
    match outcome {
        Outcome::Refused(failure) => {
            let effect = match failure.kind {
                ErrorKind::RateLimited => PoolEffect::Limited(failure.retry_after),
                ErrorKind::ServerError => failed(false, failure),
                ErrorKind::Unauthorized
                | ErrorKind::Forbidden
                | ErrorKind::PaymentRequired
                | ErrorKind::LanguageNotEnabled
                | ErrorKind::ModelRetired
                | ErrorKind::QuotaExhausted => PoolEffect::None,
                _ => PoolEffect::Clean,
            };
            End::Rejected { failure: Some(failure.clone()), effect, counts }
        }
        Outcome::NotSent(failure) => {
            let ours = failure.kind == ErrorKind::Unreachable;
            let effect = if ours { failed(true, failure) } else { PoolEffect::None };
            End::Rejected { failure: Some(failure.clone()), effect, counts }
        }
        Outcome::Accepted { request_id } => End::Accepted { request_id: request_id.clone() },
        Outcome::Answered(_) | Outcome::Stale => End::Rejected { failure: None, effect: PoolEffect::None, counts },
        Outcome::Unknown(failure) => End::Unknown {
            failure: failure.clone(),
            // Only our own time-out leaves the vendor working; a broken connection ends its request.
            keeps_slot: failure.kind == ErrorKind::TimedOut,
            effect: match failure.kind {
                ErrorKind::Gateway | ErrorKind::ConnectionLost => failed(false, failure),
                _ => PoolEffect::None,
            },
        },
        Outcome::Unusable(failure) => End::Unusable { failure: failure.clone() },
        Outcome::TooLarge { failure, body } => End::TooLarge { failure: failure.clone(), body: body.clone() },
    }
}

/// What a failure means for its pool. `ours` = nothing was sent.
const fn failed(ours: bool, failure: &CallFailure) -> PoolEffect {
    PoolEffect::Failed { ours, retry_after: failure.retry_after }
}

/// What follows from the failure of a call; `None` = ask for another permit.
async fn after<C: Caller>(
    part: &mut PartContext<'_>,
    caller: &C,
    call: CallId,
    (failure, reply): (&CallFailure, &EndReply),
) -> Result<Option<Next>, StoreError> {
    if let Some(next) = outage(part, failure, reply).await? {
        return Ok(Some(next));
    }
    let mut probe_at = reply.outage.map(|(_, probe_at)| probe_at);
    // No other line shows whether the API works, so a free request does.
    if reply.in_doubt && caller.reach(part.on).await == Reach::Out {
        let (account, asked) = (part.on.config().account.clone(), failure.retry_after);
        probe_at = Some(part.on.store().out_of_reach(account, part.pool, call, asked).await?);
        tracing::warn!(pool = %part.pool, "the API is out of reach; it is probed until it answers, and no line uses up a try");
        part.reload().await?;
    }
    if reply.state == CallState::Sent {
        // The outcome is unknown: the log is asked first. No other call is made before `not_before`.
        part.not_before = failure.retry_after.map_or(0, |asked| part.now() + retry::asked_ms(asked));
        return Ok(Some(Next::Look));
    }
    if let (ErrorKind::ServerError | ErrorKind::Unreachable, Some(probe_at)) = (failure.kind, probe_at) {
        return Ok(Some(part.put_back(probe_at.max(part.now()))));
    }
    try_again(part, failure, reply.limited == Some(Limited::Isolated)).await
}

/// Tries again, as far as the part has tries left. `isolated`: its 429 concerns its line alone.
async fn try_again(part: &PartContext<'_>, failure: &CallFailure, isolated: bool) -> Result<Option<Next>, StoreError> {
    let mut used = part.used();
    if isolated {
        used.limited = part.journal.consecutive_429s();
    }
    let source_try =
        matches!(failure.kind, ErrorKind::SourceChanged | ErrorKind::SourceTimedOut | ErrorKind::SourceUnavailable);
    if source_try {
        used.tries += 1;
    }
    let verdict = retry::verdict(failure, used, part.on.run().max_tries, jitter());
    Ok(match verdict {
        RetryDecision::Again => None,
        RetryDecision::Later(wait) => {
            let due_at = part.now() + i64::try_from(wait).unwrap_or(30_000);
            Some(Next::Leave(To::Queued { due_at, call: Some(part.pool), source_try }))
        }
        RetryDecision::Fail => Some(Next::fail(failure.kind, message(failure))),
        RetryDecision::Pause(kind) => {
            part.on.pause(kind, &message(failure)).await?;
            Some(part.put_back(part.now()))
        }
    })
}

/// A failure in one line, with the id that the vendor's support needs.
fn message(failure: &CallFailure) -> String {
    match &failure.request_id {
        Some(id) if !failure.message.contains(id.as_str()) => format!("{} (request id {id})", failure.message),
        _ => failure.message.clone(),
    }
}

/// Pauses the batch if the API has been unreachable, or has answered only 429, for too long.
async fn outage(part: &PartContext<'_>, failure: &CallFailure, reply: &EndReply) -> Result<Option<Next>, StoreError> {
    let (limit, now) = (part.on.outage_limit_ms(), part.now());
    let reason = if reply.outage.is_some_and(|(since, _)| now - since >= limit) {
        format!("{}: {}", out_of_reach(part, limit), failure.message)
    } else if reply.only_limited_since.is_some_and(|t| now - t >= limit) {
        format!("the API has answered nothing but 429 for {} min: {}", limit / 60_000, failure.message)
    } else {
        return Ok(None);
    };
    part.on.pause(PauseKind::Outage, &reason).await?;
    Ok(Some(part.put_back(now)))
}

fn out_of_reach(part: &PartContext<'_>, limit: i64) -> String {
    format!("the API at {} has been out of reach for {} min", part.on.client().host(), limit / 60_000)
}

/// What an outage means for a line whose last call may have been billed.
enum Probe {
    /// There is no outage.
    Needless,
    /// The API answers a free request: this line may call, alone, and its answer shows whether the outage is over.
    Reached,
    /// It is not this line's turn, or the free request is not answered either.
    Wait(Next),
}

/// In an outage, a line whose last call may have been billed probes last, and starts with a free request instead of a call.
async fn probe<C: Caller>(part: &PartContext<'_>, caller: &C, call: CallId) -> Result<Probe, StoreError> {
    let on = part.on;
    let account = on.config().account.clone();
    let Some((mine, since, probe_at)) = on.store().take_probe(account.clone(), part.pool, call).await? else {
        return Ok(Probe::Needless);
    };
    let mut again_at = probe_at;
    if mine {
        match caller.reach(on).await {
            Reach::Within => return Ok(Probe::Reached),
            // The vendor was not asked: this says nothing about its outage.
            Reach::Unasked(message) => return Ok(Probe::Wait(part.put_back(on.wait_for_machine(&message)))),
            Reach::Out => {}
        }
        on.store().probe_failed(account, part.pool).await?;
        let limit = on.outage_limit_ms();
        if part.now() - since >= limit {
            on.pause(PauseKind::Outage, &out_of_reach(part, limit)).await?;
        }
        again_at = part.now() + 1_000;
    }
    Ok(Probe::Wait(part.put_back(again_at.max(part.now() + 200))))
}

/// Whether the API answers a free request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// It answers, even if only with a refusal.
    Within,
    /// It does not.
    Out,
    /// It was not asked: this machine lacks the resources for it.
    Unasked(String),
}

impl Reach {
    /// Reads the outcome of a health check; no failure is the API's own `ok`.
    fn of_health(failure: Option<CallFailure>) -> Self {
        match failure {
            None => Self::Within,
            Some(failure) if failure.kind == ErrorKind::LocalOutage => Self::Unasked(failure.message),
            Some(failure) if failure.status.is_none_or(|status| status >= 500) => Self::Out,
            Some(_) => Self::Within,
        }
    }

    /// Reads the outcome of a request for the log.
    #[must_use]
    pub fn of_log(error: Option<LogError>) -> Self {
        match error {
            None | Some(LogError::Absent(_)) => Self::Within,
            Some(LogError::Unreachable(_)) => Self::Out,
            Some(LogError::Unasked(message)) => Self::Unasked(message),
        }
    }
}

/// Why the batch must stop after this answer: its content should expire and does not.
fn expiry_violation<C: Caller>(shared: &RunnerShared, caller: &C, answer: &C::Answer) -> Option<(PauseKind, String)> {
    let (policy, answered) = caller.expiry(answer);
    if !violates_expiry(policy, answered, &shared.expiry_unavailable) {
        return None;
    }
    let said = answered.unwrap_or("nothing");
    let message = format!(
        "expire_content = true, and the API says `{said}` instead of `applied` ({}); expire_content = \"try\" goes on all the same",
        ErrorKind::ExpiryNotApplied
    );
    Some((PauseKind::Expiry, message))
}

/// Whether an answer breaks the promise that its content expires. The vendor says that `unavailable` is temporary: the next
/// calls request expiry again, and only too many in a row break the promise.
fn violates_expiry(policy: ExpireContent, answered: Option<&str>, unavailable: &AtomicU32) -> bool {
    match answered {
        _ if policy != ExpireContent::Required => false,
        Some("applied") => {
            unavailable.store(0, Ordering::Relaxed);
            false
        }
        Some("unavailable") => unavailable.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_EXPIRY_UNAVAILABLE,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_applied_keeps_the_promise_of_expiry() {
        let count = AtomicU32::new(0);
        let breaks = |policy, said| violates_expiry(policy, said, &count);
        assert!(!breaks(ExpireContent::Required, Some("applied")));
        assert!(breaks(ExpireContent::Required, Some("not-entitled")));
        assert!(breaks(ExpireContent::Required, None));
        assert!(!breaks(ExpireContent::Try, None));
        let unavailable = || breaks(ExpireContent::Required, Some("unavailable"));
        assert_eq!([unavailable(), unavailable(), unavailable(), unavailable()], [false, false, true, true]);
        assert!(!breaks(ExpireContent::Required, Some("applied")), "it is available again");
        assert!(!unavailable() && !breaks(ExpireContent::Try, Some("unavailable")));
    }

    #[test]
    fn what_this_machine_lacks_is_no_outage_of_the_vendors() {
        let failure = |kind, status| Some(CallFailure { status, ..CallFailure::new(kind, "told") });
        assert_eq!(Reach::of_health(None), Reach::Within);
        assert_eq!(Reach::of_health(failure(ErrorKind::ServerError, Some(429))), Reach::Within);
        assert_eq!(Reach::of_health(failure(ErrorKind::ServerError, Some(503))), Reach::Out);
        assert_eq!(Reach::of_health(failure(ErrorKind::Unreachable, None)), Reach::Out);
        assert_eq!(Reach::of_health(failure(ErrorKind::TimedOut, None)), Reach::Out);
        assert_eq!(Reach::of_health(failure(ErrorKind::LocalOutage, None)), Reach::Unasked("told".into()));
        assert_eq!(Reach::of_log(None), Reach::Within);
        assert_eq!(Reach::of_log(Some(LogError::Absent("401".into()))), Reach::Within);
        assert_eq!(Reach::of_log(Some(LogError::Unreachable("503".into()))), Reach::Out);
        assert_eq!(Reach::of_log(Some(LogError::Unasked("told".into()))), Reach::Unasked("told".into()));
    }
}
