//! The voices of an account.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::client::Client;
use crate::domain::{
    call::Trouble,
    options::{NotListed, nearest},
    speech::SpeechLanguage,
};

/// The languages by the names that the catalog has for them.
const NAMES: &[(&str, SpeechLanguage)] = &[
    ("arabic", SpeechLanguage::Ar),
    ("bangla", SpeechLanguage::Bn),
    ("bengali", SpeechLanguage::Bn),
    ("chinese", SpeechLanguage::Zh),
    ("dutch", SpeechLanguage::Nl),
    ("english", SpeechLanguage::En),
    ("finnish", SpeechLanguage::Fi),
    ("french", SpeechLanguage::Fr),
    ("german", SpeechLanguage::De),
    ("greek", SpeechLanguage::El),
    ("gujarati", SpeechLanguage::Gu),
    ("hindi", SpeechLanguage::Hi),
    ("indonesian", SpeechLanguage::Id),
    ("italian", SpeechLanguage::It),
    ("japanese", SpeechLanguage::Ja),
    ("kannada", SpeechLanguage::Kn),
    ("korean", SpeechLanguage::Ko),
    ("malay", SpeechLanguage::Ms),
    ("malayalam", SpeechLanguage::Ml),
    ("mandarin", SpeechLanguage::Zh),
    ("marathi", SpeechLanguage::Mr),
    ("norwegian", SpeechLanguage::No),
    ("odia", SpeechLanguage::Or),
    ("oriya", SpeechLanguage::Or),
    ("polish", SpeechLanguage::Pl),
    ("portuguese", SpeechLanguage::Pt),
    ("punjabi", SpeechLanguage::Pa),
    ("russian", SpeechLanguage::Ru),
    ("spanish", SpeechLanguage::Es),
    ("swedish", SpeechLanguage::Sv),
    ("tamil", SpeechLanguage::Ta),
    ("telugu", SpeechLanguage::Te),
    ("turkish", SpeechLanguage::Tr),
    ("vietnamese", SpeechLanguage::Vi),
];

/// A voice, as the catalog describes it. What the catalog does not say is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Voice {
    /// What `voice_id` takes.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// The languages it was trained on, by their codes; one that has no code here by its name in lower case.
    pub languages: Vec<String>,
    /// E.g. `british`.
    pub accent: Option<String>,
    /// E.g. `female`.
    pub gender: Option<String>,
    /// E.g. `middle aged`.
    pub age: Option<String>,
    /// Moods that it has.
    pub emotions: Vec<String>,
    /// What it is good for, e.g. `narration`.
    pub usecases: Vec<String>,
}

impl Client {
    /// The voices that this account can use, of both models; nothing tells which is whose.
    ///
    /// # Errors
    /// The API cannot be reached, refuses, or answers with something else.
    pub async fn voices(&self) -> Result<Vec<Voice>, Trouble> {
        #[derive(Deserialize)]
        struct Catalog {
            voices: Vec<Map<String, Value>>,
        }
        // Here the model is written with a hyphen; the one catalog lists both models' voices.
        let question = self.http.get(self.endpoint("/waves/v1/lightning-v3.1/get_voices"));
        let catalog: Catalog = self.ask(question).await?;
        Ok(catalog.voices.iter().filter_map(voice).collect())
    }
}

/// A language that voices have, by its code or by its English name.
///
/// # Errors
/// There is no such language, and which one is near.
pub fn voice_language(text: &str) -> Result<SpeechLanguage, NotListed> {
    let name = text.trim().to_lowercase();
    let codes = || SpeechLanguage::ALL.iter().copied().filter(|language| *language != SpeechLanguage::Auto);
    if let Some((_, language)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*language);
    }
    codes().find(|language| language.as_str() == name).ok_or_else(|| {
        let known = NAMES.iter().map(|(known, _)| *known).chain(codes().map(SpeechLanguage::as_str));
        NotListed { what: "language", value: text.to_owned(), nearest: nearest(&name, known) }
    })
}

/// A voice, if it has an id.
fn voice(entry: &Map<String, Value>) -> Option<Voice> {
    let none = Map::new();
    let tags = entry.get("tags").and_then(Value::as_object).unwrap_or(&none);
    let one = |name| words(tags.get(name)).into_iter().next();
    let id = words(entry.get("voiceId")).pop()?;
    Some(Voice {
        name: words(entry.get("displayName")).pop().unwrap_or_else(|| id.clone()),
        languages: words(tags.get("language")).iter().map(|name| code(name)).collect(),
        accent: one("accent"),
        gender: one("gender"),
        age: one("age"),
        emotions: words(tags.get("emotions")),
        usecases: words(tags.get("usecases")),
        id,
    })
}

/// A text, or the texts of a list, without those that say nothing.
fn words(value: Option<&Value>) -> Vec<String> {
    let texts = match value {
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(text)) => vec![text.as_str()],
        _ => Vec::new(),
    };
    texts.into_iter().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

fn code(language: &str) -> String {
    let name = language.to_lowercase();
    NAMES.iter().find(|(known, _)| *known == name).map_or(name, |(_, code)| code.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_a_name() {
        for language in SpeechLanguage::ALL.iter().filter(|language| **language != SpeechLanguage::Auto) {
            assert!(NAMES.iter().any(|(_, named)| named == language), "{language}");
        }
        assert_eq!([code("English"), code("hi"), code("klingon")], ["en", "hi", "klingon"]);
    }

    #[test]
    fn a_language_has_a_code_and_names() {
        for text in ["hi", "Hindi", " HINDI "] {
            assert_eq!(voice_language(text), Ok(SpeechLanguage::Hi));
        }
        assert_eq!(voice_language("oriya"), voice_language("odia"));
        let near = |text| voice_language(text).unwrap_err().nearest;
        assert_eq!([near("hindy"), near("englisch"), near("klingon")], [Some("hindi"), Some("english"), None]);
        assert!(voice_language("auto").is_err(), "no voice was trained on it");
    }

    #[test]
    fn a_voice_may_be_silent_on_itself() {
        let read = |json: &str| voice(&serde_json::from_str(json).unwrap());
        let full = r#"{"voiceId":"devansh","displayName":"Devansh","new":1,"tags":{"language":["hindi","english"],
            "accent":"indian","gender":"male","age":"young","emotions":[],"usecases":["conversational",""]}}"#;
        let expected = Voice {
            id: "devansh".into(),
            name: "Devansh".into(),
            languages: vec!["hi".into(), "en".into()],
            accent: Some("indian".into()),
            gender: Some("male".into()),
            age: Some("young".into()),
            emotions: Vec::new(),
            usecases: vec!["conversational".into()],
        };
        assert_eq!(read(full), Some(expected));
        for (json, languages) in [
            (r#"{"voiceId":"a"}"#, 0),
            (r#"{"voiceId":"a","displayName":null,"tags":null}"#, 0),
            (r#"{"voiceId":"a","tags":{"language":"english","gender":["female"],"age":7}}"#, 1),
        ] {
            let voice = read(json).unwrap();
            assert_eq!((voice.name.as_str(), voice.languages.len(), voice.age), ("a", languages, None), "{json}");
        }
        assert_eq!(read(r#"{"displayName":"Nobody"}"#), None);
    }
}
