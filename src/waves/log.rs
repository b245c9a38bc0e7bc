//! The vendor's own log of transcriptions: the only evidence for a call whose outcome is unknown.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use reqwest::header::AUTHORIZATION;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Number, Value};

use super::{
    answer::{Ending, HttpReply, MAX_ANSWER},
    client::Client,
    errors::Said,
};
use crate::{
    domain::{
        body::{Body, Reader},
        call::{ErrorKind, LogEntry, LogError, LogFilter, LogFlags, LogPage},
        lenient::{Take, take},
    },
    large::look_into,
};

const TIMEOUT: Duration = Duration::from_secs(60);
/// The most emotions that are read of an entry.
const MOST_EMOTIONS: usize = 64;
/// The most entries that a page may have.
const MAX_ENTRIES: usize = 10_000;

impl Client {
    /// One page of the log, newest entry first; pages count from 1 and hold at most 50 entries. [`LogPage::pages`] says whether
    /// there are more pages; the number of entries does not.
    ///
    /// # Errors
    /// [`LogError::Absent`] where there is no log for this key, [`LogError::Unasked`] where this machine cannot ask,
    /// [`LogError::Unreachable`] for everything else. An entry that cannot be read fails its page: leaving it out could
    /// make another one look unique.
    pub async fn stt_log(&self, page: u32, page_size: u32, filter: LogFilter<'_>) -> Result<LogPage, LogError> {
        let request = self
            .http
            .get(self.endpoint("/waves/v1/analytics/asr/logs"))
            .query(&[("page", page), ("pageSize", page_size)])
            .query(filter.model.map(|model| ("model", model)).as_slice())
            .query(filter.from.map(|from| ("timestampFrom", from)).as_slice())
            .header(AUTHORIZATION, self.bearer.clone());
        match self.exchange(request, MAX_ANSWER, TIMEOUT).await {
            Ok(reply) => look_into(reply.body.len(), move || entries(&reply)).await,
            Err(failure) if failure.kind == ErrorKind::LocalOutage => Err(LogError::Unasked(failure.message)),
            Err(failure) => Err(LogError::Unreachable(failure.message)),
        }
    }
}

fn entries(reply: &HttpReply) -> Result<LogPage, LogError> {
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
    let pages = page.total_pages.filter(|pages| *pages >= 0.0).and_then(whole);
    Ok(LogPage { entries: page.data, pages: pages.and_then(|pages| u32::try_from(pages).ok()) })
}

#[derive(Deserialize)]
struct Page {
    #[serde(deserialize_with = "some")]
    data: Vec<LogEntry>,
    #[serde(default, rename = "totalPages", deserialize_with = "number")]
    total_pages: Option<f64>,
}

/// The entries of a page, up to a limit that no real page reaches.
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
    timestamp: String,
    #[serde(default, deserialize_with = "text")]
    request_type: String,
    #[serde(default, deserialize_with = "text")]
    keywords: String,
    #[serde(default, deserialize_with = "json_or_text")]
    emotions: String,
    #[serde(default, deserialize_with = "text")]
    gender: String,
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
            logged_at: logged_at(&entry.timestamp),
            is_socket: entry.request_type.eq_ignore_ascii_case("ws"),
            keywords: entry.keywords,
            emotions: Some(entry.emotions).filter(|said| !said.trim().is_empty()),
            gender: Some(entry.gender).filter(|said| !said.trim().is_empty()),
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

/// The log's own time in seconds since 1970, as if it were UTC: `2026-08-07 08:17:25`, or with a `T`, or with its zone.
fn logged_at(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment.as_second());
    }
    let civil: DateTime = text.parse().ok()?;
    civil.to_zoned(TimeZone::UTC).ok().map(|moment| moment.timestamp().as_second())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked: whole, positive, and below 2^53")]
fn whole(bytes: f64) -> Option<u64> {
    (bytes.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&bytes)).then_some(bytes as u64)
}

/// A text, or a number converted to one.
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

/// A text, or the JSON of an object.
#[derive(Default)]
struct Written(String);

impl Take for Written {
    fn text(&mut self, text: &str) {
        text.clone_into(&mut self.0);
    }

    fn object<'de, A: MapAccess<'de>>(&mut self, mut fields: A) -> Result<(), A::Error> {
        let mut all = BTreeMap::new();
        while let Some((name, value)) = fields.next_entry::<String, Value>()? {
            if all.len() < MOST_EMOTIONS && value.is_number() {
                all.insert(name, value);
            }
        }
        self.0 = if all.is_empty() { String::new() } else { serde_json::json!(all).to_string() };
        Ok(())
    }

    fn other(&mut self) {}
}

fn json_or_text<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    take(value).map(|Written(text)| text)
}

/// The same text, packed while it is read.
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

/// A number, or a text that contains one.
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
