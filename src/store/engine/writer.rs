//! The one writer of this process: a task that takes all waiting commands and commits them as one transaction. No
//! transaction lives in a caller's future, so callers may be dropped freely.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use sqlx::SqliteConnection;
use tokio::sync::mpsc;

use crate::store::{
    ClaimRequest, Claimed, Effect, EndReply, Ended, Moment, PermitRequest, Settled, Settlement, StoreError,
    StoreShared, WriterReply,
    calls::callbacks::{self, Received},
    calls::end,
    calls::look,
    calls::permit,
    calls::uploads::Hints,
    engine::beat,
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
const FULL_DISK_WAIT: Duration = Duration::from_secs(1);
/// How long a process that is asked to end waits for a ledger that cannot be written.
const LAST_WAIT: Duration = Duration::from_secs(20);
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
type WorkFn = dyn for<'c> Fn(&'c mut SqliteConnection, Millis) -> BoxFuture<'c, Result<Made, StoreError>> + Send + Sync;

/// A command that is not on the hot path.
pub(in crate::store) struct WriterTask {
    run: Box<WorkFn>,
    reply: WriterReply<Made>,
}

impl WriterTask {
    pub(in crate::store) fn new<T, F>(work: F, reply: WriterReply<Made>) -> Self
    where
        T: Send + 'static,
        F: for<'c> Fn(&'c mut SqliteConnection, Millis) -> BoxFuture<'c, Result<T, StoreError>> + Send + Sync + 'static,
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
    conn: SqliteConnection,
    shared: Arc<StoreShared>,
    waiting: Vec<PermitRequest>,
    /// When to look at the waiting permits again; `None` = only when a call ends.
    wake: Option<Millis>,
    next_beat: Instant,
    /// When it was last logged that the ledger cannot be written.
    logged_broken: Option<Instant>,
    /// Whether the disk was found full since the write-ahead log was last limited.
    was_full: bool,
    /// Permits whose workers are gone: their calls were never sent, and the next transaction records that.
    unsent: Vec<CallId>,
    hints: Hints,
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
pub(in crate::store) async fn run(
    conn: SqliteConnection,
    mut inbox: mpsc::Receiver<Command>,
    shared: Arc<StoreShared>,
) {
    // Dropped last, however this ends: nobody may wait for it in vain.
    let _closed = shared.closed.clone().drop_guard();
    let mut writer = Writer {
        conn,
        shared,
        waiting: Vec::new(),
        wake: None,
        next_beat: Instant::now(),
        logged_broken: None,
        was_full: false,
        unsent: Vec::new(),
        hints: Hints::default(),
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
            asked |= matches!(command, Command::Permit(_));
            group.add(command, &mut writer.waiting);
            let began = Instant::now();
            while group.len() < GROUP_MOST && began.elapsed() < GROUP_TIME {
                let Ok(command) = inbox.try_recv() else { break };
                asked |= matches!(command, Command::Permit(_));
                group.add(command, &mut writer.waiting);
            }
        }
        writer.commit(group, asked).await;
    }
    let _ = sqlx::Connection::close(writer.conn).await;
}

