//! Reads the words back from samples, whatever they went through.

use std::{f32::consts::TAU, ops::ControlFlow};

use super::{
    code::{self, Told},
    resample::resample,
    speech::JOINER,
    tones::{BANDS, Band, DIGITS},
    words::WordTable,
};

/// Samples of a tone at the rate of listening: a whole number of turns of every tone.
const TONE: usize = 192;
/// Positions per tone at which is listened.
const HOPS: usize = 8;
/// Samples between them.
const HOP: usize = TONE / HOPS;
/// How long a tone may last, in ms: 24, or as long as an MPEG frame at 44,100 and at 16,000 Hz.
const TONE_LENGTHS: [f64; 3] = [24.0, 1_152_000.0 / 44_100.0, 36.0];
/// Of what is heard in a band, the share that the tone of a digit must have.
const PURE: f32 = 0.45;
/// Of the mean energy of a burst's tones, the most that the gap before it may have: less than the softest digit has.
const GAP: f32 = 0.38;
/// Of the same, what a tone at the end of a word has at least.
const END: f32 = 0.38;
/// Of the loudest tone's energy, what the faintest has at least: a part may be 30 dB softer than others.
const FAINT: f32 = 1e-3;
/// Of the loudest voice's energy, the least that another voice has.
const LEAKED: f32 = 0.01;
/// Of all that is not silent, the share that words must cover: anything else may sound like a word by chance.
const COVERED: f64 = 0.25;
/// How much is listened to at a time, and how much more so that words at its end are whole, in seconds.
const CHUNK: f64 = 60.0;
const OVERLAP: f64 = 4.0;
/// How often is looked whether a voice may speak, in seconds.
const FIRST: f64 = 6.0;
/// Windows that are tried before all is listened to, and what one tone of some must have of their energy.
const PROBES: usize = 24;
const PROBED: f32 = 0.2;
/// After so many windows without a tone no more are tried.
const HOPELESS: u32 = 5;
/// A word whose table is another sandbox's.
const UNKNOWN: &str = "[unknown]";

/// A word that was heard.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sandbox) struct HeardWord {
    /// The word; `glued` says that no space follows.
    pub word: String,
    /// Whether the next word follows without a space.
    pub glued: bool,
    /// When it is said, in seconds.
    pub start: f64,
    /// When it ends, in seconds.
    pub end: f64,
    /// The voice.
    pub band: Band,
}

/// Listens for the words of a sandbox's voices, in pieces, so that a long recording needs no more memory than a short one.
#[derive(Debug)]
pub(in crate::sandbox) struct Listener<'a> {
    table: &'a WordTable,
    rate: u32,
    /// What was not listened to yet.
    samples: Vec<f32>,
    /// When it begins, in seconds.
    from: f64,
    /// How long a tone lasts, in ms; `None` until a voice was heard.
    tone_ms: Option<f64>,
    /// Whether enough was heard to know that a voice may speak.
    heard_sound: bool,
    /// After how much of it that is looked for, in seconds.
    next_look: f64,
    /// How long anything but silence was heard, in seconds.
    sounding: f64,
    words: Vec<HeardWord>,
}

impl<'a> Listener<'a> {
    /// Knows the words of this table, and those that are spelled.
    pub(in crate::sandbox) const fn new(table: &'a WordTable, rate: u32) -> Self {
        Self {
            table,
            rate,
            samples: Vec::new(),
            from: 0.0,
            tone_ms: None,
            heard_sound: false,
            next_look: FIRST,
            sounding: 0.0,
            words: Vec::new(),
        }
    }

    /// Takes the next samples of one channel. `Break`: this is no voice of a sandbox.
    pub(in crate::sandbox) fn push(&mut self, samples: &[f32]) -> ControlFlow<()> {
        self.samples.extend_from_slice(samples);
        if !self.heard_sound && self.seconds() >= self.next_look {
            self.next_look += FIRST;
            self.look(FIRST / 2.0)?;
        }
        while self.seconds() >= CHUNK + OVERLAP {
            self.listen(CHUNK)?;
        }
        ControlFlow::Continue(())
    }

    /// The words in the order of their times; none if no voice of a sandbox was heard.
    pub(in crate::sandbox) fn finish(mut self) -> Vec<HeardWord> {
        let ended = if self.heard_sound { ControlFlow::Continue(()) } else { self.look(0.0) };
        if ended.is_break() || self.listen(f64::INFINITY).is_break() {
            return Vec::new();
        }
        let covered: f64 = self.words.iter().map(|word| word.end - word.start).sum();
        if covered < COVERED * self.sounding { Vec::new() } else { self.words }
    }

    fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate)
    }

    /// A quick look, before much is listened to, once there is more sound than so many seconds.
    fn look(&mut self, least: f64) -> ControlFlow<()> {
        if sounding_seconds(&self.samples, self.rate) <= least {
            // Silence before the first word may last long.
            return ControlFlow::Continue(());
        }
        self.heard_sound = true;
        let any = TONE_LENGTHS.iter().any(|tone_ms| may_speak(&self.samples, self.rate, *tone_ms));
        if any { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Listens to what is there, and keeps the words that begin in the first `seconds` of it.
    fn listen(&mut self, seconds: f64) -> ControlFlow<()> {
        let sounding = sounding_seconds(&self.samples, self.rate);
        self.sounding += sounding * (seconds / self.seconds()).min(1.0);
        let lengths = if sounding > 0.0 { &TONE_LENGTHS[..] } else { &[] };
        for tone_ms in lengths.iter().copied().filter(|tone_ms| self.tone_ms.is_none_or(|own| own == *tone_ms)) {
            let words = self.words_of(&self.samples, self.rate, tone_ms);
            let covered: f64 = words.iter().map(|word| word.end - word.start).sum();
            if self.tone_ms.is_some() || covered > COVERED * sounding {
                self.tone_ms = (covered > 0.0).then_some(tone_ms).or(self.tone_ms);
                let own = words.into_iter().filter(|word| word.start < seconds);
                self.words.extend(own.map(|word| HeardWord {
                    start: word.start + self.from,
                    end: word.end + self.from,
                    ..word
                }));
                break;
            }
        }
        let taken = ((seconds * f64::from(self.rate)) as usize).min(self.samples.len());
        self.samples.drain(..taken);
        self.from += taken as f64 / f64::from(self.rate);
        let is_other = sounding > 0.0 && self.tone_ms.is_none();
        if is_other { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn words_of(&self, samples: &[f32], rate: u32, tone_ms: f64) -> Vec<HeardWord> {
        let samples = resample(samples, f64::from(rate), TONE as f64 * 1_000.0 / tone_ms);
        let seconds = |hop: usize| hop as f64 * tone_ms / 1_000.0 / HOPS as f64;
        let mut words: Vec<HeardWord> = Vec::new();
        let bands: Vec<(Band, Spectrum)> = Band::all().map(|band| (band, Spectrum::of(&samples, band))).collect();
        let loudest = bands.iter().map(|(_, spectrum)| spectrum.loudest()).fold(0.0, f32::max);
        for (band, spectrum) in bands {
            // What one voice leaves in the bands of others.
            if spectrum.loudest() < LEAKED * loudest {
                continue;
            }
            for found in spectrum.bursts() {
                let name = match found.told {
                    Told::Word(word) => word,
                    Told::Index(index) => self.table.word(index).unwrap_or_else(|| UNKNOWN.to_owned()),
                };
                let word = name.trim_end_matches(JOINER);
                words.push(HeardWord {
                    glued: word.len() < name.len(),
                    word: word.to_owned(),
                    start: seconds(found.from),
                    end: seconds(found.to),
                    band,
                });
            }
        }
        words.sort_by(|a, b| a.start.total_cmp(&b.start));
        // What a codec leaves of one voice beside its band has the times of that voice, and is no word that anybody said.
        let is_echo = |at: usize| {
            let beside = [at.checked_sub(1), at.checked_add(1)].into_iter().flatten().filter_map(|at| words.get(at));
            let together = |other: &HeardWord| (other.start - words[at].start).abs() < tone_ms / 1_000.0;
            words[at].word == UNKNOWN && beside.into_iter().any(|other| other.word != UNKNOWN && together(other))
        };
        let mut kept = (0..words.len()).map(|at| !is_echo(at)).collect::<Vec<_>>().into_iter();
        words.retain(|_| kept.next() == Some(true));
        words
    }
}

/// The time that is not silent.
fn sounding_seconds(samples: &[f32], rate: u32) -> f64 {
    let frame = (rate / 50).max(1) as usize;
    let energy = |frame: &[f32]| frame.iter().map(|sample| sample * sample).sum::<f32>();
    let energies: Vec<f32> = samples.chunks(frame).map(energy).collect();
    let most = energies.iter().copied().fold(0.0, f32::max);
    energies.iter().filter(|energy| **energy > most / 1_000.0).count() as f64 / 50.0
}

/// Whether tones stand out in some of a few windows: a quick look before the long one.
fn may_speak(samples: &[f32], rate: u32, tone_ms: f64) -> bool {
    let len = (f64::from(rate) * tone_ms / 1_000.0) as usize;
    if samples.len() < len || len < 2 * Band::of(BANDS - 1).turns(DIGITS - 1) {
        return false;
    }
    let last = samples.len() - len;
    let energy = |window: &[f32]| window.iter().map(|sample| sample * sample).sum::<f32>();
    // Not at the same place of all words.
    let windows = (0..PROBES).map(|probe| {
        let at = (last * probe / PROBES + probe * len / 5).min(last);
        &samples[at..at + len]
    });
    let loudest = windows.clone().map(energy).fold(0.0, f32::max);
    let (mut tried, mut found) = (0, 0);
    for window in windows {
        let all = energy(window);
        if all <= loudest / 100.0 {
            continue;
        }
        tried += 1;
        let tones = Band::all().flat_map(|band| (0..DIGITS).map(move |digit| band.turns(digit)));
        let purest = tones.map(|turns| energy_of(window, turns as f32) * 2.0 / len as f32).fold(0.0, f32::max);
        found += u32::from(purest > PROBED * all);
        if tried == HOPELESS && found == 0 {
            return false;
        }
    }
    found * 6 > tried
}

/// The energy at so many turns of a window (Goertzel's algorithm).
fn energy_of(window: &[f32], turns: f32) -> f32 {
    let turn = 2.0 * (TAU * turns / window.len() as f32).cos();
    let (mut before, mut now) = (0.0f32, 0.0f32);
    for sample in window {
        (before, now) = (now, sample + turn * now - before);
    }
    (now * now + before * before - turn * now * before).max(0.0)
}

/// A word's burst.
struct Burst {
    told: Told,
    /// The positions at which it begins and ends.
    from: usize,
    to: usize,
}

/// What is heard in one band at each position: the digit that stands out, its energy, and that of all digits.
struct Spectrum {
    digits: Vec<u8>,
    best: Vec<f32>,
    all: Vec<f32>,
    /// Less energy than this is no tone.
    least: f32,
}

impl Spectrum {
    fn of(samples: &[f32], band: Band) -> Self {
        let count = (samples.len() / HOP + 1).saturating_sub(HOPS);
        let mut spectrum = Self { digits: vec![0; count], best: vec![0.0; count], all: vec![0.0; count], least: 0.0 };
        for digit in 0..DIGITS {
            let turns = band.turns(digit);
            let wave: Vec<(f32, f32)> =
                (0..TONE).map(|n| (TAU * ((turns * n) % TONE) as f32 / TONE as f32).sin_cos()).collect();
            let hop = |(at, hop): (usize, &[f32])| {
                let from = at % HOPS * HOP;
                let turned = hop.iter().zip(&wave[from..from + HOP]);
                turned.fold((0.0, 0.0), |(re, im), (sample, (sin, cos))| (re + sample * cos, im + sample * sin))
            };
            let hops: Vec<(f32, f32)> = samples.chunks_exact(HOP).enumerate().map(hop).collect();
            for (at, window) in hops.windows(HOPS).enumerate().take(count) {
                let (re, im) = window.iter().fold((0.0, 0.0), |(re, im), hop| (re + hop.0, im + hop.1));
                let energy = re * re + im * im;
                spectrum.all[at] += energy;
                if energy > spectrum.best[at] {
                    (spectrum.best[at], spectrum.digits[at]) = (energy, digit as u8);
                }
            }
        }
        spectrum.least = spectrum.loudest() * FAINT;
        spectrum
    }

    /// The energy of the loudest tone.
    fn loudest(&self) -> f32 {
        self.best.iter().copied().fold(0.0, f32::max)
    }

    /// All bursts that are whole.
    fn bursts(&self) -> Vec<Burst> {
        let mut bursts = Vec::new();
        let mut at = 0;
        while at < self.best.len() {
            // Near its true beginning a burst is read as well, but less clearly.
            let near = (at..at + HOPS).filter_map(|at| Some((at, self.burst_at(at)?)));
            let clearest = self.burst_at(at).and_then(|_| near.max_by(|a, b| a.1.1.total_cmp(&b.1.1)));
            let Some((from, (told, _, len))) = clearest else {
                at += 1;
                continue;
            };
            let to = self.end(from, from + len * HOPS);
            bursts.push(Burst { told, from, to });
            at = to.max(at + 1);
        }
        bursts
    }

    /// What is said from this position on, how clearly, and by how many digits.
    fn burst_at(&self, at: usize) -> Option<(Told, f32, usize)> {
        let pure =
            |at: usize| Some(*self.best.get(at)?).filter(|best| *best > PURE * self.all[at] && *best > self.least);
        pure(at).and_then(|_| pure(at + HOPS))?;
        let len = code::len_of(self.digits[at], self.digits[at + HOPS])?;
        let (mut clear, mut energy) = (0.0, 0.0);
        let mut digits = Vec::with_capacity(len);
        for n in 0..len {
            let tone = pure(at + n * HOPS)?;
            (clear, energy) = (clear + tone.sqrt(), energy + tone);
            digits.push(self.digits[at + n * HOPS]);
        }
        let quiet = at.checked_sub(HOPS).map_or(0.0, |gap| self.all[gap]);
        if quiet > GAP * energy / len as f32 {
            return None;
        }
        Some((code::read(&digits)?, clear, len))
    }

    /// Where the sound ends that goes on at this position.
    fn end(&self, from: usize, mut at: usize) -> usize {
        let level = self.best[from..at.min(self.best.len())].iter().sum::<f32>() / (at - from).max(1) as f32;
        while self.all.get(at).is_some_and(|all| *all > END * level) {
            at += HOPS;
        }
        at
    }
}
