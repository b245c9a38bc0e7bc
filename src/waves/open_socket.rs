//! Opens WebSockets, over upgraded requests of the same client: with the same key, roots, proxy and time-outs as every other
//! call.
//!
//! Opening a socket costs nothing. What is sent over it may cost money, so each request on a socket is a call of its own: it
//! departs once the socket is open.

use reqwest::{
    RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

use super::{
    answer::{HttpReply, header},
    classify::FailedReply,
    client::Client,
    socket::Socket,
};
use crate::domain::call::{CallFailure, ErrorKind, Outcome};

impl Client {
    /// Opens a socket; `request` has the path, the query and the call's own headers.
    ///
    /// # Errors
    /// The outcome of the call: nothing was sent that could be billed.
    pub(super) async fn open_socket<A>(
        &self,
        request: RequestBuilder,
        deadline: Instant,
    ) -> Result<Socket, Outcome<A>> {
        let key = generate_key();
        let request = request
            .header(AUTHORIZATION, self.bearer.clone())
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &key);
        let response = match timeout_at(deadline, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(Outcome::NotSent(self.unreached(Some(error)))),
            Err(_) => return Err(Outcome::NotSent(self.unreached(None))),
        };
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refused(response, deadline).await);
        }
        let accepted = header(response.headers(), SEC_WEBSOCKET_ACCEPT.as_str());
        if accepted.as_deref() != Some(&derive_accept_key(key.as_bytes())) {
            return Err(no_socket(response.status(), "something on the way answered for it"));
        }
        let (request_id, content_expiry) =
            ["x-request-id", "x-content-expiry"].map(|name| header(response.headers(), name)).into();
        let upgraded = match timeout_at(deadline, response.upgrade()).await {
            Ok(Ok(upgraded)) => upgraded,
            Ok(Err(error)) => return Err(Outcome::NotSent(self.unreached(Some(error)))),
            Err(_) => return Err(Outcome::NotSent(self.unreached(None))),
        };
        Ok(Socket::over(upgraded, request_id, content_expiry).await)
    }
}

/// The outcome of a request that opened no socket.
async fn refused<A>(response: Response, deadline: Instant) -> Outcome<A> {
    let status = response.status();
    let reply = HttpReply::read_explanation(response, deadline).await;
    if status.is_success() || status.is_informational() {
        return no_socket(status, "the path may be another one, or a proxy on the way knows no sockets");
    }
    match FailedReply::of(&reply) {
        FailedReply::Refused(failure) => Outcome::Refused(failure),
        // Whoever answered, nothing was sent that could be worked on.
        FailedReply::Unknown(failure) => Outcome::NotSent(failure),
    }
}

fn no_socket<A>(status: StatusCode, why: &str) -> Outcome<A> {
    let message = format!("the API opened no socket ({}): {why}", status.as_u16());
    Outcome::Refused(CallFailure { status: Some(status.as_u16()), ..CallFailure::new(ErrorKind::BadRequest, message) })
}
