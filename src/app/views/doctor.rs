//! What `wavebatch doctor` finds.

use serde::Serialize;

use crate::domain::listed::listed;

listed! {
    /// How something stands that was examined.
    Health, "state" {
        /// It works.
        Well = "ok",
        /// It works, and something about it should be known.
        Warning = "warning",
        /// It does not work.
        Failed = "failed",
        /// It was not looked at; `what` says why.
        Unchecked = "unchecked",
    }
}

/// Everything that was examined.
#[derive(Debug, Clone, Serialize)]
pub struct DoctorView {
    /// The version of wavebatch.
    pub version: &'static str,
    /// Whether nothing failed.
    pub is_well: bool,
    /// What was examined, in a fixed order. More may be added.
    pub examined: Vec<ExaminedView>,
}

/// One thing that was examined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExaminedView {
    /// What: `key`, `api`, `clock`, `ledger`, `integrity`, `disk`, `lock`, `processes`, `spool`, `webhook`, `files`, `ffmpeg`; of a
    /// definition `definition`, `source`, `output`, `voices`.
    pub name: &'static str,
    /// The file of the definition; `null` for all that is of no definition.
    pub definition: Option<String>,
    /// How it stands.
    pub state: Health,
    /// What was found, in words.
    pub what: String,
    /// What to do; `null` where there is nothing.
    pub remedy: Option<String>,
}

impl ExaminedView {
    /// It works.
    pub(in crate::app) fn well(name: &'static str, what: impl Into<String>) -> Self {
        Self { name, definition: None, state: Health::Well, what: what.into(), remedy: None }
    }

    /// It works, and this is to be known.
    pub(in crate::app) fn warning(name: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: Health::Warning, remedy: Some(remedy.into()), ..Self::well(name, what) }
    }

    /// It does not work.
    pub(in crate::app) fn failed(name: &'static str, what: impl Into<String>, remedy: Option<String>) -> Self {
        Self { state: Health::Failed, remedy, ..Self::well(name, what) }
    }

    /// It was not looked at.
    pub(in crate::app) fn unchecked(name: &'static str, what: impl Into<String>) -> Self {
        Self { state: Health::Unchecked, ..Self::well(name, what) }
    }

    /// The same of a definition.
    pub(in crate::app) fn of(self, definition: &str) -> Self {
        Self { definition: Some(definition.to_owned()), ..self }
    }
}
