//! A response as it comes off the wire: its head, and as much of its body as there is.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{
    Response, StatusCode,
    header::{HeaderMap, TRANSFER_ENCODING},
};
use tokio::time::{Instant, timeout_at};

use crate::domain::body::{Arrived, Arriving};

/// The most that an answer may weigh, in bytes, to be read.
pub(super) const MAX_ANSWER: u64 = 64 << 20;

/// The most that is taken in of an answer that is too large to be read: its length as it comes, and what is kept of it,
/// which is packed.
const MAX_TAKEN: u64 = 512 << 20;
const MAX_KEPT: usize = 64 << 20;

/// The most that is read of an answer that only explains a failure.
const MAX_EXPLANATION: u64 = 64 * 1024;

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
    /// It is larger than we read. It may be there all the same, to be kept.
    TooLong,
}

/// How much is taken in of a body.
#[derive(Debug, Clone, Copy)]
struct Most {
    /// To be read, in bytes.
    read: u64,
    /// To be kept beyond that, in bytes as they come.
    taken: u64,
}

/// A response.
#[derive(Debug, Clone)]
pub(super) struct HttpReply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Of one that is too long: all of it, or nothing.
    pub(super) body: Arrived,
    pub(super) ending: Ending,
    /// Whether the head says where the body ends. Where it does not, a cut looks like an end.
    pub(super) framed: bool,
}

impl HttpReply {
    /// Reads an answer that was paid for, to its end or until `deadline`. One that is too large to be read is taken in all
    /// the same, if it can be kept.
    pub(super) async fn read_answer(response: Response, deadline: Instant) -> Self {
        Self::read_success(response, Most { read: MAX_ANSWER, taken: MAX_TAKEN }, deadline).await
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

    /// Reads a response whose body is only there to say why there is nothing else.
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
            // However it ended, it was too large before, and half of it is of no use.
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
