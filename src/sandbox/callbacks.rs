//! Callbacks: what a call with `webhook_url` is owed after its 200, from the work to the last delivery.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Map, Value, json};
use tokio::{
    sync::{Semaphore, oneshot},
    time::{sleep, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    delivery::{Courier, Form},
    log::Log,
    tally::Tally,
};
use super::{
    Config, HandlerState,
    books::{CallbackEnd, Digest},
    faults::What,
    gate::Gate,
    hook::Hook,
    logs::Entry,
};

mod delivery;
pub(super) mod log;
mod tally;

/// Deliveries of one callback in all, the repeated ones among them.
const DELIVERIES: u32 = 10;
/// Deliveries on their way at once: thousands that are let go together must not use up the sockets.
const AT_ONCE: usize = 256;

/// What all callbacks share.
#[derive(Debug)]
pub(super) struct Callbacks {
    /// Where deliveries wait before they are made.
    pub gate: Gate,
    pub log: Log,
    pub tally: Tally,
    courier: Courier,
    room: Semaphore,
    stop: CancellationToken,
    /// Ends the callbacks under way.
    life: Mutex<CancellationToken>,
    pub tasks: TaskTracker,
}

impl Callbacks {
    pub(super) fn new(config: &Config, stop: &CancellationToken) -> reqwest::Result<Self> {
        Ok(Self {
            gate: Gate::default(),
            log: Log::new(config.keep),
            tally: Tally::new(config.keep),
            courier: Courier::new(config.webhook_timeout)?,
            room: Semaphore::new(AT_ONCE),
            stop: stop.clone(),
            life: Mutex::new(stop.child_token()),
            tasks: TaskTracker::new(),
        })
    }

    /// Drops all callbacks that are still owed, and forgets the others.
    pub(super) fn reset(&self) {
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        life.cancel();
        *life = self.stop.child_token();
        drop(life);
        self.log.reset();
        self.tally.reset();
        self.gate.release();
    }

    fn life(&self) -> CancellationToken {
        self.life.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is owed to a call that was accepted.
pub(super) struct Owed {
    /// The call's number.
    pub number: u64,
    pub hook: Hook,
    pub digest: Digest,
    /// What the log will say of it.
    pub entry: Entry,
    /// The answer of a call without a callback.
    pub answer: Vec<u8>,
    pub fault: Option<What>,
}

/// Does the work and posts its result, on a task of its own. The receiver hears when the first delivery is over, or
/// that there will be none.
pub(super) fn start(state: &Arc<HandlerState>, owed: Owed) -> oneshot::Receiver<()> {
    let (first, delivered) = oneshot::channel();
    let life = state.callbacks.life();
    state.callbacks.tally.accepted(owed.number, &owed.entry.request_id, &owed.hook.url);
    let callback = Callback { state: Arc::clone(state), payload: payload(&owed), owed };
    state.callbacks.tasks.spawn(async move {
        tokio::select! {
            // In this order: a reset ends callbacks, and then releases them.
            biased;
            () = life.cancelled() => {}
            () = callback.run(first) => {}
        }
    });
    delivered
}

fn payload(owed: &Owed) -> Map<String, Value> {
    let failure = json!({
        "status": "failed",
        "request_id": owed.entry.request_id,
        "error": "scripted by the sandbox",
    });
    let result = match (&owed.fault, failure) {
        (Some(What::CallbackFailed), Value::Object(failure)) => failure,
        _ => serde_json::from_slice(&owed.answer).expect("an answer is a JSON object"),
    };
    let mut payload = result;
    for (key, value) in &owed.hook.extra {
        payload.entry(key).or_insert_with(|| value.as_str().into());
    }
    payload
}

struct Callback {
    state: Arc<HandlerState>,
    owed: Owed,
    payload: Map<String, Value>,
}

impl Callback {
    async fn run(self, first: oneshot::Sender<()>) {
        let (accepted, config) = (Instant::now(), &self.state.config);
        sleep_until((accepted + config.latency).into()).await;
        self.work();
        let late = if let Some(What::CallbackLate(ms)) = self.owed.fault { ms } else { 0 };
        let delay = config.webhook_delay.unwrap_or(config.latency) + Duration::from_millis(late);
        let end = if self.owed.fault == Some(What::CallbackLost) {
            CallbackEnd::Lost
        } else {
            sleep_until((accepted + delay).into()).await;
            self.deliver(first).await
        };
        self.state.callbacks.tally.over(self.owed.number, end);
    }

    /// The work is done: it is billed, and in the log. What failed is neither.
    fn work(&self) {
        if self.owed.fault == Some(What::CallbackFailed) {
            return;
        }
        self.state.books.billed(&self.owed.digest, 0);
        self.state.callbacks.tally.billed(self.owed.number);
        let shown_at = Instant::now() + self.state.config.log_lag;
        self.state.logs.push(Entry { at: SystemTime::now(), shown_at, ..self.owed.entry.clone() });
    }

    /// Tries until one delivery is acknowledged, or the last is over.
    async fn deliver(&self, first: oneshot::Sender<()>) -> CallbackEnd {
        let (mut first, mut wait) = (Some(first), self.state.config.webhook_backoff);
        let mut made = 0;
        loop {
            let acknowledged = if made == 0 && self.owed.fault == Some(What::CallbackTwiceAtOnce) {
                made = 2;
                let (one, other) = tokio::join!(self.post(1, &self.payload), self.post(2, &self.payload));
                one || other
            } else {
                made += 1;
                self.post(made, &self.payload).await
            };
            if let Some(first) = first.take() {
                // Nobody listens unless the call is answered only then.
                let _ = first.send(());
            }
            match acknowledged {
                true => break,
                false if made >= DELIVERIES => return CallbackEnd::GivenUp,
                false => sleep(wait).await,
            }
            wait = wait.saturating_mul(2);
        }
        if made < DELIVERIES {
            self.repeat(made + 1).await;
        }
        CallbackEnd::Acknowledged
    }

    /// What is delivered though the callback was acknowledged.
    async fn repeat(&self, nth: u32) {
        match self.owed.fault {
            Some(What::CallbackTwice) => self.post(nth, &self.payload).await,
            Some(What::CallbackChanged) => {
                let mut changed = self.payload.clone();
                changed.insert("transcription".into(), "Something else was said.".into());
                self.post(nth, &changed).await
            }
            _ => return,
        };
    }

    /// Makes one delivery; whether it was acknowledged.
    async fn post(&self, nth: u32, payload: &Map<String, Value>) -> bool {
        let callbacks = &self.state.callbacks;
        callbacks.gate.pass(false).await;
        let _room = callbacks.room.acquire().await.expect("nobody closes it");
        let (body, form) = self.body(nth, payload);
        callbacks.tally.begun(self.owed.number);
        let id = callbacks.log.begun(&self.owed.entry.request_id, &self.owed.hook, nth);
        let outcome = callbacks.courier.send(&self.owed.hook, body, form).await;
        let status = outcome.as_ref().ok().copied();
        callbacks.log.ended(id, outcome);
        callbacks.tally.ended(self.owed.number, status);
        status.is_some_and(acknowledges)
    }

    fn body(&self, nth: u32, payload: &Map<String, Value>) -> (Vec<u8>, Form) {
        let json = |payload| serde_json::to_vec(payload).expect("a JSON object is always written");
        match self.owed.fault {
            Some(What::CallbackGarbage(upto)) if nth <= upto => (b"{\"status\": \"succ".to_vec(), Form::Whole),
            Some(What::CallbackTruncated(upto)) if nth <= upto => (json(payload), Form::Half),
            Some(What::CallbackDrip { ms, deliveries }) if nth <= deliveries => {
                (json(payload), Form::Drip(Duration::from_millis(ms)))
            }
            Some(What::CallbackWordless(upto)) if nth <= upto => {
                let mut wordless = payload.clone();
                wordless.shift_remove("transcription");
                (json(&wordless), Form::Whole)
            }
            _ => (json(payload), Form::Whole),
        }
    }
}

const fn acknowledges(status: u16) -> bool {
    matches!(status, 200..300)
}
