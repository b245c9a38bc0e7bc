//! `POST /waves/v1/stt/`: one call from its arrival to its answer, or to what was scripted instead.

use crate::sandbox::LogSizes;
use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{header, request::Parts},
    response::Response,
};
use serde::Deserialize;
use serde_json::json;

use super::{
    HandlerState,
    call::{Call, declared_len, linger},
    callbacks::{self, Owed},
    errors::{ErrorShape, Refusal},
    faults::{FaultStage, What},
    hook::Hook,
    intake::{self, Intake, NotTaken, ReceivedRecording},
    limits::Slot,
    logs::Entry,
    reply::{Made, SandboxReply, reply},
    stt_request::SttRequest,
    transcript::{self, Lies},
    wire::Wire,
};
use crate::domain::options::SttModel;

/// The longest JSON body, in bytes.
const MAX_JSON: u64 = 64 << 10;

/// The endpoint.
pub(super) async fn transcribe(
    State(state): State<Arc<HandlerState>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let mut call = Call::arrived(&state, &parts, ErrorShape::Stt);
    let reply = tokio::select! {
        reply = serve(&mut call, &parts, body) => reply.unwrap_or_else(SandboxReply::from),
        () = state.stop.cancelled() => SandboxReply::Cut,
    };
    call.respond(reply, &parts, &wire)
}

async fn serve(call: &mut Call, parts: &Parts, body: Body) -> Result<SandboxReply, Refusal> {
    let (asked, mut slot) = match admit(call, parts) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            linger(body);
            return Err(refusal);
        }
    };
    let heard = match take_in(call, &asked, parts, body).await {
        Ok(heard) => heard,
        Err(NotServed::Refused(refusal)) => return Err(refusal),
        Err(NotServed::Cut) => return Ok(SandboxReply::Cut),
    };
    let fault = match call.received(&heard.digest, heard.content_bytes) {
        Ok(fault) => fault,
        Err(reply) => return Ok(*reply),
    };
    let body = match asked.hook.clone() {
        Some(hook) => accept(call, asked, &heard, hook, fault.as_ref()).await,
        None => work(call, asked, &heard, fault.as_ref(), &mut slot).await,
    };
    Ok(reply(fault, Made::whole("application/json", body), slot, (call.shape, &call.record.request_id)))
}

/// All that is decided before the recording is read.
fn admit(call: &Call, parts: &Parts) -> Result<(SttRequest, Slot), Refusal> {
    call.check_key(parts)?;
    let asked = SttRequest::parse(&call.record.query, &call.record.request_id)?;
    if call.state.config.closed_languages.contains(&asked.language) {
        return Err(Refusal::region(asked.language.as_str()));
    }
    if declared_len(parts) > call.state.config.max_bytes {
        return Err(too_large(call));
    }
    let slot = call.admit(asked.model)?;
    Ok((asked, slot))
}

fn too_large(call: &Call) -> Refusal {
    call.refusal(413, "the file is larger than 250 MB")
}

enum NotServed {
    Refused(Refusal),
    Cut,
}

impl From<Refusal> for NotServed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The recording, sent or named by URL.
async fn take_in(
    call: &mut Call,
    asked: &SttRequest,
    parts: &Parts,
    body: Body,
) -> Result<ReceivedRecording, NotServed> {
    let state = Arc::clone(&call.state);
    let media_type = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let by_url = media_type.starts_with("application/json");
    let max = if by_url { MAX_JSON } else { state.config.max_bytes };
    let mut taken = Intake::new(max, declared_len(parts));
    let read = taken.read(body).await;
    call.record.bytes = taken.bytes;
    match read {
        Ok(()) => {}
        Err(NotTaken::Cut) => return Err(NotServed::Cut),
        Err(NotTaken::TooLarge) => return Err(too_large(call).into()),
        Err(NotTaken::Disk(_)) => return Err(call.refusal(503, "no room to work in").into()),
    }
    let mut recording = taken.finish();
    let mut filename = None;
    if by_url {
        let url = named_url(call, asked, recording.memory())?;
        call.record.url = Some(url.clone());
        if !state.config.fetch {
            return Ok(intake::imagine(&url));
        }
        recording = intake::fetch(&state.client, &url, state.config.max_bytes, state.config.fetch_timeout)
            .await
            .map_err(|why| call.refusal(400, &format!("the URL could not be fetched: {why}")))?;
        filename = file_name(&url);
        call.record.bytes = recording.bytes;
    }
    if recording.bytes == 0 {
        return Err(call.refusal(400, "the audio is empty").into());
    }
    match recording.hear(Arc::clone(&state.spoken)).await {
        Ok(Ok(heard)) => Ok(ReceivedRecording { filename, ..heard }),
        Ok(Err(name)) => Err(call.refusal(400, &format!("this is {name}, not audio")).into()),
        Err(_) => Err(call.refusal(503, "the audio could not be read").into()),
    }
}

