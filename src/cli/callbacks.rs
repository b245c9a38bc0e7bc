//! The flags for callbacks, shared by `run`, `submit`, `work` and `serve`.

use std::time::Duration;

use clap::Args;
use url::Url;

use crate::{
    app::Settings,
    config::{Listen, public_url},
    definition::text,
};

/// How callbacks come in, where wavebatch.toml says otherwise or nothing.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Callbacks")]
pub struct CallbackFlags {
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

impl CallbackFlags {
    /// The settings, overridden by these flags.
    pub(super) fn over(&self, mut settings: Settings) -> Settings {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let webhook = &mut settings.config.webhook;
        webhook.public_url = self.public_url.clone().or(webhook.public_url.take());
        webhook.listen = self.listen.unwrap_or(webhook.listen);
        webhook.rule.overdue_ms = self.overdue.map_or(webhook.rule.overdue_ms, millis);
        webhook.rule.grace_ms = self.grace.map_or(webhook.rule.grace_ms, millis);
        settings
    }

    /// The listen address, if the command line sets it.
    pub(super) const fn listen(&self) -> Option<Listen> {
        self.listen
    }
}
