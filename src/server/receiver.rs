//! Callbacks: proved by their address before a byte of their body is read, kept before they are acknowledged.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    Metrics,
    serve::{Listening, Patience},
};
use crate::{
    crash,
    domain::{
        callback::{Secret, call_of, is_probe},
        cost::Rates,
        job::CallId,
        options::{SttModel, listed},
        transcript::Transcript,
    },
    store::{Delivery, Effect, Expected, Says, Store, StoreError},
    waves::{Posted, read_callback},
};

/// The largest callback, in bytes.
const MAX_BODY: usize = 64 << 20;
/// What bodies may take up that are being read, or are not on disk yet, in KiB: four of the largest.
const ROOM: u32 = 256 << 10;
/// What every body takes up at least, in KiB, with all that comes with it.
const LEAST_ROOM: u32 = 16;
/// When the vendor may try again while the ledger cannot be written, in seconds.
const RETRY_AFTER: &str = "10";

/// What a receiver works with.
#[derive(Debug, Clone)]
pub struct ReceiverSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What addresses are made with: one, or two while it is changed.
    pub secrets: Vec<Secret>,
    /// List prices.
    pub rates: Rates,
    /// How long the other side may take.
    pub patience: Patience,
    /// Where callbacks are counted.
    pub metrics: Metrics,
}

/// A receiver that listens. It stops when dropped.
#[derive(Debug)]
pub struct Receiver(Listening);

#[derive(Debug)]
struct Desk {
    store: Store,
    secrets: Vec<Secret>,
    rates: Rates,
    patience: Patience,
    metrics: Metrics,
    /// In KiB.
    room: Arc<Semaphore>,
}

impl Receiver {
    /// Starts to listen.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(store: Store, settings: ReceiverSettings) -> io::Result<Self> {
        let ReceiverSettings { listen, secrets, rates, patience, metrics } = settings;
        let room = Arc::new(Semaphore::new(ROOM as usize));
        let desk = Arc::new(Desk { store, secrets, rates, patience, metrics, room });
        let routes = Router::new().fallback(receive).with_state(desk);
        Ok(Self(Listening::start(listen, routes, patience).await?))
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.0.addr
    }

    /// Takes no more, and waits a little for what is under way.
    pub async fn shutdown(self) {
        self.0.shutdown().await;
    }
}

listed! {
    /// Why a callback was not kept.
    Refusal, "refusal" {
        /// Nothing proves that it is one of ours.
        Unknown = "unknown",
        /// It is no callback, or not all of it.
        Unreadable = "unreadable",
        /// Over the limit.
        TooLarge = "too_large",
        /// It did not come in time.
        TooSlow = "too_slow",
        /// The ledger could not take it.
        Ledger = "ledger",
        /// There was no room to read it into.
        Crowded = "crowded",
    }
}

/// What is answered. Nothing tells a wrong MAC from an unknown call.
enum Told {
    Kept,
    Probed,
    Refused(Refusal, String),
}

impl From<Refusal> for Told {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal, String::new())
    }
}

