//! Two channels held against each other: the same sound in both, or one side's voice leaking into the other side.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use realfft::{ComplexToReal, RealFftPlanner, RealToComplex, num_complex::Complex};

use super::{
    hearing::{Bleed, Segment},
    speech::{FRAME_MS, level_of},
};

/// The rate at which is compared: half of 16 kHz.
const RATE: f32 = 8_000.0;
/// Samples of a window, 256 ms, and the most by which one channel may be later, 128 ms.
const WINDOW: usize = 2_048;
const LAG: usize = 1_024;
const SPAN: usize = WINDOW + 2 * LAG;
/// A window whose power is below this is silence: -66 dB.
const SILENCE: f32 = 2.5e-7;
/// Windows with a higher correlation have the same sound.
const ALIKE: f32 = 0.7;
/// Without a delay and with this correlation they have it from the same microphone.
const SAME: f32 = 0.98;
/// What share of the windows of a recording whose channels are the same has that.
const SAME_SHARE: f32 = 0.95;
/// How far the levels of such channels may be apart, in dB.
const SAME_DB: f32 = 10.0;
/// A leak is found in so many windows at least, and in such a share of those with the voice.
const LEAST: usize = 3;
const LEAST_SHARE: f32 = 0.12;
/// Samples by which the delays of one leak differ at most.
const NEAR: i32 = 8;
/// The level of a leak may differ from window to window by so many dB.
const LEVEL_DB: f32 = 4.0;
/// Frames over which levels are taken together, on each side.
const SMOOTH: usize = 3;
/// A leak shorter than this, within own speech, is own speech; own speech in a leak is so long at least. In frames.
const ECHO_RUN: usize = 12;
const OWN_RUN: usize = 8;
/// How much softer than its loudest frame own speech beside an echo begins and ends, in dB.
const SOFTER: u8 = 22;

/// What both channels have in common in one window.
#[derive(Debug, Clone, Copy)]
struct Alike {
    /// By how many samples the second channel is later.
    lag: i16,
    /// How much louder it is, in dB.
    level_db: f32,
}

/// Compares two channels.
pub(super) struct Pair {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    /// Half-rate samples of both channels, from before the window to after it.
    waiting: [Vec<f32>; 2],
    /// A sample of 16 kHz that waits for the next one.
    odd: [Option<f32>; 2],
    real: Vec<f32>,
    spectra: [Vec<Complex<f32>>; 2],
    /// Windows in which something sounds, in the first, in the second, in any channel.
    sounding: [usize; 2],
    any: usize,
    /// Windows in which both have the same sound without a delay, and the sum of the levels.
    same: usize,
    same_db: f32,
    alike: Vec<Alike>,
}

/// What was found between two channels.
#[derive(Debug)]
pub(super) struct Between {
    pub(super) dual_mono: bool,
    pub(super) bleeds: Vec<Bleed>,
}

