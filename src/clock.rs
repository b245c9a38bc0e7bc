//! The time: milliseconds since 1970 for the ledger, and a monotonic reading that counts suspend for permits.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::sync::Notify;

/// A moment: milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = i64;

/// The clock of one process: the wall clock, which somebody may set, and the monotonic clock, which only runs. Tests
/// move both; everything that waits for a moment notices.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    wall_offset_ms: Arc<AtomicI64>,
    boot_offset_ms: Arc<AtomicI64>,
    moved: Arc<Notify>,
    /// The readings of both clocks while nobody moves them; `None`: they run.
    stands_at: Option<(Millis, Millis)>,
    /// Whether the time is a server's: it goes on with the monotonic clock, from what the server said last.
    of_server: bool,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that shows the present moment and stands still until it is moved. Tests of short waits use it.
    #[must_use]
    pub fn stopped() -> Self {
        Self { stands_at: Some((wall_ms(), boot_ms())), ..Self::default() }
    }

    /// The clock of a server, as [`Clock::follow`] hears it. Until then it is the system's.
    #[must_use]
    pub fn of_server() -> Self {
        let clock = Self { of_server: true, ..Self::default() };
        clock.follow(wall_ms());
        clock
    }

    /// The server says that it is `now`, in ms since 1970. Other clocks do not listen.
    pub fn follow(&self, now: Millis) {
        if self.of_server {
            self.wall_offset_ms.store(now - boot_ms(), Ordering::Relaxed);
        }
    }

    /// Now, in milliseconds since 1970.
    #[must_use]
    pub fn now(&self) -> Millis {
        if self.of_server {
            return boot_ms() + self.wall_offset_ms.load(Ordering::Relaxed);
        }
        self.stands_at.map_or_else(wall_ms, |(wall, _)| wall) + self.wall_offset_ms.load(Ordering::Relaxed)
    }

    /// Milliseconds since the machine started. This clock goes on during suspend, and nobody sets it.
    #[must_use]
    pub fn boot(&self) -> Millis {
        self.stands_at.map_or_else(boot_ms, |(_, boot)| boot) + self.boot_offset_ms.load(Ordering::Relaxed)
    }

    /// Lets `ms` pass on this clock and its clones; sleepers look again.
    pub fn advance(&self, ms: i64) {
        self.boot_offset_ms.fetch_add(ms, Ordering::Relaxed);
        self.step(ms);
    }

    /// Sets the wall clock forward or back by `ms` while no time passes. Sleepers look again.
    pub fn step(&self, ms: i64) {
        self.wall_offset_ms.fetch_add(ms, Ordering::Relaxed);
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
            // The wall clock can be set during a sleep: never trust one long sleep.
            let nap = Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(Duration::from_secs(30));
            tokio::select! { () = tokio::time::sleep(nap) => {}, () = moved => {} }
        }
    }
}

/// Identifies this start of the machine. Readings of [`Clock::boot`] are comparable between processes with the same
/// id. `None` where the system provides no id.
#[must_use]
pub fn boot_id() -> Option<&'static str> {
    static ID: OnceLock<Option<String>> = OnceLock::new();
    ID.get_or_init(|| {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned()).filter(|id| !id.is_empty())
    })
    .as_deref()
}

fn wall_ms() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn boot_ms() -> Millis {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let id = rustix::time::ClockId::Boottime;
    // Other systems have only CLOCK_MONOTONIC; on macOS it counts suspend.
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

    #[tokio::test]
    async fn a_stopped_clock_moves_when_it_is_moved() {
        let clock = Clock::stopped();
        let (wall, boot) = (clock.now(), clock.boot());
        std::thread::sleep(Duration::from_millis(3));
        assert_eq!((clock.now(), clock.boot()), (wall, boot));
        let sleeper = clock.clone();
        let task = tokio::spawn(async move { sleeper.sleep_until(wall + 5).await });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!task.is_finished());
        clock.advance(5);
        tokio::time::timeout(Duration::from_secs(5), task).await.expect("woken").unwrap();
    }

    #[test]
    fn a_servers_clock_goes_on_from_what_the_server_said() {
        let clock = Clock::of_server();
        assert!((clock.now() - wall_ms()).abs() < 1_000);
        clock.follow(5_000_000);
        assert!((5_000_000..5_001_000).contains(&clock.now()));
        let ours = Clock::system();
        ours.follow(5_000_000);
        assert!(ours.now() > 1_000_000_000_000);
    }

    #[test]
    fn time_passes_on_both_clocks_and_a_step_is_no_time() {
        let clock = Clock::system();
        let (wall, boot) = (clock.now(), clock.boot());
        clock.advance(60_000);
        assert!(clock.now() >= wall + 60_000 && clock.boot() >= boot + 60_000);
        clock.step(-3_600_000);
        assert!(clock.now() < wall && clock.boot() >= boot + 60_000);
    }
}
