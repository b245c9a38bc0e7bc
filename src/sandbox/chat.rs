//! `POST /waves/v1/chat/completions` and `POST /waves/v1/pca`: one call from what it asks to its reply, or to what was scripted.

mod analysis;
mod model;
mod prefixes;
mod request;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderName, HeaderValue, request::Parts},
    response::Response,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

pub(super) use self::prefixes::Prefixes;
pub use self::request::ChatMarker;
use self::{
    analysis::{AnalysisRequest, analysis_of},
    model::{Reply, reply_to},
    request::ChatRequest,
};
use super::{
    HandlerState,
    call::{Call, declared_len, linger},
    errors::{ErrorShape, Refusal},
    faults::What,
    intake::{Intake, NotTaken},
    limits::{Lane, Slot},
    reply::{Made, SandboxReply, reply},
    wire::Wire,
};

/// The longest body, in bytes: more than the context has, whatever the script.
const MAX_BODY: u64 = 1 << 20;

/// The endpoint of chats.
pub(super) async fn complete(state: State<Arc<HandlerState>>, wire: ConnectInfo<Wire>, request: Request) -> Response {
    answer(state, wire, request, Lane::Chat).await
}

/// The endpoint of analyses. Its errors are documented by their status alone.
pub(super) async fn analyze(state: State<Arc<HandlerState>>, wire: ConnectInfo<Wire>, request: Request) -> Response {
    answer(state, wire, request, Lane::Pca).await
}

async fn answer(
    State(state): State<Arc<HandlerState>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    request: Request,
    lane: Lane,
) -> Response {
    let (parts, body) = request.into_parts();
    let shape = if lane == Lane::Chat { ErrorShape::Chat } else { ErrorShape::Stt };
    let mut call = Call::arrived(&state, &parts, shape);
    let reply = tokio::select! {
        reply = serve(&mut call, &parts, body, lane) => reply.unwrap_or_else(SandboxReply::from),
        () = state.stop.cancelled() => SandboxReply::Cut,
    };
    let mut response = call.respond(reply, &parts, &wire);
    let id = HeaderValue::from_str(&call.record.request_id).expect("a UUID can stand in a header");
    response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
    response
}

async fn serve(call: &mut Call, parts: &Parts, body: Body, lane: Lane) -> Result<SandboxReply, Refusal> {
    let slot = match call.check_key(parts).and_then(|()| call.admit(lane)) {
        Ok(slot) => slot,
        Err(refusal) => {
            linger(body);
            return Err(refusal);
        }
    };
    let mut taken = Intake::new(MAX_BODY, declared_len(parts).min(MAX_BODY));
    match taken.read(body).await {
        Ok(()) => {}
        Err(NotTaken::Cut) => return Ok(SandboxReply::Cut),
        Err(NotTaken::TooLarge) => return Err(call.refusal(400, "the body is larger than 1 MB")),
        Err(NotTaken::Disk(_)) => return Err(call.refusal(503, "no room to work in")),
    }
    let body = taken.finish();
    let parsed = match lane {
        Lane::Pca => AnalysisRequest::parse(body.memory()).map(Wanted::Analysis),
        _ => ChatRequest::parse(body.memory()).map(Wanted::Chat),
    };
    let wanted = parsed.map_err(|why| call.refusal(400, &why))?;
    call.record.text = Some(wanted.prompt().to_owned());
    call.record.bytes = body.memory().len() as u64;
    let digest = Sha256::digest(body.memory()).into();
    work(call, &wanted, (digest, body.memory().len() as u64), slot).await
}

/// What a call asks for.
enum Wanted {
    Chat(ChatRequest),
    Analysis(AnalysisRequest),
}

impl Wanted {
    fn prompt(&self) -> &str {
        match self {
            Self::Chat(chat) => chat.prompt(),
            Self::Analysis(analysis) => &analysis.transcript,
        }
    }

    fn has(&self, marker: ChatMarker) -> bool {
        match self {
            Self::Chat(chat) => chat.has(marker),
            Self::Analysis(analysis) => analysis.has(marker),
        }
    }

    /// The body of its answer. `is_empty`: whether it is scripted to have no text.
    fn answer(&self, call: &Call, is_empty: bool) -> serde_json::Value {
        match self {
            Self::Chat(chat) => {
                let mut made = reply_to(chat);
                if is_empty {
                    made.text = Some(String::new());
                }
                let usage = usage(chat, &made, call.state.prefixes.cached(chat));
                completion(&made, usage, chat, &call.record.request_id)
            }
            Self::Analysis(_) if is_empty => json!({"summary": "", "dispositionMetrics": []}),
            Self::Analysis(analysis) => analysis_of(analysis),
        }
    }
}

async fn work(
    call: &mut Call,
    wanted: &Wanted,
    (digest, bytes): ([u8; 32], u64),
    mut slot: Slot,
) -> Result<SandboxReply, Refusal> {
    let fault = match call.received(&digest, bytes) {
        Ok(fault) => fault,
        Err(reply) => return Ok(*reply),
    };
    let is_first = call.is_first_of_its_content();
    let fault = match fault {
        None if is_first && wanted.has(ChatMarker::TooMany) => {
            return Err(call.refusal(429, "too many requests; come back later").retry_after(Some("1".into())));
        }
        None if is_first && wanted.has(ChatMarker::Fails) => return Err(call.refusal(500, "scripted by the prompt")),
        None if is_first && wanted.has(ChatMarker::Lost) => Some(What::CutAfterWork),
        fault => fault,
    };
    let answer = wanted.answer(call, matches!(fault, Some(What::EmptyText)));
    let done = call.bill(&digest, fault.as_ref(), &mut slot);
    call.worked(done, fault.as_ref()).await;
    if let Wanted::Chat(chat) = wanted {
        call.state.prefixes.remember(chat);
    }
    let made = Made::whole("application/json", answer.to_string().into_bytes());
    Ok(reply(fault, made, slot, (call.shape, &call.record.request_id)))
}

/// What a call used.
fn usage(wanted: &ChatRequest, made: &Reply, cached: u64) -> serde_json::Value {
    let (prompt, completion) = (wanted.tokens(), made.tokens());
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": { "cached_tokens": cached },
    })
}

fn completion(made: &Reply, usage: serde_json::Value, wanted: &ChatRequest, id: &str) -> serde_json::Value {
    let mut message = json!({ "role": "assistant", "content": made.text });
    if !made.tool_calls.is_empty() {
        message["tool_calls"] = json!(made.tool_calls);
    }
    json!({
        "id": format!("chatcmpl-{id}"),
        "object": "chat.completion",
        "model": wanted.model,
        "choices": [{ "index": 0, "message": message, "finish_reason": made.finish_reason.as_str() }],
        "usage": usage,
        "metadata": { "sandbox": true },
    })
}
