//! `WSS /waves/v1/tts/live`: texts to sound over one socket, one request after the other, with the times of the words.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::{
    HandlerState,
    call::Call,
    errors::{ErrorShape, Refusal, check_key},
    faults::{SpeechFlaw, What},
    limits::Lane,
    reply::SandboxReply,
    socket::{Peer, upgrade},
    tts_request::TtsRequest,
    voice::{Speech, Spoken},
    voices,
    wire::Wire,
};
use crate::domain::synthesis::WORD_VOICES;

/// How many bytes of sound one message carries.
const CHUNK: usize = 16_000;
/// How long a socket may be idle, unless its query says otherwise.
const IDLE: Duration = Duration::from_secs(60);

/// Opens a socket.
pub(super) async fn open(
    State(state): State<Arc<HandlerState>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    mut request: Request,
) -> Response {
    if let Err(refusal) = check_key(request.headers().get(header::AUTHORIZATION), state.config.key.as_deref()) {
        return refusal.into_response();
    }
    let (response, opening) = match upgrade(&mut request) {
        Ok(opened) => opened,
        Err(refusal) => return refusal.into_response(),
    };
    let (parts, _) = request.into_parts();
    let mut response = response;
    if parts.headers.get("x-expire-content").is_some_and(|value| value == "true") {
        response.headers_mut().insert("x-content-expiry", state.content_expiry.clone());
    }
    response.headers_mut().insert(header::SERVER, HeaderValue::from_static("wavebatch-sandbox"));
    tokio::spawn(async move {
        let stop = state.stop.clone();
        let serving = async {
            if let Some(peer) = opening.await {
                state.books.socket_opened();
                TtsSocket { state, parts, wire, peer, held: HashMap::new() }.serve().await;
            }
        };
        tokio::select! {
            () = serving => {}
            () = stop.cancelled() => {}
        }
    });
    response
}

/// An open socket.
struct TtsSocket {
    state: Arc<HandlerState>,
    /// The head of the request that opened it.
    parts: Parts,
    wire: Wire,
    peer: Peer,
    /// Texts whose rest is to come, by their context; `""` is the one without.
    held: HashMap<String, String>,
}

/// What follows an answer.
#[derive(PartialEq, Eq)]
enum Then {
    GoOn,
    Close,
    Cut,
}

impl TtsSocket {
    async fn serve(mut self) {
        let query = self.parts.uri.query().unwrap_or_default();
        let named = query.split('&').find_map(|pair| pair.strip_prefix("timeout=")?.parse().ok());
        let idle = named.map_or(IDLE, Duration::from_secs);
        loop {
            let message = match tokio::time::timeout(idle, self.peer.next()).await {
                Ok(Some((message, _))) => message,
                Ok(None) => return,
                Err(_) => {
                    let seconds = idle.as_secs();
                    let message = format!("Connection timed out after {seconds} seconds of inactivity");
                    self.peer.send(&json!({"status": "error", "message": message})).await;
                    return self.peer.close(None).await;
                }
            };
            match self.answer(&message).await {
                Then::GoOn => {}
                Then::Close => return self.peer.close(None).await,
                Then::Cut => return self.peer.cut(&self.wire).await,
            }
        }
    }

