//! What wavebatch does with the lines of a manifest: a folder a task.

pub mod synthesize;
pub mod transcribe;

use crate::{domain::options::Task, runner::intake::IntakeTask};

/// What submitting asks of a task.
pub(crate) fn intake(task: Task) -> &'static dyn IntakeTask {
    match task {
        Task::Transcribe => &transcribe::Transcribe,
        Task::Synthesize => &synthesize::Synthesize,
    }
}
