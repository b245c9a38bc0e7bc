//! The options of a transcription: models, languages, formats and flags, and the rules between them.

use serde::{Deserialize, Serialize};

pub(crate) use super::listed::listed;
pub use super::listed::{NotListed, nearest};
use super::{
    extra::Extra,
    keywords::Keywords,
    open::{Unlisted, open_list},
};

listed! {
    /// Whether a transcription is waited for, or posted to us when it is finished.
    WebhookMode, "way to wait" {
        /// The answer for a long recording is posted (`pulse-pro` alone); others are waited for.
        Auto = "auto",
        /// Every answer is posted.
        Always = "always",
        /// Every answer is waited for.
        Never = "never",
    }
}

open_list! {
    /// A speech-to-text model (API page, "Speech to text").
    SttModel, "model" {
        /// Multilingual; takes bytes or a URL.
        Pulse = "pulse",
        /// English only; takes bytes only.
        PulsePro = "pulse-pro",
        /// Pulse over a socket, in real time or faster: for languages and options that exist only there. It takes samples, which wavebatch
        /// makes of the recording.
        PulseLive = "pulse-live",
    }
}

listed! {
    /// How a recording is transcribed.
    SttTransport, "transport" {
        /// `live` if the language of the definition only exists there (`north_indic`, `hi-dev`, `multi-south-indic`, `yue`); else `http`.
        Auto = "auto",
        /// The recording is sent in one request.
        Http = "http",
        /// Samples are sent over a socket, as by the model `pulse-live`.
        Live = "live",
    }
}

listed! {
    /// A transcript's file format; also the ending of its file.
    TranscriptFormat, "format" {
        /// The API's answer, unchanged.
        Json = "json",
        /// The words, with speaker names if known.
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
    /// What happens if redaction is requested in a language in which the API accepts the flag and does nothing.
    Redact, "redaction policy" {
        /// Refuse before the first call.
        Strict = "strict",
        /// Send the request anyway.
        BestEffort = "best_effort",
    }
}

listed! {
    /// Whether the vendor is asked to delete the content (`x-expire-content`, enterprise plans).
    ExpireContent, "expiry policy" {
        /// Deletion is not requested.
        No = "false",
        /// Deletion is requested; an answer that says anything but `applied` pauses the batch.
        Required = "true",
        /// Deletion is requested; the answer's reply to it is only recorded.
        Try = "try",
    }
}

open_list! {
    /// A language of the pre-recorded endpoint, or one of the groups whose language the API detects.
    Language, "language" {
        /// English.
        En = "en",
        /// Hindi.
        Hi = "hi",
        /// German.
        De = "de",
        /// Spanish.
        Es = "es",
        /// Russian.
        Ru = "ru",
        /// Italian.
        It = "it",
        /// French.
        Fr = "fr",
        /// Dutch.
        Nl = "nl",
        /// Portuguese.
        Pt = "pt",
        /// Ukrainian.
        Uk = "uk",
        /// Polish.
        Pl = "pl",
        /// Czech.
        Cs = "cs",
        /// Slovak.
        Sk = "sk",
        /// Latvian.
        Lv = "lv",
        /// Estonian.
        Et = "et",
        /// Romanian.
        Ro = "ro",
        /// Finnish.
        Fi = "fi",
        /// Swedish.
        Sv = "sv",
        /// Bulgarian.
        Bg = "bg",
        /// Hungarian.
        Hu = "hu",
        /// Danish.
        Da = "da",
        /// Lithuanian.
        Lt = "lt",
        /// Maltese.
        Mt = "mt",
        /// Chinese.
        Zh = "zh",
        /// Japanese.
        Ja = "ja",
        /// Korean.
        Ko = "ko",
        /// European languages (detected).
        MultiEu = "multi-eu",
        /// East Asian languages (detected).
        MultiAsian = "multi-asian",
        /// Indian languages (detected).
        MultiIndic = "multi-indic",
    }
}

impl Language {
    /// English, the one language of Pulse Pro.
    pub const EN: Self = Self::En;

    /// Whether only live sessions have this language (API page 3 and 4; the vendor's socket document).
    #[must_use]
    pub fn is_only_live(&self) -> bool {
        ["north_indic", "hi-dev", "multi-south-indic", "yue"].contains(&self.as_str())
    }

    /// Whether redaction has an effect in this language (API page: en and hi).
    #[must_use]
    pub const fn can_redact(&self) -> bool {
        matches!(self, Self::En | Self::Hi)
    }
}

/// All options of one transcription, after the definition and the line's own columns are merged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TranscribeOptions {
    /// The model, which also determines the pool.
    pub model: SttModel,
    /// The language spoken.
    pub language: Language,
    /// As written; `None` leaves the choice to the model. [`TranscribeOptions::sends_word_timestamps`] says what is *sent*.
    pub word_timestamps: Option<bool>,
    /// Distinguish speakers (Pulse).
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
    /// An empty transcript of a long recording is not suspect.
    pub allow_silence: bool,
    /// How the recording reaches the API.
    pub send: SendMode,
    /// Keywords to favor (Pulse).
    #[serde(default, skip_serializing_if = "Keywords::is_empty")]
    pub keywords: Keywords,
    /// Parameters that this release does not know.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
}

