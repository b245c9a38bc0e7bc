//! Permits: the intent of a call, committed before its first byte leaves. One transaction checks the fence, the pool's
//! calls in flight, its rate, its cooldown, the batch's money, and that of the account's day and month (`look`).

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::store::{Claimed, Purchase, StoreError, calls::said::Said, calls::uploads::Upload};
use crate::{
    clock::{Clock, Millis},
    domain::{
        identity::{ContentHash, SeenFile},
        job::{BatchId, CallId, JobId, RequestFingerprint, Token, Why},
        pool::{Limits, Pool},
        spend::{SpendRule, SpendUse},
    },
};

/// A worker's request for a permit.
#[derive(Debug)]
pub struct PermitRequest {
    /// The job.
    pub job: JobId,
    /// Its lease.
    pub token: Token,
    /// Its batch.
    pub batch: BatchId,
    /// Which part of the job.
    pub part: i64,
    /// The account: a hash of base URL and key.
    pub account: String,
    /// The pool.
    pub pool: Pool,
    /// The pool's limits as this process knows them.
    pub limits: Limits,
    /// How many calls of its definition may begin in a minute, where that is less than the pool's limit.
    pub own_rate: Option<u32>,
    /// What the account may spend in a day and in a month, as this process knows it.
    pub spend: Option<Arc<SpendRule>>,
    /// Why the call is made.
    pub why: Why,
    /// An open call to give up in the same transaction.
    pub replaces: Option<CallId>,
    /// In an outage, the vendor's log has just answered for this line: it may probe although its last call has an unknown
    /// outcome.
    pub probes: bool,
    /// What the call buys.
    pub buys: Purchase,
    /// The recording that is uploaded, if one is.
    pub upload: Option<Upload>,
    /// The content of the local recording, and its file's metadata. It is on disk with the intent, so that a killed
    /// process leaves no answer whose recording is unknown.
    pub content: Option<(SeenFile, ContentHash)>,
    /// How long the worker waits for the answer, in ms.
    pub timeout_ms: i64,
    /// How long the vendor may work on the call after this process died, in ms.
    pub grace_ms: i64,
    /// Its answer comes as a callback, and is overdue so many ms after its intent.
    pub overdue_after: Option<i64>,
    /// The vendor's newest log entry known before the call.
    pub log_cursor: Option<String>,
    /// What the vendor's log would show of the call.
    pub request: RequestFingerprint,
    /// Receives the verdict; filled in by [`Store::permit`](crate::store::Store::permit).
    pub reply: Option<oneshot::Sender<Result<Result<Permit, Denial>, StoreError>>>,
}

/// The right to make one call, now.
#[derive(Debug, Clone)]
pub struct Permit {
    /// The call, on disk as `sent`.
    pub call: CallId,
    /// When its intent was committed.
    pub sent_at: Millis,
    /// Bytes of padding that make the upload's size unique.
    pub padding: u32,
    /// Messages about spend limits that this call has brought close.
    pub close_limits: Vec<String>,
    pub(in crate::store) good_until: Millis,
    /// The end of the day or month whose spend limit it was checked against, on the wall clock.
    pub(in crate::store) spent_until: Millis,
    pub(in crate::store) clock: Clock,
}

impl Permit {
    /// Whether it is too late to send. Another worker may have given the call up by now, judged by the clock that counts
    /// suspend; or another day's or month's spend limit applies. Checked when the body is first polled.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.clock.boot() > self.good_until || self.clock.now() >= self.spent_until
    }
}

