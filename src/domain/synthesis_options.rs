//! The options of a synthesis: models, languages, formats, rates, and the rules between them (API page, "Text to
//! speech").

use serde::{Deserialize, Serialize};

use super::{
    extra::Extra,
    open::{NoValue, Unlisted, open_list},
    options::{ExpireContent, OptionFault, listed},
};
use crate::domain::printable::visible;

/// The longest text of one call, in Unicode scalar values.
pub const MAX_PART_CHARS: usize = 8_000;
/// The default length limit of a part: the vendor recommends it, because longer texts are spoken less well.
pub const PART_CHARS: usize = 250;

open_list! {
    /// A text-to-speech model. A voice belongs to one of them; the API does not refuse the wrong pair.
    TtsModel, "model" {
        /// The standard model.
        Lightning = "lightning_v3.1",
        /// The Pro model, with voices and languages of its own.
        LightningPro = "lightning_v3.1_pro",
    }
}

open_list! {
    /// A language of a synthesis, or `auto`.
    TtsLanguage, "language" {
        /// Detected from the text.
        Auto = "auto",
        /// English.
        En = "en",
        /// Hindi.
        Hi = "hi",
        /// Marathi.
        Mr = "mr",
        /// Kannada.
        Kn = "kn",
        /// Tamil.
        Ta = "ta",
        /// Bengali.
        Bn = "bn",
        /// Gujarati.
        Gu = "gu",
        /// Telugu.
        Te = "te",
        /// Malayalam.
        Ml = "ml",
        /// Punjabi.
        Pa = "pa",
        /// Odia.
        Or = "or",
        /// Spanish.
        Es = "es",
        /// German.
        De = "de",
        /// French.
        Fr = "fr",
        /// Italian.
        It = "it",
        /// Dutch.
        Nl = "nl",
        /// Swedish.
        Sv = "sv",
        /// Portuguese.
        Pt = "pt",
        /// Russian.
        Ru = "ru",
        /// Greek (Pro).
        El = "el",
        /// Finnish (Pro).
        Fi = "fi",
        /// Norwegian (Pro).
        No = "no",
        /// Polish.
        Pl = "pl",
        /// Arabic (Pro).
        Ar = "ar",
        /// Chinese (Pro).
        Zh = "zh",
        /// Indonesian (Pro).
        Id = "id",
        /// Japanese (Pro).
        Ja = "ja",
        /// Korean (Pro).
        Ko = "ko",
        /// Malay (Pro).
        Ms = "ms",
        /// Turkish (Pro).
        Tr = "tr",
        /// Vietnamese (Pro).
        Vi = "vi",
    }
}

impl TtsLanguage {
    /// Whether the model supports the language: the standard model has 20 languages, Pro has all.
    #[must_use]
    pub const fn is_spoken_by(self, model: TtsModel) -> bool {
        let pro_only = matches!(
            self,
            Self::El
                | Self::Fi
                | Self::No
                | Self::Ar
                | Self::Zh
                | Self::Id
                | Self::Ja
                | Self::Ko
                | Self::Ms
                | Self::Tr
                | Self::Vi
        );
        // Unknown models and languages are not refused.
        !pro_only || !matches!(model, TtsModel::Lightning)
    }
}

open_list! {
    /// An audio format, by the API's name (`output_format`).
    AudioFormat, "format" {
        /// A WAV file with 16-bit samples, mono.
        Wav = "wav",
        /// MPEG layer 3, mono.
        Mp3 = "mp3",
        /// 16-bit little-endian samples without a header, mono.
        Pcm = "pcm",
        /// G.711 µ-law without a header, mono.
        Ulaw = "ulaw",
        /// G.711 A-law without a header, mono.
        Alaw = "alaw",
    }
}