impl Pair {
    pub(super) fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(SPAN), planner.plan_fft_inverse(SPAN));
        Self {
            waiting: [vec![0.0; LAG], vec![0.0; LAG]],
            odd: [None; 2],
            real: forward.make_input_vec(),
            spectra: [forward.make_output_vec(), forward.make_output_vec()],
            forward,
            inverse,
            sounding: [0; 2],
            any: 0,
            same: 0,
            same_db: 0.0,
            alike: Vec::new(),
        }
    }

    /// Takes the next samples of both channels at 16 kHz.
    pub(super) fn push(&mut self, planes: [&[f32]; 2]) {
        for (side, plane) in planes.into_iter().enumerate() {
            let (waiting, mut plane) = (&mut self.waiting[side], plane);
            if let (Some(before), [first, rest @ ..]) = (self.odd[side], plane) {
                waiting.push(0.5 * (before + first));
                (self.odd[side], plane) = (None, rest);
            }
            let (pairs, rest) = plane.as_chunks::<2>();
            waiting.extend(pairs.iter().map(|[a, b]| 0.5 * (a + b)));
            self.odd[side] = self.odd[side].or(rest.first().copied());
        }
        while self.waiting[0].len() >= SPAN && self.waiting[1].len() >= SPAN {
            self.window();
            self.waiting.iter_mut().for_each(|side| drop(side.drain(..WINDOW)));
        }
    }

    fn window(&mut self) {
        let middle = LAG..LAG + WINDOW;
        let power = |side: &[f32]| side.iter().map(|sample| sample * sample).sum::<f32>();
        let powers = [power(&self.waiting[0][middle.clone()]), power(&self.waiting[1][middle.clone()])];
        let sounds = powers.map(|power| power > SILENCE * WINDOW as f32);
        self.sounding[0] += usize::from(sounds[0]);
        self.sounding[1] += usize::from(sounds[1]);
        self.any += usize::from(sounds[0] || sounds[1]);
        // A leak may be far softer than a voice.
        let least = SILENCE * WINDOW as f32 / 30.0;
        if !(sounds[0] || sounds[1]) || powers[0] < least || powers[1] < least {
            return;
        }
        let dot = self.waiting[0][middle.clone()]
            .iter()
            .zip(&self.waiting[1][middle.clone()])
            .map(|(a, b)| a * b)
            .sum::<f32>();
        let ratio_db = 10.0 * (powers[1] / powers[0]).log10();
        if dot > SAME * (powers[0] * powers[1]).sqrt() {
            self.same += 1;
            self.same_db += ratio_db;
            self.alike.push(Alike { lag: 0, level_db: ratio_db });
            return;
        }
        // The louder channel is looked at with what is around the window: it may have the sound earlier.
        let loud = usize::from(powers[1] > powers[0]);
        if let Some((lag, level_db)) = self.correlate(loud) {
            let (lag, level_db) = if loud == 0 { (lag, level_db) } else { (-lag, -level_db) };
            self.alike.push(Alike { lag: lag as i16, level_db });
        }
    }

    /// By how many samples the other channel is later than this one, and how much louder; `None` if it has another sound.
    fn correlate(&mut self, from: usize) -> Option<(i32, f32)> {
        let middle = LAG..LAG + WINDOW;
        for side in [0, 1] {
            self.real.fill(0.0);
            if side == from {
                self.real.copy_from_slice(&self.waiting[side][..SPAN]);
            } else {
                self.real[..WINDOW].copy_from_slice(&self.waiting[side][middle.clone()]);
            }
            self.forward.process(&mut self.real, &mut self.spectra[side]).ok()?;
        }
        let [first, second] = &mut self.spectra;
        let (own, other) = if from == 0 { (first, second) } else { (second, first) };
        own.iter_mut().zip(other.iter()).for_each(|(own, other)| *own *= other.conj());
        if let Some(last) = own.last_mut() {
            last.im = 0.0;
        }
        own[0].im = 0.0;
        self.inverse.process(own, &mut self.real).ok()?;
        let squares: Vec<f64> = std::iter::once(0.0)
            .chain(self.waiting[from][..SPAN].iter().scan(0.0, |sum, sample| {
                *sum += f64::from(*sample) * f64::from(*sample);
                Some(*sum)
            }))
            .collect();
        let other = self.waiting[1 - from][middle].iter().map(|sample| sample * sample).sum::<f32>();
        // Only what is earlier in the louder channel: the sound does not travel back in time.
        let best = (0..=LAG + NEAR as usize)
            .map(|at| {
                let own = ((squares[at + WINDOW] - squares[at]) as f32).max(f32::MIN_POSITIVE);
                (at, self.real[at] / SPAN as f32 / (own * other).sqrt(), own)
            })
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        let (at, alike, own) = best;
        (alike > ALIKE).then(|| (LAG as i32 - at as i32, 10.0 * (other / own).log10()))
    }

    pub(super) fn finish(mut self) -> Between {
        for side in 0..2 {
            let rest = (SPAN - self.waiting[side].len() % WINDOW).max(LAG);
            self.waiting[side].extend(std::iter::repeat_n(0.0, rest));
        }
        self.push([&[], &[]]);
        let is_same = self.any > 0 && self.same as f32 >= SAME_SHARE * self.any as f32;
        let dual_mono = is_same && (self.same_db / self.same.max(1) as f32).abs() <= SAME_DB;
        let bleeds =
            if dual_mono { Vec::new() } else { [0, 1].into_iter().filter_map(|from| self.bleed(from)).collect() };
        Between { dual_mono, bleeds }
    }

    /// The leak from this channel into the other one.
    fn bleed(&self, from: usize) -> Option<Bleed> {
        let sign = if from == 0 { 1 } else { -1 };
        let of_side = |alike: &&Alike| alike.level_db * (sign as f32) < 0.0;
        let mut lags: BTreeMap<i32, usize> = BTreeMap::new();
        for alike in self.alike.iter().filter(of_side) {
            *lags.entry(i32::from(alike.lag) * sign).or_default() += 1;
        }
        let near = |lag: i32| lags.range(lag - NEAR..=lag + NEAR).map(|(_, count)| count).sum::<usize>();
        let lag = lags.keys().copied().max_by_key(|lag| (near(*lag), lags[lag]))?;
        let own = self.alike.iter().filter(of_side).filter(|alike| (i32::from(alike.lag) * sign - lag).abs() <= NEAR);
        let mut levels: Vec<f32> = own.map(|alike| alike.level_db * sign as f32).collect();
        levels.sort_by(f32::total_cmp);
        let share = levels.len() as f32 / self.sounding[from].max(1) as f32;
        if levels.len() < LEAST || share < LEAST_SHARE || lag < -NEAR {
            return None;
        }
        let level_db = levels[levels.len() / 2];
        Some(Bleed { from, to: 1 - from, lag_ms: lag.max(0) as f32 * 1_000.0 / RATE, level_db, share })
    }
}

