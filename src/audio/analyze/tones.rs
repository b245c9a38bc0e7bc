//! Sounds of one channel that a detector of voices takes for speech: keys, ring tones, hum, music.

use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex, num_complex::Complex};

use super::hearing::{Tone, ToneKind};

/// The rate at which is heard, and the samples of a window and between windows: 64 and 32 ms.
const RATE: f32 = 16_000.0;
const WINDOW: usize = 1_024;
const HOP: usize = 512;
const HOP_MS: u64 = 32;
const BIN_HZ: f32 = RATE / WINDOW as f32;
/// The bins that are looked at: 40 to 4,000 Hz.
const LOWEST: usize = 3;
const HIGHEST: usize = 256;
/// Partials that are kept of a window.
const PARTIALS: usize = 12;
/// Power of a window below which it is silence, about -66 dB.
const SILENCE: f32 = 2.5e-7;
/// How far a partial may move between two windows and still be the same, in Hz.
const DRIFT: f32 = 4.0;
/// Windows after which a partial counts as held.
const HELD: u16 = 5;
/// What share of a window's power the two partials of a tone have.
const PURE: f32 = 0.85;
/// Windows after which tones are a ring.
const RING: u16 = 6;
/// Windows after which low partials are the mains.
const HUM: u16 = 30;
/// Windows of which music is judged: a second.
const BLOCK: usize = 31;
/// The share of held partials in a block that is music, and in one that may be part of it.
const MUSIC: f32 = 0.4;
const MAYBE_MUSIC: f32 = 0.28;
/// Blocks of music in a row that are believed.
const BLOCKS: usize = 4;
/// Pitches that a signal of a telephone exchange does not have.
const PITCHES: usize = 3;
/// The frequencies of a key.
const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS: [f32; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
/// By how much they may be wrong.
const KEY_HZ: f32 = 14.0;

/// A frequency that stands out.
#[derive(Debug, Clone, Copy)]
struct Partial {
    hz: f32,
    power: f32,
    /// In how many windows in a row.
    age: u16,
}

/// What a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    Key(usize, usize),
    Ring,
    Hum,
    Other,
}

/// Listens to one channel.
pub(super) struct ToneFinder {
    fft: Arc<dyn RealToComplex<f32>>,
    shape: Vec<f32>,
    waiting: Vec<f32>,
    input: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    partials: Vec<Partial>,
    windows: u64,
    label: Label,
    since: u64,
    tones: Vec<Tone>,
    /// The frequency of each ring among them, by its begin.
    rings: Vec<(u64, f32)>,
    /// The frequency of the tone that goes on.
    hz: f32,
    block: Block,
    /// Blocks that may be music, one after another: where they begin, and how many surely are.
    music: Option<(u64, usize)>,
}

/// A second.
#[derive(Debug, Default)]
struct Block {
    windows: usize,
    loud: usize,
    held: f32,
}

impl Block {
    /// How much of what sounds is held.
    fn share(&self) -> f32 {
        if self.loud * 4 < BLOCK { 0.0 } else { self.held / self.loud as f32 }
    }
}

impl ToneFinder {
    pub(super) fn new() -> Self {
        let fft = RealFftPlanner::new().plan_fft_forward(WINDOW);
        let turn = std::f32::consts::TAU / WINDOW as f32;
        Self {
            shape: (0..WINDOW).map(|n| 0.5 - 0.5 * (turn * n as f32).cos()).collect(),
            waiting: Vec::with_capacity(2 * WINDOW),
            input: fft.make_input_vec(),
            spectrum: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            fft,
            partials: Vec::new(),
            windows: 0,
            label: Label::Other,
            since: 0,
            tones: Vec::new(),
            rings: Vec::new(),
            hz: 0.0,
            block: Block::default(),
            music: None,
        }
    }

    /// Takes the next samples at 16 kHz.
    pub(super) fn push(&mut self, samples: &[f32]) {
        self.waiting.extend_from_slice(samples);
        let mut at = 0;
        while self.waiting.len() - at >= WINDOW {
            let window = &self.waiting[at..at + WINDOW];
            self.input.iter_mut().zip(window).zip(&self.shape).for_each(|((to, sample), shape)| *to = sample * shape);
            self.window();
            at += HOP;
        }
        self.waiting.drain(..at);
    }

