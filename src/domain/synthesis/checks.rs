//! What makes bought speech suspect, judged by what was measured of its samples and by its text.

mod pace;

use serde::{Deserialize, Serialize};

pub use self::pace::Pace;
use crate::domain::transcript::SuspectReason;

/// Quieter than this at its loudest, in dBFS, a part is silent.
const SILENT_DB: f32 = -55.0;
/// The least long silence that makes a part half silent by its share, in ms. Below it, a short word between two pauses would do.
const HALF_SILENT_MS: u64 = 1_200;
/// The least length of a part that can be one constant sound, in ms.
const CONSTANT_MS: u64 = 600;
/// The least time that a tone of changing level must last, in ms.
const PURE_MS: u64 = 1_000;
/// Of frames at the level of the speech, the share that must have one level, in a steady sound.
const STEADY_SHARE: f32 = 0.93;
/// How far the spectrum of frames may vary in a sound of one level, and in one whose level changes, in dB.
const STEADY_SLOPE_DB: f32 = 0.9;
const PURE_SLOPE_DB: f32 = 0.1;
/// Parts with less speech than this, in ms, have no level to compare: a cry and a whisper are one word each.
const LEVEL_MS: u64 = 300;

/// The checks of bought speech, `[synthesize.checks]`. A threshold of 0 turns its check off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SpeechChecks {
    /// How many times as long as usual for its text a part may be.
    pub too_long: f64,
    /// Whether silence alone is suspect.
    pub silent: bool,
    /// The share of a part that may be long silences.
    pub half_silent: f64,
    /// The share of samples that may be cut off at the greatest magnitude.
    pub clipped: f64,
    /// Whether one constant sound is suspect.
    pub constant_sound: bool,
    /// By how many dB the level may differ between two parts that follow each other.
    pub level_jump_db: f64,
}

impl Default for SpeechChecks {
    fn default() -> Self {
        Self {
            too_long: 2.0,
            silent: true,
            half_silent: 0.45,
            clipped: 0.005,
            constant_sound: true,
            level_jump_db: 12.0,
        }
    }
}

/// What was measured of one part's samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Length in ms.
    pub ms: u64,
    /// The level of the loudest 20 ms, in dBFS.
    pub loudest_db: f32,
    /// The level of the speech without its pauses, in dBFS.
    pub level_db: f32,
    /// How much of the part has the level of speech, in ms.
    pub speech_ms: u64,
    /// Sum of all silences of half a second and more, in ms.
    pub silent_ms: u64,
    /// The longest of them.
    pub longest_silence: Option<LongSilence>,
    /// The share of samples in flat tops: several in a row at the greatest magnitude.
    pub clipped_share: f32,
    /// Where the first flat top is, in ms.
    pub clipped_at_ms: Option<u64>,
    /// Of the frames with the level of speech, the share whose level differs by at most 1.5 dB from the median.
    pub steady_share: f32,
    /// How far the spectral slope of these frames is from its median on average, in dB.
    pub slope_spread_db: f32,
}

/// A silence of half a second or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LongSilence {
    /// Where it begins, in ms from the start of the part.
    pub at_ms: u64,
    /// Its length in ms.
    pub ms: u64,
}

/// A part as it is judged.
#[derive(Debug, Clone, Copy)]
pub struct HeardPart {
    /// Length in ms.
    pub ms: u64,
    /// How long its text may take.
    pub pace: Pace,
    /// What was measured; `None` if its samples are not known.
    pub measured: Option<Measured>,
}

/// Why a part cannot be right.
#[derive(Debug, Clone, PartialEq)]
pub struct Doubt {
    /// The part, from 0.
    pub part: usize,
    /// The reason.
    pub reason: SuspectReason,
    /// Where in the part it shows, in ms.
    pub at_ms: u64,
    /// The measured values.
    pub detail: String,
}

impl SpeechChecks {
    /// Whether these are the defaults.
    #[must_use]
    pub fn are_default(&self) -> bool {
        *self == Self::default()
    }

    /// Judges the parts of one output in their order; `None` are parts without speech. A part has at most one doubt: the
    /// gravest.
    #[must_use]
    pub fn judge(&self, parts: &[Option<HeardPart>]) -> Vec<Doubt> {
        let mut doubts: Vec<Doubt> = Vec::new();
        for (at, part) in parts.iter().enumerate() {
            let found = part.as_ref().and_then(|part| self.part(part));
            doubts.extend(found.map(|(reason, at_ms, detail)| Doubt { part: at, reason, at_ms, detail }));
        }
        for jump in self.level_jumps(parts) {
            if doubts.iter().all(|doubt| doubt.part != jump.part) {
                doubts.push(jump);
            }
        }
        doubts.sort_by_key(|doubt| doubt.part);
        doubts
    }

