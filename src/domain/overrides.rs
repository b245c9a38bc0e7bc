//! Options that are set one by one: in a definition's `[transcribe]`, on the command line, in a manifest's columns.

use serde::{Deserialize, Serialize};

use super::{
    extra::Extra,
    keywords::Keywords,
    listening::Roles,
    options::{ExpireContent, Language, Redact, SendMode, SttModel, TranscribeOptions, listed},
};

listed! {
    /// An option of one transcription: a field of `[transcribe]`, and a column that a manifest may have.
    LineOption, "transcription option" {
        /// The model.
        Model = "model",
        /// The language spoken.
        Language = "language",
        /// Ask for word times.
        WordTimestamps = "word_timestamps",
        /// Distinguish speakers.
        Diarize = "diarize",
        /// Replace personal data.
        RedactPii = "redact_pii",
        /// Replace payment card data.
        RedactPci = "redact_pci",
        /// What to do where redaction has no effect.
        Redact = "redact",
        /// Label emotions.
        EmotionDetection = "emotion_detection",
        /// Label the speaker's gender.
        GenderDetection = "gender_detection",
        /// Ask the vendor to delete the content.
        ExpireContent = "expire_content",
        /// An empty transcript is not suspect.
        AllowSilence = "allow_silence",
        /// How the recording reaches the API.
        Send = "send",
        /// Keywords to favor.
        Keywords = "keywords",
    }
}

/// Options that override those of the level above; `None` keeps the value from there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the other fields are those of TranscribeOptions, described there")]
pub struct LineOverrides {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<SttModel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word_timestamps: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diarize: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redact_pii: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redact_pci: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redact: Option<Redact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emotion_detection: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gender_detection: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expire_content: Option<ExpireContent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_silence: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<SendMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keywords: Option<Keywords>,
    #[serde(skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
    /// The roles of the line's own channels; those of the definition hold for the others.
    #[serde(skip_serializing_if = "Roles::is_empty")]
    pub roles: Roles,
}

impl LineOverrides {
    /// Sets one option from its text.
    ///
    /// # Errors
    /// The text is not a valid value; the message names the nearest valid one.
    pub fn set(&mut self, option: LineOption, text: &str) -> Result<(), String> {
        fn named<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<Option<T>, String> {
            text.parse().map(Some).map_err(|e: T::Err| e.to_string())
        }
        match option {
            LineOption::Model => self.model = named(text)?,
            LineOption::Language => self.language = named(text)?,
            LineOption::WordTimestamps => self.word_timestamps = flag(text)?,
            LineOption::Diarize => self.diarize = flag(text)?,
            LineOption::RedactPii => self.redact_pii = flag(text)?,
            LineOption::RedactPci => self.redact_pci = flag(text)?,
            LineOption::Redact => self.redact = named(text)?,
            LineOption::EmotionDetection => self.emotion_detection = flag(text)?,
            LineOption::GenderDetection => self.gender_detection = flag(text)?,
            LineOption::ExpireContent => self.expire_content = named(&text.to_ascii_lowercase())?,
            LineOption::AllowSilence => self.allow_silence = flag(text)?,
            LineOption::Send => self.send = named(text)?,
            LineOption::Keywords => self.keywords = Some(Keywords::of_text(text)?),
        }
        Ok(())
    }

    /// `base` with these options applied.
    #[must_use]
    pub fn apply(&self, base: &TranscribeOptions) -> TranscribeOptions {
        TranscribeOptions {
            model: self.model.unwrap_or(base.model),
            language: self.language.unwrap_or(base.language),
            word_timestamps: self.word_timestamps.or(base.word_timestamps),
            diarize: self.diarize.unwrap_or(base.diarize),
            redact_pii: self.redact_pii.unwrap_or(base.redact_pii),
            redact_pci: self.redact_pci.unwrap_or(base.redact_pci),
            redact: self.redact.unwrap_or(base.redact),
            emotion_detection: self.emotion_detection.unwrap_or(base.emotion_detection),
            gender_detection: self.gender_detection.unwrap_or(base.gender_detection),
            expire_content: self.expire_content.unwrap_or(base.expire_content),
            allow_silence: self.allow_silence.unwrap_or(base.allow_silence),
            send: self.send.unwrap_or(base.send),
            keywords: self.keywords.as_ref().unwrap_or(&base.keywords).clone(),
            extra: base.extra.with(&self.extra),
        }
    }

