//! What a call buys, and what that may cost, as far as it is known before the call.

use crate::{
    clock::Millis,
    domain::{
        cost::MicroUsd,
        identity::Identity,
        length::{self, Length},
    },
};

/// The length assumed for a recording of unknown length, before any recording was seen.
const FIRST_GUESS_MS: u64 = 10 * 60_000;

/// What a call buys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purchase {
    /// A transcript, charged by the length of the recording.
    Transcript {
        /// Length of the recording.
        length: Length,
        /// Price of a minute.
        rate: MicroUsd,
    },
    /// A clip, charged by the length of the text.
    Clip(Clip),
    /// Anything else whose price is known before the call.
    Priced {
        /// How much of it, in the units of its task.
        units: u32,
        /// At list price.
        cost: MicroUsd,
    },
}

/// A part of a text that is to be synthesized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clip {
    /// Everything that determines its audio: two calls with the same key are never open at the same time.
    pub cache_key: Identity,
    /// The moment just before the audio cache was last searched for it (ms since 1970).
    pub looked_at: Millis,
    /// How long the text is.
    pub characters: u32,
    /// At list price.
    pub cost: MicroUsd,
    /// Whether the clip is not bought while a call of unknown outcome for it is in manual review, or about to be.
    pub respects_manual_review: bool,
}

impl Purchase {
    /// The clip that the call buys, if it buys one.
    #[must_use]
    pub const fn clip(&self) -> Option<&Clip> {
        match self {
            Self::Transcript { .. } | Self::Priced { .. } => None,
            Self::Clip(clip) => Some(clip),
        }
    }

    /// How much the call buys, in the units of its task; `None` where that is unknown.
    #[must_use]
    pub fn units(&self) -> Option<i64> {
        match self {
            Self::Transcript { length, .. } => {
                length.ms().and_then(length::bounded).and_then(|ms| i64::try_from(ms).ok())
            }
            Self::Clip(clip) => Some(clip.characters.into()),
            Self::Priced { units, .. } => Some((*units).into()),
        }
    }

    /// The amount to reserve, where the longest recording seen so far had `longest_ms` (0: none was seen). `None`: an
    /// implausible amount, for which no call is made.
    pub(in crate::store) fn estimate(&self, longest_ms: i64) -> Option<i64> {
        let cost = match *self {
            Self::Transcript { length, rate } => {
                let guess = u64::try_from(longest_ms).ok().filter(|ms| *ms > 0).unwrap_or(FIRST_GUESS_MS);
                let ms = match length {
                    Length::Exact(ms) => ms,
                    // It may be far longer than what was seen of it.
                    Length::Estimated(ms) => ms.max(guess),
                    Length::Unknown => guess,
                };
                MicroUsd::share(rate, length::bounded(ms)?, 60_000)
            }
            Self::Clip(clip) => clip.cost,
            Self::Priced { cost, .. } => cost,
        };
        (MicroUsd::ZERO..MicroUsd::MOST).contains(&cost).then_some(cost.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_an_amount_or_none() {
        let estimate = |length, rate, longest| Purchase::Transcript { length, rate: MicroUsd(rate) }.estimate(longest);
        assert_eq!(estimate(Length::Exact(60_000), 5_000, 0), Some(5_000));
        assert_eq!(estimate(Length::Exact(1), 5_000, 0), Some(1), "rounded up");
        assert_eq!(estimate(Length::Unknown, 5_000, 0), Some(50_000), "ten minutes");
        assert_eq!(estimate(Length::Unknown, 5_000, 120_000), Some(10_000), "the longest seen");
        assert_eq!(estimate(Length::Unknown, 5_000, -1), Some(50_000));
        for ms in [18_446_744_073_709_551, u64::MAX, length::LONGEST_MS + 1] {
            assert_eq!(estimate(Length::Exact(ms), 5_000, 0), None, "{ms}");
        }
        assert_eq!(estimate(Length::Exact(60_000), i64::MAX, 0), None);
        assert_eq!(estimate(Length::Unknown, 5_000, i64::MAX), None);
    }

    #[test]
    fn a_length_that_nothing_proves_reserves_no_less_than_an_unknown_one() {
        let estimate =
            |length, longest| Purchase::Transcript { length, rate: MicroUsd(5_000) }.estimate(longest).unwrap();
        assert_eq!(estimate(Length::Estimated(1_000), 0), 50_000, "ten minutes, not a second");
        assert_eq!(estimate(Length::Estimated(1_000), 120_000), 10_000, "the longest seen");
        assert_eq!(estimate(Length::Estimated(3_600_000), 120_000), 300_000, "an hour");
    }
}
