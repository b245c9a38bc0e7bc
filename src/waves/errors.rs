//! Parses the various shapes of the API's errors into one.

use std::{fmt, io::Read as _};

use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use super::words;
use crate::domain::{
    body::Reader,
    lenient::{self, Fill, Key, Past, Take},
};

/// How much of a text, and of each field of JSON, is examined, in bytes: as much as is read of an answer that only explains
/// a failure.
const MAX_EXAMINED: usize = 64 << 10;

/// Codes that blame the recording itself, whatever the status.
const OF_AUDIO: [&str; 2] = ["AudioDecodeError", "NoAudio"];
/// The number of listed values that are shown; for more, only their existence.
const OPTIONS_SHOWN: usize = 12;

/// The fields that are read.
const FIELDS: &[&str] = &[
    "error",
    "message",
    "errors",
    "details",
    "error_code",
    "type",
    "code",
    "language",
    "region",
    "request_id",
    "recommended_endpoint",
    "status",
];

/// The content of an error's body, whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Said {
    /// The message, cleaned.
    pub(super) words: Option<String>,
    /// The code or type, e.g. `LANGUAGE_NOT_ENABLED_IN_REGION`.
    pub(super) code: Option<String>,
    /// The language and the region in question.
    pub(super) language: Option<String>,
    pub(super) region: Option<String>,
    /// The vendor's recommended replacement for something retired.
    pub(super) recommended: Option<String>,
    /// The code that says that the recording cannot be transcribed, as `AudioDecodeError` or `NoAudio`.
    pub(super) of_audio: Option<&'static str>,
    /// The vendor's request id.
    pub(super) request_id: Option<String>,
    /// Whether the API itself wrote the body. A bare `message` does not prove that: proxies write it too.
    pub(super) by_api: bool,
    /// Whether the body is a page for browsers.
    pub(super) html: bool,
}

impl Said {
    /// Reads the body of a response that is not a success.
    pub(super) fn read(body: &[u8]) -> Self {
        Self::from_fields(Reader::Whole(body)).unwrap_or_else(|| Self::from_beginning(body))
    }

    /// Reads a body of any length.
    pub(super) fn of<'b>(body: impl Fn() -> Reader<'b>) -> Self {
        Self::from_fields(body()).unwrap_or_else(|| {
            let mut beginning = Vec::new();
            // A damaged body yields only what comes before the damage.
            let _ = body().take(MAX_EXAMINED as u64).read_to_end(&mut beginning);
            Self::from_beginning(&beginning)
        })
    }

    fn from_fields(body: Reader<'_>) -> Option<Self> {
        let mut fields = Fields::default();
        lenient::read(body, Fill(&mut fields)).ok()?;
        fields.is_object.then(|| Self::from_json(&fields.fields))
    }

    fn from_beginning(body: &[u8]) -> Self {
        Self::from_text(&String::from_utf8_lossy(&body[..body.len().min(MAX_EXAMINED)]))
    }

    fn from_text(text: &str) -> Self {
        let html = words::is_html(text);
        let said = if html { words::html_title(text) } else { Some(words::clean(text)) };
        Self { words: said.filter(|said| !said.is_empty()), html, ..Self::default() }
    }

    fn from_json(fields: &Map<String, Value>) -> Self {
        // Chat wraps everything in `error`; elsewhere `error` is the message, or the type next to a message.
        let inner = fields.get("error").and_then(Value::as_object);
        let find = |name: &str| inner.and_then(|inner| text(inner, name)).or_else(|| text(fields, name));
        // Synthesis lists the faults of a body in `error` itself.
        let error = text(fields, "error").or_else(|| fields.get("error").filter(|it| it.is_array()).and_then(list));
        let message = find("message");
        let listed = fields.get("errors").and_then(list);
        let details = inner.unwrap_or(fields).get("details").and_then(list);
        let in_list = || text(fields.get("error")?.as_array()?.first()?.as_object()?, "code");
        let code = find("error_code").or_else(|| find("type")).or_else(|| find("code")).or_else(in_list);
        let of_audio = OF_AUDIO.iter().copied().find(|known| {
            let is = |name: &&str| find(name).is_some_and(|code| code.eq_ignore_ascii_case(known));
            ["code", "error_code", "type", "error"].iter().any(is)
        });
        let mut said: Vec<String> = Vec::new();
        for part in [error, message, listed, details].into_iter().flatten() {
            if !said.contains(&part) {
                said.push(part);
            }
        }
        let by_api = of_audio.is_some()
            || ["error", "errors", "error_code"].iter().any(|name| fields.get(*name).is_some_and(is_said))
            || text(fields, "status").as_deref() == Some("error");
        Self {
            words: Some(words::clean(&said.join(": "))).filter(|words| !words.is_empty()),
            code,
            language: find("language"),
            region: find("region"),
            recommended: find("recommended_endpoint").map(|it| words::clean(&it)),
            of_audio,
            request_id: find("request_id").map(|id| words::clean(&id)),
            by_api,
            html: false,
        }
    }

    /// Whether the error says that the account's plan does not include the request, whatever the status.
    pub(super) fn asks_for_upgrade(&self) -> bool {
        self.mentions("upgrade") && self.mentions("plan")
    }

    /// Whether the code or the message contains `needle`, ignoring case.
    pub(super) fn mentions(&self, needle: &str) -> bool {
        let holds = |text: &Option<String>| text.as_ref().is_some_and(|text| text.to_lowercase().contains(needle));
        holds(&self.code) || holds(&self.words)
    }
}

