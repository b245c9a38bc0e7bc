//! Delivers notifications about batches, each once, even if the process that posted it dies. A failed notification is
//! only a warning: it is retried, and nothing else fails.

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
    command::{FIELDS as NOTICE_FIELDS, SECRETS as NOTICE_SECRETS},
    news::News,
    post::{NOTIFICATION, SIGNATURE, TIMESTAMP},
};
use super::secret::Secrets;
use crate::{
    clock::{Clock, Millis},
    definition::Notify,
    domain::notice::wait_ms,
    store::{NewNotice, Notice, Store, StoreError, Undelivered},
};

/// The maximum number of notifications in progress.
const AT_ONCE: usize = 8;
/// Longer than any delivery may take.
const LEASE_MS: i64 = 90_000;
/// The interval for reads of the outbox, which other processes also fill.
const LOOK_MS: i64 = 1_000;
/// The wait after a failure of the ledger.
const LEDGER_MS: i64 = 30_000;
/// The wait before the next look at a notification without a known target.
const LEFT_MS: i64 = 15 * 60_000;
/// The interval for pruning old notifications.
const PRUNE_MS: i64 = 3_600_000;
/// The time for deliveries in progress when a service ends.
const LAST_WAIT: Duration = Duration::from_secs(3);
/// The time to record deliveries that were aborted. If the ledger does not record them, their leases expire.
const LAST_NOTE: Duration = Duration::from_secs(1);

/// The target of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The command or the URL.
    pub to: Notify,
    /// The directory of the file that names it; a command runs there.
    pub dir: PathBuf,
}

/// The time limits of delivery.
#[derive(Debug, Clone, Copy)]
pub struct NotifyTimeouts {
    /// For a POST request.
    pub url: Duration,
    /// For a command.
    pub command: Duration,
}

impl Default for NotifyTimeouts {
    fn default() -> Self {
        Self { url: Duration::from_secs(10), command: Duration::from_secs(60) }
    }
}

/// The target that the definition of this name sets, if it is known and sets one.
pub type OwnTarget = Arc<dyn Fn(&str) -> Option<Target> + Send + Sync>;

/// The settings of the notifier.
#[derive(Clone)]
pub struct NotifySettings {
    /// The target of `wavebatch.toml`, for definitions that name none.
    pub target: Option<Target>,
    /// The targets of definitions. Called each time, since definitions change.
    pub own: OwnTarget,
    /// The secrets, of which the newest signs POST requests. Without one, nothing is posted to URLs.
    pub secrets: Option<Secrets>,
    /// The time limits of delivery.
    pub timeouts: NotifyTimeouts,
    /// Called after each try with its success.
    pub on_sent: Arc<dyn Fn(bool) + Send + Sync>,
}

impl fmt::Debug for NotifySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotifySettings").field("target", &self.target).finish_non_exhaustive()
    }
}

impl NotifySettings {
    /// Settings with these targets and the defaults for the rest.
    #[must_use]
    pub fn new(target: Option<Target>, own: OwnTarget, secrets: Option<Secrets>) -> Self {
        Self { target, own, secrets, timeouts: NotifyTimeouts::default(), on_sent: Arc::new(|_| ()) }
    }

    /// Whether this definition's batches have a target. `own`: the definition names one itself.
    #[must_use]
    pub fn notifies(&self, definition: &str, own: bool) -> bool {
        self.target_of(definition, own).is_some()
    }

    /// The target of a notification of this definition. `own`: the definition named one itself when the notification
    /// was posted; then there is no other target.
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
                let newest = self.secrets.as_ref().and_then(|secrets| secrets.keyring().newest());
                let secret = newest.ok_or("there is no secret to sign it with")?;
                post::send(url, &secret, (uid, body), now, self.timeouts.url).await
            }
        }
    }

    /// Delivers a notification now, once, without a ledger, in case the ledger is the problem. `None`: there is no
    /// target.
    pub async fn notify_directly(&self, notice: &NewNotice) -> Option<Result<(), String>> {
        let target = self.target_of(&notice.definition, notice.own)?;
        let sent = self.send(&target, &Uuid::now_v7().to_string(), &notice.body, Clock::system().now()).await;
        (self.on_sent)(sent.is_ok());
        Some(sent)
    }
}

/// Delivers the ledger's outbox.
#[derive(Debug, Clone)]
pub struct Notifier {
    store: Store,
    settings: Arc<NotifySettings>,
}

impl Notifier {
    /// A notifier for this ledger.
    #[must_use]
    pub fn new(store: Store, settings: NotifySettings) -> Self {
        Self { store, settings: Arc::new(settings) }
    }

    /// Delivers what is due until it is stopped. Then deliveries in progress get three more seconds. The next
    /// notifier delivers the rest.
    pub async fn run(&self, stop: CancellationToken) {
        let (mut under_way, cut) = (JoinSet::new(), CancellationToken::new());
        let clock = self.store.clock().clone();
        let mut prune_at = clock.now();
        while !stop.is_cancelled() {
            let wait = match self.round(&mut under_way, &cut, &mut prune_at).await {
                Ok(()) => LOOK_MS,
                // Whoever keeps the process running ends it for this, and says so.
                Err(StoreError::Newer { .. }) => LOOK_MS,
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

    /// Delivers what is due and retries failures, for at most `limit`. Returns the number of notifications left for
    /// the next notifier.
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

    /// Starts the deliveries that are due, up to the maximum.
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
        if let Some(secrets) = &self.settings.secrets {
            secrets.renew(&self.store).await;
        }
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

/// 0..1, from the clock's lowest digits: random enough to spread retries.
fn jitter() -> f64 {
    let nanos = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
    f64::from((nanos / 64) % 1_024) / 1_024.0
}
