//! One who receives callbacks, and notes them.

use std::{
    collections::VecDeque,
    sync::Mutex,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
};
use tokio::sync::Barrier;

use super::*;

/// Listens until dropped.
pub(super) struct Receiver {
    pub url: String,
    notes: Arc<Notes>,
    server: JoinHandle<io::Result<()>>,
}

#[derive(Default)]
struct Notes {
    deliveries: Mutex<Vec<SandboxDelivery>>,
    statuses: Mutex<VecDeque<u16>>,
    meeting: Mutex<Option<Arc<Barrier>>>,
}

/// What came.
#[derive(Debug, Clone)]
pub(super) struct SandboxDelivery {
    pub at: Instant,
    /// How long its body took.
    pub took: Duration,
    pub method: Method,
    pub content_type: String,
    pub declared: usize,
    /// Nothing where it broke off.
    pub body: Option<Vec<u8>>,
}

impl SandboxDelivery {
    pub fn json(&self) -> Value {
        serde_json::from_slice(self.body.as_ref().unwrap()).unwrap()
    }
}

impl Receiver {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/callbacks/1?of=me", listener.local_addr().unwrap());
        let notes = Arc::<Notes>::default();
        let app = Router::new().fallback(receive).with_state(Arc::clone(&notes));
        Self { url, notes, server: tokio::spawn(axum::serve(listener, app).into_future()) }
    }

    /// Answers the next deliveries like this, and those after them with 200.
    pub fn answer(&self, statuses: impl IntoIterator<Item = u16>) {
        self.notes.statuses.lock().unwrap().extend(statuses);
    }

    /// Answers no delivery before so many are there.
    pub fn meet(&self, n: usize) {
        *self.notes.meeting.lock().unwrap() = Some(Arc::new(Barrier::new(n)));
    }

    pub fn all(&self) -> Vec<SandboxDelivery> {
        self.notes.deliveries.lock().unwrap().clone()
    }

    pub fn only(&self) -> SandboxDelivery {
        let mut all = self.all();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(State(notes): State<Arc<Notes>>, request: Request) -> StatusCode {
    let at = Instant::now();
    let (parts, body) = request.into_parts();
    let text = |name| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
    let body = axum::body::to_bytes(body, usize::MAX).await.ok().map(Vec::from);
    let broken = body.is_none();
    notes.deliveries.lock().unwrap().push(SandboxDelivery {
        at,
        took: at.elapsed(),
        method: parts.method.clone(),
        content_type: text(header::CONTENT_TYPE),
        declared: text(header::CONTENT_LENGTH).parse().unwrap(),
        body,
    });
    let meeting = notes.meeting.lock().unwrap().clone();
    if let Some(meeting) = meeting {
        meeting.wait().await;
    }
    let status = notes.statuses.lock().unwrap().pop_front();
    StatusCode::from_u16(status.unwrap_or(if broken { 400 } else { 200 })).unwrap()
}
