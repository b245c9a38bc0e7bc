//! Receives callbacks. Each is authenticated by its URL before its body is read, and stored before it is acknowledged.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body as Incoming,
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    Metrics,
    refusal::Refusal,
    secret::Secrets,
    serve::{Listening, ServerTimeouts},
};
use crate::{
    crash,
    domain::{
        body::{Arrived, Arriving},
        callback::{call_of, is_probe},
        cost::Rates,
        job::CallId,
        options::SttModel,
    },
    large::look_into,
    store::{Callback, CallbackContent, Effect, Expected, Store, StoreError},
    waves::{Posted, read_callback},
};

/// The maximum size of a callback, in bytes.
const MAX_BODY: u64 = 64 << 20;
/// The memory for bodies that are being read or are not on disk yet, in KiB: four of the largest.
const ROOM: u32 = 512 << 10;
/// The minimum memory per body, in KiB, with its overhead.
const LEAST_ROOM: u32 = 16;
/// The memory while a body is read, as a multiple of its length: the body, and its compressed form or its longest
/// text.
const WHILE_READ: u64 = 2;
/// The memory until a body is on disk, as a multiple of its stored size: the body, and the copy of the ledger's
/// driver.
const WHILE_KEPT: u64 = 3;
/// The assumed size of a body without a declared length, in bytes, until more has arrived.
const ASSUMED_BODY: u64 = 1 << 20;
/// The wait before a retry while the ledger cannot be written, in seconds.
const RETRY_AFTER: &str = "10";

/// The settings of a receiver.
#[derive(Debug, Clone)]
pub struct ReceiverSettings {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The secrets of callback URLs.
    pub secrets: Secrets,
    /// List prices.
    pub rates: Rates,
    /// The time limits.
    pub timeouts: ServerTimeouts,
    /// The metrics that count callbacks.
    pub metrics: Metrics,
}

/// A running receiver. It stops when dropped.
#[derive(Debug)]
pub struct Receiver(Listening);

#[derive(Debug)]
struct ReceiverState {
    store: Store,
    secrets: Secrets,
    rates: Rates,
    timeouts: ServerTimeouts,
    metrics: Metrics,
    /// Free memory in KiB.
    room: Arc<Semaphore>,
}

impl Receiver {
    /// Starts listening.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(store: Store, settings: ReceiverSettings) -> io::Result<Self> {
        let ReceiverSettings { listen, secrets, rates, timeouts, metrics } = settings;
        let room = Arc::new(Semaphore::new(ROOM as usize));
        let state = Arc::new(ReceiverState { store, secrets, rates, timeouts, metrics, room });
        let routes = Router::new().fallback(receive).with_state(state);
        Ok(Self(Listening::start(listen, routes, timeouts).await?))
    }

    /// The address on which it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.0.addr
    }

    /// Accepts no more connections, and waits a little for requests in progress.
    pub async fn shutdown(self) {
        self.0.shutdown().await;
    }
}

/// The reply to a request. It does not distinguish a wrong MAC from an unknown call.
enum ReceiverReply {
    Kept,
    Probed,
    Refused(Refusal, String),
}

/// Whose address is posted to.
enum Signed {
    Probe,
    Call(CallId),
}

impl From<Refusal> for ReceiverReply {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal, String::new())
    }
}

async fn receive(State(state): State<Arc<ReceiverState>>, request: Request) -> Response {
    let reply = match state.take(request).await {
        Ok(reply) | Err(reply) => reply,
    };
    let (refusal, why) = match reply {
        ReceiverReply::Kept => return StatusCode::OK.into_response(),
        ReceiverReply::Probed => return StatusCode::NO_CONTENT.into_response(),
        ReceiverReply::Refused(refusal, why) => (refusal, why),
    };
    state.metrics.refused(refusal);
    match refusal {
        Refusal::Unknown => StatusCode::NOT_FOUND.into_response(),
        Refusal::Unreadable => (StatusCode::BAD_REQUEST, why).into_response(),
        Refusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Refusal::TooSlow => StatusCode::REQUEST_TIMEOUT.into_response(),
        Refusal::Ledger | Refusal::Crowded => {
            let mut later = StatusCode::SERVICE_UNAVAILABLE.into_response();
            later.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
            later
        }
    }
}

