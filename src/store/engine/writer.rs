//! The one writer of this process: a task that takes all waiting commands and commits them as one transaction. No
//! transaction lives in a caller's future, so callers may be dropped freely.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use tokio::sync::mpsc;

use crate::store::engine::db::{Conn, Found, Trip, too_slow};
use crate::store::{
    ClaimRequest, Claimed, Effect, EndReply, Ended, LAST_WAIT, Moment, PermitRequest, Settled, Settlement, StoreError,
    StoreShared, WriterReply,
    calls::callbacks::{self, Received},
    calls::end,
    calls::look,
    calls::permit,
    engine::beat::{self, Beaten},
    engine::link::Link,
    engine::postgres::CommitFailed,
    engine::space,
    jobs::claim,
    jobs::settle,
};
use crate::{clock::Millis, domain::job::CallId};

/// How many commands may wait before callers wait to send.
pub(in crate::store) const BACKLOG: usize = 4_096;
const GROUP_MOST: usize = 256;
const GROUP_TIME: Duration = Duration::from_millis(5);
/// How often to look for slots that other processes freed.
const POLL_MS: i64 = 100;
/// The longest time between two looks at waiting permits: another process may have paused, cancelled, or ended an outage.
const LOOK_MS: i64 = 1_000;
/// How long commands wait for company that are not urgent; at most as long as a transaction takes.
const COMPANY_TIME: Duration = Duration::from_millis(20);
const FULL_DISK_WAIT: Duration = Duration::from_secs(1);
/// How often a ledger that cannot be written is logged.
const REPEAT: Duration = Duration::from_secs(60);

pub(in crate::store) enum Command {
    Claim(ClaimRequest, WriterReply<Vec<Claimed>>),
    Permit(Box<PermitRequest>),
    End(Box<Ended>, WriterReply<EndReply>),
    Settle(Box<Settlement>, WriterReply<Settled>),
    Receive(Box<Received>, WriterReply<Option<Effect>>),
    WriterTask(WriterTask),
}

type Made = Box<dyn Any + Send>;
type WorkFn = dyn for<'c> Fn(&'c mut Conn, Millis) -> BoxFuture<'c, Result<Made, StoreError>> + Send + Sync;

/// A command that is not on the hot path.
pub(in crate::store) struct WriterTask {
    run: Box<WorkFn>,
    reply: WriterReply<Made>,
}

impl WriterTask {
    pub(in crate::store) fn new<T, F>(work: F, reply: WriterReply<Made>) -> Self
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut Conn, Millis) -> BoxFuture<'c, Result<T, StoreError>> + Send + Sync + 'static,
    {
        let work = Arc::new(work);
        let run: Box<WorkFn> = Box::new(move |conn, now| {
            let work = Arc::clone(&work);
            Box::pin(async move { Ok(Box::new(work(conn, now).await?) as Made) })
        });
        Self { run, reply }
    }
}

/// The commands of one transaction.
#[derive(Default)]
struct WriteGroup {
    claims: Vec<(ClaimRequest, WriterReply<Vec<Claimed>>)>,
    ends: Vec<(Box<Ended>, WriterReply<EndReply>)>,
    settles: Vec<(Box<Settlement>, WriterReply<Settled>)>,
    receives: Vec<(Box<Received>, WriterReply<Option<Effect>>)>,
    works: Vec<WriterTask>,
}

/// The replies to its callers, sent only once it is on disk.
#[derive(Default)]
struct Replies {
    claims: Vec<Vec<Claimed>>,
    ends: Vec<EndReply>,
    settles: Vec<Settled>,
    receives: Vec<Option<Effect>>,
    works: Vec<Made>,
    permits: permit::Granted,
}

impl WriteGroup {
    fn len(&self) -> usize {
        self.claims.len() + self.ends.len() + self.settles.len() + self.receives.len() + self.works.len()
    }

