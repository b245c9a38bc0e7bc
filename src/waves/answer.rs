//! A response as it comes off the wire: its head, and as much of its body as there is.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{
    Response, StatusCode,
    header::{HeaderMap, TRANSFER_ENCODING},
};
use tokio::time::{Instant, timeout_at};

/// The most that an answer may weigh.
pub(super) const MAX_ANSWER: usize = 64 * 1024 * 1024;

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
    pub(super) async fn read(response: Response, deadline: Instant) -> Self {
        if response.status().is_success() {
            Self::read_at_most(response, MAX_ANSWER, deadline).await
        } else {
            Self::read_explanation(response, deadline).await
        }
    }

    /// Reads a response whose body is only there to say why there is nothing else.
    pub(super) async fn read_explanation(response: Response, deadline: Instant) -> Self {
        Self::read_at_most(response, MAX_EXPLANATION, deadline.min(Instant::now() + EXPLANATION_WAIT)).await
    }

    async fn read_at_most(mut response: Response, most: usize, deadline: Instant) -> Self {
        let (status, headers, framed) = (response.status(), response.headers().clone(), is_framed(&response));
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
        header(&self.headers, name)
    }
}

/// A header's value, if it is text.
pub(super) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned()).filter(|value| !value.is_empty())
}

/// Whether the head of a response says where its body ends.
pub(super) fn is_framed(response: &Response) -> bool {
    response.content_length().is_some() || response.headers().contains_key(TRANSFER_ENCODING)
}
