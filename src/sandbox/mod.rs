//! A local stand-in for the Waves API: any client of the API can talk to it.
//!
//! It validates, limits and refuses as the API does, makes transcripts from what it can know, speaks in tones,
//! posts callbacks, chats, clones voices, does on request what networks and vendors do unasked ([`Fault`]), and keeps the books ([`Books`]) that show what a
//! run really asked for and would have paid. Its tones carry the words, so that they can be transcribed. Every answer is marked as the sandbox's: `server: wavebatch-sandbox`, `metadata.sandbox`.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::http::HeaderValue;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use self::{
    books::CallLog,
    callbacks::Callbacks,
    chat::Prefixes,
    clones::OwnVoices,
    dictionaries::Dictionaries,
    faults::Faults,
    gate::Gate,
    limits::{Lane, Limits},
    logs::Logs,
    voice::WordTable,
    wire::Wire,
};
pub use self::{
    books::{Books, CallbackBooks, CallbackEnd, ContentBooks, ModelBooks, Record},
    chat::ChatMarker,
    errors::ErrorShape,
    faults::{Fault, Match, SpeechFlaw, StatusFault, What},
    http::WHAT_THIS_IS,
};
use crate::domain::options::Language;

mod books;
mod call;
mod callbacks;
mod chat;
mod clones;
mod dictionaries;
mod errors;
mod faults;
pub mod fixtures;
mod gate;
mod hook;
mod http;
mod intake;
mod limits;
mod logs;
mod reply;
mod socket;
mod stt;
mod stt_live;
mod stt_request;
mod transcript;
mod tts;
mod tts_request;
mod tts_socket;
mod voice;
mod voices;
mod wire;

/// How a sandbox is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens; any free port of this machine by default.
    pub listen: SocketAddr,
    /// The one key it accepts; any that begins with `sk_` by default.
    pub key: Option<String>,
    /// Limit per model in any 60 seconds; none by default.
    pub requests_per_minute: Option<u32>,
    /// Limit per model of calls in flight; none by default.
    pub concurrency: Option<u32>,
    /// Limit of synthesis in flight, of both models together; none by default.
    pub tts_concurrency: Option<u32>,
    /// How long the work of a call takes.
    pub latency: Duration,
    /// How long after the call a clone is ready: half of it pending, half of it being made.
    pub clone_time: Duration,
    /// How long after its acceptance a call's callback is posted, though not before the work is done; the latency by
    /// default.
    pub webhook_delay: Option<Duration>,
    /// How long after a delivery that was not acknowledged the next is made; it doubles each time.
    pub webhook_backoff: Duration,
    /// How long a delivery may take.
    pub webhook_timeout: Duration,
    /// How long after the work an entry shows up in the log.
    pub log_lag: Duration,
    /// Which size of a recording the log shows.
    pub log_sizes: LogSizes,
    /// Whether recordings named by URL are fetched; else all is invented from the URL.
    pub fetch: bool,
    /// How long fetching one may take in all.
    pub fetch_timeout: Duration,
    /// The longest recording, in bytes: 250 MB.
    pub max_bytes: u64,
    /// What `x-content-expiry` says to a call with `x-expire-content: true`.
    pub content_expiry: String,
    /// Languages that this region does not have.
    pub closed_languages: Vec<Language>,
    /// How many of the last calls the books list, and how many entries the log keeps. Counts go on without end.
    pub keep: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            key: None,
            requests_per_minute: None,
            concurrency: None,
            tts_concurrency: None,
            latency: Duration::ZERO,
            clone_time: Duration::from_secs(1),
            webhook_delay: None,
            webhook_backoff: Duration::from_secs(1),
            webhook_timeout: Duration::from_secs(30),
            log_lag: Duration::ZERO,
            log_sizes: LogSizes::AsSent,
            fetch: true,
            fetch_timeout: Duration::from_secs(60),
            max_bytes: 250 << 20,
            content_expiry: "applied".into(),
            closed_languages: Vec::new(),
            keep: 10_000,
        }
    }
}

/// Which size of a recording the log shows: nobody knows what the vendor counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogSizes {
    /// The bytes of the upload.
    #[default]
    AsSent,
    /// The bytes without the container's padding.
    WithoutPadding,
    /// None.
    None,
}

/// A running sandbox; it stops when dropped.
#[derive(Debug)]
pub struct Sandbox {
    state: Arc<HandlerState>,
    addr: SocketAddr,
    server: Option<JoinHandle<io::Result<()>>>,
}

impl Sandbox {
    /// Starts one on tasks of its own in the current runtime.
    ///
    /// # Errors
    /// Where the address cannot be listened on, or `content_expiry` is no header's value.
    pub async fn start(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind(config.listen).await?;
        let addr = listener.local_addr()?;
        let state = Arc::new(HandlerState::new(config)?);
        let app = http::routes(Arc::clone(&state)).into_make_service_with_connect_info::<Wire>();
        let stop = state.stop.clone();
        let server = tokio::spawn(async move {
            axum::serve(wire::Wires(listener), app).with_graceful_shutdown(stop.cancelled_owned()).await
        });
        Ok(Self { state, addr, server: Some(server) })
    }

    /// Its base URL, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A copy of the books.
    #[must_use]
    pub fn books(&self) -> Books {
        self.state.books()
    }

