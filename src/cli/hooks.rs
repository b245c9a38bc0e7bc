//! Where callbacks come in while a command works: its own receiver, for its own time.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use clap::Args;
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{CliError, Context, Exit, Screen, messages::fact, session::spec_of};
use crate::{
    config::{Config, Listen, public_url},
    definition::{Definition, text},
    domain::{
        batch::BatchSpec,
        job::BatchId,
        options::{SttModel, WebhookMode},
        transcription::Transcription,
    },
    runner::Webhook,
    server::{
        Metrics, Receiver, ReceiverSettings, SecretError, ServerTimeouts,
        probe::{self, ProbeSettings},
        secrets,
    },
    store::Store,
};

/// How callbacks come in, where wavebatch.toml says otherwise or nothing.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Callbacks")]
pub struct HookFlags {
    /// The address by which the vendor reaches the receiver, e.g. https://hooks.example.com/wavebatch
    #[arg(long, value_name = "URL", value_parser = public_url)]
    public_url: Option<Url>,
    /// Where callbacks are received, or off [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    listen: Option<Listen>,
    /// After how long a callback is overdue, if not after three times the audio's length [default: 15m]
    #[arg(long, value_name = "TIME", value_parser = text::duration)]
    overdue: Option<Duration>,
    /// How long after that the vendor's log may still be without it [default: 2m]
    #[arg(long, value_name = "TIME", value_parser = text::duration)]
    grace: Option<Duration>,
}

impl HookFlags {
    /// The settings with these flags above them.
    pub(super) fn over(&self, mut config: Config) -> Config {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let webhook = &mut config.webhook;
        webhook.public_url = self.public_url.clone().or(webhook.public_url.take());
        webhook.listen = self.listen.unwrap_or(webhook.listen);
        webhook.rule.overdue_ms = self.overdue.map_or(webhook.rule.overdue_ms, millis);
        webhook.rule.grace_ms = self.grace.map_or(webhook.rule.grace_ms, millis);
        config
    }

    /// Where to listen, if the command line says so.
    pub(super) const fn listen(&self) -> Option<Listen> {
        self.listen
    }
}

/// How often it is looked whether whoever receives for this ledger still does.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// What the runner needs to have answers posted to it, and who receives them.
pub(super) struct Hooks {
    pub(super) webhook: Webhook,
    receiver: Option<Receiver>,
    standby: Option<Standby>,
}

impl Hooks {
    /// Opens a receiver, if answers of these batches may be posted to us and nobody receives them yet.
    pub(super) async fn open(
        context: &Context,
        config: &Config,
        store: &Store,
        sandbox: bool,
        batches: &[BatchId],
    ) -> Result<Option<Self>, CliError> {
        if config.webhook.public_url.is_none() && !sandbox {
            return Ok(None);
        }
        let mut posted = false;
        for batch in batches {
            let row = store.batch_by_id(*batch).await?;
            posted |= may_be_posted(&spec_of(&row.name, &row.spec)?);
        }
        // Without batches named, whichever are open.
        if !posted && !batches.is_empty() {
            return Ok(None);
        }
        let given = context.env.webhook_secret.as_ref().map(ExposeSecret::expose_secret);
        let secrets = secrets(store.path(), given)?;
        let Some(secret) = secrets.first().cloned() else { return Ok(None) };
        let listen = if sandbox { Listen::On((Ipv4Addr::LOCALHOST, 0).into()) } else { config.webhook.listen };
        let settings = |listen| ReceiverSettings {
            listen,
            secrets: secrets.clone(),
            rates: config.rates.clone(),
            timeouts: ServerTimeouts::default(),
            metrics: Metrics::new(),
        };
        let rule = config.webhook.rule;
        let hooks = |public_url, receiver, standby| {
            let webhook = Webhook { public_url, secret: secret.clone(), rule };
            Ok(Some(Self { webhook, receiver, standby }))
        };
        if sandbox {
            let Listen::On(here) = listen else { return Ok(None) };
            let receiver = Receiver::start(store.clone(), settings(here)).await.map_err(|e| unheard(here, &e))?;
            let address = format!("http://{}", receiver.addr());
            let public_url = Url::parse(&address).expect("an address and a port are a URL");
            return hooks(public_url, Some(receiver), None);
        }
        let Some(public_url) = config.webhook.public_url.clone() else { return Ok(None) };
        let Listen::On(here) = listen else { return hooks(public_url, None, None) };
        let screen = &context.screen;
        let probe = ProbeSettings::new(public_url.clone(), secret.clone(), store.clock().clone());
        let probe = ProbeSettings { timeouts: Duration::from_secs(3), ..probe };
        let standby = |store: &Store| Standby::new(store.clone(), settings(here), probe.clone(), screen.clone());
        if probe::once(&probe).await.is_ok() {
            screen.message(&fact("callbacks", format!("received by another process for {public_url}")));
            return hooks(public_url, None, Some(standby(store)));
        }
        match Receiver::start(store.clone(), settings(here)).await {
            Ok(receiver) => {
                screen.message(&fact("callbacks", format!("received on {} for {public_url}", receiver.addr())));
                hooks(public_url, Some(receiver), None)
            }
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {
                screen.warn(&format!(
                    "somebody listens on {here} already, and {public_url} does not lead to a receiver of this ledger: until it does, results are found in the vendor's log only"
                ));
                hooks(public_url, None, Some(standby(store)))
            }
            Err(e) => Err(unheard(here, &e)),
        }
    }

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

fn unheard(listen: SocketAddr, error: &std::io::Error) -> CliError {
    CliError::blocked(format!("callbacks cannot be received on {listen}: {error}"))
        .hint("choose another address with --listen, or in wavebatch.toml: [webhook] listen = \"127.0.0.1:8081\"")
}

/// Takes over when whoever received for this ledger has gone.
struct Standby {
    stop: CancellationToken,
    waiting: tokio::task::JoinHandle<Option<Receiver>>,
}

impl Standby {
    fn new(store: Store, settings: ReceiverSettings, probe: ProbeSettings, screen: Screen) -> Self {
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
                    screen.message(&fact("callbacks", format!("from now on received on {}", receiver.addr())));
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

fn may_be_posted(spec: &BatchSpec) -> bool {
    let Some(asked) = spec.task.read::<Transcription>().ok() else { return false };
    // A column may set another model for a line.
    let pro = asked.options.model == SttModel::PulsePro || spec.option_columns.iter().any(|column| column == "model");
    match asked.webhook {
        WebhookMode::Auto => pro,
        WebhookMode::Always => true,
        WebhookMode::Never => false,
    }
}

/// Answers that are always to be posted need an address.
pub(super) fn check(definition: &Definition, config: &Config, sandbox: bool) -> Result<(), CliError> {
    let always = definition.transcribing().is_some_and(|asked| asked.webhook == WebhookMode::Always);
    if always && !sandbox && config.webhook.public_url.is_none() {
        return Err(CliError::usage("webhook = \"always\", and the vendor is told no address to post answers to")
            .hint("set it in wavebatch.toml: [webhook] public_url = \"https://hooks.example.com/wavebatch\""));
    }
    Ok(())
}

impl From<SecretError> for CliError {
    fn from(error: SecretError) -> Self {
        Self { exit: Exit::Blocked, error: error.into(), hint: None }
    }
}
