//! The outgoing request: its connection's settings, and a body that asks the gate and never reads far ahead.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::Stream;
use reqwest::{ClientBuilder, redirect, retry};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, Take};
use tokio_util::io::ReaderStream;
use url::Url;

use super::{
    gate::{Departure, Gate, Stopped},
    yield_to_driver::YieldToDriver,
};
use crate::{
    domain::{
        call::{CallFailure, ErrorKind},
        padding::Patch,
    },
    io_fault::{self, IoFault},
};

/// Up to this size a recording is read completely before the connection is made: one disk operation instead of three.
const SMALL: u64 = 64 * 1024;

/// How much of a recording is read at a time.
const CHUNK: usize = 128 * 1024;

/// An idle connection is closed sooner than by most servers: a request on a connection that is just being closed
/// has an unknown outcome, and a new handshake is cheaper than that.
const IDLE: Duration = Duration::from_secs(4);

/// The settings of a client.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The API's address, e.g. `https://api.smallest.ai`.
    pub base_url: Url,
    /// The account's key.
    pub key: SecretString,
    /// For name resolution, connection and handshake together. Keep it below half a lease; 5 s is a good value.
    pub connect_timeout: Duration,
    /// The client's `User-Agent`.
    pub user_agent: String,
}

/// The HTTP client for these settings.
pub(super) fn transport(settings: &Settings) -> ClientBuilder {
    // An error means that the process already has a provider, which is just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        // Over HTTP/2 the headers would leave before the body is polled, and one broken connection would break
        // every call.
        .http1_only()
        .retry(retry::never())
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(512)
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(30))
        .user_agent(settings.user_agent.clone());
    if settings.base_url.scheme() == "http" {
        // Without TLS no certificate is needed, so a machine without any is fine.
        builder = builder.tls_certs_only([]);
    }
    if is_loopback(&settings.base_url) {
        builder = builder.no_proxy();
    }
    builder
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// The content of a request.
#[derive(Debug)]
pub(super) enum Content {
    /// The whole content, in memory.
    Whole(Option<Bytes>),
    /// A file, read while it is sent.
    File(Box<FileContent>),
}

/// A file of a known length. The last piece is held back until the end of the file has been seen: a file that has
/// grown must not reach the vendor as a complete request. A patch's insertions at the end belong to that piece.
#[derive(Debug)]
pub(super) struct FileContent {
    reader: ReaderStream<Take<tokio::fs::File>>,
    /// The length of the file, in bytes.
    len: u64,
    /// How many bytes of it have been read.
    read: u64,
    patch: Option<Patch>,
    held: Option<Bytes>,
}

impl Content {
    /// Opens a recording that is `len` bytes long, and reads it if it is small. It is sent with the edits of `patch`.
    ///
    /// # Errors
    /// The fault of the recording. Nothing has been sent.
    pub(super) async fn open(path: &Path, len: u64, patch: Option<Patch>) -> Result<Self, CallFailure> {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || Self::open_blocking(&path, len, patch)).await.unwrap_or_else(|_| {
            Err(CallFailure::new(ErrorKind::SourceUnreadable, "reading the recording was interrupted"))
        })
    }

    fn open_blocking(path: &Path, len: u64, patch: Option<Patch>) -> Result<Self, CallFailure> {
        if let Some(patch) = &patch
            && patch.source_len() != len
        {
            return Err(changed(patch.source_len(), len));
        }
        let file = File::open(path).map_err(|error| unreadable(&error))?;
        let now = file.metadata().map_err(|error| unreadable(&error))?.len();
        if now != len {
            return Err(changed(len, now));
        }
        if len > SMALL {
            let reader = tokio::fs::File::from_std(file).take(len + 1);
            let reader = ReaderStream::with_capacity(reader, CHUNK);
            return Ok(Self::File(Box::new(FileContent { reader, len, read: 0, patch, held: None })));
        }
        let mut all = Vec::with_capacity(usize::try_from(len + 1).expect("64 KiB fit"));
        let read = file.take(len + 1).read_to_end(&mut all).map_err(|error| unreadable(&error))?;
        if read as u64 != len {
            return Err(changed(len, read as u64));
        }
        patched(patch.as_ref(), 0, all.into()).map(|all| Self::Whole(Some(all)))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CallFailure>>> {
        match self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(Ok)),
            Self::File(file) => file.poll(cx),
        }
    }
}

