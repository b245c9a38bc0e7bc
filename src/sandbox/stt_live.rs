//! `WSS /waves/v1/stt/live`: samples come in, and texts go out while they do.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use axum::{
    body::Bytes,
    extract::{ConnectInfo, Request, State},
    http::{HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{
    HandlerState,
    call::Call,
    errors::{ErrorShape, Refusal, check_key},
    faults::{FaultStage, What},
    intake::ReceivedRecording,
    limits::{Over, Slot},
    logs::Entry,
    socket::{Peer, upgrade},
    stt_request::SttRequest,
    transcript,
    voice::{HeardWord, Listener},
    wire::Wire,
};
use crate::domain::options::SttModel;

/// How much audio passes between two finals, in ms.
const FINAL_MS: u64 = 5_000;
/// A word that ends so shortly before the newest sample may not be over, in seconds.
const UNSURE: f64 = 1.0;
/// How long a session may be silent.
const IDLE: Duration = Duration::from_secs(60);
const RATES: [u32; 6] = [8_000, 16_000, 22_050, 24_000, 44_100, 48_000];

/// Opens a session.
pub(super) async fn open(
    State(state): State<Arc<HandlerState>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    mut request: Request,
) -> Response {
    let asked = match asked(&state, &request) {
        Ok(asked) => asked,
        Err(refusal) => return refusal.into_response(),
    };
    let (mut response, opening) = match upgrade(&mut request) {
        Ok(opened) => opened,
        Err(refusal) => return refusal.into_response(),
    };
    let (parts, _) = request.into_parts();
    if parts.headers.get("x-expire-content").is_some_and(|value| value == "true") {
        response.headers_mut().insert("x-content-expiry", state.content_expiry.clone());
    }
    response.headers_mut().insert(header::SERVER, HeaderValue::from_static("wavebatch-sandbox"));
    tokio::spawn(async move {
        let stop = state.stop.clone();
        let serving = async {
            if let Some(peer) = opening.await {
                state.books.socket_opened();
                serve(&state, &parts, asked, peer, &wire).await;
            }
        };
        tokio::select! {
            () = serving => {}
            () = stop.cancelled() => {}
        }
    });
    response
}

/// What a session asks for.
struct Asked {
    request: SttRequest,
    rate: u32,
}

fn asked(state: &HandlerState, request: &Request) -> Result<Asked, Refusal> {
    check_key(request.headers().get(header::AUTHORIZATION), state.config.key.as_deref())?;
    let query = request.uri().query().unwrap_or_default();
    let refusal = |message: &str| Refusal::stt(400, message, "");
    let named = |name: &str| {
        let found = url::form_urlencoded::parse(query.as_bytes()).find(|(own, _)| own == name);
        found.map(|(_, value)| value.into_owned())
    };
    let request = SttRequest::parse(query, "")?;
    if request.model != SttModel::Pulse {
        return Err(refusal("Pulse Pro has no streaming transport. Use POST /waves/v1/stt/?model=pulse-pro instead."));
    }
    if state.config.closed_languages.contains(&request.language) {
        return Err(Refusal::region(request.language.as_str()));
    }
    if named("encoding").is_some_and(|encoding| encoding != "linear16") {
        return Err(refusal("this sandbox takes linear16 alone"));
    }
    let rate = named("sample_rate").map_or(Some(16_000), |rate| rate.parse().ok());
    match rate.filter(|rate| RATES.contains(rate)) {
        Some(rate) => Ok(Asked { request: SttRequest { model: SttModel::PulseLive, ..request }, rate }),
        None => Err(refusal("`sample_rate` must be one of 8000, 16000, 22050, 24000, 44100, 48000")),
    }
}

/// A session from its first sample to its end.
struct Session<'s> {
    call: Call,
    asked: Asked,
    /// The samples since the last final.
    samples: Vec<f32>,
    /// How many came before those.
    passed: usize,
    /// An odd byte, whose other half is in the next message.
    odd: Option<u8>,
    hasher: Sha256,
    /// The words of the finals so far.
    words: Vec<HeardWord>,
    /// The sample at which the next final is due.
    next_final: usize,
    sent: u32,
    fault: Option<What>,
    state: &'s HandlerState,
}

/// How a session goes on.
enum Then {
    GoOn,
    Close,
    Cut,
}

