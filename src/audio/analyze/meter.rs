//! Loudness of one channel at its own rate.

/// How long each of the kept peaks is, in ms.
pub(super) const PEAK_MS: u32 = 500;
/// A sample from here on may be cut off, and is if the one before is as well.
const FULL: f32 = 0.999;
/// The steps of kept peaks.
const STEPS: f32 = 15.0;
const STEP_DB: f32 = 3.0;

/// Measures one channel.
#[derive(Debug)]
pub(super) struct Meter {
    /// Samples of half a second.
    half: usize,
    in_half: usize,
    now: f32,
    peak: f32,
    peaks: Vec<u8>,
    samples: u64,
    clipped: u64,
    was_full: bool,
}

impl Meter {
    pub(super) fn new(rate: u32) -> Self {
        let half = (u64::from(rate) * u64::from(PEAK_MS) / 1_000).max(1) as usize;
        Self { half, in_half: 0, now: 0.0, peak: 0.0, peaks: Vec::new(), samples: 0, clipped: 0, was_full: false }
    }

    pub(super) fn push(&mut self, mut samples: &[f32]) {
        self.samples += samples.len() as u64;
        while !samples.is_empty() {
            let (now, rest) = samples.split_at(samples.len().min(self.half - self.in_half));
            let most = now.iter().fold(0.0f32, |most, sample| most.max(sample.abs()));
            self.now = self.now.max(most);
            if most >= FULL {
                self.count_clipped(now);
            } else {
                self.was_full = false;
            }
            self.in_half += now.len();
            if self.in_half == self.half {
                self.end_half();
            }
            samples = rest;
        }
    }

    fn count_clipped(&mut self, samples: &[f32]) {
        for sample in samples {
            let is_full = sample.abs() >= FULL;
            self.clipped += u64::from(is_full && self.was_full);
            self.was_full = is_full;
        }
    }

    fn end_half(&mut self) {
        self.peaks.push((STEPS + decibel(self.now) / STEP_DB).round().clamp(0.0, STEPS) as u8);
        self.peak = self.peak.max(self.now);
        (self.now, self.in_half) = (0.0, 0);
    }

    /// The greatest sample in dB, the share of samples that are cut off, and the peaks of each half second.
    pub(super) fn finish(mut self) -> (f32, f32, Vec<u8>) {
        if self.in_half > 0 {
            self.end_half();
        }
        (decibel(self.peak), self.clipped as f32 / self.samples.max(1) as f32, self.peaks)
    }
}

/// The level of an amplitude, at least -120 dB.
pub(super) fn decibel(amplitude: f32) -> f32 {
    20.0 * amplitude.max(1e-6).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_two_a_second_in_steps_of_three_decibels() {
        let mut meter = Meter::new(8_000);
        let samples: Vec<f32> =
            [1.0, 0.5, 0.0, 0.01].iter().flat_map(|peak| vec![*peak; 4_000]).chain([0.25]).collect();
        samples.chunks(333).for_each(|piece| meter.push(piece));
        let (peak, clipped, peaks) = meter.finish();
        assert_eq!((peak, peaks), (0.0, vec![15, 13, 0, 2, 11]));
        assert!((clipped - 3_999.0 / 16_001.0).abs() < 1e-6);
    }
}
