//! The total length of many recordings, estimated from a sample whose headers were read.

/// One recording of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampled {
    /// Its size; 0 where nobody said it.
    pub bytes: u64,
    /// Its length.
    pub audio_ms: u64,
    /// Whether that is exact.
    pub is_exact: bool,
}

/// The estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Guess {
    /// Total length of the audio, in ms.
    pub audio_ms: u64,
    /// The error bound in 19 of 20 cases, in ms; 0 if all recordings were read.
    pub give_or_take_ms: u64,
    /// How many recordings were read.
    pub sampled: u64,
    /// How many of those do not prove their length.
    pub not_exact: u64,
}

impl Guess {
    /// The estimate for both of two sets of recordings.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate, never negative"
    )]
    pub fn and(self, other: Self) -> Self {
        Self {
            audio_ms: self.audio_ms.saturating_add(other.audio_ms),
            // The errors are independent.
            give_or_take_ms: (self.give_or_take_ms as f64).hypot(other.give_or_take_ms as f64) as u64,
            sampled: self.sampled + other.sampled,
            not_exact: self.not_exact + other.not_exact,
        }
    }
}

/// Estimates the length of `lines` recordings from a sample. Where their size in total, `bytes`, is known, it predicts the
/// length far better than their number does. `None` if the sample is useless.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, never negative"
)]
pub fn guess(sample: &[Sampled], bytes: Option<u64>, lines: u64) -> Option<Guess> {
    let n = sample.len() as f64;
    let weight = |sampled: &Sampled| if bytes.is_some() { sampled.bytes as f64 } else { 1.0 };
    let seen: f64 = sample.iter().map(weight).sum();
    let seen_ms: f64 = sample.iter().map(|s| s.audio_ms as f64).sum();
    if seen <= 0.0 || seen_ms <= 0.0 {
        return None;
    }
    let rate = seen_ms / seen;
    let audio_ms = rate * bytes.unwrap_or(lines) as f64;
    let sampled = sample.len() as u64;
    let not_exact = sample.iter().filter(|s| !s.is_exact).count() as u64;
    let give_or_take = if sampled >= lines {
        0.0
    } else if sampled < 2 {
        audio_ms
    } else {
        // The standard error of a ratio estimate, reduced by the share that was read.
        let off: f64 = sample.iter().map(|s| (s.audio_ms as f64 - rate * weight(s)).powi(2)).sum();
        let unseen = 1.0 - n / lines as f64;
        2.0 * lines as f64 * (off / (n * (n - 1.0)) * unseen).sqrt()
    };
    Some(Guess { audio_ms: audio_ms as u64, give_or_take_ms: give_or_take as u64, sampled, not_exact })
}

/// How many of `lines` are of a kind that `found` of `looked` have.
#[must_use]
pub fn extrapolate(found: u64, looked: u64, lines: u64) -> u64 {
    if looked >= lines {
        return found;
    }
    let all = u128::from(found) * u128::from(lines) / u128::from(looked.max(1));
    u64::try_from(all).unwrap_or(u64::MAX)
}

/// How many calls recordings make at most, and how much audio these calls carry, by a sample of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallBound {
    /// Recordings of the sample.
    pub recordings: u64,
    /// Their calls at most.
    pub calls: u64,
    /// Length of those whose length is known, in ms.
    pub audio_ms: u64,
    /// Audio of their calls at most, in ms.
    pub sent_ms: u64,
}

impl CallBound {
    /// Adds a recording of this length, if it is known, that makes so many calls at most, which carry so much audio.
    pub const fn add(&mut self, audio_ms: Option<u64>, (calls, sent_ms): (u64, u64)) {
        self.recordings += 1;
        self.calls += calls;
        if let Some(ms) = audio_ms {
            self.audio_ms += ms;
            self.sent_ms = self.sent_ms.saturating_add(sent_ms);
        }
    }

    /// The calls of so many recordings, at most.
    #[must_use]
    pub fn calls_of(&self, recordings: u64) -> u64 {
        share_up(recordings, (self.calls, self.recordings)).max(recordings)
    }

    /// The audio in the calls of recordings of this total length, at most, in ms. Without a known length in the sample their
    /// number counts.
    #[must_use]
    pub fn audio_of(&self, audio_ms: u64) -> u64 {
        let parts = if self.audio_ms > 0 { (self.sent_ms, self.audio_ms) } else { (self.calls, self.recordings) };
        share_up(audio_ms, parts).max(audio_ms)
    }
}

/// `n` times a fraction, rounded up.
fn share_up(n: u64, (part, of): (u64, u64)) -> u64 {
    let product = u128::from(n) * u128::from(part);
    u64::try_from(product.div_ceil(u128::from(of.max(1)))).unwrap_or(u64::MAX)
}

/// Whether the item at `at` (from 0) is one of `wanted` that lie evenly among `all`.
#[must_use]
pub fn is_picked(at: u64, wanted: u64, all: u64) -> bool {
    let before = |at: u64| u128::from(at) * u128::from(wanted) / u128::from(all.max(1));
    wanted >= all || before(at + 1) > before(at)
}

