//! Measures speech while it is read: one pass over the samples, in memory that does not grow with the length.

use std::{
    io::{Read, Seek, SeekFrom},
    ops::ControlFlow,
};

use super::decode;
use crate::domain::{
    synthesis::{LongSilence, Measured},
    synthesis_options::SampleRate,
};

/// Frames a second: what is judged is how frames of 20 ms differ.
const FRAMES_A_SECOND: u32 = 50;
/// The fewest frames of a long silence: half a second.
const LONG: u32 = FRAMES_A_SECOND / 2;
/// Levels below which a frame may count as silent, in dBFS. Which of them applies depends on how loud the speech is.
const FLOORS: [f32; 7] = [-65.0, -60.0, -55.0, -50.0, -45.0, -40.0, -35.0];
/// How far below the speech silence is, in dB.
const BELOW_SPEECH: f32 = 25.0;
/// Frames that are further below the loudest ones, in dB, are no speech.
const SPEECH_RANGE: f32 = 20.0;
/// How far from the median a steady level may be, in dB.
const STEADY: f32 = 1.5;
/// Full scale, as the square of a sample.
const FULL: f32 = 32_768.0 * 32_768.0;
/// Below this peak nobody notices flat tops, and quiet sounds have them by nature.
const LOUD_PEAK: u16 = 8_000;
/// Samples in a row at the peak that make a flat top.
const FLAT: usize = 2;

/// Measures one part.
#[derive(Debug, Clone)]
pub struct Meter {
    rate: SampleRate,
    frame_len: usize,
    /// Samples of a frame that is not complete.
    pending: Vec<i16>,
    samples: u64,
    last: i16,
    levels: Histogram,
    slopes: Histogram,
    silences: [Silences; FLOORS.len()],
    flat: FlatTops,
    loudest: f32,
}

impl Meter {
    /// Measures samples of this rate.
    #[must_use]
    pub fn new(rate: SampleRate) -> Self {
        let frame_len = (rate.hz() / FRAMES_A_SECOND) as usize;
        Self {
            rate,
            frame_len,
            pending: Vec::with_capacity(frame_len),
            samples: 0,
            last: 0,
            levels: Histogram::new(-100.0, 0.25, 400),
            slopes: Histogram::new(-70.0, 0.1, 800),
            silences: [Silences::default(); FLOORS.len()],
            flat: FlatTops::default(),
            loudest: f32::NEG_INFINITY,
        }
    }

    /// Takes the next samples.
    pub fn push(&mut self, mut samples: &[i16]) {
        if !self.pending.is_empty() {
            let missing = (self.frame_len - self.pending.len()).min(samples.len());
            self.pending.extend_from_slice(&samples[..missing]);
            samples = &samples[missing..];
            if self.pending.len() < self.frame_len {
                return;
            }
            let frame = std::mem::take(&mut self.pending);
            self.frame(&frame);
            self.pending = frame;
            self.pending.clear();
        }
        let frames = samples.chunks_exact(self.frame_len);
        self.pending.extend_from_slice(frames.remainder());
        frames.for_each(|frame| self.frame(frame));
    }

    fn frame(&mut self, frame: &[i16]) {
        let at = self.samples;
        self.samples += frame.len() as u64;
        let energy: i64 = frame.iter().map(|sample| i64::from(i32::from(*sample) * i32::from(*sample))).sum();
        let peak = frame.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or_default();
        let level = decibel(energy as f32 / frame.len() as f32 / FULL);
        self.levels.add(level);
        for (silences, floor) in self.silences.iter_mut().zip(FLOORS) {
            silences.add(level < floor, at);
        }
        self.loudest = self.loudest.max(level);
        if level > self.loudest - SPEECH_RANGE && level > FLOORS[0] {
            let slope: i64 =
                step(self.last, frame[0]) + frame.windows(2).map(|pair| step(pair[0], pair[1])).sum::<i64>();
            self.slopes.add(decibel(slope as f32 / energy as f32));
        }
        self.flat.add(frame, peak, at);
        self.last = frame.last().copied().unwrap_or_default();
    }

