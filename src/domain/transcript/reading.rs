//! Reads an answer of the API leniently in one pass, and keeps only the requested details.

use std::{io::Read as _, ops::Range};

use serde::de::{DeserializeSeed as _, Error as _, MapAccess, SeqAccess};
use serde_json::{Number, value::RawValue};

use super::{Timeline, Transcript};
use crate::domain::{
    body::Reader,
    lenient::{Fill, Key, Past, Take, read},
};

/// Times beyond this (some three years) are invalid.
const LONGEST_MS: f64 = 1e11;
/// How much of a name's text is kept, in bytes.
const LONGEST_NAME: usize = 4 << 10;

const FIELDS: &[&str] = &["status", "transcription", "words", "utterances", "metadata", "language", "request_id"];
/// The fields that can hold the text of a word or an utterance, the preferred one first.
const WORD: [&str; 2] = ["word", "text"];
const UTTERANCE: [&str; 2] = ["text", "transcript"];

/// Which details of an answer are kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerDetail {
    /// The details that the ledger records: neither text nor words.
    Facts,
    /// The text as well.
    Text,
    /// The whole transcript.
    All,
}

/// The value of a field that should hold a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TextField {
    /// The field is absent.
    #[default]
    Absent,
    /// The value is `null`.
    Null,
    /// A text, or the beginning of a very long one.
    Text(String),
    /// Something else.
    Other,
}

/// An answer that was read. If a field occurs twice, the last one counts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AnswerReading {
    /// The value of `status`.
    pub status: TextField,
    /// Whether `transcription` holds a text: `None` without the field, `Some(false)` if it holds something else.
    pub transcription: Option<bool>,
    /// The requested details.
    pub transcript: Transcript,
}

impl AnswerReading {
    /// Reads a body. A value other than an object has no fields.
    ///
    /// # Errors
    /// The body is not JSON, or its stored bytes are damaged.
    pub fn of(body: Reader<'_>, want: AnswerDetail) -> serde_json::Result<Self> {
        let mut reading = Self::default();
        let is_large = matches!(body, Reader::Packed(_));
        read(body, Fill(&mut Top { want, is_large, into: &mut reading }))?;
        Ok(reading)
    }
}

/// The answer itself.
struct Top<'r> {
    want: AnswerDetail,
    is_large: bool,
    into: &'r mut AnswerReading,
}

impl Take for Top<'_> {
    fn object<'de, A: MapAccess<'de>>(&mut self, mut fields: A) -> Result<(), A::Error> {
        let AnswerReading { status, transcription, transcript } = &mut *self.into;
        while let Some(name) = fields.next_key_seed(Key(FIELDS))? {
            match name.map(|at| FIELDS[at]) {
                Some("status") => fields.next_value_seed(Fill(status))?,
                Some("transcription") if self.is_large && self.want != AnswerDetail::Facts => {
                    let text = long_text(fields.next_value()?).map_err(A::Error::custom)?;
                    *transcription = Some(text.is_some());
                    transcript.text = text.unwrap_or_default();
                }
                Some("transcription") => {
                    let mut text =
                        Text { into: &mut transcript.text, wanted: self.want != AnswerDetail::Facts, is_there: false };
                    fields.next_value_seed(Fill(&mut text))?;
                    *transcription = Some(text.is_there);
                }
                Some("words") if self.want == AnswerDetail::All => {
                    fields.next_value_seed(Fill(&mut Entries { names: WORD, into: &mut transcript.words }))?;
                }
                Some("utterances") if self.want == AnswerDetail::All => {
                    fields
                        .next_value_seed(Fill(&mut Entries { names: UTTERANCE, into: &mut transcript.utterances }))?;
                }
                Some("metadata") => fields.next_value_seed(Fill(&mut Metadata(&mut transcript.duration_ms)))?,
                Some("language") => fields.next_value_seed(Fill(&mut Name(&mut transcript.language)))?,
                Some("request_id") => fields.next_value_seed(Fill(&mut Name(&mut transcript.request_id)))?,
                _ => fields.next_value_seed(Past)?,
            }
        }
        Ok(())
    }

    fn other(&mut self) {}
}

