//! What `wavebatch ledger copy` made of a ledger.

/// What a ledger is in the eyes of `wavebatch ledger copy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyMark {
    /// Which end of the copying it is.
    pub end: CopyEnd,
    /// The address of the other ledger.
    pub with: String,
    /// The id of the copying.
    pub(in crate::store) id: String,
}

/// Which end of a copying a ledger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyEnd {
    /// It is being copied.
    Source,
    /// It is a copy that is not finished.
    Target,
    /// Its copy took its place.
    Moved,
}

impl CopyEnd {
    /// As the ledger has it.
    pub(in crate::store) const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Target => "target",
            Self::Moved => "moved",
        }
    }
}
