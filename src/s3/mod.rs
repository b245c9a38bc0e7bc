//! A connection to an S3 store, for whoever reads from one or writes to one: who asks, when to try again, and what an
//! answer means.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Mutex, time::timeout};

use crate::{
    domain::s3::{S3Address, S3Settings},
    pace::Pace,
};

mod connection;
mod error;
mod list;

pub use connection::{Connection, set_test_credentials};
pub use error::{S3Error, S3Failure, S3Kind};
pub use list::{Advance, ListPages, ListedKey};

/// A store that has never answered gets no longer than this, so that a wrong address is told soon.
const FIRST_CONTACT: Duration = Duration::from_secs(8);
/// After this, a store that has never answered is not tried again.
const FIRST_TRIES: Duration = Duration::from_secs(5);
/// The slowest line that a transfer is expected to have, in bytes a second.
const SLOWEST: u64 = 64 * 1024;

/// One store, and as whom it is spoken to. Nothing is looked up before the first call. Clones share their connections.
#[derive(Clone)]
pub struct S3 {
    shared: Arc<S3Shared>,
}

struct S3Shared {
    settings: S3Settings,
    /// Whether the store takes checksums in headers, where somebody said so.
    checksums: Option<bool>,
    state: Mutex<ClientState>,
    /// Whether the store has ever answered.
    reached: AtomicBool,
}

#[derive(Default)]
struct ClientState {
    current: Option<Arc<Connection>>,
    /// The region that the store named itself, where nobody else did.
    region: Option<String>,
}

/// How long one call may take.
#[derive(Debug, Clone, Copy)]
pub struct S3Timeouts {
    /// For one try, up to its answer.
    pub answer: Duration,
    /// For all tries together; the last one is cut short.
    pub all: Duration,
    /// The tries.
    pub pace: Pace,
    /// Bytes sent with a try, whose time is on top.
    pub body: u64,
}

impl Default for S3Timeouts {
    /// 18 s for an answer, 55 s in all.
    fn default() -> Self {
        Self { answer: Duration::from_secs(18), all: Duration::from_secs(55), pace: Pace::default(), body: 0 }
    }
}

impl S3Timeouts {
    /// With the time that a body of so many bytes takes on a slow line.
    #[must_use]
    pub const fn sending(self, body: u64) -> Self {
        Self { body, ..self }
    }

    const fn on_the_way(&self) -> Duration {
        Duration::from_secs(self.body / SLOWEST)
    }
}

impl S3 {
    /// The store of these settings. What they leave open comes from AWS's variables and files, when it is needed.
    #[must_use]
    pub fn new(settings: &S3Settings) -> Self {
        Self::made(settings, None)
    }

    /// The same, but with or without checksums in headers. Without, an MD5 goes along; AWS takes checksums, and others
    /// are sent them if AWS_REQUEST_CHECKSUM_CALCULATION says so.
    #[must_use]
    pub fn with_checksums(self, wanted: bool) -> Self {
        Self::made(&self.shared.settings, Some(wanted))
    }

    fn made(settings: &S3Settings, checksums: Option<bool>) -> Self {
        let shared = S3Shared {
            settings: settings.clone(),
            checksums,
            state: Mutex::default(),
            reached: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether a store that has never answered has had its chance, in tries that began at `begun`.
    #[must_use]
    pub fn is_hopeless(&self, begun: Instant) -> bool {
        !self.shared.reached.load(Ordering::Relaxed) && begun.elapsed() > FIRST_TRIES
    }

    /// Does `attempt` until it succeeds, `timeouts` is spent, or trying again is of no use. Credentials that have expired
    /// are fetched again, and a region that nobody named is learned from the store, once a call.
    ///
    /// `action` ends the sentence "cannot … `at`".
    ///
    /// # Errors
    /// The last try's.
    pub async fn call<T, F: Future<Output = Result<T, S3Failure>>>(
        &self,
        action: &'static str,
        at: &S3Address,
        timeouts: S3Timeouts,
        mut attempt: impl FnMut(Arc<Connection>) -> F,
    ) -> Result<T, S3Error> {
        let begun = Instant::now();
        let (mut waits, mut renewed) = (timeouts.pace.waits(), false);
        loop {
            let connection = self.connection().await;
            let first = !self.shared.reached.load(Ordering::Relaxed);
            let longest = if first { timeouts.answer.min(FIRST_CONTACT) } else { timeouts.answer };
            let left = timeouts.all.saturating_sub(begun.elapsed()).max(Duration::from_secs(1));
            let limit = longest.min(left) + timeouts.on_the_way();
            let failure = match timeout(limit, attempt(connection.clone())).await {
                Ok(Ok(done)) => {
                    self.shared.reached.store(true, Ordering::Relaxed);
                    return Ok(done);
                }
                Ok(Err(failure)) => failure,
                Err(_) => S3Failure::new(S3Kind::TimedOut, format!("no answer within {limit:.0?}")),
            };
            if failure.answered {
                self.shared.reached.store(true, Ordering::Relaxed);
            }
            if !renewed && self.renew(&connection, &failure).await {
                renewed = true;
                continue;
            }
            // Where they were found once, a provider that finds none may have had a bad moment.
            let worth_it = failure.kind.is_passing() || (failure.kind == S3Kind::NoCredentials && !first);
            match waits.next().filter(|_| worth_it) {
                Some(wait) if begun.elapsed() + wait < if first { FIRST_TRIES } else { timeouts.all } => {
                    tokio::time::sleep(wait).await;
                }
                _ => return Err(S3Error::new(action, at, failure, &connection)),
            }
        }
    }

    /// The client and what is known of its store; made again after [`Self::renew`].
    async fn connection(&self) -> Arc<Connection> {
        let mut state = self.shared.state.lock().await;
        if let Some(current) = &state.current {
            return current.clone();
        }
        let made =
            Arc::new(Connection::open(&self.shared.settings, self.shared.checksums, state.region.as_deref()).await);
        state.current = Some(made.clone());
        made
    }

    /// Drops a connection whose credentials or region did not do, if another one may. Whoever comes late with the same
    /// trouble finds it done.
    async fn renew(&self, old: &Arc<Connection>, failure: &S3Failure) -> bool {
        let learned = failure.region.as_ref().filter(|_| old.region_guessed);
        if !failure.expired && learned.is_none() {
            return false;
        }
        let mut state = self.shared.state.lock().await;
        if state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, old)) {
            state.current = None;
            if let Some(region) = learned {
                state.region = Some(region.clone());
            }
        }
        true
    }
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}
