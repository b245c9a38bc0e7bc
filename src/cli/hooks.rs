//! Where callbacks come in while a command works: its own receiver, for its own time.

use std::net::{Ipv4Addr, SocketAddr};

use secrecy::ExposeSecret;
use url::Url;

use super::{Context, Exit, Stop, drive::spec_of, tell::fact};
use crate::{
    config::Config,
    definition::Definition,
    domain::{
        batch::BatchSpec,
        job::BatchId,
        options::{SttModel, WebhookMode},
    },
    runner::Webhook,
    server::{Metrics, Patience, Receiver, ReceiverSettings, SecretError, secrets},
    store::Store,
};

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
        let listen = if sandbox { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) } else { config.webhook.listen };
        let (rates, patience) = (config.rates.clone(), Patience::default());
        let settings = ReceiverSettings { listen, secrets, rates, patience, metrics: Metrics::new() };
        let receiver = match Receiver::start(store.clone(), settings).await {
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
