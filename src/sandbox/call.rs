//! What all calls that may cost money have in common: their place in the books, their limits, and how they end.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    body::{Body, HttpBody},
    http::{StatusCode, header, request::Parts},
    response::Response,
};
use futures::StreamExt;
use uuid::Uuid;

use super::{
    HandlerState,
    books::{Digest, Record},
    errors::{ErrorShape, Refusal, check_key},
    faults::{FaultStage, Subject, What},
    limits::{Lane, Over, Slot},
    reply::{SandboxReply, drip, half, scripted},
    wire::Wire,
};
use crate::domain::hex::hex;

/// How long what is still being sent is read after an early refusal, so that the client gets to see it.
const LINGER: Duration = Duration::from_secs(1);

/// A call, which ends in the books however it ends.
pub(super) struct Call {
    pub state: Arc<HandlerState>,
    pub record: Record,
    /// How its endpoint says no.
    pub shape: ErrorShape,
    /// The size of its content, and how many calls brought that so far.
    content: (u64, u64),
}

impl Call {
    pub(super) fn arrived(state: &Arc<HandlerState>, parts: &Parts, shape: ErrorShape) -> Self {
        let number = state.books.arrived();
        state.arrivals.send_modify(|n| *n += 1);
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = Record {
            number,
            at_ms: since_1970.as_millis() as i64,
            request_id: Uuid::now_v7().to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            ..Record::default()
        };
        Self { state: Arc::clone(state), record, shape, content: (0, 0) }
    }

    /// A refusal in the endpoint's own shape.
    pub(super) fn refusal(&self, status: u16, message: &str) -> Refusal {
        Refusal::shaped(status, self.shape, message, &self.record.request_id)
    }

    pub(super) fn check_key(&self, parts: &Parts) -> Result<(), Refusal> {
        check_key(parts.headers.get(header::AUTHORIZATION), self.state.config.key.as_deref())
    }

    /// A place in flight, unless a limit or a script says no.
    pub(super) fn admit(&self, lane: impl Into<Lane>) -> Result<Slot, Refusal> {
        let subject = Subject { number: self.record.number, ..Subject::default() };
        if let Some(What::EarlyRefusal { retry_after }) = self.state.faults.pick(FaultStage::Arrival, subject) {
            return Err(self.refusal(429, "too many requests; come back later").retry_after(retry_after));
        }
        match self.state.limits.admit(lane) {
            Ok(slot) => Ok(slot),
            Err(Over::Rate(wait)) => {
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                let refusal = self.refusal(429, "requests per minute exceeded; come back later");
                Err(refusal.retry_after(Some(seconds.max(1).to_string())))
            }
            Err(Over::Concurrency) => {
                let refusal = self.refusal(429, "too many requests in flight; come back later");
                Err(refusal.retry_after(Some("1".into())))
            }
        }
    }

    /// Notes the content of a call whose end is known by now.
    pub(super) fn count(&mut self, digest: &Digest, bytes: u64) {
        self.content = (bytes, self.state.books.received(digest, bytes));
        self.record.sha256 = Some(hex(digest));
    }

    /// All of the call is there: notes it, and looks for what is to befall it. What befalls it before the work is its
    /// reply.
    pub(super) fn received(&mut self, digest: &Digest, bytes: u64) -> Result<Option<What>, Box<SandboxReply>> {
        self.count(digest, bytes);
        let fault = self.fault(FaultStage::Received);
        match &fault {
            Some(What::CutBeforeWork) => Err(Box::new(SandboxReply::Cut)),
            Some(What::Html(code)) => Err(Box::new(Refusal::shaped(*code, ErrorShape::Html, "", "").into())),
            Some(What::Status(status)) if !status.billed => {
                Err(Box::new(scripted(status, self.shape, &self.record.request_id).into()))
            }
            _ => Ok(fault),
        }
    }

    /// Whether no call brought its content before.
    pub(super) const fn is_first_of_its_content(&self) -> bool {
        self.content.1 == 1
    }

    /// What is to befall it at this stage.
    pub(super) fn fault(&self, stage: FaultStage) -> Option<What> {
        let content = self.record.sha256.as_deref().map(|sha| (sha, self.content.0, self.content.1));
        let subject = Subject { number: self.record.number, content, text: self.record.text.as_deref() };
        self.state.faults.pick(stage, subject)
    }

    /// Waits until a call may be told that it is accepted.
    pub(super) async fn accepted(&self, fault: Option<&What>) {
        self.worked(done_at(Duration::ZERO, fault), fault).await;
    }

    /// Bills the call; when its work will be done.
    ///
    /// Before the work is waited for, because it goes on though the client may leave meanwhile.
    pub(super) fn bill(&mut self, digest: &Digest, fault: Option<&What>, slot: &mut Slot) -> Instant {
        let done = done_at(self.state.config.latency, fault);
        self.record.billed = true;
        self.state.books.billed(digest, self.record.characters.unwrap_or_default());
        slot.works_until(done);
        done
    }

    /// Waits until the work is done and the gate is open.
    pub(super) async fn worked(&self, done: Instant, fault: Option<&What>) {
        if done > Instant::now() {
            tokio::time::sleep_until(done.into()).await;
        }
        self.state.gate.pass(matches!(fault, Some(What::Hang))).await;
    }

    /// The response, as the call's record has it.
    pub(super) fn respond(&mut self, reply: SandboxReply, parts: &Parts, wire: &Wire) -> Response {
        let (mut response, is_whole) = match reply {
            SandboxReply::Whole(response) => (response, true),
            SandboxReply::Drip(made, pause, slot) => (drip(made, pause, slot), true),
            SandboxReply::Half(made) => (half(&made), false),
            SandboxReply::Cut => {
                wire.cut();
                return Response::new(Body::empty());
            }
        };
        let expires = parts.headers.get("x-expire-content").is_some_and(|v| v == "true");
        if response.status() == StatusCode::OK && expires {
            response.headers_mut().insert("x-content-expiry", self.state.content_expiry.clone());
        }
        self.record.status = is_whole.then(|| response.status().as_u16());
        response
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.state.books.ended(mem::take(&mut self.record));
    }
}

/// When work that begins now is done.
fn done_at(latency: Duration, fault: Option<&What>) -> Instant {
    let delay = if let Some(What::Delay(ms)) = fault { Duration::from_millis(*ms) } else { Duration::ZERO };
    Instant::now() + latency + delay
}

/// The length that the head of a call gives.
pub(super) fn declared_len(parts: &Parts) -> u64 {
    let length = parts.headers.get(header::CONTENT_LENGTH);
    length.and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok()).unwrap_or_default()
}

/// Goes on reading for a moment, so that the client is not reset before it has seen the refusal.
pub(super) fn linger(body: Body) {
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(tokio::time::timeout(LINGER, async move {
        let mut chunks = body.into_data_stream();
        while let Some(Ok(_)) = chunks.next().await {}
    }));
}
