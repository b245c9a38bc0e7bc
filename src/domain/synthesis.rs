//! What a synthesis batch is asked for, as the ledger keeps it; which purchases its formats need, and what makes two parts
//! the same clip.

mod captions;
mod line;
#[cfg(test)]
mod tests;
mod timeline;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::{
    captions::{Span, TimedSentence, timed_sentences},
    line::{Rendition, SynthesisOption, SynthesisOverrides},
    timeline::Timeline,
};
use super::{
    cut::parts,
    identity::Identity,
    open::Unlisted,
    options::{OptionFault, listed},
    pronunciation::Words,
    synthesis_options::{AudioFormat, MAX_PART_CHARS, SampleRate, Speed, SynthesisOptions, voice_id},
    task::{Asked, TaskName},
};

/// The longest pause, in milliseconds.
pub const MAX_PAUSE_MS: u32 = 60_000;
/// The longest ending of a file's name, in bytes.
const MAX_ENDING: usize = 16;

/// What a synthesis batch was asked for: `[synthesize]`, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Synthesis {
    /// The options of every line that does not say otherwise. Its voice is the first of `voices`, or empty.
    pub options: SynthesisOptions,
    /// Each line is spoken by all of these, unless it names its own; empty where every line has to.
    pub voices: Vec<String>,
    /// The formats that each voice's speech is written in.
    pub formats: Vec<OutputFormat>,
    /// The template of an output's name, without its ending.
    pub name: String,
    /// The longest part, in Unicode scalar values.
    pub part_chars: usize,
    /// The silence between parts.
    pub pause: Pause,
    /// More characters a second than these, times the speed, are suspect; 0 = never.
    pub max_chars_per_second: f64,
    /// The captions that are written beside the audio.
    pub captions: Vec<CaptionFormat>,
    /// How words are pronounced that the voices do not know.
    pub dictionary: Option<Dictionary>,
    /// How speech is asked for.
    pub transport: Transport,
    /// Where it is asked for, if not at the vendor's own address: what a stand-in has hummed is not what the API says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// A format of the outputs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OutputFormat {
    /// The format.
    pub format: AudioFormat,
    /// Its samples a second.
    pub sample_rate: SampleRate,
    /// The ending of its files' names, without the dot.
    pub ending: String,
}

/// The silence between parts, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pause {
    /// Where a part ends a sentence.
    pub sentence_ms: u32,
    /// Where a part ends a paragraph.
    pub paragraph_ms: u32,
}

impl Default for Pause {
    fn default() -> Self {
        Self { sentence_ms: 0, paragraph_ms: 600 }
    }
}

/// A pronunciation dictionary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dictionary {
    /// Its file: an absolute path.
    pub file: String,
    /// SHA-256 of what it says, in hex.
    pub hash: String,
    /// What it says: a part is shaped by the words that stand in it.
    #[serde(default)]
    pub words: Words,
    /// The account's id of a dictionary with this content, once it is there.
    pub id: Option<String>,
}

listed! {
    /// A format of captions: which sentence is spoken when. Also the ending of its file.
    CaptionFormat, "caption format" {
        /// SubRip.
        Srt = "srt",
        /// WebVTT.
        Vtt = "vtt",
        /// A list of sentences.
        Json = "json",
    }
}

listed! {
    /// How speech is asked for.
    Transport, "transport" {
        /// Whichever is known to be better.
        Auto = "auto",
        /// One answer.
        Sync = "sync",
        /// Server-sent events.
        Sse = "sse",
    }
}

impl CaptionFormat {
    /// The media type of its files.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Srt => "application/x-subrip",
            Self::Vtt => "text/vtt",
            Self::Json => "application/json",
        }
    }
}

/// What is bought for an output: a format and a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClipFormat {
    /// The format asked for: `pcm` for all that is made of samples, else `mp3`.
    pub format: AudioFormat,
    /// Its samples a second.
    pub sample_rate: SampleRate,
}

impl OutputFormat {
    /// A format with its own rate and ending.
    #[must_use]
    pub fn of(format: AudioFormat) -> Self {
        Self { format, sample_rate: format.default_rate(), ending: format.as_str().to_owned() }
    }

    /// What is bought for it.
    #[must_use]
    pub const fn bought(&self) -> ClipFormat {
        let format = if self.format.is_made_of_samples() { AudioFormat::Pcm } else { self.format };
        ClipFormat { format, sample_rate: self.sample_rate }
    }

    /// What tells a line's jobs apart in the ledger: `avery|wav|24000`.
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
}

impl Synthesis {
    /// The task's name.
    pub const TASK: TaskName = TaskName::of("synthesize");

    /// The most characters a second, times the speed, that are not suspect.
    pub const MAX_CHARS_PER_SECOND: f64 = 25.0;

