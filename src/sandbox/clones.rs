//! `/waves/v1/voice-cloning`: voices of the account's own, in memory. A clone is pending first, then it is made, then it speaks.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json,
    body::{Body, Bytes},
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, header, request::Parts},
    response::Response,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    HandlerState,
    call::{Call, declared_len, linger},
    errors::{ErrorShape, Refusal, check_key},
    faults::What,
    limits::{Lane, Slot},
    reply::{Made, SandboxReply, reply},
    wire::Wire,
};

/// The largest sample, in bytes.
const MAX_SAMPLE: usize = 5 << 20;
/// Room for the fields beside the sample.
const MAX_FIELDS: u64 = 64 << 10;
/// The media types that a sample may have.
const TYPES: &[&str] =
    &["audio/mpeg", "audio/mpeg-3", "audio/wav", "audio/wave", "audio/webm", "video/webm", "audio/mp4", "video/mp4"];
const MODELS: [&str; 2] = ["lightning-v3.1", "lightning-v3.1-pro"];

/// A voice of the account's own.
#[derive(Debug, Clone)]
struct OwnVoice {
    id: String,
    fields: Vec<(String, String)>,
    made_at: Instant,
    created_at: String,
    /// Whether it ends as one that could not be made.
    fails: bool,
    /// From when on the account's list has it.
    listed_at: Instant,
}

impl OwnVoice {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    fn model(&self) -> &str {
        self.field("model").unwrap_or(MODELS[0])
    }

    fn status(&self, takes: Duration) -> &'static str {
        match self.made_at.elapsed() {
            since if since < takes / 2 => "pending",
            since if since < takes => "processing",
            _ if self.fails => "failed",
            _ => "completed",
        }
    }

    fn entry(&self, takes: Duration) -> Value {
        let tags: Vec<&str> = self.field("tags").into_iter().flat_map(|tags| tags.split(',')).map(str::trim).collect();
        json!({
            "_id": self.id.trim_start_matches("voice_"),
            "voiceId": self.id,
            "displayName": self.field("displayName"),
            "description": self.field("description"),
            "accent": self.field("accent"),
            "language": self.field("language"),
            "tags": tags,
            "status": self.status(takes),
            "cloningType": "instant",
            "modelIds": [self.model()],
            "createdAt": self.created_at,
        })
    }
}

/// The account's own voices.
#[derive(Debug, Default)]
pub(super) struct OwnVoices(Mutex<Vec<OwnVoice>>);

