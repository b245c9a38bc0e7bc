//! `GET /waves/v1/{model}/get_voices`: a few voices, those that the vendor's documents name. Each catalog lists its own
//! model's alone.

use std::sync::Arc;

use axum::{Json, extract::State, http::HeaderMap};
use serde_json::{Value, json};

use super::{
    HandlerState,
    errors::{Refusal, check_key},
    voice::Band,
};

/// Id, languages, accent, gender, age, use.
type Entry = (&'static str, &'static [&'static str], &'static str, &'static str, &'static str, &'static str);

/// Of `jordan` the catalog says nothing, as it does of some.
const STANDARD: &[Entry] = &[
    ("avery", &["english"], "american", "female", "young", "conversational"),
    ("liam", &["english"], "british", "male", "young", "conversational"),
    ("devansh", &["hindi", "english"], "indian", "male", "young", "conversational"),
    ("magnus", &["english"], "american", "male", "middle aged", "narration"),
    ("jordan", &[], "", "", "", ""),
    ("kartik", &["hindi", "english"], "indian", "male", "young", "conversational"),
    ("maithili", &["hindi", "english"], "indian", "female", "young", "conversational"),
];
const PRO: &[Entry] = &[
    ("meher", &["english", "hindi"], "indian", "female", "young", "conversational"),
    ("kaitlyn", &["english"], "american", "female", "young", "narration"),
    ("raghav", &["hindi", "english"], "indian", "male", "young", "conversational"),
    ("blake", &["english"], "american", "male", "middle aged", "conversational"),
];

/// Whether a call may name it: a voice of the catalogs, whatever the model, or any clone. The vendor does not say what it does
/// otherwise; a pair of the wrong model it does not refuse.
pub(super) fn is_known(id: &str) -> bool {
    id.starts_with("voice_") || STANDARD.iter().chain(PRO).any(|(known, ..)| *known == id)
}

/// The band in which a voice speaks. Voices of one catalog have bands of their own.
pub(super) fn band(id: &str) -> Band {
    let of = |catalog: &[Entry]| catalog.iter().position(|(known, ..)| *known == id);
    let number = of(STANDARD).or_else(|| of(PRO));
    Band::of(number.unwrap_or_else(|| id.bytes().map(usize::from).sum()))
}

/// The standard model's.
pub(super) async fn standard(state: State<Arc<HandlerState>>, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    list(&state, &headers, STANDARD)
}

/// Those of Pro.
pub(super) async fn pro(state: State<Arc<HandlerState>>, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    list(&state, &headers, PRO)
}

fn list(state: &HandlerState, headers: &HeaderMap, voices: &[Entry]) -> Result<Json<Value>, Refusal> {
    state.books.voices_called();
    check_key(headers.get("authorization"), state.config.key.as_deref())?;
    let voices: Vec<Value> = voices
        .iter()
        .map(|(id, languages, accent, gender, age, usecase)| {
            let name = format!("{}{}", id[..1].to_uppercase(), &id[1..]);
            if languages.is_empty() {
                return json!({"voiceId": id, "displayName": name});
            }
            json!({"voiceId": id, "displayName": name, "tags": {
                "language": languages,
                "accent": accent,
                "gender": gender,
                "age": age,
                "emotions": [],
                "usecases": [usecase],
            }})
        })
        .collect();
    Ok(Json(json!({ "voices": voices })))
}
