//! The two tasks of the program, for what is not yet free of them.

use super::{
    identity::{Identity, options_identity},
    pool::Pool,
    synthesis::Synthesis,
    task::{SpecError, TaskName, TaskSpec},
    transcription::Transcription,
};

/// What a batch asks of one of the two.
#[derive(Debug, Clone, PartialEq)]
pub enum BuiltIn {
    /// Recordings become transcripts.
    Transcribe(Box<Transcription>),
    /// Texts become speech.
    Synthesize(Box<Synthesis>),
}

/// The two, by name.
pub const TASKS: [TaskName; 2] = [Transcription::TASK, Synthesis::TASK];

/// The task of this name.
///
/// # Errors
/// There is none, and the nearest.
pub fn task_named(text: &str) -> Result<TaskName, String> {
    let names = ["transcribe", "synthesize"];
    let known = || TASKS.into_iter().find(|task| task.as_str() == text);
    known().ok_or_else(|| {
        let nearest = super::options::nearest(text, names);
        super::options::NotListed { what: "task", value: text.to_owned(), nearest }.to_string()
    })
}

impl TaskSpec {
    /// What it asks of one of the two.
    ///
    /// # Errors
    /// It is neither, or has another shape.
    pub fn built_in(&self) -> Result<BuiltIn, SpecError> {
        match self.is::<Synthesis>() {
            true => self.read().map(|asked| BuiltIn::Synthesize(Box::new(asked))),
            false => self.read().map(|asked| BuiltIn::Transcribe(Box::new(asked))),
        }
    }

    /// The identity of what shapes the calls of a line that sets nothing itself.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        Some(match self.built_in().ok()? {
            BuiltIn::Transcribe(asked) => options_identity(&asked.options),
            BuiltIn::Synthesize(asked) => asked.identity(&asked.options),
        })
    }

    /// The pool of the model of every line that does not say otherwise.
    #[must_use]
    pub fn pool(&self) -> Pool {
        self.read::<Transcription>().map_or(Pool::Tts, |asked| asked.options.model.into())
    }
}
