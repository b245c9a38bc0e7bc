//! A task's own endpoint: it takes JSON, and the task itself reads the answer. Departure, time-outs and the API's errors are
//! the same as for every call.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    answer::HttpReply,
    classify::{FailedReply, incomplete, request_id},
    client::{Client, expiring, name},
    gate::Departure,
    send::Content,
};
use crate::domain::{
    body::Body,
    call::{CallFailure, ErrorKind, Outcome},
    options::ExpireContent,
};

/// A request for a task's own endpoint.
#[derive(Debug, Clone, Copy)]
pub struct EndpointCall<'a> {
    /// The path below the base URL; begins with `/`.
    pub path: &'a str,
    /// The JSON to send.
    pub body: &'a Value,
    /// Whether the content is to expire.
    pub expire: ExpireContent,
    /// The call's id in the journal.
    pub call_id: &'a str,
}

/// A complete answer. Only its task can decide whether it is usable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointAnswer {
    /// The body, byte for byte.
    pub body: Body,
    /// The vendor's request id.
    pub request_id: Option<String>,
    /// `x-content-expiry`, if the answer has it.
    pub content_expiry: Option<String>,
}

impl Client {
    /// Sends JSON to an endpoint and returns how the call ended, at the latest after `timeout`.
    ///
    /// `departs` is called as for [`Client::transcribe`].
    pub async fn post(
        &self,
        call: &EndpointCall<'_>,
        departs: impl FnOnce() -> Departure + Send + 'static,
        timeout: Duration,
    ) -> Outcome<EndpointAnswer> {
        let start = Instant::now();
        let body = call.body.to_string();
        let len = body.len() as u64;
        let request = self.http.post(self.endpoint(call.path)).header(CONTENT_TYPE, "application/json");
        let content = (Content::Whole(Some(body.into())), len);
        let request = expiring(request, call.expire);
        let outcome = self.buy(request, content, departs, start + timeout, outcome_of).await;
        let outcome = self.with_path(outcome, call.path);
        let elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(call.id = call.call_id, elapsed_ms, outcome = name(&outcome), "call ended");
        outcome
    }
}

/// The outcome of a reply: a complete success is an answer.
pub(super) fn outcome_of(reply: HttpReply) -> Outcome<EndpointAnswer> {
    if !reply.status.is_success() {
        return FailedReply::of(&reply).into();
    }
    let request_id = request_id(&reply, None);
    if let Some(outcome) = incomplete(reply.ending, reply.status, request_id.clone(), None) {
        return outcome;
    }
    if !reply.framed {
        let message = "the answer does not say where it ends, so it may be cut";
        let status = Some(reply.status.as_u16());
        return Outcome::Unknown(CallFailure { status, request_id, ..CallFailure::new(ErrorKind::Truncated, message) });
    }
    let content_expiry = reply.header("x-content-expiry");
    Outcome::Answered(EndpointAnswer { body: reply.body.into_body(), request_id, content_expiry })
}
