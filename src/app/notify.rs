//! Notifications about batches: news is posted to the ledger's outbox and delivered from there. Failures here never
//! change the result of work.

use std::{
    collections::HashMap,
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
    domain::{
        callback::SecretPurpose, causes::in_words, environment::Environment, notice::NoticeEvent, retry::PauseKind,
    },
    report::summary::{Summary, SummaryState},
    server::{News, Notifier, NotifySettings, OwnTarget, SecretError, Secrets, Target},
    shutdown::Shutdown,
    store::{BatchRow, LedgerAddress, NewNotice, SpendNotice, Store, StoreError, real_path},
};

/// The time limit of delivery at the end of a command.
const LIMIT: Duration = Duration::from_secs(15);
/// A batch that finished longer ago is no news, even if the ledger has no record of its notification, in ms.
const NEWS_MS: Millis = 7 * 24 * 3_600_000;
/// The same reason for a run that could not start is posted once in this time, in ms.
const SAME_MS: Millis = 3_600_000;
/// The maximum length of a posted reason, in characters.
const REASON: usize = 2_000;

/// The recipients of this process's notifications; by default none.
#[derive(Clone, Default)]
pub struct Notifications {
    settings: Option<NotifySettings>,
    /// The targets that definitions name, including those that receive nothing.
    own: Option<OwnTarget>,
    /// Whether all definitions are known, so that a target unknown here does not exist.
    complete: bool,
    sandbox: bool,
}

impl fmt::Debug for Notifications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifications").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The known settings. If the settings file is faulty, only the environment is known.
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
    /// The target where a definition names nobody.
    fn target(self) -> Option<Target> {
        let config = self.config?;
        let named = config.notify.clone().zip(config.file.as_deref());
        named.map(|(to, file)| target(to, file)).filter(hears(self.sandbox))
    }

    /// The secrets that sign notifications. `store`: the ledger, if it is open.
    async fn secrets(self, store: Option<&Store>, events: &Events) -> Option<Secrets> {
        match self.find_secrets(store).await? {
            Ok(secrets) => Some(secrets),
            Err(e) => {
                let why = in_words(&e);
                events.event(Event::Warning(format!("notifications cannot be signed: {why}")));
                None
            }
        }
    }

    /// `None`: nobody knows where the ledger is.
    async fn find_secrets(self, store: Option<&Store>) -> Option<Result<Secrets, SecretError>> {
        const PURPOSE: SecretPurpose = SecretPurpose::Notify;
        if let Some(given) = &self.env.notify_secret {
            return Some(Secrets::given(PURPOSE, given.expose_secret()));
        }
        let config = self.config?;
        Some(match (&config.database, store) {
            (_, Some(store)) => Secrets::of_ledger(store, PURPOSE, None).await,
            (LedgerAddress::File(path), None) => Secrets::beside(&real_path(path), PURPOSE),
            (LedgerAddress::Server(_), None) => match Store::open(config.opening(true)).await {
                Ok((store, _)) => {
                    // A ledger that cannot be written now is no reason to wait.
                    store.give_up();
                    let secrets = Secrets::of_ledger(&store, PURPOSE, None).await;
                    store.close().await;
                    secrets
                }
                Err(e) => Err(e.into()),
            },
        })
    }
}

/// A batch's event to notify about: what happened, when, and which of several alike.
pub(super) struct Occasion {
    pub(super) event: NoticeEvent,
    /// In ms since 1970.
    pub(super) at: Millis,
    pub(super) about: String,
}

impl Session {
    /// The recipients from the settings and from the current definition, which is given with its file.
    pub async fn notifications(&self, definitions: &[(&Definition, &Path)]) -> Notifications {
        let (known, ledger) = (Known::from(&self.settings), Some(&self.store));
        let mut notifications = Notifications::of_known(known, ledger, definitions, &self.events).await;
        if let (Some(file), Some(settings)) = (&self.metrics_file, &mut notifications.settings) {
            let metrics = file.metrics().clone();
            settings.on_sent = Arc::new(move |well| metrics.notice(well));
        }
        notifications
    }
}