/// Splits the segments of the channel that a leak goes into: own speech, and echoes.
pub(super) fn mark_echoes(segments: &mut Vec<Segment>, bleed: &Bleed, levels: &[Vec<u8>; 2]) {
    let smooth = |levels: &[u8]| {
        let sums: Vec<f32> = std::iter::once(0.0)
            .chain(levels.iter().scan(0.0, |sum, level| {
                *sum += 10f32.powf(level_of(*level) / 10.0);
                Some(*sum)
            }))
            .collect();
        (0..levels.len())
            .map(|at| {
                let (from, to) = (at.saturating_sub(SMOOTH), (at + SMOOTH + 1).min(levels.len()));
                10.0 * ((sums[to] - sums[from]) / (to - from) as f32).max(1e-12).log10()
            })
            .collect::<Vec<f32>>()
    };
    let lag = (bleed.lag_ms / FRAME_MS as f32).round() as usize;
    let frames = |segment: &Segment| (segment.from_ms / FRAME_MS) as usize..(segment.to_ms / FRAME_MS) as usize;
    let mut split = Vec::with_capacity(segments.len());
    for segment in segments.iter() {
        let frames = frames(segment);
        let reach = frames.start.saturating_sub(lag + SMOOTH)..(frames.end + SMOOTH).min(levels[bleed.to].len());
        let (source, here) = (smooth(&levels[bleed.from][reach.clone()]), smooth(&levels[bleed.to][reach.clone()]));
        let mut is_echo: Vec<bool> = frames
            .clone()
            .map(|frame| {
                let at = frame - reach.start;
                let due =
                    at.checked_sub(lag).and_then(|at| source.get(at)).map_or(f32::MIN, |level| level + bleed.level_db);
                here.get(at).is_some_and(|level| *level < due + LEVEL_DB)
            })
            .collect();
        // Own speech first: its softer frames are below what the other side leaves there.
        fill_short(&mut is_echo, true, ECHO_RUN);
        fill_short(&mut is_echo, false, OWN_RUN);
        let mut from = 0;
        for run in is_echo.chunk_by(|a, b| a == b) {
            let to = from + run.len();
            // Between an echo and an own word is a pause, which belongs to neither.
            let own = if run[0] || run.len() == is_echo.len() {
                Some((from, to))
            } else {
                loud(&levels[bleed.to], frames.start + from..frames.start + to)
                    .map(|loud| (loud.start - frames.start, loud.end - frames.start))
            };
            if let Some((first, last)) = own {
                let begin = if first == 0 { segment.from_ms } else { (frames.start + first) as u64 * FRAME_MS };
                let end = if last == is_echo.len() { segment.to_ms } else { (frames.start + last) as u64 * FRAME_MS };
                split.push(Segment { from_ms: begin, to_ms: end, echo: run[0] });
            }
            from = to;
        }
    }
    *segments = split;
}

/// These frames without softer ones before and after.
fn loud(levels: &[u8], frames: Range<usize>) -> Option<Range<usize>> {
    let run = levels.get(frames.clone())?;
    let least = run.iter().max()?.saturating_sub(SOFTER);
    let first = run.iter().position(|level| *level >= least)?;
    let last = run.iter().rposition(|level| *level >= least)?;
    Some(frames.start + first..frames.start + last + 1)
}

/// Turns runs of `value` that are shorter than `least` and have something else on both sides, or on one.
fn fill_short(values: &mut [bool], value: bool, least: usize) {
    let runs: Vec<usize> = values.chunk_by(|a, b| a == b).map(<[bool]>::len).collect();
    if runs.len() < 2 {
        return;
    }
    let mut at = 0;
    for len in runs {
        if values[at] == value && len < least {
            values[at..at + len].fill(!value);
        }
        at += len;
    }
}