impl ReceiverState {
    async fn take(&self, request: Request) -> Result<ReceiverReply, ReceiverReply> {
        let (call, mac) = address_of(request.uri().path()).ok_or(Refusal::Unknown)?;
        if request.method() != Method::POST {
            return Err(Refusal::Unknown.into());
        }
        let asked = Instant::now();
        let call = match self.signed(call, mac) {
            // A secret that another process made may have signed it.
            None if matches!(timeout(self.timeouts.ledger, self.secrets.renew(&self.store)).await, Ok(true)) => {
                self.signed(call, mac)
            }
            signed => signed,
        };
        let call = match call.ok_or(Refusal::Unknown)? {
            Signed::Probe => return Ok(ReceiverReply::Probed),
            Signed::Call(call) => call,
        };
        let expected = match timeout(self.timeouts.ledger, self.store.expected(call)).await {
            Ok(Ok(expected)) => expected.ok_or(Refusal::Unknown)?,
            Ok(Err(error)) => return Err(later(call, Some(&error))),
            Err(_) => return Err(later(call, None)),
        };
        // The time limit of the ledger covers all its operations together.
        let left = self.timeouts.ledger.saturating_sub(asked.elapsed());
        let (body, mut room) = match self.read(request).await {
            Err(reply @ ReceiverReply::Refused(Refusal::TooLarge, _)) => {
                self.note_too_large(call, left).await;
                return Err(reply);
            }
            read => read?,
        };
        let (read, body) = look_into(body.len(), move || (read_callback(&body), body.into_body())).await;
        shrink(&mut room, room_of(body.kept().0.len() as u64 * WHILE_KEPT));
        let content = self.content(call, &expected, read)?;
        self.keep(Callback { call, body, content }, &expected, room, left).await
    }

    /// What one of the known secrets signed.
    fn signed(&self, id: &str, mac: &str) -> Option<Signed> {
        let secrets = self.secrets.keyring().all();
        let call = call_of(&secrets, id, mac).map(Signed::Call);
        call.or_else(|| is_probe(&secrets, id, mac).then_some(Signed::Probe))
    }

    /// The vendor retries and then gives up. The record made now prevents the call from being made again.
    async fn note_too_large(&self, call: CallId, left: Duration) {
        let reply = format!("the answer that was posted has more than {} MB, and is not kept", MAX_BODY >> 20);
        match timeout(left, self.store.note_too_large(call, &reply)).await {
            Ok(Ok(())) => tracing::warn!(call.id = %call, "a callback is too large"),
            Ok(Err(error)) => tracing::error!(call.id = %call, error = %error, "a callback is too large"),
            Err(_) => {
                tracing::error!(call.id = %call, "a callback is too large, and the ledger does not answer in time")
            }
        }
    }

    /// Reads the body, and reserves memory for it. For a body without a declared length, the reserve grows as data
    /// arrives.
    async fn read(&self, request: Request) -> Result<(Arrived, OwnedSemaphorePermit), ReceiverReply> {
        let declared: Option<u64> =
            request.headers().get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
        if declared.is_some_and(|len| len > MAX_BODY) {
            return Err(Refusal::TooLarge.into());
        }
        let least = room_of(declared.unwrap_or(ASSUMED_BODY) * WHILE_READ);
        let Ok(Ok(mut room)) = timeout(self.timeouts.body, Arc::clone(&self.room).acquire_many_owned(least)).await
        else {
            return Err(crowded());
        };
        let body = match timeout(self.timeouts.body, self.take_in(request.into_body(), &mut room)).await {
            Ok(Ok(body)) => body,
            Ok(Err(reply)) => return Err(reply),
            Err(_) => return Err(Refusal::TooSlow.into()),
        };
        shrink(&mut room, room_of(body.len() * WHILE_READ));
        Ok((body, room))
    }

