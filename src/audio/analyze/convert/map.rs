//! Which time of what was sent is which time of the recording.

use super::PER_MS;

/// A stretch that was sent as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// Where it is in what was sent, in ms.
    pub sent_from_ms: u64,
    /// Where it is in the recording, in ms.
    pub source_from_ms: u64,
    /// Its length, in ms.
    pub len_ms: u64,
}

/// The stretches in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TimeMap {
    /// The stretches.
    pub pieces: Vec<Mapped>,
    /// Samples of the last one.
    last: u64,
}

impl TimeMap {
    /// A map of stretches that were kept.
    #[must_use]
    pub const fn new(pieces: Vec<Mapped>) -> Self {
        Self { pieces, last: 0 }
    }

    pub(super) fn begin(&mut self, sent: u64, source: u64) {
        self.last = 0;
        self.pieces.push(Mapped { sent_from_ms: sent / PER_MS, source_from_ms: source / PER_MS, len_ms: 0 });
    }

    pub(super) fn extend(&mut self, samples: u64) {
        self.last += samples;
        if let Some(piece) = self.pieces.last_mut() {
            piece.len_ms = self.last / PER_MS;
        }
    }

    /// The time in the recording; `None` in the silence between two stretches, and after the last one.
    #[must_use]
    pub fn to_source(&self, sent_ms: u64) -> Option<u64> {
        let after = self.pieces.partition_point(|piece| piece.sent_from_ms <= sent_ms);
        let piece = self.pieces.get(after.checked_sub(1)?)?;
        let into = sent_ms - piece.sent_from_ms;
        // The end of a stretch is a time of it: the last word ends there.
        (into <= piece.len_ms).then_some(piece.source_from_ms + into)
    }

    /// The time in the recording, of a silence between two stretches the nearer end.
    #[must_use]
    pub fn nearest(&self, sent_ms: u64) -> u64 {
        self.to_source(sent_ms).unwrap_or_else(|| {
            let ends = self.pieces.iter().flat_map(|piece| {
                [
                    (piece.sent_from_ms, piece.source_from_ms),
                    (piece.sent_from_ms + piece.len_ms, piece.source_from_ms + piece.len_ms),
                ]
            });
            ends.min_by_key(|(sent, _)| sent.abs_diff(sent_ms)).map_or(0, |(_, source)| source)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_a_gap_is_no_time_of_the_recording() {
        let piece = |sent_from_ms, source_from_ms, len_ms| Mapped { sent_from_ms, source_from_ms, len_ms };
        let map = TimeMap::new(vec![piece(0, 1_000, 500), piece(700, 9_000, 300)]);
        let times: Vec<_> = [0, 499, 500, 501, 699, 700, 1_000, 1_001].iter().map(|ms| map.to_source(*ms)).collect();
        assert_eq!(times, [Some(1_000), Some(1_499), Some(1_500), None, None, Some(9_000), Some(9_300), None]);
        assert_eq!((map.nearest(590), map.nearest(620), map.nearest(5_000)), (1_500, 9_000, 9_300));
        assert_eq!(TimeMap::default().to_source(0), None);
    }
}
