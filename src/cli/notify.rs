//! What `run` and `work` tell whoever wants to know: posted to the ledger's outbox, and delivered before they end. Nothing
//! here changes how they end.

use std::{path::Path, sync::Arc, time::Duration};

use secrecy::ExposeSecret;
use tokio::time::timeout;
use url::Host;

use super::{
    CliError, Context, Exit,
    session::{Published, Session},
    sources::Sources,
};
use crate::{
    clock::Clock,
    config::Config,
    definition::{Definition, Notify},
    domain::{notice::NoticeEvent, retry::PauseKind},
    report::summary::SummaryState,
    server::{News, Notifier, NotifySettings, Target, notify_secret},
    shutdown::Shutdown,
    store::{BatchRow, NewNotice, SpendNotice, Store, StoreError, real_path},
};

/// What telling may take at the end of a command.
const LIMIT: Duration = Duration::from_secs(15);
/// What finished longer ago is no news, whatever the ledger has forgotten of it.
const NEWS_MS: i64 = 7 * 24 * 3_600_000;
/// The same reason not to start is told once in this time.
const SAME_MS: i64 = 3_600_000;
/// What of a reason is told, in characters.
const REASON: usize = 2_000;

/// Who is told by this process; by default nobody.
#[derive(Debug, Default)]
pub(super) struct Notifications {
    settings: Option<NotifySettings>,
    /// The definition that names somebody itself.
    own: Option<String>,
    sandbox: bool,
}

impl Notifications {
    /// What the settings and the definition at hand, with its file, say.
    pub(super) fn new(
        context: &Context,
        config: Option<&Config>,
        definition: Option<(&Definition, &str)>,
        sandbox: bool,
    ) -> Self {
        let heard = |notify: Notify, file: &Path| (!sandbox || is_here(&notify)).then(|| target(notify, file));
        let own = definition.and_then(|(definition, file)| Some((definition.notify.clone()?, &definition.name, file)));
        let (own, name) = match own {
            Some((notify, name, file)) => (heard(notify, Path::new(file)), Some(name.clone())),
            None => (None, None),
        };
        let file = config.and_then(|config| Some((config.notify.clone()?, config.file.as_deref()?)));
        let everybodys = file.and_then(|(notify, file)| heard(notify, file));
        let both = [&own, &everybodys];
        if both.iter().all(|target| target.is_none()) {
            return Self { own: name, sandbox, settings: None };
        }
        let posts = both.into_iter().flatten().any(|target| matches!(target.to, Notify::Url(_)));
        let secret = posts.then(|| secret(context, config)).flatten();
        let by = name.clone();
        let own = Arc::new(move |definition: &str| own.clone().filter(|_| by.as_deref() == Some(definition)));
        Self { settings: Some(NotifySettings::new(everybodys, own, secret)), own: name, sandbox }
    }

    /// Notes for whoever wants to know how a batch stands after the work, if that is news.
    pub(super) async fn ended(&self, session: &Session<'_>, row: &BatchRow, published: &Published) {
        let why = match timeout(LIMIT, self.post(session, row, published)).await {
            Ok(Ok(())) => return,
            Ok(Err(e)) => e.to_string(),
            Err(_) => "the ledger cannot be written".to_owned(),
        };
        tracing::warn!(batch.name = row.name, error = why, "nobody is told how the batch stands");
    }

    async fn post(&self, session: &Session<'_>, row: &BatchRow, published: &Published) -> Result<(), StoreError> {
        let (summary, now) = (&published.summary, session.store.clock().now());
        let (event, at, about) = match summary.state {
            SummaryState::Finished => match summary.finished_at {
                Some(at) if at > now - NEWS_MS => (NoticeEvent::Finished, at, at),
                _ => return Ok(()),
            },
            // Each pause lasts until the next time the batch is resumed.
            SummaryState::Paused if published.pause != Some(PauseKind::User) => {
                (NoticeEvent::Paused, now, session.store.resumed_at(row.id).await?)
            }
            _ => return Ok(()),
        };
        let about = match &row.pause {
            Some((kind, _)) if event == NoticeEvent::Paused => about_pause(*kind, row, about),
            _ => about.to_string(),
        };
        let mut news = News { sandbox: self.sandbox, ..News::of(event, &row.definition, summary, at) };
        if let Some(stop) = &published.failed {
            (news.report, news.summary) = (None, None);
            news.reason = Some(match news.reason {
                Some(reason) => format!("{reason}; {}", reason_of(stop)),
                None => reason_of(stop),
            });
        }
        if let Some(notice) = self.notice(&news, about) {
            session.store.post_notice(notice).await?;
        }
        Ok(())
    }

