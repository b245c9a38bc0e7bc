//! Paces the retries of transfers: downloads of recordings, uploads of outputs.
//!
//! The only place that names the `backoff` crate, which is no longer maintained. A replacement changes only this
//! file.

use std::time::Duration;

use backoff::{ExponentialBackoff, ExponentialBackoffBuilder, backoff::Backoff};

/// The number of tries of a transfer and the waits between them: doubling, with jitter of half a wait either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The total number of tries, the first included.
    pub tries: u32,
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait, without jitter.
    pub longest: Duration,
}

impl Pace {
    /// The waits between the tries of one transfer: one fewer than tries.
    #[must_use]
    pub fn waits(self) -> Waits {
        let policy = ExponentialBackoffBuilder::new()
            .with_initial_interval(self.first)
            .with_max_interval(self.longest)
            .with_multiplier(2.0)
            .with_randomization_factor(0.5)
            .with_max_elapsed_time(None)
            .build();
        Waits { policy, left: self.tries.saturating_sub(1) }
    }
}

impl Default for Pace {
    /// Three tries, after about 0.5 s and 1 s. A job has further tries of its own.
    fn default() -> Self {
        Self { tries: 3, first: Duration::from_millis(500), longest: Duration::from_secs(30) }
    }
}

/// The remaining waits of one transfer. After the last one, the failure is final.
#[derive(Debug)]
pub struct Waits {
    policy: ExponentialBackoff,
    left: u32,
}

impl Iterator for Waits {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        self.policy.next_backoff()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let pace = Pace { tries: 5, first: Duration::from_millis(100), longest: Duration::from_millis(300) };
        let waits: Vec<_> = pace.waits().map(|wait| wait.as_millis()).collect();
        assert_eq!(waits.len(), 4);
        for (wait, middle) in waits.iter().zip([100, 200, 300, 300]) {
            assert!((middle / 2..=middle * 3 / 2).contains(wait), "{waits:?}");
        }
    }

    #[test]
    fn one_try_waits_for_nothing() {
        assert_eq!(Pace { tries: 1, ..Pace::default() }.waits().count(), 0);
    }
}
