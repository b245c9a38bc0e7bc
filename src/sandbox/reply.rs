//! How a call is answered: with what was made, or with what was scripted in its place.

use std::{convert::Infallible, io, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, stream};

use super::{
    errors::{Refusal, Shape},
    faults::{StatusFault, What},
    limits::Slot,
};

/// How a call is answered.
pub(super) enum Reply {
    /// In one piece.
    Whole(Response),
    /// In pieces, with a pause before each; in flight until the last.
    Drip(Bytes, Duration, Slot),
    /// Half of it, under the length of the whole.
    Half(Bytes),
    /// By a reset.
    Cut,
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::Whole(refusal.into_response())
    }
}

/// What is sent after the work: the answer, or what was scripted in its place.
pub(super) fn reply(fault: Option<What>, answer: Vec<u8>, slot: Slot, request_id: &str) -> Reply {
    match fault {
        Some(What::CutAfterWork) => Reply::Cut,
        Some(What::Truncated) => Reply::Half(answer.into()),
        Some(What::Drip(ms)) => Reply::Drip(answer.into(), Duration::from_millis(ms), slot),
        Some(What::Status(status)) => scripted(&status, request_id).into(),
        Some(What::Garbage200) => Reply::Whole(success("application/json", "{\"status\": \"succ")),
        Some(What::Empty200) => Reply::Whole(success("application/json", "")),
        Some(What::WrongType200) => Reply::Whole(success("text/html", "<html><body>welcome</body></html>")),
        _ => Reply::Whole(success("application/json", answer)),
    }
}

pub(super) fn scripted(fault: &StatusFault, request_id: &str) -> Refusal {
    let natural = if fault.code == 401 { Shape::BadKey } else { Shape::Stt };
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

/// Some ten pieces, each after a pause.
pub(super) fn drip(body: Bytes, pause: Duration, slot: Slot) -> Response {
    let (len, size) = (body.len(), body.len().div_ceil(10).max(1));
    let pieces = stream::unfold((body, slot), move |(mut rest, slot)| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let piece = rest.split_to(size.min(rest.len()));
        Some((Ok::<_, Infallible>(piece), (rest, slot)))
    });
    let mut response = success("application/json", Body::from_stream(pieces));
    response.headers_mut().insert(header::CONTENT_LENGTH, len.into());
    response
}

/// The first half, then an error that closes the connection.
pub(super) fn half(body: &Bytes) -> Response {
    let first = body.slice(..body.len() / 2);
    let pieces = stream::iter([Ok(first)]).chain(stream::once(async {
        // Once round, so that the first half is on its way before the connection goes.
        tokio::task::yield_now().await;
        Err(io::Error::from(io::ErrorKind::UnexpectedEof))
    }));
    let mut response = success("application/json", Body::from_stream(pieces));
    response.headers_mut().insert(header::CONTENT_LENGTH, body.len().into());
    response
}
