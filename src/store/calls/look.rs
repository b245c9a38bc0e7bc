//! A look at the asks that wait at one gate: each is refused, waits on, or has its call's intent written.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::atomic::Ordering,
};

use crate::store::engine::db::{Asked, Conn, Found, Trip};
use crate::store::{
    Denial, Moment, Permit, PermitRequest, StoreError, StoreShared,
    calls::clips::{self, ClipFence, ClipLook},
    calls::demand::{self, Others, OwnRate},
    calls::fence::{self, Fence, Money, TrafficLook},
    calls::intent::{self, Intent},
    calls::permit::{Granted, PermitResult},
    calls::said::Said,
    calls::spend_limits::{Bookings, Fit, SpendLook, SpendUsages},
    calls::uploads::{self, Hints, Sizes},
    engine::rows,
};
use crate::{
    clock::Millis,
    domain::{
        identity::Identity,
        job::{BatchId, CallId, JobId, Why},
        pool::{Bound, Gate, Pool, PoolState, Traffic, WINDOW_MS},
        share::{self, Contender},
    },
};

/// Where the rows about the waiting asks are.
pub(in crate::store) struct Facts<'a> {
    is_whole: bool,
    asks: Vec<(usize, &'a PermitRequest)>,
    batches: Asked,
    pools: Asked,
    fences: Asked,
    others: Asked,
    clips: Option<ClipLook>,
}

/// What this process remembers between its looks.
#[derive(Default)]
pub(in crate::store) struct Memory {
    hints: Hints,
    /// What the ledger has of its waiting asks.
    said: Said,
    /// Since when a free slot of a pool is left to another process whose turn it is.
    left_since: HashMap<(String, Pool), Millis>,
}

impl Memory {
    /// What was said of the waiting asks is in the ledger.
    pub(in crate::store) fn said(&mut self, said: Said) {
        self.said = said;
    }
}

/// Asks about the waiting asks; with `only`, about the one with this index.
pub(in crate::store) fn ask<'a>(
    trip: &mut Trip<'a>,
    shared: &StoreShared,
    (waiting, only): (&'a [PermitRequest], Option<usize>),
    now: &Moment,
) -> Option<Facts<'a>> {
    let begins = shared.process.load(Ordering::Acquire) != 0 && !shared.outgrown.is_noticed();
    let asks: Vec<(usize, &PermitRequest)> =
        waiting.iter().enumerate().filter(|(at, _)| only.is_none_or(|only| only == *at)).collect();
    (begins && !asks.is_empty()).then(|| Facts {
        is_whole: only.is_none(),
        batches: fence::ask_batches(trip, shared, &asks, now),
        pools: trip.ask(rows::pool_states()),
        fences: fence::ask_fences(trip, &asks),
        others: demand::ask_others(trip, shared, now.wall),
        clips: clips::ask(trip, &asks, shared.timing.lease_ms, now),
        asks,
    })
}