    fn window(&mut self) {
        let power = self.input.iter().map(|sample| sample * sample).sum::<f32>() / WINDOW as f32;
        if power < SILENCE {
            self.partials.clear();
            self.end_window(Label::Other, None);
            return;
        }
        if self.fft.process_with_scratch(&mut self.input, &mut self.spectrum, &mut self.scratch).is_err() {
            return;
        }
        let powers: Vec<f32> = self.spectrum[..HIGHEST + 4].iter().map(Complex::norm_sqr).collect();
        let all: f32 = self.spectrum[1..].iter().map(Complex::norm_sqr).sum();
        self.find_partials(&powers);
        let label = self.label_of(all);
        // The mains hold their tones for ever, and are no music.
        let is_held = |partial: &&Partial| partial.age >= HELD && !is_mains(partial.hz);
        let sum: f32 = self.partials.iter().map(|partial| partial.power.sqrt()).sum();
        let held: f32 = self.partials.iter().filter(is_held).map(|partial| partial.power.sqrt()).sum();
        self.end_window(label, Some(held / sum.max(f32::MIN_POSITIVE)));
    }

    /// The strongest peaks, each with its power over the width of the window's shape, and how long they are there.
    fn find_partials(&mut self, powers: &[f32]) {
        let mut found: Vec<Partial> = Vec::with_capacity(2 * PARTIALS);
        for bin in LOWEST..=HIGHEST {
            let (before, here, after) = (powers[bin - 1], powers[bin], powers[bin + 1]);
            if here <= before || here < after {
                continue;
            }
            let (left, middle, right) = (before.sqrt(), here.sqrt(), after.sqrt());
            let offset = 0.5 * (right - left) / (2.0 * middle - left - right).max(f32::MIN_POSITIVE);
            let power = powers[bin - 2..=bin + 2].iter().sum();
            found.push(Partial { hz: (bin as f32 + offset.clamp(-0.5, 0.5)) * BIN_HZ, power, age: 0 });
        }
        found.sort_by(|a, b| b.power.total_cmp(&a.power));
        found.truncate(PARTIALS);
        for partial in &mut found {
            let before = self.partials.iter().filter(|before| (before.hz - partial.hz).abs() < DRIFT);
            partial.age = before.map(|before| before.age.saturating_add(1)).max().unwrap_or(0);
        }
        self.partials = found;
    }

    fn label_of(&self, all: f32) -> Label {
        let [first, rest @ ..] = self.partials.as_slice() else { return Label::Other };
        let second = rest.first().filter(|second| second.power > 0.05 * first.power);
        let low: f32 = self.partials.iter().filter(|partial| is_mains(partial.hz)).map(|partial| partial.power).sum();
        if low > PURE * all {
            return Label::Hum;
        }
        if first.power + second.map_or(0.0, |second| second.power) < PURE * all {
            return Label::Other;
        }
        if let Some(second) = second {
            let (low, high) = if first.hz < second.hz { (first, second) } else { (second, first) };
            let near = |list: [f32; 4], hz: f32| list.iter().position(|tone| (tone - hz).abs() < KEY_HZ);
            if let (Some(row), Some(column)) = (near(ROWS, low.hz), near(COLUMNS, high.hz)) {
                return Label::Key(row, column);
            }
        }
        if first.hz > 180.0 { Label::Ring } else { Label::Other }
    }

    fn end_window(&mut self, label: Label, held: Option<f32>) {
        if label != self.label {
            self.end_label();
            (self.label, self.since) = (label, self.windows);
        } else if label == Label::Ring && self.partials.first().is_none_or(|partial| partial.age == 0) {
            // Another note is another tone: a melody of pure notes is no ring.
            self.end_label();
            self.since = self.windows;
        }
        if label == Label::Ring {
            self.hz = self.partials.iter().take(2).map(|partial| partial.hz).fold(0.0, f32::max);
        }
        self.windows += 1;
        self.block.windows += 1;
        if let Some(held) = held {
            self.block.loud += 1;
            self.block.held += held;
        }
        if self.block.windows == BLOCK {
            self.end_block();
        }
    }

    fn end_label(&mut self) {
        let lasted = self.windows - self.since;
        let kind = match self.label {
            Label::Key(..) if lasted >= 2 => ToneKind::Dtmf,
            Label::Ring if lasted >= u64::from(RING) => ToneKind::Ring,
            Label::Hum if lasted >= u64::from(HUM) => ToneKind::Hum,
            _ => return,
        };
        // A window has the label if its middle has the tone.
        let (from_ms, to_ms) = (self.since * HOP_MS, self.windows * HOP_MS + HOP_MS);
        self.tones.push(Tone { kind, from_ms, to_ms });
        if kind == ToneKind::Ring {
            self.rings.push((from_ms, self.hz));
        }
    }