impl AudioFormat {
    /// The format with this name. For another common name of an API format, the error names the API's own: the API refuses
    /// `mulaw`.
    ///
    /// # Errors
    /// Another common name of a known format, or a text that is not a name.
    pub fn named(text: &str) -> Result<Self, String> {
        let own = match text.to_lowercase().as_str() {
            "mulaw" | "mu-law" | "u-law" | "pcmu" | "g711u" => "ulaw",
            "a-law" | "pcma" | "g711a" => "alaw",
            "raw" | "s16le" | "linear16" => "pcm",
            "wave" => "wav",
            _ => return text.parse().map_err(|e: NoValue| e.to_string()),
        };
        Err(format!("`{}` is not what the API calls it; did you mean `{own}`?", visible(&text)))
    }

    /// The default rate, in Hz: what telephony and players expect.
    #[must_use]
    pub const fn default_rate(self) -> SampleRate {
        match self {
            Self::Ulaw | Self::Alaw => SampleRate::Hz8000,
            Self::Wav | Self::Mp3 | Self::Pcm | Self::Other(_) => SampleRate::Hz24000,
        }
    }

    /// Whether the format can be made from 16-bit samples without another purchase.
    #[must_use]
    pub const fn is_made_of_samples(self) -> bool {
        !matches!(self, Self::Mp3 | Self::Other(_))
    }

    /// Whether the format is unknown: its bytes are written as received, one part per file.
    #[must_use]
    pub const fn is_opaque(self) -> bool {
        matches!(self, Self::Other(_))
    }

    /// The media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Mp3 => "audio/mpeg",
            Self::Pcm => "audio/L16",
            Self::Ulaw => "audio/basic",
            Self::Alaw => "audio/x-alaw-basic",
            Self::Other(_) => "application/octet-stream",
        }
    }
}

listed! {
    /// Samples per second.
    SampleRate, "sample rate" {
        /// Telephony.
        Hz8000 = "8000",
        /// Wide-band telephony.
        Hz16000 = "16000",
        /// What most players expect.
        Hz24000 = "24000",
        /// Compact discs, and the API's own default.
        Hz44100 = "44100",
    }
}

impl SampleRate {
    /// The number, in Hz.
    #[must_use]
    pub const fn hz(self) -> u32 {
        match self {
            Self::Hz8000 => 8_000,
            Self::Hz16000 => 16_000,
            Self::Hz24000 => 24_000,
            Self::Hz44100 => 44_100,
        }
    }

    /// The rate with this number.
    #[must_use]
    pub fn from_hz(hz: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|rate| rate.hz() == hz)
    }
}

/// The speed of the speech, in thousandths of the voice's own pace: 500 to 2,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Speed(u16);

impl Speed {
    /// The voice's own pace.
    pub const NORMAL: Self = Self(1_000);

    /// A factor from 0.5 to 2, to three decimals.
    ///
    /// # Errors
    /// The allowed values.
    pub fn new(factor: f64) -> Result<Self, String> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0.5 to 2")]
        match factor {
            f if (0.5..=2.0).contains(&f) => Ok(Self((f * 1_000.0).round() as u16)),
            f => Err(format!("{f} is not between 0.5 and 2")),
        }
    }

    /// The factor as the API takes it.
    #[must_use]
    pub fn factor(self) -> f64 {
        f64::from(self.0) / 1_000.0
    }

    /// Thousandths of the voice's own pace.
    #[must_use]
    pub const fn thousandths(self) -> u16 {
        self.0
    }
}

/// All options that affect the audio of a text, after the definition and the line's own columns are merged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SynthesisOptions {
    /// The model.
    pub model: TtsModel,
    /// The voice: one from the catalog, or a clone (`voice_…`).
    pub voice_id: String,
    /// The language; without one, Pro speaks `en` + `hi`.
    pub language: Option<TtsLanguage>,
    /// The pace.
    pub speed: Speed,
    /// The language in which numbers are read out.
    pub number_pronunciation_language: Option<TtsLanguage>,
    /// Whether `5 x 3` is read as a product.
    pub math_notation: bool,
    /// Ask the vendor to delete the content.
    pub expire_content: ExpireContent,
    /// Parameters that this release does not know.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
}