/// What is known about the waiting asks (`is_whole`: all of them), and where the rows about their pools and limits are.
pub(in crate::store) struct Round<'a> {
    is_whole: bool,
    asks: Vec<(usize, &'a PermitRequest)>,
    money: HashMap<BatchId, Money>,
    states: HashMap<(String, Pool), PoolState>,
    fences: HashMap<(JobId, i64), Fence>,
    /// The fences of the asks' clips, in their order.
    clips: Vec<ClipFence>,
    books: SpendLook,
    /// By account and pool, and the rate that calls are counted by.
    traffic: HashMap<Counted<'a>, TrafficLook>,
    sizes: HashMap<(&'a str, Pool), (Option<Asked>, Sizes)>,
    others: Others,
    /// What each definition used lately, of the pools that several wait for.
    used: HashMap<(&'a str, Pool), Asked>,
    /// The newest calls of the definitions that lower their rate, and that rate.
    own: HashMap<(&'a str, Pool, String), (Asked, u32)>,
}

/// A pool whose calls are counted, and how many of them a minute may hold.
type Counted<'a> = (&'a str, Pool, Option<u32>);

impl<'a> Facts<'a> {
    /// Reads what was found, and asks about pools, limits and sizes.
    pub(in crate::store) fn next(
        self,
        found: &mut Found,
        trip: &mut Trip<'a>,
        (shared, memory): (&StoreShared, &Memory),
        now: &Moment,
    ) -> Result<Round<'a>, StoreError> {
        let Self { is_whole, asks, batches, pools, fences, others, clips } = self;
        let lease_ms = shared.timing.lease_ms;
        let money = fence::batches(&found.rows(batches))?;
        let states = rows::read_pool_states(&found.rows(pools))?;
        let others = Others::read(&found.rows(others))?;
        let (mut traffic, mut sizes, mut used) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut own = HashMap::new();
        for (_, ask) in &asks {
            let place = (ask.account.as_str(), ask.pool);
            let limits = state_of(&states, place).effective(&ask.limits, now.wall);
            traffic
                .entry((place.0, place.1, limits.requests_per_minute))
                .or_insert_with(|| fence::ask_traffic(trip, place, &limits, lease_ms, now));
            sizes.entry(place).or_insert_with(|| {
                let there = asks.iter().filter(|(_, ask)| (ask.account.as_str(), ask.pool) == place);
                uploads::ask(trip, &memory.hints, place, there.filter_map(|(_, ask)| ask.upload), now)
            });
            let definition = money.get(&ask.batch).map(|batch| batch.definition.as_str());
            if let (Some(most), Some(definition)) = (ask.own_rate, definition) {
                own.entry((place.0, place.1, definition.to_owned()))
                    .or_insert_with(|| (demand::ask_own_rate(trip, place, (definition.to_owned(), most), now), most));
            }
            let is_other = |(_, other): &(usize, &PermitRequest)| {
                (other.account.as_str(), other.pool) == place
                    && money.get(&other.batch).map(|batch| batch.definition.as_str()) != definition
            };
            if !used.contains_key(&place) && (!others.of(place).is_empty() || asks.iter().any(is_other)) {
                used.insert(place, demand::ask_used(trip, place, lease_ms, now));
            }
        }
        Ok(Round {
            is_whole,
            fences: fence::fences(&found.rows(fences))?,
            clips: clips::fences(found, (clips, asks.len()), lease_ms, now)?,
            books: SpendUsages::ask(trip, shared, &asks, &money, now),
            asks,
            money,
            states,
            traffic,
            sizes,
            others,
            used,
            own,
        })
    }
}

/// A pool's shared state; the default where it has none yet.
fn state_of(states: &HashMap<(String, Pool), PoolState>, (account, pool): (&str, Pool)) -> PoolState {
    states.get(&(account.to_owned(), pool)).cloned().unwrap_or_default()
}

impl<'a> Round<'a> {
    /// Judges the asks, gate by gate, and writes the intents of those that are granted.
    pub(in crate::store) async fn grant(
        mut self,
        conn: &mut Conn,
        shared: &StoreShared,
        (found, memory): (&mut Found, &mut Memory),
        now: &Moment,
    ) -> Result<Granted, StoreError> {
        let mut granted = Granted::default();
        let mut said = Said::default();
        let mut books = SpendUsages::read(found, self.books)?;
        let mut begun = Begun::default();
        for (place, (asked, mut sizes)) in self.sizes.drain() {
            sizes.read(&asked.map(|asked| found.rows(asked)).unwrap_or_default())?;
            begun.sizes.insert(place, sizes);
        }
        for (place, asked) in self.used.drain() {
            begun.used.insert(place, demand::used(found, asked)?);
        }
        for (place, asked) in self.own.drain() {
            begun.own.insert(place, OwnRate::read(found, asked, now)?);
        }
        let mut gates: Vec<_> = self.asks.iter().map(|(_, ask)| ask.gate()).collect();
        gates.sort_unstable();
        gates.dedup();
        for gate in gates {
            let asks: Vec<Ask<'_>> = (self.asks.iter().zip(&self.clips))
                .filter(|((_, ask), _)| ask.gate() == gate)
                .map(|((at, ask), clip)| Ask { at: *at, ask, clip })
                .collect();
            let (account, pool) = (gate.0, gate.1);
            let state = state_of(&self.states, (account, pool));
            let limits = state.effective(&asks[0].ask.limits, now.wall);
            let counted = (account, pool, limits.requests_per_minute);
            // Calls that another gate of this pool has just begun are in no rows yet that were found.
            let traffic = match self.traffic.get(&counted) {
                Some(look) if !begun.pools.contains(&(account, pool)) => fence::traffic(found, *look, &limits, now)?,
                _ => fence::traffic_now(conn, (account, pool), &limits, shared.timing.lease_ms, now).await?,
            };
            let mut look = Look::start(shared, &asks, (state, &traffic), now);
            let others = self.others.of((account, pool));
            let place = (account.to_owned(), pool);
            look.courtesy = memory.left_since.get(&place).is_none_or(|since| now.wall - since < share::COURTESY_MS);
            let turns = Turns::new(asks, others, &self.money);
            look.judge(conn, (turns, &self.fences), (&mut self.money, &mut books, &mut memory.hints, &mut begun))
                .await?;
            look.write(conn, &self.money).await?;
            if !look.intents.is_empty() {
                begun.pools.insert((account, pool));
            }
            for batch in look.without_room.iter().filter_map(|batch| self.money.get(batch)) {
                said.add((account, pool), &batch.definition, batch.priority);
            }
            granted.verdicts.append(&mut look.verdicts);
            if look.left {
                granted.look_again(look.until());
            }
            if look.own_until.is_some() {
                granted.look_again(look.own_until);
            }
            if look.kept > 0 {
                let since = *memory.left_since.entry(place).or_insert(now.wall);
                granted.look_again(Some(since + share::COURTESY_MS));
            } else {
                memory.left_since.remove(&place);
            }
        }
        if self.is_whole {
            granted.said = said.write(conn, (shared, &memory.said), now.wall).await?;
        }
        Ok(granted)
    }
}

/// A waiting ask: its place in the list, and the fence of its clip.
struct Ask<'a> {
    at: usize,
    ask: &'a PermitRequest,
    clip: &'a ClipFence,
}