    fn end_block(&mut self) {
        let block = std::mem::take(&mut self.block);
        let begin = (self.windows - block.windows as u64) * HOP_MS;
        let share = block.share();
        #[cfg(test)]
        SHARES.with_borrow_mut(|shares| shares.push(share));
        match &mut self.music {
            Some((_, sure)) if share >= MAYBE_MUSIC => *sure += usize::from(share >= MUSIC),
            None if share >= MAYBE_MUSIC => self.music = Some((begin, usize::from(share >= MUSIC))),
            Some(_) => self.end_music(begin),
            None => {}
        }
    }

    fn end_music(&mut self, to_ms: u64) {
        let Some((from_ms, _)) = self.music.take().filter(|(_, sure)| *sure >= BLOCKS) else { return };
        // A busy tone is held as well, but it has one pitch.
        let within = |begin: u64| (from_ms..to_ms).contains(&begin);
        let mut pitches: Vec<f32> = Vec::new();
        let mut rings_ms = 0;
        for (begin, hz) in self.rings.iter().filter(|(begin, _)| within(*begin)) {
            if !pitches.iter().any(|pitch| (pitch - hz).abs() < 2.0 * DRIFT) {
                pitches.push(*hz);
            }
            let ring = self.tones.iter().find(|tone| tone.from_ms == *begin && tone.kind == ToneKind::Ring);
            rings_ms += ring.map_or(0, |ring| ring.to_ms - ring.from_ms);
        }
        if pitches.len() >= PITCHES || rings_ms * 3 < to_ms - from_ms {
            self.tones.retain(|tone| tone.kind != ToneKind::Ring || !within(tone.from_ms));
            self.tones.push(Tone { kind: ToneKind::Music, from_ms, to_ms });
        }
    }

    /// All that was found, in order.
    pub(super) fn finish(mut self) -> Vec<Tone> {
        self.end_label();
        let end = self.windows * HOP_MS;
        if self.block.windows * 3 > BLOCK {
            self.end_block();
        }
        self.end_music(end);
        self.tones.sort_by_key(|tone| (tone.from_ms, tone.to_ms));
        self.tones
    }
}

#[cfg(test)]
thread_local! {
    static SHARES: std::cell::RefCell<Vec<f32>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Whether it is a low multiple of 50 or 60 Hz.
fn is_mains(hz: f32) -> bool {
    hz < 320.0 && [50.0, 60.0].iter().any(|mains| ((hz / mains).round() * mains - hz).abs() < 3.0 && hz > mains - 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::fixtures::Sound;

    /// What is found, and the greatest share of held partials in a second.
    fn found(samples: &[f32]) -> (Vec<ToneKind>, f32) {
        SHARES.with_borrow_mut(Vec::clear);
        let mut finder = ToneFinder::new();
        samples.chunks(1_000).for_each(|piece| finder.push(piece));
        let mut kinds: Vec<ToneKind> = finder.finish().iter().map(|tone| tone.kind).collect();
        kinds.dedup();
        (kinds, SHARES.with_borrow(|shares| shares.iter().copied().fold(0.0, f32::max)))
    }

    #[test]
    fn music_is_music_at_any_level() {
        for seed in 0..if cfg!(debug_assertions) { 4 } else { 24 } {
            let music = Sound::Music { seed, drums: seed % 2 == 1 }.samples(16_000, 20_000);
            let quiet: Vec<f32> = music.iter().map(|sample| sample * 0.02).collect();
            assert_eq!(found(&music).0, [ToneKind::Music], "{seed}");
            assert_eq!(found(&quiet).0, [ToneKind::Music], "{seed}");
        }
    }

    #[test]
    fn signals_are_told_apart() {
        let ring = |hz: f32, other: f32, on_ms, off_ms| Sound::Ring { tones: [hz, other], on_ms, off_ms };
        for (sound, kind) in [
            (Sound::Dtmf("1234567890*#ABCD".into()), Some(ToneKind::Dtmf)),
            (ring(440.0, 480.0, 2_000, 4_000), Some(ToneKind::Ring)),
            (ring(425.0, 425.0, 1_000, 4_000), Some(ToneKind::Ring)),
            (ring(425.0, 425.0, 480, 480), Some(ToneKind::Ring)),
            (ring(480.0, 620.0, 500, 500), Some(ToneKind::Ring)),
            (ring(350.0, 440.0, 9_000, 100), Some(ToneKind::Ring)),
            (ring(1_000.0, 1_000.0, 400, 4_600), Some(ToneKind::Ring)),
            (Sound::Hum { hz: 50.0 }, Some(ToneKind::Hum)),
            (Sound::Hum { hz: 60.0 }, Some(ToneKind::Hum)),
            (Sound::Noise, None),
            (Sound::PinkNoise, None),
        ] {
            let (kinds, share) = found(&sound.samples(16_000, 12_000));
            assert_eq!(kinds, kind.into_iter().collect::<Vec<_>>(), "{sound:?} {share}");
        }
    }
}
