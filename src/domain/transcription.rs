//! What a transcription batch requests, as the ledger stores it.

use serde::{Deserialize, Serialize};

use super::{
    options::{TranscribeOptions, TranscriptFormat, WebhookMode},
    task::{Asked, TaskName, Unit},
};

/// What a transcription batch requests: `[transcribe]`, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transcription {
    /// The options of every line that does not override them.
    pub options: TranscribeOptions,
    /// The formats to write for each line, without duplicates.
    pub formats: Vec<TranscriptFormat>,
    /// Whether answers are waited for, or posted to us.
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
    const UNIT: Unit = Unit::AudioMs;
}
