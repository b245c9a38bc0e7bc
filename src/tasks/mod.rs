//! What is done with each line of a batch: one folder a task, and here the list of them.

pub mod synthesize;
pub mod transcribe;

use std::sync::Arc;

use crate::{
    definition::TaskDefinition,
    runner::{Maker, Makers, intake::IntakeTask},
};

/// How each task of this program is worked.
#[must_use]
pub fn makers() -> Makers {
    let makers: [Arc<dyn Maker>; 2] = [Arc::new(transcribe::Transcribe), Arc::new(synthesize::Synthesize)];
    makers.into_iter().collect()
}

/// What submitting asks of a definition's task.
pub(crate) fn intake(task: &TaskDefinition) -> &'static dyn IntakeTask {
    match task {
        TaskDefinition::Transcribe(_) => &transcribe::Transcribe,
        TaskDefinition::Synthesize(_) => &synthesize::Synthesize,
    }
}
