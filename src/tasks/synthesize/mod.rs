//! Texts become speech.

mod definition;
mod report;
mod work;

pub use self::{definition::SynthesisFlags, report::price_of};
use crate::domain::{
    synthesis::Synthesis,
    task::{Task, TaskName},
};

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct Synthesize;

impl Task for Synthesize {
    fn name(&self) -> TaskName {
        Synthesis::TASK
    }

    fn has_parts(&self) -> bool {
        true
    }
}
