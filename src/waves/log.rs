//! The vendor's own log of transcriptions: the one witness for a call whose outcome is unknown.

use std::{fmt, time::Duration};

use reqwest::header::AUTHORIZATION;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::Number;

use super::{
    answer::{Ending, MAX_ANSWER, Reply},
    client::Client,
    errors::Said,
};
use crate::{
    domain::{
        body::{Body, Reader},
        call::{ErrorKind, LogEntry, LogError, LogFlags},
        lenient::{Take, take},
    },
    large::look_into,
};

const TIMEOUT: Duration = Duration::from_secs(60);
/// The most that a page may list.
const MAX_ENTRIES: usize = 10_000;

impl Client {
    /// One page of the log, newest entry first; pages count from 1 and hold at most 100 entries.
    ///
    /// # Errors
    /// [`LogError::Absent`] where there is no log for this key, [`LogError::Unasked`] where this machine cannot ask,
    /// [`LogError::Unreachable`] for everything else. An entry that cannot be read fails its page: leaving it out could
    /// make another one look unique.
    pub async fn stt_log(&self, page: u32, page_size: u32) -> Result<Vec<LogEntry>, LogError> {
        let request = self
            .http
            .get(self.endpoint("/waves/v1/analytics/asr/logs"))
            .query(&[("page", page), ("pageSize", page_size)])
            .header(AUTHORIZATION, self.bearer.clone());
        match self.exchange(request, MAX_ANSWER, TIMEOUT).await {
            Ok(reply) => look_into(reply.body.len(), move || entries(&reply)).await,
            Err(trouble) if trouble.kind == ErrorKind::LocalOutage => Err(LogError::Unasked(trouble.message)),
            Err(trouble) => Err(LogError::Unreachable(trouble.message)),
        }
    }
}

fn entries(reply: &Reply) -> Result<Vec<LogEntry>, LogError> {
    let status = reply.status.as_u16();
    if status != 200 {
        let words = Said::read(reply.explanation()).words.map(|words| format!(": {words}")).unwrap_or_default();
        let why = format!("{status}{words}");
        return Err(if matches!(status, 401 | 403 | 404) { LogError::Absent(why) } else { LogError::Unreachable(why) });
    }
    match reply.ending {
        Ending::Complete => {}
        Ending::TooLong => return Err(LogError::Unreachable("a page of more than 64 MB".into())),
        Ending::Cut | Ending::TimedOut => return Err(LogError::Unreachable("half an answer".into())),
    }
    let page: serde_json::Result<Page> = match reply.body.reader() {
        Reader::Whole(bytes) => serde_json::from_slice(bytes),
        Reader::Packed(packed) => serde_json::from_reader(packed),
    };
    let page = page.map_err(|error| LogError::Unreachable(format!("an answer that is not a log: {error}")))?;
    Ok(page.data)
}

#[derive(Deserialize)]
struct Page {
    #[serde(deserialize_with = "some")]
    data: Vec<LogEntry>,
}

/// The entries of a page, of which nobody sends thousands.
fn some<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<LogEntry>, D::Error> {
    struct Entries;

    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<LogEntry>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of entries")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = list.next_element::<Entry>()? {
                if entries.len() == MAX_ENTRIES {
                    return Err(A::Error::custom(format!("more than {MAX_ENTRIES} entries on a page")));
                }
                entries.push(entry.into());
            }
            Ok(entries)
        }
    }

    list.deserialize_seq(Entries)
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default, deserialize_with = "text")]
    request_id: String,
    #[serde(default, deserialize_with = "text")]
    model: String,
    #[serde(default, deserialize_with = "text")]
    language: String,
    #[serde(default, deserialize_with = "number")]
    duration: Option<f64>,
    #[serde(default, deserialize_with = "number")]
    file_size: Option<f64>,
    #[serde(default = "no_words", deserialize_with = "packed")]
    transcription: Body,
    #[serde(default, deserialize_with = "flag")]
    word_timestamps: bool,
    #[serde(default, deserialize_with = "flag")]
    diarize: bool,
    #[serde(default, deserialize_with = "flag")]
    redact_pii: bool,
    #[serde(default, deserialize_with = "flag")]
    redact_pci: bool,
    #[serde(default, deserialize_with = "flag")]
    emotion_detection: bool,
    #[serde(default, deserialize_with = "flag")]
    gender_detection: bool,
    #[serde(default, deserialize_with = "text")]
    webhook_url: String,
}

impl From<Entry> for LogEntry {
    fn from(entry: Entry) -> Self {
        Self {
            request_id: entry.request_id,
            model: entry.model,
            language: entry.language,
            duration_s: entry.duration.filter(|seconds| seconds.is_finite() && *seconds >= 0.0),
            bytes: entry.file_size.and_then(whole),
            transcription: entry.transcription,
            flags: LogFlags {
                word_timestamps: entry.word_timestamps,
                diarize: entry.diarize,
                redact_pii: entry.redact_pii,
                redact_pci: entry.redact_pci,
                emotion_detection: entry.emotion_detection,
                gender_detection: entry.gender_detection,
            },
            webhook_url: Some(entry.webhook_url).filter(|url| !url.is_empty()),
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked: whole, positive, and below 2^53")]
fn whole(bytes: f64) -> Option<u64> {
    (bytes.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&bytes)).then_some(bytes as u64)
}

/// A text, or a number as one.
#[derive(Default)]
struct Text(String);

impl Take for Text {
    fn text(&mut self, text: &str) {
        text.clone_into(&mut self.0);
    }

    fn number(&mut self, number: &Number) {
        self.0 = number.to_string();
    }

    fn other(&mut self) {}
}

fn text<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    take(value).map(|Text(text)| text)
}

/// The same, packed as it is read.
struct Packed(Body);

impl Default for Packed {
    fn default() -> Self {
        Self(no_words())
    }
}

impl Take for Packed {
    fn text(&mut self, text: &str) {
        self.0 = text.into();
    }

    fn number(&mut self, number: &Number) {
        self.0 = number.to_string().into();
    }

    fn other(&mut self) {}
}

fn packed<'de, D: Deserializer<'de>>(value: D) -> Result<Body, D::Error> {
    take(value).map(|Packed(text)| text)
}

fn no_words() -> Body {
    "".into()
}

/// A number, or a text that is one.
#[derive(Default)]
struct Quantity(Option<f64>);

impl Take for Quantity {
    fn text(&mut self, text: &str) {
        self.0 = text.trim().parse().ok();
    }

    fn number(&mut self, number: &Number) {
        self.0 = number.as_f64();
    }

    fn other(&mut self) {}
}

fn number<'de, D: Deserializer<'de>>(value: D) -> Result<Option<f64>, D::Error> {
    take(value).map(|Quantity(number)| number)
}

#[derive(Default)]
struct Flag(bool);

impl Take for Flag {
    fn text(&mut self, text: &str) {
        self.0 = matches!(text.trim().to_ascii_lowercase().as_str(), "true" | "1" | "yes");
    }

    fn number(&mut self, number: &Number) {
        self.0 = number.as_f64() != Some(0.0);
    }

    fn flag(&mut self, on: bool) {
        self.0 = on;
    }

    fn other(&mut self) {}
}

fn flag<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    take(value).map(|Flag(on)| on)
}
