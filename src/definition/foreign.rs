//! Flags that the task knows nothing of.

use super::{Fault, build::Builder};
use crate::domain::{batch::LineOption, options::Task, synthesis::SynthesisOption};

impl Builder<'_> {
    /// Tells the flags that only another task has: what they were meant to do would not be done.
    pub(super) fn refuse_flags_of_others(&mut self, task: Task) {
        let over = self.over;
        let known = |name: &str| match task {
            Task::Transcribe => name.parse::<LineOption>().is_ok(),
            Task::Synthesize => name.parse::<SynthesisOption>().is_ok(),
        };
        let mut foreign: Vec<String> =
            over.options.iter().map(|(name, _)| *name).filter(|name| !known(name)).map(flag).collect();
        match task {
            Task::Transcribe => foreign.extend(over.synthesis.set().map(str::to_owned)),
            Task::Synthesize => {
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
