//! Synthesis options that a manifest's columns set for one line.

use serde::{Deserialize, Serialize};

use super::{
    super::{
        extra::Extra,
        options::{ExpireContent, listed},
        overrides::flag,
        synthesis_options::{Speed, SynthesisOptions, TtsLanguage, TtsModel, voice_id},
    },
    CaptionFile, CaptionFormat, OutputFormat,
};

listed! {
    /// An option of one text: a field of `[synthesize]`, and a column that a manifest may have.
    SynthesisOption, "synthesis option" {
        /// The model.
        Model = "model",
        /// The voice, in place of all of the definition's.
        VoiceId = "voice_id",
        /// The language.
        Language = "language",
        /// The pace.
        Speed = "speed",
        /// The language in which numbers are read out.
        NumberPronunciationLanguage = "number_pronunciation_language",
        /// Whether `5 x 3` is read as a product.
        MathNotation = "math_notation",
        /// Ask the vendor to delete the content.
        ExpireContent = "expire_content",
    }
}

/// Options that override those of the level above; `None` keeps the value from there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are those of SpeechOptions, described there")]
pub struct SynthesisOverrides {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<TtsModel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voice_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<TtsLanguage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed: Option<Speed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number_pronunciation_language: Option<TtsLanguage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub math_notation: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expire_content: Option<ExpireContent>,
    #[serde(skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
}

/// One line in one voice and one format: makes one job, and is stored with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendition {
    /// The line's own options; the voice is always set.
    #[serde(flatten)]
    pub overrides: SynthesisOverrides,
    /// The output's format.
    pub format: OutputFormat,
    /// The output's name, without the ending; unique among the batch's outputs with that ending.
    pub name: String,
    /// Whether captions are written next to the audio: of outputs that differ only in their format, the first has them.
    #[serde(default)]
    pub captions: bool,
    /// Whether only clips bought after the submission may be used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_reuse: bool,
    /// The passages of the text's file that are not spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

impl Rendition {
    /// The voice.
    #[must_use]
    pub fn voice_id(&self) -> &str {
        self.overrides.voice_id.as_deref().unwrap_or_default()
    }

    /// The name of the audio file.
    #[must_use]
    pub fn file(&self) -> String {
        format!("{}.{}", self.name, self.format.ending)
    }

    /// The names of all files: the audio, and its captions.
    #[must_use]
    pub fn files(&self, captions: &[CaptionFormat]) -> Vec<String> {
        let captions = captions.iter().filter(|_| self.captions).flat_map(|caption| caption.files());
        std::iter::once(self.file()).chain(captions.map(|file| self.caption(*file))).collect()
    }

    /// The name of a file of captions.
    #[must_use]
    pub fn caption(&self, file: CaptionFile) -> String {
        format!("{}.{}", self.name, file.ending())
    }

    /// The variant that distinguishes the line's jobs in the ledger.
    #[must_use]
    pub fn variant(&self) -> String {
        self.format.variant(self.voice_id())
    }
}

impl SynthesisOverrides {
    /// Sets one option from its text.
    ///
    /// # Errors
    /// The text is not a valid value; the message names the nearest valid one.
    pub fn set(&mut self, option: SynthesisOption, text: &str) -> Result<(), String> {
        fn named<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<Option<T>, String> {
            text.parse().map(Some).map_err(|e: T::Err| e.to_string())
        }
        match option {
            SynthesisOption::Model => self.model = named(text)?,
            SynthesisOption::VoiceId => {
                voice_id(text)?;
                self.voice_id = Some(text.to_owned());
            }
            SynthesisOption::Language => self.language = named(text)?,
            SynthesisOption::Speed => {
                let factor: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
                self.speed = Some(Speed::new(factor)?);
            }
            SynthesisOption::NumberPronunciationLanguage => self.number_pronunciation_language = named(text)?,
            SynthesisOption::MathNotation => self.math_notation = flag(text)?,
            SynthesisOption::ExpireContent => self.expire_content = named(&text.to_ascii_lowercase())?,
        }
        Ok(())
    }

    /// `base` with these options applied.
    #[must_use]
    pub fn apply(&self, base: &SynthesisOptions) -> SynthesisOptions {
        SynthesisOptions {
            model: self.model.unwrap_or(base.model),
            voice_id: self.voice_id.as_ref().unwrap_or(&base.voice_id).clone(),
            language: self.language.or(base.language),
            speed: self.speed.unwrap_or(base.speed),
            number_pronunciation_language: self.number_pronunciation_language.or(base.number_pronunciation_language),
            math_notation: self.math_notation.unwrap_or(base.math_notation),
            expire_content: self.expire_content.unwrap_or(base.expire_content),
            extra: base.extra.with(&self.extra),
        }
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
