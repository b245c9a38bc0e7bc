//! The two tasks of the program, for what is not yet free of them.

use super::{
    identity::{Identity, options_identity},
    synthesis::Synthesis,
    task::{SpecError, TaskSpec},
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
}