    fn part(&self, part: &HeardPart) -> Option<(SuspectReason, u64, String)> {
        let HeardPart { ms, pace, measured } = part;
        let length = || format!("{} for {} characters", seconds(*ms), pace.characters);
        if *ms < pace.least_ms {
            return Some((SuspectReason::TooShort, 0, length()));
        }
        let sound = measured.as_ref();
        if let Some(found) = sound.and_then(|sound| self.sound(sound, pace)) {
            return Some(found);
        }
        let most_ms = pace.most_ms(self.too_long).filter(|most_ms| ms > most_ms)?;
        Some((SuspectReason::TooLong, most_ms, format!("{}, at most {}", length(), seconds(most_ms))))
    }

    fn sound(&self, sound: &Measured, pace: &Pace) -> Option<(SuspectReason, u64, String)> {
        if sound.loudest_db < SILENT_DB {
            let level = format!("its loudest 20 ms have {:.0} dBFS", sound.loudest_db.max(-100.0));
            return self.silent.then_some((SuspectReason::Silent, 0, level));
        }
        if let Some(silence) = sound.longest_silence
            && self.is_half_silent(sound, pace)
        {
            let detail = format!("{} of {}", seconds(sound.silent_ms), seconds(sound.ms));
            return Some((SuspectReason::HalfSilent, silence.at_ms, detail));
        }
        if self.clipped > 0.0 && f64::from(sound.clipped_share) > self.clipped {
            let detail = format!("{:.1} % of its samples", sound.clipped_share * 100.0);
            return Some((SuspectReason::Clipped, sound.clipped_at_ms.unwrap_or_default(), detail));
        }
        if self.constant_sound && is_constant(sound) {
            let detail = format!("{:.0} % of it has one level", sound.steady_share * 100.0);
            return Some((SuspectReason::ConstantSound, 0, detail));
        }
        None
    }

    /// Long silences take too much of it, or leave too little time for the text.
    fn is_half_silent(&self, sound: &Measured, pace: &Pace) -> bool {
        let share = sound.silent_ms as f64 / sound.ms.max(1) as f64;
        self.half_silent > 0.0
            && (sound.silent_ms >= HALF_SILENT_MS && share > self.half_silent
                || sound.ms - sound.silent_ms < pace.least_ms)
    }

    /// Of two neighbours whose levels differ too much, the one that is further from what most parts have.
    fn level_jumps(&self, parts: &[Option<HeardPart>]) -> Vec<Doubt> {
        let level = |(at, part): (usize, &Option<HeardPart>)| {
            let sound = part.as_ref()?.measured?;
            (sound.speech_ms >= LEVEL_MS && sound.loudest_db >= SILENT_DB).then_some((at, sound.level_db))
        };
        let levels: Vec<(usize, f32)> = parts.iter().enumerate().filter_map(level).collect();
        let mut sorted: Vec<f32> = levels.iter().map(|(_, level)| *level).collect();
        sorted.sort_by(f32::total_cmp);
        let Some(median) = sorted.get(sorted.len() / 2).copied() else { return Vec::new() };
        let mut doubts: Vec<Doubt> = Vec::new();
        for pair in levels.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            let jump = after.1 - before.1;
            if self.level_jump_db <= 0.0 || f64::from(jump.abs()) <= self.level_jump_db {
                continue;
            }
            // Of two parts that are equally far, the later one is heard as the jump.
            let first_is_odd = (before.1 - median).abs() > (after.1 - median).abs();
            let (part, own) = if first_is_odd { before } else { after };
            if doubts.last().is_none_or(|doubt| doubt.part != part) {
                let detail = format!("{own:.0} dBFS, {:.0} dB from the part beside it", jump.abs());
                doubts.push(Doubt { part, reason: SuspectReason::LevelJump, at_ms: 0, detail });
            }
        }
        doubts
    }
}

fn is_constant(sound: &Measured) -> bool {
    let steady = sound.steady_share >= STEADY_SHARE && sound.slope_spread_db < STEADY_SLOPE_DB;
    sound.ms >= CONSTANT_MS && (steady || sound.speech_ms >= PURE_MS && sound.slope_spread_db < PURE_SLOPE_DB)
}

fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1_000.0)
}

#[cfg(test)]
mod tests;
