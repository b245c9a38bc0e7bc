//! What a session says while it works.

use std::{collections::HashMap, future::Future, net::SocketAddr, pin::Pin, sync::Arc};

use tokio::sync::mpsc::UnboundedReceiver;
use url::Url;

use crate::{
    domain::{
        job::BatchId,
        pool::{Limits, Pool},
        retry::PauseKind,
    },
    runner::{self, intake::ReadProgress},
    store::Store,
    tasks::Registry,
};

/// One thing that the user may want to know.
#[derive(Debug, Clone)]
pub enum Event {
    /// Something that wants attention.
    Warning(String),
    /// Local recordings are read, to be compared with those of the ledger.
    Reading(ReadProgress),
    /// A batch that was paused is open again.
    GoesOn {
        /// Its name.
        batch: String,
        /// What paused it.
        kind: PauseKind,
        /// Why it was paused.
        reason: String,
    },
    /// No line of the batches was left to do.
    NothingLeft,
    /// Where callbacks come in from now on.
    Callbacks(CallbacksAt),
    /// A signal came: what is in flight is finished, and nothing new is begun.
    Draining,
    /// A second signal came: what is in flight is left.
    Leaving,
    /// A signal came, and the service ends.
    Stopping,
    /// The runner says something.
    Runner(runner::Event),
}

/// Where callbacks come in while a command works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallbacksAt {
    /// This process receives them.
    Here {
        /// The address that it listens on.
        addr: SocketAddr,
        /// The address that the vendor is told.
        public_url: Url,
    },
    /// Another process receives them for this address.
    Elsewhere(Url),
    /// Another process did, and has gone: this one does now, on this address.
    TakenOver(SocketAddr),
}

/// Work that can be watched.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The ledger.
    pub store: Store,
    /// The account's name in the ledger.
    pub account: String,
    /// The account's limits by pool.
    pub limits: HashMap<Pool, Limits>,
    /// What is worked.
    pub batches: Vec<BatchId>,
    /// What can be done with lines.
    pub tasks: Registry,
}

/// Who hears what a session says. A closure over [`Event`] is one.
pub trait EventSink: Send + Sync + 'static {
    /// Hears one event. It must not block.
    fn event(&self, event: Event);

    /// Follows work until the runner has said its last word.
    fn follow(
        self: Arc<Self>,
        _watched: Watched,
        mut heard: UnboundedReceiver<runner::Event>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            while let Some(event) = heard.recv().await {
                self.event(Event::Runner(event));
            }
        })
    }
}

impl<F: Fn(Event) + Send + Sync + 'static> EventSink for F {
    fn event(&self, event: Event) {
        self(event);
    }
}

/// An event sink that is shared.
pub type Events = Arc<dyn EventSink>;
