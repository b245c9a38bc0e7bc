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

/// Turns of the murmur's lowest tone: 125, 167 and 208 Hz.
const PITCHES: [usize; 3] = [3, 4, 5];
/// How loud each tone of the murmur is beside the digit's.
const MURMUR: f64 = 0.3;

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
            let wave = |turns: usize, amplitude: f64| {
                let angle = TAU * turns as f64 / len as f64;
                let (turn_sin, turn_cos) = angle.sin_cos();
                let (mut sin, mut cos) = (0.0, amplitude);
                std::iter::repeat_with(move || {
                    let sample = sin;
                    (sin, cos) = (sin * turn_cos + cos * turn_sin, cos * turn_cos - sin * turn_sin);
                    sample
                })
            };
            let mut samples: Vec<f64> = wave(self.turns(digit), amplitude(digit)).take(len).collect();
            for turns in self.murmur(digit) {
                samples.iter_mut().zip(wave(turns, MURMUR * amplitude(digit))).for_each(|(all, one)| *all += one);
            }
            samples.into_iter().map(|sample| sample as i16).collect()
        })
    }

    /// Turns of the murmur below a digit's tone: a pitch that goes from digit to digit, and what of its harmonics lies
    /// under the lowest tone. By it a detector of voices takes a burst for speech; it has whole turns, as the tones have,
    /// so that who listens for those does not hear it.
    pub(super) fn murmur(self, digit: usize) -> impl Iterator<Item = usize> {
        let pitch = PITCHES[(digit + self.0) % PITCHES.len()];
        (pitch..LOWEST).step_by(pitch)
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
