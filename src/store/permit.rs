//! Permits: the intent of a call, committed before its first byte leaves. One transaction holds the fence, the pool's
//! calls in flight, its rate, its cooldown, the batch's money, and
//! that of the account's day and month.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering},
};

use serde_json::json;
use sqlx::SqliteConnection;
use tokio::sync::oneshot;

use super::{
    Claimed, Moment, Purchase, Store, StoreError, StoreShared,
    clips::{self, ClipFence},
    content,
    fence::{Fence, Money, batches, fences, traffic},
    rows,
    spend_limits::{self, Bookings, Fit, SpendBooks},
    sql::sql,
    uploads::{self, Hints, Upload},
    writer,
};
use crate::{
    clock::{Clock, Millis},
    domain::{
        identity::{ContentHash, Identity, SeenFile},
        job::{BatchId, CallId, JobId, RequestFingerprint, Token, Why},
        pool::{Bound, Gate, Limits, Pool, PoolState},
        spend::{SpendRule, SpendUse},
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
    /// What the account may spend in a day and in a month, as this process has it.
    pub spend: Option<Arc<SpendRule>>,
    /// Why the call is made.
    pub why: Why,
    /// An open call to give up in the same transaction.
    pub replaces: Option<CallId>,
    /// In an outage, the vendor's log has just answered for this line: it may probe though its last call has an unknown
    /// outcome.
    pub probes: bool,
    /// What it buys.
    pub buys: Purchase,
    /// The recording that is uploaded, if one is.
    pub upload: Option<Upload>,
    /// What the local recording contains, and how its file was found. It is on disk with the intent, so that a killed process
    /// leaves no answer whose recording nobody knows.
    pub content: Option<(SeenFile, ContentHash)>,
    /// How long its answer is waited for, in ms.
    pub timeout_ms: i64,
    /// How long the vendor may work on it after this process died, in ms.
    pub grace_ms: i64,
    /// Its answer is posted to us, and overdue so many ms after its intent.
    pub overdue_after: Option<i64>,
    /// The vendor's newest log entry known before the call.
    pub log_cursor: Option<String>,
    /// What the vendor's log would show.
    pub request: RequestFingerprint,
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
    /// Bytes of padding that make the upload's size its own.
    pub padding: u32,
    /// What is to be told: spend limits that have come close by it.
    pub close_limits: Vec<String>,
    good_until: Millis,
    /// The end of the day or month whose spend limit it was judged by, on the wall clock.
    spent_until: Millis,
    clock: Clock,
}

impl Permit {
    /// Whether it is too late to send: another worker may have given the call up by now, judged by the clock that counts
    /// suspend; or another day's or month's spend limit has to be asked. Checked when the body is first polled.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.clock.boot() > self.good_until || self.clock.now() >= self.spent_until
    }
}

/// Why there is no permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// Somebody else has the job.
    LeaseLost,
    /// Its line wants another voice or format now.
    Dropped,
    /// The part has an answer.
    AlreadyAnswered,
    /// The part has an open call (or the one to give up is no longer open).
    OpenCall,
    /// No new calls for this batch.
    BatchPaused,
    /// Its batch's window is closed, and this process obeys that.
    WindowClosed,
    /// It would pass `max_spend_usd`.
    SpendLimit,
    /// It would pass what the account may spend in a day or a month.
    SpendPeriod {
        /// The limit.
        limit: SpendUse,
        /// What the call may cost, in micro-USD.
        reserve: i64,
    },
    /// Another part, of this job or of another, buys the same clip now.
    SameClipOpen {
        /// Its call: a job that settles as [`super::To::Waiting`] is woken by the end of it.
        call: CallId,
        /// Until when it is its own job's; `None`: nobody's any more, and this ask's worker may reconcile it, and have it
        /// replaced.
        until: Option<Millis>,
    },
    /// A call of unknown outcome for the same clip is parked: nobody buys it until the user's `retry`.
    ClipInManualReview,
    /// The same clip was bought since the audio cache was looked at: it is there now.
    SameClipKept {
        /// The call that it answered.
        call: CallId,
    },
    /// The ledger cannot take what this ask would write. It is the ask's fault alone.
    Refused(String),
}

type PermitResult = Result<Permit, Denial>;