    /// Adds faults behind those in force; of several that match a call, the first befalls it.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.faults.add(faults);
    }

    /// Takes all scripted faults back.
    pub fn unscript(&self) {
        self.state.faults.clear();
    }

    /// Sets other limits per model of transcription: calls in any 60 seconds, and in flight. Calls that are in flight, and
    /// those of the last minute, count against them.
    pub fn limit(&self, requests_per_minute: Option<u32>, concurrency: Option<u32>) {
        self.state.limits.set(requests_per_minute, concurrency);
    }

    /// Forgets books, logs, callbacks that are owed, dictionaries, faults and the rolling minute, and releases what is
    /// held.
    pub fn reset(&self) {
        self.state.reset();
    }

    /// From now on calls stop after their work and before their answer, until [`Sandbox::release`]. The callbacks of
    /// calls that are promised one go on.
    pub fn hold(&self) {
        self.state.gate.hold();
    }

    /// Lets go all calls that are held or hang; from now on none are held.
    pub fn release(&self) {
        self.state.gate.release();
    }

    /// Waits until `n` calls have arrived since the start or the last reset.
    pub async fn arrivals(&self, n: u64) {
        let mut arrivals = self.state.arrivals.subscribe();
        arrivals.wait_for(|have| *have >= n).await.expect("the sandbox holds the sender");
    }

    /// Waits until `n` calls have done their work and are held or hang.
    pub async fn waiting(&self, n: usize) {
        self.state.gate.waiting(n).await;
    }

    /// From now on no delivery of a callback is made, until [`Sandbox::release_callbacks`]. The work goes on: it is
    /// billed and in the log.
    pub fn hold_callbacks(&self) {
        self.state.callbacks.gate.hold();
    }

    /// Makes all deliveries that are held; from now on none are.
    pub fn release_callbacks(&self) {
        self.state.callbacks.gate.release();
    }

    /// Waits until `n` deliveries are held.
    pub async fn callbacks_waiting(&self, n: usize) {
        self.state.callbacks.gate.waiting(n).await;
    }

    /// Waits until `n` deliveries have ended, acknowledged or not, since the start or the last reset.
    pub async fn deliveries_ended(&self, n: u64) {
        self.state.callbacks.tally.deliveries(n).await;
    }

    /// Waits until `n` callbacks are acknowledged, given up or lost, since the start or the last reset.
    pub async fn callbacks_ended(&self, n: u64) {
        self.state.callbacks.tally.callbacks(n).await;
    }

    /// Waits until it stops by itself, which only a broken listener makes it do.
    ///
    /// # Errors
    /// What broke.
    pub async fn join(mut self) -> io::Result<()> {
        match self.server.take() {
            Some(server) => server.await.map_err(io::Error::other)?,
            None => Ok(()),
        }
    }

    /// Stops listening, cuts the calls and deliveries in flight, and waits until the connections are closed.
    pub async fn shutdown(mut self) {
        const TIMEOUT: Duration = Duration::from_secs(2);
        self.state.stop.cancel();
        self.state.callbacks.tasks.close();
        self.state.callbacks.tasks.wait().await;
        if let Some(mut server) = self.server.take()
            && tokio::time::timeout(TIMEOUT, &mut server).await.is_err()
        {
            server.abort();
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.state.stop.cancel();
    }
}

/// All that the handlers share.
#[derive(Debug)]
struct HandlerState {
    config: Config,
    content_expiry: HeaderValue,
    limits: Arc<Limits>,
    books: CallLog,
    faults: Faults,
    logs: Logs,
    dictionaries: Dictionaries,
    prefixes: Prefixes,
    clones: OwnVoices,
    /// The words that it spoke. A reset does not take them: the audio outlives it.
    spoken: Arc<WordTable>,
    callbacks: Callbacks,
    /// Where calls wait after their work.
    gate: Gate,
    arrivals: watch::Sender<u64>,
    client: reqwest::Client,
    stop: CancellationToken,
}

impl HandlerState {
    fn new(config: Config) -> io::Result<Self> {
        // Another part of the process may have chosen a provider already; any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::limited(5)).build();
        let limits = Limits::new(config.requests_per_minute, config.concurrency).with_tts(config.tts_concurrency);
        let stop = CancellationToken::new();
        Ok(Self {
            content_expiry: config.content_expiry.parse().map_err(io::Error::other)?,
            limits: Arc::new(limits),
            books: CallLog::new(config.keep),
            faults: Faults::default(),
            logs: Logs::new(config.keep),
            dictionaries: Dictionaries::default(),
            prefixes: Prefixes::default(),
            clones: OwnVoices::default(),
            spoken: Arc::default(),
            callbacks: Callbacks::new(&config, &stop).map_err(io::Error::other)?,
            gate: Gate::default(),
            arrivals: watch::Sender::default(),
            client: client.map_err(io::Error::other)?,
            stop,
            config,
        })
    }

    fn books(&self) -> Books {
        let all = self.limits.reading();
        let of = |lane: Lane| {
            let reading = self.limits.reading_of(lane);
            let books =
                ModelBooks { peak_in_flight: reading.peak_in_flight, most_in_a_minute: reading.most_in_a_minute };
            (lane.name().to_owned(), books)
        };
        Books {
            in_flight: all.in_flight,
            peak_in_flight: all.peak_in_flight,
            most_in_a_minute: all.most_in_a_minute,
            models: Lane::all().map(of).collect(),
            ..self.callbacks.tally.enter(self.books.copy())
        }
    }

    fn reset(&self) {
        self.faults.clear();
        self.books.reset();
        self.logs.reset();
        self.dictionaries.reset();
        self.prefixes.reset();
        self.clones.reset();
        self.limits.reset();
        self.arrivals.send_replace(0);
        self.callbacks.reset();
        self.gate.release();
    }
}

#[cfg(test)]
mod tests;
