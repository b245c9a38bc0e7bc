//! Chat: what a batch asks a language model for each line, as the ledger stores it, and how a request is made of it.

mod analysis;
mod completion;
mod grounding;
mod judgement;
mod model;
mod schema;
mod split;
mod usage;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use self::{
    analysis::{Analysis, ChatEndpoint, Metric, MetricType, column_names, places},
    completion::{Completion, FinishReason, object_in},
    grounding::{Grounded, SpokenSource, moments},
    judgement::{Judged, Reply, ReplyRules},
    model::{CONTEXT_TOKENS, ChatModel, LEAST_PREFIX_TOKENS},
    schema::{MOST_PROPERTIES, Property, ReplySchema, cells, properties},
    split::merging,
    usage::{Usage, estimated_tokens},
};
use super::{
    extra::Extra,
    identity::Identity,
    options::listed,
    task::{Asked, TaskName, Unit},
    transcript::SpokenTurn,
};

/// The fields of a request's body that wavebatch sets itself.
pub const OWN_BODY: &[&str] = &[
    "model",
    "messages",
    "temperature",
    "top_p",
    "max_tokens",
    "seed",
    "stop",
    "response_format",
    "tools",
    "stream",
    "stream_options",
    "transcript",
    "dispositionMetrics",
];

/// The fields of a request's body that the vendor refuses.
pub const REFUSED_BODY: &[&str] = &["n", "prompt_logprobs"];

/// The most repairs of one reply.
pub const MOST_REPAIRS: u32 = 5;

listed! {
    /// An option of a chat that a flag can set.
    ChatOption, "option" {
        /// The model.
        Model = "model",
    }
}

listed! {
    /// What happens to a line that is too long for the context.
    TooLong, "policy for lines that are too long" {
        /// It is sent as it is. The API refuses it, and the line fails.
        Fail = "fail",
        /// Its long column is cut between its lines. Each piece is asked for itself, and a last request makes one reply of the replies.
        Split = "split",
    }
}

impl TooLong {
    const fn is_fail(&self) -> bool {
        matches!(self, Self::Fail)
    }
}

/// How a model is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatOptions {
    /// The model.
    pub model: ChatModel,
    /// How much chance there is in a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The most tokens of a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// The share of likely words that a reply is made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// What makes chance repeat itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<i64>,
    /// Texts at which a reply ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Parameters that this release does not know.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
}

/// A turn that shows the model what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// What is asked.
    pub user: String,
    /// How it is to be answered.
    pub assistant: String,
}

/// What a batch asks for each of its lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chat {
    /// The endpoint that lines are sent to.
    #[serde(default = "chat_itself", skip_serializing_if = "ChatEndpoint::is_chat")]
    pub endpoint: ChatEndpoint,
    /// What an analysis is to find in each transcript.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// How the model is asked.
    pub options: ChatOptions,
    /// The text before all others, the same for all lines; `None`: there is none, or each line has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The template of that text, if each line has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_template: Option<String>,
    /// The template of what a line asks; `None`: a column is it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The JSON Schema of replies; `None`: replies are texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// Turns before a line's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
    /// Functions that the model may call, as the API takes them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Value>,
    /// What happens to a line that is too long.
    #[serde(default = "fail", skip_serializing_if = "TooLong::is_fail")]
    pub too_long: TooLong,
    /// How often a reply that does not fit the schema is sent back to the model.
    pub repairs: u32,
    /// The places of a reply whose texts must stand in a line's source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grounded: Vec<String>,
}

const fn fail() -> TooLong {
    TooLong::Fail
}

const fn chat_itself() -> ChatEndpoint {
    ChatEndpoint::Chat
}

/// What one line has for itself, beside its prompt.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ChatLine {
    /// The text before all others, if it is not the batch's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Where quotes must stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<QuotedFrom>,
    /// The words of the transcript that quotes stand in, with their times.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spoken: Vec<SpokenTurn>,
    /// Parameters that this release does not know.
    #[serde(default, skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
}