    async fn take_in(&self, mut incoming: Incoming, room: &mut OwnedSemaphorePermit) -> Result<Arrived, ReceiverReply> {
        let mut body = Arriving::default();
        while let Some(frame) = incoming.frame().await {
            let Ok(frame) = frame else {
                return Err(ReceiverReply::Refused(Refusal::Unreadable, "the body is not all there".to_owned()));
            };
            let Ok(piece) = frame.into_data() else { continue };
            let len = body.len() + piece.len() as u64;
            if len > MAX_BODY {
                return Err(Refusal::TooLarge.into());
            }
            let lacks = room_of(len * WHILE_READ).saturating_sub(permits(room));
            if lacks > 0 {
                // The reserve doubles, so that it does not grow with each piece. It never waits, since others would
                // have to wait too.
                let more = lacks.max(permits(room)).min(ROOM - permits(room));
                let Ok(more) = Arc::clone(&self.room).try_acquire_many_owned(more) else { return Err(crowded()) };
                room.merge(more);
            }
            body.push(&piece);
        }
        Ok(body.finish())
    }

    fn content(
        &self,
        call: CallId,
        expected: &Expected,
        read: Result<Posted, String>,
    ) -> Result<CallbackContent, ReceiverReply> {
        match read {
            Ok(Posted::Answer { request_id, audio_ms }) => {
                let model: Option<SttModel> = expected.model.parse().ok();
                let cost = model.zip(audio_ms).map(|(model, ms)| self.rates.cost(model, ms).0);
                Ok(CallbackContent::Answer { request_id, audio_ms, cost })
            }
            Ok(Posted::Failed(failure)) => Ok(CallbackContent::Failed(failure)),
            Err(why) => {
                tracing::warn!(call.id = %call, "a callback is of no use: {why}");
                Err(ReceiverReply::Refused(Refusal::Unreadable, why))
            }
        }
    }

    /// Stores a callback. While the ledger cannot be written, its writer keeps the callback and its memory stays
    /// reserved. If it is stored after the reply to the vendor, the retry is only a duplicate.
    async fn keep(
        &self,
        delivery: Callback,
        expected: &Expected,
        room: OwnedSemaphorePermit,
        left: Duration,
    ) -> Result<ReceiverReply, ReceiverReply> {
        let call = delivery.call;
        let (store, metrics, sent_at) = (self.store.clone(), self.metrics.clone(), expected.sent_at);
        let keeping = tokio::spawn(async move {
            crash::point("before-callback");
            let kept = store.receive(delivery).await;
            crash::point("after-callback");
            drop(room);
            if let Ok(Some(effect)) = &kept {
                metrics.callback(*effect, store.clock().now() - sent_at);
                tracing::info!(call.id = %call, effect = ?effect, "callback");
            }
            kept
        });
        match timeout(left, keeping).await {
            Ok(Ok(Ok(kept))) => kept.map(|_: Effect| ReceiverReply::Kept).ok_or_else(|| Refusal::Unknown.into()),
            Ok(Ok(Err(error))) => Err(later(call, Some(&error))),
            // A panicking task has logged its own error.
            Ok(Err(_)) | Err(_) => Err(later(call, None)),
        }
    }
}

/// The vendor retries: a callback that is not on disk is not acknowledged.
fn later(call: CallId, error: Option<&StoreError>) -> ReceiverReply {
    let error = error.map_or_else(|| "the ledger does not answer in time".to_owned(), ToString::to_string);
    tracing::error!(call.id = %call, error, "a callback could not be kept; the vendor is asked to send it again");
    Refusal::Ledger.into()
}

fn crowded() -> ReceiverReply {
    tracing::warn!("too many large callbacks at once; the vendor is asked to send one of them again");
    Refusal::Crowded.into()
}

/// The memory for so many bytes, in KiB.
fn room_of(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(ROOM).clamp(LEAST_ROOM, ROOM)
}

fn permits(room: &OwnedSemaphorePermit) -> u32 {
    u32::try_from(room.num_permits()).unwrap_or(ROOM)
}

