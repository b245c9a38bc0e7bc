//! Who is told how batches go: what is news is posted to the ledger's outbox, and delivered from there. Nothing here
//! changes how work ends.

use std::{
    fmt,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use secrecy::ExposeSecret;
use tokio::time::timeout;
use url::Host;

use super::{
    events::{Event, Events},
    publish::Published,
    session::Session,
    settings::Settings,
};
use crate::{
    clock::{Clock, Millis},
    config::{Config, Env},
    definition::{Definition, Notify},
    domain::{callback::Secret, environment::Environment, notice::NoticeEvent, retry::PauseKind},
    report::summary::{Summary, SummaryState},
    server::{News, Notifier, NotifySettings, OwnTarget, Target, notify_secret},
    shutdown::Shutdown,
    store::{BatchRow, NewNotice, SpendNotice, Store, StoreError, real_path},
};

/// What telling may take at the end of a command.
const LIMIT: Duration = Duration::from_secs(15);
/// What finished longer ago is no news, whatever the ledger has forgotten of it, in ms.
const NEWS_MS: Millis = 7 * 24 * 3_600_000;
/// The same reason not to start is told once in this time, in ms.
const SAME_MS: Millis = 3_600_000;
/// What of a reason is told, in characters.
const REASON: usize = 2_000;

/// Who is told by this process; by default nobody.
#[derive(Clone, Default)]
pub struct Notifications {
    settings: Option<NotifySettings>,
    /// What definitions say themselves, also where nobody hears it.
    own: Option<OwnTarget>,
    /// Whether all definitions are known, so that who is not told here is told by nobody.
    complete: bool,
    sandbox: bool,
}

impl fmt::Debug for Notifications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifications").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What is known of settings: where those of the file are wrong, only what the environment says.
#[derive(Clone, Copy)]
struct Known<'k> {
    config: Option<&'k Config>,
    env: &'k Env,
    sandbox: bool,
}

impl<'k> From<&'k Settings> for Known<'k> {
    fn from(settings: &'k Settings) -> Self {
        Self { config: Some(&settings.config), env: &settings.env, sandbox: settings.is_sandbox() }
    }
}

impl Known<'_> {
    /// Who is told where a definition names nobody.
    fn target(self) -> Option<Target> {
        let config = self.config?;
        let named = config.notify.clone().zip(config.file.as_deref());
        named.map(|(to, file)| target(to, file)).filter(hears(self.sandbox))
    }

    fn secret(self, events: &Events) -> Option<Secret> {
        let given = self.env.notify_secret.as_ref().map(ExposeSecret::expose_secret);
        let ledger = self.config.map(|config| config.database.as_path());
        let ledger = ledger.or(given.is_some().then_some(Path::new("/")))?;
        match notify_secret(&real_path(ledger), given) {
            Ok(secret) => Some(secret),
            Err(e) => {
                events.event(Event::Warning(format!("notifications cannot be signed: {e}")));
                None
            }
        }
    }
}

/// What is told of a batch: what happened, when, and which of several like it that is.
pub(super) struct Occasion {
    pub(super) event: NoticeEvent,
    /// In ms since 1970.
    pub(super) at: Millis,
    pub(super) about: String,
}

impl Session {
    /// Who is told how batches go: whom the settings name, and the definition at hand, given with its file.
    #[must_use]
    pub fn notifications(&self, definition: Option<(&Definition, &Path)>) -> Notifications {
        Notifications::of_known(Known::from(&self.settings), definition, &self.events)
    }
}

impl Notifications {
    fn of_known(known: Known<'_>, definition: Option<(&Definition, &Path)>, events: &Events) -> Self {
        let named = definition
            .and_then(|(definition, file)| Some((definition.name.clone(), target(definition.notify.clone()?, file))));
        let own: OwnTarget = Arc::new(move |definition: &str| {
            named.as_ref().filter(|(name, _)| name == definition).map(|(_, target)| target.clone())
        });
        let sandbox = known.sandbox;
        let (everybodys, heard) = (known.target(), hears(sandbox));
        let names = definition.and_then(|(definition, _)| own(&definition.name)).filter(&heard);
        let targets = [&everybodys, &names];
        if targets.iter().all(|target| target.is_none()) {
            return Self { own: Some(own), sandbox, ..Self::default() };
        }
        let posts = targets.into_iter().flatten().any(|target| matches!(target.to, Notify::Url(_)));
        let secret = posts.then(|| known.secret(events)).flatten();
        Self::new(own, everybodys, secret, sandbox)
    }