impl FileContent {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CallFailure>>> {
        loop {
            return Poll::Ready(match ready!(Pin::new(&mut self.reader).poll_next(cx)) {
                Some(Err(error)) => Some(Err(unreadable(&error))),
                Some(Ok(chunk)) => match self.take(chunk) {
                    Ok(chunk) => match self.held.replace(chunk) {
                        Some(before) => Some(Ok(before)),
                        None => continue,
                    },
                    Err(failure) => Some(Err(failure)),
                },
                None if self.read < self.len => {
                    Some(Err(CallFailure::new(ErrorKind::SourceChanged, "the recording shrank while it was sent")))
                }
                None => self.held.take().map(Ok),
            });
        }
    }

    /// A piece that was read, in the form in which it is sent.
    fn take(&mut self, chunk: Bytes) -> Result<Bytes, CallFailure> {
        let at = self.read;
        self.read += chunk.len() as u64;
        if self.read > self.len {
            return Err(CallFailure::new(ErrorKind::SourceChanged, "the recording grew while it was sent"));
        }
        patched(self.patch.as_ref(), at, chunk)
    }
}

/// A piece of the recording with its edits applied.
fn patched(patch: Option<&Patch>, at: u64, piece: Bytes) -> Result<Bytes, CallFailure> {
    let Some(patch) = patch else { return Ok(piece) };
    patch.apply(at, piece).ok_or_else(|| {
        CallFailure::new(ErrorKind::SourceChanged, "the recording changed between being looked at and being sent")
    })
}

fn changed(expected: u64, found: u64) -> CallFailure {
    let message = format!("the recording changed: it had {expected} bytes, and now has {found}");
    CallFailure::new(ErrorKind::SourceChanged, message)
}

fn unreadable(error: &io::Error) -> CallFailure {
    let message = format!("the recording cannot be read: {error}");
    match (IoFault::of(error), error.kind()) {
        (IoFault::Storage | IoFault::Machine, _) => {
            CallFailure::new(ErrorKind::LocalOutage, format!("{message}; {}", io_fault::remedy(error)))
        }
        (IoFault::File, io::ErrorKind::NotFound) => CallFailure::new(ErrorKind::SourceMissing, message),
        (IoFault::File, _) => CallFailure::new(ErrorKind::SourceUnreadable, message),
    }
}

/// A body that asks the gate when it is first polled.
pub(super) struct Outgoing {
    gate: Gate,
    departs: Option<Box<dyn FnOnce() -> Departure + Send>>,
    content: Content,
    driver: YieldToDriver,
    next: Option<Bytes>,
}

impl Outgoing {
    pub(super) fn new(gate: Gate, content: Content, departs: impl FnOnce() -> Departure + Send + 'static) -> Self {
        Self { gate, departs: Some(Box::new(departs)), content, driver: YieldToDriver::default(), next: None }
    }
}

impl Stream for Outgoing {
    type Item = Result<Bytes, Stopped>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(departs) = self.departs.take()
            && let Err(stopped) = self.gate.depart(departs)
        {
            // An error here, before anything is pending, is what keeps the buffered headers from being written.
            return Poll::Ready(Some(Err(stopped)));
        }
        if let Err(stopped) = self.gate.go_on() {
            return Poll::Ready(Some(Err(stopped)));
        }
        let this = &mut *self;
        if this.next.is_none() {
            match ready!(this.content.poll(cx)) {
                None => return Poll::Ready(None),
                Some(Err(failure)) => return Poll::Ready(Some(Err(this.gate.broken(failure)))),
                Some(Ok(piece)) => this.next = Some(piece),
            }
        }
        // Small content is written together with its headers: no refusal can come in the middle.
        if matches!(this.content, Content::File(_)) {
            ready!(this.driver.poll(cx));
        }
        Poll::Ready(this.next.take().map(Ok))
    }
}
