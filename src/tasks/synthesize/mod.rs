//! Synthesis: texts become audio.

mod definition;
mod dictionary;
mod intake;
mod parts;
mod purchases;
mod records;
mod report;
mod voices;
mod work;

use crate::domain::{
    synthesis::Synthesis,
    task::{Asked, Task, TaskName, Unit},
};

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct Synthesize;

impl Task for Synthesize {
    fn name(&self) -> TaskName {
        Synthesis::TASK
    }

    fn unit(&self) -> Unit {
        Synthesis::UNIT
    }

    fn has_parts(&self) -> bool {
        true
    }
}
