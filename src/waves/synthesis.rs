//! The synthesis of a text: one call, from the request to its outcome.

use std::{borrow::Cow, collections::BTreeMap, io, time::Duration};

use reqwest::{
    RequestBuilder,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::{io::AsyncWrite, time::Instant};

pub use super::synthesis_call::{SynthesisCall, SynthesisOutcome, SynthesizedAudio, Transport};
use super::{
    client::{Client, expiring, name},
    gate::Departure,
    listen::listen,
    send::Content,
    synthesis_call::LIVE_PATH,
};
use crate::domain::synthesis_options::{AudioFormat, TtsLanguage, TtsModel};

/// The longest id that the API accepts, in characters.
const LONGEST_ID: usize = 128;

impl Client {
    /// Synthesizes a text, writes the audio to `into`, and returns how the call ended, at the latest after `timeout`.
    ///
    /// `departs` is called as for [`Client::transcribe`]. The content of `into` is audio only if the call is
    /// [`Outcome::Answered`](crate::domain::call::Outcome::Answered); it is flushed then, but not synced to its disk.
    ///
    /// # Errors
    /// `into` could not be written. The vendor had begun to answer, so the call may have been billed, and the next
    /// purchase would be lost in the same way.
    pub async fn synthesize<W: AsyncWrite + Unpin + Send + ?Sized>(
        &self,
        call: &SynthesisCall<'_>,
        departs: impl FnOnce() -> Departure + Send + 'static,
        timeout: Duration,
        into: &mut W,
    ) -> io::Result<SynthesisOutcome> {
        let start = Instant::now();
        let outcome = self.speak(call, departs, start + timeout, into).await;
        let elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let ended = outcome.as_ref().map_or("not_written", name);
        tracing::debug!(call.id = call.call_id, elapsed_ms, outcome = ended, "call ended");
        outcome
    }

    async fn speak<W: AsyncWrite + Unpin + Send + ?Sized>(
        &self,
        call: &SynthesisCall<'_>,
        departs: impl FnOnce() -> Departure + Send + 'static,
        deadline: Instant,
        into: &mut W,
    ) -> io::Result<SynthesisOutcome> {
        if call.transport == Transport::Ws {
            return self.speak_on_socket(call, departs, deadline, into).await;
        }
        let body = serde_json::to_vec(&TtsBody::by(call)).expect("numbers and strings always make JSON");
        let len = body.len() as u64;
        let content = Content::Whole(Some(body.into()));
        match self.depart(self.synthesis_request(call), content, len, departs, deadline).await {
            Ok((response, _gate_guard)) => {
                Ok(self.with_path(listen(response, call, into, deadline).await?, path(call.transport)))
            }
            Err(outcome) => Ok(outcome),
        }
    }

    fn synthesis_request(&self, call: &SynthesisCall<'_>) -> RequestBuilder {
        let request = match call.transport {
            // For every format: without this header the answer can be empty.
            Transport::Sync => self.http.post(self.endpoint(path(call.transport))).header(ACCEPT, "audio/wav"),
            Transport::Sse | Transport::Ws => self.http.post(self.endpoint(path(call.transport))).header(ACCEPT, "*/*"),
        };
        let request = request.query(&call.options.extra.query.iter().collect::<Vec<_>>());
        expiring(request.header(CONTENT_TYPE, "application/json"), call.options.expire_content)
    }
}

impl SynthesisCall<'_> {
    /// The format that is requested and received.
    pub(super) const fn wire_format(&self) -> AudioFormat {
        match self.transport {
            Transport::Sync => self.format,
            Transport::Sse | Transport::Ws => AudioFormat::Pcm,
        }
    }
}

const fn path(transport: Transport) -> &'static str {
    match transport {
        Transport::Sync => "/waves/v1/tts",
        Transport::Sse | Transport::Ws => LIVE_PATH,
    }
}

/// The request's body.
#[derive(Debug, Serialize)]
pub(super) struct TtsBody<'a> {
    text: &'a str,
    voice_id: &'a str,
    model: TtsModel,
    sample_rate: u32,
    /// Over a socket there are only samples, and no such field.
    #[serde(skip_serializing_if = "Option::is_none")]
    output_format: Option<AudioFormat>,
    speed: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<TtsLanguage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number_pronunciation_language: Option<TtsLanguage>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    math_notation: bool,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pronunciation_dicts: &'a [String],
    session_id: Cow<'a, str>,
    request_id: Cow<'a, str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    word_timestamps: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    complete_backoff_ms: Option<u32>,
    /// Parameters that this release does not know.
    #[serde(flatten)]
    extra: BTreeMap<&'a str, Value>,
}

impl<'a> TtsBody<'a> {
    pub(super) fn by(call: &SynthesisCall<'a>) -> Self {
        let options = call.options;
        Self {
            text: call.text,
            voice_id: &options.voice_id,
            model: options.model,
            sample_rate: call.rate.hz(),
            output_format: Some(call.wire_format()),
            speed: options.speed.factor(),
            language: options.language,
            number_pronunciation_language: options.number_pronunciation_language,
            math_notation: options.math_notation,
            pronunciation_dicts: call.dictionaries,
            session_id: wire_id(call.session),
            request_id: wire_id(call.call_id),
            word_timestamps: false,
            complete_backoff_ms: None,
            extra: options.extra.body.iter().map(|(name, json)| (name.as_str(), as_kept(json))).collect(),
        }
    }
}

impl TtsBody<'_> {
    /// The same as a message of a socket, which asks for the times of words.
    pub(super) fn over_socket(self, complete_backoff_ms: u32) -> Self {
        let complete_backoff_ms = Some(complete_backoff_ms);
        Self { output_format: None, word_timestamps: true, complete_backoff_ms, ..self }
    }

    /// The id of the request, as the server repeats it.
    pub(super) fn request_id(&self) -> &str {
        &self.request_id
    }
}

/// A stored value as JSON; a value that is not JSON is a text.
fn as_kept(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|_| json.into())
}

/// An id in the characters that the API accepts: unchanged if possible, else its valid characters and a hash of the whole id,
/// so that two ids never become the same.
pub(super) fn wire_id(id: &str) -> Cow<'_, str> {
    let taken = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !id.is_empty() && id.len() <= LONGEST_ID && id.chars().all(taken) {
        return Cow::Borrowed(id);
    }
    let readable: String = id.chars().map(|c| if taken(c) { c } else { '-' }).take(100).collect();
    let hash: String = Sha256::digest(id).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    Cow::Owned(format!("{readable}.{hash}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_sent_as_they_are_or_told_apart() {
        assert_eq!(wire_id("ivr-prompts_2.1"), "ivr-prompts_2.1");
        let long = "x".repeat(129);
        let ids = ["", "a b", "a/b", "a-b.", "günther", &long, &long[1..]].map(wire_id);
        for (at, id) in ids.iter().enumerate() {
            assert!((1..=LONGEST_ID).contains(&id.len()), "{id}");
            assert!(id.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)), "{id}");
            assert!(!ids[..at].contains(id), "{id}");
        }
        assert_eq!(wire_id("a b"), wire_id("a b"));
    }
}
