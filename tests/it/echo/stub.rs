//! An API that says again what it is told, and remembers who asked.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

/// What it was told, and how it behaves.
#[derive(Default)]
struct Behaviour {
    /// How often each text was asked for.
    asked: HashMap<String, u32>,
    /// Texts that are refused.
    refused: HashSet<String>,
}

#[derive(Clone)]
struct StubState {
    behaviour: Arc<Mutex<Behaviour>>,
    held: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

pub struct Stub {
    state: StubState,
    pub base_url: String,
}

#[derive(Deserialize)]
struct Request {
    text: String,
    times: usize,
}

impl Stub {
    pub async fn start() -> Self {
        let state =
            StubState { behaviour: Arc::default(), held: watch::Sender::new(false), waiting: watch::Sender::new(0) };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base_url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new()
            .route("/echo", post(echo))
            .route("/waves/v1/health", get(async || StatusCode::OK))
            .with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { state, base_url }
    }

    /// How often a text was asked for.
    pub fn asked(&self, text: &str) -> u32 {
        self.state.behaviour().asked.get(text).copied().unwrap_or_default()
    }

    /// All that was asked for, together.
    pub fn asked_in_all(&self) -> u32 {
        self.state.behaviour().asked.values().sum()
    }

    /// Refuses a text from now on; or not any more.
    pub fn refuse(&self, text: &str, refuses: bool) {
        let mut behaviour = self.state.behaviour();
        if refuses {
            behaviour.refused.insert(text.to_owned())
        } else {
            behaviour.refused.remove(text)
        };
    }

    /// Answers nobody until it is released.
    pub fn hold(&self) {
        self.state.held.send_replace(true);
    }

    pub fn release(&self) {
        self.state.held.send_replace(false);
    }

    /// Waits until so many have asked and have no answer.
    pub async fn waiting(&self, calls: usize) {
        let mut waiting = self.state.waiting.subscribe();
        let seen = tokio::time::timeout(Duration::from_secs(20), waiting.wait_for(|now| *now >= calls));
        seen.await.expect("so many calls").expect("a stub");
    }
}

impl StubState {
    fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().expect("no panic under it")
    }
}

async fn echo(State(state): State<StubState>, Json(request): Json<Request>) -> Response {
    *state.behaviour().asked.entry(request.text.clone()).or_default() += 1;
    state.waiting.send_modify(|waiting| *waiting += 1);
    let _ = state.held.subscribe().wait_for(|held| !held).await;
    state.waiting.send_modify(|waiting| *waiting -= 1);
    if state.behaviour().refused.contains(&request.text) {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "this is not said" }))).into_response();
    }
    Json(json!({ "text": vec![request.text; request.times].join(" ") })).into_response()
}
