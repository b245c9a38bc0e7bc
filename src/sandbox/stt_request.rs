//! What a call asks for in its query, validated as the API does.

use serde_json::{Value, json};

use super::{errors::Refusal, hook::Hook};
use crate::domain::{
    call::LogFlags,
    keywords::MAX_KEYWORDS,
    options::{Language, SttModel},
};

/// What a call asks for.
#[derive(Debug, Clone)]
pub(super) struct SttRequest {
    pub model: SttModel,
    pub language: Language,
    pub flags: LogFlags,
    /// What was to be listened for, as it was sent.
    pub keywords: String,
    /// Where the result is to be posted.
    pub hook: Option<Hook>,
}

impl SttRequest {
    pub(super) fn parse(query: &str, request_id: &str) -> Result<Self, Refusal> {
        let (mut model, mut language, mut flags, mut errors) = (None, None, LogFlags::default(), Vec::new());
        let mut keywords = Vec::new();
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
                "keywords" | "keywords[]" => {
                    keywords.extend(value.split(',').map(|word| word.trim().to_owned()));
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
        let model = model
            .and_then(|m| m.parse().ok())
            .filter(|model| *model != SttModel::PulseLive)
            .ok_or_else(|| unlisted("model", SttModel::NAMES))?;
        let language = language.and_then(|l| l.parse().ok()).ok_or_else(|| unlisted("language", Language::NAMES))?;
        if model == SttModel::PulsePro && language != Language::EN {
            let why = format!("Expected 'en', received '{language}'");
            errors.push(json!({"code": "invalid_enum_value", "path": ["language"], "message": why}));
        }
        if keywords.len() > MAX_KEYWORDS {
            errors.push(json!({"path": ["keywords"], "message": "keywords too large (max 100)"}));
        }
        if keywords.iter().any(|word| word.split(':').next().is_none_or(|word| word.trim().is_empty())) {
            errors.push(json!({"path": ["keywords"], "message": "a keyword is empty"}));
        }
        let hook = Hook::parse(query, &mut errors);
        let keywords = keywords.join(",");
        if errors.is_empty() {
            Ok(Self { model, language, flags, keywords, hook })
        } else {
            Err(Refusal::older("invalid query", &Value::Array(errors)))
        }
    }
}