    /// What was measured.
    #[must_use]
    pub fn finish(mut self) -> Measured {
        let rest = std::mem::take(&mut self.pending);
        let samples = self.samples + rest.len() as u64;
        if rest.len() > self.frame_len / 2 || self.samples == 0 && !rest.is_empty() {
            self.frame(&rest);
        }
        let loud = self.levels.at_share(0.95).unwrap_or(f32::NEG_INFINITY);
        let speech = self.levels.mean_energy_from(loud - SPEECH_RANGE);
        let floor = FLOORS.iter().rposition(|floor| *floor <= speech - BELOW_SPEECH).unwrap_or_default();
        let silences = self.silences[floor].ended();
        let ms = |samples: u64| samples * 1_000 / u64::from(self.rate.hz());
        let median = self.levels.median_from(loud - SPEECH_RANGE);
        Measured {
            ms: ms(samples),
            loudest_db: self.loudest,
            level_db: speech,
            speech_ms: u64::from(self.levels.count_from(loud - SPEECH_RANGE)) * 1_000 / u64::from(FRAMES_A_SECOND),
            silent_ms: u64::from(silences.long_frames) * 1_000 / u64::from(FRAMES_A_SECOND),
            longest_silence: (silences.longest > 0).then(|| LongSilence {
                at_ms: ms(silences.longest_at),
                ms: u64::from(silences.longest) * 1_000 / u64::from(FRAMES_A_SECOND),
            }),
            clipped_share: self.flat.samples as f32 / samples.max(1) as f32,
            clipped_at_ms: self.flat.first.map(ms),
            steady_share: self.levels.share_within(median, STEADY, loud - SPEECH_RANGE),
            slope_spread_db: self.slopes.spread(),
        }
    }
}

/// Measures audio with a header of its own, by decoding it; `None` if it cannot be decoded, or not at this rate.
#[must_use]
pub fn measure_decoded<R: Read + Seek + Send + Sync + 'static>(mut reader: R, rate: SampleRate) -> Option<Measured> {
    let bytes = reader.seek(SeekFrom::End(0)).ok()?;
    reader.rewind().ok()?;
    let mut meter = Meter::new(rate);
    let mut mono = Vec::new();
    let mut is_other = false;
    let mut each = |block: decode::DecodedBlock<'_>| {
        is_other |= block.rate != rate.hz();
        if block.channels == 1 {
            meter.push(block.samples);
        } else {
            mono.clear();
            mono.extend(block.samples.iter().step_by(block.channels.max(1)));
            meter.push(&mono);
        }
        if is_other { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    decode::decode(decode::Whole { reader, bytes }, &mut each).ok()?;
    (!is_other).then(|| meter.finish())
}

fn step(from: i16, to: i16) -> i64 {
    let step = i64::from(to) - i64::from(from);
    step * step
}

fn decibel(energy: f32) -> f32 {
    10.0 * energy.max(1e-12).log10()
}

/// Samples of flat tops: several in a row at the greatest magnitude of the part.
#[derive(Debug, Clone, Default)]
struct FlatTops {
    peak: u16,
    samples: u64,
    first: Option<u64>,
}

impl FlatTops {
    fn add(&mut self, frame: &[i16], peak: u16, at: u64) {
        let tolerance = self.peak / 2_000;
        if peak > self.peak.saturating_add(tolerance) {
            *self = Self { peak, samples: 0, first: None };
        }
        let least = self.peak - self.peak / 2_000;
        if self.peak < LOUD_PEAK || peak < least {
            return;
        }
        let flat = |sample: &i16| if sample.unsigned_abs() < least { 0 } else { sample.signum() };
        let mut from = 0;
        for run in frame.chunk_by(|a, b| flat(a) == flat(b)) {
            if run.len() >= FLAT && flat(&run[0]) != 0 {
                self.samples += run.len() as u64;
                self.first.get_or_insert(at + from);
            }
            from += run.len() as u64;
        }
    }
}