impl Notifications {
    async fn of_known(
        known: Known<'_>,
        store: Option<&Store>,
        definitions: &[(&Definition, &Path)],
        events: &Events,
    ) -> Self {
        let named = definitions
            .iter()
            .filter_map(|(definition, file)| Some((definition.name.clone(), target(definition.notify.clone()?, file))));
        let named: HashMap<String, Target> = named.collect();
        let own: OwnTarget = Arc::new(move |definition: &str| named.get(definition).cloned());
        let sandbox = known.sandbox;
        let (everybodys, heard) = (known.target(), hears(sandbox));
        let names = definitions.iter().filter_map(|(definition, _)| own(&definition.name)).filter(&heard);
        let targets: Vec<Target> = names.chain(everybodys.clone()).collect();
        if targets.is_empty() {
            return Self { own: Some(own), sandbox, ..Self::default() };
        }
        let posts = targets.iter().any(|target| matches!(target.to, Notify::Url(_)));
        let secrets = match posts {
            true => known.secrets(store, events).await,
            false => None,
        };
        Self::new(own, everybodys, secrets, sandbox)
    }

    /// The recipients for a service: from the settings and all its definitions. `on_sent` is called with the success
    /// of each try.
    pub(super) async fn of_service(
        session: &Session,
        own: OwnTarget,
        on_sent: Arc<dyn Fn(bool) + Send + Sync>,
    ) -> Self {
        let known = Known::from(&session.settings);
        let secrets = known.secrets(Some(&session.store), &session.events).await;
        let mut this = Self::new(own, known.target(), secrets, known.sandbox);
        this.settings.iter_mut().for_each(|settings| settings.on_sent = Arc::clone(&on_sent));
        Self { complete: true, ..this }
    }

    fn new(own: OwnTarget, everybodys: Option<Target>, secrets: Option<Secrets>, sandbox: bool) -> Self {
        let (names, heard) = (Arc::clone(&own), hears(sandbox));
        let heard: OwnTarget = Arc::new(move |definition: &str| names(definition).filter(&heard));
        let settings = Some(NotifySettings::new(everybodys, heard, secrets));
        Self { settings, own: Some(own), complete: false, sandbox }
    }

    /// The notifier that delivers this ledger's outbox; `None` if there are no recipients.
    pub(super) fn notifier(&self, store: &Store) -> Option<Notifier> {
        self.settings.clone().map(|settings| Notifier::new(store.clone(), settings))
    }

    /// `None`: there is no recipient.
    fn notice(&self, news: &News, about: String) -> Option<NewNotice> {
        let own = self.own.as_ref().is_some_and(|own| own(&news.definition).is_some());
        self.settings.as_ref().filter(|settings| settings.notifies(&news.definition, own))?;
        let news = News { sandbox: self.sandbox, ..news.clone() };
        Some(news.notice(about, own))
    }

    /// Posts the status of a batch if there is a recipient. `unpublished`: why its report could not be written.
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

    /// Posts that a run could not be started. `about` distinguishes several failures.
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

    /// Posts at the end of a command that spend limits are close. A failure is only a warning.
    pub(super) async fn note_spend_limits(&self, session: &Session) {
        let posting = self.post_spend_limits(&session.store, session.environment());
        if let Err(why) = in_time(posting).await {
            tracing::warn!(error = why, "nobody is told that a spend limit is close");
        }
    }

    /// Posts the status of a batch at the end of a command, if that is news.
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

