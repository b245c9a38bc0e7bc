//! The vendor's own log of transcriptions: the one witness for a call whose outcome is unknown.

use std::time::Duration;

use reqwest::header::AUTHORIZATION;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{
    answer::{Ending, Reply},
    client::Client,
    errors::Said,
};
use crate::domain::call::{LogEntry, LogError, LogFlags};

const TIMEOUT: Duration = Duration::from_secs(60);

impl Client {
    /// One page of the log, newest entry first; pages count from 1 and hold at most 100 entries.
    ///
    /// # Errors
    /// [`LogError::Absent`] where there is no log for this key, [`LogError::Unreachable`] for everything else. An
    /// entry that cannot be read fails its page: leaving it out could make another one look unique.
    pub async fn stt_log(&self, page: u32, page_size: u32) -> Result<Vec<LogEntry>, LogError> {
        let request = self
            .http
            .get(self.endpoint("/waves/v1/analytics/asr/logs"))
            .query(&[("page", page), ("pageSize", page_size)])
            .header(AUTHORIZATION, self.bearer.clone());
        match self.exchange(request, TIMEOUT).await {
            Ok(reply) => entries(&reply),
            Err(trouble) => Err(LogError::Unreachable(trouble.message)),
        }
    }
}

fn entries(reply: &Reply) -> Result<Vec<LogEntry>, LogError> {
    let status = reply.status.as_u16();
    if status != 200 {
        let words = Said::read(&reply.body).words.map(|words| format!(": {words}")).unwrap_or_default();
        let why = format!("{status}{words}");
        return Err(if matches!(status, 401 | 403 | 404) { LogError::Absent(why) } else { LogError::Unreachable(why) });
    }
    if reply.ending != Ending::Complete {
        return Err(LogError::Unreachable("half an answer".into()));
    }
    let page: Page = serde_json::from_slice(&reply.body)
        .map_err(|error| LogError::Unreachable(format!("an answer that is not a log: {error}")))?;
    Ok(page.data.into_iter().map(LogEntry::from).collect())
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Entry>,
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
    #[serde(default, deserialize_with = "text")]
    transcription: String,
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

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    })
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Bool(on) => on,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => matches!(text.trim().to_ascii_lowercase().as_str(), "true" | "1" | "yes"),
        _ => false,
    })
}
