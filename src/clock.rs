//! The time: milliseconds since 1970 for the ledger, and a monotonic reading that counts suspend for permits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::Notify;

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = i64;

/// The clock of one process. Tests move it; everything that waits for a moment notices.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    offset_ms: Arc<AtomicI64>,
    moved: Arc<Notify>,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// Now, in milliseconds since 1970.
    #[must_use]
    pub fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX) + self.offset_ms.load(Ordering::Relaxed)
    }

    /// Moves this clock (and its clones) by `ms`; sleepers look again.
    pub fn advance(&self, ms: i64) {
        self.offset_ms.fetch_add(ms, Ordering::Relaxed);
        self.moved.notify_waiters();
    }

    /// Waits until `moment`. Returns at once when it has passed.
    pub async fn sleep_until(&self, moment: Millis) {
        loop {
            let moved = self.moved.notified();
            let left = moment - self.now();
            if left <= 0 {
                return;
            }
            // A wall clock can be set while we sleep: never trust one long sleep.
            let nap = Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(Duration::from_secs(30));
            tokio::select! { () = tokio::time::sleep(nap) => {}, () = moved => {} }
        }
    }
}

/// Milliseconds since boot, by the clock that goes on while the machine sleeps and is never set.
#[must_use]
pub fn boot_ms() -> Millis {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let id = rustix::time::ClockId::Boottime;
    // Elsewhere CLOCK_MONOTONIC is the nearest there is; on macOS it counts suspend.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let id = rustix::time::ClockId::Monotonic;
    let t = rustix::time::clock_gettime(id);
    t.tv_sec * 1000 + t.tv_nsec / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_notices_that_the_clock_was_moved() {
        let clock = Clock::system();
        let late = clock.now() + 3_600_000;
        let sleeper = clock.clone();
        let task = tokio::spawn(async move { sleeper.sleep_until(late).await });
        tokio::task::yield_now().await;
        clock.advance(3_600_001);
        tokio::time::timeout(Duration::from_secs(5), task).await.expect("woken").unwrap();
    }
}
