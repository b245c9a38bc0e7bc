//! The admin address: whether the process is alive, whether the ledger can be written, and the metrics.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::{sync::Semaphore, time::timeout};

use super::{
    Metrics, WatchedLedger,
    serve::{Listening, ServerTimeouts},
};

/// The content type of the metrics page.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// A write that takes longer counts as a failure.
const WRITE_TIME: Duration = Duration::from_secs(2);

/// The settings of the admin address.
#[derive(Debug)]
pub struct AdminSettings {
    /// The address to listen on. There is no authentication, so it must not be public.
    pub listen: SocketAddr,
    /// The metrics of this process.
    pub metrics: Metrics,
    /// The ledger to report on.
    pub watched: WatchedLedger,
}

/// A running admin address. It stops when dropped.
#[derive(Debug)]
pub struct Admin(Listening);

#[derive(Debug)]
struct AdminState {
    metrics: Metrics,
    watched: WatchedLedger,
    /// One write at a time: while the ledger is stuck, writes must not pile up.
    writing: Arc<Semaphore>,
}

impl Admin {
    /// Starts listening.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(settings: AdminSettings) -> io::Result<Self> {
        let AdminSettings { listen, metrics, watched } = settings;
        let state = Arc::new(AdminState { metrics, watched, writing: Arc::new(Semaphore::new(1)) });
        let routes = Router::new().fallback(answer).with_state(state);
        Ok(Self(Listening::start(listen, routes, ServerTimeouts::default()).await?))
    }

    /// The address on which it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.0.addr
    }

    /// Accepts no more connections, and waits a little for requests in progress.
    pub async fn shutdown(self) {
        self.0.shutdown().await;
    }
}

async fn answer(State(state): State<Arc<AdminState>>, request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return StatusCode::NOT_FOUND.into_response();
    }
    match request.uri().path() {
        "/healthz" => "ok\n".into_response(),
        "/readyz" => match state.ready().await {
            Ok(()) => "ok\n".into_response(),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
        },
        "/metrics" => match state.metrics.page(&state.watched).await {
            Ok(page) => ([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        },
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

impl AdminState {
    async fn ready(&self) -> Result<(), String> {
        let (writing, store) = (Arc::clone(&self.writing), self.watched.store.clone());
        let written = async move {
            let turn = writing.acquire_owned().await;
            // The write continues after its client is gone: its permit is held until the writer has finished.
            let written = tokio::spawn(async move {
                let written = store.can_be_written().await;
                drop(turn);
                written
            });
            written.await
        };
        match timeout(WRITE_TIME, written).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(error.to_string()),
            Ok(Err(_)) | Err(_) => {
                let why = self.watched.store.why_broken();
                Err(why.unwrap_or_else(|| "the ledger cannot be written in time".to_owned()))
            }
        }
    }
}
