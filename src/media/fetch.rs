//! Downloads a recording over http(s), and resumes interrupted transfers.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use reqwest::{
    Client, ClientBuilder, RequestBuilder, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE},
    redirect::Policy,
    retry,
};
use tokio::time::timeout;
use url::Url;

pub use super::fetch_error::FetchError;
use super::{
    encoding::Body,
    partial::{PartialFile, SMALL},
    redirects::{Network, RedirectFault, Way},
    source::{SourceFailure, shown_url},
    transfer::{Receiving, content_range, packed, refused, retry_after, too_large},
};
use crate::{
    domain::{call::ErrorKind, span},
    io_fault,
    pace::{Pace, Waits},
};

/// The limits of a fetcher.
#[derive(Debug, Clone)]
pub struct FetchSettings {
    /// The time-out for DNS lookup, connection and handshake together.
    pub connect_timeout: Duration,
    /// The longest silence, before the response and within it.
    pub idle_timeout: Duration,
    /// The time-out for one recording, with all its tries.
    pub whole_timeout: Duration,
    /// The tries of one fetch.
    pub pace: Pace,
    /// The `User-Agent` header.
    pub user_agent: String,
}

impl Default for FetchSettings {
    /// 10 s to connect, 30 s of silence, 15 min in all, three tries.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            whole_timeout: Duration::from_mins(15),
            pace: Pace::default(),
            user_agent: concat!("wavebatch/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

/// A downloaded recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its length.
    pub bytes: u64,
    /// Its media type according to the server.
    pub content_type: Option<String>,
    /// Its bytes, if it is small and may be kept in memory: then there is no file.
    pub content: Option<Bytes>,
}

/// Fetches recordings. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Fetcher {
    http: Client,
    /// The same client, restricted to public internet addresses. Created when it is needed: it reads the system's certificates.
    guarded: Arc<OnceLock<Client>>,
    network: Network,
    /// Whether public servers may redirect into private networks.
    private_redirects: bool,
    settings: FetchSettings,
}

/// What a fetch keeps from one try to the next.
#[derive(Debug, Default)]
struct Progress {
    /// Identifies the server's file: a strong ETag, else its date.
    validator: Option<String>,
    content_type: Option<String>,
}

impl Fetcher {
    /// Makes a fetcher. On a machine without CA certificates it supports only http.
    ///
    /// # Errors
    /// The transport cannot be set up at all.
    pub fn new(settings: FetchSettings) -> Result<Self, reqwest::Error> {
        // An error means that the process has a provider already, which is sufficient.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = client(&settings, |builder| builder)?;
        let network = Network::new(settings.connect_timeout);
        Ok(Self { http, guarded: Arc::default(), network, private_redirects: false, settings })
    }

    /// The client that connects only to public internet addresses.
    fn guarded(&self) -> Result<&Client, reqwest::Error> {
        match self.guarded.get() {
            Some(client) => Ok(client),
            None => {
                let made = client(&self.settings, |builder| builder.dns_resolver(self.network.clone()))?;
                Ok(self.guarded.get_or_init(|| made))
            }
        }
    }

    /// Sets whether public servers may redirect into private networks.
    #[must_use]
    pub fn with_private_redirects(self, allowed: bool) -> Self {
        Self { private_redirects: allowed, ..self }
    }

    /// The same with another network.
    #[cfg(test)]
    pub(super) fn on_network(self, is_public: fn(std::net::IpAddr) -> bool) -> Self {
        Self { network: self.network.with_public(is_public), guarded: Arc::default(), ..self }
    }

    /// Downloads `url` to the file `dest`, which appears complete or not at all, and is readable by its owner alone. Until then
    /// `{dest}.part` is used, so only one fetch at a time may use a `dest`.
    ///
    /// User info in the URL becomes basic authentication. An interrupted transfer is resumed if the server can prove that the
    /// file is unchanged; otherwise it starts again.
    ///
    /// # Errors
    /// The source cannot be read, is empty, or is larger than `max_bytes`; or `dest` cannot be written. No file is left.
    pub async fn fetch(&self, url: &Url, dest: &Path, max_bytes: u64) -> Result<Fetched, FetchError> {
        self.fetch_into(url, PartialFile::create(dest, max_bytes, 0).await?).await
    }

