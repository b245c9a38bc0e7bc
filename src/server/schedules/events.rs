//! The events of a scheduler.

use std::path::PathBuf;

use crate::{clock::Millis, definition::Faults, domain::job::BatchId};

/// A change of definitions or their runs. Moments are scheduled ones, in ms since 1970.
#[derive(Debug, Clone)]
pub enum Scheduling {
    /// A definition was added.
    Found {
        /// Its name.
        definition: String,
        /// Its file.
        file: PathBuf,
        /// Whether it has a schedule.
        scheduled: bool,
    },
    /// A definition has changed.
    Changed {
        /// Its name.
        definition: String,
        /// Its file.
        file: PathBuf,
        /// Whether it has a schedule.
        scheduled: bool,
    },
    /// A definition, or a folder of definitions, cannot be read: it starts nothing.
    Broken {
        /// The file or folder.
        file: PathBuf,
        /// Its faults.
        faults: Faults,
    },
    /// A definition or folder can be read again.
    Mended {
        /// The definition's name, or the folder's path.
        definition: String,
        /// The file or folder.
        file: PathBuf,
    },
    /// A definition was removed: it starts nothing more. Its batches stay in the ledger.
    Gone {
        /// Its name, if it was ever read.
        definition: Option<String>,
        /// Its file.
        file: PathBuf,
    },
    /// A definition's name, or that of its batches, clashes with another.
    Clash {
        /// Its name.
        definition: String,
        /// Its file.
        file: PathBuf,
        /// The clash and its effect.
        why: String,
    },
    /// Another content of a definition is in force: it starts nothing here.
    OtherContent {
        /// Its name.
        definition: String,
        /// Its file.
        file: PathBuf,
        /// Which process has which content.
        why: String,
    },
    /// A run's batch was submitted.
    Started {
        /// The definition's name.
        definition: String,
        /// The scheduled moment.
        at: Millis,
        /// The batch.
        batch: BatchId,
        /// Its name.
        name: String,
        /// Lines that are new or changed.
        added: u64,
        /// The batch belongs to an older date, with the same manifest and options.
        older_batch: bool,
        /// Warnings for the user.
        warnings: Vec<String>,
        /// The faults of skipped lines.
        faults: Faults,
    },
    /// A run could not be started, and will be tried again. Emitted once for each reason.
    CouldNotStart {
        /// The definition's name.
        definition: String,
        /// The batch's name, if known.
        batch: Option<String>,
        /// The scheduled moment.
        at: Millis,
        /// The reason.
        why: String,
        /// A remedy.
        hint: Option<String>,
    },
    /// A run waits, without a fault. Emitted once for each reason.
    Waits {
        /// The definition's name.
        definition: String,
        /// The scheduled moment.
        at: Millis,
        /// The reason.
        why: String,
    },
    /// A run was dropped.
    Dropped {
        /// The definition's name.
        definition: String,
        /// The scheduled moment.
        at: Millis,
        /// The reason.
        why: String,
    },
    /// The states of all schedules, emitted after each change.
    States(Vec<ScheduleState>),
}

/// The state of a definition with a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleState {
    /// Its name.
    pub definition: String,
    /// It starts nothing: it cannot be read, its name clashes, or another content of it is in force.
    pub broken: bool,
    /// The scheduled moment of its next run.
    pub next: Option<Millis>,
    /// When a run was last started: the real moment, not the scheduled one.
    pub last_started: Option<Millis>,
    /// Runs that are due but not started.
    pub waiting: u64,
    /// Unfinished lines of its batches that wait for their next window.
    pub left_over: u64,
}