/// Releases what exceeds `need`.
fn shrink(room: &mut OwnedSemaphorePermit, need: u32) {
    drop(room.split(room.num_permits().saturating_sub(need as usize)));
}

/// Call and MAC from a path that ends in `/callbacks/{call}/{mac}`; a proxy may add a prefix.
fn address_of(path: &str) -> Option<(&str, &str)> {
    let mut from_end = path.rsplit('/');
    let (mac, call, what) = (from_end.next()?, from_end.next()?, from_end.next()?);
    (what == "callbacks").then_some((call, mac))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Opening;

    fn posted(body: &[u8], declared: bool) -> Request {
        let pieces: Vec<_> = body.chunks(100_000).map(|piece| Ok::<_, io::Error>(piece.to_vec())).collect();
        let mut request = Request::new(Incoming::from_stream(futures::stream::iter(pieces)));
        if declared {
            request.headers_mut().insert(header::CONTENT_LENGTH, body.len().into());
        }
        request
    }

    async fn state(dir: &tempfile::TempDir) -> ReceiverState {
        ReceiverState {
            store: Store::open(Opening::new(dir.path().join("wavebatch.db"))).await.unwrap().0,
            secrets: Secrets::new(vec![]),
            rates: Rates::default(),
            timeouts: ServerTimeouts { body: Duration::from_millis(50), ..ServerTimeouts::default() },
            metrics: Metrics::new(),
            room: Arc::new(Semaphore::new(ROOM as usize)),
        }
    }

    #[tokio::test]
    async fn a_body_takes_up_room_until_it_is_kept_and_who_waits_too_long_is_asked_to_come_again() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(&dir).await;
        for declared in [true, false] {
            let (body, room) = state.read(posted(b"{}", declared)).await.ok().unwrap();
            assert_eq!((body, permits(&room)), (Arrived::Whole("{}".into()), LEAST_ROOM));
        }
        assert_eq!(state.room.available_permits(), ROOM as usize, "it is given back");
        let long = vec![b' '; 3 << 20];
        for declared in [true, false] {
            let (body, mut room) = state.read(posted(&long, declared)).await.ok().unwrap();
            assert_eq!((body.len(), permits(&room)), (3 << 20, 6 << 10));
            shrink(&mut room, 100);
            assert_eq!(permits(&room), 100);
            shrink(&mut room, 200);
            assert_eq!(permits(&room), 100, "it never grows by itself");
        }
        let held = state.room.acquire_many(ROOM - (4 << 10)).await.unwrap();
        assert!(state.read(posted(b"{}", true)).await.is_ok() && state.read(posted(b"{}", false)).await.is_ok());
        for declared in [true, false] {
            let reply = state.read(posted(&long, declared)).await.err();
            assert!(matches!(reply, Some(ReceiverReply::Refused(Refusal::Crowded, _))), "declared: {declared}");
        }
        assert_eq!(state.room.available_permits(), 4 << 10, "nor does one that is sent away hold any");
        drop(held);
        assert!(state.read(posted(&long, false)).await.is_ok());
    }

    #[tokio::test]
    async fn one_that_is_too_large_is_refused_as_soon_as_that_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(&dir).await;
        let mut declared = Request::new(Incoming::from_stream(futures::stream::pending::<io::Result<Vec<u8>>>()));
        declared.headers_mut().insert(header::CONTENT_LENGTH, (MAX_BODY + 1).into());
        let endless = futures::stream::repeat_with(|| Ok::<_, io::Error>(bytes::Bytes::from_static(&[b' '; 1 << 20])));
        let timeouts = ServerTimeouts { body: Duration::from_secs(60), ..ServerTimeouts::default() };
        let state = ReceiverState { timeouts, ..state };
        for request in [declared, Request::new(Incoming::from_stream(endless))] {
            let reply = state.read(request).await.err();
            assert!(matches!(reply, Some(ReceiverReply::Refused(Refusal::TooLarge, _))));
        }
        assert_eq!(state.room.available_permits(), ROOM as usize);
    }
}
