//! What a synthesis batch requests, as the ledger stores it; which purchases its formats need; and the identity of a
//! part's clip.

mod captions;
mod checks;
mod line;
mod spoken;
#[cfg(test)]
mod tests;
mod timeline;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::{
    captions::{Span, TimedSentence, TimedWord, timed_sentences},
    checks::{Doubt, HeardPart, LongSilence, Measured, Pace, SpeechChecks},
    line::{Rendition, SynthesisOption, SynthesisOverrides},
    spoken::{SpokenWord, TAIL as WORDS_TAIL, read_words, with_words, words_len},
    timeline::Timeline,
};
use super::{
    cut::{Part, SentenceRules, parts},
    identity::Identity,
    open::Unlisted,
    options::{OptionFault, listed},
    pronunciation::Words,
    synthesis_options::{AudioFormat, MAX_PART_CHARS, SampleRate, Speed, SynthesisOptions, TtsLanguage, voice_id},
    task::{Asked, TaskName, Unit},
};
use crate::domain::printable::visible;

/// The longest pause, in milliseconds.
pub const MAX_PAUSE_MS: u32 = 60_000;
/// The longest ending of a file name, in bytes.
const MAX_ENDING: usize = 16;

/// What a synthesis batch requests: `[synthesize]`, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Synthesis {
    /// The options of every line that does not override them. The voice is the first of `voices`, or empty.
    pub options: SynthesisOptions,
    /// The voices of each line, unless the line names its own; empty if every line must name one.
    pub voices: Vec<String>,
    /// The languages of a line's texts, where each language has a column of its own; empty: a line has one text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<TtsLanguage>,
    /// The formats in which each voice's audio is written.
    pub formats: Vec<OutputFormat>,
    /// The template of an output's name, without its ending.
    pub name: String,
    /// The longest part, in Unicode scalar values.
    pub part_chars: usize,
    /// The silence between parts.
    pub pause: Pause,
    /// More characters per second than this, times the speed, are suspect; 0 = never.
    pub max_chars_per_second: f64,
    /// What else makes bought speech suspect.
    #[serde(default, skip_serializing_if = "SpeechChecks::are_default")]
    pub checks: SpeechChecks,
    /// The captions that are written next to the audio.
    pub captions: Vec<CaptionFormat>,
    /// The pronunciation of words that the voices do not know.
    pub dictionary: Option<Dictionary>,
    /// How the audio is requested.
    pub transport: Transport,
    /// The API's address, if it is not the vendor's own: a stand-in's clip is not the same as the API's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// A format of the outputs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OutputFormat {
    /// The format.
    pub format: AudioFormat,
    /// Samples per second.
    pub sample_rate: SampleRate,
    /// The ending of the file names, without the dot.
    pub ending: String,
}

/// The silence between parts, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pause {
    /// Where a part ends a sentence.
    pub sentence_ms: u32,
    /// Where a part ends a paragraph.
    pub paragraph_ms: u32,
    /// Where a part ends a heading.
    #[serde(default = "Pause::heading_ms")]
    pub heading_ms: u32,
    /// Between two scenes: where a paragraph without words follows, like `* * *`.
    #[serde(default = "Pause::break_ms")]
    pub break_ms: u32,
}

impl Pause {
    const fn heading_ms() -> u32 {
        1_000
    }

    const fn break_ms() -> u32 {
        1_500
    }
}

impl Default for Pause {
    fn default() -> Self {
        Self { sentence_ms: 0, paragraph_ms: 600, heading_ms: Self::heading_ms(), break_ms: Self::break_ms() }
    }
}

/// A pronunciation dictionary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dictionary {
    /// Its file: an absolute path.
    pub file: String,
    /// SHA-256 of the content, in hex.
    pub hash: String,
    /// The content: a part is affected only by the words that occur in it.
    #[serde(default)]
    pub words: Words,
    /// The account's id of a dictionary with this content, once it exists there.
    pub id: Option<String>,
}

listed! {
    /// A format of captions, which say when each sentence is spoken.
    CaptionFormat, "caption format" {
        /// SubRip.
        Srt = "srt",
        /// WebVTT.
        Vtt = "vtt",
        /// A list of sentences.
        Json = "json",
        /// Each word: a list of them (`.words.json`), and WebVTT whose cues have the time of each word (`.words.vtt`).
        Words = "words",
    }
}

