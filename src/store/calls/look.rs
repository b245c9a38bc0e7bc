//! A look at the asks that wait at one gate: each is refused, waits on, or has its call's intent written.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering,
};

use sqlx::SqliteConnection;

use crate::store::{
    Denial, Moment, Permit, PermitRequest, StoreError, StoreShared,
    calls::clips::{self, ClipFence},
    calls::fence::{Fence, Money, batches, fences, traffic},
    calls::intent::{self, Intent},
    calls::permit::{Granted, PermitResult},
    calls::spend_limits::{Bookings, Fit, SpendUsages},
    calls::uploads::{self, Hints},
    engine::rows,
};
use crate::{
    clock::Millis,
    domain::{
        identity::Identity,
        job::{BatchId, CallId, JobId, Why},
        pool::{Bound, Gate, Pool, PoolState},
    },
};

/// Looks at the waiting asks; with `only`, at the one with this index.
pub(in crate::store) async fn grant(
    conn: &mut SqliteConnection,
    shared: &StoreShared,
    hints: &mut Hints,
    (waiting, only): (&[PermitRequest], Option<usize>),
    now: &Moment,
) -> Result<Granted, StoreError> {
    let mut granted = Granted::default();
    if shared.process.load(Ordering::Acquire) == 0 || shared.outgrown.is_noticed() {
        return Ok(granted);
    }
    let asks: Vec<(usize, &PermitRequest)> =
        waiting.iter().enumerate().filter(|(at, _)| only.is_none_or(|only| only == *at)).collect();
    let mut money = batches(conn, shared, asks.iter().map(|(_, ask)| *ask), now).await?;
    let spenders = asks.iter().map(|(_, ask)| *ask);
    let mut books = SpendUsages::load(conn, shared, spenders, &money, now).await?;
    let mut gates: Vec<_> = asks.iter().map(|(_, ask)| ask.gate()).collect();
    gates.sort_unstable();
    gates.dedup();
    for gate in gates {
        let asks: Vec<_> = asks.iter().filter(|(_, ask)| ask.gate() == gate).copied().collect();
        let mut look = Look::start(conn, shared, &asks, now).await?;
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
struct Look<'a> {
    shared: &'a StoreShared,
    now: &'a Moment,
    pool: Pool,
    account: &'a str,
    state: PoolState,
    gate: Gate,
    /// How many calls may begin.
    room: u32,
    fences: HashMap<(JobId, i64), Fence>,
    clips: Vec<ClipFence>,
    verdicts: Vec<(usize, PermitResult)>,
    intents: Vec<Intent<'a>>,
    /// Clips that this look buys.
    begun: HashMap<Identity, CallId>,
    /// Parts that get a call in this look.
    parts: HashSet<(JobId, i64)>,
    /// Whether some asks keep waiting.
    left: bool,
}

impl<'a> Look<'a> {
    async fn start(
        conn: &mut SqliteConnection,
        shared: &'a StoreShared,
        asks: &[(usize, &'a PermitRequest)],
        now: &'a Moment,
    ) -> Result<Self, StoreError> {
        let first = asks[0].1;
        let (account, pool, lease_ms) = (first.account.as_str(), first.pool, shared.timing.lease_ms);
        let state = rows::pool_state(conn, account, pool).await?;
        let limits = state.effective(&first.limits, now.wall);
        let traffic = traffic(conn, (account, pool), &limits, lease_ms, now).await?;
        let gate = state.gate(&first.limits, &traffic, now.wall);
        let mut room = if let Gate::Open(room) = gate { room } else { 0 };
        // The look at the vendor's log took this probe's turn, and the call is the second half of the probe.
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

    /// When to look again at the asks that keep waiting; `None`: when a call ends.
    const fn until(&self) -> Option<Millis> {
        match self.gate {
            Gate::Shut { bound: Bound::InFlight, .. } | Gate::Open(_) => None,
            Gate::Shut { until, .. } => until,
        }
    }

    async fn judge(
        &mut self,
        conn: &mut SqliteConnection,
        asks: &[(usize, &'a PermitRequest)],
        (money, books, hints): (&mut HashMap<BatchId, Money>, &mut SpendUsages, &mut Hints),
    ) -> Result<(), StoreError> {
        for (nth, (at, ask)) in asks.iter().enumerate() {
            let batch =
                money.get_mut(&ask.batch).ok_or_else(|| StoreError::Unexpected("a job without its batch".into()))?;
            let judged = match self.denial(ask, &self.clips[nth], batch) {
                Some(denial) => Judged::Denied(denial),
                None => self.afford(ask, batch, books),
            };
            match judged {
                Judged::Denied(denial) => self.verdicts.push((*at, Err(denial))),
                Judged::Waits => self.left = true,
                Judged::Granted { reserve } => {
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

    /// Why this call must not be made, even if there is room.
    fn denial(&self, ask: &PermitRequest, clip: &ClipFence, batch: &Money) -> Option<Denial> {
        if let Some(denial) = denied(ask, self.fences.get(&(ask.job, ask.part)), clip, batch, self.now.wall) {
            return Some(denial);
        }
        // The same part is asked for twice at once: neither ask sees the other's call yet.
        if self.parts.contains(&(ask.job, ask.part)) {
            return Some(Denial::OpenCall);
        }
        let call = self.begun.get(&ask.buys.clip()?.cache_key)?;
        Some(Denial::SameClipOpen { call: *call, until: Some(self.now.wall + self.shared.timing.lease_ms) })
    }

    /// Whether there is room and money for this call now.
    fn afford(&self, ask: &PermitRequest, batch: &Money, books: &SpendUsages) -> Judged {
        let Some(reserve) = ask.buys.estimate(batch.longest_units) else {
            let message =
                "what the call would cost is beyond any sense: the recording's length, or its price, is wrong";
            return Judged::Denied(Denial::Refused(message.into()));
        };
        // In an outage a line whose last call may have been billed waits: a probe must be free of charge.
        let unbilled = !is_second_half(self.gate) && ask.why != Why::Unknown && ask.replaces.is_none();
        let may_probe = self.state.outage_since.is_none() || ask.probes || unbilled;
        if self.room == 0 || !may_probe || batch.concurrency.is_some_and(|most| batch.in_flight >= most) {
            return Judged::Waits;
        }
        if batch.has(reserve) {
            return match books.fit(ask, batch, reserve) {
                Fit::Fits => Judged::Granted { reserve },
                Fit::OptionalGauge => Judged::Waits,
                Fit::Not(limit) => Judged::Denied(Denial::SpendPeriod { limit, reserve }),
            };
        }
        // The calls under way may turn out cheaper. A call of unknown outcome will not, and may be the one to replace.
        if batch.in_flight > 0 || batch.awaits { Judged::Waits } else { Judged::Denied(Denial::SpendLimit) }
    }

    async fn begin(
        &mut self,
        conn: &mut SqliteConnection,
        hints: &mut Hints,
        ask: &'a PermitRequest,
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
        intent::insert(conn, self.shared, &self.intents, self.now).await?;
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

/// The result for one ask.
enum Judged {
    Denied(Denial),
    Waits,
    Granted { reserve: i64 },
}

/// Whether the probe of an outage is under way already, by a look at the vendor's log.
const fn is_second_half(gate: Gate) -> bool {
    matches!(gate, Gate::Shut { until: Some(_), bound: Bound::Outage })
}

fn denied(ask: &PermitRequest, fence: Option<&Fence>, clip: &ClipFence, batch: &Money, now: Millis) -> Option<Denial> {
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
        // A call of another part that belongs to no worker any more is given up like a call of this part.
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