fn named_url(call: &Call, asked: &SttRequest, body: &[u8]) -> Result<String, Refusal> {
    #[derive(Deserialize)]
    struct Named {
        url: url::Url,
    }
    if asked.model == SttModel::PulsePro {
        return Err(call.refusal(400, "pulse-pro takes no URL; send the audio itself"));
    }
    match serde_json::from_slice::<Named>(body) {
        Ok(Named { url }) if matches!(url.scheme(), "http" | "https") => Ok(url.into()),
        _ => Err(call.refusal(400, "the body must be JSON with an http(s) `url`")),
    }
}

fn file_name(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    url.path_segments()?.next_back().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Does the work, which bills it; waits as long as it would take. Returns the body of a 200.
async fn work(
    call: &mut Call,
    asked: SttRequest,
    heard: &ReceivedRecording,
    fault: Option<&What>,
    slot: &mut Slot,
) -> Vec<u8> {
    let (mut entry, body) = transcribed(call, asked, heard, fault);
    let done = call.bill(&heard.digest, fault, slot);
    entry.shown_at = done + call.state.config.log_lag;
    call.state.logs.push(entry);
    call.worked(done, fault).await;
    body
}

/// Promises a callback, which does the work. Returns the body of a 200.
async fn accept(
    call: &Call,
    asked: SttRequest,
    heard: &ReceivedRecording,
    hook: Hook,
    fault: Option<&What>,
) -> Vec<u8> {
    let (entry, answer) = transcribed(call, asked, heard, fault);
    let befalls = call.fault(FaultStage::Callback);
    let is_early = befalls == Some(What::CallbackEarly);
    let owed = Owed { number: call.record.number, hook, digest: heard.digest, entry, answer, fault: befalls };
    let delivered = callbacks::start(&call.state, owed);
    if is_early {
        // An error is a reset: there will be no delivery to wait for.
        let _ = delivered.await;
    }
    call.accepted(fault).await;
    json!({"status": "processing", "request_id": call.record.request_id}).to_string().into_bytes()
}

/// What the log will say of a call, and its answer.
fn transcribed(call: &Call, asked: SttRequest, heard: &ReceivedRecording, fault: Option<&What>) -> (Entry, Vec<u8>) {
    let transcription = match fault {
        Some(What::EmptyText) => String::new(),
        _ => transcript::text(&asked, heard),
    };
    let lies = match fault {
        Some(What::WrongDuration(factor)) => Lies { factor: *factor, ..Lies::default() },
        Some(What::LateWords(late_ms)) => Lies { late_ms: *late_ms, ..Lies::default() },
        _ => Lies::default(),
    };
    let request_id = call.record.request_id.clone();
    let body = transcript::answer(&asked, heard, &transcription, &request_id, lies);
    let entry = Entry {
        gender: transcript::gender(&asked, heard),
        asked,
        request_id,
        at: SystemTime::now(),
        ms: heard.ms,
        bytes: match call.state.config.log_sizes {
            LogSizes::AsSent => Some(heard.bytes),
            LogSizes::WithoutPadding => Some(heard.content_bytes),
            LogSizes::None => None,
        },
        transcription,
        shown_at: Instant::now(),
    };
    (entry, body)
}
