//! Something to hear: a humming as long as speech would be, another one for another text, in every format.

use std::f64::consts::{PI, TAU};

use super::books::Digest;
use crate::{
    audio::{
        g711::{alaw_encode, ulaw_encode},
        mp3, wav,
    },
    domain::synthesis_options::{AudioFormat, SampleRate},
};

/// How fast is spoken, in characters a second at the voice's own pace.
const CHARS_PER_SECOND: u64 = 15;
/// Syllables a second; each is a swell of the same tone.
const SYLLABLES: u32 = 5;

/// What is heard.
#[derive(Debug)]
pub(super) struct SyntheticAudio {
    rate: SampleRate,
    /// How many samples it has.
    len: usize,
    /// One syllable, which is said again and again.
    syllable: Vec<i16>,
    /// Differs where the sound does.
    seed: u64,
}

impl SyntheticAudio {
    /// As long as so many characters take, times `factor`; the tone is the digest's.
    pub(super) fn of(voiced: &Digest, characters: u64, rate: SampleRate, pace: u16, factor: f64) -> Self {
        let seed = voiced[..8].iter().fold(0, |n, b| n << 8 | u64::from(*b));
        let thousandths = characters * u64::from(rate.hz()) * 1000;
        let len = (thousandths as f64 * factor / (CHARS_PER_SECOND * u64::from(pace)) as f64).round() as usize;
        Self { rate, len, syllable: syllable(rate, seed), seed }
    }

    fn samples(&self) -> impl ExactSizeIterator<Item = i16> + use<'_> {
        (0..self.len).map(|at| self.syllable[at % self.syllable.len()])
    }

    /// The sound in this format; `comment` is kept where the format has a place for it.
    pub(super) fn encoded(&self, format: AudioFormat, comment: &str) -> Vec<u8> {
        let repeated = |unit: Vec<u8>, len: usize| {
            let mut all = unit.repeat(len / unit.len() + 1);
            all.truncate(len);
            all
        };
        match format {
            AudioFormat::Wav => {
                let mut file = Vec::with_capacity(self.len * 2 + comment.len() + 64);
                wav::write_pcm16(&mut file, 1, self.rate.hz(), Some(comment), self.samples())
                    .expect("8,000 characters are far from 4 GiB");
                file
            }
            AudioFormat::Pcm => repeated(self.syllable.iter().flat_map(|s| s.to_le_bytes()).collect(), self.len * 2),
            AudioFormat::Ulaw => repeated(self.syllable.iter().map(|s| ulaw_encode(*s)).collect(), self.len),
            AudioFormat::Alaw => repeated(self.syllable.iter().map(|s| alaw_encode(*s)).collect(), self.len),
            AudioFormat::Mp3 => self.frames(),
            // No file of any format: who gets it can only pass it on.
            AudioFormat::Other(_) => {
                repeated(self.syllable.iter().map(|sample| sample.to_le_bytes()[1] | 1).collect(), self.len)
            }
        }
    }

    /// MPEG frames of silence at 32 kbit/s, to the end of the one that the sound ends in. Where nothing is coded they
    /// carry the seed.
    fn frames(&self) -> Vec<u8> {
        let head = match self.rate {
            SampleRate::Hz44100 => [0xFF, 0xFB, 0x10, 0xC0],
            SampleRate::Hz24000 => [0xFF, 0xF3, 0x44, 0xC0],
            SampleRate::Hz16000 => [0xFF, 0xF3, 0x48, 0xC0],
            SampleRate::Hz8000 => [0xFF, 0xE3, 0x48, 0xC0],
        };
        let mut frame = mp3::Header::parse(&head).expect("heads of frames, by the book").silent_frame();
        // Digits, so that nothing in it looks like a frame's beginning.
        let seed = format!("{:016x}", self.seed);
        let at = frame.len() - seed.len();
        frame[at..].copy_from_slice(seed.as_bytes());
        let samples = mp3::samples_per_frame(self.rate) as usize;
        frame.repeat(self.len.div_ceil(samples))
    }
}

fn syllable(rate: SampleRate, seed: u64) -> Vec<i16> {
    let len = rate.hz() / SYLLABLES;
    let pitch = 110.0 + (seed % 2_000) as f64 / 10.0;
    let loudness = 1_500.0 + (seed >> 16 & 0x3FF) as f64;
    let colour = (seed >> 32 & 0xFF) as f64 / 255.0;
    let at = |n: u32| {
        let turn = TAU * pitch * f64::from(n) / f64::from(rate.hz());
        let swell = (PI * f64::from(n) / f64::from(len)).sin();
        (loudness * swell * (turn.sin() + colour * (2.0 * turn).sin()) / 2.0) as i16
    };
    (0..len).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_long_as_speech_in_every_format_and_rate() {
        for rate in SampleRate::ALL {
            for (pace, factor, tenths) in [(1000, 1.0, 40), (2000, 1.0, 20), (500, 0.5, 40)] {
                let sound = SyntheticAudio::of(&[7; 32], 60, *rate, pace, factor);
                let samples = rate.hz() as usize * tenths / 10;
                assert_eq!(sound.encoded(AudioFormat::Pcm, "").len(), samples * 2);
                assert_eq!(sound.encoded(AudioFormat::Ulaw, "").len(), samples);
                assert_eq!(sound.encoded(AudioFormat::Alaw, "").len(), samples);
                let file = sound.encoded(AudioFormat::Wav, "Hi");
                let read = wav::read(&mut std::io::Cursor::new(&file)).unwrap();
                assert_eq!((read.data_len as usize, read.sample_rate), (samples * 2, rate.hz()));
                assert_eq!((read.sizes_agree, read.comment.as_deref()), (true, Some("Hi")));
                assert_eq!(file[read.data_offset as usize..], sound.encoded(AudioFormat::Pcm, ""));
            }
        }
    }

    #[test]
    fn mp3_is_as_long_to_a_frame() {
        for (rate, len, samples) in [(8000, 288, 576), (16_000, 144, 576), (24_000, 96, 576), (44_100, 104, 1152)] {
            let rate = SampleRate::from_hz(rate).unwrap();
            let bytes = SyntheticAudio::of(&[7; 32], 60, rate, 1000, 1.0).encoded(AudioFormat::Mp3, "");
            assert_eq!(bytes.len(), len * (4 * rate.hz() as usize).div_ceil(samples));
            assert!(bytes.chunks(len).all(|frame| frame[0] == 0xFF && frame[1..].iter().all(|b| *b != 0xFF)));
        }
    }

    #[test]
    fn two_texts_sound_different() {
        for format in AudioFormat::ALL {
            let sound =
                |digest: u8| SyntheticAudio::of(&[digest; 32], 60, SampleRate::Hz8000, 1000, 1.0).encoded(*format, "");
            assert_eq!(sound(1), sound(1));
            assert_ne!(sound(1), sound(2), "{format}");
        }
        assert!(SyntheticAudio::of(&[1; 32], 60, SampleRate::Hz8000, 1000, 1.0).samples().any(|s| s.abs() > 500));
    }
}
