//! What a call asks for in its query, validated as the API does.

use serde_json::{Value, json};

use super::{errors::Refusal, hook::Hook};
use crate::domain::{
    call::LogFlags,
    options::{LANGUAGES, Language, SttModel},
};

/// What a call asks for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub model: SttModel,
    pub language: Language,
    pub flags: LogFlags,
    /// Where the result is to be posted; never for Pulse, which answers at once whatever it is asked.
    pub hook: Option<Hook>,
}

impl Asked {
    pub(super) fn parse(query: &str, request_id: &str) -> Result<Self, Refusal> {
        let (mut model, mut language, mut flags, mut errors) = (None, None, LogFlags::default(), Vec::new());
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let flag = match name.as_ref() {
                "model" => {
                    model = Some(value);
                    continue;
                }
                "language" => {
                    language = Some(value);
                    continue;
                }
                "word_timestamps" => &mut flags.word_timestamps,
                "diarize" => &mut flags.diarize,
                "redact_pii" => &mut flags.redact_pii,
                "redact_pci" => &mut flags.redact_pci,
                "emotion_detection" => &mut flags.emotion_detection,
                "gender_detection" => &mut flags.gender_detection,
                _ => continue,
            };
            match value.as_ref() {
                "true" => *flag = true,
                "false" => *flag = false,
                _ => errors.push(json!({"path": [name], "message": "must be 'true' or 'false'"})),
            }
        }
        let unlisted = |name: &str, names: &[&str]| {
            let message = format!("query parameter `{name}` is missing or unknown; known are {}", names.join(", "));
            Refusal::stt(400, &message, request_id)
        };
        let model = model.and_then(|m| m.parse().ok()).ok_or_else(|| unlisted("model", SttModel::NAMES))?;
        let language = language.and_then(|l| l.parse().ok()).ok_or_else(|| unlisted("language", LANGUAGES))?;
        let hook = if model == SttModel::PulsePro { Hook::parse(query, &mut errors) } else { None };
        if errors.is_empty() {
            Ok(Self { model, language, flags, hook })
        } else {
            Err(Refusal::older("invalid query", &Value::Array(errors)))
        }
    }
}
