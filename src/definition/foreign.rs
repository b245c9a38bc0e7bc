//! Flags that the task knows nothing of.

use super::{Fault, build::Builder};
use crate::domain::{batch::LineOption, synthesis::SynthesisOption, task::TaskName, transcription::Transcription};

impl Builder<'_> {
    /// Tells the flags that only another task has: what they were meant to do would not be done.
    pub(super) fn refuse_flags_of_others(&mut self, task: TaskName) {
        let over = self.over;
        let known = |name: &str| match task {
            Transcription::TASK => name.parse::<LineOption>().is_ok(),
            _ => name.parse::<SynthesisOption>().is_ok(),
        };
        let mut foreign: Vec<String> =
            over.options.iter().map(|(name, _)| *name).filter(|name| !known(name)).map(flag).collect();
        match task {
            Transcription::TASK => foreign.extend(over.synthesis.set().map(str::to_owned)),
            _ => {
                let flags = [("source-column", over.source_column.is_some()), ("no-source", over.no_source.is_some())];
                foreign.extend(flags.iter().filter(|(_, set)| *set).map(|(name, _)| (*name).to_owned()));
            }
        }
        let message = format!("says nothing where the task is `{task}`");
        self.faults.extend(foreign.iter().map(|name| Fault::of_flag(name, message.as_str())));
    }
}

fn flag(option: &str) -> String {
    option.replace('_', "-")
}
