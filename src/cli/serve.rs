//! `wavebatch serve`

mod notify;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use secrecy::ExposeSecret;
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{
    CliError, Context, Exit, Screen,
    context::LedgerFlags,
    hooks::HookFlags,
    messages::{self, fact},
    session::{Api, Session},
    sources::SANDBOX_OUTPUT,
    watch,
};
use crate::{
    config::Listen,
    domain::callback::Secret,
    runner::{Event, Webhook},
    server::{
        Admin, AdminSettings, BatchNews, Metrics, Notifier, OwnTarget, Receiver, ReceiverSettings, Scheduler,
        SchedulerSettings, ServerTimeouts, Supervisor, Target,
        probe::{self, ProbeSettings},
        secrets,
    },
    store::StoreError,
    tasks::synthesize,
};

/// What is in flight has so long after SIGTERM; then it is handed back.
const DRAIN_TIME: Duration = Duration::from_secs(5);
/// And so long each takes at most of what follows: the workers that are handed back, what listens, the ledger.
const CLOSE_TIME: Duration = Duration::from_millis(800);

/// Receive callbacks, keep schedules and work, until it is stopped
///
/// Any number of services may run side by side on one ledger. SIGTERM, SIGHUP or Ctrl-C ends it within 8 s; what was
/// begun goes on with the next start.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  wavebatch serve --definitions jobs --public-url https://hooks.example.com/wavebatch"
)]
pub struct Serve {
    /// Keep the schedules of the definitions in this directory; may be given more than once
    #[arg(long, value_name = "DIR")]
    definitions: Vec<PathBuf>,
    /// Make no calls: receive callbacks, keep schedules
    #[arg(long)]
    no_workers: bool,
    /// Where health and metrics are, or off [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<Listen>,
    #[command(flatten)]
    ledger: LedgerFlags,
    #[command(flatten)]
    hooks: HookFlags,
}

impl Serve {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let sandbox = self.ledger.sandbox;
        let config = self.hooks.over(context.config(sandbox)?);
        let api = if self.no_workers {
            Api::open_idle(context, &config, sandbox).await?
        } else {
            Api::open(context, &config, sandbox).await?
        };
        let session = Session::open(context, config, api, true).await?;
        let given = context.env.webhook_secret.as_ref().map(ExposeSecret::expose_secret);
        let secrets = secrets(session.store.path(), given)?;
        if let Some(now) = context.env.now {
            let clock = session.store.clock();
            clock.advance(now.as_millisecond() - clock.now());
        }
        for dir in self.dirs(&session) {
            if !dir.is_dir() {
                return Err(CliError::usage(format!("{} is no directory", dir.display()))
                    .hint("--definitions names the directory that the definitions are in"));
            }
        }
        let service = Service::open(&self, &session, secrets).await?;
        service.notify(&session, &self);
        let end = service.run(&session, &self).await;
        let exit = Exit::of_signal(&session.shutdown);
        session.store.give_up();
        if tokio::time::timeout(CLOSE_TIME, session.close()).await.is_err() {
            tracing::warn!("the ledger could not be closed in time; the next start finds it as it is");
        }
        end.map(|()| exit)
    }
}

impl Serve {
    /// The directories whose schedules are kept.
    fn dirs(&self, session: &Session<'_>) -> Vec<PathBuf> {
        if self.definitions.is_empty() { session.config.serve.definitions.clone() } else { self.definitions.clone() }
    }

    fn schedules(&self, session: &Session<'_>) -> SchedulerSettings {
        SchedulerSettings {
            dirs: self.dirs(session),
            environment: session.environment(),
            origin: session.config.origin(),
            rates: session.config.rates.clone(),
            account: session.account(),
            sandbox_output: self.ledger.sandbox.then(|| SANDBOX_OUTPUT.to_owned()),
        }
    }
}

/// What listens.
struct Service {
    receiver: Option<Receiver>,
    webhook: Option<Webhook>,
    admin: Option<Admin>,
    metrics: Metrics,
}