/// Why there is no permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// Another worker has the job.
    LeaseLost,
    /// The line of the job wants another voice, format or language now.
    Dropped,
    /// The part has an answer.
    AlreadyAnswered,
    /// The part has an open call (or the one to give up is no longer open).
    OpenCall,
    /// The batch makes no new calls.
    BatchPaused,
    /// The window of its batch is closed, and this process enforces windows.
    WindowClosed,
    /// The call would exceed `max_spend_usd`.
    SpendLimit,
    /// The call would exceed what the account may spend in a day or a month.
    SpendPeriod {
        /// The limit.
        limit: SpendUse,
        /// What the call may cost, in micro-USD.
        reserve: i64,
    },
    /// Another part, of this job or of another, buys the same clip now.
    SameClipOpen {
        /// Its call, whose end wakes a job that settles as [`crate::store::To::Waiting`].
        call: CallId,
        /// Until when the call belongs to its own job; `None`: it belongs to no worker any more, and this ask's worker
        /// may reconcile and replace it.
        until: Option<Millis>,
    },
    /// A call of unknown outcome for the same clip is in manual review: nobody buys the clip until the user's `retry`.
    ClipInManualReview,
    /// The same clip was bought since the last look at the audio cache: it is there now.
    SameClipKept {
        /// The call that was answered with it.
        call: CallId,
    },
    /// The ledger cannot store what this ask would write. Only this ask is at fault.
    Refused(String),
}

pub(in crate::store) type PermitResult = Result<Permit, Denial>;

impl PermitRequest {
    /// The ask of a worker for its claimed job: the first call of its first part, without limits, whose worker waits for
    /// the answer.
    #[must_use]
    pub fn new(job: &Claimed, account: String, pool: Pool, buys: Purchase, request: RequestFingerprint) -> Self {
        Self {
            job: job.job,
            token: job.token,
            batch: job.batch,
            part: 0,
            account,
            pool,
            limits: Limits::default(),
            own_rate: None,
            spend: None,
            why: Why::First,
            replaces: None,
            probes: false,
            buys,
            upload: None,
            content: None,
            timeout_ms: 120_000,
            grace_ms: 10_000,
            overdue_after: None,
            log_cursor: None,
            request,
            reply: None,
        }
    }

    pub(in crate::store) fn is_abandoned(&self) -> bool {
        self.reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// The gate that this ask waits at. Each set of limits is a gate of its own.
    pub(in crate::store) fn gate(&self) -> (&str, Pool, Option<u32>, Option<u32>) {
        (&self.account, self.pool, self.limits.requests_per_minute, self.limits.concurrency)
    }
}

/// The result of a look at the waiting asks.
#[derive(Default)]
pub(in crate::store) struct Granted {
    /// Index in the waiting list, and the verdict.
    pub(in crate::store) verdicts: Vec<(usize, PermitResult)>,
    /// Whether some asks keep waiting, and until when (`None` inside: until a call ends).
    pub(in crate::store) wake: Option<Option<Millis>>,
    /// What was written about the asks that keep waiting, if that is something new.
    pub(in crate::store) said: Option<Said>,
}

impl Granted {
    pub(in crate::store) fn nothing(wake: Option<Option<Millis>>) -> Self {
        Self { wake, ..Self::default() }
    }

    /// Refuses the ask with this index, and no other.
    pub(in crate::store) fn refused(at: usize, error: &StoreError) -> Self {
        Self { verdicts: vec![(at, Err(Denial::Refused(error.reason())))], ..Self::default() }
    }

    /// Sends the verdicts, after the commit. Returns when to look again, and the unsent calls, whose workers are gone.
    pub(in crate::store) fn hand_out(self, waiting: &mut Vec<PermitRequest>) -> (Option<Option<Millis>>, Vec<CallId>) {
        let mut unsent = Vec::new();
        let mut verdicts = self.verdicts;
        verdicts.sort_unstable_by_key(|(i, _)| std::cmp::Reverse(*i));
        for (i, verdict) in verdicts {
            if let Some(reply) = waiting.remove(i).reply
                && let Err(Ok(Ok(permit))) = reply.send(Ok(verdict))
            {
                unsent.push(permit.call);
            }
        }
        (self.wake, unsent)
    }

    pub(in crate::store) fn look_again(&mut self, wake: Option<Millis>) {
        self.wake = Some(match self.wake {
            None => wake,
            Some(before) => [before, wake].into_iter().flatten().min(),
        });
    }
}

/// Answers the waiting asks with this error, unless waiting may help.
pub(in crate::store) fn refuse_if_final(waiting: &mut Vec<PermitRequest>, error: StoreError) {
    if error.is_passing() {
        return;
    }
    let mut error = Some(error);
    for ask in waiting.drain(..) {
        if let Some(reply) = ask.reply {
            let _ = reply.send(Err(error.take().unwrap_or(StoreError::Closed)));
        }
    }
}
