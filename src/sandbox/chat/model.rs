//! The model: the same request has the same reply. It fits the schema in the request, if there is one, and does what the markers in
//! its messages say.

use serde_json::{Map, Value, json};

use super::{
    super::faults::mix,
    request::{BYTES_A_TOKEN, ChatMarker, ChatRequest},
};
use crate::domain::chat::{FinishReason, object_in};

/// How a repair begins.
const REPAIR: &str = "Your reply does not fit";
/// How the last request to a text in pieces begins.
const MERGE: &str = "The text was too long, and was read in";
/// The deepest nesting that it fills.
const DEEPEST: usize = 6;

/// A reply.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub text: Option<String>,
    pub finish_reason: FinishReason,
    pub tool_calls: Vec<Value>,
}

impl Reply {
    /// How many tokens it has.
    pub(super) fn tokens(&self) -> usize {
        let calls: usize = self.tool_calls.iter().map(|call| call.to_string().len()).sum();
        (self.text.as_ref().map_or(0, String::len) + calls).div_ceil(BYTES_A_TOKEN)
    }
}

/// The reply to a request.
pub(super) fn reply_to(request: &ChatRequest) -> Reply {
    let of = |text: String, finish_reason| Reply { text: Some(text), finish_reason, tool_calls: Vec::new() };
    if request.has(ChatMarker::Empty) {
        return of(String::new(), FinishReason::Stop);
    }
    if request.has(ChatMarker::Filtered) {
        return of(String::new(), FinishReason::ContentFilter);
    }
    if request.has(ChatMarker::ToolCall) && !request.tools.is_empty() {
        let name = request.tools[0].pointer("/function/name").cloned().unwrap_or_else(|| json!("function"));
        let call = json!({"id": "call_1", "type": "function", "function": {"name": name, "arguments": "{}"}});
        return Reply { text: None, finish_reason: FinishReason::ToolCalls, tool_calls: vec![call] };
    }
    let text = dressed(request, content(request));
    let most = if request.has(ChatMarker::Length) { text.len() / 2 } else { request.room() * BYTES_A_TOKEN };
    match text.char_indices().map(|(at, _)| at).take_while(|at| *at <= most).last() {
        Some(cut) if text.len() > most => of(text[..cut].to_owned(), FinishReason::Length),
        _ => of(text, FinishReason::Stop),
    }
}

/// What it says, without prose around it.
fn content(request: &ChatRequest) -> String {
    let asked = asked(request);
    let first_words = asked.split_whitespace().take(12).collect::<Vec<_>>().join(" ");
    if request.has(ChatMarker::NoJson) || !request.wants_json {
        return format!("You said: {first_words}");
    }
    let schema = request.messages.iter().find_map(|message| {
        object_in(&message.content).filter(|object| object.get("properties").is_some_and(Value::is_object))
    });
    let Some(schema) = schema else { return json!({ "reply": first_words }).to_string() };
    if let Some(one) = object_in(asked).filter(|_| asked.starts_with(MERGE)) {
        return one.to_string();
    }
    let filling = Filling { root: &schema, asked, invents: request.has(ChatMarker::InventedQuote) };
    let mut object = filling.value(&schema, "", seed(asked), 0);
    let is_repair = request.prompt().starts_with(REPAIR);
    if request.has(ChatMarker::WrongTypeAlways) || (request.has(ChatMarker::WrongType) && !is_repair) {
        spoil(&mut object);
    }
    object.to_string()
}

/// What the line asks: the last message of a user that is no repair.
fn asked(request: &ChatRequest) -> &str {
    let asked = request.messages.iter().rev();
    let asked = asked.filter(|message| message.role == "user" && !message.content.starts_with(REPAIR));
    asked.map(|message| message.content.as_str()).next().unwrap_or_default()
}

/// Its reply with what markers put around it.
fn dressed(request: &ChatRequest, text: String) -> String {
    match (request.has(ChatMarker::Prose), request.has(ChatMarker::Fence)) {
        (true, true) => format!("Sure! Here is the result:\n\n```json\n{text}\n```\n\nLet me know what else you need."),
        (true, false) => format!("Sure! Here is the result:\n{text}\nLet me know what else you need."),
        (false, true) => format!("```json\n{text}\n```"),
        (false, false) => text,
    }
}

/// Gives the first property a value of another type.
fn spoil(object: &mut Value) {
    if let Some(first) = object.as_object_mut().and_then(|fields| fields.values_mut().next()) {
        *first = if first.is_string() { json!(7) } else { json!("not what was asked for") };
    }
}

pub(super) fn seed(text: &str) -> u64 {
    text.bytes().fold(7, |seed, byte| mix(seed ^ u64::from(byte)))
}

/// Fills a schema with values.
struct Filling<'r> {
    root: &'r Value,
    asked: &'r str,
    /// Whether quotes are invented.
    invents: bool,
}

