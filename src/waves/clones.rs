//! Voices of an account's own: clones.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    answer::Ending,
    classify::FailedReply,
    client::Client,
    endpoint::{EndpointAnswer, outcome_of},
    gate::Departure,
    send::Content,
};
use crate::domain::{
    call::{CallFailure, ErrorKind, Outcome},
    options::listed,
    synthesis_options::TtsModel,
};

const PATH: &str = "/waves/v1/voice-cloning";
/// The most bytes that are read of the answer to a removal.
const MAX_ANSWER: u64 = 64 << 10;
const TIMEOUT: Duration = Duration::from_secs(60);

listed! {
    /// How far a clone is.
    CloneStatus, "status of a clone" {
        /// It waits to be made.
        Pending = "pending",
        /// It is being made.
        Processing = "processing",
        /// It speaks.
        Completed = "completed",
        /// It could not be made.
        Failed = "failed",
    }
}

impl CloneStatus {
    /// Whether it stays as it is.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// A clone, as the account has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountClone {
    /// The value of `voice_id`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How far it is; `None` if the account says something else.
    pub status: Option<CloneStatus>,
    /// The models that it speaks by; empty if the account does not say.
    pub models: Vec<TtsModel>,
    /// The language that it was made for.
    pub language: Option<String>,
    /// `instant` or `professional`.
    pub kind: Option<String>,
    /// Its accent.
    pub accent: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What it is, in words.
    pub description: Option<String>,
    /// When it was made, in the vendor's format.
    pub created_at: Option<String>,
}

/// What a clone is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloneCall {
    /// Its name.
    pub name: String,
    /// The fields beside the name and the sample, as the API calls them.
    pub fields: Vec<(&'static str, String)>,
    /// The file's name, as the API is told it.
    pub file_name: String,
    /// The media type, e.g. `audio/wav`.
    pub content_type: &'static str,
    /// The sample.
    pub sample: Bytes,
}

impl CloneCall {
    /// The body of the request, and its media type.
    fn body(&self) -> (Bytes, String) {
        let boundary = boundary(&self.sample);
        let mut body = Vec::with_capacity(self.sample.len() + 1_024);
        let plain = |text: &str| text.replace(['\r', '\n', '"'], " ");
        for (name, value) in [("displayName", &self.name)].into_iter().chain(self.fields.iter().map(|(n, v)| (*n, v))) {
            let head = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend_from_slice(head.as_bytes());
        }
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\nContent-Type: {}\r\n\r\n",
            plain(&self.file_name),
            self.content_type
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&self.sample);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        (body.into(), format!("multipart/form-data; boundary={boundary}"))
    }
}

/// A line that parts the fields of a body, and stands nowhere in the sample.
fn boundary(sample: &[u8]) -> String {
    let stands = |text: &str| sample.windows(text.len()).any(|window| window == text.as_bytes());
    let mut all = (0_u32..).map(|n| format!("wavebatch-part-{n}"));
    all.find(|text| !stands(text)).expect("a sample does not have all numbers")
}

impl Client {
    /// The account's clones.
    ///
    /// # Errors
    /// The API cannot be reached, refuses, or answers with something else.
    pub async fn clones(&self) -> Result<Vec<AccountClone>, CallFailure> {
        #[derive(Deserialize)]
        struct List {
            data: Vec<Value>,
        }
        let asked: Result<List, _> = self.ask(self.http.get(self.endpoint(PATH))).await;
        let list = asked.map_err(|failure| self.failure_with_path(failure, PATH))?;
        Ok(list.data.iter().filter_map(clone_of).collect())
    }

    /// Asks for a clone, and returns how the call ended, at the latest after `timeout`. An answer may have a clone that is not
    /// made yet.
    pub async fn create_clone(&self, call: &CloneCall, timeout: Duration) -> Outcome<AccountClone> {
        let (body, content_type) = call.body();
        let len = body.len() as u64;
        let request = self.http.post(self.endpoint(PATH)).header(CONTENT_TYPE, content_type);
        let content = (Content::Whole(Some(body)), len);
        let outcome = self.buy(request, content, || Departure::Go, Instant::now() + timeout, outcome_of).await;
        match self.with_path(outcome, PATH) {
            Outcome::Answered(answer) => read(answer),
            other => other.map(|_| unreachable!("only an answer has one")),
        }
    }