impl Take for TextField {
    fn text(&mut self, text: &str) {
        *self = Self::Text(beginning(text).to_owned());
    }

    fn null(&mut self) {
        *self = Self::Null;
    }

    fn other(&mut self) {
        *self = Self::Other;
    }
}

/// The text of the answer.
struct Text<'t> {
    into: &'t mut String,
    wanted: bool,
    is_there: bool,
}

impl Take for Text<'_> {
    fn text(&mut self, text: &str) {
        self.is_there = true;
        self.into.clear();
        if self.wanted {
            self.into.push_str(text);
        }
    }

    fn other(&mut self) {
        self.into.clear();
    }
}

/// The text of a value, if the value is a text. A stream reader would keep the text twice, in a buffer and in its place. The
/// raw value is kept once and unescaped in place, because no text is longer than its escaped form.
fn long_text(value: Box<RawValue>) -> serde_json::Result<Option<String>> {
    if !value.get().starts_with('"') {
        // A value other than a text is still unchecked: the list puts it as deep as it was in the answer.
        let list = b"[".chain(value.get().as_bytes()).chain(&b"]"[..]);
        let mut json = serde_json::Deserializer::from_reader(list);
        Past.deserialize(&mut json)?;
        return Ok(None);
    }
    let mut text = Box::<str>::from(value).into_string().into_bytes();
    text.pop();
    text.remove(0);
    unescape(&mut text)?;
    String::from_utf8(text).map(Some).map_err(serde_json::Error::custom)
}

/// Replaces the escapes of a JSON text by the characters that they represent.
fn unescape(text: &mut Vec<u8>) -> serde_json::Result<()> {
    let (mut read, mut written) = (0, 0);
    while read < text.len() {
        let plain = text[read..].iter().position(|byte| *byte == b'\\').unwrap_or(text.len() - read);
        text.copy_within(read..read + plain, written);
        (read, written) = (read + plain, written + plain);
        if read < text.len() {
            let escape = &text[read..text.len().min(read + escape_len(&text[read..]))];
            read += escape.len();
            let stands_for: String = serde_json::from_slice(&[b"\"", escape, b"\""].concat())?;
            text[written..written + stands_for.len()].copy_from_slice(stands_for.as_bytes());
            written += stands_for.len();
        }
    }
    text.truncate(written);
    Ok(())
}

/// The length of the escape at the start of a text. Characters above U+FFFF have a pair of escapes.
const fn escape_len(text: &[u8]) -> usize {
    match text {
        [_, b'u', b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', ..] => 12,
        [_, b'u', ..] => 6,
        _ => 2,
    }
}

/// A name, if the value is a text.
struct Name<'n>(&'n mut Option<String>);

impl Take for Name<'_> {
    fn text(&mut self, text: &str) {
        *self.0 = Some(beginning(text).to_owned()).filter(|name| !name.is_empty());
    }

    fn other(&mut self) {
        *self.0 = None;
    }
}

/// The length of the audio, from the only useful field of `metadata`.
struct Metadata<'m>(&'m mut Option<u64>);

impl Take for Metadata<'_> {
    fn object<'de, A: MapAccess<'de>>(&mut self, mut fields: A) -> Result<(), A::Error> {
        let mut duration = Millis(None);
        while let Some(name) = fields.next_key_seed(Key(&["duration"]))? {
            match name {
                Some(_) => fields.next_value_seed(Fill(&mut duration))?,
                None => fields.next_value_seed(Past)?,
            }
        }
        *self.0 = duration.0;
        Ok(())
    }

    fn other(&mut self) {
        *self.0 = None;
    }
}

/// Seconds, given as a number or a numeric text, in ms.
#[derive(Default)]
struct Millis(Option<u64>);

impl Take for Millis {
    fn text(&mut self, text: &str) {
        self.0 = text.trim().parse().ok().and_then(to_millis);
    }

    fn number(&mut self, number: &Number) {
        self.0 = number.as_f64().and_then(to_millis);
    }

    fn other(&mut self) {
        self.0 = None;
    }
}

/// A speaker: an integer on the wire today, `"speaker_0"` in older samples.
#[derive(Default)]
struct Speaker(Option<u32>);

