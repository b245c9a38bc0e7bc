//! How a call is answered: with what was made, or with what was scripted in its place.

use std::{convert::Infallible, io, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures::{Stream, StreamExt, stream};

use super::{
    errors::{ErrorShape, Refusal},
    faults::{StatusFault, What},
    limits::Slot,
};

/// In how many pieces a drip comes.
pub(super) const PIECES: u32 = 10;

/// What the work made.
pub(super) struct Made {
    media_type: &'static str,
    body: Bytes,
    /// How many bytes of it are sent at a time; all at once, under their length, if absent.
    pieces: Option<usize>,
}

impl Made {
    pub(super) fn whole(media_type: &'static str, body: Vec<u8>) -> Self {
        Self { media_type, body: body.into(), pieces: None }
    }

    pub(super) fn stream(body: Vec<u8>, pieces: usize) -> Self {
        Self { media_type: "text/event-stream", body: body.into(), pieces: Some(pieces) }
    }

    fn sent(self) -> Response {
        let Some(size) = self.pieces else { return success(self.media_type, self.body) };
        let pieces = stream::unfold(self.body, move |mut rest| async move {
            if rest.is_empty() {
                return None;
            }
            let piece = rest.split_to(size.min(rest.len()));
            Some((Ok::<_, Infallible>(piece), rest))
        });
        success(self.media_type, Body::from_stream(pieces))
    }
}

/// How a call is answered.
pub(super) enum SandboxReply {
    /// In one piece.
    Whole(Response),
    /// In pieces, with a pause before each; in flight until the last.
    Drip(Made, Duration, Slot),
    /// Half of it, under the length of the whole.
    Half(Made),
    /// By a reset.
    Cut,
}

impl From<Refusal> for SandboxReply {
    fn from(refusal: Refusal) -> Self {
        Self::Whole(refusal.into_response())
    }
}

/// What is sent after the work: what was made, or what was scripted in its place, in the endpoint's shape.
pub(super) fn reply(
    fault: Option<What>,
    made: Made,
    slot: Slot,
    (shape, request_id): (ErrorShape, &str),
) -> SandboxReply {
    const ERROR: &str = "{\"error\": \"InternalServerError\", \"message\": \"scripted by the sandbox\"}";
    let useless = |media_type, body: &'static str| SandboxReply::Whole(success(media_type, body));
    match fault {
        Some(What::CutAfterWork) => SandboxReply::Cut,
        Some(What::Truncated) => SandboxReply::Half(made),
        Some(What::Drip(ms)) => SandboxReply::Drip(made, Duration::from_millis(ms), slot),
        Some(What::Status(status)) => scripted(&status, shape, request_id).into(),
        Some(What::Garbage200) => useless("application/json", "{\"status\": \"succ"),
        Some(What::Json200) => useless("application/json", ERROR),
        Some(What::Empty200) => useless(made.media_type, ""),
        Some(What::WrongType200) => useless("text/html", "<html><body>welcome</body></html>"),
        Some(What::Short200) => {
            let body = made.body.slice(..made.body.len() / 2);
            SandboxReply::Whole(Made { body, ..made }.sent())
        }
        _ => SandboxReply::Whole(made.sent()),
    }
}

/// A refusal with a status of its own; `shape` is the endpoint's.
pub(super) fn scripted(fault: &StatusFault, shape: ErrorShape, request_id: &str) -> Refusal {
    let natural = if fault.code == 401 { ErrorShape::BadKey } else { shape };
    let message = fault.message.as_deref().unwrap_or("scripted by the sandbox");
    let mut refusal = Refusal::shaped(fault.code, fault.shape.unwrap_or(natural), message, request_id);
    if let Some(body) = &fault.body {
        refusal.body.clone_from(body);
    }
    refusal.retry_after(fault.retry_after.clone())
}

fn success(media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Some ten pieces, each after a pause; in flight until the last.
pub(super) fn drip(made: Made, pause: Duration, slot: Slot) -> Response {
    let len = made.body.len();
    let pieces = in_pieces(made.body, pause).map(move |piece| {
        let _in_flight = &slot;
        piece
    });
    let mut response = success(made.media_type, Body::from_stream(pieces));
    response.headers_mut().insert(header::CONTENT_LENGTH, len.into());
    response
}

/// The first half under the length of the whole.
pub(super) fn half(made: &Made) -> Response {
    let mut response = success(made.media_type, Body::from_stream(halved(made.body.clone())));
    response.headers_mut().insert(header::CONTENT_LENGTH, made.body.len().into());
    response
}

/// At most ten pieces, each after a pause.
pub(super) fn in_pieces(body: Bytes, pause: Duration) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
    let size = body.len().div_ceil(PIECES as usize).max(1);
    stream::unfold(body, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let piece = rest.split_to(size.min(rest.len()));
        Some((Ok(piece), rest))
    })
}

/// The first half, then an error that closes the connection.
pub(super) fn halved(body: Bytes) -> impl Stream<Item = io::Result<Bytes>> + use<> {
    stream::iter([Ok(body.slice(..body.len() / 2))]).chain(stream::once(async {
        // Once round, so that the first half is on its way before the connection goes.
        tokio::task::yield_now().await;
        Err(io::Error::from(io::ErrorKind::UnexpectedEof))
    }))
}