    /// Asks for the removal of a clone. Returns what the vendor says.
    ///
    /// # Errors
    /// The API cannot be reached, or refuses.
    pub async fn delete_clone(&self, id: &str) -> Result<Option<String>, CallFailure> {
        let question = self.http.delete(self.endpoint(PATH)).json(&json!({ "voiceId": id }));
        let reply = self.exchange(question.header(AUTHORIZATION, self.bearer.clone()), MAX_ANSWER, TIMEOUT).await?;
        if !reply.status.is_success() {
            let failure = FailedReply::of(&reply).failure();
            // No model is to blame here: what the vendor says is all.
            let said = failure.message.split_once("(410): ").map(|(_, said)| said.to_owned());
            return Err(CallFailure { message: said.unwrap_or(failure.message), ..failure });
        }
        let whole = matches!(reply.ending, Ending::Complete).then(|| reply.body.into_body());
        let said: Option<Value> = whole.and_then(|body| serde_json::from_slice(&body.whole().ok()?).ok());
        Ok(said.and_then(|said| said.get("message")?.as_str().map(str::to_owned)))
    }
}

fn read(answer: EndpointAnswer) -> Outcome<AccountClone> {
    let said: Option<Value> = answer.body.whole().ok().and_then(|body| serde_json::from_slice(&body).ok());
    let made = said.as_ref().and_then(|said| clone_of(said.get("data")?));
    match made {
        Some(made) => Outcome::Answered(made),
        None => {
            let message = "the API answered with success, but its answer has no voice";
            let failure = CallFailure::new(ErrorKind::UnusableAnswer, message);
            Outcome::Unusable(CallFailure { status: Some(200), request_id: answer.request_id, ..failure })
        }
    }
}

/// A clone of the list, if it has an id.
fn clone_of(entry: &Value) -> Option<AccountClone> {
    let text = |name: &str| entry.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let texts = |name: &str| {
        let list = entry.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let id = text("voiceId")?;
    Some(AccountClone {
        name: text("displayName").unwrap_or_else(|| id.clone()),
        status: text("status").and_then(|status| status.to_lowercase().parse().ok()),
        models: texts("modelIds").iter().filter_map(|id| model_of(id)).collect(),
        language: text("language"),
        kind: text("cloningType"),
        accent: text("accent"),
        tags: texts("tags"),
        description: text("description"),
        created_at: text("createdAt"),
        id,
    })
}

/// The model with an id of the list of clones, which writes it with hyphens.
fn model_of(id: &str) -> Option<TtsModel> {
    let known = TtsModel::ALL.iter().find(|model| hyphened(model.as_str()) == hyphened(id));
    known.copied().or_else(|| id.parse().ok())
}

/// A model's name as the list of clones writes it.
#[must_use]
pub fn hyphened(model: &str) -> String {
    model.replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_may_be_silent_on_itself() {
        let full = json!({"_id": "1", "voiceId": "voice_a", "displayName": "Ann", "status": "Completed", "tags": ["x"],
            "modelIds": ["lightning-v3.1", "lightning-large", "lightning_v3.1_pro"], "cloningType": "instant", "accent": ""});
        let read = clone_of(&full).unwrap();
        assert_eq!(
            (read.status, read.kind.as_deref(), read.accent),
            (Some(CloneStatus::Completed), Some("instant"), None)
        );
        assert_eq!(read.models[..2], [TtsModel::Lightning, "lightning-large".parse().unwrap()]);
        assert_eq!(read.models[2], TtsModel::LightningPro);
        let bare = clone_of(&json!({"voiceId": "voice_b", "status": 7})).unwrap();
        assert_eq!((bare.name.as_str(), bare.status, bare.models.len()), ("voice_b", None, 0));
        assert_eq!(clone_of(&json!({"displayName": "Nobody"})), None);
        assert!(CloneStatus::Failed.is_final() && !CloneStatus::Pending.is_final());
    }

    #[test]
    fn a_body_has_all_fields_and_the_sample_as_it_is() {
        let call = CloneCall {
            name: "Ann \"B\"".into(),
            fields: vec![("language", "en".into())],
            file_name: "a\"b.wav".into(),
            content_type: "audio/wav",
            sample: Bytes::from_static(b"RIFF--wavebatch-part-0\r\n"),
        };
        let (body, content_type) = call.body();
        assert_eq!(content_type, "multipart/form-data; boundary=wavebatch-part-1", "the first stands in the sample");
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(text.matches("--wavebatch-part-1").count(), 4);
        assert!(text.contains("name=\"displayName\"\r\n\r\nAnn \"B\"\r\n--"), "{text}");
        assert!(
            text.contains("name=\"file\"; filename=\"a b.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF--"),
            "{text}"
        );
        assert!(text.ends_with("part-0\r\n\r\n--wavebatch-part-1--\r\n"), "{text}");
    }
}
