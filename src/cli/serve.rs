//! `wavebatch serve`

mod telling;

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
    Context, Exit, Screen, Stop,
    context::World,
    drive::{Api, Drive},
    hooks::HookFlags,
    sources::SANDBOX_OUTPUT,
    tell::{self, fact},
    watch,
};
use crate::{
    config::Listen,
    domain::callback::Secret,
    runner::{Event, Webhook},
    server::{
        Admin, AdminSettings, BatchNews, Keeper, Metrics, Notifier, OwnTarget, Patience, Receiver, ReceiverSettings,
        Scheduler, SchedulerSettings, Target,
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
    world: World,
    #[command(flatten)]
    hooks: HookFlags,
}

impl Serve {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Stop> {
        let sandbox = self.world.sandbox;
        let config = self.hooks.over(context.config(sandbox)?);
        let api = if self.no_workers {
            Api::open_idle(context, &config, sandbox).await?
        } else {
            Api::open(context, &config, sandbox).await?
        };
        let drive = Drive::open(context, config, api, true).await?;
        let given = context.env.webhook_secret.as_ref().map(ExposeSecret::expose_secret);
        let secrets = secrets(drive.store.path(), given)?;
        if let Some(now) = context.env.now {
            let clock = drive.store.clock();
            clock.advance(now.as_millisecond() - clock.now());
        }
        for dir in self.dirs(&drive) {
            if !dir.is_dir() {
                return Err(Stop::usage(format!("{} is no directory", dir.display()))
                    .hint("--definitions names the directory that the definitions are in"));
            }
        }
        let service = Service::open(&self, &drive, secrets).await?;
        service.tell(&drive, &self);
        let end = service.run(&drive, &self).await;
        let exit = Exit::of_signal(&drive.shutdown);
        drive.store.give_up();
        if tokio::time::timeout(CLOSE_TIME, drive.close()).await.is_err() {
            tracing::warn!("the ledger could not be closed in time; the next start finds it as it is");
        }
        end.map(|()| exit)
    }
}

impl Serve {
    /// The directories whose schedules are kept.
    fn dirs(&self, drive: &Drive<'_>) -> Vec<PathBuf> {
        if self.definitions.is_empty() { drive.config.serve.definitions.clone() } else { self.definitions.clone() }
    }

    fn schedules(&self, drive: &Drive<'_>) -> SchedulerSettings {
        SchedulerSettings {
            dirs: self.dirs(drive),
            environment: drive.environment(),
            origin: drive.config.origin(),
            rates: drive.config.rates.clone(),
            account: drive.account(),
            sandbox_output: self.world.sandbox.then(|| SANDBOX_OUTPUT.to_owned()),
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
    async fn open(verb: &Serve, drive: &Drive<'_>, secrets: Vec<Secret>) -> Result<Self, Stop> {
        let config = &drive.config;
        let secret = secrets.first().cloned();
        let sandbox = verb.world.sandbox;
        let listen = match verb.hooks.listen() {
            None if sandbox => Listen::On(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            given => given.unwrap_or(config.webhook.listen),
        };
        let metrics = Metrics::new();
        let receiver = match listen {
            Listen::Off => None,
            Listen::On(listen) => {
                let patience = Patience { end: Duration::from_secs(1), ..Patience::default() };
                let (rates, metrics) = (config.rates.clone(), metrics.clone());
                let settings = ReceiverSettings { listen, secrets, rates, patience, metrics };
                Some(Receiver::start(drive.store.clone(), settings).await.map_err(|e| {
                    Stop::blocked(format!("callbacks cannot be received on {listen}: {e}"))
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
        let admin = admin(verb, drive, &metrics).await?;
        Ok(Self { receiver, webhook, admin, metrics })
    }

    /// Tells what it does, and where.
    fn tell(&self, drive: &Drive<'_>, verb: &Serve) {
        let screen = &drive.context.screen;
        tell::places(&drive.config, drive.fresh).iter().for_each(|fact| screen.say(fact));
        let callbacks = match (&self.receiver, &self.webhook) {
            (Some(receiver), Some(webhook)) => format!("received on {} for {}", receiver.addr(), webhook.public_url),
            (Some(receiver), None) => format!(
                "received on {}; no call asks for one: set [webhook] public_url, or --public-url",
                receiver.addr()
            ),
            (None, Some(webhook)) => format!("asked for by {}, and received elsewhere", webhook.public_url),
            (None, None) => "none".to_owned(),
        };
        screen.say(&fact("callbacks", callbacks));
        let admin = self.admin.as_ref().map(|admin| format!("http://{0}/metrics, /healthz, /readyz", admin.addr()));
        screen.say(&fact("admin", admin.as_deref().unwrap_or("none")));
        screen.say(&fact(
            "schedules",
            match verb.dirs(drive).as_slice() {
                [] => "none; --definitions DIR keeps those of a directory".to_owned(),
                dirs => format!(
                    "of the definitions in {}",
                    dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ")
                ),
            },
        ));
        screen.say(&fact("workers", if verb.no_workers { "none: other processes make the calls" } else { "at work" }));
    }

    /// Does everything until a signal comes, or something cannot go on.
    async fn run(self, drive: &Drive<'_>, verb: &Serve) -> Result<(), Stop> {
        let Self { receiver, webhook, admin, metrics } = self;
        let stop = CancellationToken::new();
        let mut tasks: JoinSet<Result<(), StoreError>> = JoinSet::new();
        let (store, config) = (&drive.store, &drive.config);
        let sandbox = verb.world.sandbox;
        let (said, events) = unbounded_channel();
        let scheduler = Scheduler::new(store.clone(), drive.fetcher.clone(), verb.schedules(drive), said);
        let folder = scheduler.folder();
        let own: OwnTarget =
            Arc::new(move |definition| folder.notify_of(definition).map(|(to, dir)| Target { to, dir }));
        let tells = telling::settings(drive.context, config, own, sandbox, metrics.clone());
        let notifier = Notifier::new(store.clone(), tells.clone());
        tasks.spawn({
            let stop = stop.clone();
            async move {
                notifier.run(stop).await;
                Ok(())
            }
        });
        tokio::spawn(telling::schedules(store.clone(), tells.clone(), metrics.clone(), sandbox, events));
        tokio::spawn(telling::spend_limits(store.clone(), tells.clone(), drive.environment(), stop.clone()));
        if !verb.dirs(drive).is_empty() {
            tasks.spawn(scheduler.run(stop.clone()));
        }
        let told = store.clone();
        let tell = move |news: BatchNews| {
            let (store, tells) = (told.clone(), tells.clone());
            async move { telling::tell(&store, &tells, &news, sandbox).await }
        };
        tasks.spawn(Keeper::new(store.clone(), drive.environment(), config.rates.clone(), tell).run(stop.clone()));
        if let Some(webhook) = webhook.as_ref().filter(|_| receiver.is_some()) {
            let settings =
                ProbeSettings::new(webhook.public_url.clone(), webhook.secret.clone(), store.clock().clone());
            tokio::spawn(probe::watch(settings, metrics.clone(), stop.clone()));
        }
        if !verb.no_workers {
            renew_dictionaries(drive).await?;
            let (events, heard) = unbounded_channel();
            tokio::spawn(follow(drive.context.screen.clone(), metrics.clone(), heard));
            let runner = drive.runner(webhook, events);
            let (drain, abort) = (drive.shutdown.drain.clone(), drive.shutdown.abort.clone());
            tasks.spawn(async move { runner.serve(drain, abort).await.map(|_| ()) });
        }
        // The first that ends by itself could not go on; after a signal, all are to end.
        let broken = tokio::select! {
            () = drive.shutdown.drain.cancelled() => None,
            Some(ended) = tasks.join_next() => Some(ended),
        };
        stop.cancel();
        drive.shutdown.drain.cancel();
        if drive.shutdown.signal().is_some() {
            drive.context.screen.say("stopping: what is in flight has 5 s");
        }
        let rest = async { while tasks.join_next().await.is_some() {} };
        tokio::pin!(rest);
        if tokio::time::timeout(DRAIN_TIME, &mut rest).await.is_err() {
            drive.shutdown.abort.cancel();
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
            Some(Ok(Err(e))) => Err(Stop::of_ledger(e, &config.database)),
            Some(Err(e)) => Err(Stop::blocked(format!("a part of the service broke: {e}"))),
        }
    }
}

/// Where health and metrics are, if anywhere.
async fn admin(verb: &Serve, drive: &Drive<'_>, metrics: &Metrics) -> Result<Option<Admin>, Stop> {
    let Listen::On(listen) = verb.admin_listen.unwrap_or(drive.config.serve.admin_listen) else { return Ok(None) };
    let settings = AdminSettings {
        listen,
        store: drive.store.clone(),
        metrics: metrics.clone(),
        account: drive.account_name().to_owned(),
        environment: drive.environment(),
        limits: drive.config.pool_limits(),
        spend: drive.config.spend.clone(),
    };
    let started = Admin::start(settings).await.map_err(|e| {
        Stop::blocked(format!("health and metrics cannot be served on {listen}: {e}"))
            .hint("choose another address with --admin-listen or in wavebatch.toml, [serve] admin_listen; --admin-listen off serves none")
    })?;
    Ok(Some(started))
}

/// What was submitted while nobody was here may speak by words that are not on the account any more.
async fn renew_dictionaries(drive: &Drive<'_>) -> Result<(), Stop> {
    for (batch, _) in drive.store.standings(drive.environment()).await? {
        if batch.finished_at.is_none()
            && let Err(e) = synthesize::renew_dictionary(&drive.store, drive.account().as_ref(), &batch).await
        {
            let stop = Stop::from(e);
            drive.context.screen.warn(&format!("{}: {}", batch.name, stop.told()));
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
