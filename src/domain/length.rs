//! Lengths of audio from outside: from headers, answers, and logs. Each is bounded on entry, so that arithmetic with it
//! cannot overflow.

/// What is known of a recording's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Length {
    /// Nothing.
    #[default]
    Unknown,
    /// About this many ms. The headers or a part of the recording say so, and nothing proves it.
    Estimated(u64),
    /// This many ms. The whole recording agrees.
    Exact(u64),
}

impl Length {
    /// The length in ms, exact or not.
    #[must_use]
    pub const fn ms(self) -> Option<u64> {
        match self {
            Self::Unknown => None,
            Self::Estimated(ms) | Self::Exact(ms) => Some(ms),
        }
    }

    /// The length in ms, if it is exact.
    #[must_use]
    pub const fn exact_ms(self) -> Option<u64> {
        match self {
            Self::Exact(ms) => Some(ms),
            Self::Unknown | Self::Estimated(_) => None,
        }
    }

    /// Whether it is exact.
    #[must_use]
    pub const fn is_exact(self) -> bool {
        matches!(self, Self::Exact(_))
    }

    /// The same length, which nothing proves.
    #[must_use]
    pub const fn unproven(self) -> Self {
        match self {
            Self::Exact(ms) => Self::Estimated(ms),
            Self::Unknown | Self::Estimated(_) => self,
        }
    }

    /// An exact length of this many ms if `proven`, else an estimate.
    #[must_use]
    pub const fn of(ms: u64, proven: bool) -> Self {
        if proven { Self::Exact(ms) } else { Self::Estimated(ms) }
    }

    /// This length, if a file with this many bytes can have it; else nothing is known.
    #[must_use]
    pub const fn within(self, bytes: u64) -> Self {
        match self.ms() {
            Some(ms) if of_file(ms, bytes).is_some() => self,
            _ => Self::Unknown,
        }
    }
}

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
    fn only_an_exact_length_is_exact() {
        assert_eq!((Length::Exact(7).ms(), Length::Exact(7).exact_ms()), (Some(7), Some(7)));
        assert_eq!((Length::Estimated(7).ms(), Length::Estimated(7).exact_ms()), (Some(7), None));
        assert_eq!((Length::Unknown.ms(), Length::Unknown.exact_ms()), (None, None));
        assert_eq!(Length::Exact(7).unproven(), Length::of(7, false));
        assert_eq!(Length::Exact(5_000).within(4), Length::Unknown);
        assert_eq!(Length::Exact(5_000).within(5), Length::Exact(5_000));
    }

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