/// The parameters of a transcription's query that wavebatch sets itself.
pub const OWN_QUERY: &[&str] = &[
    "model",
    "language",
    "word_timestamps",
    "diarize",
    "redact_pii",
    "redact_pci",
    "emotion_detection",
    "gender_detection",
    "keywords",
    "webhook_url",
    "webhook_method",
    "webhook_extra",
];

/// A pair of options that exclude each other. `field` is the one to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OptionFault {
    /// The option's name.
    pub field: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

impl TranscribeOptions {
    /// Whether the call requests word times: because the user does, or because a format needs them or speakers (only words have
    /// speakers). By default they are requested if they cost nothing (Pulse; Pulse Pro is a third slower with them).
    #[must_use]
    pub fn sends_word_timestamps(&self, formats: &[TranscriptFormat]) -> bool {
        let needed = self.diarize && self.model != SttModel::PulsePro || formats.iter().any(|f| f.needs_words());
        // The pieces of a live session are joined by the times of their words.
        let is_live = self.model == SttModel::PulseLive;
        needed || is_live || self.word_timestamps.unwrap_or(self.model == SttModel::Pulse)
    }

    /// The values that are in none of our lists.
    pub fn unlisted(&self) -> impl Iterator<Item = Unlisted> {
        [self.model.unlisted(), self.language.unlisted()].into_iter().flatten()
    }

    /// Checks the rules between options; returns every broken one.
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
        if self.model == SttModel::PulsePro && !self.keywords.is_empty() {
            faults.push(OptionFault {
                field: "keywords",
                message: "`pulse-pro` listens for no keywords; leave them out, or use model = \"pulse\"".into(),
            });
        }
        if self.model == SttModel::PulseLive {
            if self.send == SendMode::Url {
                faults.push(OptionFault {
                    field: "send",
                    message: "a live session takes no URLs; use send = \"bytes\" or \"auto\", or transport = \"http\""
                        .into(),
                });
            }
            for (on, field) in
                [(self.emotion_detection, "emotion_detection"), (self.gender_detection, "gender_detection")]
            {
                if on {
                    let message = "a live session does not label this; turn it off, or use transport = \"http\"".into();
                    faults.push(OptionFault { field, message });
                }
            }
        }
        if self.redact == Redact::Strict
            && self.expire_content == ExpireContent::Required
            && self.language.unlisted().is_some()
        {
            faults.push(OptionFault {
                field: "expire_content",
                message: format!(
                    "whether content expires is not known of `{}`, which is in no list; set redact = \"best_effort\" to send it all the same, or expire_content = \"try\"",
                    self.language
                ),
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
    fn a_wrong_name_is_told_with_the_nearest() {
        let message = "byte".parse::<SendMode>().unwrap_err().to_string();
        assert_eq!(message, "`byte` is not a way of sending; did you mean `bytes`?");
        assert_eq!("telepathy".parse::<SendMode>().unwrap_err().nearest, None);
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
        let mut o = options();
        (o.redact_pci, o.language) = (true, "en-GB".parse().unwrap());
        assert_eq!(o.faults()[0].field, "redact_pci", "of a language that is not known nothing good is known");
        o.redact = Redact::BestEffort;
        assert!(o.faults().is_empty());
        let mut o = options();
        (o.expire_content, o.language) = (ExpireContent::Required, "gu".parse().unwrap());
        assert_eq!(o.faults()[0].field, "expire_content");
        o.redact = Redact::BestEffort;
        assert!(o.faults().is_empty());
        let (mut o, pro) = (options(), "pulse-pro-2".parse().unwrap());
        (o.redact_pii, o.model) = (true, pro);
        assert!(o.faults().is_empty());
    }

    #[test]
    fn keywords_are_for_pulse() {
        let mut o = options();
        o.keywords = Keywords::of_text("GST").unwrap();
        assert!(o.faults().is_empty());
        o.model = SttModel::PulsePro;
        assert_eq!(o.faults()[0].field, "keywords");
        o.model = "pulse-2".parse().unwrap();
        assert!(o.faults().is_empty());
    }

    #[test]
    fn word_times_are_asked_for_where_they_cost_nothing_or_something_needs_them() {
        let json = [TranscriptFormat::Json];
        let mut o = options();
        assert!(o.sends_word_timestamps(&json));
        o.word_timestamps = Some(false);
        assert!(!o.sends_word_timestamps(&json));
        assert!(o.sends_word_timestamps(&[TranscriptFormat::Srt]));
        o.diarize = true;
        assert!(o.sends_word_timestamps(&json), "speakers come with words alone");
        for (model, diarized) in [(SttModel::PulsePro, false), ("pulse-2".parse().unwrap(), true)] {
            let o = TranscribeOptions { model, ..options() };
            assert!(!o.sends_word_timestamps(&json), "{model}");
            let o = TranscribeOptions { diarize: true, ..o };
            assert_eq!(o.sends_word_timestamps(&json), diarized, "{model}");
        }
    }
}
