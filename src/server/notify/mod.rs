//! Who wants to know how batches go is told, once for each thing, whatever becomes of the process that saw it. A
//! notification that fails fails nothing else: it is a warning, and tried again.

mod command;
mod news;
mod post;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::{
    news::News,
    post::{NOTIFICATION, SIGNATURE, TIMESTAMP},
};
use crate::{
    clock::{Clock, Millis},
    definition::Notify,
    domain::{callback::Secret, notice::wait_ms},
    store::{NewNotice, Notice, Store, StoreError, Undelivered},
};

/// Notifications under way at once.
const AT_ONCE: usize = 8;
/// Longer than any way of telling may take.
const LEASE_MS: i64 = 90_000;
/// How often the ledger is looked at for what others posted.
const LOOK_MS: i64 = 1_000;
/// How long to leave a ledger alone that cannot be used.
const LEDGER_MS: i64 = 30_000;
/// When to look again at what we know nobody to tell of.
const LEFT_MS: i64 = 15 * 60_000;
/// Between two rounds of forgetting.
const PRUNE_MS: i64 = 3_600_000;
/// What a service that ends gives to what is under way.
const LAST_WAIT: Duration = Duration::from_secs(3);
/// How long it may take to note what became of what was cut off. A ledger that does not take it knows by the lease.
const LAST_NOTE: Duration = Duration::from_secs(1);

/// Where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The command or the URL.
    pub to: Notify,
    /// The directory of the file that says so, in which a command runs.
    pub dir: PathBuf,
}

/// How long the other side may take.
#[derive(Debug, Clone, Copy)]
pub struct NotifyTimeouts {
    /// Whoever is posted to.
    pub url: Duration,
    /// A command.
    pub command: Duration,
}

impl Default for NotifyTimeouts {
    fn default() -> Self {
        Self { url: Duration::from_secs(10), command: Duration::from_secs(60) }
    }
}

/// What a definition of this name says, if it is known and says something.
pub type OwnTarget = Arc<dyn Fn(&str) -> Option<Target> + Send + Sync>;

/// What notifications are made with.
#[derive(Clone)]
pub struct NotifySettings {
    /// Who is told where a definition names nobody: of `wavebatch.toml`.
    pub target: Option<Target>,
    /// Who is told where it does. Asked each time, since definitions change.
    pub own: OwnTarget,
    /// What posts are signed with. Without one, nothing is posted.
    pub secret: Option<Secret>,
    /// How long the other side may take.
    pub timeouts: NotifyTimeouts,
    /// Hears of each try, whether it went well.
    pub on_sent: Arc<dyn Fn(bool) + Send + Sync>,
}

impl fmt::Debug for NotifySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotifySettings").field("target", &self.target).finish_non_exhaustive()
    }
}

impl NotifySettings {
    /// These targets with everything else as usual.
    #[must_use]
    pub fn new(target: Option<Target>, own: OwnTarget, secret: Option<Secret>) -> Self {
        Self { target, own, secret, timeouts: NotifyTimeouts::default(), on_sent: Arc::new(|_| ()) }
    }

    /// Whether somebody wants to know of this definition's batches. `own`: that it names somebody itself.
    #[must_use]
    pub fn notifies(&self, definition: &str, own: bool) -> bool {
        self.target_of(definition, own).is_some()
    }

    /// Where a notification of this definition goes. `own`: that it named somebody itself when it was posted; then nobody
    /// else is told.
    fn target_of(&self, definition: &str, own: bool) -> Option<Target> {
        (self.own)(definition).or_else(|| self.target.clone().filter(|_| !own))
    }

    async fn send(&self, target: &Target, uid: &str, body: &str, now: Millis) -> Result<(), String> {
        #[derive(Serialize)]
        struct Whole<'n> {
            id: &'n str,
            #[serde(flatten)]
            news: &'n Map<String, Value>,
        }
        let news: Map<String, Value> = serde_json::from_str(body).map_err(|e| format!("what was to be told: {e}"))?;
        let body = serde_json::to_string(&Whole { id: uid, news: &news }).expect("what was JSON is JSON");
        match &target.to {
            Notify::Command(text) => command::run(text, &target.dir, &body, &news, self.timeouts.command).await,
            Notify::Url(url) => {
                let secret = self.secret.as_ref().ok_or("there is no secret to sign it with")?;
                post::send(url, secret, (uid, body), now, self.timeouts.url).await
            }
        }
    }

    /// Tells it now, once, without a ledger: where that is what is wrong. `None`: nobody wants to know.
    pub async fn notify_directly(&self, notice: &NewNotice) -> Option<Result<(), String>> {
        let target = self.target_of(&notice.definition, notice.own)?;
        let sent = self.send(&target, &Uuid::now_v7().to_string(), &notice.body, Clock::system().now()).await;
        (self.on_sent)(sent.is_ok());
        Some(sent)
    }
}

/// Tells what stands in the ledger's outbox.
#[derive(Debug, Clone)]
pub struct Notifier {
    store: Store,
    settings: Arc<NotifySettings>,
}

