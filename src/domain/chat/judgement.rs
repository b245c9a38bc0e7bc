//! Whether a reply counts: what of it is the result, and why it may not be right.

use serde_json::{Value, json};

use super::{
    completion::{Completion, FinishReason, object_in},
    grounding::{Grounded, QuoteSource, ungrounded},
    schema::ReplySchema,
};
use crate::domain::transcript::SuspectReason;

/// What replies are held against.
#[derive(Debug)]
pub struct ReplyRules {
    schema: Option<ReplySchema>,
    grounded: Vec<Grounded>,
}

/// What a reply comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The result.
    pub result: Reply,
    /// Why it cannot be right, and what is said of it.
    pub doubt: Option<(SuspectReason, String)>,
    /// What the model is told if the reply is sent back to it: how it differs from the schema.
    pub faults: Vec<String>,
}

/// The result of a chat.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A text; where an object was asked for, one that is none.
    Text(String),
    /// An object.
    Object(Value),
}

impl ReplyRules {
    /// Rules of a schema and of places that quote. Both were read before.
    ///
    /// # Errors
    /// The schema or a place does not read.
    pub fn new(schema: Option<&Value>, grounded: &[String]) -> Result<Self, String> {
        let schema = schema.map(ReplySchema::new).transpose()?;
        let grounded = grounded.iter().map(|text| Grounded::parse(text)).collect::<Result<_, _>>()?;
        Ok(Self { schema, grounded })
    }

    /// Judges a reply. `source`: where its quotes must stand.
    #[must_use]
    pub fn judge(&self, reply: &Completion, source: &str) -> Judged {
        let text = || Reply::Text(reply.text.clone());
        let object = self.schema.as_ref().and_then(|_| object_in(&reply.text));
        let told = |reason: SuspectReason, words: &str, result| Judged {
            result,
            doubt: Some((reason, words.to_owned())),
            faults: Vec::new(),
        };
        match reply.finish_reason {
            Some(FinishReason::ContentFilter) => {
                return told(SuspectReason::Filtered, "the vendor's filter stopped the reply", text());
            }
            Some(FinishReason::Length) => {
                let words = "the reply ends at max_tokens, or at the end of the context";
                return told(SuspectReason::CutOff, words, text());
            }
            _ => {}
        }
        if !reply.tool_calls.is_empty() {
            let content = Some(&reply.text).filter(|text| !text.is_empty());
            let object = json!({ "content": content, "tool_calls": reply.tool_calls });
            return Judged { result: Reply::Object(object), doubt: None, faults: Vec::new() };
        }
        if reply.text.trim().is_empty() {
            return told(SuspectReason::Empty, "the reply is empty", text());
        }
        let Some(schema) = &self.schema else {
            return Judged { result: text(), doubt: None, faults: Vec::new() };
        };
        let Some(object) = object else {
            return misfit(vec!["there is no JSON object in the reply".to_owned()], text());
        };
        if let Err(faults) = schema.check(&object) {
            return misfit(faults, text());
        }
        let doubt = match self.grounded.as_slice() {
            [] => None,
            grounded => not_said(&ungrounded(grounded, &object, &QuoteSource::of(source))),
        };
        Judged { result: Reply::Object(object), doubt, faults: Vec::new() }
    }
}

/// A reply that does not fit the schema.
fn misfit(faults: Vec<String>, result: Reply) -> Judged {
    let words = format!("the reply does not fit its JSON Schema: {}", faults.join("; "));
    Judged { result, doubt: Some((SuspectReason::Schema, words)), faults }
}

fn not_said(places: &[String]) -> Option<(SuspectReason, String)> {
    let named: Vec<String> = places.iter().map(|place| format!("`{place}`")).collect();
    let words = format!("{} quotes what does not stand in the source", named.join(", "));
    (!places.is_empty()).then_some((SuspectReason::Ungrounded, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "Customer: My power is out since Monday.";

    fn rules() -> ReplyRules {
        let schema = json!({"type": "object", "required": ["resolved"], "properties": {
            "resolved": {"type": "boolean"}, "evidence": {"type": "array", "items": {"type": "string"}}}});
        ReplyRules::new(Some(&schema), &["evidence".to_owned()]).unwrap()
    }

    fn reply(text: &str, finish_reason: &str) -> Completion {
        Completion { text: text.to_owned(), finish_reason: finish_reason.parse().ok(), ..Completion::default() }
    }

    fn doubt(text: &str, finish_reason: &str) -> Option<SuspectReason> {
        rules().judge(&reply(text, finish_reason), SOURCE).doubt.map(|(reason, _)| reason)
    }

    #[test]
    fn a_reply_that_fits_is_the_object_in_it() {
        let judged = rules().judge(&reply("Sure:\n```json\n{\"resolved\": true}\n```", "stop"), SOURCE);
        let result = Reply::Object(json!({"resolved": true}));
        assert_eq!(judged, Judged { result, doubt: None, faults: Vec::new() });
        assert_eq!(doubt(r#"{"resolved": true, "evidence": ["my power is OUT"]}"#, "stop"), None);
        assert_eq!(doubt(r#"{"resolved": true}"#, "a reason of next year"), None);
    }

    #[test]
    fn each_way_to_be_wrong_has_its_reason() {
        assert_eq!(doubt("{", "length"), Some(SuspectReason::CutOff));
        assert_eq!(doubt("", "content_filter"), Some(SuspectReason::Filtered));
        assert_eq!(doubt(" \n", "stop"), Some(SuspectReason::Empty));
        assert_eq!(doubt("I cannot do that.", "stop"), Some(SuspectReason::Schema));
        assert_eq!(doubt(r#"{"resolved": "yes"}"#, "stop"), Some(SuspectReason::Schema));
        assert_eq!(
            doubt(r#"{"resolved": true, "evidence": ["I want a refund"]}"#, "stop"),
            Some(SuspectReason::Ungrounded)
        );
    }

    #[test]
    fn only_what_does_not_fit_is_sent_back() {
        let judged = rules().judge(&reply(r#"{"resolved": "yes"}"#, "stop"), SOURCE);
        assert_eq!(judged.faults, ["`/resolved`: want boolean, but got string"]);
        assert_eq!(judged.result, Reply::Text(r#"{"resolved": "yes"}"#.to_owned()), "what is not checked is no object");
        let words = judged.doubt.unwrap().1;
        assert_eq!(words, "the reply does not fit its JSON Schema: `/resolved`: want boolean, but got string");
        let judged = rules().judge(&reply(r#"{"resolved": true, "evidence": ["never"]}"#, "stop"), SOURCE);
        assert!(judged.faults.is_empty() && matches!(judged.result, Reply::Object(_)));
        assert_eq!(judged.doubt.unwrap().1, "`evidence` quotes what does not stand in the source");
    }

    #[test]
    fn calls_of_functions_are_written_as_they_come() {
        let calls = vec![json!({"id": "c", "type": "function", "function": {"name": "refund", "arguments": "{}"}})];
        let reply = Completion { tool_calls: calls.clone(), ..reply("", "tool_calls") };
        let judged = rules().judge(&reply, SOURCE);
        assert_eq!(judged.doubt, None);
        assert_eq!(judged.result, Reply::Object(json!({"content": null, "tool_calls": calls})));
    }

    #[test]
    fn a_text_is_not_held_against_anything() {
        let judged = ReplyRules::new(None, &[]).unwrap().judge(&reply("Hello {", "stop"), "");
        assert_eq!(judged, Judged { result: Reply::Text("Hello {".into()), doubt: None, faults: Vec::new() });
    }
}
