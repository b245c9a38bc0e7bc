//! A response as it comes off the wire: its head, and as much of its body as there is.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{
    Response, StatusCode,
    header::{HeaderMap, TRANSFER_ENCODING},
};
use tokio::time::{Instant, timeout_at};

/// The most that an answer may weigh.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// The most that is read of an answer that only explains a failure.
const MAX_EXPLANATION: usize = 64 * 1024;

/// The longest wait for the rest of such an explanation: its status has already said what counts.
const EXPLANATION_WAIT: Duration = Duration::from_secs(10);

/// How the reading of a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is all there.
    Complete,
    /// The connection broke.
    Cut,
    /// Our time was up.
    TimedOut,
    /// It is larger than we read.
    TooLong,
}

/// A response.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) ending: Ending,
    /// Whether the head says where the body ends. Where it does not, a cut looks like an end.
    pub(super) framed: bool,
}

impl Reply {
    /// Reads a response to its end, or until `deadline`.
    pub(super) async fn read(mut response: Response, deadline: Instant) -> Self {
        let status = response.status();
        let headers = response.headers().clone();
        let framed = response.content_length().is_some() || headers.contains_key(TRANSFER_ENCODING);
        let (most, deadline) = if status.is_success() {
            (MAX_ANSWER, deadline)
        } else {
            (MAX_EXPLANATION, deadline.min(Instant::now() + EXPLANATION_WAIT))
        };
        let mut body = BytesMut::new();
        let ending = loop {
            match timeout_at(deadline, response.chunk()).await {
                Err(_) => break Ending::TimedOut,
                Ok(Err(_)) => break Ending::Cut,
                Ok(Ok(None)) => break Ending::Complete,
                Ok(Ok(Some(chunk))) if body.len() + chunk.len() > most => break Ending::TooLong,
                Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
            }
        };
        Self { status, headers, body: body.freeze(), ending, framed }
    }

    /// A header's value, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        Some(self.headers.get(name)?.to_str().ok()?.trim().to_owned()).filter(|value| !value.is_empty())
    }
}
