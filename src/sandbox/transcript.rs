//! Making answers: from a WAV's comment where there is one, from the words of a sandbox's voice, else from the content's hash;
//! always the same for the same.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{faults::mix, intake::ReceivedRecording, stt_request::SttRequest, voice::HeardWord};
use crate::domain::options::SttModel;

/// What is said where nobody can know what is said.
const VOCABULARY: [&str; 64] = [
    "account",
    "address",
    "afternoon",
    "again",
    "agent",
    "answer",
    "appointment",
    "balance",
    "before",
    "billing",
    "calling",
    "cancel",
    "card",
    "change",
    "charge",
    "confirm",
    "contract",
    "customer",
    "date",
    "delivery",
    "details",
    "device",
    "email",
    "evening",
    "form",
    "hello",
    "help",
    "hold",
    "hour",
    "invoice",
    "know",
    "letter",
    "line",
    "manager",
    "meter",
    "minute",
    "moment",
    "money",
    "month",
    "morning",
    "name",
    "number",
    "office",
    "open",
    "order",
    "parcel",
    "payment",
    "phone",
    "please",
    "price",
    "problem",
    "question",
    "refund",
    "return",
    "service",
    "ship",
    "sorry",
    "store",
    "support",
    "thanks",
    "ticket",
    "tomorrow",
    "voucher",
    "week",
];
/// Words a minute of invented speech.
const WORDS_PER_MINUTE: u64 = 140;

#[derive(Serialize)]
struct Answer<'a> {
    status: &'static str,
    transcription: &'a str,
    words: &'a [Word<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    utterances: Option<Vec<Utterance>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'a str>,
    metadata: Metadata<'a>,
    #[serde(rename = "totalBytes", skip_serializing_if = "Option::is_none")]
    total_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gender: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    emotions: Option<BTreeMap<&'static str, f64>>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    duration: f64,
    #[serde(rename = "fileSize", skip_serializing_if = "Option::is_none")]
    file_size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    processing_time_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtfx: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_chunks: Option<u64>,
    /// No answer of the vendor's has this.
    sandbox: bool,
}

#[derive(Serialize)]
struct Word<'a> {
    start: f64,
    end: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    speaker: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speaker_confidence: Option<f64>,
    word: &'a str,
    confidence: f64,
}

#[derive(Serialize)]
struct Utterance {
    start: f64,
    end: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    speaker: Option<u32>,
    text: String,
}

/// What is said in a recording, redacted as asked for.
pub(super) fn text(asked: &SttRequest, heard: &ReceivedRecording) -> String {
    let said = match &heard.comment {
        Some(comment) => comment.clone(),
        None if heard.words.is_empty() => invent(heard),
        None => text_of(&heard.words),
    };
    let effective = asked.language.can_redact();
    match (asked.flags.redact_pii && effective, asked.flags.redact_pci && effective) {
        (false, false) => said,
        (pii, pci) => redact(&said, pii, pci),
    }
}

/// What an answer says wrongly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lies {
    /// The length, times this.
    pub(super) factor: f64,
    /// All times of words, later by so many milliseconds.
    pub(super) late_ms: u64,
}

impl Default for Lies {
    fn default() -> Self {
        Self { factor: 1.0, late_ms: 0 }
    }
}

