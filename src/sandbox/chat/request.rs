//! What a chat asks for in its body, validated as the API does.

use serde_json::{Map, Value};

use crate::domain::options::listed;

/// How many bytes make a token here.
pub(super) const BYTES_A_TOKEN: usize = 4;
/// The tokens of a request and its reply together.
pub(super) const CONTEXT: usize = 32_768;

listed! {
    /// What a marker in a message does to the reply.
    ChatMarker, "marker" {
        /// There is prose around the reply.
        Prose = "prose",
        /// There is a code fence around the reply.
        Fence = "fence",
        /// The first property has a value of another type, until the reply is sent back.
        WrongType = "wrong-type",
        /// The first property has a value of another type, also after repairs.
        WrongTypeAlways = "wrong-type-always",
        /// The reply is no JSON, although JSON is asked for.
        NoJson = "no-json",
        /// Quotes are invented.
        InventedQuote = "invented-quote",
        /// The reply ends in its middle, with `finish_reason` `length`.
        Length = "length",
        /// The reply is empty, with `finish_reason` `content_filter`.
        Filtered = "filtered",
        /// The reply is empty.
        Empty = "empty",
        /// The first of the `tools` is called.
        ToolCall = "tool-call",
        /// The first call with this content is refused with 429.
        TooMany = "429",
        /// The first call with this content fails with 500.
        Fails = "500",
        /// The first call with this content is billed, and its connection is reset instead of an answer.
        Lost = "lost",
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub role: String,
    pub content: String,
}

/// What a call asks for.
#[derive(Debug, Clone)]
pub(super) struct ChatRequest {
    pub model: String,
    pub messages: Vec<Message>,
    pub max_tokens: Option<usize>,
    pub wants_json: bool,
    pub tools: Vec<Value>,
}

impl ChatRequest {
    /// Reads a body; an `Err` says what is wrong with it.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
            return Err("the body must be a JSON object".into());
        };
        if fields.get("n").is_some_and(|n| n != 1) {
            return Err("'n' above 1 is not supported".into());
        }
        if fields.contains_key("prompt_logprobs") {
            return Err("'prompt_logprobs' is not supported".into());
        }
        let model = fields.get("model").and_then(Value::as_str).ok_or("'model' is required")?;
        if !model.starts_with("electron") {
            return Err(format!("there is no model '{model}'"));
        }
        in_range(&fields, "temperature", 0.0, 2.0)?;
        in_range(&fields, "top_p", 0.0, 1.0)?;
        at_most(&fields, "stop", 4)?;
        at_most(&fields, "tools", 64)?;
        let max_tokens = match fields.get("max_tokens") {
            None | Some(Value::Null) => None,
            Some(most) => Some(most.as_u64().filter(|most| *most > 0).ok_or("'max_tokens' must be 1 or more")?),
        };
        let kind = fields.get("response_format").and_then(|format| format["type"].as_str()).unwrap_or("text");
        if !matches!(kind, "text" | "json_object") {
            return Err("'response_format.type' must be text or json_object".into());
        }
        let request = Self {
            model: model.to_owned(),
            messages: messages(&fields)?,
            max_tokens: max_tokens.map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
            wants_json: kind == "json_object",
            tools: fields.get("tools").and_then(Value::as_array).cloned().unwrap_or_default(),
        };
        match request.tokens() {
            tokens if tokens >= CONTEXT => {
                Err(format!("this request has {tokens} tokens; the context has {CONTEXT}, with the reply"))
            }
            _ => Ok(request),
        }
    }

    /// What is asked at last.
    pub(super) fn prompt(&self) -> &str {
        self.messages.iter().rev().find(|message| message.role == "user").map_or("", |message| &message.content)
    }

    /// Whether one of its messages has this marker: `[[429]]`.
    pub(super) fn has(&self, marker: ChatMarker) -> bool {
        let marker = format!("[[{marker}]]");
        self.messages.iter().any(|message| message.content.contains(&marker))
    }

    /// All its messages as one text.
    pub(super) fn all_text(&self) -> String {
        self.messages.iter().map(|message| format!("{}\n{}\n", message.role, message.content)).collect()
    }

    /// How many tokens its messages have.
    pub(super) fn tokens(&self) -> usize {
        self.all_text().len().div_ceil(BYTES_A_TOKEN)
    }

    /// The tokens that a reply has room for.
    pub(super) fn room(&self) -> usize {
        let room = CONTEXT.saturating_sub(self.tokens());
        self.max_tokens.map_or(room, |most| most.min(room))
    }
}

