//! The events of a session.

use std::{collections::HashMap, future::Future, net::SocketAddr, pin::Pin, sync::Arc};

use tokio::sync::mpsc::UnboundedReceiver;
use url::Url;

use crate::{
    domain::{
        environment::Environment,
        job::BatchId,
        pool::{Limits, Pool},
        retry::PauseKind,
    },
    runner::{
        self,
        intake::{ListenProgress, ReadProgress},
    },
    store::Store,
    tasks::Registry,
};

/// One event for the user.
#[derive(Debug, Clone)]
pub enum Event {
    /// A problem that needs attention.
    Warning(String),
    /// Local recordings are being read for comparison with the ledger.
    Reading(ReadProgress),
    /// Recordings are listened to before they are paid for.
    Listening(ListenProgress),
    /// A paused batch was resumed.
    Resumed {
        /// Its name.
        batch: String,
        /// What paused it.
        kind: PauseKind,
        /// Why it was paused.
        reason: String,
    },
    /// The batches had no unfinished line.
    NoUnfinishedLines,
    /// The address at which callbacks now come in.
    Callbacks(CallbacksAt),
    /// A signal came: work in flight is finished, and nothing new is started.
    Draining,
    /// A second signal came: work in flight is abandoned.
    Leaving,
    /// A signal came, and the service ends.
    Stopping,
    /// An event of the runner.
    Runner {
        /// The event.
        event: runner::Event,
        /// The name of the batch that it is about, if it is about one.
        batch: Option<String>,
    },
}

/// The receiver of callbacks while a command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallbacksAt {
    /// This process receives them.
    Here {
        /// The address to listen on.
        addr: SocketAddr,
        /// The address that the vendor gets.
        public_url: Url,
    },
    /// Another process receives them at this address.
    Elsewhere(Url),
    /// The other process is gone; this one has taken over, at this address.
    TakenOver(SocketAddr),
}

/// Work that can be followed.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The ledger.
    pub store: Store,
    /// The account's name in the ledger.
    pub account: String,
    /// The environment of its calls.
    pub environment: Environment,
    /// The account's limits by pool.
    pub limits: HashMap<Pool, Limits>,
    /// The batches being worked.
    pub batches: Vec<BatchId>,
    /// The tasks of the program.
    pub tasks: Registry,
}

/// The names of batches, each read once.
#[derive(Debug)]
pub struct BatchNames {
    store: Store,
    known: HashMap<BatchId, String>,
}

impl BatchNames {
    /// No name is known yet.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, known: HashMap::new() }
    }

    /// The name of a batch; its number if the ledger cannot be read.
    pub async fn of(&mut self, batch: Option<BatchId>) -> Option<String> {
        let id = batch?;
        if !self.known.contains_key(&id) {
            let name = self.store.batch_by_id(id).await.map(|row| row.name);
            self.known.insert(id, name.unwrap_or_else(|_| id.0.to_string()));
        }
        self.known.get(&id).cloned()
    }
}

/// A receiver of a session's events. A closure over [`Event`] is one.
pub trait EventSink: Send + Sync + 'static {
    /// Handles one event. It must not block.
    fn event(&self, event: Event);

    /// Follows work until the last event of the runner.
    fn follow(
        self: Arc<Self>,
        watched: Watched,
        mut heard: UnboundedReceiver<runner::Event>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            let mut names = BatchNames::new(watched.store);
            while let Some(event) = heard.recv().await {
                let batch = names.of(event.batch()).await;
                self.event(Event::Runner { event, batch });
            }
        })
    }
}

impl<F: Fn(Event) + Send + Sync + 'static> EventSink for F {
    fn event(&self, event: Event) {
        self(event);
    }
}

/// A shared event sink.
pub type Events = Arc<dyn EventSink>;