impl Service {
    async fn open(verb: &Serve, session: &Session<'_>, secrets: Vec<Secret>) -> Result<Self, CliError> {
        let config = &session.config;
        let secret = secrets.first().cloned();
        let sandbox = verb.ledger.sandbox;
        let listen = match verb.hooks.listen() {
            None if sandbox => Listen::On(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            given => given.unwrap_or(config.webhook.listen),
        };
        let metrics = Metrics::new();
        let receiver = match listen {
            Listen::Off => None,
            Listen::On(listen) => {
                let timeouts = ServerTimeouts { end: Duration::from_secs(1), ..ServerTimeouts::default() };
                let (rates, metrics) = (config.rates.clone(), metrics.clone());
                let settings = ReceiverSettings { listen, secrets, rates, timeouts, metrics };
                Some(Receiver::start(session.store.clone(), settings).await.map_err(|e| {
                    CliError::blocked(format!("callbacks cannot be received on {listen}: {e}"))
                        .hint("choose another address with --listen or in wavebatch.toml, [webhook] listen; --listen off receives none")
                })?)
            }
        };
        let here = receiver.as_ref().and_then(|receiver| Url::parse(&format!("http://{}", receiver.addr())).ok());
        let public_url = config.webhook.public_url.clone().or(here.filter(|_| sandbox));
        let webhook = public_url.zip(secret).map(|(public_url, secret)| Webhook {
            public_url,
            secret,
            rule: config.webhook.rule,
        });
        let admin = admin(verb, session, &metrics).await?;
        Ok(Self { receiver, webhook, admin, metrics })
    }

    /// Tells what it does, and where.
    fn notify(&self, session: &Session<'_>, verb: &Serve) {
        let screen = &session.context.screen;
        messages::places(&session.config, session.fresh).iter().for_each(|fact| screen.message(fact));
        let callbacks = match (&self.receiver, &self.webhook) {
            (Some(receiver), Some(webhook)) => format!("received on {} for {}", receiver.addr(), webhook.public_url),
            (Some(receiver), None) => format!(
                "received on {}; no call asks for one: set [webhook] public_url, or --public-url",
                receiver.addr()
            ),
            (None, Some(webhook)) => format!("asked for by {}, and received elsewhere", webhook.public_url),
            (None, None) => "none".to_owned(),
        };
        screen.message(&fact("callbacks", callbacks));
        let admin = self.admin.as_ref().map(|admin| format!("http://{0}/metrics, /healthz, /readyz", admin.addr()));
        screen.message(&fact("admin", admin.as_deref().unwrap_or("none")));
        screen.message(&fact(
            "schedules",
            match verb.dirs(session).as_slice() {
                [] => "none; --definitions DIR keeps those of a directory".to_owned(),
                dirs => format!(
                    "of the definitions in {}",
                    dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ")
                ),
            },
        ));
        screen.message(&fact(
            "workers",
            if verb.no_workers { "none: other processes make the calls" } else { "at work" },
        ));
    }

    /// Does everything until a signal comes, or something cannot go on.
    async fn run(self, session: &Session<'_>, verb: &Serve) -> Result<(), CliError> {
        let Self { receiver, webhook, admin, metrics } = self;
        let stop = CancellationToken::new();
        let mut tasks: JoinSet<Result<(), StoreError>> = JoinSet::new();
        let (store, config) = (&session.store, &session.config);
        let sandbox = verb.ledger.sandbox;
        let (said, events) = unbounded_channel();
        let scheduler = Scheduler::new(store.clone(), session.fetcher.clone(), verb.schedules(session), said);
        let folder = scheduler.folder();
        let own: OwnTarget =
            Arc::new(move |definition| folder.notify_of(definition).map(|(to, dir)| Target { to, dir }));
        let notifications = notify::settings(session.context, config, own, sandbox, metrics.clone());
        let notifier = Notifier::new(store.clone(), notifications.clone());
        tasks.spawn({
            let stop = stop.clone();
            async move {
                notifier.run(stop).await;
                Ok(())
            }
        });
        tokio::spawn(notify::schedules(store.clone(), notifications.clone(), metrics.clone(), sandbox, events));
        tokio::spawn(notify::spend_limits(store.clone(), notifications.clone(), session.environment(), stop.clone()));
        if !verb.dirs(session).is_empty() {
            tasks.spawn(scheduler.run(stop.clone()));
        }
        let message = store.clone();
        let notify = move |news: BatchNews| {
            let (store, notifications) = (message.clone(), notifications.clone());
            async move { notify::notify(&store, &notifications, &news, sandbox).await }
        };
        tasks.spawn(
            Supervisor::new(store.clone(), session.environment(), config.rates.clone(), notify).run(stop.clone()),
        );
        if let Some(webhook) = webhook.as_ref().filter(|_| receiver.is_some()) {
            let settings =
                ProbeSettings::new(webhook.public_url.clone(), webhook.secret.clone(), store.clock().clone());
            tokio::spawn(probe::watch(settings, metrics.clone(), stop.clone()));
        }
        if !verb.no_workers {
            renew_dictionaries(session).await?;
            let (events, heard) = unbounded_channel();
            tokio::spawn(follow(session.context.screen.clone(), metrics.clone(), heard));
            let runner = session.runner(webhook, events);
            let (drain, abort) = (session.shutdown.drain.clone(), session.shutdown.abort.clone());
            tasks.spawn(async move { runner.serve(drain, abort).await.map(|_| ()) });
        }
        // The first that ends by itself could not go on; after a signal, all are to end.
        let broken = tokio::select! {
            () = session.shutdown.drain.cancelled() => None,
            Some(ended) = tasks.join_next() => Some(ended),
        };
        stop.cancel();
        session.shutdown.drain.cancel();
        if session.shutdown.signal().is_some() {
            session.context.screen.message("stopping: what is in flight has 5 s");
        }
        let rest = async { while tasks.join_next().await.is_some() {} };
        tokio::pin!(rest);
        if tokio::time::timeout(DRAIN_TIME, &mut rest).await.is_err() {
            session.shutdown.abort.cancel();
            store.give_up();
            let _ = tokio::time::timeout(CLOSE_TIME, rest).await;
        }
        let received = async {
            if let Some(receiver) = receiver {
                receiver.shutdown().await;
            }
        };
        let asked = async {
            if let Some(admin) = admin {
                admin.shutdown().await;
            }
        };
        // Who began to ask and says no more is not waited for.
        let _ = tokio::time::timeout(CLOSE_TIME, async { tokio::join!(received, asked) }).await;
        match broken {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(e))) => Err(CliError::of_ledger(e, &config.database)),
            Some(Err(e)) => Err(CliError::blocked(format!("a part of the service broke: {e}"))),
        }
    }
}

