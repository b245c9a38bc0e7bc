//! Final adjustment of the times of cues: ordered, not overlapping, within the audio, and long enough to read if there is room.

/// The shortest duration of a cue, if the next one leaves room.
pub(super) const MIN_MS: u64 = 1_000;
/// The longest duration of a cue.
pub(super) const MAX_MS: u64 = 7_000;
/// More characters a second than this are hard to read.
pub(super) const MAX_CHARS_PER_SECOND: u64 = 21;
/// The duration that every cue gets, even at its neighbours' expense: starts coincide in broken answers.
const FLOOR_MS: u64 = 100;

/// One caption. Its text follows the previous one's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) start_ms: u64,
    pub(super) end_ms: u64,
    pub(super) speaker: Option<u32>,
    pub(super) turn: bool,
    pub(super) text_end: usize,
    /// The length of the text, in characters.
    pub(super) chars: u64,
}

impl Slot {
    /// Whether the text is shown for too short a time to be read.
    pub(super) const fn is_fast(&self) -> bool {
        self.chars * 1_000 > MAX_CHARS_PER_SECOND * (self.end_ms - self.start_ms)
    }

    /// How long its text takes to be read.
    const fn reading_ms(&self) -> u64 {
        (self.chars * 1_000).div_ceil(MAX_CHARS_PER_SECOND)
    }
}

/// Requires cues in order of their starts, and at most as many as `length` has milliseconds.
pub(super) fn settle(cues: &mut [Slot], length: Option<u64>) {
    let count = cues.len() as u64;
    let Some(last) = cues.last() else { return };
    let length = length
        .unwrap_or_else(|| last.end_ms.max(last.start_ms).saturating_add(MIN_MS).saturating_add(count * FLOOR_MS));
    let floor = (length / count).clamp(1, FLOOR_MS);

    let mut earliest = 0;
    for cue in cues.iter_mut() {
        cue.start_ms = cue.start_ms.max(earliest);
        earliest = cue.start_ms + floor;
    }
    let mut latest_end = length;
    for cue in cues.iter_mut().rev() {
        cue.start_ms = cue.start_ms.min(latest_end.saturating_sub(floor));
        let least = MIN_MS.max(cue.reading_ms());
        let wanted = cue.end_ms.max(cue.start_ms + least).min(cue.start_ms + MAX_MS);
        cue.end_ms = wanted.min(latest_end);
        latest_end = cue.start_ms;
    }
}