fn messages(fields: &Map<String, Value>) -> Result<Vec<Message>, String> {
    let messages = fields.get("messages").and_then(Value::as_array).ok_or("'messages' is required")?;
    if !(1..=200).contains(&messages.len()) {
        return Err(format!("'messages' has {}, and 1 to 200 are allowed", messages.len()));
    }
    messages
        .iter()
        .map(|message| {
            let role = message["role"].as_str().unwrap_or_default();
            if !matches!(role, "system" | "user" | "assistant" | "tool") {
                return Err(format!("'{role}' is not a role"));
            }
            let content = match &message["content"] {
                Value::String(text) => text.clone(),
                Value::Null if role == "assistant" => String::new(),
                _ => return Err("the 'content' of a message must be a text".into()),
            };
            Ok(Message { role: role.to_owned(), content })
        })
        .collect()
}

fn in_range(fields: &Map<String, Value>, name: &str, least: f64, most: f64) -> Result<(), String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(()),
        Some(value) => match value.as_f64() {
            Some(number) if (least..=most).contains(&number) => Ok(()),
            _ => Err(format!("'{name}' must be between {least} and {most}")),
        },
    }
}

fn at_most(fields: &Map<String, Value>, name: &str, most: usize) -> Result<(), String> {
    match fields.get(name).and_then(Value::as_array) {
        Some(list) if list.len() > most => Err(format!("'{name}' has {}, and {most} are allowed", list.len())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_api_refuses_is_refused() {
        let parse = |extra: &str| {
            let body = format!(r#"{{"model": "electron", "messages": [{{"role": "user", "content": "Hi"}}]{extra}}}"#);
            ChatRequest::parse(body.as_bytes()).map(|_| ()).unwrap_err()
        };
        for (extra, why) in [
            (r#", "n": 2"#, "'n' above 1"),
            (r#", "prompt_logprobs": 1"#, "'prompt_logprobs'"),
            (r#", "temperature": 3"#, "between 0 and 2"),
            (r#", "top_p": -1"#, "between 0 and 1"),
            (r#", "max_tokens": 0"#, "1 or more"),
            (r#", "stop": ["a", "b", "c", "d", "e"]"#, "4 are allowed"),
            (r#", "response_format": {"type": "json_schema"}"#, "text or json_object"),
        ] {
            assert!(parse(extra).contains(why), "{extra}");
        }
        let why = |body: &str| ChatRequest::parse(body.as_bytes()).map(|_| ()).unwrap_err();
        assert!(why("[]").contains("JSON object"));
        assert!(why(r#"{"model": "gpt", "messages": []}"#).contains("no model 'gpt'"));
        assert!(why(r#"{"model": "electron", "messages": []}"#).contains("1 to 200"));
        let long = "a".repeat(4 * CONTEXT);
        let body = json!({"model": "electron", "messages": [{"role": "user", "content": long}]});
        assert!(why(&body.to_string()).contains("the context has 32768"));
    }

    #[test]
    fn a_plain_request_is_taken() {
        let body = json!({"model": "electron", "n": 1, "max_tokens": 9, "messages": [
            {"role": "system", "content": "Be brief. [[500]]"}, {"role": "user", "content": "Hi"}]});
        let request = ChatRequest::parse(body.to_string().as_bytes()).unwrap();
        assert_eq!(
            (request.prompt(), request.room(), request.has(ChatMarker::Fails), request.has(ChatMarker::TooMany)),
            ("Hi", 9, true, false)
        );
    }
}
