//! The voices of an account.

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess},
};

use super::client::Client;
use crate::domain::{
    call::CallFailure,
    lenient::{Fill, Key, Past, Take, take},
    options::{NotListed, nearest},
    synthesis_options::{TtsLanguage, TtsModel},
};

/// The languages by the catalog's names.
const NAMES: &[(&str, TtsLanguage)] = &[
    ("arabic", TtsLanguage::Ar),
    ("bangla", TtsLanguage::Bn),
    ("bengali", TtsLanguage::Bn),
    ("chinese", TtsLanguage::Zh),
    ("dutch", TtsLanguage::Nl),
    ("english", TtsLanguage::En),
    ("finnish", TtsLanguage::Fi),
    ("french", TtsLanguage::Fr),
    ("german", TtsLanguage::De),
    ("greek", TtsLanguage::El),
    ("gujarati", TtsLanguage::Gu),
    ("hindi", TtsLanguage::Hi),
    ("indonesian", TtsLanguage::Id),
    ("italian", TtsLanguage::It),
    ("japanese", TtsLanguage::Ja),
    ("kannada", TtsLanguage::Kn),
    ("korean", TtsLanguage::Ko),
    ("malay", TtsLanguage::Ms),
    ("malayalam", TtsLanguage::Ml),
    ("mandarin", TtsLanguage::Zh),
    ("marathi", TtsLanguage::Mr),
    ("norwegian", TtsLanguage::No),
    ("odia", TtsLanguage::Or),
    ("oriya", TtsLanguage::Or),
    ("polish", TtsLanguage::Pl),
    ("portuguese", TtsLanguage::Pt),
    ("punjabi", TtsLanguage::Pa),
    ("russian", TtsLanguage::Ru),
    ("spanish", TtsLanguage::Es),
    ("swedish", TtsLanguage::Sv),
    ("tamil", TtsLanguage::Ta),
    ("telugu", TtsLanguage::Te),
    ("turkish", TtsLanguage::Tr),
    ("vietnamese", TtsLanguage::Vi),
];

/// The catalogs, and the models whose voices they list. Paths write a model with hyphens.
const CATALOGS: &[(&str, TtsModel)] = &[
    ("/waves/v1/lightning-v3.1/get_voices", TtsModel::Lightning),
    ("/waves/v1/lightning-v3.1-pro/get_voices", TtsModel::LightningPro),
];

/// A voice, as described in the catalog. Unknown fields are empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Voice {
    /// The value of `voice_id`.
    pub id: String,
    /// The display name.
    pub name: String,
    /// The models that support the voice; empty if they are unknown.
    pub models: Vec<TtsModel>,
    /// The languages it was trained on, by their codes; a language without a code here by its name in lower case.
    pub languages: Vec<String>,
    /// E.g. `british`.
    pub accent: Option<String>,
    /// E.g. `female`.
    pub gender: Option<String>,
    /// E.g. `middle aged`.
    pub age: Option<String>,
    /// The emotions that it can express.
    pub emotions: Vec<String>,
    /// The recommended uses, e.g. `narration`.
    pub usecases: Vec<String>,
}

impl Client {
    /// The voices that this account can use, each with the models whose catalogs list it. A catalog that an
    /// installation does not have (400, 404, 410) is omitted, unless the installation has none at all.
    ///
    /// # Errors
    /// The API cannot be reached, refuses, or answers with something else.
    pub async fn voices(&self) -> Result<Vec<Voice>, CallFailure> {
        let mut all: Vec<Voice> = Vec::new();
        let (mut any, mut missing) = (false, None);
        for (path, model) in CATALOGS {
            match self.catalog(path).await {
                Ok(found) => {
                    any = true;
                    for voice in found {
                        match all.iter_mut().find(|known| known.id == voice.id) {
                            Some(known) if known.models.contains(model) => {}
                            Some(known) => known.models.push(*model),
                            None => all.push(Voice { models: vec![*model], ..voice }),
                        }
                    }
                }
                Err(failure) if matches!(failure.status, Some(400 | 404 | 410)) => missing = Some(failure),
                Err(failure) => return Err(failure),
            }
        }
        match missing {
            Some(failure) if !any => Err(failure),
            _ => Ok(all),
        }
    }

    async fn catalog(&self, path: &str) -> Result<Vec<Voice>, CallFailure> {
        #[derive(Deserialize)]
        struct Catalog {
            voices: Vec<CatalogEntry>,
        }
        let asked: Result<Catalog, _> = self.ask(self.http.get(self.endpoint(path))).await;
        let catalog = asked.map_err(|failure| self.failure_with_path(failure, path))?;
        Ok(catalog.voices.into_iter().filter_map(voice).collect())
    }
}

/// A language of voices, from its code or its English name.
///
/// # Errors
/// There is no such language; the error names the nearest one.
pub fn voice_language(text: &str) -> Result<TtsLanguage, NotListed> {
    let name = text.trim().to_lowercase();
    let codes = || TtsLanguage::ALL.iter().copied().filter(|language| *language != TtsLanguage::Auto);
    if let Some((_, language)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*language);
    }
    codes().find(|language| language.as_str() == name).ok_or_else(|| {
        let codes = TtsLanguage::NAMES.iter().copied().filter(|code| *code != TtsLanguage::Auto.as_str());
        let known = NAMES.iter().map(|(known, _)| *known).chain(codes);
        NotListed {
            what: "language",
            value: text.to_owned(),
            nearest: nearest(&name, known),
            known: TtsLanguage::NAMES,
        }
    })
}

