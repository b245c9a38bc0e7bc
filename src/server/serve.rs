//! The listener: accepts and serves connections, and closes idle ones.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    io_fault::{IoFault, remedy},
    process,
};

/// The maximum number of connections; others wait in the kernel's queue.
const CONNECTIONS: u64 = 2_048;
/// The minimum number of connections, whatever the machine allows.
const FEWEST: u64 = 8;
/// How long failures to accept connections are logged only once.
const REPEAT: Duration = Duration::from_secs(60);

/// The number of connections for this many open files. The rest is for the ledger, the recordings and the API.
fn connections(open_files: u64) -> usize {
    let most = (open_files / 4).clamp(FEWEST, CONNECTIONS);
    usize::try_from(most).expect("2,048 fit")
}

/// Time limits for the client and for the ledger.
#[derive(Debug, Clone, Copy)]
pub struct ServerTimeouts {
    /// For the head of a request, and between two requests.
    pub head: Duration,
    /// For the body, and before that for free memory for it.
    pub body: Duration,
    /// For the ledger to store the content. After it, the client is asked to retry.
    pub ledger: Duration,
    /// For requests in progress at the end.
    pub end: Duration,
}

impl Default for ServerTimeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            ledger: Duration::from_secs(4),
            end: Duration::from_secs(5),
        }
    }
}

/// A listener on one address. Dropping it closes the listener.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) addr: SocketAddr,
    stop: CancellationToken,
    serving: Option<JoinHandle<()>>,
}

impl Listening {
    pub(super) async fn start(listen: SocketAddr, routes: Router, timeouts: ServerTimeouts) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        let serving = tokio::spawn(serve(listener, routes, timeouts, stop.clone()));
        Ok(Self { addr, stop, serving: Some(serving) })
    }

    /// Accepts no more connections, and waits a little for requests in progress.
    pub(super) async fn shutdown(mut self) {
        self.stop.cancel();
        if let Some(serving) = self.serving.take() {
            let _ = serving.await;
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Accepts connections until it is stopped.
async fn serve(listener: TcpListener, routes: Router, timeouts: ServerTimeouts, stop: CancellationToken) {
    let (mut open, room) = (JoinSet::new(), Arc::new(Semaphore::new(connections(process::open_files()))));
    let mut message: Option<Instant> = None;
    loop {
        let place = tokio::select! {
            place = Arc::clone(&room).acquire_owned() => place,
            () = stop.cancelled() => break,
        };
        let Ok(place) = place else { break };
        let connection = tokio::select! {
            taken = listener.accept() => taken,
            () = stop.cancelled() => break,
        };
        match connection {
            Ok((stream, _)) => {
                let (routes, stop) = (routes.clone(), stop.clone());
                open.spawn(async move {
                    converse(stream, routes, timeouts, stop).await;
                    drop(place);
                });
            }
            // No more files: this passes when others are closed.
            Err(error) if IoFault::of(&error) == IoFault::Machine => {
                if message.is_none_or(|at| at.elapsed() >= REPEAT) {
                    tracing::warn!(error = %error, "no connection can be taken; {}", remedy(&error));
                    message = Some(Instant::now());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            // The client is gone again.
            Err(error) => {
                tracing::debug!(error = %error, "a connection was not taken");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        while open.try_join_next().is_some() {}
    }
    drop(listener);
    let _ = timeout(timeouts.end, async { while open.join_next().await.is_some() {} }).await;
}

/// Serves one connection. An idle connection is closed after a while.
async fn converse(stream: TcpStream, routes: Router, timeouts: ServerTimeouts, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(timeouts.head).max_buf_size(64 << 10);
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_the_work() {
        assert_eq!([16, 64, 1_024, 8_192, 1_048_576, u64::MAX].map(connections), [8, 16, 256, 2_048, 2_048, 2_048]);
    }
}
