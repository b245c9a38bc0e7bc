//! The vendor's log of deliveries, newest first.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use axum::{
    extract::{RawQuery, State},
    http::{HeaderMap, Method},
    response::Response,
};
use serde_json::{Value, json};

use super::acknowledges;
use crate::sandbox::{
    HandlerState,
    errors::Refusal,
    hook::Hook,
    logs::{Page, open, stamp},
};

/// One delivery.
#[derive(Debug)]
struct SandboxDelivery {
    id: u64,
    request_id: String,
    url: String,
    method: Method,
    nth: u32,
    at: SystemTime,
    began: Instant,
    /// The status of its answer, or why there was none, and the time it took; absent while it is under way.
    ended: Option<(Result<u16, String>, Duration)>,
}

impl SandboxDelivery {
    fn to_json(&self) -> Value {
        let (status, code, error) = match &self.ended {
            None => ("pending", None, String::new()),
            Some((Ok(code), _)) if acknowledges(*code) => ("success", Some(*code), String::new()),
            Some((Ok(code), _)) => ("failed", Some(*code), format!("answered with {code}")),
            Some((Err(why), _)) => ("failed", None, why.clone()),
        };
        json!({
            "org_id": "sandbox",
            "request_id": self.request_id,
            "webhook_url": self.url,
            "method": self.method.as_str(),
            "event_type": "asr.completed",
            "status": status,
            "attempt": self.nth,
            "response_status_code": code,
            "error": error,
            "timestamp": stamp(self.at),
            "duration_ms": self.ended.as_ref().map(|(_, took)| took.as_millis() as u64),
        })
    }
}

/// The log as it is kept: the last so many deliveries.
#[derive(Debug)]
pub(in crate::sandbox) struct Log {
    keep: usize,
    pages: Mutex<DeliveryPages>,
}

#[derive(Debug, Default)]
struct DeliveryPages {
    begun: u64,
    deliveries: VecDeque<SandboxDelivery>,
}

impl Log {
    pub(super) fn new(keep: usize) -> Self {
        Self { keep, pages: Mutex::default() }
    }

    /// A delivery begins; its number.
    pub(super) fn begun(&self, request_id: &str, hook: &Hook, nth: u32) -> u64 {
        self.with(|pages| {
            pages.begun += 1;
            pages.deliveries.push_front(SandboxDelivery {
                id: pages.begun,
                request_id: request_id.to_owned(),
                url: hook.url.clone(),
                method: hook.method.clone(),
                nth,
                at: SystemTime::now(),
                began: Instant::now(),
                ended: None,
            });
            pages.deliveries.truncate(self.keep);
            pages.begun
        })
    }

    /// The delivery with this number ended.
    pub(super) fn ended(&self, id: u64, outcome: Result<u16, String>) {
        self.with(|pages| {
            if let Some(delivery) = pages.deliveries.iter_mut().find(|delivery| delivery.id == id) {
                delivery.ended = Some((outcome, delivery.began.elapsed()));
            }
        });
    }

    pub(super) fn reset(&self) {
        self.with(|pages| pages.deliveries.clear());
    }

    fn page(&self, page: Page) -> (Vec<Value>, usize) {
        self.with(|pages| {
            (page.of(pages.deliveries.iter()).map(SandboxDelivery::to_json).collect(), pages.deliveries.len())
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut DeliveryPages) -> T) -> T {
        f(&mut self.pages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// `GET /waves/v1/analytics/webhooks/logs`
pub(in crate::sandbox) async fn list(
    State(state): State<Arc<HandlerState>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    open(&state, &headers)?;
    let page = Page::parse(query)?;
    let (data, total) = state.callbacks.log.page(page);
    Ok(page.answer(&data, total))
}
