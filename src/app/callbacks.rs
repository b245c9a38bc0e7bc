//! The receiver of callbacks: one of this process while it works, or one of another process.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use secrecy::ExposeSecret;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use super::{
    error::AppError,
    events::{CallbacksAt, Event, Events},
    session::Session,
    settings::Settings,
};
use crate::{
    config::{Config, Listen},
    definition::Definition,
    domain::{callback::SecretPurpose, job::BatchId},
    report::asked_of,
    runner::Webhook,
    server::{
        Metrics, Receiver, ReceiverSettings, Secrets, ServerTimeouts,
        probe::{self, ProbeSettings},
    },
    store::Store,
};

/// The interval for checks whether this ledger's receiver still runs.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The time limit of the probe for another process's receiver.
const PROBE_TIME: Duration = Duration::from_secs(3);

/// The public address for callbacks, and their receiver.
#[derive(Default)]
pub(super) struct Callbacks {
    /// The runner's callback settings; `None`: no answer comes by callback.
    pub(super) webhook: Option<Webhook>,
    pub(super) receiver: Option<Receiver>,
    standby: Option<Standby>,
    /// While it is there, new secrets of the ledger are noticed.
    _following: Option<DropGuard>,
}

impl Callbacks {
    /// Opens a receiver if these batches may use callbacks and no process receives them yet.
    pub(super) async fn of_work(session: &Session, batches: &[BatchId]) -> Result<Self, AppError> {
        let (settings, store) = (&session.settings, &session.store);
        let webhook = &settings.config.webhook;
        if webhook.public_url.is_none() && !settings.is_sandbox() || !may_be_posted(session, batches).await? {
            return Ok(Self::default());
        }
        let secrets = webhook_secrets(settings, store).await?;
        let keyring = secrets.keyring().clone();
        let following = follow(&secrets, store);
        let metrics = session.metrics_file.as_ref().map_or_else(Metrics::new, |file| file.metrics().clone());
        let receiving = Receiving { secrets, timeouts: ServerTimeouts::default(), metrics, service: false };
        let asked_by = |public_url| Some(Webhook { public_url, secrets: keyring.clone(), rule: webhook.rule });
        if settings.is_sandbox() {
            let receiver = receiving.start(session, ANY_PORT).await?;
            return Ok(Self {
                webhook: asked_by(address_of(&receiver)),
                receiver: Some(receiver),
                _following: Some(following),
                ..Self::default()
            });
        }
        let (Some(public_url), listen) = (webhook.public_url.clone(), webhook.listen) else {
            return Ok(Self::default());
        };
        let mut callbacks =
            Self { webhook: asked_by(public_url.clone()), _following: Some(following), ..Self::default() };
        let Listen::On(here) = listen else { return Ok(callbacks) };
        let probe = ProbeSettings::new(public_url.clone(), keyring.clone(), store.clock().clone());
        let probe = ProbeSettings { timeouts: PROBE_TIME, ..probe };
        let taking_over = receiving.settings(here, &settings.config);
        let standby = || Standby::new(store.clone(), taking_over.clone(), probe.clone(), Arc::clone(&session.events));
        if probe::once(&probe).await.is_ok() {
            session.say(Event::Callbacks(CallbacksAt::Elsewhere(public_url)));
            callbacks.standby = Some(standby());
            return Ok(callbacks);
        }
        match receiving.start(session, here).await {
            Ok(receiver) => {
                session.say(Event::Callbacks(CallbacksAt::Here { addr: receiver.addr(), public_url }));
                callbacks.receiver = Some(receiver);
            }
            Err(AppError::CallbackListen { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {
                session.say(Event::Warning(format!(
                    "somebody listens on {here} already, and {public_url} does not lead to a receiver of this ledger: until it does, results are found in the vendor's log only"
                )));
                callbacks.standby = Some(standby());
            }
            Err(e) => return Err(e),
        }
        Ok(callbacks)
    }

    /// Opens the receiver of a service. `listen`: the address, if the command line sets it.
    pub(super) async fn of_service(
        session: &Session,
        listen: Option<Listen>,
        metrics: Metrics,
    ) -> Result<Self, AppError> {
        let (settings, webhook) = (&session.settings, &session.settings.config.webhook);
        let secrets = webhook_secrets(settings, &session.store).await?;
        let keyring = secrets.keyring().clone();
        let following = Some(follow(&secrets, &session.store));
        let listen = match listen {
            None if settings.is_sandbox() => Listen::On(ANY_PORT),
            given => given.unwrap_or(webhook.listen),
        };
        let timeouts = ServerTimeouts { end: Duration::from_secs(1), ..ServerTimeouts::default() };
        let receiving = Receiving { secrets, timeouts, metrics, service: true };
        let receiver = match listen {
            Listen::Off => None,
            Listen::On(listen) => Some(receiving.start(session, listen).await?),
        };
        let here = receiver.as_ref().map(address_of).filter(|_| settings.is_sandbox());
        let public_url = webhook.public_url.clone().or(here);
        let webhook = public_url.map(|public_url| Webhook { public_url, secrets: keyring, rule: webhook.rule });
        Ok(Self { webhook, receiver, standby: None, _following: following })
    }

    /// Closes the receiver and any standby.
    pub(super) async fn close(self) {
        let standing_in = match self.standby {
            Some(standby) => standby.close().await,
            None => None,
        };
        for receiver in self.receiver.into_iter().chain(standing_in) {
            receiver.shutdown().await;
        }
    }
}

/// The sandbox posts to this machine; any free port is good.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn address_of(receiver: &Receiver) -> Url {
    Url::parse(&format!("http://{}", receiver.addr())).expect("an address and a port are a URL")
}

async fn webhook_secrets(settings: &Settings, store: &Store) -> Result<Secrets, AppError> {
    let given = settings.env.webhook_secret.as_ref().map(ExposeSecret::expose_secret);
    Ok(Secrets::of_ledger(store, SecretPurpose::Webhook, given).await?)
}

fn follow(secrets: &Secrets, store: &Store) -> DropGuard {
    let stop = CancellationToken::new();
    tokio::spawn(secrets.clone().follow(store.clone(), stop.clone()));
    stop.drop_guard()
}

/// The settings of a receiver, without its address.
struct Receiving {
    secrets: Secrets,
    timeouts: ServerTimeouts,
    metrics: Metrics,
    service: bool,
}

impl Receiving {
    fn settings(&self, listen: SocketAddr, config: &Config) -> ReceiverSettings {
        ReceiverSettings {
            listen,
            secrets: self.secrets.clone(),
            rates: config.rates.clone(),
            timeouts: self.timeouts,
            metrics: self.metrics.clone(),
        }
    }