/// Where the quotes of a line must stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotedFrom {
    /// In these bytes of the prompt.
    Prompt(usize, usize),
    /// In a text that the prompt does not have.
    Text(String),
}

impl Asked for Chat {
    const TASK: TaskName = TaskName::of("chat");
    const UNIT: Unit = Unit::Characters;
}

/// A turn that asks for a reply to be put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repair<'a> {
    /// The reply.
    pub reply: &'a str,
    /// What is wrong with it.
    pub faults: &'a [String],
}

impl Chat {
    /// The body of a line's request. `repairs`: the replies so far that did not fit, in their order.
    #[must_use]
    pub fn body(&self, line: &ChatLine, prompt: &str, repairs: &[Repair<'_>]) -> Value {
        if !self.endpoint.is_chat() {
            let mut body = self.settings(line);
            body.insert("transcript".to_owned(), json!(prompt));
            return Value::Object(body);
        }
        let mut messages = self.stable_messages(line);
        messages.push(message("user", prompt));
        for repair in repairs {
            messages.push(message("assistant", repair.reply));
            messages.push(message("user", &repair_turn(repair.faults)));
        }
        let mut body = self.settings(line);
        body.insert("messages".to_owned(), Value::Array(messages));
        Value::Object(body)
    }

    /// The messages before a line's own prompt.
    fn stable_messages(&self, line: &ChatLine) -> Vec<Value> {
        let system = line.system.as_ref().or(self.system.as_ref());
        let mut messages: Vec<Value> = system.map(|text| message("system", text)).into_iter().collect();
        for example in &self.examples {
            messages.push(message("user", &example.user));
            messages.push(message("assistant", &example.assistant));
        }
        messages
    }

    /// The fields of a request beside its messages.
    fn settings(&self, line: &ChatLine) -> Map<String, Value> {
        let ChatOptions { model, temperature, max_tokens, top_p, seed, stop, extra } = &self.options;
        let mut body = Map::new();
        let mut set = |name: &str, value: Option<Value>| body.extend(value.map(|value| (name.to_owned(), value)));
        let is_chat = self.endpoint.is_chat();
        set("model", is_chat.then(|| json!(model.as_str())));
        set("dispositionMetrics", (!is_chat).then(|| analysis::wire_metrics(&self.metrics)));
        set("temperature", temperature.map(|number| json!(number)));
        set("top_p", top_p.map(|number| json!(number)));
        set("max_tokens", max_tokens.map(|number| json!(number)));
        set("seed", seed.map(|number| json!(number)));
        set("stop", (!stop.is_empty()).then(|| json!(stop)));
        set("response_format", self.schema.is_some().then(|| json!({"type": "json_object"})));
        set("tools", (!self.tools.is_empty()).then(|| json!(self.tools)));
        for (name, value) in &extra.with(&line.extra).body {
            set(name, serde_json::from_str(value).ok());
        }
        body
    }

    /// The identity of all that shapes the replies to a line, but its prompt.
    #[must_use]
    pub fn identity(&self, line: &ChatLine) -> Identity {
        let (settings, query) = (self.settings(line), self.options.extra.with(&line.extra).query);
        let all = json!([settings, self.stable_messages(line), query]);
        Identity::of(&[b"chat", all.to_string().as_bytes()])
    }

    /// The tokens of the messages before a line's own prompt, estimated.
    #[must_use]
    pub fn stable_tokens(&self, line: &ChatLine) -> u64 {
        let metrics = self.metrics.iter().map(|metric| MESSAGE_TOKENS + estimated_tokens(&metric.prompt)).sum::<u64>();
        metrics + tokens_of(&self.stable_messages(line))
    }

    /// Whether the lines' requests begin alike, so far that the vendor's cache of beginnings can be of use.
    #[must_use]
    pub fn shares_its_beginning(&self, line: &ChatLine) -> bool {
        self.endpoint.is_chat() && self.stable_tokens(line) >= LEAST_PREFIX_TOKENS
    }

    /// The tokens that a line's first request has, estimated.
    #[must_use]
    pub fn prompt_tokens(&self, line: &ChatLine, prompt: &str) -> u64 {
        self.stable_tokens(line) + MESSAGE_TOKENS + estimated_tokens(prompt)
    }

    /// The most tokens that the reply to a request of so many may have.
    #[must_use]
    pub fn most_completion_tokens(&self, prompt_tokens: u64) -> u64 {
        let room = CONTEXT_TOKENS.saturating_sub(prompt_tokens);
        self.options.max_tokens.map_or(room, |most| u64::from(most).min(room))
    }

    /// The prompts of a line: one, or one for each piece of a text that is too long and is to be cut.
    #[must_use]
    pub fn prompts(&self, line: &ChatLine, prompt: &str) -> Vec<String> {
        let pieces = match (self.too_long, &line.source) {
            (TooLong::Split, Some(QuotedFrom::Prompt(start, end))) => self.pieces(line, prompt, (*start, *end)),
            _ => Vec::new(),
        };
        if pieces.len() < 2 { vec![prompt.to_owned()] } else { pieces }
    }

    fn pieces(&self, line: &ChatLine, prompt: &str, (start, end): (usize, usize)) -> Vec<String> {
        let Some(text) = prompt.get(start..end) else { return Vec::new() };
        let all = self.prompt_tokens(line, prompt);
        let reply = self.options.max_tokens.map_or(USUAL_REPLY_TOKENS, u64::from).min(CONTEXT_TOKENS / 4);
        // Tokens are estimated: a tenth of the context is left free.
        let most = CONTEXT_TOKENS * 9 / 10 - reply;
        if all <= most {
            return Vec::new();
        }
        let around = all.saturating_sub(estimated_tokens(text));
        let room = most.saturating_sub(around);
        if room < LEAST_PIECE_TOKENS {
            return Vec::new();
        }
        let pieces = split::pieces(text, room);
        if pieces.len() > split::MOST_PIECES {
            return Vec::new();
        }
        pieces.into_iter().map(|piece| format!("{}{}{}", &prompt[..start], &text[piece], &prompt[end..])).collect()
    }

    /// The ending of the outputs' names, with its dot.
    #[must_use]
    pub const fn ending(&self) -> &'static str {
        if self.schema.is_some() || !self.endpoint.is_chat() { ".json" } else { ".txt" }
    }

