//! What a scheduler says.

use std::path::PathBuf;

use crate::{clock::Millis, definition::Faults, domain::job::BatchId};

/// What happened to definitions and their runs. Moments are scheduled ones, in ms since 1970.
#[derive(Debug, Clone)]
pub enum Scheduling {
    /// A definition came.
    Found {
        /// Its name.
        definition: String,
        /// Its file.
        file: PathBuf,
        /// Whether it runs by itself.
        scheduled: bool,
    },
    /// A definition is another one now.
    Changed {
        /// Its name.
        definition: String,
        /// Its file.
        file: PathBuf,
        /// Whether it runs by itself.
        scheduled: bool,
    },
    /// A definition, or a folder of them, cannot be read: it starts nothing.
    Broken {
        /// The file or folder.
        file: PathBuf,
        /// What is wrong.
        faults: Faults,
    },
    /// What was broken can be read again.
    Mended {
        /// The definition's name; of a folder, its path.
        definition: String,
        /// The file or folder.
        file: PathBuf,
    },
    /// A definition was taken away: it starts nothing more. What its batches left stays in the ledger.
    Gone {
        /// Its name, if it could ever be read.
        definition: Option<String>,
        /// Its file.
        file: PathBuf,
    },
    /// A definition cannot have the name that it has, or that its batches would have.
    Clash {
        /// Its name.
        definition: String,
        /// Its file.
        file: PathBuf,
        /// With whom, and what becomes of it.
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
        /// It is the batch of an older night, which had the same manifest and options.
        older_batch: bool,
        /// What the user should know.
        warnings: Vec<String>,
        /// What is wrong with lines that are skipped.
        faults: Faults,
    },
    /// A run could not be started, and is tried again. Told once for each reason.
    CouldNotStart {
        /// The definition's name.
        definition: String,
        /// The batch's name, as far as that is known.
        batch: Option<String>,
        /// The scheduled moment.
        at: Millis,
        /// Why not.
        why: String,
        /// What can be done.
        hint: Option<String>,
    },
    /// A run waits, and nothing is wrong. Told once for each reason.
    Waits {
        /// The definition's name.
        definition: String,
        /// The scheduled moment.
        at: Millis,
        /// For what.
        why: String,
    },
    /// A run is let go.
    Dropped {
        /// The definition's name.
        definition: String,
        /// The scheduled moment.
        at: Millis,
        /// Why.
        why: String,
    },
    /// How all schedules stand, whenever that has changed.
    States(Vec<ScheduleState>),
}

/// How a definition with a schedule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleState {
    /// Its name.
    pub definition: String,
    /// It starts nothing: it cannot be read, or its name is another's.
    pub broken: bool,
    /// The scheduled moment of its next run.
    pub next: Option<Millis>,
    /// When a run was last started: not the scheduled moment, but the real one.
    pub last_started: Option<Millis>,
    /// Runs that came and are not started yet.
    pub waiting: u64,
    /// Unfinished lines of its batches that wait for their next window.
    pub left_over: u64,
}