    /// The options that differ from `base`; `None` if there are none.
    #[must_use]
    pub fn differing_from(self, base: &TranscribeOptions) -> Option<Self> {
        fn keep<T: PartialEq>(own: Option<T>, base: &T) -> Option<T> {
            own.filter(|own| own != base)
        }
        let kept = Self {
            model: keep(self.model, &base.model),
            language: keep(self.language, &base.language),
            word_timestamps: self.word_timestamps.filter(|own| Some(*own) != base.word_timestamps),
            diarize: keep(self.diarize, &base.diarize),
            redact_pii: keep(self.redact_pii, &base.redact_pii),
            redact_pci: keep(self.redact_pci, &base.redact_pci),
            redact: keep(self.redact, &base.redact),
            emotion_detection: keep(self.emotion_detection, &base.emotion_detection),
            gender_detection: keep(self.gender_detection, &base.gender_detection),
            expire_content: keep(self.expire_content, &base.expire_content),
            allow_silence: keep(self.allow_silence, &base.allow_silence),
            send: keep(self.send, &base.send),
            keywords: keep(self.keywords, &base.keywords),
            extra: self.extra.differing_from(&base.extra),
            roles: self.roles,
        };
        (kept != Self::default()).then_some(kept)
    }
}

pub(super) fn flag(text: &str) -> Result<Option<bool>, String> {
    // Spreadsheets write TRUE and FALSE.
    if text.eq_ignore_ascii_case("true") {
        Ok(Some(true))
    } else if text.eq_ignore_ascii_case("false") {
        Ok(Some(false))
    } else {
        Err(format!("`{text}` is neither `true` nor `false`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> TranscribeOptions {
        TranscribeOptions {
            model: SttModel::Pulse,
            language: Language::EN,
            word_timestamps: None,
            diarize: false,
            redact_pii: false,
            redact_pci: false,
            redact: Redact::Strict,
            emotion_detection: false,
            gender_detection: false,
            expire_content: ExpireContent::No,
            allow_silence: false,
            send: SendMode::Auto,
            keywords: Keywords::default(),
            extra: Extra::default(),
        }
    }

    #[test]
    fn every_option_can_be_set_from_text_and_is_applied() {
        for option in LineOption::ALL {
            let text = match option {
                LineOption::Model => "pulse-pro",
                LineOption::Language => "hi",
                LineOption::Redact => "best_effort",
                LineOption::Send => "bytes",
                LineOption::ExpireContent => "try",
                LineOption::Keywords => "GST:2,Northwind",
                _ => "TRUE",
            };
            let mut overrides = LineOverrides::default();
            overrides.set(*option, text).unwrap();
            assert_ne!(overrides.apply(&base()), base(), "{option}");
            assert_eq!(overrides.clone().differing_from(&base()), Some(overrides.clone()));
            assert_eq!(overrides.clone().differing_from(&overrides.apply(&base())), None);
            let json = serde_json::to_value(&overrides).unwrap();
            assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), [option.as_str()]);
        }
    }

    #[test]
    fn a_wrong_value_is_told_with_the_nearest() {
        let mut o = LineOverrides::default();
        assert_eq!(
            o.set(LineOption::Send, "byte").unwrap_err(),
            "`byte` is not a way of sending; did you mean `bytes`?"
        );
        assert_eq!(o.set(LineOption::Diarize, "yes").unwrap_err(), "`yes` is neither `true` nor `false`");
        assert_eq!(o, LineOverrides::default());
    }
}
