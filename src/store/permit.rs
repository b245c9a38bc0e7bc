//! Permits: the intent of a call, committed before its first byte leaves. One transaction holds the fence, the pool's
//! calls in flight, its rate, its cooldown and the batch's money.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering,
};

use serde_json::json;
use sqlx::SqliteConnection;
use tokio::sync::oneshot;

use super::{
    Purchase, Shared, Store, StoreError,
    fence::{Fence, Money, batches, fences, traffic},
    rows,
    sounds::{self, SoundFence},
    writer,
};
use crate::{
    clock::{self, Millis},
    domain::{
        job::{BatchId, CallId, JobId, Token, Trace, Why},
        pool::{Bound, Gate, Limits, Pool},
    },
};

/// What a worker asks for.
#[derive(Debug)]
pub struct PermitAsk {
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
    /// The pool's limits as this process has them.
    pub limits: Limits,
    /// Why the call is made.
    pub why: Why,
    /// An open call to give up in the same transaction.
    pub replaces: Option<CallId>,
    /// In an outage, the vendor's log has just answered for this line: it may probe though its last call has an unknown
    /// outcome.
    pub probes: bool,
    /// What it buys.
    pub buys: Purchase,
    /// Its answer is posted to us, and overdue so many ms after its intent.
    pub overdue_after: Option<i64>,
    /// The vendor's newest log entry known before the call.
    pub mark: Option<String>,
    /// What the vendor's log would show.
    pub trace: Trace,
    /// Where the verdict goes; filled in by [`Store::permit`].
    pub reply: Option<oneshot::Sender<Result<Result<Permit, Denial>, StoreError>>>,
}

/// The right to make one call, now.
#[derive(Debug, Clone)]
pub struct Permit {
    /// The call, on disk as `sent`.
    pub call: CallId,
    /// When its intent was committed.
    pub sent_at: Millis,
    good_until: Millis,
}

impl Permit {
    /// Whether it is too late to send: another worker may have given the call up by now. Checked when the body is first
    /// polled, by the clock that counts suspend.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        clock::boot_ms() > self.good_until
    }
}

/// Why there is no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// Somebody else has the job.
    LeaseLost,
    /// The part has an answer.
    AlreadyAnswered,
    /// The part has an open call (or the one to give up is no longer open).
    OpenCall,
    /// No new calls for this batch.
    BatchPaused,
    /// Its batch's window is closed, and this process heeds that.
    WindowClosed,
    /// It would pass `max_spend_usd`.
    SpendLimit,
    /// Another part, of this job or of another, buys the same sound now.
    SameSoundOpen {
        /// Its call: a job that settles as [`super::To::Waiting`] is woken by the end of it.
        call: CallId,
        /// Until when it is its own job's; `None`: nobody's any more, and this ask's worker may reconcile it, and have it
        /// replaced.
        until: Option<Millis>,
    },
    /// A call of unknown outcome for the same sound is parked: nobody buys it until the user's `retry`.
    SoundParked,
    /// The same sound was bought since the spool was looked at: it is there now.
    SameSoundKept {
        /// The call that it answered.
        call: CallId,
    },
}

impl PermitAsk {
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.as_ref().is_none_or(writer::is_abandoned)
    }
}

impl Store {
    /// Waits for a permit: until the pool has room, or the call must not be made.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn permit(&self, mut ask: PermitAsk) -> Result<Result<Permit, Denial>, StoreError> {
        let (reply, answer) = oneshot::channel();
        ask.reply = Some(reply);
        self.commands.send(writer::Command::Permit(Box::new(ask))).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

/// What a look at the waiting asks gave.
#[derive(Default)]
pub(super) struct Granted {
    /// Place in the waiting list, and the verdict.
    verdicts: Vec<(usize, Result<Permit, Denial>)>,
    /// Whether asks wait on, and until when (`None` inside: until something ends).
    pub(super) wake: Option<Option<Millis>>,
}

impl Granted {
    pub(super) fn nothing(wake: Option<Option<Millis>>) -> Self {
        Self { verdicts: Vec::new(), wake }
    }

