//! One call, from the request to its outcome.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use reqwest::{
    Body, RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::{
    answer::HttpReply,
    classify,
    gate::{Departure, Gate, GateGuard, Phase},
    idle_sockets::IdleSockets,
    retry_after::date_of,
    send::{Content, Outgoing, Settings, transport},
    words,
};
use crate::{
    clock::Millis,
    domain::{
        call::{CallFailure, ErrorKind, Outcome},
        options::{ExpireContent, TranscribeOptions},
        padding::Patch,
        span,
    },
    io_fault,
    large::look_into,
};

/// The most bytes that are read of a health answer.
const MAX_HEALTH: u64 = 64 << 10;

/// The path for recordings. Without the final slash it is another path.
const STT: &str = "/waves/v1/stt/";

/// Why no client can be created with these settings.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The key is empty.
    #[error("the API key is empty")]
    KeyEmpty,
    /// The key has most likely a line break, from a file or a paste.
    #[error("the API key contains a line break, a space or a control character")]
    KeyControl,
    /// A key is ASCII.
    #[error("the API key contains a character that is not ASCII")]
    KeyNotAscii,
    /// The base URL is not an address of an API.
    #[error("the base URL {0}")]
    BaseUrl(&'static str),
    /// Most likely the machine has no certificates to trust.
    #[error("TLS could not be set up; are the system's CA certificates installed?")]
    Transport(#[source] reqwest::Error),
}

/// The request of a transcription.
#[derive(Debug, Clone, Copy)]
pub struct SttCall<'a> {
    /// Model, language and flags.
    pub options: &'a TranscribeOptions,
    /// Whether word times are requested; separate from the options because the formats also affect it.
    pub word_timestamps: bool,
    /// The call's id in the journal. The vendor sees it only if it posts the answer.
    pub call_id: &'a str,
    /// The address to which the answer is posted; without one, the answer is waited for.
    pub webhook: Option<&'a Url>,
}

/// The recording, as it is sent.
#[derive(Debug, Clone)]
pub enum SttBody {
    /// A file, streamed from disk.
    File {
        /// The path.
        path: PathBuf,
        /// The length in bytes; a file of another length is not sent.
        len: u64,
        /// The media type, e.g. `audio/wav`.
        content_type: String,
        /// Edits that are made while the file is sent; they are valid for a file of that length.
        patch: Option<Patch>,
    },
    /// A small recording that was read in advance: no disk access comes between its permit and its departure.
    Bytes {
        /// The whole recording.
        content: Bytes,
        /// The media type.
        content_type: String,
    },
    /// An address that the vendor fetches (Pulse only).
    Url(Url),
}

/// A client of one account. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) http: reqwest::Client,
    pub(super) base_url: Url,
    /// Marked as sensitive, so that no `Debug` shows it.
    pub(super) bearer: HeaderValue,
    connect_timeout: Duration,
    pub(super) sockets: Arc<IdleSockets>,
}

impl Client {
    /// Creates a client. Nothing is sent.
    ///
    /// # Errors
    /// A key or base URL that cannot be used, or a machine on which TLS cannot be set up (`https` only).
    pub fn new(settings: Settings) -> Result<Self, ClientError> {
        let bearer = bearer(&settings.key)?;
        check_base(&settings.base_url)?;
        let http = transport(&settings).build().map_err(ClientError::Transport)?;
        Ok(Self {
            http,
            base_url: settings.base_url,
            bearer,
            connect_timeout: settings.connect_timeout,
            sockets: Arc::default(),
        })
    }

    /// The URL of a path that begins with `/`, below the base URL, which may have a path of its own.
    pub(super) fn endpoint(&self, path: &str) -> Url {
        let mut url = self.base_url.clone();
        url.set_path(&format!("{}{path}", self.base_url.path().trim_end_matches('/')));
        url
    }