listed! {
    /// How the audio is requested.
    Transport, "transport" {
        /// `ws` where captions are asked for, and the voice sends the times of its words (in English and Hindi, without a
        /// pronunciation dictionary); else `sync`.
        Auto = "auto",
        /// One answer.
        Sync = "sync",
        /// Server-sent events. They carry samples: `mp3` is requested as by `sync`.
        Sse = "sse",
        /// A socket, with the times of the words. It carries samples: `mp3` is requested as by `sync`.
        Ws = "ws",
    }
}

impl CaptionFormat {
    /// Its files.
    #[must_use]
    pub const fn files(self) -> &'static [CaptionFile] {
        match self {
            Self::Srt => &[CaptionFile::Srt],
            Self::Vtt => &[CaptionFile::Vtt],
            Self::Json => &[CaptionFile::Json],
            Self::Words => &[CaptionFile::WordsJson, CaptionFile::WordsVtt],
        }
    }
}

/// A file of captions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptionFile {
    /// SubRip.
    Srt,
    /// WebVTT.
    Vtt,
    /// A list of sentences.
    Json,
    /// A list of words.
    WordsJson,
    /// WebVTT with the time of each word.
    WordsVtt,
}

impl CaptionFile {
    /// The ending of its name, without the first dot.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Srt => "srt",
            Self::Vtt => "vtt",
            Self::Json => "json",
            Self::WordsJson => "words.json",
            Self::WordsVtt => "words.vtt",
        }
    }

    /// The media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Srt => "application/x-subrip",
            Self::Vtt | Self::WordsVtt => "text/vtt",
            Self::Json | Self::WordsJson => "application/json",
        }
    }
}

/// The voices that send the times of their words over a socket (API page 5; the vendor's socket document). Settings add others.
pub const WORD_VOICES: &[&str] = &["meher", "devansh", "kartik", "maithili", "liam", "avery"];

/// What is bought for an output: a format and a sample rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClipFormat {
    /// The requested format: `pcm` for every format made of samples, else `mp3`.
    pub format: AudioFormat,
    /// Samples per second.
    pub sample_rate: SampleRate,
}

impl OutputFormat {
    /// A format with its default rate and ending.
    #[must_use]
    pub fn of(format: AudioFormat) -> Self {
        Self { format, sample_rate: format.default_rate(), ending: format.as_str().to_owned() }
    }

    /// What is bought for this format.
    #[must_use]
    pub const fn bought(&self) -> ClipFormat {
        let format = if self.format.is_made_of_samples() { AudioFormat::Pcm } else { self.format };
        ClipFormat { format, sample_rate: self.sample_rate }
    }

    /// The variant that distinguishes a line's jobs in the ledger: `avery|wav|24000`.
    #[must_use]
    pub fn variant(&self, voice: &str) -> String {
        format!("{voice}|{}|{}", self.format, self.sample_rate)
    }
}

/// `wav at 24000 Hz`
impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} Hz", self.format, self.sample_rate)
    }
}

impl Asked for Synthesis {
    const TASK: TaskName = Self::TASK;
    const UNIT: Unit = Unit::Characters;
}

impl Synthesis {
    /// The task's name.
    pub const TASK: TaskName = TaskName::of("synthesize");

    /// The most characters per second, times the speed, that are not suspect.
    pub const MAX_CHARS_PER_SECOND: f64 = 25.0;

    /// The expected length of the audio for this many characters, in ms.
    #[must_use]
    pub fn expected_ms(&self, characters: u64, speed: Speed) -> u64 {
        /// How many characters voices speak per second, by the vendor's samples.
        const CHARS_A_SECOND: u64 = 15;
        characters.saturating_mul(1_000_000) / (CHARS_A_SECOND * u64::from(speed.thousandths()).max(1))
    }

    /// What is bought for these formats, in their order, without duplicates.
    #[must_use]
    pub fn bought(&self) -> Vec<ClipFormat> {
        let mut bought = Vec::new();
        for one in self.formats.iter().map(OutputFormat::bought) {
            if !bought.contains(&one) {
                bought.push(one);
            }
        }
        bought
    }

    /// Why each text is bought more than once, if it is: the cost of another rate or format.
    #[must_use]
    pub fn purchases_in_words(&self) -> Option<String> {
        let bought = self.bought();
        let [_, _, ..] = bought.as_slice() else { return None };
        let formats_of = |one: &ClipFormat| {
            let own = self.formats.iter().filter(|format| format.bought() == *one);
            let names: Vec<&str> = own.clone().map(|format| format.format.as_str()).collect();
            format!("{} at {} Hz", names.join(" and "), one.sample_rate)
        };
        let all: Vec<String> = bought.iter().map(formats_of).collect();
        Some(format!(
            "each text is paid for {} times, and each time costs as much as the first: for {}. A rate is not made of another one here, nor mp3 of samples; the other formats of one rate share a purchase",
            bought.len(),
            all.join(", for ")
        ))
    }