impl PermitAsk {
    /// What the worker of a claimed job asks for: the first call of its first part, without limits, whose answer is waited
    /// for.
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

    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.as_ref().is_none_or(writer::is_abandoned)
    }

    /// The gate that it waits at. A definition may have lowered the limits for its own calls: each set of limits is a gate
    /// of its own.
    fn gate(&self) -> (&str, Pool, Option<u32>, Option<u32>) {
        (&self.account, self.pool, self.limits.requests_per_minute, self.limits.concurrency)
    }
}

impl Store {
    /// Waits for a permit: until the pool has room, or the call must not be made.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn permit(&self, mut ask: PermitAsk) -> Result<PermitResult, StoreError> {
        let (reply, answer) = oneshot::channel();
        ask.reply = Some(reply);
        self.commands.send(writer::Command::Permit(Box::new(ask))).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// A permitted call left noticeably later than its intent: the rate is counted from now on.
    ///
    /// # Errors
    /// The ledger cannot be written.
    pub async fn note_departure(&self, call: CallId) -> Result<(), StoreError> {
        let clock = self.clock().clone();
        let (sent_at, boot_ms) = (clock.now(), clock.boot());
        self.write(move |conn, _| {
            Box::pin(async move {
                spend_limits::note_departure(conn, call, sent_at).await?;
                // note_departure
                sqlx::query(
                    "UPDATE calls
                     SET sent_at = $2, boot_ms = CASE WHEN boot_id IS NULL THEN NULL ELSE $3 END
                     WHERE id = $1 AND state = 'sent' AND sent_at < $2",
                )
                .bind(call)
                .bind(sent_at)
                .bind(boot_ms)
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }
}

/// What a look at the waiting asks gave.
#[derive(Default)]
pub(super) struct Granted {
    /// Place in the waiting list, and the verdict.
    verdicts: Vec<(usize, PermitResult)>,
    /// Whether asks wait on, and until when (`None` inside: until something ends).
    pub(super) wake: Option<Option<Millis>>,
}

impl Granted {
    pub(super) fn nothing(wake: Option<Option<Millis>>) -> Self {
        Self { verdicts: Vec::new(), wake }
    }

    /// The ask at this place is refused, and no other.
    pub(super) fn refused(at: usize, error: &StoreError) -> Self {
        Self { verdicts: vec![(at, Err(Denial::Refused(error.reason())))], wake: None }
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

    fn look_again(&mut self, wake: Option<Millis>) {
        self.wake = Some(match self.wake {
            None => wake,
            Some(before) => [before, wake].into_iter().flatten().min(),
        });
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

/// Looks at the waiting asks; `only`: at the one in this place.
pub(super) async fn grant(
    conn: &mut SqliteConnection,
    shared: &StoreShared,
    hints: &mut Hints,
    (waiting, only): (&[PermitAsk], Option<usize>),
    now: &Moment,
) -> Result<Granted, StoreError> {
    let mut granted = Granted::default();
    if shared.process.load(Ordering::Acquire) == 0 {
        return Ok(granted);
    }
    let asks: Vec<(usize, &PermitAsk)> =
        waiting.iter().enumerate().filter(|(at, _)| only.is_none_or(|only| only == *at)).collect();
    let mut money = batches(conn, shared, asks.iter().map(|(_, ask)| *ask), now).await?;
    let spenders = asks.iter().map(|(_, ask)| *ask);
    let mut books = SpendBooks::load(conn, shared, spenders, &money, now).await?;
    let mut gates: Vec<_> = asks.iter().map(|(_, ask)| ask.gate()).collect();
    gates.sort_unstable();
    gates.dedup();
    for gate in gates {
        let asks: Vec<_> = asks.iter().filter(|(_, ask)| ask.gate() == gate).copied().collect();
        let mut look = PermitRound::start(conn, shared, &asks, now).await?;
        look.judge(conn, &asks, (&mut money, &mut books, hints)).await?;
        look.write(conn, &money).await?;
        granted.verdicts.append(&mut look.verdicts);
        if look.left {
            granted.look_again(look.until());
        }
    }
    Ok(granted)
}

/// A look at the asks of one gate.
struct PermitRound<'a> {
    shared: &'a StoreShared,
    now: &'a Moment,
    pool: Pool,
    account: &'a str,
    state: PoolState,
    gate: Gate,
    /// Calls that may begin.
    room: u32,
    fences: HashMap<(JobId, i64), Fence>,
    clips: Vec<ClipFence>,
    verdicts: Vec<(usize, PermitResult)>,
    intents: Vec<Intent<'a>>,
    /// Clips that are bought by this look.
    begun: HashMap<Identity, CallId>,
    /// Parts that have a call by this look.
    parts: HashSet<(JobId, i64)>,
    /// Whether asks wait on.
    left: bool,
}

/// A call that is about to be on disk.
struct Intent<'a> {
    ask: &'a PermitAsk,
    call: CallId,
    reserve: i64,
    upload_bytes: Option<i64>,
}

impl<'a> PermitRound<'a> {
    async fn start(
        conn: &mut SqliteConnection,
        shared: &'a StoreShared,
        asks: &[(usize, &'a PermitAsk)],
        now: &'a Moment,
    ) -> Result<Self, StoreError> {
        let first = asks[0].1;
        let (account, pool, lease_ms) = (first.account.as_str(), first.pool, shared.timing.lease_ms);
        let state = rows::pool_state(conn, account, pool).await?;
        let limits = state.effective(&first.limits, now.wall);
        let traffic = traffic(conn, (account, pool), &limits, lease_ms, now).await?;
        let gate = state.gate(&first.limits, &traffic, now.wall);
        let mut room = if let Gate::Open(room) = gate { room } else { 0 };
        // The log took this probe's turn, and the call is its second half.
        if is_second_half(gate) && asks.iter().any(|(_, ask)| ask.probes) {
            room = 1;
        }
        Ok(Self {
            shared,
            now,
            pool,
            account,
            fences: fences(conn, asks.iter().map(|(_, ask)| *ask)).await?,
            clips: clips::fences(conn, asks.iter().map(|(_, ask)| *ask), lease_ms, now).await?,
            state,
            gate,
            room,
            verdicts: Vec::new(),
            intents: Vec::new(),
            begun: HashMap::new(),
            parts: HashSet::new(),
            left: false,
        })
    }

    /// When to look again at those that wait on; `None`: when a call ends.
    const fn until(&self) -> Option<Millis> {
        match self.gate {
            Gate::Shut { bound: Bound::InFlight, .. } | Gate::Open(_) => None,
            Gate::Shut { until, .. } => until,
        }
    }

    async fn judge(
        &mut self,
        conn: &mut SqliteConnection,
        asks: &[(usize, &'a PermitAsk)],
        (money, books, hints): (&mut HashMap<BatchId, Money>, &mut SpendBooks, &mut Hints),
    ) -> Result<(), StoreError> {
        for (nth, (at, ask)) in asks.iter().enumerate() {
            let batch =
                money.get_mut(&ask.batch).ok_or_else(|| StoreError::Unexpected("a job without its batch".into()))?;
            let judged = match self.denial(ask, &self.clips[nth], batch) {
                Some(denial) => PermitDecision::Denied(denial),
                None => self.afford(ask, batch, books),
            };
            match judged {
                PermitDecision::Denied(denial) => self.verdicts.push((*at, Err(denial))),
                PermitDecision::Waits => self.left = true,
                PermitDecision::Granted { reserve } => {
                    batch.reserved += reserve;
                    batch.in_flight += 1;
                    let mut permit = self.begin(conn, hints, ask, reserve).await?;
                    permit.spent_until = books.until(ask, batch);
                    permit.close_limits = books.grant(conn, (ask, batch), reserve, self.now.wall).await?;
                    self.verdicts.push((*at, Ok(permit)));
                }
            }
        }
        Ok(())
    }

    /// Why this call must not be made, whatever room there is.
    fn denial(&self, ask: &PermitAsk, clip: &ClipFence, batch: &Money) -> Option<Denial> {
        if let Some(denial) = denied(ask, self.fences.get(&(ask.job, ask.part)), clip, batch, self.now.wall) {
            return Some(denial);
        }
        // Asked for twice at once: neither sees the other's call yet.
        if self.parts.contains(&(ask.job, ask.part)) {
            return Some(Denial::OpenCall);
        }
        let call = self.begun.get(&ask.buys.clip()?.cache_key)?;
        Some(Denial::SameClipOpen { call: *call, until: Some(self.now.wall + self.shared.timing.lease_ms) })
    }

    /// Whether there is room and money for it now.
    fn afford(&self, ask: &PermitAsk, batch: &Money, books: &SpendBooks) -> PermitDecision {
        let Some(reserve) = ask.buys.estimate(batch.longest_units) else {
            let message =
                "what the call would cost is beyond any sense: the recording's length, or its price, is wrong";
            return PermitDecision::Denied(Denial::Refused(message.into()));
        };
        // In an outage a line whose last call may have been billed waits: a probe must cost nothing.
        let unbilled = !is_second_half(self.gate) && ask.why != Why::Unknown && ask.replaces.is_none();
        let may_probe = self.state.outage_since.is_none() || ask.probes || unbilled;
        if self.room == 0 || !may_probe || batch.concurrency.is_some_and(|most| batch.in_flight >= most) {
            return PermitDecision::Waits;
        }
        if batch.has(reserve) {
            return match books.fit(ask, batch, reserve) {
                Fit::Fits => PermitDecision::Granted { reserve },
                Fit::Perhaps => PermitDecision::Waits,
                Fit::Not(limit) => PermitDecision::Denied(Denial::SpendPeriod { limit, reserve }),
            };
        }
        // What is under way may turn out cheaper. A call of unknown outcome will not, and may be the one to replace.
        if batch.in_flight > 0 || batch.awaits {
            PermitDecision::Waits
        } else {
            PermitDecision::Denied(Denial::SpendLimit)
        }
    }

    async fn begin(
        &mut self,
        conn: &mut SqliteConnection,
        hints: &mut Hints,
        ask: &'a PermitAsk,
        reserve: i64,
    ) -> Result<Permit, StoreError> {
        let (call, place) = (CallId::new(), (self.account, self.pool));
        let mut padding = 0;
        let mut upload_bytes = None;
        if let Some(upload) = &ask.upload {
            let given: Vec<_> =
                self.intents.iter().filter_map(|intent| Some((self.pool, intent.upload_bytes?))).collect();
            padding = uploads::padding(conn, hints, place, upload, &given, self.now).await?;
            upload_bytes = i64::try_from(upload.bytes).ok().map(|bytes| bytes.saturating_add(padding.into()));
        }
        self.room -= 1;
        self.intents.push(Intent { ask, call, reserve, upload_bytes });
        self.parts.insert((ask.job, ask.part));
        self.begun.extend(ask.buys.clip().map(|clip| (clip.cache_key, call)));
        let good_until = self.now.boot + self.shared.timing.lease_ms / 2;
        Ok(Permit {
            call,
            sent_at: self.now.wall,
            padding,
            close_limits: Vec::new(),
            good_until,
            spent_until: Millis::MAX,
            clock: self.shared.clock.clone(),
        })
    }

    async fn write(&mut self, conn: &mut SqliteConnection, money: &HashMap<BatchId, Money>) -> Result<(), StoreError> {
        if self.intents.is_empty() {
            return Ok(());
        }
        insert(conn, self.shared, &self.intents, self.now).await?;
        let mut bookings = Bookings::default();
        for Intent { ask, reserve, .. } in &self.intents {
            if let Some(batch) = money.get(&ask.batch) {
                bookings.add(self.account, batch.environment, self.now.wall, (0, *reserve));
            }
        }
        bookings.write(conn).await?;
        if self.state.outage_since.is_some() {
            self.state.probe_at = self.now.wall + self.state.probe_ms.max(1);
            rows::save_pool_state(conn, self.account, self.pool, &self.state).await?;
        }
        Ok(())
    }
}

/// What becomes of an ask now.
enum PermitDecision {
    Denied(Denial),
    Waits,
    Granted { reserve: i64 },
}

/// An outage's probe is under way already, by a look at the log.
const fn is_second_half(gate: Gate) -> bool {
    matches!(gate, Gate::Shut { until: Some(_), bound: Bound::Outage })
}

fn denied(ask: &PermitAsk, fence: Option<&Fence>, clip: &ClipFence, batch: &Money, now: Millis) -> Option<Denial> {
    let Some(fence) = fence.filter(|f| f.running && f.token == Some(ask.token)) else {
        return Some(Denial::LeaseLost);
    };
    if fence.answered {
        return Some(Denial::AlreadyAnswered);
    }
    if fence.dropped {
        return Some(Denial::Dropped);
    }
    match clip.open.filter(|(call, _)| fence.open != Some(*call)) {
        // Another part's call that is nobody's any more is given up like an own one.
        Some((call, None)) if fence.open.is_none() && ask.replaces == Some(call) => {}
        Some((call, until)) => return Some(Denial::SameClipOpen { call, until }),
        None if fence.open != ask.replaces => return Some(Denial::OpenCall),
        None => {}
    }
    if let Some(call) = clip.kept {
        return Some(Denial::SameClipKept { call });
    }
    if let Some((call, decided)) = clip.manual_review {
        return Some(if decided {
            Denial::ClipInManualReview
        } else {
            Denial::SameClipOpen { call, until: Some(now) }
        });
    }
    if !batch.open {
        return Some(Denial::BatchPaused);
    }
    (!batch.in_window).then_some(Denial::WindowClosed)
}

async fn insert(
    conn: &mut SqliteConnection,
    shared: &StoreShared,
    intents: &[Intent<'_>],
    now: &Moment,
) -> Result<(), StoreError> {
    let replaced: Vec<CallId> = intents.iter().filter_map(|intent| intent.ask.replaces).collect();
    super::end::give_up(conn, &replaced, now.wall).await?;
    let row = |Intent { ask, call, reserve, upload_bytes }: &Intent<'_>| {
        let clip = ask.buys.clip();
        let bytes = upload_bytes.and_then(|bytes| u64::try_from(bytes).ok()).or(ask.request.bytes);
        json!({
            "id": call.0.simple().to_string(), "job": ask.job.0, "part": ask.part, "batch": ask.batch.0,
            "account": ask.account, "pool": ask.pool, "why": ask.why, "reserve": reserve, "units": ask.buys.units(),
            "timeout": ask.timeout_ms.max(0), "grace": ask.grace_ms.max(0),
            "overdue": ask.overdue_after.map(|after| now.wall.saturating_add(after)), "cursor": ask.log_cursor,
            "request": RequestFingerprint { bytes, ..ask.request.clone() }, "upload": upload_bytes,
            "source_bytes": ask.upload.map(|upload| upload.bytes), "clip": clip.map(|clip| clip.cache_key.hex()),
        })
    };
    let set = serde_json::Value::from(intents.iter().map(row).collect::<Vec<_>>()).to_string();
    content::note(conn, intents.iter().filter_map(|intent| Some((intent.ask.job, intent.ask.content?)))).await?;
    // insert: the plan of a job that has one part is made with its first call; that of others stands there already.
    sqlx::query(sql("INSERT INTO job_parts (job, part, units, bytes, cache_key)
         SELECT CAST(v ->> 'job' AS BIGINT), CAST(v ->> 'part' AS BIGINT), CAST(v ->> 'units' AS BIGINT),
           CAST(v ->> 'source_bytes' AS BIGINT), unhex(v ->> 'clip')
         FROM rows_of($1) AS r
         WHERE 1 = 1
         ON CONFLICT (job, part) DO NOTHING"))
    .bind(&set)
    .execute(&mut *conn)
    .await?;
    // insert
    sqlx::query(sql(
        "INSERT INTO calls (id, job, part, batch, generation, account, pool, state, why, sent_at, boot_id, boot_ms, timeout_ms,
           grace_ms, slot_until, process, overdue_at, reserve, units, log_cursor, request, upload_bytes, cache_key)
         SELECT unhex(v ->> 'id'), j.id, CAST(v ->> 'part' AS BIGINT), CAST(v ->> 'batch' AS BIGINT), j.generation,
           v ->> 'account', v ->> 'pool', 'sent', v ->> 'why', $2, $3, CASE WHEN $3 IS NULL THEN NULL ELSE $4 END,
           CAST(v ->> 'timeout' AS BIGINT), CAST(v ->> 'grace' AS BIGINT), $5, $6, CAST(v ->> 'overdue' AS BIGINT),
           CAST(v ->> 'reserve' AS BIGINT), CAST(v ->> 'units' AS BIGINT), v ->> 'cursor', v ->> 'request',
           CAST(v ->> 'upload' AS BIGINT), unhex(v ->> 'clip')
         FROM rows_of($1) AS r
         JOIN jobs AS j ON j.id = CAST(v ->> 'job' AS BIGINT)",
    ))
    .bind(&set)
    .bind(now.wall)
    .bind(now.boot_id)
    .bind(now.boot)
    .bind(now.wall + shared.timing.lease_ms)
    .bind(shared.process.load(Ordering::Acquire))
    .execute(&mut *conn)
    .await?;
    // insert
    sqlx::query(sql("UPDATE batches
         SET reserved = reserved + m.sum
         FROM (
           SELECT CAST(v ->> 'batch' AS BIGINT) AS batch, CAST(sum(CAST(v ->> 'reserve' AS BIGINT)) AS BIGINT) AS sum
           FROM rows_of($1) AS r
           GROUP BY 1) AS m
         WHERE batches.id = m.batch"))
    .bind(set)
    .execute(conn)
    .await?;
    Ok(())
}