    fn add(&mut self, command: Command, waiting: &mut Vec<PermitRequest>) {
        match command {
            Command::Claim(want, reply) => self.claims.push((want, reply)),
            Command::Permit(ask) => waiting.push(*ask),
            Command::End(ended, reply) => self.ends.push((ended, reply)),
            Command::Settle(settlement, reply) => self.settles.push((settlement, reply)),
            Command::Receive(received, reply) => self.receives.push((received, reply)),
            Command::WriterTask(work) => self.works.push(work),
        }
    }

    /// Each command as a group of its own, so that a command that fails does not undo the others.
    fn apart(self) -> impl Iterator<Item = Self> {
        let ends = self.ends.into_iter().map(|x| Self { ends: vec![x], ..Self::default() });
        let settles = self.settles.into_iter().map(|x| Self { settles: vec![x], ..Self::default() });
        let receives = self.receives.into_iter().map(|x| Self { receives: vec![x], ..Self::default() });
        let works = self.works.into_iter().map(|x| Self { works: vec![x], ..Self::default() });
        let claims = self.claims.into_iter().map(|x| Self { claims: vec![x], ..Self::default() });
        ends.chain(receives).chain(settles).chain(works).chain(claims)
    }

    fn answer(self, replies: Replies) {
        fn reply_all<T>(replies: impl Iterator<Item = WriterReply<T>>, values: Vec<T>) {
            for (reply, value) in replies.zip(values) {
                let _ = reply.send(Ok(value));
            }
        }
        reply_all(self.claims.into_iter().map(|x| x.1), replies.claims);
        reply_all(self.ends.into_iter().map(|x| x.1), replies.ends);
        reply_all(self.settles.into_iter().map(|x| x.1), replies.settles);
        reply_all(self.receives.into_iter().map(|x| x.1), replies.receives);
        reply_all(self.works.into_iter().map(|x| x.reply), replies.works);
    }

    fn refuse(self, error: StoreError) {
        // A refused group has one member, which alone gets the error.
        let mut error = Some(error);
        let mut take = || error.take().unwrap_or(StoreError::Closed);
        for (_, reply) in self.claims {
            let _ = reply.send(Err(take()));
        }
        for (_, reply) in self.ends {
            let _ = reply.send(Err(take()));
        }
        for (_, reply) in self.settles {
            let _ = reply.send(Err(take()));
        }
        for (_, reply) in self.receives {
            let _ = reply.send(Err(take()));
        }
        for work in self.works {
            let _ = work.reply.send(Err(take()));
        }
    }
}

struct Writer {
    link: Link,
    shared: Arc<StoreShared>,
    waiting: Vec<PermitRequest>,
    /// When to look at the waiting permits again; `None` = only when a call ends.
    wake: Option<Millis>,
    next_beat: Instant,
    /// When it was last logged that the ledger cannot be written.
    /// How long the last transaction took.
    took: Duration,
    logged_broken: Option<Instant>,
    /// Whether the disk was found full since the write-ahead log was last limited.
    was_full: bool,
    /// Permits whose workers are gone: their calls were never sent, and the next transaction records that.
    unsent: Vec<CallId>,
    memory: look::Memory,
}

/// Which of the waiting permits a transaction looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permits {
    /// All of them, if there is a reason to look.
    All {
        /// Whether some of them have just arrived.
        asked: bool,
    },
    /// None: a fault of one of them must not undo paid results of others.
    None,
    /// The one with this index.
    Only(usize),
}

