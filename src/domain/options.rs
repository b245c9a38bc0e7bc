//! What a transcription can be asked for: models, languages, formats and flags, and the rules between them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A value outside a closed list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a {what}{}", nearest.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
pub struct NotListed {
    /// What kind of value was expected, e.g. `language`.
    pub what: &'static str,
    /// The value as it was written.
    pub value: String,
    /// The nearest valid value, if one is near enough to be worth proposing.
    pub nearest: Option<&'static str>,
}

/// The entry of `known` that `value` was most likely meant to be.
#[must_use]
pub fn nearest<'a>(value: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let value = value.to_lowercase();
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&value, k), k))
        .filter(|(distance, k)| *distance <= 1.max(k.len() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

/// Declares an enum whose variants have one spelling each, used alike in TOML, CSV, JSON, SQL and messages.
macro_rules! listed {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            /// Every value, in the order in which they are documented.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// Every spelling, in the same order.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// The one spelling of this value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.pad(self.as_str()) }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::options::NotListed;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                match s {
                    $($text => Ok(Self::$variant),)+
                    other => Err($crate::domain::options::NotListed {
                        what: $what,
                        value: other.to_owned(),
                        nearest: $crate::domain::options::nearest(other, Self::NAMES.iter().copied()),
                    }),
                }
            }
        }
    };
}
pub(crate) use listed;

listed! {
    /// What a definition asks for.
    Task, "task" {
        /// Audio in, transcripts out.
        Transcribe = "transcribe",
        /// Text in, speech out.
        Synthesize = "synthesize",
    }
}

listed! {
    /// Whether a transcription is waited for, or posted to us when it is done.
    WebhookMode, "way to wait" {
        /// Posted where the recording is long.
        Auto = "auto",
        /// Posted.
        Always = "always",
        /// Waited for.
        Never = "never",
    }
}

listed! {
    /// A speech-to-text model (API page, "Speech to text").
    SttModel, "model" {
        /// Multilingual; takes bytes or a URL.
        Pulse = "pulse",
        /// English only; takes bytes only.
        PulsePro = "pulse-pro",
    }
}

listed! {
    /// A transcript's file format; also the ending of its file.
    TranscriptFormat, "format" {
        /// The API's answer as it came.
        Json = "json",
        /// The words, speakers named where known.
        Txt = "txt",
        /// SubRip captions.
        Srt = "srt",
        /// WebVTT captions.
        Vtt = "vtt",
    }
}

impl TranscriptFormat {
    /// Whether this format cannot be made without word or utterance times.
    #[must_use]
    pub const fn needs_words(self) -> bool {
        matches!(self, Self::Srt | Self::Vtt)
    }

    /// The media type of the file, for sinks that record one.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Txt => "text/plain; charset=utf-8",
            Self::Srt => "application/x-subrip",
            Self::Vtt => "text/vtt; charset=utf-8",
        }
    }
}

listed! {
    /// How a recording reaches the API.
    SendMode, "way of sending" {
        /// A public URL goes to Pulse as it is; everything else as bytes.
        Auto = "auto",
        /// Always the URL (Pulse only).
        Url = "url",
        /// Always the bytes.
        Bytes = "bytes",
    }
}

listed! {
    /// What happens when redaction is asked for in a language in which the API accepts the flag and does nothing.
    Redact, "redaction policy" {
        /// Refuse before the first call.
        Strict = "strict",
        /// Send it all the same.
        BestEffort = "best_effort",
    }
}

listed! {
    /// Whether the vendor is asked to delete the content (`x-expire-content`, enterprise plans).
    ExpireContent, "expiry policy" {
        /// Not asked.
        No = "false",
        /// Asked; an answer that says anything but `applied` pauses the batch.
        Required = "true",
        /// Asked; what the answer says is only recorded.
        Try = "try",
    }
}

/// Language codes of the pre-recorded endpoint, with the aggregators last.
pub const LANGUAGES: &[&str] = &[
    "en",
    "hi",
    "de",
    "es",
    "ru",
    "it",
    "fr",
    "nl",
    "pt",
    "uk",
    "pl",
    "cs",
    "sk",
    "lv",
    "et",
    "ro",
    "fi",
    "sv",
    "bg",
    "hu",
    "da",
    "lt",
    "mt",
    "zh",
    "ja",
    "ko",
    "multi-eu",
    "multi-asian",
    "multi-indic",
];

/// A language code that the API knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Language(&'static str);

impl Language {
    /// English, the one language of Pulse Pro.
    pub const EN: Self = Self("en");

    /// The code as the API takes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// Whether redaction has an effect in this language (API page: en and hi).
    #[must_use]
    pub fn can_redact(self) -> bool {
        matches!(self.0, "en" | "hi")
    }
}

