//! `wavebatch sandbox`

use std::{net::SocketAddr, time::Duration};

use clap::Args;

use super::{
    context::Context,
    error::{CliError, Exit},
    words::counted,
};
use crate::{
    definition::text,
    sandbox::{self, Books},
    shutdown::Shutdown,
};

/// Serve the local stand-in for the Waves API, until Ctrl-C
///
/// It knows the text of a WAV whose LIST/INFO chunk has a comment, hears the words of its own voices, and invents the
/// rest. Its voices are tones that carry the words, as long as speech would be. It keeps pronunciation dictionaries
/// until it ends. Any client of the API can talk to it.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  wavebatch sandbox --listen 127.0.0.1:8090 --requests-per-minute 25")]
pub struct Sandbox {
    /// The address to listen on; port 0 is any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// The one key to accept [default: any that begins with sk_]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Answer 429 above so many transcriptions a minute, for each model
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    requests_per_minute: Option<u32>,
    /// Answer 429 above so many transcriptions in flight, for each model
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// Answer 429 above so many syntheses in flight, of both models together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    tts_concurrency: Option<u32>,
    /// How long the work of a call takes, e.g. 50ms
    #[arg(long, value_name = "TIME", value_parser = text::duration, default_value = "0ms")]
    latency: Duration,
    /// How long after its acceptance a call's callback is posted [default: the latency]
    #[arg(long, value_name = "TIME", value_parser = text::duration)]
    webhook_delay: Option<Duration>,
    /// How long after a delivery that was not acknowledged the next is made; it doubles each time
    #[arg(long, value_name = "TIME", value_parser = text::duration, default_value = "1s")]
    webhook_backoff: Duration,
}

impl Sandbox {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, CliError> {
        let config = sandbox::Config {
            listen: self.listen,
            key: self.key.clone(),
            requests_per_minute: self.requests_per_minute,
            concurrency: self.concurrency,
            tts_concurrency: self.tts_concurrency,
            latency: self.latency,
            webhook_delay: self.webhook_delay,
            webhook_backoff: self.webhook_backoff,
            ..sandbox::Config::default()
        };
        let shutdown = Shutdown::listen()?;
        let server = sandbox::Sandbox::start(config).await.map_err(|e| {
            CliError::blocked(format!("cannot listen on {}: {e}", self.listen)).hint("choose another with --listen")
        })?;
        let key = self.key.as_deref().unwrap_or("sk_sandbox");
        context.screen.result(&message(&server.base_url(), key))?;
        shutdown.drain.cancelled().await;
        context.screen.message(&books(&server.books()));
        server.shutdown().await;
        Ok(Exit::of_signal(shutdown.signal()))
    }
}

fn message(base_url: &str, key: &str) -> String {
    format!(
        "wavebatch's sandbox: a local stand-in for the Waves API. Its transcripts are invented,\n\
         and its speech is tones.\n\n  \
         export SMALLEST_BASE_URL={base_url}\n  export SMALLEST_API_KEY={key}\n\n\
         {base_url}/sandbox/books says what was called and billed. Ctrl-C ends it."
    )
}

fn books(books: &Books) -> String {
    format!("{} in all, {} billed", counted(books.calls, "call"), books.billed)
}
