//! A service: its parts run side by side on one ledger until it is stopped. They communicate only through the ledger.

mod log;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::{JoinError, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    callbacks::Callbacks,
    error::AppError,
    events::{BatchNames, Event, Events},
    forget::keep_forgetting,
    notify::{Notifications, Occasion},
    session::Session,
    settings::SANDBOX_OUTPUT,
};
use crate::{
    config::Listen,
    domain::{environment::Environment, notice::NoticeEvent},
    runner::{self, intake::renew_account},
    server::{
        Admin, AdminSettings, BatchNews, Metrics, News, OwnTarget, Scheduler, SchedulerSettings, Scheduling,
        Supervisor, Target,
        probe::{self, ProbeSettings},
    },
    store::{BatchStatus, Store, StoreError},
};

/// The time for work in flight after SIGTERM. After it, the work is handed back.
const DRAIN_TIME: Duration = Duration::from_secs(5);
/// The maximum time for each later step: handing work back, closing listeners, closing the ledger.
const CLOSE_TIME: Duration = Duration::from_millis(800);
/// The interval for checks of spend limits.
const LOOK: Duration = Duration::from_secs(1);

/// The settings of a service.
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// The directories whose schedules are run.
    pub definitions: Vec<PathBuf>,
    /// Whether lines are worked.
    pub workers: bool,
    /// The address for callbacks, if the command line sets it.
    pub listen: Option<Listen>,
    /// The address of health checks and metrics.
    pub admin_listen: Listen,
}

/// A service with open listeners.
pub struct Service {
    session: Session,
    settings: ServiceSettings,
    callbacks: Callbacks,
    admin: Option<Admin>,
    metrics: Metrics,
}

type Tasks = JoinSet<Result<(), StoreError>>;

impl Service {
    /// Opens the listeners.
    ///
    /// # Errors
    /// A path is not a directory; a secret is missing; an address is in use.
    pub async fn open(session: Session, settings: ServiceSettings) -> Result<Self, AppError> {
        if let Some(now) = session.settings.env.now {
            let clock = session.store.clock();
            clock.advance(now.as_millisecond() - clock.now());
        }
        if let Some(dir) = settings.definitions.iter().find(|dir| !dir.is_dir()) {
            return Err(AppError::NoDirectory(dir.clone()));
        }
        try_out_spool(&session).await;
        let metrics = Metrics::new();
        let callbacks = Callbacks::of_service(&session, settings.listen, metrics.clone()).await?;
        let admin = match settings.admin_listen {
            Listen::Off => None,
            Listen::On(listen) => Some(open_admin(&session, listen, &metrics).await?),
        };
        Ok(Self { session, settings, callbacks, admin, metrics })
    }

    /// The session of the service.
    #[must_use]
    pub const fn session(&self) -> &Session {
        &self.session
    }

    /// The address that receives callbacks, and the public URL for them.
    #[must_use]
    pub fn callbacks(&self) -> (Option<std::net::SocketAddr>, Option<&url::Url>) {
        let addr = self.callbacks.receiver.as_ref().map(crate::server::Receiver::addr);
        (addr, self.callbacks.webhook.as_ref().map(|webhook| &webhook.public_url))
    }

    /// The address of health checks and metrics.
    #[must_use]
    pub fn admin(&self) -> Option<std::net::SocketAddr> {
        self.admin.as_ref().map(Admin::addr)
    }

    /// The settings of the service.
    #[must_use]
    pub const fn settings(&self) -> &ServiceSettings {
        &self.settings
    }

    /// Runs all parts until a signal comes or a part cannot continue. Then ends them in order.
    ///
    /// # Errors
    /// The ledger cannot be used, and waiting does not help; a part panicked.
    pub async fn run(self) -> Result<(), AppError> {
        let Self { session, settings, mut callbacks, admin, metrics } = self;
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new();
        let ended = match start(&session, &settings, &callbacks, &metrics, (&mut tasks, &stop)).await {
            Ok(()) => until_stopped(&session, &mut tasks, &stop).await,
            Err(e) => Err(e),
        };
        let received = async {
            if let Some(receiver) = callbacks.receiver.take() {
                receiver.shutdown().await;
            }
        };
        let asked = async {
            if let Some(admin) = admin {
                admin.shutdown().await;
            }
        };
        // A client that sent half a request is not waited for.
        let _ = timeout(CLOSE_TIME, async { tokio::join!(received, asked) }).await;
        session.store.give_up();
        if timeout(CLOSE_TIME, session.close()).await.is_err() {
            tracing::warn!("the ledger could not be closed in time; the next start finds it as it is");
        }
        ended
    }
}