impl OwnVoices {
    fn with<T>(&self, f: impl FnOnce(&mut Vec<OwnVoice>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn reset(&self) {
        self.with(Vec::clear);
    }
}

/// The list.
pub(super) async fn list(State(state): State<Arc<HandlerState>>, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    state.books.clones_called();
    check_key(headers.get(header::AUTHORIZATION), state.config.key.as_deref())?;
    let now = Instant::now();
    let listed = state.clones.with(|all| {
        let there = all.iter().filter(|voice| voice.listed_at <= now);
        there.map(|voice| voice.entry(state.config.clone_time)).collect::<Vec<_>>()
    });
    Ok(Json(json!({ "data": listed })))
}

/// A removal: the vendor has retired it.
pub(super) async fn remove(State(state): State<Arc<HandlerState>>, headers: HeaderMap) -> Refusal {
    state.books.clones_called();
    match check_key(headers.get(header::AUTHORIZATION), state.config.key.as_deref()) {
        Err(refusal) => refusal,
        Ok(()) => Refusal::stt(410, "voices cannot be deleted any more", ""),
    }
}

/// The making of one.
pub(super) async fn create(
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
    let slot = match call.check_key(parts).and_then(|()| call.admit(Lane::Clone)) {
        Ok(slot) => slot,
        Err(refusal) => {
            linger(body);
            return Err(refusal);
        }
    };
    let most = MAX_SAMPLE as u64 + MAX_FIELDS;
    if declared_len(parts) > most {
        linger(body);
        return Err(call.refusal(400, "the file is larger than 5 MB"));
    }
    let Ok(body) = axum::body::to_bytes(body, usize::try_from(most).unwrap_or(usize::MAX)).await else {
        return Ok(SandboxReply::Cut);
    };
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let form = Form::parse(content_type.unwrap_or_default(), &body).map_err(|why| call.refusal(400, &why))?;
    form.check().map_err(|why| call.refusal(400, &why))?;
    call.record.text = form.field("displayName").map(str::to_owned);
    call.record.bytes = form.sample.len() as u64;
    work(call, form, slot).await
}

async fn work(call: &mut Call, form: Form, mut slot: Slot) -> Result<SandboxReply, Refusal> {
    let mut hash = Sha256::new();
    hash.update(form.field("displayName").unwrap_or_default());
    hash.update(&form.sample);
    let digest = hash.finalize().into();
    let fault = match call.received(&digest, form.sample.len() as u64) {
        Ok(fault) => fault,
        Err(reply) => return Ok(*reply),
    };
    let late = if let Some(What::CloneLate(ms)) = fault { Duration::from_millis(ms) } else { Duration::ZERO };
    let done = call.bill(&digest, fault.as_ref(), &mut slot);
    let voice = OwnVoice {
        id: format!("voice_{}", &Uuid::now_v7().simple().to_string()[18..]),
        fields: form.fields,
        made_at: done,
        created_at: jiff::Timestamp::now().to_string(),
        fails: matches!(fault, Some(What::CloneFails)),
        listed_at: done + late,
    };
    let state = Arc::clone(&call.state);
    let entry = voice.entry(state.config.clone_time);
    // The work goes on though the client may leave meanwhile.
    state.clones.with(|all| all.push(voice));
    call.worked(done, fault.as_ref()).await;
    let answer = json!({"message": "Voice clone created successfully", "data": entry});
    let made = Made::whole("application/json", answer.to_string().into_bytes());
    Ok(reply(fault, made, slot, (call.shape, &call.record.request_id)))
}

/// The fields of a form, and its file.
#[derive(Debug)]
struct Form {
    fields: Vec<(String, String)>,
    content_type: String,
    sample: Bytes,
}

impl Form {
    /// Reads a body of `multipart/form-data`; an `Err` says what is wrong with it.
    fn parse(content_type: &str, body: &Bytes) -> Result<Self, String> {
        let boundary = content_type.split_once("boundary=").map(|(_, boundary)| boundary.trim_matches('"'));
        let boundary = boundary.filter(|_| content_type.starts_with("multipart/form-data"));
        let boundary = format!("--{}", boundary.ok_or("the body must be multipart/form-data")?);
        let mut form = Self { fields: Vec::new(), content_type: String::new(), sample: Bytes::new() };
        let marks = positions(body, boundary.as_bytes());
        for pair in marks.windows(2) {
            // A part has breaks behind its boundary and before the next one.
            let Some(part) = body.get(pair[0] + boundary.len() + 2..pair[1].saturating_sub(2)) else { continue };
            let Some(head) = positions(part, b"\r\n\r\n").first().copied() else { continue };
            let (head, content) = (String::from_utf8_lossy(&part[..head]).into_owned(), head + 4);
            let Some(name) = quoted(&head, " name=") else { continue };
            let start = pair[0] + boundary.len() + 2 + content;
            if name == "file" {
                let kind = head.lines().find_map(|line| line.strip_prefix("Content-Type:"));
                form.content_type = kind.unwrap_or_default().trim().to_owned();
                form.sample = body.slice(start..pair[1] - 2);
            } else {
                form.fields.push((name.to_owned(), String::from_utf8_lossy(&part[content..]).into_owned()));
            }
        }
        Ok(form)
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// What the API would refuse.
    fn check(&self) -> Result<(), String> {
        let name = self.field("displayName").unwrap_or_default().chars().count();
        if !(1..=500).contains(&name) {
            return Err("'displayName' must have 1 to 500 characters".into());
        }
        if self.sample.is_empty() {
            return Err("no file provided".into());
        }
        if self.sample.len() > MAX_SAMPLE {
            return Err("the file is larger than 5 MB".into());
        }
        if !TYPES.contains(&self.content_type.as_str()) {
            return Err(format!("invalid MIME type: {}", self.content_type));
        }
        match self.field("model") {
            Some("lightning-v2") => {
                Err("Voice cloning for lightning-v2 is deprecated. Please use lightning-v3.1".into())
            }
            Some(model) if !MODELS.contains(&model) => Err(format!("there is no model '{model}'")),
            _ => Ok(()),
        }
    }
}

/// Where a text stands.
fn positions(within: &[u8], text: &[u8]) -> Vec<usize> {
    (0..=within.len().saturating_sub(text.len())).filter(|at| within[*at..].starts_with(text)).collect()
}

/// The quoted value behind a name.
fn quoted<'t>(head: &'t str, name: &str) -> Option<&'t str> {
    head.split_once(name)?.1.strip_prefix('"')?.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "--b\r\nContent-Disposition: form-data; name=\"displayName\"\r\n\r\nAnn\r\n--b\r\nContent-Disposition: \
                        form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n\r\nx\r\n--b--\r\n";

    #[test]
    fn a_form_is_read_by_its_boundary() {
        let form = Form::parse("multipart/form-data; boundary=b", &BODY.into()).unwrap();
        assert_eq!((form.field("displayName"), form.content_type.as_str()), (Some("Ann"), "audio/wav"));
        assert_eq!(&form.sample[..], b"RIFF\r\n\r\nx");
        assert_eq!(form.check(), Ok(()));
        assert!(Form::parse("application/json", &BODY.into()).is_err());
        let empty = Form::parse("multipart/form-data; boundary=b", &Bytes::from_static(b"--b--")).unwrap();
        assert!(empty.check().unwrap_err().contains("displayName"));
        let flac = BODY.replace("audio/wav", "audio/flac");
        let why = Form::parse("multipart/form-data; boundary=b", &flac.into()).unwrap().check().unwrap_err();
        assert!(why.contains("invalid MIME type"), "{why}");
    }
}
