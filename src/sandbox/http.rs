//! The routes: the API's own, and the sandbox's for tests in another process.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    HandlerState,
    books::Books,
    callbacks, chat, clones, dictionaries,
    errors::{ErrorShape, Refusal},
    faults::{Fault, FaultStage, Subject},
    logs, stt, stt_live, tts, tts_socket, voices,
};

/// The sandbox's description of itself, with its addresses.
pub const WHAT_THIS_IS: &str = "\
This is wavebatch-sandbox, a local stand-in for the Waves API.
It knows the text of a WAV whose LIST/INFO chunk has a comment, hears its own voices, and invents the rest.
Its voices are tones that carry the words, as long as speech would be.

  POST /waves/v1/stt/?model=pulse&language=en
  POST /waves/v1/tts, /waves/v1/tts/live
  WSS  /waves/v1/stt/live?model=pulse&language=en
  WSS  /waves/v1/tts/live
  POST /waves/v1/chat/completions, /waves/v1/pca
  GET  /waves/v1/lightning-v3.1/get_voices
  GET  /waves/v1/lightning-v3.1-pro/get_voices
  GET, POST, DELETE /waves/v1/voice-cloning
  GET, POST, PUT, DELETE /waves/v1/pronunciation-dicts
  GET  /waves/v1/analytics/asr/logs, /waves/v1/analytics/webhooks/logs
  DELETE /waves/v1/analytics/asr/history/{request_id}
  GET  /waves/v1/health

  GET  /sandbox/books                  what was called and billed
  POST /sandbox/faults                 [{\"matches\": {\"nth\": 3}, \"times\": 1, \"what\": {\"status\": {\"code\": 500}}}]
  POST /sandbox/hold, /sandbox/release stop all calls after their work, and let them go
  POST /sandbox/hold-callbacks, /sandbox/release-callbacks
                                       the same for deliveries of callbacks
  POST /sandbox/reset                  forget everything
";

pub(super) fn routes(state: Arc<HandlerState>) -> Router {
    let dictionaries =
        get(dictionaries::serve).post(dictionaries::serve).put(dictionaries::serve).delete(dictionaries::serve);
    Router::new()
        .route("/waves/v1/stt/", post(stt::transcribe))
        .route("/waves/v1/stt/live", get(stt_live::open))
        .route("/waves/v1/tts", post(tts::synthesize))
        .route("/waves/v1/tts/live", get(tts_socket::open).post(tts::stream))
        .route("/waves/v1/chat/completions", post(chat::complete))
        .route("/waves/v1/pca", post(chat::analyze))
        .route("/waves/v1/lightning-v3.1/get_voices", get(voices::standard))
        .route("/waves/v1/lightning-v3.1-pro/get_voices", get(voices::pro))
        .route("/waves/v1/voice-cloning", get(clones::list).post(clones::create).delete(clones::remove))
        .route("/waves/v1/pronunciation-dicts", dictionaries)
        .route("/waves/v1/analytics/asr/logs", get(logs::list))
        .route("/waves/v1/analytics/webhooks/logs", get(callbacks::log::list))
        .route("/waves/v1/analytics/asr/history/{request_id}", delete(logs::remove))
        .route("/waves/v1/health", get(health))
        .route("/", get(|| async { WHAT_THIS_IS }))
        .route("/sandbox/books", get(books))
        .route("/sandbox/faults", post(script))
        .route("/sandbox/hold", post(hold))
        .route("/sandbox/release", post(release))
        .route("/sandbox/hold-callbacks", post(hold_callbacks))
        .route("/sandbox/release-callbacks", post(release_callbacks))
        .route("/sandbox/reset", post(reset))
        .fallback(unknown)
        .layer(axum::middleware::map_response(sign))
        .with_state(state)
}

/// Every answer says who gave it.
async fn sign(mut response: Response) -> Response {
    response.headers_mut().insert(header::SERVER, HeaderValue::from_static("wavebatch-sandbox"));
    response
}

async fn health(State(state): State<Arc<HandlerState>>) -> Response {
    let (status, said) = match state.faults.pick(FaultStage::Health, Subject::default()) {
        None => (StatusCode::OK, "ok"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "error"),
    };
    let connected = json!({"status": "connected"});
    let body = json!({"status": said, "mongo": connected, "redis": connected, "rabbitmq": connected});
    (status, Json(body)).into_response()
}

/// What the vendor served once: the first part of a path behind its version.
const RETIRED: &[&str] = &["lightning", "lightning-v2", "lightning-large", "lightning-v3.1"];

async fn unknown(State(state): State<Arc<HandlerState>>, uri: Uri) -> Response {
    let served_by = uri.path().strip_prefix("/waves/v1/").and_then(|path| path.split_once('/'));
    if served_by.is_some_and(|(model, _)| RETIRED.contains(&model)) {
        state.books.retired_called();
        let message = "this route was retired; use /waves/v1/tts";
        return Refusal::shaped(410, ErrorShape::Tts, message, "").into_response();
    }
    Refusal::stt(404, &format!("no such route: {}", uri.path()), "").into_response()
}

async fn books(State(state): State<Arc<HandlerState>>) -> Json<Books> {
    Json(state.books())
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Script {
    Many(Vec<Fault>),
    One(Box<Fault>),
}

async fn script(State(state): State<Arc<HandlerState>>, body: String) -> Response {
    match serde_json::from_str(&body) {
        Ok(Script::Many(faults)) => state.faults.add(faults),
        Ok(Script::One(fault)) => state.faults.add([*fault]),
        Err(e) => return (StatusCode::BAD_REQUEST, format!("not a fault: {e}\n")).into_response(),
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn hold(State(state): State<Arc<HandlerState>>) -> StatusCode {
    state.gate.hold();
    StatusCode::NO_CONTENT
}

async fn release(State(state): State<Arc<HandlerState>>) -> StatusCode {
    state.gate.release();
    StatusCode::NO_CONTENT
}

async fn hold_callbacks(State(state): State<Arc<HandlerState>>) -> StatusCode {
    state.callbacks.gate.hold();
    StatusCode::NO_CONTENT
}

async fn release_callbacks(State(state): State<Arc<HandlerState>>) -> StatusCode {
    state.callbacks.gate.release();
    StatusCode::NO_CONTENT
}

async fn reset(State(state): State<Arc<HandlerState>>) -> StatusCode {
    state.reset();
    StatusCode::NO_CONTENT
}
