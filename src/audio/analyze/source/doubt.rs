//! Notices that samples are read by the wrong one of two encodings that are easily taken for each other.

use crate::audio::{
    analyze::hearing::{Encoding, Note},
    g711::{alaw_decode, alaw_encode, ulaw_decode, ulaw_encode},
};

/// Samples that are enough to tell.
const ENOUGH: u64 = 2_400_000;
/// With fewer samples nothing is told.
const LEAST: u64 = 4_000;
/// How much smoother the other reading has to be.
const SMOOTHER: f64 = 0.87;
/// Samples below this are silence.
const SILENT: u16 = 64;
/// One of so many samples in silence proves the reading of G.711.
const SILENT_SHARE: u64 = 5;
/// The mean size of samples that are read wrong is greater: what is near silence is no proof of anything.
const LEAST_MEAN: f64 = 200.0;

/// Compares how smooth both readings of the same bytes are: sound goes from sample to sample in steps that are small
/// beside the samples, and the wrong reading does not.
pub(super) struct Doubter {
    encoding: Encoding,
    own: Roughness,
    other: Roughness,
    heard: u64,
    last: Option<i16>,
    /// Samples that are almost zero, and all samples.
    silent: u64,
    all: u64,
}

#[derive(Default)]
struct Roughness {
    before: f64,
    steps: f64,
    sizes: f64,
    sum: f64,
}

impl Roughness {
    fn push(&mut self, sample: i16) {
        let sample = f64::from(sample);
        // Of log-like sizes, so that one loud passage does not outweigh all else.
        let size = sample.signum() * sample.abs().sqrt();
        self.steps += (size - self.before).abs();
        self.sizes += size.abs();
        self.before = size;
        self.sum += sample.abs();
    }

    fn value(&self) -> f64 {
        self.steps / self.sizes.max(1.0)
    }
}

impl Doubter {
    pub(super) fn new(encoding: Encoding) -> Self {
        Self {
            encoding,
            own: Roughness::default(),
            other: Roughness::default(),
            heard: 0,
            last: None,
            silent: 0,
            all: 0,
        }
    }

    const fn other(&self) -> Option<Encoding> {
        match self.encoding {
            Encoding::ULaw => Some(Encoding::ALaw),
            Encoding::ALaw => Some(Encoding::ULaw),
            Encoding::S16Le => Some(Encoding::S16Be),
            Encoding::S16Be => Some(Encoding::S16Le),
            Encoding::U8 | Encoding::G722 => None,
        }
    }

    /// Samples of one channel as they were read.
    pub(super) fn hear(&mut self, samples: &[f32]) {
        if self.heard >= ENOUGH || self.other().is_none() {
            return;
        }
        for sample in samples {
            let sample = (sample * 32_768.0) as i16;
            self.all += 1;
            self.silent += u64::from(sample.unsigned_abs() < SILENT);
            // Digital silence read wrong is a constant level: perfectly smooth, and no proof of anything.
            if self.last.replace(sample) == Some(sample) {
                continue;
            }
            self.heard += 1;
            let other = match self.encoding {
                Encoding::ULaw => alaw_decode(ulaw_encode(sample)),
                Encoding::ALaw => ulaw_decode(alaw_encode(sample)),
                Encoding::S16Le | Encoding::S16Be => sample.swap_bytes(),
                Encoding::U8 | Encoding::G722 => sample,
            };
            self.own.push(sample);
            self.other.push(other);
        }
    }

    /// What it seems to be, if that is something else.
    pub(super) fn note(&self) -> Option<Note> {
        let seems = self.other()?;
        let is_loud = self.own.sum >= LEAST_MEAN * self.heard as f64;
        // Neither law reads the other's silence as silence.
        let is_g711 = matches!(self.encoding, Encoding::ULaw | Encoding::ALaw);
        let is_own = is_g711 && self.silent * SILENT_SHARE >= self.all;
        let is_other = self.heard >= LEAST && is_loud && !is_own && self.other.value() < SMOOTHER * self.own.value();
        is_other.then_some(Note::LooksLike { read_as: self.encoding, seems })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::fixtures::Sound;

    #[test]
    fn the_wrong_reading_is_noticed_and_the_right_one_is_not() {
        use Encoding::{ALaw, S16Be, S16Le, ULaw};
        let sounds = [
            Sound::Music { seed: 1, drums: true },
            Sound::Hum { hz: 50.0 },
            Sound::PinkNoise,
            Sound::Noise,
            Sound::Ring { tones: [440.0, 480.0], on_ms: 1_000, off_ms: 2_000 },
        ];
        for (sound, level) in
            sounds.iter().flat_map(|sound| [(sound, 1.0), (sound, 0.1), (sound, 0.01), (sound, 0.0005)])
        {
            let samples: Vec<i16> = sound.samples(8_000, 5_000).iter().map(|s| (s * level * 32_767.0) as i16).collect();
            for (is, read_as) in
                [(ULaw, ULaw), (ULaw, ALaw), (ALaw, ALaw), (ALaw, ULaw), (S16Le, S16Le), (S16Be, S16Le)]
            {
                let read = |sample: &i16| {
                    let code = if is == ULaw { ulaw_encode(*sample) } else { alaw_encode(*sample) };
                    let read = match read_as {
                        ULaw => ulaw_decode(code),
                        ALaw => alaw_decode(code),
                        _ if is == read_as => *sample,
                        _ => sample.swap_bytes(),
                    };
                    f32::from(read) / 32_768.0
                };
                let mut doubter = Doubter::new(read_as);
                doubter.hear(&samples.iter().map(read).collect::<Vec<_>>());
                let noticed = doubter.note().is_some();
                // White noise is as rough either way.
                let is_sure = matches!(sound, Sound::Music { .. } | Sound::PinkNoise) && level > 0.05;
                if is_sure || is == read_as {
                    assert_eq!(
                        noticed,
                        is != read_as,
                        "{sound:?} {level} {is:?} {read_as:?} {} {}",
                        doubter.own.value(),
                        doubter.other.value()
                    );
                }
            }
        }
    }

    #[test]
    fn tones_between_digital_silence_prove_nothing_against_their_own_reading() {
        let tone = |at: usize| (8_000.0 * (at as f32 * 2_000.0 * std::f32::consts::TAU / 8_000.0 + 0.3).sin()) as i16;
        let samples: Vec<i16> = (0..40_000).map(|at| if at % 4_000 < 1_000 { tone(at) } else { 0 }).collect();
        for (encoding, coded) in [
            (Encoding::ULaw, samples.iter().map(|s| ulaw_decode(ulaw_encode(*s))).collect::<Vec<_>>()),
            (Encoding::ALaw, samples.iter().map(|s| alaw_decode(alaw_encode(*s))).collect()),
        ] {
            let mut doubter = Doubter::new(encoding);
            doubter.hear(&coded.iter().map(|s| f32::from(*s) / 32_768.0).collect::<Vec<_>>());
            assert_eq!(doubter.note(), None, "{encoding:?}");
        }
    }
}