async fn serve(state: &Arc<HandlerState>, parts: &Parts, asked: Asked, mut peer: Peer, wire: &Wire) {
    let call = Call::arrived(state, parts, ErrorShape::Stt);
    let mut slot = match state.limits.admit(SttModel::PulseLive) {
        Ok(slot) => slot,
        Err(Over::Rate(_) | Over::Concurrency) => return peer.close(Some((1008, "too many open sessions"))).await,
    };
    let fault = call.fault(FaultStage::Received);
    let next_final = ms_to_samples(FINAL_MS, asked.rate);
    let mut session = Session {
        call,
        asked,
        samples: Vec::new(),
        passed: 0,
        odd: None,
        hasher: Sha256::new(),
        words: Vec::new(),
        next_final,
        sent: 0,
        fault,
        state,
    };
    loop {
        let message = match tokio::time::timeout(IDLE, peer.next()).await {
            Ok(Some(message)) => message,
            Ok(None) => {
                session.bill(&mut slot);
                return;
            }
            Err(_) => {
                session.bill(&mut slot);
                return peer.close(Some((1000, "idle"))).await;
            }
        };
        let then = match message {
            (samples, false) => session.take(&samples, &mut peer).await,
            (control, true) => session.control(&control, &mut peer, &mut slot).await,
        };
        match then {
            Then::GoOn => {}
            Then::Close => return peer.close(None).await,
            Then::Cut => {
                session.bill(&mut slot);
                return peer.cut(wire).await;
            }
        }
    }
}