    async fn start(&self, session: &Session, listen: SocketAddr) -> Result<Receiver, AppError> {
        let settings = self.settings(listen, session.config());
        let unheard = |source| AppError::CallbackListen { listen, source, service: self.service };
        Receiver::start(session.store.clone(), settings).await.map_err(unheard)
    }
}

/// Takes over when the receiver of this ledger is gone.
struct Standby {
    stop: CancellationToken,
    waiting: JoinHandle<Option<Receiver>>,
}

impl Standby {
    fn new(store: Store, settings: ReceiverSettings, probe: ProbeSettings, events: Events) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let waiting = tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stopped.cancelled() => return None,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
                if probe::once(&probe).await.is_ok() {
                    continue;
                }
                if let Ok(receiver) = Receiver::start(store.clone(), settings.clone()).await {
                    events.event(Event::Callbacks(CallbacksAt::TakenOver(receiver.addr())));
                    stopped.cancelled().await;
                    return Some(receiver);
                }
            }
        });
        Self { stop, waiting }
    }

    async fn close(self) -> Option<Receiver> {
        self.stop.cancel();
        self.waiting.await.ok().flatten()
    }
}

/// Whether one of these batches may use callbacks; without batches, whether any open batch may.
async fn may_be_posted(session: &Session, batches: &[BatchId]) -> Result<bool, AppError> {
    let mut posted = batches.is_empty();
    for batch in batches {
        let row = session.store.batch_by_id(*batch).await?;
        let spec = row.specification()?;
        posted |= asked_of(session.settings.tasks.reports(), spec)?.may_be_posted(&spec.option_columns);
    }
    Ok(posted)
}

/// Checks that there is a public URL if answers come only by callback.
///
/// # Errors
/// There is none.
pub fn check_public_url(definition: &Definition, config: &Config, sandbox: bool) -> Result<(), AppError> {
    match definition.task.needs_callbacks() && !sandbox && config.webhook.public_url.is_none() {
        true => Err(AppError::NoPublicUrl),
        false => Ok(()),
    }
}
