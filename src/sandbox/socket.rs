//! Sockets as a server has them.

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use futures::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        handshake::derive_accept_key,
        protocol::{CloseFrame, Role},
    },
};

use super::{
    errors::{ErrorShape, Refusal},
    wire::Wire,
};

/// The client at the other end of a socket.
#[derive(Debug)]
pub(super) struct Peer(WebSocketStream<TokioIo<Upgraded>>);

/// The response that opens a socket, and the socket once it is open.
pub(super) fn upgrade(
    request: &mut Request,
) -> Result<(Response, impl Future<Output = Option<Peer>> + Send + use<>), Refusal> {
    let headers = request.headers();
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| {
        names(headers, header::CONNECTION.as_str(), "upgrade")
            && names(headers, header::UPGRADE.as_str(), "websocket")
            && names(headers, header::SEC_WEBSOCKET_VERSION.as_str(), "13")
    });
    let Some(key) = key else {
        return Err(Refusal::shaped(426, ErrorShape::Tts, "this is a socket's address", ""));
    };
    let accept = derive_accept_key(key.as_bytes());
    let upgrading = hyper::upgrade::on(request);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let accept = HeaderValue::from_str(&accept).expect("base64 is ASCII");
    response.headers_mut().extend([
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_ACCEPT, accept),
    ]);
    let opening = async move {
        let upgraded = upgrading.await.ok()?;
        Some(Peer(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await))
    };
    Ok((response, opening))
}

/// Whether a header has this value among others.
fn names(headers: &HeaderMap, name: &str, value: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|own| own.to_str().ok());
    values.flat_map(|own| own.split(',')).any(|own| own.trim().eq_ignore_ascii_case(value))
}

impl Peer {
    /// The next message, and whether it is text; `None`: the client has gone.
    pub(super) async fn next(&mut self) -> Option<(Bytes, bool)> {
        loop {
            match self.0.next().await?.ok()? {
                Message::Text(text) => return Some((text.into(), true)),
                Message::Binary(bytes) => return Some((bytes, false)),
                Message::Close(_) => return None,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Sends a message; whether the client is still there.
    pub(super) async fn send(&mut self, message: &Value) -> bool {
        self.0.send(Message::text(message.to_string())).await.is_ok()
    }

    /// Closes the socket, with a code and a reason where they are given.
    pub(super) async fn close(mut self, why: Option<(u16, &str)>) {
        let frame = why.map(|(code, reason)| CloseFrame { code: code.into(), reason: reason.to_owned().into() });
        if self.0.close(frame).await.is_ok() {
            // The client's farewell.
            while let Some(Ok(_)) = self.0.next().await {}
        }
    }

    /// Resets the connection.
    pub(super) async fn cut(mut self, wire: &Wire) {
        wire.cut();
        let _ = self.0.send(Message::Ping(Vec::new().into())).await;
    }
}