/// The least time in ms that `calls` take under a limit of calls a minute: the first minute's calls start at once.
#[must_use]
pub fn least_time(calls: u64, per_minute: u32) -> u64 {
    let limit = u64::from(per_minute.max(1));
    (calls.saturating_sub(1) / limit).saturating_mul(60_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rates: &[u64]) -> Vec<Sampled> {
        let one =
            |(rate, n): (u64, u64)| Sampled { bytes: n * 16_000, audio_ms: n * 16_000_000 / rate, is_exact: true };
        rates.iter().copied().zip(1..).map(one).collect()
    }

    #[test]
    fn one_format_is_known_by_its_size() {
        let guess = guess(&sample(&[16_000; 10]), Some(160_000_000), 1_000).unwrap();
        assert_eq!(guess, Guess { audio_ms: 10_000_000, give_or_take_ms: 0, sampled: 10, not_exact: 0 });
    }

    #[test]
    fn the_more_they_differ_the_less_is_known() {
        let even = guess(&sample(&[16_000, 16_100, 15_900, 16_050]), Some(16_000_000), 100).unwrap();
        let mixed = guess(&sample(&[16_000, 4_000, 16_000, 4_000]), Some(16_000_000), 100).unwrap();
        assert!(even.give_or_take_ms * 20 < even.audio_ms, "{even:?}");
        assert!(mixed.give_or_take_ms > even.give_or_take_ms * 10, "{mixed:?}");
        let all = guess(&sample(&[16_000, 4_000]), Some(48_000), 2).unwrap();
        assert_eq!(all.give_or_take_ms, 0, "nothing is left to guess");
        let one = guess(&sample(&[16_000]), Some(160_000), 10).unwrap();
        assert_eq!(one.give_or_take_ms, one.audio_ms, "one says next to nothing");
    }

    #[test]
    fn lengths_without_proof_are_counted() {
        let mut sample = sample(&[16_000; 3]);
        sample[1].is_exact = false;
        assert_eq!(guess(&sample, Some(96_000), 3).unwrap().not_exact, 1);
    }

    #[test]
    fn without_sizes_the_mean_length_counts() {
        let seen = [10_000, 20_000, 30_000].map(|audio_ms| Sampled { bytes: 0, audio_ms, is_exact: true });
        let guess = guess(&seen, None, 300).unwrap();
        assert_eq!(guess.audio_ms, 6_000_000);
        assert!((2_000_000..4_000_000).contains(&guess.give_or_take_ms), "{guess:?}");
        let both = guess.and(Guess { audio_ms: 1, give_or_take_ms: 0, sampled: 2, not_exact: 1 });
        assert_eq!((both.audio_ms, both.give_or_take_ms), (6_000_001, guess.give_or_take_ms));
        assert_eq!((both.sampled, both.not_exact), (5, 1));
    }

    #[test]
    fn a_share_is_of_all_lines() {
        assert_eq!(extrapolate(3, 100, 3_000), 90);
        assert_eq!(extrapolate(3, 100, 100), 3);
        assert_eq!(extrapolate(0, 0, 10), 0);
    }

    #[test]
    fn calls_are_bounded_by_the_channels_of_a_sample() {
        let mut bound = CallBound::default();
        bound.add(Some(60_000), (1, 60_000));
        bound.add(Some(120_000), (2, 240_000));
        bound.add(None, (2, 0));
        assert_eq!(bound, CallBound { recordings: 3, calls: 5, audio_ms: 180_000, sent_ms: 300_000 });
        assert_eq!((bound.calls_of(3), bound.calls_of(30), bound.calls_of(1)), (5, 50, 2));
        assert_eq!((bound.audio_of(180_000), bound.audio_of(1_800_000)), (300_000, 3_000_000));
        let mut unknown = CallBound::default();
        unknown.add(None, (2, 0));
        assert_eq!(unknown.audio_of(5_000), 10_000, "their number counts where no length is known");
        assert_eq!((CallBound::default().calls_of(7), CallBound::default().audio_of(9)), (7, 9));
    }

    #[test]
    fn a_sample_lies_evenly_among_all() {
        let picked = |wanted, all| (0..all).filter(|at| is_picked(*at, wanted, all)).collect::<Vec<_>>();
        assert_eq!(picked(3, 9), [2, 5, 8]);
        assert_eq!(picked(200, 300).len(), 200);
        assert_eq!(picked(9, 4), [0, 1, 2, 3]);
        assert_eq!(picked(0, 4), [0u64; 0]);
    }

    #[test]
    fn a_sample_without_lengths_says_nothing() {
        assert_eq!(guess(&[], Some(1), 1), None);
        assert_eq!(guess(&[Sampled { bytes: 9, audio_ms: 0, is_exact: true }], Some(1), 1), None);
    }
}
