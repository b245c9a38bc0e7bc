//! `POST /waves/v1/stt/`: one call from its arrival to its answer, or to what was scripted instead.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    body::Body,
    extract::{ConnectInfo, Request, State},
    http::{StatusCode, header, request::Parts},
    response::Response,
};
use futures::StreamExt;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    asked::Asked,
    books::{Record, hex},
    errors::{Refusal, Shape, check_key},
    faults::{Stage, Subject, What},
    intake::{self, Heard, Intake, NotTaken},
    limits::{Over, Slot},
    logs::Entry,
    reply::{Reply, drip, half, reply, scripted},
    transcript,
    wire::Wire,
    world::World,
};
use crate::domain::options::SttModel;

/// The longest JSON body, in bytes.
const MAX_JSON: u64 = 64 << 10;
/// How long what is still being sent is read after an early refusal, so that the client gets to see it.
const LINGER: Duration = Duration::from_secs(1);

/// A call, which ends in the books however it ends.
struct Call {
    world: Arc<World>,
    record: Record,
}

impl Call {
    fn arrived(world: &Arc<World>, parts: &Parts) -> Self {
        let number = world.books.arrived();
        world.arrivals.send_modify(|n| *n += 1);
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = Record {
            number,
            at_ms: since_1970.as_millis() as i64,
            request_id: Uuid::now_v7().to_string(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            ..Record::default()
        };
        Self { world: Arc::clone(world), record }
    }

    fn refusal(&self, status: u16, message: &str) -> Refusal {
        Refusal::stt(status, message, &self.record.request_id)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.world.books.ended(mem::take(&mut self.record));
    }
}

/// The endpoint.
pub(super) async fn transcribe(
    State(world): State<Arc<World>>,
    ConnectInfo(wire): ConnectInfo<Wire>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let mut call = Call::arrived(&world, &parts);
    let reply = tokio::select! {
        reply = serve(&world, &mut call, &parts, body) => reply.unwrap_or_else(Reply::from),
        () = world.stop.cancelled() => Reply::Cut,
    };
    let expiry = parts.headers.get("x-expire-content").is_some_and(|v| v == "true");
    let (mut response, is_whole) = match reply {
        Reply::Whole(response) => (response, true),
        Reply::Drip(body, pause, slot) => (drip(body, pause, slot), true),
        Reply::Half(body) => (half(&body), false),
        Reply::Cut => {
            wire.cut();
            return Response::new(Body::empty());
        }
    };
    if response.status() == StatusCode::OK && expiry {
        response.headers_mut().insert("x-content-expiry", world.content_expiry.clone());
    }
    call.record.status = is_whole.then(|| response.status().as_u16());
    response
}

async fn serve(world: &Arc<World>, call: &mut Call, parts: &Parts, body: Body) -> Result<Reply, Refusal> {
    let (asked, mut slot) = match admit(world, call, parts) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            linger(body);
            return Err(refusal);
        }
    };
    let heard = match take_in(world, call, &asked, parts, body).await {
        Ok(heard) => heard,
        Err(NotServed::Refused(refusal)) => return Err(refusal),
        Err(NotServed::Cut) => return Ok(Reply::Cut),
    };
    let number = call.record.number;
    let sha = hex(&heard.digest);
    let nth = world.books.received(&heard.digest, heard.bytes);
    let subject = Subject { number, content: Some((&sha, heard.bytes, nth)) };
    let fault = world.faults.pick(Stage::Received, subject);
    call.record.sha256 = Some(sha);

    match &fault {
        Some(What::CutBeforeWork) => return Ok(Reply::Cut),
        Some(What::Html(code)) => return Err(Refusal::shaped(*code, Shape::Html, "", "")),
        Some(What::Status(status)) if !status.billed => return Err(scripted(status, &call.record.request_id)),
        _ => {}
    }
    let body = work(world, call, &asked, &heard, fault.as_ref(), &mut slot).await;
    world.wait_at_gate(matches!(fault, Some(What::Hang))).await;
    Ok(reply(fault, body, slot, &call.record.request_id))
}