/// The 200's body. `text` is what [`text`] gave.
pub(super) fn answer(
    asked: &SttRequest,
    heard: &ReceivedRecording,
    text: &str,
    request_id: &str,
    lies: Lies,
) -> Vec<u8> {
    let (seed, seconds) = (seed(heard), heard.ms as f64 / 1000.0);
    let pulse = asked.model == SttModel::Pulse;
    let diarize = pulse && asked.flags.diarize;
    let words = match asked.flags.word_timestamps {
        true if !text.is_empty() && text_of(&heard.words) == text => {
            late(timed(&heard.words, seed, diarize), lies.late_ms)
        }
        true => late(spread(text, seconds, seed, diarize), lies.late_ms),
        false => Vec::new(),
    };
    let processing_ms = 20.0 + seconds * 30.0;
    let answer = Answer {
        status: "success",
        transcription: text,
        utterances: pulse.then(|| utterances(&words)),
        words: &words,
        language: (!pulse).then(|| asked.language.as_str()),
        metadata: Metadata {
            duration: rounded(seconds * lies.factor),
            file_size: pulse.then_some(heard.bytes),
            filename: heard.filename.as_deref().filter(|_| pulse),
            processing_time_ms: (!pulse).then_some(rounded(processing_ms)),
            rtfx: (!pulse).then_some(rounded(seconds * 1000.0 / processing_ms)),
            num_chunks: (!pulse).then_some(1 + heard.ms / 30_000),
            sandbox: true,
        },
        total_bytes: (!pulse).then_some(heard.bytes),
        request_id: (!pulse).then_some(request_id),
        gender: gender(asked, heard),
        emotions: asked.flags.emotion_detection.then(|| emotions(seed)),
    };
    serde_json::to_vec(&answer).expect("numbers and strings always make JSON")
}

/// The label of the speaker, where asked for (Pulse only).
pub(super) fn gender(asked: &SttRequest, heard: &ReceivedRecording) -> Option<&'static str> {
    let wanted = asked.flags.gender_detection && asked.model == SttModel::Pulse;
    wanted.then(|| if seed(heard).is_multiple_of(2) { "female" } else { "male" })
}

fn emotions(seed: u64) -> BTreeMap<&'static str, f64> {
    let happy = (seed % 40) as f64 / 100.0;
    BTreeMap::from([("neutral", rounded(0.9 - happy)), ("happy", happy), ("calm", 0.1)])
}

fn seed(heard: &ReceivedRecording) -> u64 {
    heard.digest[..8].iter().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// Sentences out of the vocabulary, as many as fit the length.
fn invent(heard: &ReceivedRecording) -> String {
    let count = (heard.ms * WORDS_PER_MINUTE / 60_000).max(1);
    let mut state = seed(heard);
    let mut text = String::with_capacity(count as usize * 8);
    let mut left_in_sentence = 0;
    for n in 0..count {
        state = mix(state);
        let word = VOCABULARY[(state % 64) as usize];
        if left_in_sentence == 0 {
            left_in_sentence = 4 + state / 64 % 8;
            text.push_str(if n == 0 { "" } else { " " });
            text.push(word.as_bytes()[0].to_ascii_uppercase().into());
            text.push_str(&word[1..]);
        } else {
            text.push(' ');
            text.push_str(word);
        }
        left_in_sentence -= 1;
        if left_in_sentence == 0 || n + 1 == count {
            text.push('.');
        }
    }
    text
}

/// The text of words that were heard.
fn text_of(words: &[HeardWord]) -> String {
    let mut text = String::with_capacity(words.len() * 8);
    for word in words {
        text.push_str(&word.word);
        text.push_str(if word.glued { "" } else { " " });
    }
    text.truncate(text.trim_end().len());
    text
}

/// Words at the times at which they were heard. Each voice is a speaker.
fn timed(words: &[HeardWord], mut seed: u64, diarize: bool) -> Vec<Word<'_>> {
    let mut voices = Vec::new();
    let mut timed = Vec::with_capacity(words.len());
    for HeardWord { word, start, end, band, .. } in words {
        let speaker = voices.iter().position(|voice| voice == band).unwrap_or(voices.len());
        if speaker == voices.len() {
            voices.push(*band);
        }
        seed = mix(seed);
        timed.push(Word {
            start: rounded(*start),
            end: rounded(*end),
            speaker: diarize.then_some(speaker as u32),
            speaker_confidence: diarize.then_some(1.0),
            word,
            confidence: rounded(0.8 + (seed % 200) as f64 / 1000.0),
        });
    }
    timed
}