    /// Delivers the outbox until a signal comes.
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

/// The event of a batch at the end of a command, if that is news.
async fn occasion_of(store: &Store, batch: &BatchRow, published: &Published) -> Result<Option<Occasion>, StoreError> {
    let (summary, now) = (&published.summary, store.clock().now());
    Ok(match summary.state {
        SummaryState::Finished | SummaryState::Cancelled => summary
            .finished_at
            .filter(|at| *at > now - NEWS_MS)
            .map(|at| Occasion { event: NoticeEvent::Finished, at, about: at.to_string() }),
        // Each pause lasts until the batch is resumed.
        SummaryState::Paused if published.pause != Some(PauseKind::User) => {
            Some(Occasion { event: NoticeEvent::Paused, at: now, about: store.resumed_at(batch.id).await?.to_string() })
        }
        _ => None,
    })
}

/// Identifies a batch's pause. A pause for a spend limit is posted once in its day or month. Any other pause is
/// posted each time it follows an open phase that began at `resumed`.
fn about_pause(kind: PauseKind, batch: &BatchRow, resumed: String) -> String {
    match batch.pause_until.filter(|_| kind.ends_by_itself()) {
        Some(until) => format!("{kind} until {until}"),
        None => resumed,
    }
}

/// Identifies a close limit, and its period.
fn about_close(close: &SpendNotice) -> String {
    format!("{} {} {}", close.period, close.from, close.limit)
}

/// A definition's run that ended before it had a summary.
pub struct NotStarted<'r> {
    /// The settings of the file; `None` if they are faulty.
    pub config: Option<&'r Config>,
    /// The environment variables.
    pub env: &'r Env,
    /// The environment of the calls.
    pub environment: Environment,
    /// The definition's file.
    pub file: &'r Path,
    /// The definition, if it can be read.
    pub definition: Option<&'r Definition>,
    /// Why the run ended.
    pub reason: &'r str,
}

/// What became of a notification that was tried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// Nobody is named.
    Nobody,
    /// The recipient is outside this machine, and the sandbox tells nobody there.
    NotHere(String),
    /// The recipient was told.
    Sent(String),
    /// The recipient could not be told.
    Failed {
        /// The recipient, without secrets.
        to: String,
        /// Why not.
        error: String,
    },
}

/// Sends a notification to the recipient that the definition names, else to that of the settings.
pub async fn try_notification(settings: &Settings, definition: Option<(&Definition, &Path)>, events: &Events) -> Tried {
    let named = definition.and_then(|(definition, _)| definition.notify.as_ref());
    let Some(to) = named.or(settings.config.notify.as_ref()) else { return Tried::Nobody };
    let to = to.in_words();
    let notifications = Notifications::of_known(Known::from(settings), None, definition.as_slice(), events).await;
    let name = definition.map_or("wavebatch", |(definition, _)| definition.name.as_str());
    let news = News::test(name, Clock::system().now());
    let Some(notice) = notifications.notice(&news, String::new()) else { return Tried::NotHere(to) };
    let Some(settings) = &notifications.settings else { return Tried::Nobody };
    match timeout(LIMIT, settings.notify_directly(&notice)).await {
        Ok(Some(Ok(()))) => Tried::Sent(to),
        Ok(Some(Err(error))) => Tried::Failed { to, error },
        Ok(None) => Tried::Nobody,
        Err(_) => Tried::Failed { to, error: format!("there was no end within {} s", LIMIT.as_secs()) },
    }
}

/// Notifies that a definition's run ended with an error. Works without a ledger, in case the ledger is the cause.
pub async fn could_not_start(run: NotStarted<'_>, events: &Events) {
    let NotStarted { config, env, environment, file, definition, reason } = run;
    let known = Known { config, env, sandbox: environment.is_sandbox() };
    let notifications =
        Notifications::of_known(known, None, definition.map(|one| (one, file)).as_slice(), events).await;
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

/// Delivers through the ledger, if one exists and can be written; else directly.
async fn deliver(notifications: &Notifications, config: Option<&Config>, notice: &NewNotice, shutdown: &Shutdown) {
    if let Some(config) = config
        && let Ok((store, _)) = Store::open(config.opening(false)).await
    {
        // A full disk is no reason to wait: direct delivery remains.
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

/// The target that this file names.
fn target(to: Notify, file: &Path) -> Target {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
    Target { to, dir: file.parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf) }
}

/// The filter of targets. In the sandbox only targets on this machine get notifications: a rehearsal must wake
/// nobody.
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
