//! The request of a synthesis, and its result.

use crate::domain::{
    call::Outcome,
    synthesis::SpokenWord,
    synthesis_options::{AudioFormat, SampleRate, SynthesisOptions},
};

/// The path of streams, by events and by sockets.
pub(super) const LIVE_PATH: &str = "/waves/v1/tts/live";

/// How the audio is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In one answer, in the requested format.
    Sync,
    /// In server-sent events while it is synthesized. They carry samples, so [`AudioFormat::Pcm`] is requested and
    /// received, whatever the call's format: 16 bits, little-endian, mono, at the requested rate.
    Sse,
    /// Over a socket, with the times of the words where the voice has them. As samples, like events.
    Ws,
}

/// The request of a synthesis.
#[derive(Debug, Clone, Copy)]
pub struct SynthesisCall<'a> {
    /// Model, voice and pace.
    pub options: &'a SynthesisOptions,
    /// The text: at most [`MAX_PART_CHARS`](crate::domain::synthesis_options::MAX_PART_CHARS) characters.
    pub text: &'a str,
    /// The format of the audio.
    pub format: AudioFormat,
    /// The sample rate.
    pub rate: SampleRate,
    /// Ids of pronunciation dictionaries.
    pub dictionaries: &'a [String],
    /// How the audio is received.
    pub transport: Transport,
    /// The call's id in the journal. The vendor sees it as `request_id`.
    pub call_id: &'a str,
    /// What the call belongs to. The vendor sees it as `session_id`, in characters that it accepts.
    pub session: &'a str,
}

/// Complete audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynthesizedAudio {
    /// How many bytes were written.
    pub bytes: u64,
    /// Their format. Checked: this format, at the requested rate if the format contains it, and complete.
    pub format: AudioFormat,
    /// The media type of the answer.
    pub content_type: Option<String>,
    /// The vendor's request id.
    pub request_id: Option<String>,
    /// `x-content-expiry`, if the answer has it.
    pub content_expiry: Option<String>,
    /// The words with their times, in order. Empty where the transport or the voice has none.
    pub words: Vec<SpokenWord>,
}

/// How a synthesis ended.
pub type SynthesisOutcome = Outcome<SynthesizedAudio>;
