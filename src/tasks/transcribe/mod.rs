//! Transcription: recordings become transcripts.

mod definition;
mod intake;
mod listening;
mod records;
mod report;
mod work;

use crate::domain::{
    task::{Asked, Task, TaskName, Unit},
    transcription::Transcription,
};

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct Transcribe;

impl Task for Transcribe {
    fn name(&self) -> TaskName {
        Transcription::TASK
    }

    fn unit(&self) -> Unit {
        Transcription::UNIT
    }

    fn has_transcripts(&self) -> bool {
        true
    }
}