/// Says at the start that bought speech could not be kept. Other lines need no place for it.
async fn try_out_spool(session: &Session) {
    let cache = session.store.audio_cache();
    let Err(error) = cache.try_out().await else { return };
    if !matches!(error, StoreError::NoSharedSpool { .. }) {
        let error = AppError::from(error).in_full();
        session.say(Event::Warning(format!("speech waits, since {error}")));
    }
}

async fn open_admin(session: &Session, listen: std::net::SocketAddr, metrics: &Metrics) -> Result<Admin, AppError> {
    let settings = AdminSettings { listen, metrics: metrics.clone(), watched: session.watched_ledger() };
    Admin::start(settings).await.map_err(|source| AppError::AdminListen { listen, source })
}

/// Starts all parts.
async fn start(
    session: &Session,
    settings: &ServiceSettings,
    callbacks: &Callbacks,
    metrics: &Metrics,
    (tasks, stop): (&mut Tasks, &CancellationToken),
) -> Result<(), AppError> {
    let (store, environment) = (&session.store, session.environment());
    let (said, scheduling) = unbounded_channel();
    let scheduler = Scheduler::new(store.clone(), session.fetcher.clone(), of_schedules(session, settings), said);
    let folder = scheduler.folder();
    let own: OwnTarget = Arc::new(move |definition| folder.notify_of(definition).map(|(to, dir)| Target { to, dir }));
    let counted = metrics.clone();
    let on_sent = Arc::new(move |well| counted.notice(well));
    let notifications = Notifications::of_service(session, own, on_sent).await;
    if let Some(notifier) = notifications.notifier(store) {
        let stop = stop.clone();
        tasks.spawn(async move {
            notifier.run(stop).await;
            Ok(())
        });
    }
    tokio::spawn(handle_schedule_events(store.clone(), notifications.clone(), metrics.clone(), scheduling));
    tokio::spawn(notify_spend_limits(store.clone(), notifications.clone(), environment, stop.clone()));
    if !settings.definitions.is_empty() {
        tasks.spawn(scheduler.run(stop.clone()));
    }
    let message = store.clone();
    let tell = move |news: BatchNews| {
        let (store, notifications) = (message.clone(), notifications.clone());
        async move { notify_batch(&store, &notifications, news).await }
    };
    let terms = (session.config().rates.clone(), session.settings.tasks.reports().clone());
    let supervisor = Supervisor::new(store.clone(), environment, terms, tell);
    tasks.spawn(supervisor.run(stop.clone()));
    tokio::spawn(keep_forgetting(session.forgetter(), environment, stop.clone()));
    if let Some(webhook) = callbacks.webhook.as_ref().filter(|_| callbacks.receiver.is_some()) {
        let probe = ProbeSettings::new(webhook.public_url.clone(), webhook.secrets.clone(), store.clock().clone());
        tokio::spawn(probe::watch(probe, metrics.clone(), stop.clone()));
    }
    if settings.workers {
        renew_accounts(session).await?;
        let (events, heard) = unbounded_channel();
        tokio::spawn(follow(Arc::clone(&session.events), metrics.clone(), heard, session.store.clone()));
        let runner = session.runner(callbacks.webhook.clone(), events);
        let (drain, abort) = (session.shutdown.drain.clone(), session.shutdown.abort.clone());
        tasks.spawn(async move { runner.serve(drain, abort).await.map(|_| ()) });
    }
    Ok(())
}

fn of_schedules(session: &Session, settings: &ServiceSettings) -> SchedulerSettings {
    SchedulerSettings {
        dirs: settings.definitions.clone(),
        environment: session.environment(),
        choice: session.config().choice.clone(),
        origin: session.config().origin(),
        rates: session.config().rates.clone(),
        account: session.account(),
        sandbox_output: session.environment().is_sandbox().then(|| SANDBOX_OUTPUT.to_owned()),
        tasks: session.settings.tasks.clone(),
    }
}