    /// The properties of replies that are columns of the report.
    #[must_use]
    pub fn properties(&self) -> Vec<Property> {
        self.schema.as_ref().map(properties).unwrap_or_default()
    }

    /// Whether the moments of quotes are told, in [`EVIDENCE_AT`]: there may be some, and no property has that name.
    #[must_use]
    pub fn tells_moments(&self) -> bool {
        let names = match self.endpoint {
            ChatEndpoint::Chat => self.properties().into_iter().map(|property| property.name).collect(),
            ChatEndpoint::Pca => column_names(&self.metrics),
        };
        !self.grounded.is_empty() && !names.iter().any(|name| name == EVIDENCE_AT)
    }

    /// The name of what answers: the model, or the endpoint where no model can be chosen.
    #[must_use]
    pub fn answered_by(&self) -> &str {
        match self.endpoint {
            ChatEndpoint::Chat => self.options.model.as_str(),
            ChatEndpoint::Pca => self.endpoint.as_str(),
        }
    }

    /// Reads the body of an answer.
    ///
    /// # Errors
    /// It is no answer of the endpoint; the message says why.
    pub fn read(&self, body: &[u8]) -> Result<Completion, String> {
        Completion::read(self.endpoint, body)
    }
}

/// The property that tells when quotes were said, and by whom.
pub const EVIDENCE_AT: &str = "evidence_at";

/// How long replies are taken to be where nothing bounds them.
pub const USUAL_REPLY_TOKENS: u64 = 400;
/// The least piece of a text that is worth a request.
const LEAST_PIECE_TOKENS: u64 = 500;

/// What a message takes beside its text.
const MESSAGE_TOKENS: u64 = 4;

