//! Kept answers.

use serde::Serialize;

use super::Moment;
use crate::clock::Millis;

/// The kept answers of a ledger, and which of them can be removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct AnswersView {
    /// All of them.
    #[serde(flatten)]
    pub all: KeptView,
    /// Those of batches that finished longer ago than their `keep_answers`.
    #[serde(rename = "prunable")]
    pub past: KeptView,
    /// Those that can be removed next.
    pub next: Option<KeptView>,
    /// When these can be removed.
    pub next_at: Option<Moment>,
}

/// A number of answers, and their bytes in the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct KeptView {
    /// How many.
    pub count: u64,
    /// Their bytes, compressed.
    pub bytes: u64,
}

impl AnswersView {
    /// Sums over batches. Each batch has its answers, and the moment at which they can be removed, if there is one.
    pub fn of(batches: impl Iterator<Item = (Option<Millis>, KeptView)>, now: Millis) -> Self {
        let mut view = Self::default();
        for (until, one) in batches {
            view.all.add(one);
            match until.map(Moment) {
                Some(at) if at.0 <= now => view.past.add(one),
                Some(at) if view.next_at.is_none_or(|next| at < next) => {
                    (view.next, view.next_at) = (Some(one), Some(at));
                }
                _ => {}
            }
        }
        view
    }
}

impl KeptView {
    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.bytes += other.bytes;
    }
}
