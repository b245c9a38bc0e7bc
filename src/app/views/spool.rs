//! Bought clips that are kept.

use serde::Serialize;

use super::Moment;
use crate::store;

/// A number of clips, and their bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ClipsView {
    /// How many.
    pub clips: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The contents of the spool.
#[derive(Debug, Clone, Serialize)]
pub struct SpoolView {
    /// The folder, or the address of the store.
    pub folder: String,
    /// All of it.
    #[serde(flatten)]
    pub all: ClipsView,
    /// What unfinished jobs need.
    pub needed: ClipsView,
    /// The earliest purchase or use of any clip.
    pub oldest_use: Option<Moment>,
    /// The latest purchase or use of any clip.
    pub newest_use: Option<Moment>,
}

/// The clips removed by a pruning, and those that stay.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SpoolPrunedView {
    /// Whether nothing was really removed.
    pub dry_run: bool,
    /// Clips that were removed, or would be.
    pub removed: ClipsView,
    /// Clips that stay because unfinished jobs need them.
    pub needed: ClipsView,
    /// Clips that stay within the limits.
    pub within_limits: ClipsView,
}

impl From<store::ClipTotals> for ClipsView {
    fn from(all: store::ClipTotals) -> Self {
        Self { clips: all.clips, bytes: all.bytes }
    }
}

impl SpoolView {
    /// The view of this spool folder.
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
    /// The view of a pruning, done or planned.
    #[must_use]
    pub fn of(pruned: &store::SpoolPruned, dry_run: bool) -> Self {
        let store::SpoolPruned { taken, needed, within } = *pruned;
        Self { dry_run, removed: taken.into(), needed: needed.into(), within_limits: within.into() }
    }
}