/// Words spread over `seconds`: time by their length, and a pause after each sentence. Two speakers take turns.
fn spread(text: &str, seconds: f64, mut seed: u64, diarize: bool) -> Vec<Word<'_>> {
    const PAUSE: usize = 6;
    let weight = |word: &str| word.len() + 2;
    let pause = |word: &str| if ends_sentence(word) { PAUSE } else { 0 };
    let total: usize = text.split_whitespace().map(|w| weight(w) + pause(w)).sum();
    let unit = seconds / total.max(1) as f64;
    let (mut at, mut speaker) = (0, 0);
    text.split_whitespace()
        .map(|word| {
            let start = at;
            let end = start + weight(word);
            at = end + pause(word);
            seed = mix(seed);
            let spoken = Word {
                start: rounded(start as f64 * unit),
                end: rounded(end as f64 * unit),
                speaker: diarize.then_some(speaker),
                speaker_confidence: diarize.then_some(1.0),
                word,
                confidence: rounded(0.8 + (seed % 200) as f64 / 1000.0),
            };
            speaker = if ends_sentence(word) { 1 - speaker } else { speaker };
            spoken
        })
        .collect()
}

fn late(mut words: Vec<Word<'_>>, by_ms: u64) -> Vec<Word<'_>> {
    let by = by_ms as f64 / 1000.0;
    for word in &mut words {
        (word.start, word.end) = (rounded(word.start + by), rounded(word.end + by));
    }
    words
}

fn utterances(words: &[Word<'_>]) -> Vec<Utterance> {
    words
        .chunk_by(|word, next| !ends_sentence(word.word) && word.speaker == next.speaker)
        .filter_map(|sentence| {
            let (first, last) = (sentence.first()?, sentence.last()?);
            let text = sentence.iter().map(|w| w.word).collect::<Vec<_>>().join(" ");
            Some(Utterance { start: first.start, end: last.end, speaker: first.speaker, text })
        })
        .collect()
}

fn ends_sentence(word: &str) -> bool {
    word.ends_with(['.', '?', '!'])
}

/// Numbers become the API's kind of tokens: long ones cards or accounts (`pci`), others phone numbers (`pii`).
fn redact(text: &str, pii: bool, pci: bool) -> String {
    let (mut phones, mut accounts) = (0, 0);
    let word = |word: &str| {
        let digits = word.chars().filter(char::is_ascii_digit).count();
        let tail = word.len() - word.trim_end_matches(|c: char| c.is_ascii_punctuation()).len();
        let tail = &word[word.len() - tail..];
        match digits {
            12.. if pci => {
                accounts += 1;
                format!("[ACCOUNTNUMBER_{accounts}]{tail}")
            }
            5.. if pii => {
                phones += 1;
                format!("[PHONENUMBER_{phones}]{tail}")
            }
            _ => word.to_owned(),
        }
    };
    text.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(ms: u64) -> ReceivedRecording {
        ReceivedRecording {
            digest: [9; 32],
            content_bytes: 1,
            bytes: 1,
            ms,
            comment: None,
            words: Vec::new(),
            filename: None,
        }
    }

    #[test]
    fn invented_speech_is_as_long_as_the_recording_and_always_the_same() {
        let long = invent(&heard(60_000));
        assert_eq!(long.split_whitespace().count(), 140);
        assert_eq!(long, invent(&heard(60_000)));
        assert!(long.ends_with('.'));
    }

    #[test]
    fn words_cover_the_length_in_order() {
        let words = spread("One two. Three, four?", 8.0, 1, true);
        assert_eq!((words[0].start, words[3].end < 8.0), (0.0, true));
        assert!(words.windows(2).all(|w| w[0].end <= w[1].start && w[0].start < w[0].end));
        assert!(words[1].end + 1.0 < words[2].start, "a pause after a sentence");
        assert_eq!(words.iter().map(|w| w.speaker).collect::<Vec<_>>(), [Some(0), Some(0), Some(1), Some(1)]);
        assert_eq!(utterances(&words)[1].text, "Three, four?");
        assert!(spread("", 8.0, 1, true).is_empty());
    }

    #[test]
    fn numbers_are_redacted_as_tokens() {
        let text = "Call 5550100, card 4111111111111111. Room 12.";
        assert_eq!(redact(text, true, true), "Call [PHONENUMBER_1], card [ACCOUNTNUMBER_1]. Room 12.");
        assert_eq!(redact(text, false, true), "Call 5550100, card [ACCOUNTNUMBER_1]. Room 12.");
    }
}