    /// Sends one recording and returns how the call ended, at the latest after `timeout`; later only if it must wait for
    /// other large answers to be read.
    ///
    /// `departs` is called at the last moment before the first byte leaves, and at most once. After [`Departure::Stale`]
    /// nothing is sent, not even the headers. Dropping the future before that moment has the same effect.
    ///
    /// A refusal in the middle of an upload is read. The call counts as [`Outcome::Unknown`] only if the server closes at
    /// once, and its reset overtakes the refusal in the middle of a write.
    pub async fn transcribe(
        &self,
        call: &SttCall<'_>,
        body: SttBody,
        departs: impl FnOnce() -> Departure + Send + 'static,
        timeout: Duration,
    ) -> Outcome {
        let start = Instant::now();
        let outcome = self.attempt(call, body, departs, start + timeout).await;
        let outcome = self.with_path(outcome, STT);
        let elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(call.id = call.call_id, elapsed_ms, outcome = name(&outcome), "call ended");
        outcome
    }

    /// Adds the path to a 404: we do not know which paths an installation serves.
    pub(super) fn with_path<A>(&self, outcome: Outcome<A>, path: &str) -> Outcome<A> {
        match outcome {
            Outcome::Refused(failure) => Outcome::Refused(self.failure_with_path(failure, path)),
            other => other,
        }
    }

    pub(super) fn failure_with_path(&self, failure: CallFailure, path: &str) -> CallFailure {
        if failure.status != Some(404) || failure.kind != ErrorKind::BadRequest {
            return failure;
        }
        let message = format!("{}; {} was tried", failure.message, self.endpoint(path));
        CallFailure { message, ..failure }
    }

