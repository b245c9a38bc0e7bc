//! What is known of a line beside its row of the ledger.

use crate::{domain::row::Note, store::ReportRow};

/// What is known of a line beside its row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recalled {
    /// The transcript.
    pub(super) transcript: String,
    /// Length of the audio, in ms.
    pub(super) audio_ms: Option<u64>,
    /// The vendor's id of the request.
    pub(super) request_id: Option<String>,
}

/// Whether the line was done before the ledger knew it.
pub(super) fn is_adopted(row: &ReportRow) -> bool {
    row.notes.as_deref() == Some(Note::Adopted.as_str())
}