/// The known fields of an object, each up to a maximum length.
#[derive(Default)]
struct Fields {
    is_object: bool,
    fields: Map<String, Value>,
}

impl Take for Fields {
    fn object<'de, A: MapAccess<'de>>(&mut self, mut fields: A) -> Result<(), A::Error> {
        self.is_object = true;
        while let Some(name) = fields.next_key_seed(Key(FIELDS))? {
            match name {
                None => fields.next_value_seed(Past)?,
                Some(at) => {
                    let mut left = MAX_EXAMINED;
                    let mut field = Field { value: Value::Null, left: &mut left };
                    fields.next_value_seed(Fill(&mut field))?;
                    self.fields.insert(FIELDS[at].to_owned(), field.value);
                }
            }
        }
        Ok(())
    }

    fn other(&mut self) {}
}

/// A value, or its beginning. `left` is the remaining number of bytes of JSON.
struct Field<'l> {
    value: Value,
    left: &'l mut usize,
}

impl Field<'_> {
    fn is_full(&mut self) -> bool {
        *self.left = self.left.saturating_sub(1);
        *self.left == 0
    }
}

impl Take for Field<'_> {
    fn text(&mut self, text: &str) {
        let text = &text[..text.floor_char_boundary(*self.left)];
        *self.left -= text.len();
        self.value = text.into();
    }

    fn number(&mut self, number: &Number) {
        self.value = number.clone().into();
    }

    fn flag(&mut self, on: bool) {
        self.value = on.into();
    }

    fn list<'de, A: SeqAccess<'de>>(&mut self, mut list: A) -> Result<(), A::Error> {
        let mut values = Vec::new();
        while !self.is_full() {
            let mut entry = Field { value: Value::Null, left: &mut *self.left };
            if list.next_element_seed(Fill(&mut entry))?.is_none() {
                break;
            }
            values.push(entry.value);
        }
        while list.next_element_seed(Past)?.is_some() {}
        self.value = values.into();
        Ok(())
    }

    fn object<'de, A: MapAccess<'de>>(&mut self, mut fields: A) -> Result<(), A::Error> {
        let mut values = Map::new();
        while !self.is_full() {
            let Some(name) = fields.next_key_seed(Name(*self.left))? else { break };
            *self.left = self.left.saturating_sub(name.len());
            let mut field = Field { value: Value::Null, left: &mut *self.left };
            fields.next_value_seed(Fill(&mut field))?;
            values.insert(name, field.value);
        }
        while fields.next_key_seed(Key(&[]))?.is_some() {
            fields.next_value_seed(Past)?;
        }
        self.value = values.into();
        Ok(())
    }

    fn other(&mut self) {}
}

/// A field's name, of at most this many bytes.
struct Name(usize);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<String, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<String, E> {
        Ok(name[..name.floor_char_boundary(self.0)].to_owned())
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

/// The messages in `errors` and `details`: a text, an object, or a list of either.
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
            let message = message.map(|message| with_options(message, fields));
            match (path, message) {
                (Some(path), Some(message)) => Some(format!("{path}: {message}")),
                (None, Some(message)) => Some(message),
                (_, None) => Some(value.to_string()),
            }
        }
        _ => None,
    }
}