    /// Of a service: who the settings and all its definitions name. `on_sent` hears whether each try went well.
    pub(super) fn of_service(
        settings: &Settings,
        own: OwnTarget,
        on_sent: Arc<dyn Fn(bool) + Send + Sync>,
        events: &Events,
    ) -> Self {
        let known = Known::from(settings);
        let mut this = Self::new(own, known.target(), known.secret(events), known.sandbox);
        this.settings.iter_mut().for_each(|settings| settings.on_sent = Arc::clone(&on_sent));
        Self { complete: true, ..this }
    }

    fn new(own: OwnTarget, everybodys: Option<Target>, secret: Option<Secret>, sandbox: bool) -> Self {
        let (names, heard) = (Arc::clone(&own), hears(sandbox));
        let heard: OwnTarget = Arc::new(move |definition: &str| names(definition).filter(&heard));
        let settings = Some(NotifySettings::new(everybodys, heard, secret));
        Self { settings, own: Some(own), complete: false, sandbox }
    }

    /// Who delivers what is posted to this ledger; nobody, where nobody wants to know.
    pub(super) fn notifier(&self, store: &Store) -> Option<Notifier> {
        self.settings.clone().map(|settings| Notifier::new(store.clone(), settings))
    }

    /// `None`: nobody wants to know.
    fn notice(&self, news: &News, about: String) -> Option<NewNotice> {
        let own = self.own.as_ref().is_some_and(|own| own(&news.definition).is_some());
        self.settings.as_ref().filter(|settings| settings.notifies(&news.definition, own))?;
        let news = News { sandbox: self.sandbox, ..news.clone() };
        Some(news.notice(about, own))
    }

    /// Posts how a batch stands, if somebody wants to know. `unpublished`: why its report could not be written.
    pub(super) async fn post(
        &self,
        store: &Store,
        batch: &BatchRow,
        summary: &Summary,
        occasion: Occasion,
        unpublished: Option<String>,
    ) -> Result<(), StoreError> {
        let Occasion { event, at, about } = occasion;
        let about = match &batch.pause {
            Some((kind, _)) if event == NoticeEvent::Paused => about_pause(*kind, batch, about),
            _ => about,
        };
        let mut news = News::of(event, &batch.definition, summary, at);
        if let Some(why) = unpublished {
            (news.report, news.summary) = (None, None);
            news.reason = Some(news.reason.map_or_else(|| why.clone(), |reason| format!("{reason}; {why}")));
        }
        if let Some(notice) = self.notice(&news, about) {
            store.post_notice(notice).await?;
        }
        Ok(())
    }

    /// Posts that a run could not be started, `about` which of several.
    pub(super) async fn post_not_started(&self, store: &Store, news: &News, about: String) -> Result<(), StoreError> {
        if let Some(notice) = self.notice(news, about) {
            store.post_notice(notice).await?;
        }
        Ok(())
    }

    /// Posts which spend limits are close, whichever process noticed it.
    pub(super) async fn post_spend_limits(&self, store: &Store, environment: Environment) -> Result<(), StoreError> {
        for close in store.spend_notices(environment).await? {
            let batch = store.batch_by_id(close.batch).await?;
            let notice = self.notice(&News::spend_close(&batch, &close), about_close(&close));
            let message = notice.is_some();
            if let Some(notice) = notice {
                store.post_notice(notice).await?;
            }
            if message || self.complete {
                store.spend_notice_posted(&close).await?;
            }
        }
        Ok(())
    }

    /// Notes that spend limits are close, at the end of a command.
    pub(super) async fn note_spend_limits(&self, session: &Session) {
        let posting = self.post_spend_limits(&session.store, session.environment());
        if let Err(why) = in_time(posting).await {
            tracing::warn!(error = why, "nobody is told that a spend limit is close");
        }
    }

    /// Notes how a batch stands at the end of a command, if that is news.
    pub(super) async fn note_end(&self, session: &Session, batch: &BatchRow, published: &Published) {
        let noting = async {
            match occasion_of(&session.store, batch, published).await? {
                Some(occasion) => {
                    let unpublished = published.failed.as_ref().map(|error| shortened(&error.in_full()));
                    self.post(&session.store, batch, &published.summary, occasion, unpublished).await
                }
                None => Ok(()),
            }
        };
        if let Err(why) = in_time(noting).await {
            tracing::warn!(batch.name = batch.name, error = why, "nobody is told how the batch stands");
        }
    }

    /// Delivers what is posted, unless a signal comes.
    pub(super) async fn flush(&self, store: &Store, shutdown: &Shutdown) {
        let Some(notifier) = self.notifier(store) else { return };
        let message = tokio::select! {
            biased;
            () = shutdown.drain.cancelled() => return,
            message = notifier.flush(LIMIT) => message,
        };
        if let Err(e) = message {
            tracing::warn!(error = %e, "nobody is told what the ledger has to tell");
        }
    }
}