    /// The same, but up to 64 KiB stay in memory, and only more is written to the file `dest`.
    ///
    /// # Errors
    /// As of [`Fetcher::fetch`].
    pub async fn fetch_or_keep(&self, url: &Url, dest: &Path, max_bytes: u64) -> Result<Fetched, FetchError> {
        self.fetch_into(url, PartialFile::create(dest, max_bytes, SMALL).await?).await
    }

    /// The first `bytes` of a source, or all of it if it is shorter, and its size if the server says it. Asks once.
    ///
    /// # Errors
    /// The source cannot be read.
    pub async fn fetch_start(&self, url: &Url, bytes: u64) -> Result<(Vec<u8>, Option<u64>), FetchError> {
        let mut response = self.request(url, |request| request.header(RANGE, format!("bytes=0-{}", bytes - 1))).await?;
        let total = match response.status() {
            StatusCode::OK => response.content_length(),
            StatusCode::PARTIAL_CONTENT => content_range(response.headers()).and_then(|(_, total)| total),
            StatusCode::RANGE_NOT_SATISFIABLE => return Ok((Vec::new(), Some(0))),
            status => return Err(refused(url, status).into()),
        };
        let mut start = Vec::new();
        let encoding = text(response.headers(), CONTENT_ENCODING);
        if Body::new(encoding.as_deref(), 0).map_or(true, |body| body.is_packed()) {
            // Neither its bytes nor their number say anything about the recording.
            return Ok((start, None));
        }
        // A server without range requests sends everything.
        while (start.len() as u64) < bytes
            && let Some(chunk) = response.chunk().await.map_err(|error| self.no_answer(url, error))?
        {
            start.extend_from_slice(&chunk);
        }
        start.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
        Ok((start, total))
    }

    async fn fetch_into(&self, url: &Url, mut part: PartialFile) -> Result<Fetched, FetchError> {
        let fetched = match timeout(self.settings.whole_timeout, self.try_all(url, &mut part)).await {
            Ok(fetched) => fetched?,
            Err(_) => {
                let within = span::in_words(self.settings.whole_timeout);
                let message = format!("{} did not arrive within {within}", shown_url(url));
                return Err(SourceFailure::passing(ErrorKind::SourceTimedOut, message).into());
            }
        };
        Ok(Fetched { content: part.finish().await?, ..fetched })
    }

    async fn try_all(&self, url: &Url, part: &mut PartialFile) -> Result<Fetched, FetchError> {
        let mut progress = Progress::default();
        let mut waits: Waits = self.settings.pace.waits();
        loop {
            let mut asked = None;
            let failure = match self.try_once(url, part, &mut progress, &mut asked).await {
                Ok(()) => return Ok(Fetched { bytes: part.len(), content_type: progress.content_type, content: None }),
                Err(FetchError::Source(failure)) if failure.transient => failure,
                Err(error) => return Err(error),
            };
            let Some(wait) = waits.next() else { return Err(failure.into()) };
            tokio::time::sleep(wait.max(asked.unwrap_or_default().min(self.settings.pace.longest))).await;
        }
    }

    /// Makes one request, and appends the body to `part`. `asked` receives the server's `Retry-After`.
    async fn try_once(
        &self,
        url: &Url,
        part: &mut PartialFile,
        progress: &mut Progress,
        asked: &mut Option<Duration>,
    ) -> Result<(), FetchError> {
        let rest = match &progress.validator {
            Some(validator) if part.len() > 0 => Some((part.len(), validator.as_str())),
            _ => {
                part.restart().await?;
                None
            }
        };
        let resuming = rest.is_some();
        let response = self.get(url, rest).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let expected = match status {
            StatusCode::OK => {
                part.restart().await?;
                *progress = Progress { validator: validator(&headers), content_type: text(&headers, CONTENT_TYPE) };
                response.content_length()
            }
            StatusCode::PARTIAL_CONTENT if resuming => match content_range(&headers) {
                Some((first, total)) if first == part.len() => total,
                _ => return Err(start_again(url, progress)),
            },
            StatusCode::RANGE_NOT_SATISFIABLE if resuming => return Err(start_again(url, progress)),
            _ => {
                *asked = retry_after(&headers);
                return Err(refused(url, status).into());
            }
        };
        if expected.is_some_and(|bytes| bytes > part.max()) {
            return Err(too_large(url, part.max()).into());
        }
        let encoding = text(&headers, CONTENT_ENCODING);
        let body = Body::new(encoding.as_deref(), part.len()).map_err(|name| packed(&shown_url(url), &name))?;
        if body.is_packed() {
            // Nothing can go on in the middle of it.
            progress.validator = None;
        }
        Receiving { url, idle_timeout: self.settings.idle_timeout, expected }.copy(response, body, part).await
    }