impl Filling<'_> {
    /// A value that fits. `name`: the property that it is for.
    fn value(&self, schema: &Value, name: &str, seed: u64, depth: usize) -> Value {
        if let Some(to) =
            schema.get("$ref").and_then(Value::as_str).and_then(|to| self.root.pointer(to.strip_prefix('#')?))
        {
            return if depth < DEEPEST { self.value(to, name, mix(seed), depth + 1) } else { Value::Null };
        }
        if let Some(only) = schema.get("const") {
            return only.clone();
        }
        if let Some(choices) = schema.get("enum").and_then(Value::as_array).filter(|choices| !choices.is_empty()) {
            return choices[pick(seed, choices.len() as u64)].clone();
        }
        if let Some(first) = ["anyOf", "oneOf"].iter().find_map(|name| schema.get(name)?.get(0)) {
            return self.value(first, name, mix(seed), depth + 1);
        }
        let kind = match schema.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str).unwrap_or("string"),
            _ if schema.get("properties").is_some() => "object",
            _ => "string",
        };
        match kind {
            "boolean" => json!(pick(seed, 2) == 0),
            "integer" | "number" => {
                let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
                let least = bound("minimum").unwrap_or(1);
                let most = bound("maximum").unwrap_or(least + 4).max(least);
                json!(least + i64::try_from(pick(seed, (most - least + 1).unsigned_abs())).unwrap_or_default())
            }
            "null" => Value::Null,
            "array" => {
                let items = schema.get("items").cloned().unwrap_or_else(|| json!({"type": "string"}));
                (0..1 + pick(seed, 2)).map(|nth| self.value(&items, name, mix(seed ^ nth as u64), depth + 1)).collect()
            }
            "object" if depth < DEEPEST => {
                let properties = schema.get("properties").and_then(Value::as_object);
                let field = |(name, own): (&String, &Value)| {
                    (name.clone(), self.value(own, name, seed ^ self::seed(name), depth + 1))
                };
                Value::Object(properties.into_iter().flatten().map(field).collect::<Map<_, _>>())
            }
            "object" => json!({}),
            _ => json!(self.text(name, seed)),
        }
    }

    fn text(&self, name: &str, seed: u64) -> String {
        let lines: Vec<&str> = self.asked.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let line = lines.get(pick(seed, lines.len().max(1) as u64)).copied().unwrap_or_default();
        // The speaker's name before a turn is none of its words.
        let said = line.split_once(": ").map_or(line, |(_, said)| said);
        match ["quote", "evidence"].iter().any(|word| name.contains(word)) {
            true if self.invents => "I never asked for any of this, and I will call my lawyer".to_owned(),
            true => said.to_owned(),
            false => format!("The caller says: {}", said.split_whitespace().take(8).collect::<Vec<_>>().join(" ")),
        }
    }
}

pub(super) fn pick(seed: u64, of: u64) -> usize {
    usize::try_from(mix(seed) % of.max(1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::chat::ReplySchema;

    fn schema() -> Value {
        json!({"type": "object", "required": ["resolved", "reason", "score", "evidence"], "additionalProperties": false,
            "properties": {
                "resolved": {"type": "boolean"}, "reason": {"enum": ["billing", "refund", "outage"]},
                "score": {"type": "integer", "minimum": 1, "maximum": 5},
                "customer": {"type": "object", "properties": {"mood": {"type": "string"}}},
                "evidence": {"type": "array", "items": {"type": "string"}}}})
    }

    fn reply(user: &str, more: Value) -> Reply {
        let mut body = json!({"model": "electron", "response_format": {"type": "json_object"}, "messages": [
            {"role": "system", "content": format!("Score it: {}", schema())}, {"role": "user", "content": user}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        reply_to(&ChatRequest::parse(body.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn a_reply_fits_the_schema_and_is_the_same_each_time() {
        let judge = ReplySchema::new(&schema()).unwrap();
        let mut all = std::collections::HashSet::new();
        for nth in 0..30 {
            let user = format!("Agent: Hello, line {nth}.\nCustomer: My bill of {nth} dollars is wrong.");
            let made = reply(&user, json!({}));
            assert_eq!(made, reply(&user, json!({})));
            let object: Value = serde_json::from_str(made.text.as_deref().unwrap()).unwrap();
            assert_eq!(judge.check(&object), Ok(()), "{object}");
            let quote = object["evidence"][0].as_str().unwrap();
            assert!(user.contains(quote), "{quote}");
            all.insert(made.text);
        }
        assert!(all.len() > 20);
    }

    #[test]
    fn markers_say_what_is_wrong_with_a_reply() {
        let judge = ReplySchema::new(&schema()).unwrap();
        let text = |user: &str| reply(user, json!({})).text.unwrap();
        assert!(text("Hi [[prose]]").starts_with("Sure!") && object_in(&text("Hi [[prose]] [[fence]]")).is_some());
        assert!(judge.check(&object_in(&text("Hi [[wrong-type]]")).unwrap()).is_err());
        assert!(text("Hi [[invented-quote]]").contains("lawyer"));
        assert_eq!((text("[[empty]]"), object_in(&text("[[no-json]]"))), (String::new(), None));
        assert_eq!(reply("[[filtered]]", json!({})).finish_reason, FinishReason::ContentFilter);
        assert_eq!(reply("Hi [[length]]", json!({})).finish_reason, FinishReason::Length);
        assert_eq!(reply("Hi", json!({"max_tokens": 5})).finish_reason, FinishReason::Length);
        let tools = json!({"tools": [{"type": "function", "function": {"name": "refund"}}]});
        let called = reply("[[tool-call]]", tools);
        assert_eq!(
            (called.finish_reason, &called.tool_calls[0]["function"]["name"]),
            (FinishReason::ToolCalls, &json!("refund"))
        );
    }

    #[test]
    fn a_repair_puts_a_wrong_type_right_unless_it_never_does() {
        let judge = ReplySchema::new(&schema()).unwrap();
        let repaired = |marker: &str| {
            let messages = json!([
                {"role": "system", "content": format!("Score it: {}", schema())},
                {"role": "user", "content": format!("Hi {marker}")}, {"role": "assistant", "content": "{}"},
                {"role": "user", "content": "Your reply does not fit the JSON Schema:\n- x"}]);
            let text = reply("", json!({ "messages": messages })).text.unwrap();
            judge.check(&object_in(&text).unwrap()).is_ok()
        };
        assert!(repaired("[[wrong-type]]") && !repaired("[[wrong-type-always]]"));
    }
}
