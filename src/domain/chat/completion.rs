//! The answer to a chat, as the vendor sends it, and the JSON in its text.

use serde_json::{Deserializer, Value};

use super::{analysis::ChatEndpoint, usage::Usage};
use crate::domain::options::listed;

listed! {
    /// Why a model stopped to write.
    FinishReason, "finish reason" {
        /// It was done.
        Stop = "stop",
        /// `max_tokens` was reached, or the context was full.
        Length = "length",
        /// It calls a function.
        ToolCalls = "tool_calls",
        /// The vendor's filter stopped it.
        ContentFilter = "content_filter",
    }
}

/// The answer to a chat.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Completion {
    /// The text of the reply; empty if there is none.
    pub text: String,
    /// Why it ends there; `None` if the answer gives no reason that is known.
    pub finish_reason: Option<FinishReason>,
    /// The functions that the model calls, as they came.
    pub tool_calls: Vec<Value>,
    /// What it used.
    pub usage: Usage,
}

impl Completion {
    /// Reads the body of an answer of an endpoint. That of an analysis is its text as a whole.
    ///
    /// # Errors
    /// It is no such answer; the message says why.
    pub fn read(endpoint: ChatEndpoint, body: &[u8]) -> Result<Self, String> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err("the answer is empty".to_owned());
        }
        let read: Value = serde_json::from_slice(body).map_err(|_| "the answer is not JSON".to_owned())?;
        match endpoint {
            ChatEndpoint::Chat => Self::of_chat(&read),
            ChatEndpoint::Pca if read.get("summary").or_else(|| read.get("dispositionMetrics")).is_none() => {
                Err("it has neither `summary` nor `dispositionMetrics`".to_owned())
            }
            ChatEndpoint::Pca => Ok(Self { text: String::from_utf8_lossy(body).into_owned(), ..Self::default() }),
        }
    }

    fn of_chat(body: &Value) -> Result<Self, String> {
        let choice = body.get("choices").and_then(|choices| choices.get(0)).ok_or("it has no `choices`")?;
        let message = choice.get("message").and_then(Value::as_object).ok_or("its first choice has no `message`")?;
        let text = match message.get("content") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(_) => return Err("the `content` of its message is no text".to_owned()),
        };
        let finish_reason = choice.get("finish_reason").and_then(Value::as_str).and_then(|text| text.parse().ok());
        let tool_calls = message.get("tool_calls").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(Self { text, finish_reason, tool_calls, usage: usage(body) })
    }
}

fn usage(body: &Value) -> Usage {
    let count = |path: &str| body.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    let prompt_tokens = count("/usage/prompt_tokens");
    Usage {
        prompt_tokens,
        cached_tokens: count("/usage/prompt_tokens_details/cached_tokens").min(prompt_tokens),
        completion_tokens: count("/usage/completion_tokens"),
    }
}

/// The JSON object in a reply, which may have prose or a code fence around it: the longest one there is.
#[must_use]
pub fn object_in(text: &str) -> Option<Value> {
    if let Ok(whole @ Value::Object(_)) = serde_json::from_str(text.trim()) {
        return Some(whole);
    }
    let (mut longest, mut at) = (None, 0);
    while let Some(start) = text[at..].find('{').map(|found| at + found) {
        let mut values = Deserializer::from_str(&text[start..]).into_iter::<Value>();
        at = match values.next() {
            Some(Ok(value)) => {
                let len = values.byte_offset();
                if longest.as_ref().is_none_or(|(longest, _)| len > *longest) {
                    longest = Some((len, value));
                }
                start + len
            }
            _ => start + 1,
        };
    }
    longest.map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_is_read_with_its_usage() {
        let body = json!({
            "id": "c1", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 300, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 256}},
        });
        let read = Completion::read(ChatEndpoint::Chat, body.to_string().as_bytes()).unwrap();
        assert_eq!((read.text.as_str(), read.finish_reason), ("Hi.", Some(FinishReason::Stop)));
        assert_eq!(read.usage, Usage { prompt_tokens: 300, cached_tokens: 256, completion_tokens: 2 });
    }

    #[test]
    fn what_is_missing_is_told_or_counts_as_nothing() {
        let read = |body: &str| Completion::read(ChatEndpoint::Chat, body.as_bytes());
        for (body, why) in [
            (" ", "is empty"),
            ("{", "not JSON"),
            ("{}", "no `choices`"),
            (r#"{"choices":[]}"#, "no `choices`"),
            (r#"{"choices":[{}]}"#, "no `message`"),
            (r#"{"choices":[{"message":{"content":[1]}}]}"#, "no text"),
        ] {
            assert!(read(body).unwrap_err().contains(why), "{body}");
        }
        let bare =
            read(r#"{"choices":[{"message":{"content":null,"tool_calls":[{"id":"t"}]},"finish_reason":"new"}]}"#);
        let bare = bare.unwrap();
        assert_eq!((bare.text.as_str(), bare.finish_reason, bare.tool_calls.len()), ("", None, 1));
        assert_eq!(bare.usage, Usage::default());
        let odd = read(
            r#"{"choices":[{"message":{}}],"usage":{"prompt_tokens":1,"prompt_tokens_details":{"cached_tokens":5}}}"#,
        );
        assert_eq!(odd.unwrap().usage.cached_tokens, 1, "no more than were read");
    }

    #[test]
    fn an_analysis_is_its_whole_body() {
        let read = |body: &str| Completion::read(ChatEndpoint::Pca, body.as_bytes());
        let body = r#"{"summary": "A call.", "dispositionMetrics": []}"#;
        assert_eq!(read(body), Ok(Completion { text: body.to_owned(), ..Completion::default() }));
        assert!(read(r#"{"dispositionMetrics": []}"#).is_ok());
        for (body, why) in [("", "empty"), ("<html>", "not JSON"), ("{}", "neither"), ("[]", "neither")] {
            assert!(read(body).unwrap_err().contains(why), "{body}");
        }
    }

    #[test]
    fn prose_and_fences_around_json_are_stripped() {
        let object = json!({"a": {"b": "}"}, "c": [1]});
        for around in [
            "{}".to_owned(),
            "Sure! Here it is:\n{}\nAnything else?".to_owned(),
            "```json\n{}\n```".to_owned(),
            "For {name}, by the schema {\"type\": 1}:\n```\n{}\n```".to_owned(),
            "\u{feff} {}".to_owned(),
        ] {
            let text = around.replace("{}", &object.to_string());
            assert_eq!(object_in(&text), Some(object.clone()), "{text}");
        }
        for none in ["", "no", "[1]", "{", "{\"a\": }", "\"{\""] {
            assert_eq!(object_in(none), None, "{none}");
        }
    }
}
