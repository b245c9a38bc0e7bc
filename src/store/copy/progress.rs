//! How far a copying is.

use std::sync::Arc;

/// What a copying does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyStep {
    /// It copies rows.
    Rows,
    /// It compares the rows of both ledgers.
    Compare,
    /// It copies bought speech.
    Speech,
}

/// How far a copying is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyProgress {
    /// What it does.
    pub step: CopyStep,
    /// How much of it is done: rows, or clips.
    pub done: u64,
    /// How much it is in all.
    pub all: u64,
}

/// Who is told.
pub type OnCopy = Arc<dyn Fn(CopyProgress) + Send + Sync>;
