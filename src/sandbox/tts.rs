//! `POST /waves/v1/tts` and `POST /waves/v1/tts/live`: one call from its text to its sound, or to what was scripted.

use std::{fmt::Write, sync::Arc};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{HeaderName, HeaderValue, header, request::Parts},
    response::Response,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use uuid::Uuid;

use super::{
    HandlerState,
    call::{Call, declared_len, linger},
    errors::{ErrorShape, Refusal},
    faults::What,
    intake::{Intake, NotTaken},
    limits::{Lane, Slot},
    reply::{Made, SandboxReply, reply},
    tts_request::TtsRequest,
    voice::{Speech, Spoken},
    voices,
    wire::Wire,
};

/// The longest body, in bytes.
const MAX_BODY: u64 = 64 << 10;
/// How many bytes of sound one event carries.
const EVENT: usize = 16_000;
/// How many bytes of the stream are sent at a time: events are cut anywhere.
const PIECE: usize = 10_007;

/// How the sound is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Whole,
    Events,
}

/// The endpoint that answers in one piece.
pub(super) async fn synthesize(state: State<Arc<HandlerState>>, wire: ConnectInfo<Wire>, request: Request) -> Response {
    answer(state, wire, request, Manner::Whole).await
}

/// The endpoint that answers in events.
pub(super) async fn stream(state: State<Arc<HandlerState>>, wire: ConnectInfo<Wire>, request: Request) -> Response {
    answer(state, wire, request, Manner::Events).await
}

async fn answer(
    State(state): State<Arc<HandlerState>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    request: Request,
    manner: Manner,
) -> Response {
    let (parts, body) = request.into_parts();
    let mut call = Call::arrived(&state, &parts, ErrorShape::Tts);
    let reply = tokio::select! {
        reply = serve(&mut call, &parts, body, manner) => reply.unwrap_or_else(SandboxReply::from),
        () = state.stop.cancelled() => SandboxReply::Cut,
    };
    let mut response = call.respond(reply, &parts, &wire);
    let record = &call.record;
    let mut head = |name, value: &str| {
        let value = HeaderValue::from_str(value).expect("checked to be letters and digits");
        response.headers_mut().insert(HeaderName::from_static(name), value);
    };
    head("x-request-id", &record.request_id);
    head("x-session-id", &Uuid::now_v7().to_string());
    head("x-external-request-id", record.sent_id.as_deref().unwrap_or_default());
    head("x-external-session-id", record.session.as_deref().unwrap_or_default());
    response
}

async fn serve(call: &mut Call, parts: &Parts, body: Body, manner: Manner) -> Result<SandboxReply, Refusal> {
    let slot = match call.check_key(parts).and_then(|()| call.admit(Lane::Tts)) {
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
        Err(NotTaken::TooLarge) => return Err(call.refusal(400, "the body is larger than 64 kB")),
        Err(NotTaken::Disk(_)) => return Err(call.refusal(503, "no room to work in")),
    }
    let wanted = TtsRequest::parse(taken.finish().memory()).map_err(|why| call.refusal(400, &why))?;
    note(call, &wanted);
    if !voices::is_known(&wanted.voice) {
        return Err(call.refusal(400, &format!("there is no voice '{}'", wanted.voice)));
    }
    let words = call
        .state
        .dictionaries
        .words(&wanted.dictionaries)
        .map_err(|id| call.refusal(400, &format!("there is no pronunciation dictionary '{id}'")))?;
    work(call, parts, &wanted, &words, slot, manner).await
}

/// Puts what is asked for into the books.
pub(super) fn note(call: &mut Call, wanted: &TtsRequest) {
    let given = |id: &String| Some(id.clone()).filter(|id| !id.is_empty());
    let record = &mut call.record;
    record.sent_id = given(&wanted.request_id);
    record.session = given(&wanted.session_id);
    record.bytes = wanted.text.len() as u64;
    record.characters = Some(wanted.characters());
    record.text = Some(wanted.text.clone());
}

async fn work(
    call: &mut Call,
    parts: &Parts,
    wanted: &TtsRequest,
    words: &str,
    mut slot: Slot,
    manner: Manner,
) -> Result<SandboxReply, Refusal> {
    let digest = wanted.digest();
    let mut fault = match call.received(&digest, wanted.text.len() as u64) {
        Ok(fault) => fault,
        Err(reply) => return Ok(*reply),
    };
    let factor = match fault {
        Some(What::EmptyText) => 0.0,
        Some(What::WrongDuration(factor)) => factor,
        _ => 1.0,
    };
    let spoken = Spoken {
        text: &wanted.text,
        band: voices::band(&wanted.voice),
        seed: wanted.voiced(words)[..8].iter().fold(0, |n, b| n << 8 | u64::from(*b)),
        rate: wanted.rate,
        pace: wanted.speed.thousandths(),
        factor,
        flaw: if let Some(What::BadSpeech(flaw)) = fault { Some(flaw) } else { None },
    };
    let audio = Speech::new(spoken, &call.state.spoken).encoded(wanted.format, &wanted.text);
    let made = match manner {
        Manner::Whole => Made::whole(wanted.format.content_type(), audio),
        Manner::Events => Made::stream(events(&audio, fault.as_ref()).into_bytes(), PIECE),
    };
    // Without it the vendor's answer can be empty.
    if manner == Manner::Whole && !accepts_wav(parts) && fault.is_none() {
        fault = Some(What::Empty200);
    }
    let done = call.bill(&digest, fault.as_ref(), &mut slot);
    call.worked(done, fault.as_ref()).await;
    Ok(reply(fault, made, slot, (call.shape, &call.record.request_id)))
}

fn accepts_wav(parts: &Parts) -> bool {
    let accepted = parts.headers.get_all(header::ACCEPT);
    accepted.iter().filter_map(|value| value.to_str().ok()).any(|value| value.contains("audio/wav"))
}

/// The sound as a stream of events, with what was scripted for it.
fn events(audio: &[u8], fault: Option<&What>) -> String {
    let mut stream = String::with_capacity(audio.len() * 3 / 2);
    let half = audio.len() / EVENT / 2;
    for (n, piece) in audio.chunks(EVENT).enumerate() {
        if n == half && fault == Some(&What::ErrorEvent) {
            stream
                .push_str("event: error\ndata: {\"status\": \"error\", \"message\": \"scripted by the sandbox\"}\n\n");
            return stream;
        }
        let base64 = BASE64_STANDARD.encode(piece);
        write!(stream, "event: audio\ndata: {{\"audio\": \"{base64}\", \"done\": false, \"status\": \"206\"}}\n\n")
            .expect("a String takes all it is given");
    }
    if fault != Some(&What::Unended) {
        stream.push_str("data: {\"status\": \"200\", \"done\": true}\n\n");
    }
    stream
}