    /// The response after all redirects. `rest`: from this byte on, if the file is unchanged.
    async fn get(&self, url: &Url, rest: Option<(u64, &str)>) -> Result<Response, SourceFailure> {
        self.request(url, |request| match rest {
            Some((from, validator)) => request.header(RANGE, format!("bytes={from}-")).header(IF_RANGE, validator),
            None => request,
        })
        .await
    }

    /// The response after all redirects.
    async fn request(
        &self,
        url: &Url,
        with: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, SourceFailure> {
        let mut way = Way::new(url);
        loop {
            let client = if way.guarded { self.guarded() } else { Ok(&self.http) };
            let client = client.map_err(|error| self.no_answer(url, error))?;
            let request = with(client.get(way.at.clone()));
            let answer = request.send().await.map_err(|error| self.no_answer(url, error))?;
            match way.follow(&self.network, self.private_redirects, &answer).await {
                Ok(true) => {}
                Ok(false) => return Ok(answer),
                Err(fault) => return Err(misdirected(url, &fault)),
            }
        }
    }

    fn no_answer(&self, url: &Url, error: reqwest::Error) -> SourceFailure {
        if let Some(fault) = fault_of(&error) {
            return misdirected(url, fault);
        }
        let url = shown_url(url);
        if let Some(lacking) = io_fault::shortage(&error) {
            return SourceFailure::passing(ErrorKind::LocalOutage, format!("{url} cannot be fetched: {lacking}"));
        }
        if error.is_timeout() {
            let limit = if error.is_connect() { self.settings.connect_timeout } else { self.settings.idle_timeout };
            let message = format!("{url} did not answer within {limit:?}");
            return SourceFailure::passing(ErrorKind::SourceTimedOut, message);
        }
        let message = format!("{url} cannot be reached: {}", innermost(error));
        SourceFailure::passing(ErrorKind::SourceUnavailable, message)
    }
}

/// A client that follows no redirect itself. Without the system's certificates it supports only http.
fn client(settings: &FetchSettings, ready: impl Fn(ClientBuilder) -> ClientBuilder) -> Result<Client, reqwest::Error> {
    let builder = || {
        Client::builder()
            .retry(retry::never())
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(settings.connect_timeout)
            .read_timeout(settings.idle_timeout)
            .user_agent(settings.user_agent.clone())
    };
    ready(builder()).build().or_else(|_| ready(builder().tls_certs_only([])).build())
}

/// The resolver's reason for refusing an address, if it refused one.
fn fault_of(error: &reqwest::Error) -> Option<&RedirectFault> {
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        if let Some(fault) = source.downcast_ref::<RedirectFault>() {
            return Some(fault);
        }
        next = source.source();
    }
    None
}

fn misdirected(url: &Url, fault: &RedirectFault) -> SourceFailure {
    SourceFailure::lasting(ErrorKind::SourceRefused, format!("{} cannot be fetched: {fault}", shown_url(url)))
}

/// The root cause of an error, which is the useful message.
fn innermost(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Handles a file that changed on the server: drops the progress, and returns a failure that is tried again.
fn start_again(url: &Url, progress: &mut Progress) -> FetchError {
    *progress = Progress::default();
    let message = format!("{} could not be resumed where it was cut", shown_url(url));
    SourceFailure::passing(ErrorKind::SourceUnavailable, message).into()
}

/// A weak ETag guarantees only equivalence, not equal bytes, so it is not used here.
fn validator(headers: &HeaderMap) -> Option<String> {
    text(headers, ETAG).filter(|etag| !etag.starts_with("W/")).or_else(|| text(headers, LAST_MODIFIED))
}

fn text(headers: &HeaderMap, name: reqwest::header::HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}
