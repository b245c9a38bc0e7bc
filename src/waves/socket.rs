//! An open WebSocket to the API: its messages, and what its end means.

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use reqwest::{StatusCode, Upgraded, header::HeaderMap};
use serde_json::Value;
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::CapacityError,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    answer::{Ending, HttpReply},
    classify::FailedReply,
    errors::Said,
    words,
};
use crate::domain::{
    body::Arrived,
    call::{CallFailure, ErrorKind, Outcome},
};

/// The longest message, in bytes: longer than the audio of any one call.
const LONGEST: usize = 16 << 20;
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// An open socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: WebSocketStream<Upgraded>,
    /// `x-request-id` of the answer that opened it.
    pub(super) request_id: Option<String>,
    /// `x-content-expiry` of that answer.
    pub(super) content_expiry: Option<String>,
}

/// A message of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SocketMessage {
    /// A text, in practice JSON.
    Text(Bytes),
    /// Bytes.
    Binary(Bytes),
}

/// Why a socket brings nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SocketEnd {
    /// The server closed it; `code` is its reason as a number (RFC 6455, 7.4).
    Closed {
        /// `None`: it gave no reason.
        code: Option<u16>,
        /// The reason in words, cleaned.
        reason: String,
    },
    /// The connection broke.
    Broken(String),
    /// A message is longer than any that is read.
    TooLong,
}

impl fmt::Display for SocketEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { code: None, .. } => f.write_str("the API closed the socket"),
            Self::Closed { code: Some(code), reason } if reason.is_empty() => {
                write!(f, "the API closed the socket ({code})")
            }
            Self::Closed { code: Some(code), reason } => write!(f, "the API closed the socket ({code}: {reason})"),
            Self::Broken(why) => write!(f, "the connection broke: {why}"),
            Self::TooLong => write!(f, "a message is longer than {} MB", LONGEST >> 20),
        }
    }
}

impl SocketEnd {
    /// Whether the server closed the socket because there are too many, or it has no room: nothing was worked on.
    pub(super) const fn is_full(&self) -> bool {
        matches!(self, Self::Closed { code: Some(1008 | 1013), .. })
    }
}

impl Socket {
    /// A socket over the connection of a response that opened it.
    pub(super) async fn over(upgraded: Upgraded, request_id: Option<String>, content_expiry: Option<String>) -> Self {
        let config = WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST));
        let stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
        Self { stream, request_id: request_id.map(|id| words::clean(&id)), content_expiry }
    }

    /// Sends a text.
    ///
    /// # Errors
    /// The socket is at its end. A part of the text may have left.
    pub(super) async fn send(&mut self, text: String) -> Result<(), SocketEnd> {
        self.stream.send(Message::text(text)).await.map_err(|error| end_of(&error))
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The socket is at its end. A part of the bytes may have left.
    pub(super) async fn send_bytes(&mut self, bytes: Bytes) -> Result<(), SocketEnd> {
        self.stream.send(Message::binary(bytes)).await.map_err(|error| end_of(&error))
    }

    /// The next message. Pings are answered on the way.
    ///
    /// # Errors
    /// The socket is at its end.
    pub(super) async fn next(&mut self) -> Result<SocketMessage, SocketEnd> {
        loop {
            return match self.stream.next().await {
                None => Err(SocketEnd::Broken("it ended without a farewell".into())),
                Some(Err(error)) => Err(end_of(&error)),
                Some(Ok(Message::Text(text))) => Ok(SocketMessage::Text(text.into())),
                Some(Ok(Message::Binary(bytes))) => Ok(SocketMessage::Binary(bytes)),
                Some(Ok(Message::Close(frame))) => Err(SocketEnd::Closed {
                    code: frame.as_ref().map(|frame| frame.code.into()),
                    reason: frame.map(|frame| words::clean(&frame.reason)).unwrap_or_default(),
                }),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            };
        }
    }

    /// Whether it is open, and nothing has come that nobody asked for.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.next().now_or_never().is_none()
    }

    /// Says farewell, if that is possible at once.
    pub(super) async fn close(mut self) {
        let _ = timeout(FAREWELL, self.stream.close(None)).await;
    }
}

fn end_of(error: &Error) -> SocketEnd {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => SocketEnd::Closed { code: None, reason: String::new() },
        Error::Capacity(CapacityError::MessageTooLong { .. }) => SocketEnd::TooLong,
        other => SocketEnd::Broken(words::chain(other)),
    }
}

/// The outcome of an error that came over a socket. Before anything of the answer, one with a status means what that status
/// means elsewhere; else the call may have been billed.
pub(super) fn of_error<A>(error: &Value, has_begun: bool, request_id: Option<String>) -> Outcome<A> {
    let body = error.to_string();
    if !has_begun && let Some(status) = status_in(error) {
        let (body, headers) = (Arrived::Whole(body.into()), HeaderMap::new());
        return FailedReply::of(&HttpReply { status, headers, body, ending: Ending::Complete, framed: true }).into();
    }
    let said = Said::read(body.as_bytes());
    let why = said.words.map(|words| format!(": {words}")).unwrap_or_default();
    let message = format!("the API took the request, but its stream tells of an error{why}");
    let request_id = said.request_id.or(request_id).map(|id| words::clean(&id));
    Outcome::Unusable(CallFailure { request_id, ..CallFailure::new(ErrorKind::UnusableAnswer, message) })
}

/// The status of an error, where it names one.
fn status_in(error: &Value) -> Option<StatusCode> {
    let of = |fields: &Value| {
        ["status_code", "statusCode", "code", "status"].into_iter().find_map(|name| {
            let field = fields.get(name)?;
            let code = field.as_u64().or_else(|| field.as_str()?.parse().ok())?;
            u16::try_from(code).ok().filter(|code| (400..600).contains(code))
        })
    };
    let code = of(error).or_else(|| of(error.get("error")?)).or_else(|| of(error.get("data")?))?;
    StatusCode::from_u16(code).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_has_the_status_that_it_names() {
        for (error, status) in [
            (json!({"status": "error", "status_code": 429}), Some(429)),
            (json!({"status": "error", "error": {"code": "503"}}), Some(503)),
            (json!({"status": 400, "message": "x"}), Some(400)),
            (json!({"status": "error", "error": {"code": "invalid"}}), None),
            (json!({"status": "error", "code": 200}), None),
        ] {
            assert_eq!(status_in(&error).map(|status| status.as_u16()), status, "{error}");
        }
    }
}
