//! Voices of the account.

use serde::Serialize;

use crate::{domain::synthesis_options::TtsModel, waves::Voice};

/// A voice with all fields of the catalog.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct VoiceView<'v> {
    /// The value for `voice_id`.
    pub id: &'v str,
    /// Its display name.
    pub name: &'v str,
    /// The models that support it.
    pub models: &'v [TtsModel],
    /// The languages it was trained on.
    pub languages: &'v [String],
    /// E.g. `female`.
    pub gender: Option<&'v str>,
    /// E.g. `british`.
    pub accent: Option<&'v str>,
    /// E.g. `middle aged`.
    pub age: Option<&'v str>,
    /// Its emotions.
    pub emotions: &'v [String],
    /// Its recommended uses.
    pub use_cases: &'v [String],
}

impl<'v> From<&'v Voice> for VoiceView<'v> {
    fn from(voice: &'v Voice) -> Self {
        Self {
            id: &voice.id,
            name: &voice.name,
            models: &voice.models,
            languages: &voice.languages,
            gender: voice.gender.as_deref(),
            accent: voice.accent.as_deref(),
            age: voice.age.as_deref(),
            emotions: &voice.emotions,
            use_cases: &voice.usecases,
        }
    }
}
