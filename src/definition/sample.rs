//! A random sample of a manifest's lines, the same for each reading.

use std::collections::{BinaryHeap, HashSet};

/// How many lines are drawn, and what decides which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The number of lines.
    pub lines: u64,
    /// Another seed draws other lines.
    pub seed: u64,
}

/// Draws lines one by one, in a single pass.
pub(super) struct Draw {
    sample: Sample,
    /// The lines with the lowest numbers so far, the highest of them first.
    drawn: BinaryHeap<(u64, u64)>,
}

impl Draw {
    pub(super) fn new(sample: Sample) -> Self {
        Self { sample, drawn: BinaryHeap::new() }
    }

    /// Adds a line, by its number in the manifest. A larger sample of the same seed contains the smaller one, so that what
    /// was paid for stays.
    pub(super) fn add(&mut self, line: u64) {
        self.drawn.push((mixed(self.sample.seed, line), line));
        if self.drawn.len() as u64 > self.sample.lines {
            self.drawn.pop();
        }
    }

    pub(super) fn lines(self) -> HashSet<u64> {
        self.drawn.into_iter().map(|(_, line)| line).collect()
    }
}

/// SplitMix64: the same on every machine and in every release.
fn mixed(seed: u64, line: u64) -> u64 {
    let step = |mut z: u64| {
        z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    step(step(seed) ^ line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(lines: u64, seed: u64, of: u64) -> HashSet<u64> {
        let mut draw = Draw::new(Sample { lines, seed });
        (1..=of).for_each(|line| draw.add(line));
        draw.lines()
    }

    #[test]
    fn a_sample_is_random_and_can_be_drawn_again() {
        let sample = drawn(100, 7, 10_000);
        assert_eq!((sample.len(), &sample), (100, &drawn(100, 7, 10_000)));
        assert!(drawn(200, 7, 10_000).is_superset(&sample), "a larger one contains it");
        assert!(drawn(100, 8, 10_000).intersection(&sample).count() < 20, "another seed, other lines");
        let first_half = sample.iter().filter(|line| **line <= 5_000).count();
        assert!((30..=70).contains(&first_half), "{first_half} of the first half");
        assert_eq!(drawn(10, 0, 3).len(), 3, "no more than there are");
    }
}
