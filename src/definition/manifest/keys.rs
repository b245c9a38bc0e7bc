//! Finds duplicate keys among a million, with 16 bytes per key.

use std::hash::{DefaultHasher, Hasher};

/// The keys seen: 87 bits of hash, 40 bits of line, one bit for a line that is already bad. Sorting makes equal keys
/// adjacent.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<u128>);

const LINE_BITS: u32 = 40;

/// A line whose key an earlier line has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doubled {
    pub(super) line: u64,
    /// The first line with that key.
    pub(super) first: u64,
    /// The later line is bad, and its key is the one generated for it.
    pub(super) of_bad: bool,
}

impl Keys {
    pub(super) fn add(&mut self, key: &str, line: u64, bad: bool) {
        let hash = |seed: u8| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u8(seed);
            hasher.write(key.as_bytes());
            u128::from(hasher.finish())
        };
        let hashes = (hash(1) << 64) | hash(2);
        let line = u128::from(line) & ((1 << LINE_BITS) - 1);
        let kept = hashes >> (LINE_BITS + 1) << (LINE_BITS + 1);
        self.0.push(kept | (line << 1) | u128::from(bad));
    }

    /// The duplicates, by line.
    pub(super) fn doubled(mut self) -> Vec<Doubled> {
        self.0.sort_unstable();
        let line = |entry: u128| u64::try_from((entry >> 1) & ((1 << LINE_BITS) - 1)).expect("40 bits fit");
        let same = |a: u128, b: u128| a >> (LINE_BITS + 1) == b >> (LINE_BITS + 1);
        let mut doubled = Vec::new();
        for group in self.0.chunk_by(|a, b| same(*a, *b)).filter(|group| group.len() > 1) {
            let first = line(group[0]);
            doubled.extend(group[1..].iter().map(|e| Doubled { line: line(*e), first, of_bad: e & 1 == 1 }));
        }
        doubled.sort_unstable_by_key(|doubled| doubled.line);
        doubled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_lines_name_the_first() {
        let mut keys = Keys::default();
        for (key, line, bad) in [("b", 9, false), ("a", 2, false), ("b", 3, false), ("a", 5, true), ("c", 7, false)] {
            keys.add(key, line, bad);
        }
        assert_eq!(
            keys.doubled(),
            [Doubled { line: 5, first: 2, of_bad: true }, Doubled { line: 9, first: 3, of_bad: false }]
        );
    }
}
