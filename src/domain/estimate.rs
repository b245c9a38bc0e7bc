//! The total length of many recordings, estimated from a sample whose headers were read.

/// One recording of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampled {
    /// Its size.
    pub bytes: u64,
    /// Its length.
    pub audio_ms: u64,
    /// Whether that is exact.
    pub is_exact: bool,
}

/// The estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// Estimates the length of `lines` recordings of `bytes` in total from a sample: size predicts length far better than
/// the number of recordings does. `None` if the sample is useless.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, never negative"
)]
pub fn guess(sample: &[Sampled], bytes: u64, lines: u64) -> Option<Guess> {
    let n = sample.len() as f64;
    let seen_bytes: f64 = sample.iter().map(|s| s.bytes as f64).sum();
    let seen_ms: f64 = sample.iter().map(|s| s.audio_ms as f64).sum();
    if seen_bytes <= 0.0 || seen_ms <= 0.0 {
        return None;
    }
    let ms_a_byte = seen_ms / seen_bytes;
    let audio_ms = ms_a_byte * bytes as f64;
    let sampled = sample.len() as u64;
    let not_exact = sample.iter().filter(|s| !s.is_exact).count() as u64;
    let give_or_take = if sampled >= lines {
        0.0
    } else if sampled < 2 {
        audio_ms
    } else {
        // The standard error of a ratio estimate, reduced by the share that was read.
        let off: f64 = sample.iter().map(|s| (s.audio_ms as f64 - ms_a_byte * s.bytes as f64).powi(2)).sum();
        let unseen = 1.0 - n / lines as f64;
        2.0 * lines as f64 * (off / (n * (n - 1.0)) * unseen).sqrt()
    };
    Some(Guess { audio_ms: audio_ms as u64, give_or_take_ms: give_or_take as u64, sampled, not_exact })
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
        let guess = guess(&sample(&[16_000; 10]), 160_000_000, 1_000).unwrap();
        assert_eq!(guess, Guess { audio_ms: 10_000_000, give_or_take_ms: 0, sampled: 10, not_exact: 0 });
    }

    #[test]
    fn the_more_they_differ_the_less_is_known() {
        let even = guess(&sample(&[16_000, 16_100, 15_900, 16_050]), 16_000_000, 100).unwrap();
        let mixed = guess(&sample(&[16_000, 4_000, 16_000, 4_000]), 16_000_000, 100).unwrap();
        assert!(even.give_or_take_ms * 20 < even.audio_ms, "{even:?}");
        assert!(mixed.give_or_take_ms > even.give_or_take_ms * 10, "{mixed:?}");
        let all = guess(&sample(&[16_000, 4_000]), 48_000, 2).unwrap();
        assert_eq!(all.give_or_take_ms, 0, "nothing is left to guess");
        let one = guess(&sample(&[16_000]), 160_000, 10).unwrap();
        assert_eq!(one.give_or_take_ms, one.audio_ms, "one says next to nothing");
    }

    #[test]
    fn lengths_without_proof_are_counted() {
        let mut sample = sample(&[16_000; 3]);
        sample[1].is_exact = false;
        assert_eq!(guess(&sample, 96_000, 3).unwrap().not_exact, 1);
    }

    #[test]
    fn a_sample_without_lengths_says_nothing() {
        assert_eq!(guess(&[], 1, 1), None);
        assert_eq!(guess(&[Sampled { bytes: 9, audio_ms: 0, is_exact: true }], 1, 1), None);
    }
}