/// Runs until every handle is gone.
pub(super) async fn run(link: Link, mut inbox: mpsc::Receiver<Command>, shared: Arc<StoreShared>) {
    // Dropped last, however this ends: nobody may wait for it in vain.
    let _closed = shared.closed.clone().drop_guard();
    let mut writer = Writer {
        link,
        shared,
        waiting: Vec::new(),
        wake: None,
        next_beat: Instant::now(),
        took: Duration::ZERO,
        logged_broken: None,
        was_full: false,
        unsent: Vec::new(),
        memory: look::Memory::default(),
    };
    loop {
        let mut group = WriteGroup::default();
        let mut asked = false;
        let first = tokio::select! {
            biased;
            command = inbox.recv() => match command { Some(c) => Some(c), None => break },
            () = writer.next_moment() => None,
        };
        if let Some(command) = first {
            let mut is_urgent = writer.is_urgent(&command);
            asked |= matches!(command, Command::Permit(_));
            group.add(command, &mut writer.waiting);
            let began = Instant::now();
            while group.len() < GROUP_MOST && began.elapsed() < GROUP_TIME {
                let Ok(command) = inbox.try_recv() else { break };
                is_urgent |= writer.is_urgent(&command);
                asked |= matches!(command, Command::Permit(_));
                group.add(command, &mut writer.waiting);
            }
            // What nobody loses time by waits for company: an end that comes just now would wait for this transaction.
            let until = began + writer.took.min(COMPANY_TIME);
            while !is_urgent && group.len() < GROUP_MOST {
                let next = tokio::time::timeout_at(until.into(), inbox.recv()).await;
                let Ok(Some(command)) = next else { break };
                is_urgent |= writer.is_urgent(&command);
                asked |= matches!(command, Command::Permit(_));
                group.add(command, &mut writer.waiting);
            }
        }
        let began = Instant::now();
        writer.commit(group, asked).await;
        writer.took = began.elapsed();
    }
    writer.link.close().await;
}

/// Where the rows about a group's ends and settlements are.
type LookedUp = (Option<end::Look>, Option<settle::Look>);

/// The ends and settlements of a group, and what is found of them.
struct Looked<'a> {
    ends: &'a [&'a Ended],
    settles: &'a [&'a Settlement],
    /// `None`: they were not looked up yet.
    found: Option<(LookedUp, Found)>,
}

impl Writer {
    fn works(&self) -> bool {
        self.shared.process.load(Ordering::Acquire) != 0
    }

    /// Whether somebody loses time while this waits. The slot of a call that has ended is empty until its end is written. A
    /// line that settles keeps no slot, and the workers have more lines at hand than slots. Where asks wait at a gate, it
    /// is shut until a call ends.
    fn is_urgent(&self, command: &Command) -> bool {
        match command {
            Command::Claim(..) | Command::Settle(..) => false,
            Command::Permit(ask) => !self.waiting.iter().any(|other| other.gate() == ask.gate()),
            Command::End(..) | Command::Receive(..) | Command::WriterTask(_) => true,
        }
    }

