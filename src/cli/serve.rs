//! `wavebatch serve`

use std::path::PathBuf;

use clap::Args;

use super::{
    callbacks::CallbackFlags,
    context::{Context, LedgerFlags},
    error::{CliError, Exit},
    messages,
    screen::Screen,
    terminal::Terminal,
    words::fact,
};
use crate::{
    app::{Service, ServiceSettings, Session},
    config::Listen,
};

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
    callbacks: CallbackFlags,
}

impl Serve {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let settings = self.callbacks.over(context.settings(self.ledger.sandbox)?);
        let settings = if self.no_workers { settings.without_calls() } else { settings };
        let service = ServiceSettings {
            definitions: match self.definitions.is_empty() {
                true => settings.config.serve.definitions.clone(),
                false => self.definitions,
            },
            workers: !self.no_workers,
            listen: self.callbacks.listen(),
            admin_listen: self.admin_listen.unwrap_or(settings.config.serve.admin_listen),
        };
        let session = Session::open(settings, Terminal::events(&context.screen)).await?;
        let shutdown = session.shutdown().clone();
        let service = Service::open(session, service).await?;
        notify(&context.screen, &service);
        service.run().await?;
        Ok(Exit::of_signal(shutdown.signal()))
    }
}

/// Prints the parts of a service and their addresses.
fn notify(screen: &Screen, service: &Service) {
    let session = service.session();
    if screen.is_log() {
        let config = session.config();
        let address = |addr: Option<std::net::SocketAddr>| addr.map(|addr| addr.to_string());
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            ledger = %config.database,
            settings = config.file.as_ref().map(|file| file.display().to_string()),
            callbacks = address(service.callbacks().0),
            public_url = service.callbacks().1.map(ToString::to_string),
            admin = address(service.admin()),
            workers = service.settings().workers,
            "service started"
        );
        return;
    }
    screen.message(&fact("version", env!("CARGO_PKG_VERSION")));
    messages::places(session.config(), session.is_fresh()).iter().for_each(|fact| screen.message(fact));
    let callbacks = match service.callbacks() {
        (Some(addr), Some(public_url)) => format!("received on {addr} for {public_url}"),
        (Some(addr), None) => {
            format!("received on {addr}; no call asks for one: set [webhook] public_url, or --public-url")
        }
        (None, Some(public_url)) => format!("asked for by {public_url}, and received elsewhere"),
        (None, None) => "none".to_owned(),
    };
    screen.message(&fact("callbacks", callbacks));
    let admin = service.admin().map(|addr| format!("http://{addr}/metrics, /healthz, /readyz"));
    screen.message(&fact("admin", admin.as_deref().unwrap_or("none")));
    let schedules = match service.settings().definitions.as_slice() {
        [] => "none; --definitions DIR keeps those of a directory".to_owned(),
        dirs => {
            let dirs: Vec<_> = dirs.iter().map(|dir| dir.display().to_string()).collect();
            format!("of the definitions in {}", dirs.join(", "))
        }
    };
    screen.message(&fact("schedules", schedules));
    let workers = if service.settings().workers { "at work" } else { "none: other processes make the calls" };
    screen.message(&fact("workers", workers));
}