impl Session<'_> {
    async fn take(&mut self, bytes: &Bytes, peer: &mut Peer) -> Then {
        if self.fault == Some(What::CutBeforeWork) {
            return Then::Cut;
        }
        self.hasher.update(bytes);
        self.call.record.bytes += bytes.len() as u64;
        let whole: Vec<u8> = self.odd.take().into_iter().chain(bytes.iter().copied()).collect();
        let (pairs, rest) = whole.as_chunks::<2>();
        self.odd = rest.first().copied();
        self.samples.extend(pairs.iter().map(|pair| f32::from(i16::from_le_bytes(*pair)) / 32_768.0));
        if self.all() < self.next_final {
            return Then::GoOn;
        }
        self.next_final = self.all() + ms_to_samples(FINAL_MS, self.asked.rate);
        let sure = self.all() as f64 / f64::from(self.asked.rate) - UNSURE;
        let words: Vec<HeardWord> = self.newly_heard().into_iter().filter(|word| word.end < sure).collect();
        if words.is_empty() {
            return Then::GoOn;
        }
        // What is not final yet lacks its last word.
        let interim = self.message(&words[..words.len() - 1], (false, false));
        let is_final = self.message(&words, (true, false));
        self.said(words);
        match self.send(&interim, peer).await {
            Then::GoOn => self.send(&is_final, peer).await,
            other => other,
        }
    }

    async fn control(&mut self, control: &[u8], peer: &mut Peer, slot: &mut Slot) -> Then {
        let kind = serde_json::from_slice::<Value>(control).unwrap_or_default()["type"].take();
        match kind.as_str().unwrap_or_default() {
            "keepalive" => Then::GoOn,
            "finalize" => {
                let words = self.newly_heard();
                let mut message = self.message(&words, (true, false));
                message["from_finalize"] = true.into();
                self.said(words);
                self.send(&message, peer).await
            }
            "close_stream" => self.close(peer, slot).await,
            _ => {
                let error = json!({"type": "error", "status": "error", "message": "unknown control message"});
                self.send(&error, peer).await
            }
        }
    }

    async fn close(&mut self, peer: &mut Peer, slot: &mut Slot) -> Then {
        let fault = self.fault.clone();
        if let Some(What::Status(status)) = fault.as_ref().filter(|what| !matches!(what, What::Status(s) if s.billed)) {
            let message = status.message.clone().unwrap_or_else(|| "scripted by the sandbox".into());
            let error = json!({"type": "error", "status": "error", "status_code": status.code, "message": message});
            self.call.record.status = Some(status.code);
            self.send(&error, peer).await;
            return Then::Close;
        }
        let words = match fault {
            Some(What::EmptyText) => Vec::new(),
            _ => self.newly_heard(),
        };
        let mut message = self.message(&words, (true, true));
        self.said(words);
        if self.words.is_empty() && fault != Some(What::EmptyText) {
            let invented = self.invented();
            message["transcript"] = invented.clone().into();
            message["transcription"] = invented.into();
        }
        let done = self.bill(slot);
        self.call.worked(done, fault.as_ref()).await;
        match fault {
            Some(What::CutAfterWork) => return Then::Cut,
            Some(What::Unended) => return Then::Close,
            Some(What::ErrorEvent | What::Json200) => {
                self.send(&json!({"type": "error", "status": "error", "message": "scripted by the sandbox"}), peer)
                    .await;
                return Then::Close;
            }
            _ => {}
        }
        match self.send(&message, peer).await {
            Then::GoOn => {
                self.call.record.status = Some(200);
                Then::Close
            }
            other => other,
        }
    }

    async fn send(&mut self, message: &Value, peer: &mut Peer) -> Then {
        if self.fault == Some(What::CutMessage(self.sent)) {
            return Then::Cut;
        }
        self.sent += 1;
        if peer.send(message).await { Then::GoOn } else { Then::Close }
    }

    /// How many samples came.
    const fn all(&self) -> usize {
        self.passed + self.samples.len()
    }

    /// The words since the last final, with their times from the start of the session.
    fn newly_heard(&self) -> Vec<HeardWord> {
        let mut listener = Listener::new(&self.state.spoken, self.asked.rate);
        for piece in self.samples.chunks(16_000) {
            if listener.push(piece).is_break() {
                return Vec::new();
            }
        }
        let from = self.passed as f64 / f64::from(self.asked.rate);
        let later = |word: HeardWord| HeardWord { start: word.start + from, end: word.end + from, ..word };
        listener.finish().into_iter().map(later).collect()
    }

    fn said(&mut self, words: Vec<HeardWord>) {
        if let Some(last) = words.last() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a moment within the samples")]
            let end = (last.end * f64::from(self.asked.rate)) as usize;
            let over = end.saturating_sub(self.passed).min(self.samples.len());
            self.samples.drain(..over);
            self.passed += over;
        }
        self.words.extend(words);
    }

    fn message(&self, words: &[HeardWord], (is_final, is_last): (bool, bool)) -> Value {
        let text = words.iter().map(|word| word.word.as_str()).collect::<Vec<_>>().join(" ");
        let mut message = json!({
            "type": "transcription",
            "status": "success",
            "transcription": text,
            "transcript": text,
            "is_final": is_final,
            "is_last": is_last,
            "session_id": self.call.record.request_id,
            "language": self.asked.request.language.as_str(),
        });
        if self.asked.request.flags.word_timestamps {
            let word = |word: &HeardWord| {
                let mut own = json!({"word": word.word, "start": word.start, "end": word.end, "confidence": 0.98});
                if self.asked.request.flags.diarize {
                    own["speaker"] = 0.into();
                }
                own
            };
            message["words"] = words.iter().map(word).collect();
        }
        message
    }

    fn invented(&self) -> String {
        transcript::text(&self.asked.request, &self.recording(Vec::new()))
    }

    fn recording(&self, words: Vec<HeardWord>) -> ReceivedRecording {
        let bytes = self.call.record.bytes;
        let digest = self.hasher.clone().finalize().into();
        let ms = self.all() as u64 * 1_000 / u64::from(self.asked.rate);
        ReceivedRecording { digest, content_bytes: bytes, bytes, ms, comment: None, words, filename: None }
    }

    /// Bills what came, once, and notes it in the log. Returns when the work is done.
    fn bill(&mut self, slot: &mut Slot) -> Instant {
        if self.call.record.billed || self.all() == 0 {
            return Instant::now();
        }
        let heard = self.recording(self.words.clone());
        let digest = heard.digest;
        self.call.count(&digest, heard.bytes);
        let done = self.call.bill(&digest, self.fault.as_ref(), slot);
        let request = SttRequest { model: SttModel::Pulse, ..self.asked.request.clone() };
        let transcription = transcript::text(&request, &heard);
        self.state.logs.push(Entry {
            gender: None,
            asked: request,
            request_id: self.call.record.request_id.clone(),
            at: SystemTime::now(),
            ms: heard.ms,
            // As the vendor's log has it of sessions.
            bytes: Some(0),
            transcription,
            shown_at: done + self.state.config.log_lag,
        });
        done
    }
}

fn ms_to_samples(ms: u64, rate: u32) -> usize {
    usize::try_from(ms * u64::from(rate) / 1_000).unwrap_or(usize::MAX)
}
