//! Where somebody speaks in one channel, by earshot's detector.

use earshot::Detector;

use super::hearing::Segment;

/// The rate at which the detector hears, and the samples of its frames: 16 ms.
pub(super) const RATE: u32 = 16_000;
pub(super) const FRAME: usize = 256;
pub(super) const FRAME_MS: u64 = 16;
/// A frame with this score begins a segment.
const ON: f32 = 0.6;
/// A frame with less is not speech.
const OFF: f32 = 0.4;
/// So many frames without speech end a segment.
const HANG: usize = 22;
/// Frames before the first one with a high score that may belong to the segment, if they are loud.
const BACK: usize = 7;
/// How much softer than the loudest they may be, in dB.
const SOFTER: u8 = 22;
/// What deviates from its mean level by less, in dB, over so many frames is noise: that does by 0.5 to 2.3, voices by 7 to 40.
const EVEN: f32 = 3.0;
const EVEN_FRAMES: usize = 8;
/// How much softer than its loudest frame the end of a segment may be, in dB.
const FADED: u8 = 35;
/// A segment of fewer frames is a click.
const SHORTEST: u64 = 5;
/// A frame below this level is silence, whatever its shape, in dB.
const SILENCE: f32 = -75.0;
/// A frame is louder by so much than the softest one of the last seconds, or it is noise, in dB.
const ABOVE_NOISE: u8 = 5;
/// Of so many seconds, and in frames a second. Frames without any noise do not count.
const SECONDS: usize = 12;
const SECOND: usize = 62;
const NO_NOISE: u8 = 27;
/// What is added to a level in dB to keep it in a byte.
const LEVEL_OFFSET: f32 = 127.0;

/// Listens to one channel.
pub(super) struct SpeechFinder {
    detector: Box<Detector>,
    waiting: Vec<f32>,
    /// The level of each frame, as [`level_byte`] has it.
    levels: Vec<u8>,
    segments: Vec<Segment>,
    /// The first frame of the segment that goes on, and its last frame with speech.
    open: Option<(usize, usize)>,
    /// The softest frame of each of the last seconds, and of this one.
    softest: std::collections::VecDeque<u8>,
    softest_now: u8,
}

impl SpeechFinder {
    pub(super) fn new() -> Self {
        Self {
            detector: Detector::default_boxed(),
            waiting: Vec::with_capacity(FRAME),
            levels: Vec::new(),
            segments: Vec::new(),
            open: None,
            softest: std::collections::VecDeque::with_capacity(SECONDS + 1),
            softest_now: u8::MAX,
        }
    }

    /// Takes the next samples at [`RATE`].
    pub(super) fn push(&mut self, mut samples: &[f32]) {
        if !self.waiting.is_empty() {
            let (more, rest) = samples.split_at(samples.len().min(FRAME - self.waiting.len()));
            self.waiting.extend_from_slice(more);
            samples = rest;
            if self.waiting.len() < FRAME {
                return;
            }
            let waiting = std::mem::take(&mut self.waiting);
            self.frame(&waiting);
            self.waiting = waiting;
            self.waiting.clear();
        }
        let (frames, rest) = samples.as_chunks::<FRAME>();
        frames.iter().for_each(|frame| self.frame(frame));
        self.waiting.extend_from_slice(rest);
    }

    fn frame(&mut self, frame: &[f32]) {
        let mut clean = [0.0; FRAME];
        // Filters overshoot.
        clean.iter_mut().zip(frame).for_each(|(clean, sample)| *clean = sample.clamp(-1.0, 1.0));
        let power = clean.iter().map(|sample| sample * sample).sum::<f32>() / FRAME as f32;
        let level = 10.0 * power.max(1e-12).log10();
        let score = self.detector.predict_f32(&clean);
        let at = self.levels.len();
        let byte = level_byte(level);
        self.levels.push(byte);
        let is_noise = level < SILENCE || byte < self.noise().saturating_add(ABOVE_NOISE);
        let score = if is_noise { 0.0 } else { score };
        self.keep_softest(at, byte);
        match &mut self.open {
            Some((_, last)) if score >= OFF => *last = at,
            Some((_, last)) if at - *last > HANG => self.close(),
            None if score >= ON => self.open = Some((self.begin(at), at)),
            Some(_) | None => {}
        }
    }

    /// The level of the noise; 0 as long as it is not known.
    fn noise(&self) -> u8 {
        let known = self.softest.len() > 1;
        self.softest.iter().copied().min().filter(|least| known && *least < u8::MAX).unwrap_or_default()
    }

    fn keep_softest(&mut self, at: usize, level: u8) {
        if level > NO_NOISE {
            self.softest_now = self.softest_now.min(level);
        }
        if (at + 1).is_multiple_of(SECOND) {
            self.softest.push_back(std::mem::replace(&mut self.softest_now, u8::MAX));
            if self.softest.len() > SECONDS {
                self.softest.pop_front();
            }
        }
    }

    /// The first frame of a segment of which this is the first one with a high score.
    fn begin(&self, at: usize) -> usize {
        let least = self.segments.last().map_or(0, |segment| (segment.to_ms / FRAME_MS) as usize);
        let earliest = at.saturating_sub(BACK).max(least);
        let loudest = self.levels[at.saturating_sub(1)..=at].iter().copied().max().unwrap_or_default();
        let mut from = at;
        while from > earliest && self.levels[from - 1] >= loudest.saturating_sub(SOFTER) {
            from -= 1;
        }
        from
    }

    fn close(&mut self) {
        let Some((from, mut last)) = self.open.take() else { return };
        // The detector goes on for a moment after a voice.
        let loudest = self.levels[from..=last].iter().copied().max().unwrap_or_default();
        if last - from > EVEN_FRAMES && deviation(&self.levels[from..=last]) < EVEN {
            return;
        }
        while last > from && self.levels[last] < loudest.saturating_sub(FADED) {
            last -= 1;
        }
        let (from, to) = (from as u64, last as u64 + 1);
        if to - from >= SHORTEST {
            self.segments.push(Segment { from_ms: from * FRAME_MS, to_ms: to * FRAME_MS, echo: false });
        }
    }

    /// The segments, and the level of each frame.
    pub(super) fn finish(mut self) -> (Vec<Segment>, Vec<u8>) {
        if !self.waiting.is_empty() {
            let mut last = std::mem::take(&mut self.waiting);
            last.resize(FRAME, 0.0);
            self.frame(&last);
        }
        self.close();
        (self.segments, self.levels)
    }
}

/// The standard deviation of levels.
fn deviation(levels: &[u8]) -> f32 {
    let count = levels.len().max(1) as f32;
    let mean = levels.iter().map(|level| f32::from(*level)).sum::<f32>() / count;
    (levels.iter().map(|level| (f32::from(*level) - mean).powi(2)).sum::<f32>() / count).sqrt()
}

/// A level in dB as a byte.
fn level_byte(level: f32) -> u8 {
    (level + LEVEL_OFFSET).round().clamp(0.0, LEVEL_OFFSET) as u8
}

/// The level in dB that a byte keeps.
pub(super) fn level_of(byte: u8) -> f32 {
    f32::from(byte) - LEVEL_OFFSET
}
