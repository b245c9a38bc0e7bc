//! A response as received: its head, and as much of its body as arrived.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{
    Response, StatusCode,
    header::{HeaderMap, TRANSFER_ENCODING},
};
use tokio::time::{Instant, timeout_at};

use crate::domain::body::{Arrived, Arriving};

/// The largest answer that is read, in bytes.
pub(super) const MAX_ANSWER: u64 = 64 << 20;

/// The largest answer that is received without being read: the limit of its length as received, and of its stored bytes,
/// which are packed.
const MAX_RECEIVED: u64 = 512 << 20;
const MAX_KEPT: usize = 64 << 20;

/// The most bytes that are read of an answer that only explains a failure.
const MAX_EXPLANATION: u64 = 64 * 1024;

/// The longest wait for the rest of such an explanation: the status alone decides the outcome.
const EXPLANATION_WAIT: Duration = Duration::from_secs(10);

/// How the reading of a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The body is complete.
    Complete,
    /// The connection broke.
    Cut,
    /// Our time-out was reached.
    TimedOut,
    /// The body is larger than we read. It may be complete all the same, so that it can be stored.
    TooLong,
}

/// How much of a body is received.
#[derive(Debug, Clone, Copy)]
struct Most {
    /// The limit for reading, in bytes.
    read: u64,
    /// The limit beyond that for storing, in bytes as received.
    taken: u64,
}

/// A response.
#[derive(Debug, Clone)]
pub(super) struct HttpReply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The body. One that is too long is complete or empty.
    pub(super) body: Arrived,
    pub(super) ending: Ending,
    /// Whether the head says where the body ends. If not, a broken connection looks like an end.
    pub(super) framed: bool,
}

impl HttpReply {
    /// Reads an answer that was paid for, to its end or until `deadline`. An answer that is too large to be read is received
    /// nevertheless, if it can be stored.
    pub(super) async fn read_answer(response: Response, deadline: Instant) -> Self {
        Self::read_success(response, Most { read: MAX_ANSWER, taken: MAX_RECEIVED }, deadline).await
    }

    /// Reads a response to its end or until `deadline`, up to `most` bytes.
    pub(super) async fn read(response: Response, most: u64, deadline: Instant) -> Self {
        Self::read_success(response, Most { read: most, taken: most }, deadline).await
    }

    async fn read_success(response: Response, most: Most, deadline: Instant) -> Self {
        if !response.status().is_success() {
            return Self::read_explanation(response, deadline).await;
        }
        if response.content_length().is_some_and(|len| len > most.taken) {
            let (status, headers) = (response.status(), response.headers().clone());
            return Self { status, headers, body: none(), ending: Ending::TooLong, framed: true };
        }
        Self::read_at_most(response, most, deadline).await
    }

    /// Reads a response whose body only explains a failure.
    pub(super) async fn read_explanation(response: Response, deadline: Instant) -> Self {
        let most = Most { read: MAX_EXPLANATION, taken: MAX_EXPLANATION };
        Self::read_at_most(response, most, deadline.min(Instant::now() + EXPLANATION_WAIT)).await
    }

    async fn read_at_most(mut response: Response, most: Most, deadline: Instant) -> Self {
        let (status, headers, framed) = (response.status(), response.headers().clone(), is_framed(&response));
        let mut body = Arriving::default();
        let ending = loop {
            match timeout_at(deadline, response.chunk()).await {
                Err(_) => break Ending::TimedOut,
                Ok(Err(_)) => break Ending::Cut,
                Ok(Ok(None)) => break Ending::Complete,
                Ok(Ok(Some(chunk))) if body.len() + chunk.len() as u64 > most.taken => break Ending::TooLong,
                Ok(Ok(Some(chunk))) => body.push(&chunk),
            }
            if body.len() > most.read && body.kept() > MAX_KEPT {
                break Ending::TooLong;
            }
        };
        let is_long = body.len() > most.read;
        let (body, ending) = match ending {
            Ending::Complete if is_long => (body.finish(), Ending::TooLong),
            // The body was too large already, however it ended, and an incomplete one is useless.
            Ending::Cut | Ending::TimedOut | Ending::TooLong if is_long => (none(), Ending::TooLong),
            ending => (body.finish(), ending),
        };
        Self { status, headers, body, ending, framed }
    }

    /// The body of a reply that only explains a failure.
    pub(super) fn explanation(&self) -> &[u8] {
        match &self.body {
            Arrived::Whole(body) => body,
            Arrived::Packed(_) => &[],
        }
    }

    /// A header's value, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        header(&self.headers, name)
    }
}

fn none() -> Arrived {
    Arrived::Whole(Bytes::new())
}

/// A header's value, if it is text.
pub(super) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_owned()).filter(|value| !value.is_empty())
}

/// Whether the head of a response says where its body ends.
pub(super) fn is_framed(response: &Response) -> bool {
    response.content_length().is_some() || response.headers().contains_key(TRANSFER_ENCODING)
}