fn tokens_of(messages: &[Value]) -> u64 {
    let of = |message: &Value| MESSAGE_TOKENS + message["content"].as_str().map_or(0, estimated_tokens);
    messages.iter().map(of).sum()
}

fn message(role: &str, content: &str) -> Value {
    json!({ "role": role, "content": content })
}

/// What is said to a model whose reply does not fit.
fn repair_turn(faults: &[String]) -> String {
    let list: String = faults.iter().map(|fault| format!("\n- {fault}")).collect();
    format!("Your reply does not fit the JSON Schema:{list}\nReply with the corrected JSON object alone.")
}

/// A text for the model with the schema that its replies are to fit.
#[must_use]
pub fn with_schema(system: &str, schema: &Value) -> String {
    let told = format!("Reply with one JSON object that fits this JSON Schema, and with nothing else:\n{schema}");
    match system.trim_end() {
        "" => told,
        system => format!("{system}\n\n{told}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat() -> Chat {
        let options = ChatOptions {
            model: ChatModel::Electron,
            temperature: Some(0.0),
            max_tokens: Some(400),
            top_p: None,
            seed: Some(7),
            stop: Vec::new(),
            extra: Extra::default(),
        };
        let examples = vec![Example { user: "2+2?".into(), assistant: "4".into() }];
        Chat {
            endpoint: ChatEndpoint::Chat,
            metrics: Vec::new(),
            options,
            system: Some("Be brief.".into()),
            system_template: None,
            prompt: None,
            schema: None,
            examples,
            tools: Vec::new(),
            too_long: TooLong::Fail,
            repairs: 1,
            grounded: Vec::new(),
        }
    }

    #[test]
    fn the_stable_text_of_a_request_goes_first() {
        let body = chat().body(&ChatLine::default(), "3+3?", &[]);
        insta::assert_snapshot!(body, @r#"{"model":"electron","temperature":0.0,"max_tokens":400,"seed":7,"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"2+2?"},{"role":"assistant","content":"4"},{"role":"user","content":"3+3?"}]}"#);
    }

    #[test]
    fn a_repair_is_a_turn_with_what_is_wrong() {
        let faults = ["`/a`: want number, but got string".to_owned()];
        let schema = Some(json!({"properties": {"a": {"type": "number"}}}));
        let asked = Chat { schema, ..chat() };
        let body = asked.body(&ChatLine::default(), "3+3?", &[Repair { reply: "{\"a\":\"6\"}", faults: &faults }]);
        assert_eq!(body["response_format"], json!({"type": "json_object"}));
        let messages = body["messages"].as_array().unwrap();
        assert_eq!((messages.len(), &messages[4]["content"]), (6, &json!("{\"a\":\"6\"}")));
        let told = messages[5]["content"].as_str().unwrap();
        assert!(told.contains("\n- `/a`: want number, but got string\n"), "{told}");
    }

    #[test]
    fn an_analysis_gets_the_transcript_and_its_metrics_alone() {
        let metric = |prompt: &str| Metric {
            name: "refund".into(),
            prompt: prompt.into(),
            kind: MetricType::Boolean,
            choices: Vec::new(),
        };
        let mut asked = chat();
        asked.options = ChatOptions { temperature: None, max_tokens: None, seed: None, ..asked.options };
        let asked = Chat {
            endpoint: ChatEndpoint::Pca,
            metrics: vec![metric("A refund?")],
            system: None,
            examples: Vec::new(),
            ..asked
        };
        let line = ChatLine::default();
        insta::assert_snapshot!(asked.body(&line, "Agent: Hi.", &[]), @r#"{"dispositionMetrics":[{"identifier":"refund","dispositionMetricPrompt":"A refund?","dispositionMetricType":"BOOLEAN"}],"transcript":"Agent: Hi."}"#);
        let other = Chat { metrics: vec![metric("A full refund?")], ..asked.clone() };
        assert_ne!(asked.identity(&line), other.identity(&line));
        assert_ne!(asked.identity(&line), chat().identity(&line));
        assert_eq!((asked.answered_by(), asked.ending(), chat().answered_by()), ("pca", ".json", "electron"));
        let kept = serde_json::to_value(&asked).unwrap();
        assert_eq!(serde_json::from_value::<Chat>(kept).unwrap(), asked);
        assert!(
            !serde_json::to_string(&chat()).unwrap().contains("endpoint"),
            "what was stored before reads as before"
        );
    }

    #[test]
    fn what_shapes_a_reply_makes_another_request() {
        let (base, line) = (chat(), ChatLine::default());
        let own = base.identity(&line);
        assert_eq!(own, Chat { repairs: 3, grounded: vec!["evidence".into()], ..base.clone() }.identity(&line));
        let other = |change: fn(&mut Chat)| {
            let mut other = chat();
            change(&mut other);
            other.identity(&ChatLine::default())
        };
        let changed = [
            other(|chat| chat.options.max_tokens = Some(401)),
            other(|chat| chat.options.temperature = None),
            other(|chat| chat.system = None),
            other(|chat| chat.examples.clear()),
            other(|chat| chat.schema = Some(json!({}))),
            other(|chat| chat.options.extra.body.extend([("user".to_owned(), "\"a\"".to_owned())])),
            base.identity(&ChatLine { system: Some("Be long.".into()), ..ChatLine::default() }),
        ];
        for (nth, id) in changed.iter().enumerate() {
            assert!(*id != own && !changed[..nth].contains(id), "{nth}");
        }
        let source = Some(QuotedFrom::Text("x".into()));
        let spoken = vec![SpokenTurn { by: None, said: "x".into(), at: vec![1] }];
        let line = ChatLine { source, spoken, ..ChatLine::default() };
        assert_eq!(base.identity(&line), own, "quotes are judged, and not sent");
    }

    #[test]
    fn a_reply_has_the_room_that_the_prompt_leaves() {
        let asked = chat();
        assert_eq!(asked.most_completion_tokens(1_000), 400);
        assert_eq!(asked.most_completion_tokens(32_668), 100);
        assert_eq!(asked.most_completion_tokens(40_000), 0);
        let open = Chat { options: ChatOptions { max_tokens: None, ..asked.options.clone() }, ..asked.clone() };
        assert_eq!(open.most_completion_tokens(768), 32_000);
        assert_eq!(asked.prompt_tokens(&ChatLine::default(), &"a".repeat(400)), 4 * 4 + 3 + 1 + 1 + 100);
    }

    #[test]
    fn a_text_that_is_too_long_is_asked_in_pieces() {
        let text = "Customer: a line of some length.\n".repeat(5_000);
        let prompt = format!("Score this: {text} Be fair.");
        let source = Some(QuotedFrom::Prompt(12, 12 + text.len()));
        let line = ChatLine { source, ..ChatLine::default() };
        assert_eq!(chat().prompts(&line, &prompt).len(), 1, "it is sent as it is");
        let asked = Chat { too_long: TooLong::Split, ..chat() };
        let prompts = asked.prompts(&line, &prompt);
        assert!((2..5).contains(&prompts.len()), "{}", prompts.len());
        for one in &prompts {
            assert!(one.starts_with("Score this: Customer:") && one.ends_with(" Be fair."));
            assert!(asked.prompt_tokens(&line, one) < 30_000);
        }
        assert_eq!(asked.prompts(&line, "Score this: a b").len(), 1);
        assert_eq!(asked.prompts(&ChatLine::default(), &prompt).len(), 1, "nothing says what may be cut");
        assert_eq!(asked.identity(&line), chat().identity(&line), "what fits is asked as before");
    }

    #[test]
    fn the_schema_follows_the_text_before_it() {
        let schema = json!({"type": "object"});
        let told = with_schema("Score it.\n", &schema);
        assert!(told.starts_with("Score it.\n\nReply with one JSON object") && told.ends_with("{\"type\":\"object\"}"));
        assert!(with_schema("", &schema).starts_with("Reply with"));
    }
}