/// What this transaction has begun, at whichever gate: no row shows it yet that was found.
#[derive(Default)]
struct Begun<'a> {
    pools: HashSet<(&'a str, Pool)>,
    parts: HashSet<(JobId, i64)>,
    clips: HashMap<Identity, CallId>,
    sizes: HashMap<(&'a str, Pool), Sizes>,
    /// What each definition used lately.
    used: HashMap<(&'a str, Pool), HashMap<String, u32>>,
    /// What the definitions that lower their rate may begin.
    own: HashMap<(&'a str, Pool, String), OwnRate>,
}

impl<'a> Begun<'a> {
    fn own_rate(&mut self, (account, pool): (&'a str, Pool), definition: &str) -> Option<&mut OwnRate> {
        self.own.get_mut(&(account, pool, definition.to_owned()))
    }
}

/// Whose turn it is, of the definitions that wait at a gate and those that other processes want calls of its pool for.
struct Turns<'a> {
    /// The asks by definition, the oldest batch first.
    here: BTreeMap<String, VecDeque<Ask<'a>>>,
    priorities: BTreeMap<String, u32>,
    elsewhere: BTreeMap<String, Contender>,
}

/// What is next.
enum Turn<'a> {
    Ask(Ask<'a>),
    /// Another process's.
    Elsewhere,
}

impl<'a> Turns<'a> {
    fn new(
        mut asks: Vec<Ask<'a>>,
        mut elsewhere: BTreeMap<String, Contender>,
        money: &HashMap<BatchId, Money>,
    ) -> Self {
        asks.sort_by_key(|ask| ask.ask.batch);
        let (mut here, mut priorities) = (BTreeMap::<String, VecDeque<Ask<'a>>>::new(), BTreeMap::new());
        for ask in asks {
            let (definition, priority) = match money.get(&ask.ask.batch) {
                Some(batch) => (batch.definition.as_str(), batch.priority),
                None => ("", share::DEFAULT_PRIORITY),
            };
            elsewhere.remove(definition);
            priorities.insert(definition.to_owned(), priority);
            here.entry(definition.to_owned()).or_default().push_back(ask);
        }
        Self { here, priorities, elsewhere }
    }

    /// Takes what is next; `None`: no ask is left.
    fn next(&mut self, used: Option<&HashMap<String, u32>>) -> Option<Turn<'a>> {
        let used = |definition: &str| used.and_then(|used| used.get(definition)).copied().unwrap_or(0);
        let mut contenders: Vec<(&String, Contender)> = Vec::with_capacity(self.here.len() + self.elsewhere.len());
        for (definition, asks) in &self.here {
            let waiting = u32::try_from(asks.len()).unwrap_or(u32::MAX);
            let priority = self.priorities.get(definition).copied().unwrap_or(share::DEFAULT_PRIORITY);
            contenders.push((definition, Contender { used: used(definition), priority, waiting, elsewhere: false }));
        }
        if contenders.is_empty() {
            return None;
        }
        for (definition, one) in &self.elsewhere {
            contenders.push((definition, Contender { used: used(definition).saturating_add(one.used), ..*one }));
        }
        let all: Vec<Contender> = contenders.iter().map(|(_, one)| *one).collect();
        let (definition, next) = contenders[share::next_in_turn(&all)?];
        let definition = definition.clone();
        if next.elsewhere {
            let one = self.elsewhere.get_mut(&definition)?;
            (one.used, one.waiting) = (one.used + 1, one.waiting - 1);
            return Some(Turn::Elsewhere);
        }
        self.take(&definition).map(Turn::Ask)
    }

    fn take(&mut self, definition: &str) -> Option<Ask<'a>> {
        let asks = self.here.get_mut(definition)?;
        let ask = asks.pop_front();
        if asks.is_empty() {
            self.here.remove(definition);
        }
        ask
    }

    /// Takes any ask: there is no room that definitions could share.
    fn any(&mut self) -> Option<Ask<'a>> {
        let definition = self.here.keys().next()?.clone();
        self.take(&definition)
    }
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
    verdicts: Vec<(usize, PermitResult)>,
    intents: Vec<Intent<'a>>,
    /// Whether some asks keep waiting.
    left: bool,
    /// Whether slots are left to other processes whose turn it is.
    courtesy: bool,
    /// How many are left to them.
    kept: u32,
    /// When a definition that lowers its rate may begin calls again.
    own_until: Option<Millis>,
    /// The batches of asks that wait for nothing but room.
    without_room: Vec<BatchId>,
}

impl<'a> Look<'a> {
    fn start(
        shared: &'a StoreShared,
        asks: &[Ask<'a>],
        (state, traffic): (PoolState, &Traffic),
        now: &'a Moment,
    ) -> Self {
        let first = asks[0].ask;
        let gate = state.gate(&first.limits, traffic, now.wall);
        let mut room = if let Gate::Open(room) = gate { room } else { 0 };
        // The look at the vendor's log took this probe's turn, and the call is the second half of the probe.
        if is_second_half(gate) && asks.iter().any(|ask| ask.ask.probes) {
            room = 1;
        }
        Self {
            shared,
            now,
            pool: first.pool,
            account: first.account.as_str(),
            state,
            gate,
            room,
            verdicts: Vec::new(),
            intents: Vec::new(),
            left: false,
            courtesy: true,
            kept: 0,
            own_until: None,
            without_room: Vec::new(),
        }
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
        conn: &mut Conn,
        (mut turns, fences): (Turns<'a>, &HashMap<(JobId, i64), Fence>),
        (money, books, hints, begun): (&mut HashMap<BatchId, Money>, &mut SpendUsages, &mut Hints, &mut Begun<'a>),
    ) -> Result<(), StoreError> {
        loop {
            let next = match self.room > self.kept {
                true => turns.next(begun.used.get(&(self.account, self.pool))),
                false => turns.any().map(Turn::Ask),
            };
            let Ask { at, ask, clip } = match next {
                None => break,
                Some(Turn::Ask(ask)) => ask,
                Some(Turn::Elsewhere) if self.courtesy => {
                    self.kept += 1;
                    continue;
                }
                Some(Turn::Elsewhere) => continue,
            };
            let batch =
                money.get_mut(&ask.batch).ok_or_else(|| StoreError::Unexpected("a job without its batch".into()))?;
            let judged = match self.denial(ask, (fences.get(&(ask.job, ask.part)), clip), batch, begun) {
                Some(denial) => Judged::Denied(denial),
                None if !self.has_own_room(ask, batch, begun) => Judged::Waits,
                None => self.afford(ask, batch, books),
            };
            match judged {
                Judged::Denied(denial) => self.verdicts.push((at, Err(denial))),
                Judged::Waits => self.left = true,
                Judged::NoRoom => {
                    self.left = true;
                    self.without_room.push(ask.batch);
                }
                Judged::Granted { reserve } => {
                    let used = begun.used.entry((self.account, self.pool)).or_default();
                    *used.entry(batch.definition.clone()).or_default() += 1;
                    if let Some(own) = begun.own_rate((self.account, self.pool), &batch.definition) {
                        own.room = own.room.saturating_sub(1);
                    }
                    batch.reserved += reserve;
                    batch.in_flight += 1;
                    let mut permit = self.begin(conn, (hints, begun), ask, reserve).await?;
                    permit.spent_until = books.until(ask, batch);
                    permit.close_limits = books.grant(conn, (ask, batch), reserve, self.now.wall).await?;
                    self.verdicts.push((at, Ok(permit)));
                }
            }
        }
        Ok(())
    }

    /// Whether its definition, which may lower its rate, may begin a call.
    fn has_own_room(&mut self, ask: &PermitRequest, batch: &Money, begun: &mut Begun<'a>) -> bool {
        let own = ask.own_rate.and_then(|_| begun.own_rate((self.account, self.pool), &batch.definition));
        let Some(own) = own.filter(|own| own.room == 0) else { return true };
        // Calls that begin just now leave the window when they are as old as that.
        let until = own.until.unwrap_or(self.now.wall + WINDOW_MS);
        self.own_until = Some(self.own_until.map_or(until, |before| before.min(until)));
        false
    }

    /// Why this call must not be made, even if there is room.
    fn denial(
        &self,
        ask: &PermitRequest,
        (fence, clip): (Option<&Fence>, &ClipFence),
        batch: &Money,
        begun: &Begun<'_>,
    ) -> Option<Denial> {
        if let Some(denial) = denied(ask, fence, clip, batch, self.now.wall) {
            return Some(denial);
        }
        // The same part is asked for twice at once: neither ask sees the other's call yet.
        if begun.parts.contains(&(ask.job, ask.part)) {
            return Some(Denial::OpenCall);
        }
        let call = begun.clips.get(&ask.buys.clip()?.cache_key)?;
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
        if !may_probe || batch.concurrency.is_some_and(|most| batch.in_flight >= most) {
            return Judged::Waits;
        }
        if self.room <= self.kept {
            return Judged::NoRoom;
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
        conn: &mut Conn,
        (hints, begun): (&mut Hints, &mut Begun<'a>),
        ask: &'a PermitRequest,
        reserve: i64,
    ) -> Result<Permit, StoreError> {
        let (call, place) = (CallId::new(), (self.account, self.pool));
        let mut padding = 0;
        let mut upload_bytes = None;
        if let Some(upload) = &ask.upload {
            let sizes = begun.sizes.entry(place).or_default();
            padding = uploads::padding(conn, (hints, sizes), place, upload, self.now).await?;
            upload_bytes = i64::try_from(upload.bytes).ok().map(|bytes| bytes.saturating_add(padding.into()));
            if let Some(bytes) = upload_bytes {
                sizes.take(bytes);
            }
        }
        self.room -= 1;
        self.intents.push(Intent { ask, call, reserve, upload_bytes });
        begun.parts.insert((ask.job, ask.part));
        begun.clips.extend(ask.buys.clip().map(|clip| (clip.cache_key, call)));
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

    async fn write(&mut self, conn: &mut Conn, money: &HashMap<BatchId, Money>) -> Result<(), StoreError> {
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
    /// For something that is not the pool's room.
    Waits,
    /// The pool has no room, or leaves it to another process.
    NoRoom,
    Granted {
        reserve: i64,
    },
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
