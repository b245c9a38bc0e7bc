//! Voices of an account's own: they are made of samples, one by one or many at once, and none twice.

mod journal;
mod manifest;
mod report;
mod sample;
mod work;

use std::{io, path::PathBuf, time::Duration};

pub use self::{
    manifest::{CloneRequest, read_clones},
    report::CloneRow,
    work::clone_voices,
};
use crate::{audio::analyze::HearSettings, definition::Faults, domain::call::CallFailure};

/// How voices are cloned.
#[derive(Debug, Clone)]
pub struct CloneSettings {
    /// What is to be cloned.
    pub requests: Vec<CloneRequest>,
    /// The manifest that they are of, for faults.
    pub manifest: Option<String>,
    /// The report, if there is one.
    pub report: Option<PathBuf>,
    /// The file that remembers what was sent and is not settled.
    pub journal: PathBuf,
    /// Requests at the same time.
    pub concurrency: usize,
    /// How long after a lost answer its voice may still show up.
    pub grace: Duration,
    /// How long it is waited until a voice is ready.
    pub wait: Duration,
    /// How samples are read.
    pub hear: HearSettings,
}

/// What a front end is told while voices are cloned.
#[derive(Debug, Clone)]
pub enum CloneEvent {
    /// A sample could be better.
    Warning(String),
    /// The sample is good, and is sent.
    Sent(String),
    /// The answer was lost: it is looked whether the account has the voice.
    Lost(String),
    /// The account has the voice, and it is not ready yet.
    Waits(String),
    /// A voice ended, well or not.
    Ended(Box<CloneRow>),
}

/// What became of all.
#[derive(Debug, Clone, Default)]
pub struct Cloned {
    /// A row for each request, in its order.
    pub rows: Vec<CloneRow>,
    /// Whether somebody asked to stop before all ended.
    pub interrupted: bool,
    /// Why no more was asked for, if the account or the API is to blame.
    pub stopped: Option<CallFailure>,
}

/// Why nothing was cloned.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// Names or samples are wrong; nothing was sent.
    #[error("{0}")]
    Faults(Faults),
    /// Another process clones with the same journal.
    #[error("another process clones these voices: it holds {}", .0.display())]
    Busy(PathBuf),
    /// The journal or the report cannot be read or written.
    #[error("{}: it cannot be read or written", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The account's list cannot be had; nothing was sent.
    #[error("{}", .0.message)]
    Account(CallFailure),
}