/// The fields of a synthesis's body that wavebatch sets itself.
pub const OWN_BODY: &[&str] = &[
    "text",
    "voice_id",
    "model",
    "sample_rate",
    "output_format",
    "speed",
    "language",
    "number_pronunciation_language",
    "math_notation",
    "pronunciation_dicts",
    "session_id",
    "request_id",
];

impl SynthesisOptions {
    /// The values that are in none of our lists.
    pub fn unlisted(&self) -> impl Iterator<Item = Unlisted> {
        let language = |language: Option<TtsLanguage>| language.and_then(|language| language.unlisted());
        [self.model.unlisted(), language(self.language), language(self.number_pronunciation_language)]
            .into_iter()
            .flatten()
    }

    /// Checks the rules between options; returns every broken one.
    #[must_use]
    pub fn faults(&self) -> Vec<OptionFault> {
        let mut faults = Vec::new();
        let mut check = |field, language: Option<TtsLanguage>| {
            if let Some(language) = language.filter(|language| !language.is_spoken_by(self.model)) {
                let message =
                    format!("`{}` does not speak `{language}`; use model = \"lightning_v3.1_pro\"", self.model);
                faults.push(OptionFault { field, message });
            }
        };
        check("language", self.language);
        check("number_pronunciation_language", self.number_pronunciation_language);
        if let Err(message) = voice_id(&self.voice_id) {
            faults.push(OptionFault { field: "voice_id", message });
        }
        faults
    }
}

/// Checks that a text has the form of a voice id.
///
/// # Errors
/// The text is empty, too long, or has characters that no id has.
pub fn voice_id(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("names no voice".into());
    }
    if text.len() > 128 || !text.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)) {
        return Err(format!("`{}` cannot be a voice's id; `wavebatch voices` lists them", visible(&text)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> SynthesisOptions {
        SynthesisOptions {
            model: TtsModel::Lightning,
            voice_id: "avery".into(),
            language: Some(TtsLanguage::En),
            speed: Speed::NORMAL,
            number_pronunciation_language: None,
            math_notation: false,
            expire_content: ExpireContent::No,
            extra: Extra::default(),
        }
    }

    #[test]
    fn everybodys_names_are_pointed_to_the_apis() {
        for (text, name) in [("mulaw", "ulaw"), ("PCMA", "alaw"), ("wave", "wav")] {
            let message = AudioFormat::named(text).unwrap_err().to_string();
            assert!(message.ends_with(&format!("did you mean `{name}`?")), "{message}");
        }
        assert_eq!(AudioFormat::named("ulaw").unwrap().default_rate().hz(), 8_000);
        assert_eq!(AudioFormat::Wav.default_rate(), SampleRate::Hz24000);
        let opus = AudioFormat::named("opus").unwrap();
        assert!(opus.is_opaque() && !opus.is_made_of_samples() && opus.unlisted().is_some());
        assert_eq!(SampleRate::from_hz(44_100), Some(SampleRate::Hz44100));
        assert_eq!(SampleRate::from_hz(22_050), None);
    }

    #[test]
    fn a_pace_has_three_decimals() {
        assert_eq!(Speed::new(1.25).unwrap().thousandths(), 1_250);
        assert_eq!(Speed::new(1.0).unwrap(), Speed::NORMAL);
        for wrong in [0.49, 2.01, f64::NAN, -1.0] {
            assert!(Speed::new(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Speed::new(0.5).unwrap().factor(), 0.5);
    }

    #[test]
    fn the_standard_model_speaks_twenty_languages() {
        let spoken = TtsLanguage::ALL.iter().filter(|l| l.is_spoken_by(TtsModel::Lightning)).count();
        assert_eq!(spoken, 21, "and `auto`");
        let mut o = options();
        assert!(o.faults().is_empty());
        o.language = Some(TtsLanguage::Ja);
        assert_eq!(o.faults()[0].field, "language");
        o.model = TtsModel::LightningPro;
        assert!(o.faults().is_empty());
        o.voice_id = "a b".into();
        assert_eq!(o.faults()[0].field, "voice_id");
    }
}