/// Where health and metrics are, if anywhere.
async fn admin(verb: &Serve, session: &Session<'_>, metrics: &Metrics) -> Result<Option<Admin>, CliError> {
    let Listen::On(listen) = verb.admin_listen.unwrap_or(session.config.serve.admin_listen) else { return Ok(None) };
    let settings = AdminSettings {
        listen,
        store: session.store.clone(),
        metrics: metrics.clone(),
        account: session.account_name().to_owned(),
        environment: session.environment(),
        limits: session.config.pool_limits(),
        spend: session.config.spend.clone(),
    };
    let started = Admin::start(settings).await.map_err(|e| {
        CliError::blocked(format!("health and metrics cannot be served on {listen}: {e}"))
            .hint("choose another address with --admin-listen or in wavebatch.toml, [serve] admin_listen; --admin-listen off serves none")
    })?;
    Ok(Some(started))
}

/// What was submitted while nobody was here may speak by words that are not on the account any more.
async fn renew_dictionaries(session: &Session<'_>) -> Result<(), CliError> {
    for (batch, _) in session.store.batch_statuses(session.environment()).await? {
        if batch.finished_at.is_none()
            && let Err(e) = synthesize::renew_dictionary(&session.store, session.account().as_ref(), &batch).await
        {
            let stop = CliError::from(e);
            session.context.screen.warn(&format!("{}: {}", batch.name, stop.message()));
        }
    }
    Ok(())
}

async fn follow(screen: Screen, metrics: Metrics, mut events: UnboundedReceiver<Event>) {
    while let Some(event) = events.recv().await {
        metrics.event(&event);
        watch::log(&event, &screen);
    }
}
