//! Callbacks: proved by their address before a byte of their body is read, kept before they are acknowledged.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        callback::{Secret, call_of},
        cost::Rates,
        options::SttModel,
        transcript::Transcript,
    },
    store::{Delivery, Says, Store, StoreError},
    waves::{Posted, read_callback},
};

/// The largest callback, in bytes.
const MAX_BODY: usize = 64 << 20;
/// When the vendor may try again while the ledger cannot be written, in seconds.
const RETRY_AFTER: &str = "10";
/// Connections at once; who comes then waits in the kernel's queue.
const CONNECTIONS: usize = 2_048;

/// How long the other side may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the head of a request, and between two.
    pub head: Duration,
    /// For its body.
    pub body: Duration,
    /// For what is under way when the end is near.
    pub end: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { head: Duration::from_secs(10), body: Duration::from_secs(30), end: Duration::from_secs(5) }
    }
}

/// What a receiver works with.
#[derive(Debug)]
pub struct ReceiverSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What addresses are made with: one, or two while it is changed.
    pub secrets: Vec<Secret>,
    /// List prices.
    pub rates: Rates,
    /// How long the other side may take.
    pub patience: Patience,
}

/// A receiver that listens. It stops when dropped.
#[derive(Debug)]
pub struct Receiver {
    addr: SocketAddr,
    stop: CancellationToken,
    serving: Option<tokio::task::JoinHandle<()>>,
}

#[derive(Debug)]
struct Desk {
    store: Store,
    secrets: Vec<Secret>,
    rates: Rates,
    patience: Patience,
}

impl Receiver {
    /// Starts to listen.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(store: Store, settings: ReceiverSettings) -> io::Result<Self> {
        let ReceiverSettings { listen, secrets, rates, patience } = settings;
        let listener = TcpListener::bind(listen).await?;
        let addr = listener.local_addr()?;
        let desk = Arc::new(Desk { store, secrets, rates, patience });
        let routes = Router::new().fallback(receive).with_state(desk);
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, routes, patience, stop.clone()));
        Ok(Self { addr, stop, serving: Some(serving) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes no more, and waits a little for what is under way.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Some(serving) = self.serving.take() {
            let _ = serving.await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Takes connections until it is stopped.
async fn serve(listener: TcpListener, routes: Router, patience: Patience, stop: CancellationToken) {
    let (mut open, room) = (JoinSet::new(), Arc::new(Semaphore::new(CONNECTIONS)));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { break };
        let connection = tokio::select! {
            taken = listener.accept() => taken,
            () = stop.cancelled() => break,
        };
        match connection {
            Ok((stream, _)) => {
                let (routes, stop) = (routes.clone(), stop.clone());
                open.spawn(async move {
                    converse(stream, routes, patience, stop).await;
                    drop(place);
                });
            }
            // No more files, most likely: it passes when others are closed.
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while open.try_join_next().is_some() {}
    }
    drop(listener);
    let _ = timeout(patience.end, async { while open.join_next().await.is_some() {} }).await;
}

/// Serves one connection. Who says nothing is left after a while.
async fn converse(stream: TcpStream, routes: Router, patience: Patience, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience.head).max_buf_size(64 << 10);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// What is answered. Nothing tells a wrong MAC from an unknown call.
enum Told {
    Kept,
    Unknown,
    Unreadable(String),
    TooLarge,
    TooSlow,
    Later,
}

async fn receive(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    match desk.take(request).await {
        Told::Kept => StatusCode::OK.into_response(),
        Told::Unknown => StatusCode::NOT_FOUND.into_response(),
        Told::Unreadable(why) => (StatusCode::BAD_REQUEST, why).into_response(),
        Told::TooLarge => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Told::TooSlow => StatusCode::REQUEST_TIMEOUT.into_response(),
        Told::Later => {
            let mut later = StatusCode::SERVICE_UNAVAILABLE.into_response();
            later.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
            later
        }
    }
}

impl Desk {
    async fn take(&self, request: Request) -> Told {
        let Some((call, mac)) = address_of(request.uri().path()) else { return Told::Unknown };
        let Some(call) = call_of(&self.secrets, call, mac).filter(|_| request.method() == Method::POST) else {
            return Told::Unknown;
        };
        let expected = match self.store.expected(call).await {
            Ok(Some(expected)) => expected,
            Ok(None) => return Told::Unknown,
            Err(e) => return later(&e),
        };
        let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
        if declared.is_some_and(|len: usize| len > MAX_BODY) {
            return Told::TooLarge;
        }
        let body = match timeout(self.patience.body, read(request.into_body())).await {
            Ok(Ok(body)) => body,
            Ok(Err(told)) => return told,
            Err(_) => return Told::TooSlow,
        };
        let says = match read_callback(&body) {
            Ok(Posted::Answer { request_id }) => {
                let audio_ms = Transcript::parse(&body).ok().and_then(|transcript| transcript.duration_ms);
                let model: Option<SttModel> = expected.model.parse().ok();
                let cost = model.zip(audio_ms).map(|(model, ms)| self.rates.cost(model, ms).0);
                Says::Answer { request_id, audio_ms, cost }
            }
            Ok(Posted::Failed(trouble)) => Says::Failed(trouble),
            Err(why) => {
                tracing::warn!(call.id = %call, "a callback is of no use: {why}");
                return Told::Unreadable(why);
            }
        };
        match self.store.receive(Delivery { call, body, says }).await {
            Ok(Some(effect)) => {
                tracing::info!(call.id = %call, effect = ?effect, "callback");
                Told::Kept
            }
            Ok(None) => Told::Unknown,
            Err(e) => later(&e),
        }
    }
}

/// The vendor tries again: what is not on disk is not acknowledged.
fn later(error: &StoreError) -> Told {
    tracing::error!(error = %error, "a callback could not be kept; the vendor is asked to send it again");
    Told::Later
}

async fn read(body: Body) -> Result<Bytes, Told> {
    to_bytes(body, MAX_BODY).await.map_err(|error| {
        let too_large =
            std::error::Error::source(&error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
        if too_large { Told::TooLarge } else { Told::Unreadable("the body is not all there".to_owned()) }
    })
}

/// Call and MAC of a path that ends in `/callbacks/{call}/{mac}`, whatever a proxy left before it.
fn address_of(path: &str) -> Option<(&str, &str)> {
    let mut from_end = path.rsplit('/');
    let (mac, call, what) = (from_end.next()?, from_end.next()?, from_end.next()?);
    (what == "callbacks").then_some((call, mac))
}
