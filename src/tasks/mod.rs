//! What wavebatch does with the lines of a manifest: a folder a task.

pub mod synthesize;
pub mod transcribe;

use crate::{definition::TaskDefinition, runner::intake::IntakeTask};

/// What submitting asks of a definition's task.
pub(crate) fn intake(task: &TaskDefinition) -> &'static dyn IntakeTask {
    match task {
        TaskDefinition::Transcribe(_) => &transcribe::Transcribe,
        TaskDefinition::Synthesize(_) => &synthesize::Synthesize,
    }
}
