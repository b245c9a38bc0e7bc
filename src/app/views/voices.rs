//! Voices of the account.

use serde::Serialize;

use crate::{
    domain::synthesis_options::TtsModel,
    waves::{AccountClone, CloneStatus, Voice},
};

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

/// A voice of the account's own, with all that the account says.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CloneView<'v> {
    /// The value for `voice_id`.
    pub id: &'v str,
    /// Its name.
    pub name: &'v str,
    /// How far it is; `null` if the account says something else.
    pub status: Option<CloneStatus>,
    /// The models that it speaks by.
    pub models: &'v [TtsModel],
    /// The language of its sample.
    pub language: Option<&'v str>,
    /// `instant` or `professional`.
    pub kind: Option<&'v str>,
    /// Its accent.
    pub accent: Option<&'v str>,
    /// Its tags.
    pub tags: &'v [String],
    /// What it is, in words.
    pub description: Option<&'v str>,
    /// When it was made, in the vendor's format.
    pub created_at: Option<&'v str>,
}

impl<'v> From<&'v AccountClone> for CloneView<'v> {
    fn from(clone: &'v AccountClone) -> Self {
        Self {
            id: &clone.id,
            name: &clone.name,
            status: clone.status,
            models: &clone.models,
            language: clone.language.as_deref(),
            kind: clone.kind.as_deref(),
            accent: clone.accent.as_deref(),
            tags: &clone.tags,
            description: clone.description.as_deref(),
            created_at: clone.created_at.as_deref(),
        }
    }
}