    async fn attempt(
        &self,
        call: &SttCall<'_>,
        body: SttBody,
        departs: impl FnOnce() -> Departure + Send + 'static,
        deadline: Instant,
    ) -> Outcome {
        let (content, len, content_type) = match timeout_at(deadline, load(body)).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(failure)) => return Outcome::NotSent(failure),
            Err(_) => {
                let message = "time was up before the recording could be opened";
                return Outcome::NotSent(CallFailure::new(ErrorKind::SourceTimedOut, message));
            }
        };
        let request = self.request(call).header(CONTENT_TYPE, content_type);
        let posted = call.webhook.is_some();
        self.buy(request, (content, len), departs, deadline, move |reply| classify::outcome(reply, posted)).await
    }

    /// Sends a request that may cost money, reads the whole answer, and returns its outcome.
    pub(super) async fn buy<A: Send + 'static>(
        &self,
        request: RequestBuilder,
        (content, len): (Content, u64),
        departs: impl FnOnce() -> Departure + Send + 'static,
        deadline: Instant,
        read: impl FnOnce(HttpReply) -> Outcome<A> + Send + 'static,
    ) -> Outcome<A> {
        match self.depart(request, content, len, departs, deadline).await {
            Ok((response, _gate_guard)) => {
                let reply = HttpReply::read_answer(response, deadline).await;
                look_into(reply.body.len(), move || read(reply)).await
            }
            Err(outcome) => outcome,
        }
    }

    /// Sends a request that may cost money, and waits for the head of its response. The rest of the request is sent
    /// as long as the guard is kept.
    pub(super) async fn depart<A>(
        &self,
        request: RequestBuilder,
        content: Content,
        len: u64,
        departs: impl FnOnce() -> Departure + Send + 'static,
        deadline: Instant,
    ) -> Result<(Response, GateGuard), Outcome<A>> {
        let gate = Gate::default();
        let gate_guard = GateGuard(gate.clone());
        let request = request
            .header(AUTHORIZATION, self.bearer.clone())
            .header(CONTENT_LENGTH, len)
            .body(Body::wrap_stream(Outgoing::new(gate.clone(), content, departs)));
        match timeout_at(deadline, request.send()).await {
            Ok(Ok(response)) => Ok((response, gate_guard)),
            Ok(Err(error)) => Err(self.no_reply(gate.shut(), Some(error))),
            Err(_) => Err(self.no_reply(gate.shut(), None)),
        }
    }

    /// Sends a request that costs nothing, and reads the whole reply, up to a limit in bytes.
    pub(super) async fn exchange(
        &self,
        request: RequestBuilder,
        most: u64,
        timeout: Duration,
    ) -> Result<HttpReply, CallFailure> {
        let deadline = Instant::now() + timeout;
        match timeout_at(deadline, request.send()).await {
            Ok(Ok(response)) => Ok(HttpReply::read(response, most, deadline).await),
            Ok(Err(error)) => Err(self.unreached(Some(error))),
            Err(_) => Err(CallFailure::new(ErrorKind::TimedOut, "the API did not answer in time")),
        }
    }

    fn request(&self, call: &SttCall<'_>) -> RequestBuilder {
        let options = call.options;
        let flags = [
            ("word_timestamps", call.word_timestamps),
            ("diarize", options.diarize),
            ("redact_pii", options.redact_pii),
            ("redact_pci", options.redact_pci),
            ("emotion_detection", options.emotion_detection),
            ("gender_detection", options.gender_detection),
        ];
        let on: Vec<_> = flags.into_iter().filter(|(_, on)| *on).map(|(name, _)| (name, "true")).collect();
        let keywords = Some(options.keywords.to_string()).filter(|words| !words.is_empty());
        let request = self
            .http
            .post(self.endpoint(STT))
            .query(&[("model", options.model.as_str()), ("language", options.language.as_str())])
            .query(&on)
            .query(&keywords.map(|words| [("keywords", words)]).as_slice().concat())
            .query(&options.extra.query.iter().collect::<Vec<_>>());
        let request = match call.webhook {
            Some(url) => {
                request.query(&[("webhook_url", url.as_str()), ("webhook_extra", &format!("call:{}", call.call_id))])
            }
            None => request,
        };
        expiring(request, options.expire_content)
    }

    /// The outcome of a call without a reply; `None` is our own time-out.
    fn no_reply<A>(&self, phase: Phase, error: Option<reqwest::Error>) -> Outcome<A> {
        let timed_out = error.as_ref().is_none_or(reqwest::Error::is_timeout);
        match phase {
            Phase::Stale => Outcome::Stale,
            Phase::Broken(failure) => Outcome::NotSent(failure),
            Phase::Waiting => Outcome::NotSent(self.unreached(error)),
            Phase::Departed | Phase::Over if timed_out => {
                Outcome::Unknown(CallFailure::new(ErrorKind::TimedOut, "the API did not answer in time"))
            }
            Phase::Departed | Phase::Over => {
                let why = error.map(|error| format!(": {}", cause(error))).unwrap_or_default();
                let message = format!("the connection broke before the API answered{why}");
                Outcome::Unknown(CallFailure::new(ErrorKind::ConnectionLost, message))
            }
        }
    }

    /// Why nothing was sent: the API is unreachable, or this machine lacks what a connection needs.
    pub(super) fn unreached(&self, error: Option<reqwest::Error>) -> CallFailure {
        match error.as_ref().and_then(|error| io_fault::shortage(error)) {
            Some(lacking) => {
                let host = self.base_url.origin().ascii_serialization();
                CallFailure::new(ErrorKind::LocalOutage, format!("no connection to {host} can be made: {lacking}"))
            }
            None => CallFailure::new(ErrorKind::Unreachable, self.unreachable(error)),
        }
    }

    fn unreachable(&self, error: Option<reqwest::Error>) -> String {
        let host = self.base_url.origin().ascii_serialization();
        match error {
            None => format!("no connection to {host} in the time there was"),
            Some(error) if error.is_timeout() => {
                format!("no connection to {host} within {}", span::in_words(self.connect_timeout))
            }
            Some(error) => format!("no connection to {host}: {}", cause(error)),
        }
    }

    /// The API's address, as scheme, host and port.
    #[must_use]
    pub fn host(&self) -> String {
        self.base_url.origin().ascii_serialization()
    }

    /// Whether the API reports that it is healthy. Needs no key, and sends none. Returns the time of its clock, in ms since
    /// 1970, if it says it.
    ///
    /// # Errors
    /// The API cannot be reached, or does not report `ok`.
    pub async fn health(&self) -> Result<Option<Millis>, CallFailure> {
        let request = self.http.get(self.endpoint("/waves/v1/health"));
        let reply = self.exchange(request, MAX_HEALTH, Duration::from_secs(30)).await?;
        if reply.status == StatusCode::OK {
            return Ok(date_of(&reply.headers));
        }
        let message = format!("the API says that it is not well ({})", reply.status.as_u16());
        Err(CallFailure { status: Some(reply.status.as_u16()), ..CallFailure::new(ErrorKind::ServerError, message) })
    }
}