    /// How a part is requested; never [`Transport::Auto`]. `more_voices` also send the times of their words.
    #[must_use]
    pub fn transport_of(&self, options: &SynthesisOptions, bought: ClipFormat, more_voices: &[String]) -> Transport {
        let carries = bought.format == AudioFormat::Pcm;
        match self.transport {
            Transport::Sse | Transport::Ws if carries => self.transport,
            Transport::Auto if carries && self.asks_for_words(options, more_voices) => Transport::Ws,
            Transport::Auto | Transport::Sync | Transport::Sse | Transport::Ws => Transport::Sync,
        }
    }

    /// Whether words with times are wanted, and the voice is known to send them. A socket knows no dictionaries.
    fn asks_for_words(&self, options: &SynthesisOptions, more_voices: &[String]) -> bool {
        let voice = options.voice_id.as_str();
        let sends = WORD_VOICES.contains(&voice) || more_voices.iter().any(|own| own == voice);
        let speaks = matches!(options.language, None | Some(TtsLanguage::En | TtsLanguage::Hi));
        !self.captions.is_empty() && sends && speaks && self.dictionary.is_none()
    }

    /// The parts of a text with these options: its language decides where sentences end.
    pub fn parts<'t>(&self, options: &SynthesisOptions, text: &'t str) -> impl Iterator<Item = Part> + use<'t> {
        parts(text, self.part_chars, options.sentence_rules())
    }

    /// The cache keys of a job's parts, each with the part's number from 0; a part without words has none.
    pub fn cache_keys(&self, of: &Rendition, text: &str) -> impl Iterator<Item = (i64, Identity)> {
        let (options, bought) = (of.overrides.apply(&self.options), of.format.bought());
        let said = (0..).zip(self.parts(&options, text)).filter(|(_, part)| part.has_words());
        said.map(move |(at, part)| (at, self.cache_key(&options, &part.text, bought)))
    }

    /// The cache key of a part with these options. The API's address (`origin`) does not change the jobs of a line, but it
    /// changes the clips of their parts.
    #[must_use]
    pub fn cache_key(&self, options: &SynthesisOptions, text: &str, bought: ClipFormat) -> Identity {
        options.cache_key(text, bought, self.dictionary.as_ref(), self.origin.as_deref())
    }

    /// The identity of what affects the calls of all lines: options, the part length, and the whole dictionary.
    #[must_use]
    pub fn identity(&self, options: &SynthesisOptions) -> Identity {
        self.shaped(options, self.dictionary.as_ref().map(|dictionary| dictionary.hash.clone()))
    }

    /// The identity of what affects a job's calls, except for its variant: the options, the part length, and
    /// the dictionary's words that occur in its text.
    #[must_use]
    pub fn identity_of(&self, options: &SynthesisOptions, text: &str) -> Identity {
        self.shaped(options, self.dictionary.as_ref().and_then(|dictionary| dictionary.words.hash_in(text)))
    }

    fn shaped(&self, options: &SynthesisOptions, words: Option<String>) -> Identity {
        // An empty text stands for all parts.
        let any = ClipFormat { format: AudioFormat::Pcm, sample_rate: SampleRate::Hz24000 };
        let cache_key = options.cache_key("", any, None, None);
        let (chars, words) = ((self.part_chars as u64).to_le_bytes(), words.unwrap_or_default());
        Identity::of(&[b"synthesize", &cache_key.0, &chars, words.as_bytes()])
    }

    /// The requested values that are in none of our lists.
    pub fn unlisted(&self) -> impl Iterator<Item = Unlisted> {
        self.options.unlisted().chain(self.formats.iter().filter_map(|own| own.format.unlisted()))
    }

    /// Checks the rules between the options; returns every broken one.
    #[must_use]
    pub fn faults(&self) -> Vec<OptionFault> {
        // The voices are all checked below.
        let mut faults: Vec<_> = self.options.faults().into_iter().filter(|fault| fault.field != "voice_id").collect();
        let mut fault = |field, message: String| faults.push(OptionFault { field, message });
        let voice = if self.voices.len() == 1 { "voice_id" } else { "voices" };
        for (at, id) in self.voices.iter().enumerate() {
            if let Err(message) = voice_id(id) {
                fault(voice, message);
            } else if self.voices[..at].contains(id) {
                fault(voice, format!("`{id}` stands twice"));
            }
        }
        if self.transport == Transport::Ws && self.dictionary.is_some() {
            let message = "a socket takes no pronunciation dictionary; leave `transport` out, or `pronunciations`";
            fault("transport", message.into());
        }
        if self.formats.is_empty() {
            fault("formats", "names no format: nothing would be written".into());
        }
        for (at, own) in self.formats.iter().enumerate() {
            let same = |other: &&OutputFormat| (other.format, other.sample_rate) == (own.format, own.sample_rate);
            if self.formats[..at].iter().any(|other| same(&other)) {
                fault("formats", format!("{own} stands twice"));
            }
            if own.format.is_opaque() && !self.captions.is_empty() {
                let format = own.format;
                fault(
                    "captions",
                    format!(
                        "nothing is known of `{format}` by which a caption could be timed; leave captions out, or `{format}`"
                    ),
                );
            }
            if let Err(message) = ending(&own.ending) {
                fault("formats", message);
            }
            let caption = |ending: &&str| *ending == own.ending;
            let mut endings = self.captions.iter().flat_map(|caption| caption.files()).map(|file| file.ending());
            if let Some(caption) = endings.find(caption) {
                fault("formats", format!("the ending `{caption}` is that of captions too"));
            }
        }
        faults
    }
}