/// A message with the received and the allowed values, unless it already has them.
fn with_options(message: String, fields: &Map<String, Value>) -> String {
    let received = text(fields, "received").filter(|received| !message.contains(received.as_str()));
    let options: Vec<&str> = match fields.get("options") {
        Some(Value::Array(options)) => options.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let shown = options.iter().take(OPTIONS_SHOWN).copied().collect::<Vec<_>>().join(", ");
    let more = if options.len() > OPTIONS_SHOWN { ", …" } else { "" };
    let options = (!options.is_empty() && !options.iter().any(|option| message.contains(option)))
        .then(|| format!("known there: {shown}{more}"));
    let notes: Vec<String> =
        received.map(|received| format!("received {received}")).into_iter().chain(options).collect();
    if notes.is_empty() { message } else { format!("{message} ({})", notes.join("; ")) }
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
                r#"{"error":[{"code":"invalid_enum_value","path":["sample_rate"],"message":"Invalid value","received":9000,"options":["8000","16000"]}]}"#,
                "sample_rate: Invalid value (received 9000; known there: 8000, 16000)",
            ),
            (
                r#"{"error":[{"code":"too_big","path":["text"],"message":"At most 8000 characters"},{"path":"voice_id","message":"Required"}],"message":"Invalid input"}"#,
                "text: At most 8000 characters, voice_id: Required: Invalid input",
            ),
            (
                r#"{"status":"error","message":"The audio cannot be decoded","code":"AudioDecodeError"}"#,
                "The audio cannot be decoded",
            ),
            (r#"{"message":"Nothing is heard","code":"NoAudio"}"#, "Nothing is heard"),
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
        assert_eq!(said(r#"{"error":[{"code":"too_big","message":"x"}]}"#).code.as_deref(), Some("too_big"));
        for (body, of_audio) in [
            (r#"{"error":"NoAudio"}"#, Some("NoAudio")),
            (
                r#"{"status":"error","error_code":"X","code":"audiodecodeerror","message":"x"}"#,
                Some("AudioDecodeError"),
            ),
            (r#"{"error":{"message":"x","code":"NoAudio"}}"#, Some("NoAudio")),
            (r#"{"error":"a NoAudio of yours"}"#, None),
        ] {
            assert_eq!(said(body).of_audio, of_audio, "{body}");
        }
        assert!(said(r#"{"error":"Please UPGRADE your Plan to use pulse-pro"}"#).asks_for_upgrade());
        assert!(!said(r#"{"error":"upgrade required"}"#).asks_for_upgrade());
        let retired = said(r#"{"error":"MODEL_DEPRECATED","recommended_endpoint":"/waves/v1/tts"}"#);
        assert_eq!(retired.recommended.as_deref(), Some("/waves/v1/tts"));
    }

    #[test]
    fn what_is_long_is_read_up_to_a_length() {
        let junk = |bytes: usize| format!("[{}0]", "0,".repeat(bytes / 2));
        // Up to the length limit of an explanation, nothing is lost.
        let details = format!("[{},{{\"message\":\"last\"}}]", &junk(MAX_EXAMINED - 100)[1..MAX_EXAMINED - 102]);
        let body = format!(r#"{{"error":"first","details":{details}}}"#);
        assert!(body.len() < MAX_EXAMINED && body.len() > MAX_EXAMINED - 100);
        assert_eq!(said(&body).words.as_deref(), Some("first: last"));
        // Beyond the limit, the beginning of each field is kept.
        let long = "no speech ".repeat(MAX_EXAMINED);
        let (code, id) = (r#""error_code":"LANGUAGE_NOT_ENABLED_IN_REGION""#, r#""request_id":"r1""#);
        let body = format!(
            r#"{{"x":{0},"details":{0},"error":"{long}",{code},{id},"error":"twice"}}"#,
            junk(3 * MAX_EXAMINED)
        );
        let long = said(&body);
        assert!(long.by_api && long.mentions("language_not_enabled"));
        assert_eq!((long.words.as_deref(), long.request_id.as_deref()), (Some("twice"), Some("r1")));
        let page = format!("<html><title>502 Bad Gateway</title>{}", " ".repeat(3 * MAX_EXAMINED));
        assert_eq!(said(&page).words.as_deref(), Some("502 Bad Gateway"));
        assert_eq!(Said::of(|| Reader::Whole(page.as_bytes())), said(&page));
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