    /// The next heartbeat or the next look at waiting permits, whichever is earlier.
    async fn next_moment(&self) {
        let beat = async {
            if self.works() {
                tokio::time::sleep_until(self.next_beat.into()).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        let wake = async {
            match self.wake {
                _ if !self.unsent.is_empty() && self.logged_broken.is_none() => {}
                Some(at) if !self.waiting.is_empty() => self.shared.clock.sleep_until(at).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! { () = beat => {}, () = wake => {} }
    }

    async fn commit(&mut self, group: WriteGroup, asked: bool) {
        if std::mem::take(&mut self.was_full)
            && let Link::File(conn) = &mut self.link
        {
            space::keep_log_short(conn).await;
        }
        self.waiting.retain(|ask| !ask.is_abandoned());
        match self.transact(&group, Permits::All { asked }).await {
            Ok(replies) => self.deliver(group, replies),
            // The transaction had only the heartbeat.
            Err(e) if group.len() == 0 && self.waiting.is_empty() => self.one_failed(group, e).await,
            Err(e) if e.is_passing() && group.len() <= 1 => self.one_failed(group, e).await,
            Err(_) => self.one_by_one(group).await,
        }
    }

    /// Each command in a transaction of its own, and each waiting permit too: a failure undoes nothing but itself.
    async fn one_by_one(&mut self, group: WriteGroup) {
        let mut is_away = false;
        for one in group.apart() {
            if is_away {
                one.refuse(too_slow());
                continue;
            }
            match self.transact(&one, Permits::None).await {
                Ok(replies) => self.deliver(one, replies),
                Err(e) => {
                    let is_out_of_reach = matches!(e, StoreError::Unreachable(_));
                    self.one_failed(one, e).await;
                    // It was waited for long enough: not once more for each of the others.
                    is_away = is_out_of_reach && self.shared.give_up.is_cancelled();
                }
            }
        }
        if is_away {
            return;
        }
        let mut at = 0;
        while at < self.waiting.len() {
            let before = self.waiting.len();
            match self.transact(&WriteGroup::default(), Permits::Only(at)).await {
                Ok(replies) => self.deliver(WriteGroup::default(), replies),
                Err(e) if e.is_passing() || e.is_fatal() => return self.one_failed(WriteGroup::default(), e).await,
                Err(e) => {
                    tracing::error!(error = %e.reason(), "the ledger refuses a call's intent; its line fails");
                    let refused = permit::Granted::refused(at, &e);
                    self.deliver(WriteGroup::default(), Replies { permits: refused, ..Replies::default() });
                }
            }
            // Asks that were answered are gone from the list.
            if self.waiting.len() == before {
                at += 1;
            }
        }
        self.wake = Some(self.shared.clock.now() + POLL_MS);
    }

    fn deliver(&mut self, group: WriteGroup, mut replies: Replies) {
        let was_broken = self.logged_broken.take().is_some();
        if was_broken {
            self.shared.trouble().broken = None;
        }
        if was_broken && self.works() {
            // The log has the failure, so it must have this too.
            tracing::warn!("the ledger can be written again");
        }
        let mut permits = std::mem::take(&mut replies.permits);
        if let Some(said) = permits.said.take() {
            self.memory.said(said);
        }
        group.answer(replies);
        let now = self.shared.clock.now();
        let (wake, unsent) = permits.hand_out(&mut self.waiting);
        self.unsent.extend(unsent);
        self.wake = wake.map(|at| at.unwrap_or(now + POLL_MS).min(now + LOOK_MS));
    }

    /// While the ledger cannot be written, a process that works admits nothing new and keeps the paid answers in memory:
    /// everything waits here until a write succeeds, or until the wait is given up.
    async fn one_failed(&mut self, group: WriteGroup, mut error: StoreError) {
        let give_up = self.shared.give_up.clone();
        while error.is_passing() && group.len() > 0 && self.works() && !give_up.is_cancelled() {
            self.log_broken(&error);
            if self.shared.has_waited_long_enough() {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep(FULL_DISK_WAIT) => {}
                () = give_up.cancelled() => {}
            }
            match self.transact(&group, Permits::None).await {
                Ok(replies) => return self.deliver(group, replies),
                Err(e) => error = e,
            }
        }
        self.wake = Some(self.shared.clock.now() + 1_000);
        if group.len() == 0 {
            if error.is_passing() {
                self.log_broken(&error);
                self.shared.has_waited_long_enough();
            } else {
                self.logged_broken.get_or_insert_with(Instant::now);
                tracing::warn!(error = %error, "the ledger's heartbeat failed; it will be tried again");
            }
            self.next_beat = Instant::now() + Duration::from_millis(500);
            permit::refuse_if_final(&mut self.waiting, error);
        } else {
            group.refuse(error);
        }
    }

    fn log_broken(&mut self, error: &StoreError) {
        self.was_full |= matches!(error, StoreError::Full(_));
        let now = Instant::now();
        self.shared.trouble().broken.get_or_insert((now, String::new())).1 = error.to_string();
        if self.logged_broken.is_none_or(|logged_at| now.duration_since(logged_at) >= REPEAT) {
            self.logged_broken = Some(now);
            tracing::error!(error = %error, hint = error.hint(), "the ledger cannot be written: no call is begun, answers are kept in hand, and it is tried again every second");
        }
    }

    async fn transact(&mut self, group: &WriteGroup, permits: Permits) -> Result<Replies, StoreError> {
        tracing::trace!("transaction");
        let ends: Vec<&Ended> = group.ends.iter().map(|(e, _)| &**e).collect();
        let settles: Vec<&Settlement> = group.settles.iter().map(|(s, _)| &**s).collect();
        let (mut trip, mut asked) = (Trip::default(), None);
        if self.begins_with_looks() {
            asked = Some((end::ask(&mut trip, &ends), settle::ask(&mut trip, &settles)));
        }
        let (now, found) = Box::pin(self.link.begin(&self.shared, trip)).await?;
        let looked = Looked { ends: &ends, settles: &settles, found: asked.map(|asked| (asked, found)) };
        // A command that panics is rolled back like a refused one: this process has only this writer.
        let (shared, patience) = (Arc::clone(&self.shared), self.link.patience(!group.works.is_empty()));
        let filled = AssertUnwindSafe(Box::pin(self.fill(group, looked, permits, now))).catch_unwind();
        let filled = match patience {
            None => Some(filled.await),
            Some(patience) => shared.in_time(patience, async { Ok(filled.await) }).await.ok(),
        };
        let filled = match filled {
            Some(filled) => filled.unwrap_or_else(|panic| Err(StoreError::Panicked(words_of(&*panic)))),
            None => Err(self.link.give_up()),
        };
        match filled {
            Ok((replies, beaten)) => {
                self.commit_for_sure(now).await?;
                self.unsent.clear();
                if let Some(beaten) = beaten {
                    self.shared.heartbeat_at.store(beaten.boot, Ordering::Release);
                    self.next_beat = Instant::now() + ms(self.shared.timing.beat_ms);
                    if let Some(anew) = beaten.enlisted_anew {
                        self.shared.process.store(anew, Ordering::Release);
                    }
                }
                Ok(replies)
            }
            Err(e) => {
                self.link.roll_back().await;
                Err(e)
            }
        }
    }

    /// Commits. A connection that breaks in the meantime leaves it open whether the transaction is in the ledger: then the
    /// ledger is asked, before anything else is done, for nothing of it may be done twice.
    async fn commit_for_sure(&mut self, now: Millis) -> Result<(), StoreError> {
        let mut error = match self.link.commit(&self.shared, now).await {
            Ok(()) => return Ok(()),
            Err(CommitFailed::Undone(e)) => return Err(e),
            Err(CommitFailed::Unknown(e)) => e,
        };
        let give_up = self.shared.give_up.clone();
        let wait_until = (!self.works()).then(|| Instant::now() + LAST_WAIT / 2);
        loop {
            match self.link.is_in(&self.shared).await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(error),
                Err(e) => error = e,
            }
            self.log_broken(&error);
            let is_over = wait_until.is_some_and(|until| Instant::now() > until);
            if give_up.is_cancelled() || is_over || self.shared.has_waited_long_enough() {
                give_up.cancel();
                return Err(error);
            }
            tokio::select! {
                () = tokio::time::sleep(FULL_DISK_WAIT) => {}
                () = give_up.cancelled() => {}
            }
        }
    }

    /// Whether the next transaction has the heartbeat.
    fn beat_due(&self) -> bool {
        let since = self.shared.clock.boot() - self.shared.heartbeat_at.load(Ordering::Acquire);
        self.works() && (Instant::now() >= self.next_beat || since > self.shared.timing.lease_ms / 2)
    }

    /// Whether nothing comes before the ends and settlements of the next transaction that could change what is looked up
    /// for them.
    fn begins_with_looks(&self) -> bool {
        !self.beat_due() && self.unsent.is_empty()
    }

    async fn fill(
        &mut self,
        group: &WriteGroup,
        looked: Looked<'_>,
        permits: Permits,
        now: Millis,
    ) -> Result<(Replies, Option<Beaten>), StoreError> {
        // The wait for the lock may have been long: what was looked up counts only if nothing is to be done before it.
        let (beat_due, looks_now) = (self.beat_due(), !self.begins_with_looks());
        let (conn, shared) = (self.link.conn(), &*self.shared);
        let moment = Moment::at(now, &shared.clock);
        let mut replies = Replies::default();
        let process = shared.process.load(Ordering::Acquire);
        let beaten = if beat_due { Some(beat::beat(conn, shared, process, &moment).await?) } else { None };
        for call in &self.unsent {
            end::never_sent(conn, *call, now).await?;
        }
        // A verb stops where it is. A process at work that has noticed it may still put its work back.
        let is_of_verb = !group.works.is_empty() || !group.receives.is_empty();
        if process == 0 && is_of_verb && !shared.outgrown.is_noticed() {
            shared.outgrown.refuse_now(&mut *conn).await?;
        }
        let Looked { ends, settles, found } = looked;
        let ((about_ends, about_settles), mut found) = match found {
            Some(found) if !looks_now => found,
            _ => {
                let mut trip = Trip::default();
                let asked = (end::ask(&mut trip, ends), settle::ask(&mut trip, settles));
                (asked, trip.make(conn).await?)
            }
        };
        replies.ends = end::end_found(conn, (ends, about_ends, &mut found), now).await?;
        let receives: Vec<&Received> = group.receives.iter().map(|(r, _)| &**r).collect();
        replies.receives = callbacks::receive(conn, &receives, now).await?;
        let mut trip = Trip::default();
        let mut settling = settle::settle(conn, &mut trip, (settles, about_settles, &mut found), now).await?;
        if let Some(settling) = settling.take_if(|s| !group.works.is_empty() || !s.pauses_nothing(shared)) {
            let mut found = std::mem::take(&mut trip).make(conn).await?;
            replies.settles = settling.finish(conn, shared, &mut found, now).await?;
        }
        if let Conn::Wire(wire) = conn
            && !group.works.is_empty()
        {
            wire.plan_freely();
        }
        for work in &group.works {
            replies.works.push((work.run)(conn, now).await?);
        }
        let look = match permits {
            Permits::None => None,
            Permits::Only(at) => Some(Some(at)),
            Permits::All { asked } => {
                let look = asked
                    || !group.ends.is_empty()
                    || !group.receives.is_empty()
                    || !group.works.is_empty()
                    || self.wake.is_some_and(|at| at <= now);
                look.then_some(None)
            }
        };
        // Claims and permits need two trips each, which they make together, the first of them with the settlements.
        // Nothing new is begun in a ledger that a newer program migrated.
        let begins = !shared.outgrown.is_noticed();
        let mut wants = group.claims.iter().map(|(want, _)| want).filter(|_| begins);
        let claim = wants.next().map(|want| (want, claim::ask(&mut trip, shared, want, now)));
        let facts = look.and_then(|only| look::ask(&mut trip, shared, (&self.waiting, only), &moment));
        let mut found = trip.make(conn).await?;
        if let Some(settling) = settling {
            replies.settles = settling.finish(conn, shared, &mut found, now).await?;
        }
        let mut trip = Trip::default();
        let chosen =
            claim.map(|(want, look)| claim::choose((&mut found, look), &mut trip, shared, want, now)).transpose()?;
        let memory = &mut self.memory;
        let round = facts.map(|facts| facts.next(&mut found, &mut trip, (shared, memory), &moment)).transpose()?;
        let mut found = trip.make(conn).await?;
        if let Some(chosen) = chosen {
            replies.claims.push(chosen.finish(conn, shared, &mut found, now).await?);
        }
        for want in wants {
            replies.claims.push(claim::claim(conn, shared, want, now).await?);
        }
        replies.claims.resize_with(group.claims.len(), Vec::new);
        replies.permits = match round {
            Some(round) => round.grant(conn, shared, (&mut found, memory), &moment).await?,
            None if look.is_some() => permit::Granted::nothing(None),
            None => permit::Granted::nothing((!self.waiting.is_empty()).then_some(self.wake)),
        };
        Ok((replies, beaten))
    }
}

/// The message of a panic.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".into())
}

fn ms(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
