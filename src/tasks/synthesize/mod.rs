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

pub use self::{
    definition::SynthesisFlags,
    parts::{PartLine, Parts, parts},
    records::{RequestedVoice, RequestedVoices, TextFindings, TextNote, TextsPreview, VoiceUse},
    report::price_of,
    voices::{Judgement, KnownVoice, judge, remembered},
};
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