    /// Notes that a spend limit is close, for whoever wants to know.
    pub(super) async fn spend_limits(&self, session: &Session<'_>) {
        let posted = async {
            for close in session.store.spend_notices(session.environment()).await? {
                let batch = session.store.batch_by_id(close.batch).await?;
                let news = News { sandbox: self.sandbox, ..News::spend_close(&batch, &close) };
                if let Some(notice) = self.notice(&news, about_close(&close)) {
                    session.store.post_notice(notice).await?;
                    session.store.spend_notice_posted(&close).await?;
                }
            }
            Ok::<_, StoreError>(())
        };
        let why = match timeout(LIMIT, posted).await {
            Ok(Ok(())) => return,
            Ok(Err(e)) => e.to_string(),
            Err(_) => "the ledger cannot be written".to_owned(),
        };
        tracing::warn!(error = why, "nobody is told that a spend limit is close");
    }

    /// `None`: nobody wants to know.
    fn notice(&self, news: &News, about: String) -> Option<NewNotice> {
        let own = self.own.as_ref() == Some(&news.definition);
        self.settings.as_ref().filter(|settings| settings.notifies(&news.definition, own))?;
        Some(news.notice(about, own))
    }

    /// Delivers what is posted, unless a signal comes.
    pub(super) async fn flush(&self, store: &Store, shutdown: &Shutdown) {
        let Some(settings) = &self.settings else { return };
        let notifier = Notifier::new(store.clone(), settings.clone());
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

/// Which of its pauses a batch is in: one for a spend limit is told once in its day or month, any other one each time that
/// it follows upon the batch's being open, since `resumed_at`.
pub(super) fn about_pause(kind: PauseKind, row: &BatchRow, resumed_at: i64) -> String {
    match row.pause_until.filter(|_| kind.ends_by_itself()) {
        Some(until) => format!("{kind} until {until}"),
        None => resumed_at.to_string(),
    }
}

/// Which limit it is that is close, and when.
pub(super) fn about_close(close: &SpendNotice) -> String {
    format!("{} {} {}", close.period, close.from, close.limit)
}

/// Tells that the run of a definition ended with an error; without a ledger, where that is what is wrong.
pub(super) async fn could_not_start(context: &Context, sources: &Sources, stop: &CliError) {
    let Some(file) = sources.file() else { return };
    if matches!(stop.exit, Exit::Interrupted | Exit::Terminated | Exit::HungUp) || stop.is_closed_pipe() {
        return;
    }
    let config = context.config(sources.sandbox).ok();
    let definition = sources.definition(&context.env).ok();
    let known = definition.as_ref().map(|definition| (definition, file));
    let notifications = Notifications::new(context, config.as_ref(), known, sources.sandbox);
    let (name, batch) = match &definition {
        Some(definition) => (definition.name.clone(), definition.batch.to_string()),
        None => {
            let name = Path::new(file).file_stem().unwrap_or_default().to_string_lossy().into_owned();
            (name.clone(), name)
        }
    };
    let (now, reason) = (Clock::system().now(), reason_of(stop));
    let news = News { sandbox: notifications.sandbox, ..News::could_not_start(&name, &batch, &reason, now) };
    let Some(notice) = notifications.notice(&news, format!("{} {reason}", now / SAME_MS)) else { return };
    let Ok(shutdown) = Shutdown::listen() else { return };
    tokio::select! {
        () = shutdown.drain.cancelled() => {}
        () = notify(&notifications, config.as_ref(), &notice, &shutdown) => {}
    }
}

/// By way of the ledger, if there is one that can be written.
async fn notify(notifications: &Notifications, config: Option<&Config>, notice: &NewNotice, shutdown: &Shutdown) {
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
pub(super) fn target(to: Notify, file: &Path) -> Target {
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
    Target { to, dir: file.parent().unwrap_or(Path::new("/")).to_path_buf() }
}

/// In the sandbox nobody is told but who listens on this machine: a rehearsal is to wake nobody.
pub(super) fn is_here(notify: &Notify) -> bool {
    let Notify::Url(url) = notify else { return false };
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

pub(super) fn secret(context: &Context, config: Option<&Config>) -> Option<crate::domain::callback::Secret> {
    let given = context.env.notify_secret.as_ref().map(ExposeSecret::expose_secret);
    let ledger = config.map(|config| config.database.as_path()).or(given.is_some().then_some(Path::new("/")))?;
    match notify_secret(&real_path(ledger), given) {
        Ok(secret) => Some(secret),
        Err(e) => {
            context.screen.warn(&format!("notifications cannot be signed: {e}"));
            None
        }
    }
}

fn reason_of(stop: &CliError) -> String {
    let message = stop.message();
    message.strip_prefix("error: ").unwrap_or(&message).chars().take(REASON).collect()
}
