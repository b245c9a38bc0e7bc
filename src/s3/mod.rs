//! A connection to an S3 store, for reading and writing: credentials, retries, and the meaning of responses.

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
mod folder;
mod list;

pub use connection::{Connection, set_test_credentials};
pub use error::{S3Error, S3Failure, S3Kind};
pub use folder::S3Folder;
pub use list::{Advance, ListPages, ListedKey};

/// The time limit for a store that has never answered, so that a wrong address is reported soon.
const FIRST_TIMEOUT: Duration = Duration::from_secs(8);
/// After this time, a store that has never answered is not tried again.
const FIRST_TRIES: Duration = Duration::from_secs(5);
/// The slowest expected transfer rate, in bytes a second.
const SLOWEST: u64 = 64 * 1024;

/// One store, and the identity used for it. Nothing is looked up before the first call. Clones share their connections.
#[derive(Clone)]
pub struct S3 {
    shared: Arc<S3Shared>,
}

struct S3Shared {
    settings: S3Settings,
    /// Whether the store accepts checksums in headers, if that is configured.
    checksums: Option<bool>,
    state: Mutex<ClientState>,
    /// Whether the store has ever answered.
    reached: AtomicBool,
}

#[derive(Default)]
struct ClientState {
    current: Option<Arc<Connection>>,
    /// The region that the store named, if none was configured.
    region: Option<String>,
}

/// The time limits of one call.
#[derive(Debug, Clone, Copy)]
pub struct S3Timeouts {
    /// For one try, until its response.
    pub answer: Duration,
    /// For all tries together; the last one is cut short.
    pub all: Duration,
    /// The number of tries, and the delays between them.
    pub pace: Pace,
    /// Bytes sent with a try, whose transfer time is added.
    pub body: u64,
}

impl Default for S3Timeouts {
    /// 18 s for a response, 55 s in all.
    fn default() -> Self {
        Self { answer: Duration::from_secs(18), all: Duration::from_secs(55), pace: Pace::default(), body: 0 }
    }
}

impl S3Timeouts {
    /// Adds the time that a body of this many bytes takes on a slow line.
    #[must_use]
    pub const fn sending(self, body: u64) -> Self {
        Self { body, ..self }
    }

    const fn on_the_way(&self) -> Duration {
        Duration::from_secs(self.body / SLOWEST)
    }
}

impl S3 {
    /// The store with these settings. What they leave open is read from AWS's variables and files when it is needed.
    #[must_use]
    pub fn new(settings: &S3Settings) -> Self {
        Self::made(settings, None)
    }

    /// The same, with or without checksums in headers. Without, an MD5 is sent; AWS gets checksums by default, and others if
    /// AWS_REQUEST_CHECKSUM_CALCULATION says so.
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

    /// Whether a store that has never answered has had enough time, in tries since `begun`.
    #[must_use]
    pub fn is_hopeless(&self, begun: Instant) -> bool {
        !self.shared.reached.load(Ordering::Relaxed) && begun.elapsed() > FIRST_TRIES
    }

    /// Runs `attempt` until it succeeds, `timeouts` is used up, or another try is useless. Once a call, expired credentials are
    /// fetched again, and an unset region is learned from the store.
    ///
    /// `action` ends the sentence "cannot … `at`".
    ///
    /// # Errors
    /// The error of the last try.
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
            let longest = if first { timeouts.answer.min(FIRST_TIMEOUT) } else { timeouts.answer };
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
            // If credentials were found before, a provider that finds none may have failed temporarily.
            let worth_it = failure.kind.is_passing() || (failure.kind == S3Kind::NoCredentials && !first);
            match waits.next().filter(|_| worth_it) {
                Some(wait) if begun.elapsed() + wait < if first { FIRST_TRIES } else { timeouts.all } => {
                    tokio::time::sleep(wait).await;
                }
                _ => return Err(S3Error::new(action, at, failure, &connection)),
            }
        }
    }

    /// The client with what is known of its store; created again after [`Self::renew`].
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

    /// Drops a connection with rejected credentials or region, if a new one may work. A later caller with the same failure
    /// finds it replaced.
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