    /// After the commit. Returns when to look again, and the calls whose workers are gone: they were never sent.
    pub(super) fn hand_out(self, waiting: &mut Vec<PermitAsk>) -> (Option<Option<Millis>>, Vec<CallId>) {
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
}

/// A ledger that cannot be written is told to those who wait, unless waiting helps.
pub(super) fn refuse_if_final(waiting: &mut Vec<PermitAsk>, error: StoreError) {
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

pub(super) async fn grant(
    conn: &mut SqliteConnection,
    shared: &Shared,
    waiting: &[PermitAsk],
    now: Millis,
) -> Result<Granted, StoreError> {
    let mut granted = Granted::default();
    if shared.process.load(Ordering::Acquire) == 0 {
        return Ok(granted);
    }
    let mut money = batches(conn, shared, waiting, now).await?;
    // A definition may have lowered the limits for its own calls: each set of limits is a gate of its own.
    let place = |a: &PermitAsk| (a.account.clone(), a.pool, a.limits.requests_per_minute, a.limits.concurrency);
    let mut places: Vec<_> = waiting.iter().map(place).collect();
    places.sort_unstable();
    places.dedup();
    for gate in places {
        let asks: Vec<(usize, &PermitAsk)> = waiting.iter().enumerate().filter(|(_, a)| place(a) == gate).collect();
        let (account, pool) = (gate.0.as_str(), gate.1);
        let wake = grant_pool(conn, shared, (account, pool), &asks, &mut money, &mut granted, now).await?;
        if let Some(wake) = wake {
            granted.wake = Some(match granted.wake {
                None => wake,
                Some(before) => [before, wake].into_iter().flatten().min(),
            });
        }
    }
    Ok(granted)
}

/// Grants what one pool has room for. Returns when to look again, if any ask waits on.
async fn grant_pool(
    conn: &mut SqliteConnection,
    shared: &Shared,
    (account, pool): (&str, Pool),
    asks: &[(usize, &PermitAsk)],
    money: &mut HashMap<i64, Money>,
    granted: &mut Granted,
    now: Millis,
) -> Result<Option<Option<Millis>>, StoreError> {
    let mut state = rows::pool_state(conn, account, pool).await?;
    let limits = asks[0].1.limits;
    let traffic = traffic(conn, account, pool, &state.effective(&limits, now), now).await?;
    let gate = state.gate(&limits, &traffic, now);
    let (mut room, until) = match gate {
        Gate::Open(n) => (n, None),
        Gate::Shut { until, .. } => (0, until),
    };
    let probing = state.outage_since.is_some();
    // The log took this probe's turn, and the call is its second half.
    let second_half = matches!(gate, Gate::Shut { until: Some(_), bound: Bound::Outage });
    if second_half && asks.iter().any(|(_, ask)| ask.probes) {
        room = 1;
    }
    let fences = fences(conn, asks.iter().map(|(_, a)| *a)).await?;
    let sounds = sounds::fences(conn, asks.iter().map(|(_, a)| *a), now).await?;
    let mut begun = HashMap::new();
    let mut parts = HashSet::new();
    let mut intents = Vec::new();
    let mut left = false;
    for ((i, ask), sound) in asks.iter().zip(&sounds) {
        let batch =
            money.get_mut(&ask.batch.0).ok_or_else(|| StoreError::Unexpected("a job without its batch".into()))?;
        if let Some(denial) = denied(ask, fences.get(&(ask.job.0, ask.part)), sound, batch, now) {
            granted.verdicts.push((*i, Err(denial)));
            continue;
        }
        // Asked for twice at once: neither sees the other's call yet.
        if parts.contains(&(ask.job, ask.part)) {
            granted.verdicts.push((*i, Err(Denial::OpenCall)));
            continue;
        }
        let sound = ask.buys.sound().map(|sound| sound.fingerprint);
        if let Some(call) = sound.and_then(|sound| begun.get(&sound).copied()) {
            let until = Some(now + shared.timing.lease_ms);
            granted.verdicts.push((*i, Err(Denial::SameSoundOpen { call, until })));
            continue;
        }
        // In an outage a line whose last call may have been billed waits: a probe must cost nothing.
        let may_probe = !probing || ask.probes || (!second_half && ask.why != Why::Unknown && ask.replaces.is_none());
        if room == 0 || !may_probe || batch.concurrency.is_some_and(|c| batch.in_flight >= c) {
            left = true;
            continue;
        }
        let estimate = ask.buys.estimate(batch.longest_ms);
        if batch.max.is_some_and(|max| batch.spent + batch.reserved + estimate > max) {
            // What is under way may turn out cheaper. A call of unknown outcome will not, and may be the one to replace.
            if batch.in_flight > 0 || batch.awaits {
                left = true;
            } else {
                granted.verdicts.push((*i, Err(Denial::SpendLimit)));
            }
            continue;
        }
        room -= 1;
        batch.reserved += estimate;
        batch.in_flight += 1;
        let call = CallId::new();
        intents.push((*ask, call, estimate));
        parts.insert((ask.job, ask.part));
        begun.extend(sound.map(|sound| (sound, call)));
        let good_until = clock::boot_ms() + shared.timing.lease_ms / 2;
        granted.verdicts.push((*i, Ok(Permit { call, sent_at: now, good_until })));
    }
    if !intents.is_empty() {
        insert(conn, shared, &intents, now).await?;
        if probing {
            state.probe_at = now + state.probe_ms.max(1);
            rows::save_pool_state(conn, account, pool, &state).await?;
        }
    }
    Ok(left.then_some(match gate {
        Gate::Shut { bound: Bound::InFlight, .. } => None,
        _ => until,
    }))
}

fn denied(ask: &PermitAsk, fence: Option<&Fence>, sound: &SoundFence, batch: &Money, now: Millis) -> Option<Denial> {
    let Some(fence) = fence.filter(|f| f.running && f.token == Some(ask.token.0)) else {
        return Some(Denial::LeaseLost);
    };
    if fence.answered {
        return Some(Denial::AlreadyAnswered);
    }
    match sound.open.filter(|(call, _)| fence.open != Some(*call)) {
        // Another part's call that is nobody's any more is given up like an own one.
        Some((call, None)) if fence.open.is_none() && ask.replaces == Some(call) => {}
        Some((call, until)) => return Some(Denial::SameSoundOpen { call, until }),
        None if fence.open != ask.replaces => return Some(Denial::OpenCall),
        None => {}
    }
    if let Some(call) = sound.kept {
        return Some(Denial::SameSoundKept { call });
    }
    if let Some((call, decided)) = sound.parked {
        return Some(if decided { Denial::SoundParked } else { Denial::SameSoundOpen { call, until: Some(now) } });
    }
    if !batch.open {
        return Some(Denial::BatchPaused);
    }
    (!batch.in_window).then_some(Denial::WindowClosed)
}

async fn insert(
    conn: &mut SqliteConnection,
    shared: &Shared,
    intents: &[(&PermitAsk, CallId, i64)],
    now: Millis,
) -> Result<(), StoreError> {
    for (ask, _, _) in intents {
        if let Some(old) = ask.replaces {
            super::end::give_up(conn, old, now).await?;
        }
    }
    let set = serde_json::Value::from(
        intents
            .iter()
            .map(|(ask, call, estimate)| {
                json!({
                    "id": call.0.simple().to_string(), "job": ask.job.0, "part": ask.part, "batch": ask.batch.0,
                    "account": ask.account, "pool": ask.pool, "why": ask.why, "reserve": estimate, "mark": ask.mark,
                    "trace": ask.trace, "fingerprint": ask.buys.sound().map(|sound| sound.fingerprint.hex()),
                    "characters": ask.buys.sound().map(|sound| sound.characters),
                    "overdue": ask.overdue_after.map(|after| now + after),
                })
            })
            .collect::<Vec<_>>(),
    )
    .to_string();
    sqlx::query(
        "INSERT INTO calls (id, job, part, batch, era, account, pool, state, why, sent_at, slot_until, process, reserve, mark, trace, \
           fingerprint, characters, overdue_at) \
         SELECT unhex(v ->> 'id'), v ->> 'job', v ->> 'part', v ->> 'batch', j.era, v ->> 'account', v ->> 'pool', 'sent', \
                v ->> 'why', ?2, ?3, ?4, v ->> 'reserve', v ->> 'mark', v -> 'trace', unhex(v ->> 'fingerprint'), v ->> 'characters', v ->> 'overdue' \
         FROM (SELECT value AS v FROM json_each(?1)) JOIN jobs j ON j.id = v ->> 'job'",
    )
    .bind(&set)
    .bind(now)
    .bind(now + shared.timing.lease_ms)
    .bind(shared.process.load(Ordering::Acquire))
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "UPDATE batches SET reserved = reserved + m.sum FROM (SELECT value ->> 'batch' AS batch, sum(value ->> 'reserve') AS sum \
         FROM json_each(?) GROUP BY 1) m WHERE batches.id = m.batch",
    )
    .bind(set)
    .execute(conn)
    .await?;
    Ok(())
}