impl FromStr for Language {
    type Err = NotListed;
    fn from_str(s: &str) -> Result<Self, NotListed> {
        LANGUAGES.iter().find(|l| **l == s).map(|l| Self(l)).ok_or_else(|| NotListed {
            what: "language",
            value: s.to_owned(),
            nearest: nearest(s, LANGUAGES.iter().copied()),
        })
    }
}

impl Serialize for Language {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Language {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

/// Everything that one transcription is asked for, after the definition and the line's own columns are merged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranscribeOptions {
    /// The model, and so the pool.
    pub model: SttModel,
    /// The language spoken.
    pub language: Language,
    /// As written. What is *sent* is [`TranscribeOptions::sends_word_timestamps`].
    pub word_timestamps: bool,
    /// Tell speakers apart (Pulse).
    pub diarize: bool,
    /// Replace personal data in the transcript.
    pub redact_pii: bool,
    /// Replace payment card data in the transcript.
    pub redact_pci: bool,
    /// What to do where redaction has no effect.
    pub redact: Redact,
    /// Label emotions.
    pub emotion_detection: bool,
    /// Label the speaker's gender.
    pub gender_detection: bool,
    /// Ask the vendor to delete the content.
    pub expire_content: ExpireContent,
    /// An empty transcript of a long recording is no suspect.
    pub allow_silence: bool,
    /// How the recording travels.
    pub send: SendMode,
}

/// A pair of options that cannot go together. `field` is the one to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OptionFault {
    /// The option's name.
    pub field: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

impl TranscribeOptions {
    /// Whether the call asks for word times: because the user did, or because a format needs them.
    #[must_use]
    pub fn sends_word_timestamps(&self, formats: &[TranscriptFormat]) -> bool {
        self.word_timestamps || formats.iter().any(|f| f.needs_words())
    }

    /// Checks the rules between options; every broken one is told.
    #[must_use]
    pub fn faults(&self) -> Vec<OptionFault> {
        let mut faults = Vec::new();
        if self.model == SttModel::PulsePro && self.language != Language::EN {
            faults.push(OptionFault {
                field: "language",
                message: format!(
                    "`pulse-pro` transcribes English only, and `{}` would come back as nonsense; use language = \"en\", or model = \"pulse\"",
                    self.language
                ),
            });
        }
        if self.model == SttModel::PulsePro && self.send == SendMode::Url {
            faults.push(OptionFault {
                field: "send",
                message: "`pulse-pro` takes no URLs; use send = \"bytes\" or \"auto\", or model = \"pulse\"".into(),
            });
        }
        if self.redact == Redact::Strict && !self.language.can_redact() {
            for (on, field) in [(self.redact_pii, "redact_pii"), (self.redact_pci, "redact_pci")] {
                if on {
                    faults.push(OptionFault {
                        field,
                        message: format!(
                            "the API redacts only `en` and `hi`; with `{}` it would accept the flag and leave everything in. Turn it off, or set redact = \"best_effort\" to send it all the same",
                            self.language
                        ),
                    });
                }
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> TranscribeOptions {
        TranscribeOptions {
            model: SttModel::Pulse,
            language: Language::EN,
            word_timestamps: false,
            diarize: false,
            redact_pii: false,
            redact_pci: false,
            redact: Redact::Strict,
            emotion_detection: false,
            gender_detection: false,
            expire_content: ExpireContent::No,
            allow_silence: false,
            send: SendMode::Auto,
        }
    }

    #[test]
    fn a_wrong_name_is_told_with_the_nearest() {
        assert_eq!("puls".parse::<SttModel>().unwrap_err().to_string(), "`puls` is not a model; did you mean `pulse`?");
        assert_eq!("English".parse::<Language>().unwrap_err().nearest, None);
        assert_eq!("En".parse::<Language>().unwrap_err().nearest, Some("en"));
    }

    #[test]
    fn pulse_pro_takes_english_bytes_only() {
        let mut o = options();
        o.model = SttModel::PulsePro;
        assert!(o.faults().is_empty());
        o.language = "hi".parse().unwrap();
        o.send = SendMode::Url;
        assert_eq!(o.faults().iter().map(|f| f.field).collect::<Vec<_>>(), ["language", "send"]);
    }

    #[test]
    fn redaction_fails_closed() {
        let mut o = options();
        o.redact_pii = true;
        assert!(o.faults().is_empty());
        o.language = "de".parse().unwrap();
        assert_eq!(o.faults()[0].field, "redact_pii");
        o.redact = Redact::BestEffort;
        assert!(o.faults().is_empty());
    }

    #[test]
    fn captions_turn_word_times_on() {
        assert!(!options().sends_word_timestamps(&[TranscriptFormat::Json]));
        assert!(options().sends_word_timestamps(&[TranscriptFormat::Srt]));
    }
}