impl SynthesisOptions {
    /// The rules by which the sentences of a text end.
    #[must_use]
    pub fn sentence_rules(&self) -> SentenceRules {
        SentenceRules::of(self.language.as_ref().map(TtsLanguage::as_str))
    }

    /// The cache key of one text with these options: a hash of all that affects a part's clip. It is the same in every
    /// release, because spools outlive releases. Only dictionary words in the text count. `expire_content` has no effect.
    #[must_use]
    pub fn cache_key(
        &self,
        text: &str,
        bought: ClipFormat,
        dictionary: Option<&Dictionary>,
        origin: Option<&str>,
    ) -> Identity {
        fn language(language: Option<&TtsLanguage>) -> &[u8] {
            language.map_or("", |l| l.as_str()).as_bytes()
        }
        let words = dictionary.and_then(|dictionary| dictionary.words.hash_in(text)).unwrap_or_default();
        let speed = self.speed.thousandths().to_le_bytes();
        let math = [u8::from(self.math_notation)];
        let mut shaping: Vec<&[u8]> = vec![
            b"speech",
            text.as_bytes(),
            self.model.as_str().as_bytes(),
            self.voice_id.as_bytes(),
            language(self.language.as_ref()),
            &speed,
            language(self.number_pronunciation_language.as_ref()),
            &math,
            bought.format.as_str().as_bytes(),
            bought.sample_rate.as_str().as_bytes(),
            words.as_bytes(),
        ];
        shaping.extend(origin.map(str::as_bytes));
        let extra = self.extra.canonical();
        if !self.extra.is_empty() {
            shaping.extend([b"extra".as_slice(), extra.as_bytes()]);
        }
        Identity::of(&shaping)
    }
}

/// The default template of an output's name: the key, and what distinguishes two outputs of one line. The language belongs to
/// it even where a line has only one: when others are added, the names stay.
#[must_use]
pub fn default_name(languages: &[TtsLanguage], voices: &[String], formats: &[OutputFormat]) -> String {
    let mut name = "{key}".to_owned();
    if !languages.is_empty() {
        name.push_str(".{language}");
    }
    if voices.len() > 1 {
        name.push_str(".{voice_id}");
    }
    let shared = |(at, format): (usize, &OutputFormat)| formats[..at].iter().any(|other| other.ending == format.ending);
    if formats.iter().enumerate().any(shared) {
        name.push_str(".{sample_rate}");
    }
    name
}

/// Checks the ending of a file name.
///
/// # Errors
/// The rule that the text breaks.
pub fn ending(text: &str) -> Result<(), String> {
    let shown = visible(&text);
    if text.starts_with('.') {
        return Err(format!("`{shown}`: an ending stands without its dot"));
    }
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if text.is_empty() || text.len() > MAX_ENDING || text.ends_with('.') || !text.chars().all(good) {
        return Err(format!(
            "`{shown}` is no ending: 1 to {MAX_ENDING} of the letters a to z, digits, `.`, `-` and `_` are"
        ));
    }
    Ok(())
}

/// Checks the length limit of parts.
///
/// # Errors
/// The allowed values.
pub fn part_chars(chars: u32) -> Result<usize, String> {
    match usize::try_from(chars) {
        Ok(chars @ 1..=MAX_PART_CHARS) => Ok(chars),
        _ => Err(format!("{chars} is not between 1 and {MAX_PART_CHARS}, the most that the API takes at once")),
    }
}
