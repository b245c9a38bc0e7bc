//! What a transcription batch is asked for, as the ledger keeps it.

use serde::{Deserialize, Serialize};

use super::{
    options::{TranscribeOptions, TranscriptFormat, WebhookMode},
    task::{Asked, TaskName},
};

/// What a transcription batch was asked for: `[transcribe]`, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transcription {
    /// The options of every line that does not say otherwise.
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

impl Transcription {
    /// The task's name.
    pub const TASK: TaskName = TaskName::of("transcribe");
}

impl Asked for Transcription {
    const TASK: TaskName = Self::TASK;
}