impl Writer {
    fn works(&self) -> bool {
        self.shared.process.load(Ordering::Acquire) != 0
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
        if std::mem::take(&mut self.was_full) {
            space::keep_log_short(&mut self.conn).await;
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
        for one in group.apart() {
            match self.transact(&one, Permits::None).await {
                Ok(replies) => self.deliver(one, replies),
                Err(e) => self.one_failed(one, e).await,
            }
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
        if self.logged_broken.take().is_some() && self.works() {
            // The log has the failure, so it must have this too.
            tracing::warn!("the ledger can be written again");
        }
        let permits = std::mem::take(&mut replies.permits);
        group.answer(replies);
        let now = self.shared.clock.now();
        let (wake, unsent) = permits.hand_out(&mut self.waiting);
        self.unsent.extend(unsent);
        self.wake = wake.map(|at| at.unwrap_or(now + POLL_MS).min(now + LOOK_MS));
    }

    /// While the ledger cannot be written, a process that works admits nothing new and keeps the paid answers in memory:
    /// everything waits here until a write succeeds, or until the wait is given up.
    async fn one_failed(&mut self, group: WriteGroup, mut error: StoreError) {
        let (hurry, give_up) = (self.shared.hurry.clone(), self.shared.give_up.clone());
        let mut hurried_since = None;
        while error.is_passing() && group.len() > 0 && self.works() && !give_up.is_cancelled() {
            self.log_broken(&error);
            if hurry.is_cancelled() && hurried_since.get_or_insert_with(Instant::now).elapsed() > LAST_WAIT {
                give_up.cancel();
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
        if self.logged_broken.is_none_or(|logged_at| now.duration_since(logged_at) >= REPEAT) {
            self.logged_broken = Some(now);
            tracing::error!(error = %error, hint = error.hint(), "the ledger cannot be written: no call is begun, answers are kept in hand, and it is tried again every second");
        }
    }

    async fn transact(&mut self, group: &WriteGroup, permits: Permits) -> Result<Replies, StoreError> {
        tracing::trace!("transaction");
        sqlx::query("BEGIN IMMEDIATE").execute(&mut self.conn).await?;
        // A command that panics is rolled back like a refused one: this process has only this writer.
        let filled = AssertUnwindSafe(self.fill(group, permits)).catch_unwind().await;
        match filled.unwrap_or_else(|panic| Err(StoreError::Panicked(words_of(&*panic)))) {
            Ok((replies, beaten)) => {
                if let Err(e) = sqlx::query("COMMIT").execute(&mut self.conn).await {
                    self.roll_back().await;
                    return Err(e.into());
                }
                self.unsent.clear();
                if let Some(at) = beaten {
                    self.shared.heartbeat_at.store(at, Ordering::Release);
                    self.next_beat = Instant::now() + ms(self.shared.timing.beat_ms);
                }
                Ok(replies)
            }
            Err(e) => {
                self.roll_back().await;
                Err(e)
            }
        }
    }

    async fn roll_back(&mut self) {
        // SQLite rolls back by itself on some errors; then this has nothing to do and fails.
        let _ = sqlx::query("ROLLBACK").execute(&mut self.conn).await;
    }

    async fn fill(&mut self, group: &WriteGroup, permits: Permits) -> Result<(Replies, Option<Millis>), StoreError> {
        let (conn, shared) = (&mut self.conn, &*self.shared);
        // Read after BEGIN IMMEDIATE: the wait for the lock must not make stamps old.
        let moment = Moment::of(&shared.clock);
        let now = moment.wall;
        let mut replies = Replies::default();
        let process = shared.process.load(Ordering::Acquire);
        let beat_due = process != 0
            && (Instant::now() >= self.next_beat
                || moment.boot - shared.heartbeat_at.load(Ordering::Acquire) > shared.timing.lease_ms / 2);
        let beaten = if beat_due {
            beat::beat(conn, shared, process, &moment).await?;
            Some(moment.boot)
        } else {
            None
        };
        for call in &self.unsent {
            end::never_sent(conn, *call, now).await?;
        }
        let ends: Vec<&Ended> = group.ends.iter().map(|(e, _)| &**e).collect();
        replies.ends = end::end(conn, &ends, now).await?;
        let receives: Vec<&Received> = group.receives.iter().map(|(r, _)| &**r).collect();
        replies.receives = callbacks::receive(conn, &receives, now).await?;
        let settles: Vec<&Settlement> = group.settles.iter().map(|(s, _)| &**s).collect();
        replies.settles = settle::settle(conn, shared, &settles, now).await?;
        // A verb stops where it is. A process at work that has noticed it may still put its work back.
        if process == 0 && !group.works.is_empty() && !shared.outgrown.is_noticed() {
            shared.outgrown.refuse_newer(&mut *conn).await?;
        }
        for work in &group.works {
            replies.works.push((work.run)(conn, now).await?);
        }
        for (want, _) in &group.claims {
            // Nothing new is begun in a ledger that a newer program migrated.
            let claimed = match shared.outgrown.is_noticed() {
                true => Vec::new(),
                false => claim::claim(conn, shared, want, now).await?,
            };
            replies.claims.push(claimed);
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
        replies.permits = match look {
            Some(only) if !self.waiting.is_empty() => {
                look::grant(conn, shared, &mut self.hints, (&self.waiting, only), &moment).await?
            }
            _ => permit::Granted::nothing((!self.waiting.is_empty()).then_some(self.wake)),
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