/// Stretches of silent frames, the long ones summed up.
#[derive(Debug, Clone, Copy, Default)]
struct Silences {
    run: u32,
    run_at: u64,
    long_frames: u32,
    longest: u32,
    longest_at: u64,
}

impl Silences {
    fn add(&mut self, silent: bool, at: u64) {
        if silent {
            if self.run == 0 {
                self.run_at = at;
            }
            self.run += 1;
        } else if self.run > 0 {
            *self = self.ended();
        }
    }

    const fn ended(mut self) -> Self {
        if self.run >= LONG {
            self.long_frames += self.run;
            if self.run > self.longest {
                (self.longest, self.longest_at) = (self.run, self.run_at);
            }
        }
        self.run = 0;
        self
    }
}

/// Counts of values in steps of equal width.
#[derive(Debug, Clone)]
struct Histogram {
    from: f32,
    width: f32,
    counts: Vec<u32>,
}

impl Histogram {
    fn new(from: f32, width: f32, steps: usize) -> Self {
        Self { from, width, counts: vec![0; steps + 1] }
    }

    fn add(&mut self, value: f32) {
        let at = self.step(value);
        self.counts[at] += 1;
    }

    fn step(&self, value: f32) -> usize {
        let step = ((value - self.from) / self.width).max(0.0);
        (step as usize).min(self.counts.len() - 1)
    }

    fn value(&self, step: usize) -> f32 {
        self.from + (step as f32 + 0.5) * self.width
    }

    fn count_from(&self, least: f32) -> u32 {
        self.counts[self.step(least)..].iter().sum()
    }

    /// The value that this share of all values does not pass; `None` without values.
    fn at_share(&self, share: f32) -> Option<f32> {
        self.nth(0, self.counts.iter().sum::<u32>() as f32 * share)
    }

    fn median_from(&self, least: f32) -> f32 {
        self.nth(self.step(least), self.count_from(least) as f32 / 2.0).unwrap_or(least)
    }

    /// The value at which the counts from this step on reach `rank`.
    fn nth(&self, from: usize, rank: f32) -> Option<f32> {
        let mut seen = 0.0;
        let steps = self.counts.iter().enumerate().skip(from).filter(|(_, count)| **count > 0);
        for (step, count) in steps {
            seen += *count as f32;
            if seen >= rank {
                return Some(self.value(step));
            }
        }
        None
    }

    /// The mean of energies given in decibel, of all values from `least` on.
    fn mean_energy_from(&self, least: f32) -> f32 {
        let from = self.step(least);
        let energy = |(step, count): (usize, &u32)| 10f32.powf(self.value(step) / 10.0) * *count as f32;
        let sum: f32 = self.counts.iter().enumerate().skip(from).filter(|(_, count)| **count > 0).map(energy).sum();
        decibel(sum / self.count_from(least).max(1) as f32)
    }

    /// The share of values from `least` on that are no further than `reach` from `middle`.
    fn share_within(&self, middle: f32, reach: f32, least: f32) -> f32 {
        let (from, to) = (self.step((middle - reach).max(least)), self.step(middle + reach));
        let within: u32 = self.counts[from..=to].iter().sum();
        within as f32 / self.count_from(least).max(1) as f32
    }

    /// The mean distance of all values from their median.
    fn spread(&self) -> f32 {
        let Some(median) = self.at_share(0.5) else { return 0.0 };
        let far = |(step, count): (usize, &u32)| (self.value(step) - median).abs() * *count as f32;
        let all: u32 = self.counts.iter().sum();
        self.counts.iter().enumerate().map(far).sum::<f32>() / all.max(1) as f32
    }
}

#[cfg(test)]
mod tests;