/// Requests the deletion of the content, if it is wanted.
pub(super) fn expiring(request: RequestBuilder, expire: ExpireContent) -> RequestBuilder {
    match expire {
        ExpireContent::No => request,
        ExpireContent::Required | ExpireContent::Try => request.header("x-expire-content", "true"),
    }
}

async fn load(body: SttBody) -> Result<(Content, u64, HeaderValue), CallFailure> {
    match body {
        SttBody::File { len: 0, .. } => Err(CallFailure::new(ErrorKind::SourceEmpty, "the recording has no bytes")),
        SttBody::File { path, len, content_type, patch } => {
            let sent = patch.as_ref().map_or(len, Patch::len);
            Ok((Content::open(&path, len, patch).await?, sent, media_type(content_type)))
        }
        SttBody::Bytes { content, content_type } => {
            let len = content.len() as u64;
            Ok((Content::Whole(Some(content)), len, media_type(content_type)))
        }
        SttBody::Url(url) => {
            let json = serde_json::json!({ "url": url.as_str() }).to_string();
            let len = json.len() as u64;
            Ok((Content::Whole(Some(json.into())), len, HeaderValue::from_static("application/json")))
        }
    }
}

fn media_type(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

fn bearer(key: &SecretString) -> Result<HeaderValue, ClientError> {
    let key = key.expose_secret();
    if key.is_empty() {
        return Err(ClientError::KeyEmpty);
    }
    if key.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(ClientError::KeyControl);
    }
    if !key.is_ascii() {
        return Err(ClientError::KeyNotAscii);
    }
    let mut bearer = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| ClientError::KeyControl)?;
    bearer.set_sensitive(true);
    Ok(bearer)
}

fn check_base(url: &Url) -> Result<(), ClientError> {
    let fault = if !matches!(url.scheme(), "http" | "https") {
        "must begin with https:// or http://"
    } else if !url.username().is_empty() || url.password().is_some() {
        "must not contain a user or password"
    } else if url.query().is_some() || url.fragment().is_some() {
        "must not contain a query or fragment"
    } else {
        return Ok(());
    };
    Err(ClientError::BaseUrl(fault))
}

/// Why a request failed, without the address in it.
pub(super) fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    match std::error::Error::source(&error) {
        Some(source) => words::chain(source),
        None => words::clean(&error.to_string()),
    }
}

/// An outcome's class, for the log.
pub(super) const fn name<A>(outcome: &Outcome<A>) -> &'static str {
    match outcome {
        Outcome::Answered(_) => "answered",
        Outcome::Accepted { .. } => "accepted",
        Outcome::Refused(_) => "refused",
        Outcome::NotSent(_) => "not_sent",
        Outcome::Stale => "stale",
        Outcome::Unknown(_) => "unknown",
        Outcome::Unusable(_) => "unusable",
        Outcome::TooLarge { .. } => "too_large",
    }
}
