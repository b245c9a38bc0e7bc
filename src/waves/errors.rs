//! The many shapes of the API's errors, read into one.

use serde_json::{Map, Value};

use super::words;

/// What an error's body says, whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Said {
    /// Its words, cleaned.
    pub(super) words: Option<String>,
    /// Its code or type, e.g. `LANGUAGE_NOT_ENABLED_IN_REGION`.
    pub(super) code: Option<String>,
    /// The language and the region it speaks of.
    pub(super) language: Option<String>,
    pub(super) region: Option<String>,
    /// The vendor's request id.
    pub(super) request_id: Option<String>,
    /// Whether the API itself wrote it. A bare `message` does not prove that: proxies write it too.
    pub(super) by_api: bool,
    /// Whether it is a page for browsers.
    pub(super) html: bool,
}

impl Said {
    /// Reads the body of a response that is not a success.
    pub(super) fn read(body: &[u8]) -> Self {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Self::from_json(&fields),
            _ => Self::from_text(&String::from_utf8_lossy(body)),
        }
    }

    fn from_text(text: &str) -> Self {
        let html = words::is_html(text);
        let said = if html { words::html_title(text) } else { Some(words::clean(text)) };
        Self { words: said.filter(|said| !said.is_empty()), html, ..Self::default() }
    }

    fn from_json(fields: &Map<String, Value>) -> Self {
        // Chat wraps everything in `error`; elsewhere `error` is the message, or the type beside a message.
        let inner = fields.get("error").and_then(Value::as_object);
        let find = |name: &str| inner.and_then(|inner| text(inner, name)).or_else(|| text(fields, name));
        let error = text(fields, "error");
        let message = find("message");
        let listed = fields.get("errors").and_then(list);
        let details = inner.unwrap_or(fields).get("details").and_then(list);
        let code = find("error_code").or_else(|| find("type")).or_else(|| find("code"));
        let mut said: Vec<String> = Vec::new();
        for part in [error, message, listed, details].into_iter().flatten() {
            if !said.contains(&part) {
                said.push(part);
            }
        }
        let by_api = ["error", "errors", "error_code"].iter().any(|name| fields.get(*name).is_some_and(is_said))
            || text(fields, "status").as_deref() == Some("error");
        Self {
            words: Some(words::clean(&said.join(": "))).filter(|words| !words.is_empty()),
            code,
            language: find("language"),
            region: find("region"),
            request_id: find("request_id").map(|id| words::clean(&id)),
            by_api,
            html: false,
        }
    }

    /// Whether the code or the words contain `needle`, whatever the case of its letters.
    pub(super) fn mentions(&self, needle: &str) -> bool {
        let holds = |text: &Option<String>| text.as_ref().is_some_and(|text| text.to_lowercase().contains(needle));
        holds(&self.code) || holds(&self.words)
    }
}

fn is_said(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => false,
    }
}

fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    match fields.get(name)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The words of `errors` and `details`: a text, an object, or a list of either.
fn list(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Array(values) => {
            Some(values.iter().filter_map(list).collect::<Vec<_>>().join(", ")).filter(|all| !all.is_empty())
        }
        Value::Object(fields) => {
            let message = text(fields, "message").or_else(|| text(fields, "msg"));
            let path = match fields.get("path") {
                Some(Value::Array(steps)) => {
                    let step = |step: &Value| step.as_str().map_or_else(|| step.to_string(), str::to_owned);
                    Some(steps.iter().map(step).collect::<Vec<_>>().join(".")).filter(|path| !path.is_empty())
                }
                _ => text(fields, "path"),
            };
            match (path, message) {
                (Some(path), Some(message)) => Some(format!("{path}: {message}")),
                (None, Some(message)) => Some(message),
                (_, None) => Some(value.to_string()),
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &str) -> Said {
        Said::read(body.as_bytes())
    }

    #[test]
    fn every_documented_shape_is_the_apis_and_has_its_words() {
        for (body, words) in [
            (r#"{"error":"Missing model","request_id":"r1"}"#, "Missing model"),
            (
                r#"{"error":"Validation failed","request_id":"r1","details":[{"path":["language"],"message":"Required"}]}"#,
                "Validation failed: language: Required",
            ),
            (
                r#"{"errors":"Audio data too large","status":"error","message":"Bad input"}"#,
                "Bad input: Audio data too large",
            ),
            (
                r#"{"status":"error","error_code":"LANGUAGE_NOT_ENABLED_IN_REGION","message":"No","language":"gu","region":"us"}"#,
                "No",
            ),
            (r#"{"error":"unauthorized"}"#, "unauthorized"),
            (r#"{"error":"invalid_voice","message":"No such voice"}"#, "invalid_voice: No such voice"),
            (
                r#"{"error":{"message":"Too many","type":"rate_limit","details":[{"code":"n","message":"one only","path":"n"}],"request_id":"r1"}}"#,
                "Too many: n: one only",
            ),
        ] {
            let said = said(body);
            assert!(said.by_api, "{body}");
            assert_eq!(said.words.as_deref(), Some(words), "{body}");
            assert_eq!(said.request_id.is_some(), body.contains("r1"), "{body}");
        }
    }

    #[test]
    fn codes_and_regions_are_found() {
        let region = said(
            r#"{"status":"error","error_code":"LANGUAGE_NOT_ENABLED_IN_REGION","message":"No","language":"gu","region":"us"}"#,
        );
        assert!(region.mentions("language_not_enabled_in_region"));
        assert_eq!((region.language.as_deref(), region.region.as_deref()), (Some("gu"), Some("us")));
        assert_eq!(said(r#"{"error":{"message":"Too many","type":"rate_limit"}}"#).code.as_deref(), Some("rate_limit"));
    }

    #[test]
    fn what_a_proxy_writes_is_not_the_apis() {
        for body in [
            "<html><head><title>502 Bad Gateway</title></head></html>",
            "upstream connect error",
            r#"{"message":"Internal Server Error"}"#,
            r#"{"error":null}"#,
            "[]",
            "null",
            "",
        ] {
            assert!(!said(body).by_api, "{body}");
        }
        assert_eq!(said("<html><title>502 Bad Gateway</title>").words.as_deref(), Some("502 Bad Gateway"));
        assert_eq!(
            said(r#"{"message":"Unauthorized: No tokens provided"}"#).words.unwrap(),
            "Unauthorized: No tokens provided"
        );
        assert_eq!(said("").words, None);
    }
}