    /// The text that a message completes; `None`: more of it is to come.
    fn gather(&mut self, fields: &mut Map<String, Value>) -> Option<()> {
        let flag = |name: &str| fields.get(name).and_then(Value::as_bool).unwrap_or_default();
        let context = fields.get("context_id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let ends = if context.is_empty() { flag("flush") } else { flag("context_close") };
        let more = flag("continue") && !ends;
        let own = fields.get("text").and_then(Value::as_str).unwrap_or_default();
        let text = self.held.remove(&context).unwrap_or_default() + own;
        if more {
            self.held.insert(context, text);
            return None;
        }
        if text.is_empty() && !context.is_empty() {
            return None;
        }
        fields.insert("text".into(), text.into());
        Some(())
    }

    async fn answer(&mut self, message: &[u8]) -> Then {
        let Ok(Value::Object(mut fields)) = serde_json::from_slice(message) else {
            let refusal = Refusal::shaped(400, ErrorShape::Tts, "a message must be a JSON object", "");
            self.refuse(&refusal, &[]).await;
            return Then::GoOn;
        };
        if self.gather(&mut fields).is_none() {
            return Then::GoOn;
        }
        let wants_words = fields.get("word_timestamps").and_then(Value::as_bool).unwrap_or_default();
        let mut call = Call::arrived(&self.state, &self.parts, ErrorShape::Tts);
        match self.speak(&mut call, &fields, wants_words).await {
            Ok(then) => then,
            Err(refusal) => {
                call.record.status = Some(refusal.status.as_u16());
                let ids = ids(&call);
                self.refuse(&refusal, &ids).await;
                Then::GoOn
            }
        }
    }

    async fn speak(
        &mut self,
        call: &mut Call,
        fields: &Map<String, Value>,
        wants_words: bool,
    ) -> Result<Then, Refusal> {
        let mut slot = call.admit(Lane::Tts)?;
        let body = serde_json::to_vec(fields).expect("what was read can be written");
        let wanted = TtsRequest::parse(&body).map_err(|why| call.refusal(400, &why))?;
        super::tts::note(call, &wanted);
        if !voices::is_known(&wanted.voice) {
            return Err(call.refusal(400, &format!("there is no voice '{}'", wanted.voice)));
        }
        let digest = wanted.digest();
        let fault = match call.received(&digest, wanted.text.len() as u64) {
            Ok(fault) => fault,
            Err(reply) => {
                return match *reply {
                    SandboxReply::Whole(response) => Err(read_back(response).await),
                    _ => Ok(Then::Cut),
                };
            }
        };
        let (sound, times) = {
            let factor = match fault {
                Some(What::EmptyText) => 0.0,
                Some(What::WrongDuration(factor)) => factor,
                _ => 1.0,
            };
            let spoken = Spoken {
                text: &wanted.text,
                band: voices::band(&wanted.voice),
                seed: wanted.voiced("")[..8].iter().fold(0, |n, b| n << 8 | u64::from(*b)),
                rate: wanted.rate,
                pace: wanted.speed.thousandths(),
                factor,
                flaw: if let Some(What::BadSpeech(flaw)) = fault { Some(flaw) } else { None::<SpeechFlaw> },
            };
            let speech = Speech::new(spoken, &call.state.spoken);
            (speech.encoded(wanted.format, &wanted.text), speech.timed_words())
        };
        let times = if wants_words && wanted.has_word_times() { times } else { Vec::new() };
        let done = call.bill(&digest, fault.as_ref(), &mut slot);
        call.worked(done, fault.as_ref()).await;
        let ids = ids(call);
        let messages = messages(&sound, wanted.rate.hz(), &times, fault.as_ref());
        for (nth, mut message) in messages.into_iter().enumerate() {
            match &fault {
                Some(What::CutAfterWork) => return Ok(Then::Cut),
                Some(What::CutMessage(at)) if *at as usize == nth => return Ok(Then::Cut),
                Some(What::Drip(ms)) => tokio::time::sleep(Duration::from_millis(*ms)).await,
                _ => {}
            }
            let fields = message.as_object_mut().expect("made as an object");
            fields.extend(ids.iter().cloned());
            if !self.peer.send(&message).await {
                return Ok(Then::Close);
            }
        }
        match &fault {
            // Its message is behind the last one.
            Some(What::CutMessage(_)) => {
                call.record.status = Some(200);
                Ok(Then::GoOn)
            }
            Some(What::Truncated | What::Garbage200) => Ok(Then::Cut),
            Some(What::Unended) => Ok(Then::Close),
            Some(What::CloseAfter) => {
                call.record.status = Some(200);
                Ok(Then::Close)
            }
            _ => {
                call.record.status = Some(200);
                Ok(Then::GoOn)
            }
        }
    }

    async fn refuse(&mut self, refusal: &Refusal, ids: &[(String, Value)]) {
        let mut message = json!({"status": "error", "status_code": refusal.status.as_u16()});
        let fields = message.as_object_mut().expect("made as an object");
        match serde_json::from_str(&refusal.body) {
            Ok(Value::Object(body)) => fields.extend(body),
            _ => drop(fields.insert("message".into(), refusal.body.clone().into())),
        }
        fields.insert("status".into(), "error".into());
        fields.extend(ids.iter().cloned());
        self.peer.send(&message).await;
    }
}

/// A refusal that is a response already.
async fn read_back(response: Response) -> Refusal {
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 64 << 10).await.unwrap_or_default();
    Refusal {
        status: parts.status,
        content_type: "application/json",
        body: String::from_utf8_lossy(&body).into_owned(),
        retry_after: None,
    }
}

/// The ids that each message has.
fn ids(call: &Call) -> Vec<(String, Value)> {
    let record = &call.record;
    let own = [("external_request_id", &record.sent_id), ("external_session_id", &record.session)];
    let own = own.into_iter().filter_map(|(name, id)| Some((name.to_owned(), id.clone()?.into())));
    [("request_id".to_owned(), record.request_id.clone().into())].into_iter().chain(own).collect()
}

/// The messages of an answer: sound, each word once its sound has begun, and the end; with what was scripted for them.
fn messages(sound: &[u8], hz: u32, times: &[(String, f64, f64)], fault: Option<&What>) -> Vec<Value> {
    let sent = match fault {
        // Half of the sound, and all of its words.
        Some(What::Short200) => &sound[..sound.len() / 4 * 2],
        _ => sound,
    };
    let mut messages = Vec::new();
    let mut words = (0..).zip(times).peekable();
    for (nth, piece) in sent.chunks(CHUNK).enumerate() {
        messages.push(json!({"status": "chunk", "data": {"audio": BASE64_STANDARD.encode(piece)}}));
        let heard = ((nth * CHUNK + piece.len()) / 2) as f64 / f64::from(hz);
        while let Some((id, (word, start, end))) = words.next_if(|(_, (_, start, _))| *start < heard) {
            messages.push(word_message(id, word, *start, *end));
        }
    }
    messages.extend(words.map(|(id, (word, start, end))| word_message(id, word, *start, *end)));
    match fault {
        Some(What::Truncated) => messages.truncate(messages.len() / 2),
        Some(What::ErrorEvent) => {
            messages.truncate(messages.len() / 2);
            messages.push(json!({"status": "error", "message": "scripted by the sandbox"}));
        }
        Some(What::Garbage200) => messages = vec![json!({"status": "chunk"})],
        Some(What::Empty200) => messages = vec![json!({"status": "complete"})],
        Some(What::Json200) => {
            messages = vec![json!({"status": "error", "message": "scripted by the sandbox"})];
        }
        Some(What::Unended) => {}
        _ => messages.push(json!({"status": "complete"})),
    }
    messages
}

fn word_message(id: usize, word: &str, start: f64, end: f64) -> Value {
    json!({"status": "word_timestamp", "data": {"id": id, "word": word, "start": start, "end": end}})
}

impl TtsRequest {
    /// Whether its voice has times of words, in its language.
    fn has_word_times(&self) -> bool {
        WORD_VOICES.contains(&self.voice.as_str()) && self.is_english_or_hindi()
    }
}
