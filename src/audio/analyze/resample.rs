//! Another sample rate, channel by channel, as a stream.

use rubato::{Fft, FixedSync, Indexing, Resampler as _, audioadapter_buffers::direct::SequentialSliceOfVecs};

use super::error::HearError;

/// Input samples that are converted at once.
const CHUNK: usize = 1_024;
/// Chunks of silence after which everything has come out of the filter.
const LAST_CHUNKS: usize = 2_048;

/// Converts one rate to another. What it has made at the end of the stream is as long as what it got.
pub(super) struct Resampler {
    /// `None` if both rates are the same.
    fft: Option<Fft<f32>>,
    from: u32,
    to: u32,
    /// What waits for a whole chunk, one vector a channel.
    waiting: Vec<Vec<f32>>,
    made: Vec<Vec<f32>>,
    /// Samples still to drop: the delay of the filter.
    late: usize,
    taken: u64,
    given: u64,
}

impl Resampler {
    pub(super) fn new(from: u32, to: u32, channels: usize) -> Result<Self, HearError> {
        let make = || Fft::new(from as usize, to as usize, CHUNK, channels, FixedSync::Input);
        let fft = if from == to { None } else { Some(make().map_err(|_| HearError::Rate(from))?) };
        let late = fft.as_ref().map_or(0, |fft| fft.output_delay());
        let most = fft.as_ref().map_or(0, |fft| fft.output_frames_max());
        let (waiting, made) = (vec![Vec::new(); channels], vec![vec![0.0; most]; channels]);
        Ok(Self { fft, from, to, waiting, made, late, taken: 0, given: 0 })
    }

    /// Takes samples, as many of each channel, and hands on what is ready.
    pub(super) fn push(&mut self, planes: &[Vec<f32>], each: &mut dyn FnMut(&[&[f32]])) {
        self.taken += planes.first().map_or(0, Vec::len) as u64;
        if self.fft.is_none() {
            let planes: Vec<&[f32]> = planes.iter().map(Vec::as_slice).collect();
            each(&planes);
            return;
        }
        for (waiting, plane) in self.waiting.iter_mut().zip(planes) {
            waiting.extend_from_slice(plane);
        }
        self.convert(None, u64::MAX, each);
    }

    /// Hands on the rest.
    pub(super) fn finish(&mut self, each: &mut dyn FnMut(&[&[f32]])) {
        if self.fft.is_none() {
            return;
        }
        let whole = (u128::from(self.taken) * u128::from(self.to)).div_ceil(u128::from(self.from));
        let whole = u64::try_from(whole).unwrap_or(u64::MAX);
        // Of odd rates many chunks fill the filter once.
        for _ in 0..LAST_CHUNKS {
            if self.given >= whole {
                break;
            }
            let left = self.waiting.first().map_or(0, Vec::len);
            self.convert(Some(left), whole, each);
        }
    }

    /// Converts whole chunks; at the end one chunk, of which so many samples are there.
    fn convert(&mut self, rest: Option<usize>, whole: u64, each: &mut dyn FnMut(&[&[f32]])) {
        let Some(fft) = &mut self.fft else { return };
        let channels = self.waiting.len();
        let mut at = 0;
        loop {
            let need = fft.input_frames_next();
            let has = self.waiting.first().map_or(0, Vec::len) - at;
            if rest.is_none() && has < need {
                break;
            }
            let most = self.made.first().map_or(0, Vec::len);
            let indexing = Indexing::new().input_offset(at);
            let indexing = if rest.is_some() { indexing.partial_len(has) } else { indexing };
            let frames = self.waiting.first().map_or(0, Vec::len);
            let Ok(input) = SequentialSliceOfVecs::new(&self.waiting, channels, frames) else { break };
            let Ok(mut output) = SequentialSliceOfVecs::new_mut(&mut self.made, channels, most) else { break };
            let Ok((used, made)) = fft.process_into_buffer(&input, &mut output, Some(&indexing)) else { break };
            at += used.min(has);
            let skip = self.late.min(made);
            self.late -= skip;
            let left = usize::try_from(whole - self.given).unwrap_or(usize::MAX);
            let to = skip + (made - skip).min(left);
            self.given += (to - skip) as u64;
            let planes: Vec<&[f32]> = self.made.iter().map(|plane| &plane[skip..to]).collect();
            each(&planes);
            if rest.is_some() {
                break;
            }
        }
        self.waiting.iter_mut().for_each(|plane| drop(plane.drain(..at)));
    }
}

#[cfg(test)]
mod tests {
    use std::f32::consts::TAU;

    use super::*;

    #[test]
    fn a_tone_keeps_its_place_and_length() {
        for (from, to, len) in [
            (8_000, 16_000, 8_003),
            (44_100, 16_000, 44_100),
            (48_000, 16_000, 1_000),
            (11_127, 16_000, 30_000),
            (192_000, 16_000, 9),
            (16_000, 16_000, 4_000),
        ] {
            let tone = |n: usize, rate: u32| (TAU * 440.0 * n as f32 / rate as f32).sin();
            let plane: Vec<f32> = (0..len).map(|n| tone(n, from)).collect();
            let mut resampler = Resampler::new(from, to, 2).unwrap();
            let mut got = Vec::new();
            for piece in plane.chunks(777) {
                let both = [piece.to_vec(), vec![0.0; piece.len()]];
                resampler.push(&both, &mut |planes| got.extend_from_slice(planes[0]));
            }
            resampler.finish(&mut |planes| got.extend_from_slice(planes[0]));
            assert_eq!(got.len(), (len as u64 * u64::from(to)).div_ceil(u64::from(from)) as usize, "{from}");
            let edge = got.len() / 4;
            if edge > 300 {
                let worst = (edge..got.len() - edge).map(|n| (got[n] - tone(n, to)).abs()).fold(0.0, f32::max);
                // The delay of the filter is no whole number of samples for odd rates.
                assert!(worst < 0.15, "{from}: {worst}");
            }
        }
    }
}
