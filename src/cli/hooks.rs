//! Where callbacks come in while a command works: its own receiver, for its own time.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use clap::Args;
use secrecy::ExposeSecret;
use url::Url;

use super::{Context, Exit, Stop, drive::spec_of, tell::fact};
use crate::{
    config::{Config, Listen, public_url},
    definition::{Definition, text},
    domain::{
        batch::BatchSpec,
        job::BatchId,
        options::{SttModel, WebhookMode},
    },
    runner::Webhook,
    server::{Patience, Receiver, ReceiverSettings, SecretError, secrets},
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

/// A receiver, and what the runner needs to have answers posted to it.
pub(super) struct Hooks {
    /// `None`: somebody else listens there.
    receiver: Option<Receiver>,
    pub(super) webhook: Webhook,
}

impl Hooks {
    /// Opens a receiver, if answers of these batches may be posted to us.
    pub(super) async fn open(
        context: &Context,
        config: &Config,
        store: &Store,
        sandbox: bool,
        batches: &[BatchId],
    ) -> Result<Option<Self>, Stop> {
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
        let listen = match config.webhook.listen {
            _ if sandbox => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            Listen::On(address) => address,
            Listen::Off => {
                let public_url = config.webhook.public_url.clone();
                let rule = config.webhook.rule;
                return Ok(
                    public_url.map(|public_url| Self { receiver: None, webhook: Webhook { public_url, secret, rule } })
                );
            }
        };
        let (rates, patience) = (config.rates.clone(), Patience::default());
        let receiver = match Receiver::start(store.clone(), ReceiverSettings { listen, secrets, rates, patience }).await
        {
            Ok(receiver) => Some(receiver),
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse && !sandbox => {
                context.screen.warn(&format!(
                    "somebody listens on {listen} already; if that is no receiver of this ledger, callbacks are found in the vendor's log only"
                ));
                None
            }
            Err(e) => {
                return Err(Stop::blocked(format!("callbacks cannot be received on {listen}: {e}"))
                    .hint("set another address in wavebatch.toml: [webhook] listen = \"127.0.0.1:8081\""));
            }
        };
        let here = |receiver: &Receiver| Url::parse(&format!("http://{}", receiver.addr())).ok();
        let public_url = match &receiver {
            Some(receiver) if sandbox => here(receiver),
            _ => config.webhook.public_url.clone(),
        };
        let Some(public_url) = public_url else { return Ok(None) };
        if let Some(receiver) = receiver.as_ref().filter(|_| !sandbox) {
            context.screen.say(&fact("callbacks", format!("received on {} for {public_url}", receiver.addr())));
        }
        let webhook = Webhook { public_url, secret, rule: config.webhook.rule };
        Ok(Some(Self { receiver, webhook }))
    }

    pub(super) async fn close(self) {
        if let Some(receiver) = self.receiver {
            receiver.shutdown().await;
        }
    }
}

fn may_be_posted(spec: &BatchSpec) -> bool {
    let Some(asked) = spec.task.transcription() else { return false };
    // A column may set another model for a line.
    let pro = asked.options.model == SttModel::PulsePro || spec.option_columns.iter().any(|column| column == "model");
    pro && asked.webhook != WebhookMode::Never
}

/// Answers that are always to be posted need an address.
pub(super) fn check(definition: &Definition, config: &Config, sandbox: bool) -> Result<(), Stop> {
    let always = definition.transcribing().is_some_and(|asked| asked.webhook == WebhookMode::Always);
    if always && !sandbox && config.webhook.public_url.is_none() {
        return Err(Stop::usage("webhook = \"always\", and the vendor is told no address to post answers to")
            .hint("set it in wavebatch.toml: [webhook] public_url = \"https://hooks.example.com/wavebatch\""));
    }
    Ok(())
}

impl From<SecretError> for Stop {
    fn from(error: SecretError) -> Self {
        Self { exit: Exit::Blocked, error: error.into(), hint: None }
    }
}
