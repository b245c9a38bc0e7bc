//! What a synthesis asks for, and what comes of it.

use crate::domain::{
    call::Outcome,
    synthesis_options::{AudioFormat, SampleRate, SynthesisOptions},
};

/// How the audio comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In one answer, in the format asked for.
    Sync,
    /// In server-sent events while it is made. They carry samples, so [`AudioFormat::Pcm`] is what is asked for and
    /// what comes, whatever the call's format: 16 bits, little-endian, mono, at the rate asked for.
    Sse,
}

/// What a synthesis asks for.
#[derive(Debug, Clone, Copy)]
pub struct SynthesisCall<'a> {
    /// Model, voice and pace.
    pub options: &'a SynthesisOptions,
    /// What is spoken: at most [`MAX_PART_CHARS`](crate::domain::synthesis_options::MAX_PART_CHARS) characters.
    pub text: &'a str,
    /// The format of the audio.
    pub format: AudioFormat,
    /// Its rate.
    pub rate: SampleRate,
    /// Ids of pronunciation dictionaries.
    pub dictionaries: &'a [String],
    /// How the audio comes.
    pub transport: Transport,
    /// The call's id in the journal. The vendor sees it as `request_id`.
    pub call_id: &'a str,
    /// What the call belongs to. The vendor sees it as `session_id`, in characters that it takes.
    pub session: &'a str,
}

/// Audio that came whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynthesizedAudio {
    /// How many bytes were written.
    pub bytes: u64,
    /// What they are. Checked: of this format, at the rate asked for where the format tells it, and all there.
    pub format: AudioFormat,
    /// The media type that the answer gave.
    pub content_type: Option<String>,
    /// The vendor's request id.
    pub request_id: Option<String>,
    /// `x-content-expiry`, where the answer has it.
    pub content_expiry: Option<String>,
}

/// How a synthesis ended.
pub type SynthesisOutcome = Outcome<SynthesizedAudio>;
