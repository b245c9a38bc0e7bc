//! A ledger as a whole.

use std::path::PathBuf;

use serde::Serialize;

use super::ClipsView;
use crate::store;

/// A ledger that was copied.
#[derive(Debug, Clone, Serialize)]
pub struct LedgerCopiedView {
    /// The address of the ledger.
    pub from: String,
    /// The address of the copy.
    pub to: String,
    /// Whether the ledger says from now on that it was moved.
    pub moved: bool,
    /// The tables, in the order in which they were copied.
    pub tables: Vec<TableView>,
    /// The bought speech that was copied too.
    pub speech: ClipsView,
    /// The files that have the secrets of callbacks and notifications from now on.
    pub secrets: Vec<PathBuf>,
}

/// A table that was copied.
#[derive(Debug, Clone, Serialize)]
pub struct TableView {
    /// Its name.
    pub table: &'static str,
    /// How many rows it has.
    pub rows: u64,
    /// SHA-256 of its rows, the same on both sides.
    pub sha256: String,
}

/// What is not as it must be in a ledger.
#[derive(Debug, Clone, Serialize)]
pub struct LedgerCheckView {
    /// The address of the ledger.
    pub ledger: String,
    /// Whether nothing was found.
    pub is_whole: bool,
    /// What was found.
    pub findings: Vec<FindingView>,
    /// The place of bought speech; `null` where the ledger has none.
    pub spool: Option<String>,
    /// How many clips were looked at.
    pub clips: u64,
    /// Clips that no row knows. They do no harm.
    pub unknown_clips: u64,
    /// Clips that wait on this machine for the store.
    pub unsent_clips: u64,
}

/// One thing that is not as it must be.
#[derive(Debug, Clone, Serialize)]
pub struct FindingView {
    /// What is wrong.
    pub what: &'static str,
    /// How often.
    pub count: u64,
    /// Some of the places.
    pub places: Vec<String>,
    /// What to do.
    pub remedy: &'static str,
}

impl LedgerCheckView {
    /// Of a ledger's rows and its spool.
    #[must_use]
    pub fn of(ledger: &str, rows: Vec<store::Finding>, spool: store::SpoolCheck) -> Self {
        let finding =
            |of: store::Finding| FindingView { what: of.what, count: of.count, places: of.places, remedy: of.remedy };
        let findings: Vec<_> = rows.into_iter().chain(spool.findings).map(finding).collect();
        Self {
            ledger: ledger.to_owned(),
            is_whole: findings.is_empty(),
            findings,
            spool: spool.place,
            clips: spool.clips,
            unknown_clips: spool.unknown,
            unsent_clips: spool.unsent,
        }
    }
}
