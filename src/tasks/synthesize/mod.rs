//! Texts become speech.

mod dictionary;
mod intake;
mod parts;
mod purchases;
mod records;
mod voices;
mod work;

pub(crate) use self::records::{UNNAMED, open_records};
pub use self::{
    dictionary::renew_dictionary,
    parts::{PartLine, Parts, parts},
    records::{RequestedVoice, RequestedVoices, TextFindings, TextNote, TextsPreview, VoiceUse},
    voices::{Judgement, KnownVoice, judge, remembered},
};

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct Synthesize;
