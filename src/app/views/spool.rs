//! Bought audio that is kept beside the ledger.

use serde::Serialize;

use super::Moment;
use crate::store;

/// So many clips, and their bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ClipsView {
    /// How many.
    pub clips: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What is kept.
#[derive(Debug, Clone, Serialize)]
pub struct SpoolView {
    /// The folder.
    pub folder: String,
    /// All of it.
    #[serde(flatten)]
    pub all: ClipsView,
    /// What unfinished jobs need.
    pub needed: ClipsView,
    /// When a clip was bought or used, the longest ago.
    pub oldest_use: Option<Moment>,
    /// The same, the latest.
    pub newest_use: Option<Moment>,
}

/// What was removed, and what stays.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SpoolPrunedView {
    /// Whether it was only said.
    pub dry_run: bool,
    /// What went, or would go.
    pub removed: ClipsView,
    /// What stays because unfinished jobs need it.
    pub needed: ClipsView,
    /// What stays within the limits.
    pub within_limits: ClipsView,
}

impl From<store::ClipTotals> for ClipsView {
    fn from(all: store::ClipTotals) -> Self {
        Self { clips: all.clips, bytes: all.bytes }
    }
}

impl SpoolView {
    /// Of what is kept in this folder.
    #[must_use]
    pub fn of(view: &store::SpoolView, folder: String) -> Self {
        let moment = |at: std::time::SystemTime| {
            let since = at.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default();
            Moment(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
        };
        Self {
            folder,
            all: view.all.into(),
            needed: view.needed.into(),
            oldest_use: view.oldest.map(moment),
            newest_use: view.newest.map(moment),
        }
    }
}

impl SpoolPrunedView {
    /// Of what a pruning did, or would do.
    #[must_use]
    pub fn of(pruned: &store::SpoolPruned, dry_run: bool) -> Self {
        let store::SpoolPruned { taken, needed, within } = *pruned;
        Self { dry_run, removed: taken.into(), needed: needed.into(), within_limits: within.into() }
    }
}
