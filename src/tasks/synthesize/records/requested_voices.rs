//! The voices that a manifest requests, in which language, and with which model.

use std::collections::BTreeMap;

use super::text_line::LineText;
use crate::{
    definition::Synthesizing,
    domain::synthesis_options::{TtsLanguage, TtsModel},
};

/// Every requested voice, and where it is requested.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestedVoices(pub BTreeMap<RequestedVoice, VoiceUse>);

/// A voice as it is requested.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestedVoice {
    /// The voice.
    pub voice_id: String,
    /// The model.
    pub model: TtsModel,
    /// The language, if one is given.
    pub language: Option<TtsLanguage>,
}

/// Where a voice is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoiceUse {
    /// The first line.
    pub first: u64,
    /// How many lines.
    pub lines: u64,
    /// Whether a line names the voice, and not the definition.
    pub by_line: bool,
}

impl RequestedVoices {
    /// Adds the voices of a text of the line `number`.
    pub(super) fn add(&mut self, number: u64, text: &LineText, asked: &Synthesizing) {
        let mut last = None;
        for output in &text.outputs {
            let voice_id = output.voice_id();
            // The formats of a voice are adjacent.
            if last.replace(voice_id) == Some(voice_id) {
                continue;
            }
            let (model, language) = (text.options.model, text.options.language);
            let voice = RequestedVoice { voice_id: voice_id.to_owned(), model, language };
            let mut of_definition = asked.synthesis.voices.iter().chain(asked.voices_by_language.values().flatten());
            let by_line = !of_definition.any(|own| own == voice_id);
            let used = self.0.entry(voice).or_insert(VoiceUse { first: number, lines: 0, by_line });
            used.lines += 1;
        }
    }
}
