//! What a call buys, and what that may cost as far as it is known before.

use crate::{clock::Millis, domain::identity::Identity};

/// The length that an unknown recording counts for, before any was seen.
const FIRST_GUESS_MS: i64 = 10 * 60_000;

/// What a call buys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purchase {
    /// A transcript, paid for by the recording's length.
    Transcript {
        /// Length of the recording, if it is known.
        audio_ms: Option<u64>,
        /// Price of a minute, in micro-USD.
        rate: i64,
    },
    /// Speech, paid for by the text's length.
    Speech(Sound),
}

/// A part of a text that is to be spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sound {
    /// All that shapes it: two calls with the same one never are open at a time.
    pub fingerprint: Identity,
    /// When the spool was last looked at for it, before looking (ms since 1970).
    pub looked_at: Millis,
    /// How long the text is.
    pub characters: u32,
    /// At list price, in micro-USD.
    pub cost: i64,
    /// Whether it is not bought where a call of unknown outcome for it is parked, or about to be.
    pub heeds_parked: bool,
}

impl Purchase {
    /// The sound that it buys, if it buys one.
    #[must_use]
    pub const fn sound(&self) -> Option<&Sound> {
        match self {
            Self::Transcript { .. } => None,
            Self::Speech(sound) => Some(sound),
        }
    }

    /// What to reserve, where the longest recording seen so far had `longest_ms` (0: none was).
    pub(super) fn estimate(&self, longest_ms: i64) -> i64 {
        match *self {
            Self::Transcript { audio_ms, rate } => {
                let guess = if longest_ms > 0 { longest_ms } else { FIRST_GUESS_MS };
                let ms = audio_ms.and_then(|ms| i64::try_from(ms).ok()).unwrap_or(guess);
                (ms.saturating_mul(rate) + 59_999) / 60_000
            }
            Self::Speech(sound) => sound.cost,
        }
    }
}