/// All that is decided before the recording is read.
fn admit(world: &Arc<World>, call: &Call, parts: &Parts) -> Result<(Asked, Slot), Refusal> {
    check_key(parts.headers.get(header::AUTHORIZATION), world.config.key.as_deref())?;
    let asked = Asked::parse(&call.record.query, &call.record.request_id)?;
    if world.config.closed_languages.contains(&asked.language) {
        return Err(Refusal::region(asked.language.as_str()));
    }
    if declared_len(parts) > world.config.max_bytes {
        return Err(too_large(call));
    }
    let subject = Subject { number: call.record.number, content: None };
    if let Some(What::EarlyRefusal { retry_after }) = world.faults.pick(Stage::Arrival, subject) {
        return Err(call.refusal(429, "too many requests; come back later").retry_after(retry_after));
    }
    match world.limits.admit(asked.model) {
        Ok(slot) => Ok((asked, slot)),
        Err(Over::Rate(wait)) => {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let refusal = call.refusal(429, "requests per minute exceeded; come back later");
            Err(refusal.retry_after(Some(seconds.max(1).to_string())))
        }
        Err(Over::Concurrency) => {
            let refusal = call.refusal(429, "too many requests in flight; come back later");
            Err(refusal.retry_after(Some("1".into())))
        }
    }
}

fn declared_len(parts: &Parts) -> u64 {
    let length = parts.headers.get(header::CONTENT_LENGTH);
    length.and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok()).unwrap_or_default()
}

fn too_large(call: &Call) -> Refusal {
    call.refusal(413, "the file is larger than 250 MB")
}

/// Goes on reading for a moment, so that the client is not reset before it has seen the refusal.
fn linger(body: Body) {
    if axum::body::HttpBody::is_end_stream(&body) {
        return;
    }
    tokio::spawn(tokio::time::timeout(LINGER, async move {
        let mut chunks = body.into_data_stream();
        while let Some(Ok(_)) = chunks.next().await {}
    }));
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
async fn take_in(world: &World, call: &mut Call, asked: &Asked, parts: &Parts, body: Body) -> Result<Heard, NotServed> {
    let media_type = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let by_url = media_type.starts_with("application/json");
    let max = if by_url { MAX_JSON } else { world.config.max_bytes };
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
        if !world.config.fetch {
            return Ok(intake::imagine(&url));
        }
        recording = intake::fetch(&world.client, &url, world.config.max_bytes, world.config.fetch_timeout)
            .await
            .map_err(|why| call.refusal(400, &format!("the URL could not be fetched: {why}")))?;
        filename = file_name(&url);
        call.record.bytes = recording.bytes;
    }
    if recording.bytes == 0 {
        return Err(call.refusal(400, "the audio is empty").into());
    }
    match recording.hear().await {
        Ok(Ok(heard)) => Ok(Heard { filename, ..heard }),
        Ok(Err(name)) => Err(call.refusal(400, &format!("this is {name}, not audio")).into()),
        Err(_) => Err(call.refusal(503, "the audio could not be read").into()),
    }
}

fn named_url(call: &Call, asked: &Asked, body: &[u8]) -> Result<String, Refusal> {
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
    world: &World,
    call: &mut Call,
    asked: &Asked,
    heard: &Heard,
    fault: Option<&What>,
    slot: &mut Slot,
) -> Vec<u8> {
    let (text, factor, delay) = match fault {
        Some(What::EmptyText) => (String::new(), 1.0, 0),
        Some(What::WrongDuration(factor)) => (transcript::text(asked, heard), *factor, 0),
        Some(What::Delay(ms)) => (transcript::text(asked, heard), 1.0, *ms),
        _ => (transcript::text(asked, heard), 1.0, 0),
    };
    let takes = world.config.latency + Duration::from_millis(delay);
    let done = Instant::now() + takes;
    let body = transcript::answer(asked, heard, &text, &call.record.request_id, factor);
    // Booked before the wait: the work goes on though the client may leave meanwhile.
    call.record.billed = true;
    world.books.billed(&heard.digest);
    world.logs.push(Entry {
        asked: asked.clone(),
        request_id: call.record.request_id.clone(),
        at: SystemTime::now(),
        ms: heard.ms,
        bytes: heard.bytes,
        transcription: text,
        gender: transcript::gender(asked, heard),
        shown_at: done + world.config.log_lag,
    });
    if !takes.is_zero() {
        slot.works_until(done);
        tokio::time::sleep_until(done.into()).await;
    }
    body
}
