//! Lengths of audio from outside: from headers, answers, and logs. Each is bounded on entry, so that arithmetic with it
//! cannot overflow.

/// The longest plausible length, in ms: some three years.
pub const LONGEST_MS: u64 = 100_000_000_000;

/// A length in ms; `None` if it is implausible. A header may use its largest number for "unknown".
#[must_use]
pub const fn bounded(ms: u64) -> Option<u64> {
    if ms <= LONGEST_MS { Some(ms) } else { None }
}

/// The length from the header of a file with this many bytes, in ms; `None` if the file is too small for it. Even silence
/// takes over one byte per second.
#[must_use]
pub const fn of_file(ms: u64, bytes: u64) -> Option<u64> {
    match bounded(ms) {
        Some(ms) if ms / 1_000 <= bytes => Some(ms),
        _ => None,
    }
}

/// A length in seconds as ms, rounded; `None` if it is not a number, infinite, or implausible. A negative length
/// is 0.
#[must_use]
pub fn from_seconds(seconds: f64) -> Option<u64> {
    let ms = (seconds * 1_000.0).round().max(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and LONGEST_MS")]
    (seconds.is_finite() && ms <= LONGEST_MS as f64).then_some(ms as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_no_more_than_a_second_in_each_byte() {
        assert_eq!(of_file(3_600_000, 3_600), Some(3_600_000), "an hour of silence, packed well");
        assert_eq!(of_file(3_601_000, 3_600), None);
        assert_eq!(of_file(u64::MAX, u64::MAX), None);
    }

    #[test]
    fn only_lengths_are_lengths() {
        assert_eq!(bounded(LONGEST_MS), Some(LONGEST_MS));
        assert_eq!(bounded(18_446_744_073_709_551), None, "a duration of all ones at a timescale of 1000");
        for (seconds, ms) in [(0.0, Some(0)), (1.2345, Some(1_235)), (-3.0, Some(0)), (1e8, Some(LONGEST_MS))] {
            assert_eq!(from_seconds(seconds), ms, "{seconds}");
        }
        for seconds in [1e8 + 1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX] {
            assert_eq!(from_seconds(seconds), None, "{seconds}");
        }
    }
}
