//! The vendor's log of transcriptions: every billed call, newest first, also those whose answer never arrived.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime},
};

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    HandlerState,
    errors::{Refusal, check_key},
    faults::{FaultStage, Subject, What},
    stt_request::SttRequest,
};

/// One billed call.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub asked: SttRequest,
    pub request_id: String,
    pub at: SystemTime,
    pub ms: u64,
    pub bytes: Option<u64>,
    pub transcription: String,
    pub gender: Option<&'static str>,
    /// The log shows it from then on.
    pub shown_at: Instant,
}

impl Entry {
    fn to_json(&self) -> Value {
        let flags = &self.asked.flags;
        json!({
            "request_id": self.request_id,
            "timestamp": stamp(self.at),
            "request_type": "rest",
            "model": self.asked.model,
            "language": self.asked.language,
            "duration": self.ms as f64 / 1000.0,
            "file_size": self.bytes.map(|bytes| bytes.to_string()),
            "transcription": self.transcription,
            "word_timestamps": flags.word_timestamps,
            "diarize": flags.diarize,
            "redact_pii": flags.redact_pii,
            "redact_pci": flags.redact_pci,
            "numerals": "auto",
            "keywords": self.asked.keywords,
            "emotion_detection": flags.emotion_detection,
            "gender_detection": flags.gender_detection,
            "emotions": if flags.emotion_detection { "neutral" } else { "" },
            "gender": self.gender.unwrap_or_default(),
            "webhook_url": self.asked.hook.as_ref().map_or("", |hook| hook.url.as_str()),
        })
    }
}

/// The log as it is kept: the last so many entries.
#[derive(Debug)]
pub(super) struct Logs {
    keep: usize,
    entries: Mutex<VecDeque<Entry>>,
}

impl Logs {
    pub(super) fn new(keep: usize) -> Self {
        Self { keep, entries: Mutex::default() }
    }

    pub(super) fn push(&self, entry: Entry) {
        self.with(|entries| {
            entries.push_front(entry);
            entries.truncate(self.keep);
        });
    }

    pub(super) fn reset(&self) {
        self.with(VecDeque::clear);
    }

    /// Removes an entry, if it is there.
    fn remove(&self, request_id: &str) {
        self.with(|entries| entries.retain(|entry| entry.request_id != request_id));
    }

    /// A page, and how many entries there are.
    fn page(&self, page: Page, filter: &Filter) -> (Vec<Value>, usize) {
        let now = Instant::now();
        self.with(|entries| {
            let shown = || entries.iter().filter(|e| e.shown_at <= now && filter.takes(e));
            let listed = page.of(shown()).map(Entry::to_json).collect();
            (listed, shown().count())
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut VecDeque<Entry>) -> T) -> T {
        f(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// `GET /waves/v1/analytics/asr/logs`
pub(super) async fn list(
    State(state): State<Arc<HandlerState>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    open(&state, &headers)?;
    let filter = Filter::parse(query.as_deref().unwrap_or_default())?;
    let page = Page::parse(query)?;
    let (data, total) = state.logs.page(page, &filter);
    Ok(page.answer(&data, total))
}

/// `DELETE /waves/v1/analytics/asr/history/{request_id}`: an entry that is not there is removed, too.
pub(super) async fn remove(
    State(state): State<Arc<HandlerState>>,
    Path(request_id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let number = state.books.removal_called();
    check_key(headers.get("authorization"), state.config.key.as_deref())?;
    match state.faults.pick(FaultStage::Removal, Subject { number, ..Subject::default() }) {
        Some(What::RemovalRefused) => return Err(Refusal::stt(403, "this entry may not be removed", "")),
        Some(_) => return Err(Refusal::stt(503, "the history is not available", "")),
        None => state.logs.remove(&request_id),
    }
    Ok(Json(json!({"status": "success"})).into_response())
}

/// Counts a call of a log; refused without a good key, or where a script says so.
pub(super) fn open(state: &HandlerState, headers: &HeaderMap) -> Result<(), Refusal> {
    let number = state.books.log_called();
    check_key(headers.get("authorization"), state.config.key.as_deref())?;
    match state.faults.pick(FaultStage::Logs, Subject { number, ..Subject::default() }) {
        Some(What::LogsAbsent) => Err(Refusal::stt(404, "there is no log here", "")),
        Some(_) => Err(Refusal::stt(503, "the log is not available", "")),
        None => Ok(()),
    }
}

/// Time as the logs write it.
pub(super) fn stamp(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// What entries of the log of transcriptions have to be.
#[derive(Debug, Default)]
struct Filter {
    text: Option<String>,
    language: Option<String>,
    model: Option<String>,
    /// In seconds.
    duration: (Option<f64>, Option<f64>),
    /// In seconds since 1970.
    at: (Option<f64>, Option<f64>),
}

impl Filter {
    fn parse(query: &str) -> Result<Self, Refusal> {
        let mut filter = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let number = match name.as_ref() {
                "text" => {
                    filter.text = Some(value.to_lowercase());
                    continue;
                }
                "language" => {
                    filter.language = Some(value.into_owned());
                    continue;
                }
                "model" => {
                    filter.model = Some(value.into_owned());
                    continue;
                }
                "durationMin" => &mut filter.duration.0,
                "durationMax" => &mut filter.duration.1,
                "timestampFrom" => &mut filter.at.0,
                "timestampTo" => &mut filter.at.1,
                _ => continue,
            };
            let said = value.parse().map_err(|_| {
                Refusal::older("invalid query", &json!([{"path": [name], "message": "must be a number"}]))
            });
            *number = Some(said?);
        }
        Ok(filter)
    }

    fn takes(&self, entry: &Entry) -> bool {
        let within = |value: f64, (from, to): (Option<f64>, Option<f64>)| {
            from.is_none_or(|from| value >= from) && to.is_none_or(|to| value <= to)
        };
        let at = entry.at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
        is(&self.model, entry.asked.model.as_str())
            && is(&self.language, entry.asked.language.as_str())
            && self.text.as_ref().is_none_or(|text| entry.transcription.to_lowercase().contains(text))
            && within(entry.ms as f64 / 1000.0, self.duration)
            && within(at as f64, self.at)
    }
}

/// Which entries of a log are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    number: usize,
    size: usize,
}

impl Page {
    pub(super) fn parse(query: Option<String>) -> Result<Self, Refusal> {
        let query = query.unwrap_or_default();
        let number = number_of(&query, "page", 1, usize::MAX)?;
        Ok(Self { number, size: number_of(&query, "pageSize", 50, 50)? })
    }

    /// Those of this page.
    pub(super) fn of<T>(self, entries: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
        entries.skip((self.number - 1).saturating_mul(self.size)).take(self.size)
    }

    pub(super) fn answer(self, data: &[Value], total: usize) -> Response {
        let body = json!({
            "status": "success",
            "data": data,
            "page": self.number,
            "pageSize": self.size,
            "totalCount": total,
            "totalPages": total.div_ceil(self.size),
        });
        Json(body).into_response()
    }
}

fn number_of(query: &str, name: &str, default: usize, most: usize) -> Result<usize, Refusal> {
    let sent = url::form_urlencoded::parse(query.as_bytes()).find(|(n, _)| n == name);
    let Some((_, value)) = sent else { return Ok(default) };
    let number = value.parse().ok().filter(|n| (1..=most).contains(n));
    number.ok_or_else(|| Refusal::older("invalid query", &json!([{"path": [name], "message": "out of range"}])))
}