/// The catalog's entry of a voice.
#[derive(Default)]
struct CatalogEntry {
    is_object: bool,
    id: Words,
    name: Words,
    tags: Tags,
}

#[derive(Default)]
struct Tags {
    language: Words,
    accent: Words,
    gender: Words,
    age: Words,
    emotions: Words,
    usecases: Words,
}

impl<'de> Deserialize<'de> for CatalogEntry {
    fn deserialize<D: Deserializer<'de>>(entry: D) -> Result<Self, D::Error> {
        let entry: Self = take(entry)?;
        if entry.is_object { Ok(entry) } else { Err(D::Error::custom("a voice is no object")) }
    }
}

impl Take for CatalogEntry {
    fn object<'de, A: MapAccess<'de>>(&mut self, mut fields: A) -> Result<(), A::Error> {
        self.is_object = true;
        while let Some(name) = fields.next_key_seed(Key(&["voiceId", "displayName", "tags"]))? {
            match name {
                Some(0) => fields.next_value_seed(Fill(&mut self.id))?,
                Some(1) => fields.next_value_seed(Fill(&mut self.name))?,
                Some(_) => fields.next_value_seed(Fill(&mut self.tags))?,
                None => fields.next_value_seed(Past)?,
            }
        }
        Ok(())
    }

    fn other(&mut self) {}
}

impl Take for Tags {
    fn object<'de, A: MapAccess<'de>>(&mut self, mut fields: A) -> Result<(), A::Error> {
        *self = Self::default();
        let names = Key(&["language", "accent", "gender", "age", "emotions", "usecases"]);
        while let Some(name) = fields.next_key_seed(names)? {
            let words = match name {
                Some(0) => &mut self.language,
                Some(1) => &mut self.accent,
                Some(2) => &mut self.gender,
                Some(3) => &mut self.age,
                Some(4) => &mut self.emotions,
                Some(_) => &mut self.usecases,
                None => {
                    fields.next_value_seed(Past)?;
                    continue;
                }
            };
            fields.next_value_seed(Fill(words))?;
        }
        Ok(())
    }

    fn other(&mut self) {
        *self = Self::default();
    }
}

/// A text, or the texts of a list, without empty ones.
#[derive(Default)]
struct Words(Vec<String>);

impl Take for Words {
    fn text(&mut self, text: &str) {
        self.0.clear();
        self.0.extend(said(text));
    }

    fn list<'de, A: SeqAccess<'de>>(&mut self, mut list: A) -> Result<(), A::Error> {
        self.0.clear();
        while list.next_element_seed(Fill(&mut Word(&mut self.0)))?.is_some() {}
        Ok(())
    }

    fn other(&mut self) {
        self.0.clear();
    }
}

/// An entry of such a list.
struct Word<'w>(&'w mut Vec<String>);

impl Take for Word<'_> {
    fn text(&mut self, text: &str) {
        self.0.extend(said(text));
    }

    fn other(&mut self) {}
}

fn said(text: &str) -> Option<String> {
    Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The voice of an entry, if it has an id.
fn voice(entry: CatalogEntry) -> Option<Voice> {
    let CatalogEntry { id: Words(mut id), name: Words(mut name), tags, .. } = entry;
    let one = |Words(words)| words.into_iter().next();
    let id = id.pop()?;
    Some(Voice {
        name: name.pop().unwrap_or_else(|| id.clone()),
        models: Vec::new(),
        languages: tags.language.0.iter().map(|name| code(name)).collect(),
        accent: one(tags.accent),
        gender: one(tags.gender),
        age: one(tags.age),
        emotions: tags.emotions.0,
        usecases: tags.usecases.0,
        id,
    })
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
        for language in TtsLanguage::ALL.iter().filter(|language| **language != TtsLanguage::Auto) {
            assert!(NAMES.iter().any(|(_, named)| named == language), "{language}");
        }
        assert_eq!([code("English"), code("hi"), code("klingon")], ["en", "hi", "klingon"]);
    }

    #[test]
    fn a_language_has_a_code_and_names() {
        for text in ["hi", "Hindi", " HINDI "] {
            assert_eq!(voice_language(text), Ok(TtsLanguage::Hi));
        }
        assert_eq!(voice_language("oriya"), voice_language("odia"));
        let near = |text| voice_language(text).unwrap_err().nearest;
        assert_eq!([near("hindy"), near("englisch"), near("klingon")], [Some("hindi"), Some("english"), None]);
        assert!(voice_language("auto").is_err(), "no voice was trained on it");
    }

    #[test]
    fn a_voice_may_be_silent_on_itself() {
        let read = |json: &str| voice(serde_json::from_str(json).unwrap());
        let full = r#"{"voiceId":"devansh","displayName":"Devansh","new":1,"tags":{"language":["hindi","english"],
            "accent":"indian","gender":"male","age":"young","emotions":[],"usecases":["conversational",""]}}"#;
        let expected = Voice {
            id: "devansh".into(),
            name: "Devansh".into(),
            models: Vec::new(),
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
        let last =
            read(r#"{"voiceId":["a","b"," ",7],"voiceId":["c","d"],"tags":{"age":"young"},"tags":{"accent":"x"}}"#);
        let last = last.unwrap();
        assert_eq!((last.id.as_str(), last.age, last.accent.as_deref()), ("d", None, Some("x")));
        assert!(serde_json::from_str::<CatalogEntry>("[]").is_err());
    }
}
