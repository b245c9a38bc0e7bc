//! The tones of a voice: ten, one for each digit, in a band of its own.

use std::f64::consts::TAU;

use crate::domain::synthesis_options::SampleRate;

/// How long a tone lasts, in ms.
const TONE_MS: u32 = 24;
/// Voices that can be told apart.
pub(super) const BANDS: usize = 5;
/// The digits.
pub(super) const DIGITS: usize = 10;
/// Turns of the lowest tone while a tone lasts: 500 Hz.
const LOWEST: usize = 12;
/// The turns of a band: those of its tones, and one between it and the next.
const BAND: usize = DIGITS + 1;
/// The greatest sample of the loudest digit.
const LOUDNESS: f64 = 7_500.0;
/// How much softer each digit is than the one before: speech has no constant level.
const SOFTER: f64 = 0.05;

/// Where a voice's tones lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sandbox) struct Band(usize);

impl Band {
    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..BANDS).map(Self)
    }

    /// The band of the voice with this number.
    pub(in crate::sandbox) const fn of(number: usize) -> Self {
        Self(number % BANDS)
    }

    /// Turns of a digit's tone while it lasts.
    pub(super) const fn turns(self, digit: usize) -> usize {
        LOWEST + self.0 * BAND + digit
    }

    /// Samples of each digit's tone. A tone begins and ends at zero, so that they can follow each other.
    pub(super) fn tones(self, rate: SampleRate) -> [Vec<i16>; DIGITS] {
        std::array::from_fn(|digit| {
            let len = tone_len(rate);
            let angle = TAU * self.turns(digit) as f64 / len as f64;
            let (turn_sin, turn_cos) = angle.sin_cos();
            let (mut sin, mut cos) = (0.0, amplitude(digit));
            let mut next = || {
                let sample = sin as i16;
                (sin, cos) = (sin * turn_cos + cos * turn_sin, cos * turn_cos - sin * turn_sin);
                sample
            };
            (0..len).map(|_| next()).collect()
        })
    }
}

/// Samples of a tone.
pub(super) const fn tone_len(rate: SampleRate) -> usize {
    (rate.hz() * TONE_MS / 1_000) as usize
}

/// The greatest sample of a digit's tone.
pub(super) fn amplitude(digit: usize) -> f64 {
    LOUDNESS * (1.0 - SOFTER * digit as f64)
}