    /// How long so many characters are spoken, as far as can be told before, in ms.
    #[must_use]
    pub fn expected_ms(&self, characters: u64, speed: Speed) -> u64 {
        /// What voices say in a second, by the vendor's samples.
        const CHARS_A_SECOND: u64 = 15;
        characters.saturating_mul(1_000_000) / (CHARS_A_SECOND * u64::from(speed.thousandths()).max(1))
    }

    /// What is bought for these formats, none twice, in their order.
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

    /// Why each text is bought more than once, if it is: what one more rate or format costs.
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
            "each text is bought {} times, and each time costs as much as the first: for {}. A rate is not made of another one here, nor mp3 of samples; the other formats of one rate share a purchase",
            bought.len(),
            all.join(", for ")
        ))
    }

    /// What each part of a job's text is named by in the spool, with its number from 0; those that say nothing have no name.
    pub fn cache_keys(&self, of: &Rendition, text: &str) -> impl Iterator<Item = (i64, Identity)> {
        let (options, bought) = (of.overrides.apply(&self.options), of.format.bought());
        let said = (0..).zip(parts(text, self.part_chars)).filter(|(_, part)| part.has_words());
        said.map(move |(at, part)| (at, self.cache_key(&options, &part.text, bought)))
    }

    /// What a part with these options is named by in the spool. Where a batch is asked for does not make another job of its
    /// lines, but another clip of their parts.
    #[must_use]
    pub fn cache_key(&self, options: &SynthesisOptions, text: &str, bought: ClipFormat) -> Identity {
        options.cache_key(text, bought, self.dictionary.as_ref(), self.origin.as_deref())
    }

    /// The identity of what shapes the calls of all lines: options, where texts are cut, and the whole dictionary.
    #[must_use]
    pub fn identity(&self, options: &SynthesisOptions) -> Identity {
        self.shaped(options, self.dictionary.as_ref().map(|dictionary| dictionary.hash.clone()))
    }

    /// The identity of what shapes a job's calls, but for what its variant says: its options, where its text is cut, and
    /// the words of the dictionary that its text has.
    #[must_use]
    pub fn identity_of(&self, options: &SynthesisOptions, text: &str) -> Identity {
        self.shaped(options, self.dictionary.as_ref().and_then(|dictionary| dictionary.words.hash_in(text)))
    }

    fn shaped(&self, options: &SynthesisOptions, words: Option<String>) -> Identity {
        // A part that says nothing stands for all of them.
        let any = ClipFormat { format: AudioFormat::Pcm, sample_rate: SampleRate::Hz24000 };
        let cache_key = options.cache_key("", any, None, None);
        let (chars, words) = ((self.part_chars as u64).to_le_bytes(), words.unwrap_or_default());
        Identity::of(&[b"synthesize", &cache_key.0, &chars, words.as_bytes()])
    }

    /// What is asked for that is in none of our lists.
    pub fn unlisted(&self) -> impl Iterator<Item = Unlisted> {
        self.options.unlisted().chain(self.formats.iter().filter_map(|own| own.format.unlisted()))
    }

    /// Checks the rules between what was asked for; every broken one is told.
    #[must_use]
    pub fn faults(&self) -> Vec<OptionFault> {
        // The voice is checked below, all of them.
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
            if let Some(caption) = self.captions.iter().find(|caption| caption.as_str() == own.ending) {
                fault("formats", format!("the ending `{caption}` is that of captions too"));
            }
        }
        faults
    }
}

impl SynthesisOptions {
    /// What costs money to say again, as one text with these options: all that shapes a part's clip. The same in every
    /// release, for spools outlive them. Of a dictionary, the words that stand in the text. That the vendor is asked to delete the content shapes nothing.
    #[must_use]
    pub fn cache_key(
        &self,
        text: &str,
        bought: ClipFormat,
        dictionary: Option<&Dictionary>,
        origin: Option<&str>,
    ) -> Identity {
        fn language(language: Option<&super::synthesis_options::TtsLanguage>) -> &[u8] {
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

/// The name of an output where none is asked for: the key, and what tells two of one line apart.
#[must_use]
pub fn default_name(voices: &[String], formats: &[OutputFormat]) -> String {
    let mut name = "{key}".to_owned();
    if voices.len() > 1 {
        name.push_str(".{voice_id}");
    }
    let shared = |(at, format): (usize, &OutputFormat)| formats[..at].iter().any(|other| other.ending == format.ending);
    if formats.iter().enumerate().any(shared) {
        name.push_str(".{sample_rate}");
    }
    name
}

/// Checks the ending of a file's name.
///
/// # Errors
/// The rule that it breaks.
pub fn ending(text: &str) -> Result<(), String> {
    let shown = text.escape_debug();
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

/// Checks the length that parts may have.
///
/// # Errors
/// What is allowed.
pub fn part_chars(chars: u32) -> Result<usize, String> {
    match usize::try_from(chars) {
        Ok(chars @ 1..=MAX_PART_CHARS) => Ok(chars),
        _ => Err(format!("{chars} is not between 1 and {MAX_PART_CHARS}, the most that the API takes at once")),
    }
}
