//! What a transcription batch requests, as the ledger stores it.

use serde::{Deserialize, Serialize};

use super::{
    listening::{ChannelMode, Listening},
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
    /// What is listened for before a recording is sent, and how its channels are.
    #[serde(default, skip_serializing_if = "Listening::is_default")]
    pub listening: Listening,
    /// How many times as fast as it was spoken the audio of a live session is sent.
    #[serde(default = "live_speed", skip_serializing_if = "is_usual_speed")]
    pub live_speed: f64,
}

/// The speed of live sessions, unless the definition says otherwise. Nothing says how fast the vendor takes audio.
pub const LIVE_SPEED: f64 = 4.0;

const fn live_speed() -> f64 {
    LIVE_SPEED
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde wants")]
fn is_usual_speed(speed: &f64) -> bool {
    *speed == LIVE_SPEED
}

const fn auto() -> WebhookMode {
    WebhookMode::Auto
}

impl Transcription {
    /// The task's name.
    pub const TASK: TaskName = TaskName::of("transcribe");

    /// Whether a call with these options requests word times. Recordings that are sent in several calls, or with stretches cut out,
    /// need them: by their times the words become one transcript.
    #[must_use]
    pub fn sends_word_timestamps(&self, options: &TranscribeOptions) -> bool {
        let Listening { channels, trim_silence, max_piece_ms, .. } = self.listening;
        let is_cut = channels != ChannelMode::Mix || trim_silence || max_piece_ms.is_some();
        is_cut || options.sends_word_timestamps(&self.formats)
    }
}

impl Asked for Transcription {
    const TASK: TaskName = Self::TASK;
    const UNIT: Unit = Unit::AudioMs;
}