async fn in_time(posting: impl Future<Output = Result<(), StoreError>>) -> Result<(), String> {
    match timeout(LIMIT, posting).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(e.to_string()),
        Err(_) => Err("the ledger cannot be written".to_owned()),
    }
}

/// What is news about a batch at the end of a command.
async fn occasion_of(store: &Store, batch: &BatchRow, published: &Published) -> Result<Option<Occasion>, StoreError> {
    let (summary, now) = (&published.summary, store.clock().now());
    Ok(match summary.state {
        SummaryState::Finished => summary.finished_at.filter(|at| *at > now - NEWS_MS).map(|at| Occasion {
            event: NoticeEvent::Finished,
            at,
            about: at.to_string(),
        }),
        // Each pause lasts until the next time the batch is resumed.
        SummaryState::Paused if published.pause != Some(PauseKind::User) => {
            Some(Occasion { event: NoticeEvent::Paused, at: now, about: store.resumed_at(batch.id).await?.to_string() })
        }
        _ => None,
    })
}

/// Which of its pauses a batch is in: one for a spend limit is told once in its day or month, any other one each time that
/// it follows upon the batch's being open, since `resumed`.
fn about_pause(kind: PauseKind, batch: &BatchRow, resumed: String) -> String {
    match batch.pause_until.filter(|_| kind.ends_by_itself()) {
        Some(until) => format!("{kind} until {until}"),
        None => resumed,
    }
}

/// Which limit it is that is close, and when.
fn about_close(close: &SpendNotice) -> String {
    format!("{} {} {}", close.period, close.from, close.limit)
}

/// A run of a definition that ended before there was anything to sum up.
pub struct NotStarted<'r> {
    /// The settings of the file; none, where those are what is wrong.
    pub config: Option<&'r Config>,
    /// The environment.
    pub env: &'r Env,
    /// Where calls go.
    pub environment: Environment,
    /// The definition's file.
    pub file: &'r Path,
    /// What it says, if it can be read.
    pub definition: Option<&'r Definition>,
    /// Why it ended.
    pub reason: &'r str,
}

/// Tells that the run of a definition ended with an error; without a ledger, where that is what is wrong.
pub async fn could_not_start(run: NotStarted<'_>, events: &Events) {
    let NotStarted { config, env, environment, file, definition, reason } = run;
    let known = Known { config, env, sandbox: environment.is_sandbox() };
    let notifications = Notifications::of_known(known, definition.map(|one| (one, file)), events);
    let (name, batch) = match definition {
        Some(definition) => (definition.name.clone(), definition.batch.to_string()),
        None => {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            (name.clone(), name)
        }
    };
    let (now, reason) = (Clock::system().now(), shortened(reason));
    let news = News::could_not_start(&name, &batch, &reason, now);
    let Some(notice) = notifications.notice(&news, format!("{} {reason}", now / SAME_MS)) else { return };
    let Ok(shutdown) = Shutdown::listen() else { return };
    tokio::select! {
        () = shutdown.drain.cancelled() => {}
        () = deliver(&notifications, config, &notice, &shutdown) => {}
    }
}

/// By way of the ledger, if there is one that can be written.
async fn deliver(notifications: &Notifications, config: Option<&Config>, notice: &NewNotice, shutdown: &Shutdown) {
    if let Some(config) = config
        && let Ok((store, _)) = Store::open(config.opening(false)).await
    {
        // A full disk is no reason to wait: there is another way.
        store.give_up();
        if store.post_notice(notice.clone()).await.is_ok() {
            notifications.flush(&store, shutdown).await;
            return store.close().await;
        }
    }
    let Some(settings) = &notifications.settings else { return };
    match timeout(LIMIT, settings.notify_directly(notice)).await {
        Ok(Some(Err(error))) => tracing::warn!(batch.name = notice.batch, error, "nobody could be told"),
        Ok(_) => {}
        Err(_) => tracing::warn!(batch.name = notice.batch, "nobody could be told within {} s", LIMIT.as_secs()),
    }
}

/// What is told by this file.
fn target(to: Notify, file: &Path) -> Target {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
    Target { to, dir: file.parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf) }
}

/// Who hears notifications. In the sandbox that is nobody but who listens on this machine: a rehearsal is to wake nobody.
fn hears(sandbox: bool) -> impl Fn(&Target) -> bool {
    move |target| !sandbox || is_here(&target.to)
}

fn is_here(notify: &Notify) -> bool {
    let Notify::Url(url) = notify else { return false };
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn shortened(reason: &str) -> String {
    reason.chars().take(REASON).collect()
}