impl Take for Speaker {
    fn text(&mut self, text: &str) {
        self.0 = text.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok();
    }

    fn number(&mut self, number: &Number) {
        self.0 = number.as_f64().and_then(to_u32);
    }

    fn other(&mut self) {
        self.0 = None;
    }
}

/// Words or utterances. An entry without a time of its own follows the previous one. If no entry has a time, the list is
/// useless.
struct Entries<'l> {
    /// The fields that hold an entry's text.
    names: [&'static str; 2],
    into: &'l mut Timeline,
}

impl Take for Entries<'_> {
    fn list<'de, A: SeqAccess<'de>>(&mut self, mut list: A) -> Result<(), A::Error> {
        self.into.clear();
        let mut so_far = SoFar::default();
        while list
            .next_element_seed(Fill(&mut Entry { names: self.names, so_far: &mut so_far, into: self.into }))?
            .is_some()
        {}
        if so_far.any_time {
            self.into.sort()
        } else {
            self.into.clear()
        }
        Ok(())
    }

    fn other(&mut self) {
        self.into.clear();
    }
}

/// The state that earlier entries leave for the next one.
#[derive(Default)]
struct SoFar {
    any_time: bool,
    last_ms: u64,
}

struct Entry<'l> {
    names: [&'static str; 2],
    so_far: &'l mut SoFar,
    into: &'l mut Timeline,
}

impl Take for Entry<'_> {
    fn object<'de, A: MapAccess<'de>>(&mut self, mut fields: A) -> Result<(), A::Error> {
        let [first, second] = self.names;
        let known = ["start", "end", "speaker", first, second];
        let (mut start, mut end, mut speaker) = (Millis::default(), Millis::default(), Speaker::default());
        let mut texts = [None, None];
        let begin = self.into.tail().len();
        while let Some(name) = fields.next_key_seed(Key(&known))? {
            match name {
                Some(0) => fields.next_value_seed(Fill(&mut start))?,
                Some(1) => fields.next_value_seed(Fill(&mut end))?,
                Some(2) => fields.next_value_seed(Fill(&mut speaker))?,
                Some(at) => {
                    let mut tail = Tail { tail: self.into.tail(), range: None };
                    fields.next_value_seed(Fill(&mut tail))?;
                    texts[at - 3] = tail.range;
                }
                None => fields.next_value_seed(Past)?,
            }
        }
        let tail = self.into.tail();
        let [first, second] = texts;
        match first.or(second).filter(|range| !tail[range.clone()].trim().is_empty()) {
            None => tail.truncate(begin),
            Some(range) => {
                tail.truncate(range.end);
                tail.drain(begin..range.start);
                let (start, end) = (start.0, end.0);
                self.so_far.any_time |= start.is_some() || end.is_some();
                let last_ms = self.so_far.last_ms;
                let start_ms = start.unwrap_or_else(|| end.map_or(last_ms, |end| end.min(last_ms)));
                let end_ms = end.unwrap_or(start_ms).max(start_ms);
                self.so_far.last_ms = end_ms;
                self.into.push_tail(begin, start_ms, end_ms, speaker.0);
            }
        }
        Ok(())
    }

    fn other(&mut self) {}
}

/// A text that may become an entry's. It is appended where it stays if it does.
struct Tail<'t> {
    tail: &'t mut String,
    range: Option<Range<usize>>,
}

impl Take for Tail<'_> {
    fn text(&mut self, text: &str) {
        let at = self.tail.len();
        self.tail.push_str(text);
        self.range = Some(at..self.tail.len());
    }

    fn other(&mut self) {
        self.range = None;
    }
}

fn to_u32(number: f64) -> Option<u32> {
    (0.0..=f64::from(u32::MAX - 1)).contains(&number).then_some(number as u32)
}

pub(super) fn to_millis(seconds: f64) -> Option<u64> {
    let millis = (seconds * 1_000.0).round();
    (millis.is_finite() && millis <= LONGEST_MS).then_some(millis.max(0.0) as u64)
}

/// The beginning of a text, at most as long as a name may be.
fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_NAME)]
}
