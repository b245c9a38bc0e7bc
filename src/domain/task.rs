//! What a batch does with each line, and with which options.

use serde::{Deserialize, Serialize};

use super::{
    identity::{Identity, options_identity},
    options::{Task, TranscribeOptions, TranscriptFormat, WebhookMode},
    pool::Pool,
    synthesis::Synthesis,
};

/// A task with its options, as the ledger keeps it: a field `task` with its name, and its own beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "lowercase")]
pub enum TaskSpec {
    /// Recordings become transcripts.
    Transcribe(Box<Transcription>),
    /// Texts become speech.
    Synthesize {
        /// What is asked for.
        synthesize: Box<Synthesis>,
    },
}

/// What a transcription batch was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transcription {
    /// The options of every line that does not say otherwise.
    #[serde(rename = "transcribe")]
    pub options: TranscribeOptions,
    /// The files to write for each line, none twice.
    pub formats: Vec<TranscriptFormat>,
    /// Whether answers are waited for.
    #[serde(default = "auto")]
    pub webhook: WebhookMode,
}

const fn auto() -> WebhookMode {
    WebhookMode::Auto
}

impl TaskSpec {
    /// Its name.
    #[must_use]
    pub const fn task(&self) -> Task {
        match self {
            Self::Transcribe(_) => Task::Transcribe,
            Self::Synthesize { .. } => Task::Synthesize,
        }
    }

    /// What a transcription asks for.
    #[must_use]
    pub fn transcription(&self) -> Option<&Transcription> {
        match self {
            Self::Transcribe(asked) => Some(asked),
            Self::Synthesize { .. } => None,
        }
    }

    /// What a synthesis asks for.
    #[must_use]
    pub fn synthesis(&self) -> Option<&Synthesis> {
        match self {
            Self::Transcribe(_) => None,
            Self::Synthesize { synthesize } => Some(synthesize),
        }
    }

    /// The model of every line that does not say otherwise.
    #[must_use]
    pub fn model(&self) -> &str {
        match self {
            Self::Transcribe(asked) => asked.options.model.as_str(),
            Self::Synthesize { synthesize } => synthesize.options.model.as_str(),
        }
    }

    /// The identity of what shapes the calls of a line that sets nothing itself.
    #[must_use]
    pub fn identity(&self) -> Identity {
        match self {
            Self::Transcribe(asked) => options_identity(&asked.options),
            Self::Synthesize { synthesize } => synthesize.identity(&synthesize.options),
        }
    }

    /// The pool of that model.
    #[must_use]
    pub fn pool(&self) -> Pool {
        match self {
            Self::Transcribe(asked) => asked.options.model.into(),
            Self::Synthesize { .. } => Pool::Tts,
        }
    }
}