async fn receive(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    let told = match desk.take(request).await {
        Ok(told) | Err(told) => told,
    };
    let (refusal, why) = match told {
        Told::Kept => return StatusCode::OK.into_response(),
        Told::Probed => return StatusCode::NO_CONTENT.into_response(),
        Told::Refused(refusal, why) => (refusal, why),
    };
    desk.metrics.refused(refusal);
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

impl Desk {
    async fn take(&self, request: Request) -> Result<Told, Told> {
        let (call, mac) = address_of(request.uri().path()).ok_or(Refusal::Unknown)?;
        if request.method() != Method::POST {
            return Err(Refusal::Unknown.into());
        }
        if is_probe(&self.secrets, call, mac) {
            return Ok(Told::Probed);
        }
        let call = call_of(&self.secrets, call, mac).ok_or(Refusal::Unknown)?;
        let asked = Instant::now();
        let expected = match timeout(self.patience.ledger, self.store.expected(call)).await {
            Ok(Ok(expected)) => expected.ok_or(Refusal::Unknown)?,
            Ok(Err(error)) => return Err(later(call, Some(&error))),
            Err(_) => return Err(later(call, None)),
        };
        // The ledger's time is one, however often it is asked.
        let left = self.patience.ledger.saturating_sub(asked.elapsed());
        let (body, room) = self.read(request).await?;
        let says = self.says(call, &expected, &body)?;
        self.keep(Delivery { call, body, says }, &expected, room, left).await
    }

    /// The body, and the room that it takes up. What does not say its length could be of any.
    async fn read(&self, request: Request) -> Result<(Bytes, OwnedSemaphorePermit), Told> {
        let declared = request.headers().get(header::CONTENT_LENGTH).and_then(|len| len.to_str().ok()?.parse().ok());
        let most: usize = declared.unwrap_or(MAX_BODY);
        if most > MAX_BODY {
            return Err(Refusal::TooLarge.into());
        }
        let Ok(Ok(mut room)) =
            timeout(self.patience.body, Arc::clone(&self.room).acquire_many_owned(room_of(most))).await
        else {
            tracing::warn!("too many large callbacks at once; the vendor is asked to send one of them again");
            return Err(Refusal::Crowded.into());
        };
        let body = match timeout(self.patience.body, read(request.into_body())).await {
            Ok(Ok(body)) => body,
            Ok(Err(told)) => return Err(told),
            Err(_) => return Err(Refusal::TooSlow.into()),
        };
        let spare = room.num_permits().saturating_sub(room_of(body.len()) as usize);
        drop(room.split(spare));
        Ok((body, room))
    }

    fn says(&self, call: CallId, expected: &Expected, body: &[u8]) -> Result<Says, Told> {
        match read_callback(body) {
            Ok(Posted::Answer { request_id }) => {
                let audio_ms = Transcript::parse(body).ok().and_then(|transcript| transcript.duration_ms);
                let model: Option<SttModel> = expected.model.parse().ok();
                let cost = model.zip(audio_ms).map(|(model, ms)| self.rates.cost(model, ms).0);
                Ok(Says::Answer { request_id, audio_ms, cost })
            }
            Ok(Posted::Failed(trouble)) => Ok(Says::Failed(trouble)),
            Err(why) => {
                tracing::warn!(call.id = %call, "a callback is of no use: {why}");
                Err(Told::Refused(Refusal::Unreadable, why))
            }
        }
    }

    /// While the ledger cannot be written its writer holds on to what it was given, and so does the room: what is kept
    /// later than the vendor was told is one delivery more.
    async fn keep(
        &self,
        delivery: Delivery,
        expected: &Expected,
        room: OwnedSemaphorePermit,
        left: Duration,
    ) -> Result<Told, Told> {
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
            Ok(Ok(Ok(kept))) => kept.map(|_: Effect| Told::Kept).ok_or_else(|| Refusal::Unknown.into()),
            Ok(Ok(Err(error))) => Err(later(call, Some(&error))),
            // A task that broke told so itself.
            Ok(Err(_)) | Err(_) => Err(later(call, None)),
        }
    }
}

/// The vendor tries again: what is not on disk is not acknowledged.
fn later(call: CallId, error: Option<&StoreError>) -> Told {
    let error = error.map_or_else(|| "the ledger does not answer in time".to_owned(), ToString::to_string);
    tracing::error!(call.id = %call, error, "a callback could not be kept; the vendor is asked to send it again");
    Refusal::Ledger.into()
}

/// In KiB.
fn room_of(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(ROOM).clamp(LEAST_ROOM, ROOM)
}

async fn read(body: Body) -> Result<Bytes, Told> {
    to_bytes(body, MAX_BODY).await.map_err(|error| {
        let too_large =
            std::error::Error::source(&error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
        if too_large {
            Refusal::TooLarge.into()
        } else {
            Told::Refused(Refusal::Unreadable, "the body is not all there".to_owned())
        }
    })
}

/// Call and MAC of a path that ends in `/callbacks/{call}/{mac}`, whatever a proxy left before it.
fn address_of(path: &str) -> Option<(&str, &str)> {
    let mut from_end = path.rsplit('/');
    let (mac, call, what) = (from_end.next()?, from_end.next()?, from_end.next()?);
    (what == "callbacks").then_some((call, mac))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Opening;

    fn posted(body: &'static str, declared: bool) -> Request {
        let mut request = Request::new(Body::from_stream(futures::stream::iter([Ok::<_, io::Error>(body)])));
        if declared {
            request.headers_mut().insert(header::CONTENT_LENGTH, body.len().into());
        }
        request
    }

    #[tokio::test]
    async fn a_body_takes_up_room_until_it_is_kept_and_who_waits_too_long_is_asked_to_come_again() {
        let dir = tempfile::tempdir().unwrap();
        let desk = Desk {
            store: Store::open(Opening::new(dir.path().join("wavebatch.db"))).await.unwrap().0,
            secrets: vec![],
            rates: Rates::default(),
            patience: Patience { body: Duration::from_millis(50), ..Patience::default() },
            metrics: Metrics::new(),
            room: Arc::new(Semaphore::new(ROOM as usize)),
        };
        for declared in [true, false] {
            let (body, room) = desk.read(posted("{}", declared)).await.ok().unwrap();
            assert_eq!((body.as_ref(), room.num_permits()), (&b"{}"[..], LEAST_ROOM as usize));
        }
        assert_eq!(desk.room.available_permits(), ROOM as usize, "it is given back");
        let left = room_of(MAX_BODY) - 1;
        let held = desk.room.acquire_many(ROOM - left).await.unwrap();
        assert!(desk.read(posted("{}", true)).await.is_ok());
        let told = desk.read(posted("{}", false)).await.err();
        assert!(matches!(told, Some(Told::Refused(Refusal::Crowded, _))), "it may be of any length");
        drop(held);
        assert!(desk.read(posted("{}", false)).await.is_ok());
    }
}