/// Waits for a signal, or for a part that cannot continue. Then waits for all parts to end, within limits.
async fn until_stopped(session: &Session, tasks: &mut Tasks, stop: &CancellationToken) -> Result<(), AppError> {
    let shutdown = &session.shutdown;
    // A part that ends by itself could not continue. After a signal, all parts must end.
    let broken: Option<Result<Result<(), StoreError>, JoinError>> = tokio::select! {
        () = shutdown.drain.cancelled() => None,
        Some(ended) = tasks.join_next() => Some(ended),
    };
    stop.cancel();
    shutdown.drain.cancel();
    if shutdown.signal().is_some() {
        session.say(Event::Stopping);
    }
    let rest = async { while tasks.join_next().await.is_some() {} };
    tokio::pin!(rest);
    if timeout(DRAIN_TIME, &mut rest).await.is_err() {
        shutdown.abort.cancel();
        session.store.give_up();
        let _ = timeout(CLOSE_TIME, rest).await;
    }
    let broken = broken.unwrap_or(Ok(Ok(()))).map(|ended| ended.and_then(|()| session.store.refuse_outgrown()));
    match broken {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(AppError::of_ledger(e, &session.config().database)),
        Err(e) => Err(AppError::ServicePanicked(e)),
    }
}

/// A batch submitted while no service ran may need what is no longer on the account.
async fn renew_accounts(session: &Session) -> Result<(), AppError> {
    let tasks = session.settings.tasks.intakes();
    for (batch, _) in session.store.batch_statuses(session.environment()).await? {
        if batch.finished_at.is_none()
            && let Err(e) = renew_account(tasks, &session.store, session.account().as_ref(), &batch).await
        {
            let error = AppError::from(e).in_full();
            session.say(Event::Warning(format!("{}: error: {error}", batch.name)));
        }
    }
    Ok(())
}

async fn follow(events: Events, metrics: Metrics, mut heard: UnboundedReceiver<runner::Event>, store: Store) {
    let mut names = BatchNames::new(store);
    while let Some(event) = heard.recv().await {
        metrics.event(&event);
        let batch = names.of(event.batch()).await;
        events.event(Event::Runner { event, batch });
    }
}

/// Posts the status of a batch, and logs it.
async fn notify_batch(store: &Store, notifications: &Notifications, news: BatchNews) -> Result<(), StoreError> {
    if let Some(occasion) = occasion_of(store, &news).await? {
        notifications.post(store, &news.batch, &news.summary, occasion, news.unpublished.clone()).await?;
    }
    log::batch(&news);
    Ok(())
}

/// The event of a batch to notify about.
async fn occasion_of(store: &Store, news: &BatchNews) -> Result<Option<Occasion>, StoreError> {
    let (event, at, about) = match news.batch_status {
        BatchStatus::Finished(at) => (NoticeEvent::Finished, at, at),
        BatchStatus::Paused(at) => (NoticeEvent::Paused, at, store.resumed_at(news.batch.id).await?),
        BatchStatus::WindowClosed(at) => (NoticeEvent::WindowClosed, at, at),
        BatchStatus::Working | BatchStatus::Over => return Ok(None),
    };
    Ok(Some(Occasion { event, at, about: about.to_string() }))
}

/// Posts and logs schedule events, and updates their metrics.
async fn handle_schedule_events(
    store: Store,
    notifications: Notifications,
    metrics: Metrics,
    mut events: UnboundedReceiver<Scheduling>,
) {
    while let Some(event) = events.recv().await {
        if let Scheduling::CouldNotStart { definition, batch, at, why, hint } = &event {
            let batch = batch.as_deref().unwrap_or(definition);
            let reason = hint.as_ref().map_or_else(|| why.clone(), |hint| format!("{why}; {hint}"));
            let news = News::could_not_start(definition, batch, &reason, store.clock().now());
            if let Err(e) = notifications.post_not_started(&store, &news, format!("{at} {why}")).await {
                tracing::warn!(error = %e, "nobody is told that a run could not be started");
            }
        }
        log::scheduling(&event);
        if let Scheduling::States(states) = event {
            metrics.schedules(states);
        }
    }
}

/// Posts spend limits that are close, until it is stopped.
async fn notify_spend_limits(
    store: Store,
    notifications: Notifications,
    environment: Environment,
    stop: CancellationToken,
) {
    let mut failing = false;
    while timeout(LOOK, stop.cancelled()).await.is_err() {
        match notifications.post_spend_limits(&store, environment).await {
            Ok(()) => failing = false,
            Err(e) if !std::mem::replace(&mut failing, true) => {
                tracing::warn!(error = %e, "nobody is told that a spend limit is close");
            }
            Err(_) => {}
        }
    }
}
