//! Whether a reply counts: what of it is the result, and why it may not be right.

use serde_json::{Value, json};

use super::{
    Chat,
    analysis::{Analysis, Metric},
    completion::{Completion, FinishReason, object_in},
    grounding::{Grounded, QuoteSource, ungrounded},
    schema::ReplySchema,
};
use crate::domain::transcript::SuspectReason;

/// What replies are held against.
#[derive(Debug)]
pub struct ReplyRules {
    schema: Option<ReplySchema>,
    /// What an analysis is to have; `None`: the reply is of a chat.
    metrics: Option<Vec<Metric>>,
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
        Ok(Self { schema, metrics: None, grounded })
    }

    /// The rules of a batch.
    ///
    /// # Errors
    /// Its schema or one of its places does not read.
    pub fn of(asked: &Chat) -> Result<Self, String> {
        let rules = Self::new(asked.schema.as_ref(), &asked.grounded)?;
        Ok(Self { metrics: (!asked.endpoint.is_chat()).then(|| asked.metrics.clone()), ..rules })
    }

    /// Judges a reply. `source`: where its quotes must stand.
    #[must_use]
    pub fn judge(&self, reply: &Completion, source: &str) -> Judged {
        if let Some(metrics) = &self.metrics {
            return self.judge_analysis(metrics, reply, source);
        }
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
        let doubt = self.quotes(&object, source);
        Judged { result: Reply::Object(object), doubt, faults: Vec::new() }
    }

    /// Judges an analysis. Nobody can be told what is wrong with it: there is no second turn.
    fn judge_analysis(&self, metrics: &[Metric], reply: &Completion, source: &str) -> Judged {
        let answer = serde_json::from_str(&reply.text).unwrap_or_default();
        let Analysis { result, faults, .. } = Analysis::of(metrics, &answer);
        if !faults.is_empty() {
            let words = format!("the analysis has not what its metrics ask for: {}", faults.join("; "));
            let result = Reply::Text(reply.text.clone());
            return Judged { result, doubt: Some((SuspectReason::Schema, words)), faults: Vec::new() };
        }
        if metrics.is_empty() && result["summary"].as_str().is_none_or(|text| text.trim().is_empty()) {
            let doubt = Some((SuspectReason::Empty, "the analysis has no summary".to_owned()));
            return Judged { result: Reply::Text(reply.text.clone()), doubt, faults: Vec::new() };
        }
        let doubt = self.quotes(&result, source);
        Judged { result: Reply::Object(result), doubt, faults: Vec::new() }
    }

    /// Why the quotes of a result cannot be right.
    fn quotes(&self, result: &Value, source: &str) -> Option<(SuspectReason, String)> {
        match self.grounded.as_slice() {
            [] => None,
            grounded => not_said(&ungrounded(grounded, result, &QuoteSource::of(source))),
        }
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
    fn an_analysis_is_held_against_its_metrics() {
        use super::super::{Metric, MetricType};
        let metric =
            Metric { name: "out".into(), prompt: "Out?".into(), kind: MetricType::Boolean, choices: Vec::new() };
        let rules =
            ReplyRules { metrics: Some(vec![metric]), ..ReplyRules::new(None, &["*.reasoning".to_owned()]).unwrap() };
        let judge = |value: &str, reasoning: &str| {
            let own = json!({"identifier": "out", "value": value, "confidence": 1, "reasoning": reasoning});
            rules.judge(&reply(&json!({"summary": "s", "dispositionMetrics": [own]}).to_string(), ""), SOURCE)
        };
        let good = judge("true", "my power is out");
        assert_eq!(good.doubt, None);
        let out = json!({"value": true, "confidence": 1, "reasoning": "my power is out"});
        assert_eq!(good.result, Reply::Object(json!({"summary": "s", "out": out})));
        let wrong = judge("perhaps", "my power is out");
        assert_eq!(wrong.doubt.as_ref().unwrap().0, SuspectReason::Schema);
        assert!(wrong.doubt.unwrap().1.ends_with("`out` is neither true nor false"));
        assert!(wrong.faults.is_empty() && matches!(wrong.result, Reply::Text(_)), "it is not sent back");
        assert_eq!(judge("true", "I was away").doubt.unwrap().0, SuspectReason::Ungrounded);
        let bare = ReplyRules { metrics: Some(Vec::new()), ..ReplyRules::new(None, &[]).unwrap() };
        assert_eq!(bare.judge(&reply(r#"{"summary": " "}"#, ""), SOURCE).doubt.unwrap().0, SuspectReason::Empty);
        assert_eq!(bare.judge(&reply(r#"{"summary": "A call."}"#, ""), SOURCE).doubt, None);
    }

    #[test]
    fn a_text_is_not_held_against_anything() {
        let judged = ReplyRules::new(None, &[]).unwrap().judge(&reply("Hello {", "stop"), "");
        assert_eq!(judged, Judged { result: Reply::Text("Hello {".into()), doubt: None, faults: Vec::new() });
    }
}
