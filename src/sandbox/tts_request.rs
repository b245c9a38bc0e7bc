//! What a synthesis asks for in its body, validated as the API does.

use std::str::FromStr;

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::books::Digest;
use crate::domain::synthesis_options::{AudioFormat, MAX_PART_CHARS, SampleRate, Speed, TtsLanguage, TtsModel};

/// The longest id that a client may give, in characters.
const LONGEST_ID: usize = 128;

/// What a call asks for.
#[derive(Debug, Clone, Serialize)]
pub(super) struct TtsRequest {
    pub model: TtsModel,
    pub voice: String,
    pub text: String,
    pub format: AudioFormat,
    #[serde(skip)]
    pub rate: SampleRate,
    hz: u32,
    pub speed: Speed,
    language: Option<TtsLanguage>,
    numbers: Option<TtsLanguage>,
    math: bool,
    pub dictionaries: Vec<String>,
    #[serde(skip)]
    pub request_id: String,
    #[serde(skip)]
    pub session_id: String,
}

impl TtsRequest {
    /// Reads a body; an `Err` says what is wrong with it.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
            return Err("the body must be a JSON object".into());
        };
        let rate = match fields.get("sample_rate") {
            None | Some(Value::Null) => SampleRate::Hz44100,
            Some(rate) => rate
                .as_u64()
                .and_then(|hz| SampleRate::from_hz(u32::try_from(hz).ok()?))
                .ok_or_else(|| format!("'sample_rate' must be one of {}", SampleRate::NAMES.join(", ")))?,
        };
        Ok(Self {
            text: spoken(&fields)?,
            voice: required(&fields, "voice_id")?,
            model: model(&fields)?,
            format: format(&fields)?,
            rate,
            hz: rate.hz(),
            speed: speed(&fields)?,
            language: listed(&fields, "language", TtsLanguage::NAMES)?,
            numbers: listed(&fields, "number_pronunciation_language", TtsLanguage::NAMES)?,
            math: flag(&fields, "math_notation")?,
            dictionaries: texts(&fields, "pronunciation_dicts")?,
            request_id: id(&fields, "request_id")?,
            session_id: id(&fields, "session_id")?,
        })
    }

    /// Whether it is spoken in English or Hindi, as without a language.
    pub(super) fn is_english_or_hindi(&self) -> bool {
        matches!(self.language, None | Some(TtsLanguage::En | TtsLanguage::Hi))
    }

    pub(super) fn characters(&self) -> u64 {
        self.text.chars().count() as u64
    }

    /// SHA-256 of all that shapes the answer: who asks and under which id does not.
    pub(super) fn digest(&self) -> Digest {
        Sha256::digest(serde_json::to_vec(self).expect("numbers and strings always make JSON")).into()
    }

    /// SHA-256 of all that shapes the sound, but not its format and rate; `words` are those of the dictionaries.
    pub(super) fn voiced(&self, words: &str) -> Digest {
        let plain = Self { format: AudioFormat::Pcm, hz: 0, dictionaries: vec![words.to_owned()], ..self.clone() };
        plain.digest()
    }
}

/// The hyphened form is for paths alone.
fn model(fields: &Map<String, Value>) -> Result<TtsModel, String> {
    let model = listed(fields, "model", TtsModel::NAMES)?.unwrap_or(TtsModel::Lightning);
    match TtsModel::NAMES.iter().any(|name| name.replace('_', "-") == model.as_str()) {
        true => Err(format!("'model' must be one of {}", TtsModel::NAMES.join(", "))),
        false => Ok(model),
    }
}

fn format(fields: &Map<String, Value>) -> Result<AudioFormat, String> {
    let format = listed(fields, "output_format", AudioFormat::NAMES)?.unwrap_or(AudioFormat::Pcm);
    AudioFormat::named(format.as_str())
        .map_err(|_| format!("'output_format' must be one of {}", AudioFormat::NAMES.join(", ")))
}

fn spoken(fields: &Map<String, Value>) -> Result<String, String> {
    let text = required(fields, "text")?;
    match text.chars().count() {
        0..=MAX_PART_CHARS => Ok(text),
        count => Err(format!("the text has {count} characters; {MAX_PART_CHARS} are allowed")),
    }
}

fn required(fields: &Map<String, Value>, name: &str) -> Result<String, String> {
    match fields.get(name) {
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.clone()),
        None | Some(Value::Null | Value::String(_)) => Err(format!("the '{name}' field is required")),
        Some(_) => Err(format!("'{name}' must be a string")),
    }
}

fn listed<T: FromStr>(fields: &Map<String, Value>, name: &str, names: &[&str]) -> Result<Option<T>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_str().and_then(|text| text.parse().ok()) {
            Some(listed) => Ok(Some(listed)),
            None => Err(format!("'{name}' must be one of {}", names.join(", "))),
        },
    }
}

fn speed(fields: &Map<String, Value>) -> Result<Speed, String> {
    match fields.get("speed") {
        None | Some(Value::Null) => Ok(Speed::NORMAL),
        Some(speed) => speed
            .as_f64()
            .and_then(|factor| Speed::new(factor).ok())
            .ok_or_else(|| "'speed' must be a number between 0.5 and 2".to_owned()),
    }
}

fn flag(fields: &Map<String, Value>, name: &str) -> Result<bool, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(on)) => Ok(*on),
        Some(_) => Err(format!("'{name}' must be true or false")),
    }
}

fn texts(fields: &Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(value) => serde_json::from_value(value.clone()).map_err(|_| format!("'{name}' must be a list of strings")),
    }
}

/// An id of the client's own; empty where it gives none.
fn id(fields: &Map<String, Value>, name: &str) -> Result<String, String> {
    let taken = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    match fields.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(id)) if (1..=LONGEST_ID).contains(&id.len()) && id.chars().all(taken) => Ok(id.clone()),
        Some(_) => Err(format!("'{name}' must be up to {LONGEST_ID} letters, digits, '-', '_' and '.'")),
    }
}