impl Notifier {
    /// One for this ledger.
    #[must_use]
    pub fn new(store: Store, settings: NotifySettings) -> Self {
        Self { store, settings: Arc::new(settings) }
    }

    /// Tells what is due until it is stopped; then what is under way has three seconds more. What it had no time for is
    /// told by whoever comes next.
    pub async fn run(&self, stop: CancellationToken) {
        let (mut under_way, cut) = (JoinSet::new(), CancellationToken::new());
        let clock = self.store.clock().clone();
        let mut prune_at = clock.now();
        while !stop.is_cancelled() {
            let wait = match self.round(&mut under_way, &cut, &mut prune_at).await {
                Ok(()) => LOOK_MS,
                Err(e) => {
                    tracing::warn!(error = %e, "the ledger does not say what there is to tell");
                    LEDGER_MS
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = under_way.join_next() => {}
                () = clock.sleep_until(clock.now() + wait) => {}
            }
        }
        let _ = timeout(LAST_WAIT, drain(&mut under_way)).await;
        cut.cancel();
        let _ = timeout(LAST_NOTE, drain(&mut under_way)).await;
    }

    /// Tells what is due, and tries again what fails, for so long at most. Returns how many are left for whoever comes
    /// next.
    ///
    /// # Errors
    /// The ledger cannot be used.
    pub async fn flush(&self, limit: Duration) -> Result<u64, StoreError> {
        let (mut under_way, cut) = (JoinSet::new(), CancellationToken::new());
        let clock = self.store.clock().clone();
        let end = clock.now() + i64::try_from(limit.as_millis()).unwrap_or(i64::MAX / 2);
        let mut prune_at = clock.now();
        let work = async {
            loop {
                self.round(&mut under_way, &cut, &mut prune_at).await?;
                if under_way.is_empty() && !self.store.is_notice_due(end).await? {
                    return Ok::<_, StoreError>(());
                }
                tokio::select! {
                    Some(_) = under_way.join_next() => {}
                    () = clock.sleep_until(clock.now() + LOOK_MS) => {}
                }
            }
        };
        let worked = timeout(limit, work).await;
        cut.cancel();
        let _ = timeout(LAST_NOTE, drain(&mut under_way)).await;
        worked.unwrap_or(Ok(()))?;
        self.store.notices_waiting().await
    }

    /// Begins what is due, as far as there is room.
    async fn round(
        &self,
        under_way: &mut JoinSet<()>,
        cut: &CancellationToken,
        prune_at: &mut Millis,
    ) -> Result<(), StoreError> {
        let now = self.store.clock().now();
        if now >= *prune_at {
            *prune_at = now + PRUNE_MS;
            let gone = self.store.prune_notices().await?;
            if gone > 0 {
                tracing::warn!(notifications = gone, "nobody was told for 30 days, and nobody will be");
            }
        }
        while under_way.len() < AT_ONCE && self.store.is_notice_due(self.store.clock().now()).await? {
            let Some(notice) = self.store.take_notice(LEASE_MS).await? else { break };
            let (me, cut) = (self.clone(), cut.clone());
            under_way.spawn(async move {
                if let Err(e) = me.notify(&notice, &cut).await {
                    tracing::warn!(batch.name = notice.batch, error = %e, "what became of a notification could not be noted");
                }
            });
        }
        Ok(())
    }

    async fn notify(&self, notice: &Notice, cut: &CancellationToken) -> Result<(), StoreError> {
        let now = self.store.clock().now();
        let Some(target) = self.settings.target_of(&notice.definition, notice.own) else {
            return self.store.notice_left(notice, now + LEFT_MS).await;
        };
        let sent = tokio::select! {
            sent = self.settings.send(&target, &notice.uid, &notice.body, now) => sent,
            () = cut.cancelled() => Err("wavebatch ended before it was through".to_owned()),
        };
        (self.settings.on_sent)(sent.is_ok());
        let (batch, event) = (notice.batch.as_str(), notice.event);
        match sent {
            Ok(()) => {
                self.store.notice_delivered(notice).await?;
                tracing::info!(batch.name = batch, %event, notification.id = notice.uid, "notified");
            }
            Err(error) => {
                let wait = wait_ms(notice.tries, jitter());
                let becomes = self.store.notice_failed(notice, self.store.clock().now() + wait, &error).await?;
                let what = match becomes {
                    Undelivered::Again => "nobody could be told; it is tried again",
                    Undelivered::GivenUp => "nobody could be told for a day; given up",
                    Undelivered::NotOurs => "nobody could be told; somebody else has it by now",
                };
                let (id, tries) = (&notice.uid, notice.tries);
                tracing::warn!(batch.name = batch, %event, notification.id = id, tries, error, "{what}");
            }
        }
        Ok(())
    }
}

async fn drain(under_way: &mut JoinSet<()>) {
    while under_way.join_next().await.is_some() {}
}

/// 0..1, from the clock's lowest digits: enough to spread retries.
fn jitter() -> f64 {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
    f64::from((nanos / 64) % 1_024) / 1_024.0
}
