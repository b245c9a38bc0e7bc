//! Builds the settings of a chat from the file, the command line and the defaults.

use std::sync::Arc;

use serde_json::Value;

use super::{
    super::{
        chatting::Chatting,
        prompt::{self, SCHEMA},
    },
    draft::ChatDraft,
    files,
};
use crate::{
    definition::{Built, NoSource, Template, build::Builder, template::Segment},
    domain::chat::{
        Chat, ChatEndpoint, ChatModel, ChatOption, ChatOptions, Example, Grounded, REFUSED_BODY, ReplyRules, TooLong,
        places, properties, with_schema,
    },
};

const DEFAULT_REPAIRS: u32 = 1;

/// Lines can be judged by the result: a wrong text has a placeholder.
pub(super) fn build(said: &ChatDraft, on: &mut Builder<'_>) -> Built {
    let mut model = said.model;
    on.set_options("chat", |option: ChatOption, text| match option {
        ChatOption::Model => {
            text.parse().map(|own| model = Some(own)).map_err(|e: crate::domain::open::NoValue| e.to_string())
        }
    });
    let endpoint = said.endpoint.unwrap_or(ChatEndpoint::Chat);
    let is_endpoint_known = said.endpoint.is_some() || !on.in_file("chat.endpoint");
    let lacks_model = model.is_none() && endpoint.is_chat() && is_endpoint_known;
    on.missing("chat.model", lacks_model, "model = \"electron\"");
    check_endpoint(on, said, model.is_some());
    for name in REFUSED_BODY {
        if said.extra.body.contains_key(*name) {
            on.fault(&format!("extra.body.{name}"), "the API refuses it; ask for each reply with a line of its own");
        }
    }
    let schema = said.schema.as_ref().and_then(|file| schema(on, file));
    let examples = said.examples.as_ref().and_then(|file| files::examples_of(on, "chat.examples", file));
    let tools = said.tools.as_ref().and_then(|file| files::tools_of(on, "chat.tools", file));
    let (system_text, system) = said.system.as_ref().and_then(|text| template(on, "chat.system", text)).unzip();
    let (prompt_text, prompt) = said.prompt.as_ref().and_then(|text| template(on, "chat.prompt", text)).unzip();
    let grounded_in = said
        .grounded_in
        .as_ref()
        .and_then(|text| prompt::parse(text).map_err(|message| on.fault("chat.grounded_in", message)).ok());
    let grounded = said.grounded.clone().unwrap_or_default();
    let metrics = said.metrics.clone().unwrap_or_default();
    match endpoint {
        ChatEndpoint::Chat => check_grounded(on, said, &grounded, schema.as_ref()),
        ChatEndpoint::Pca => check_places(on, "an analysis", &grounded, &places(&metrics)),
    }
    let (system, templated) = told(system, schema.as_ref());
    let asked = Chat {
        endpoint,
        metrics,
        options: ChatOptions {
            model: model.unwrap_or(ChatModel::Electron),
            temperature: said.temperature,
            max_tokens: said.max_tokens,
            top_p: said.top_p,
            seed: said.seed,
            stop: said.stop.clone().unwrap_or_default(),
            extra: said.extra.clone(),
        },
        system,
        system_template: system_text.filter(|_| templated.is_some()),
        prompt: prompt_text,
        schema,
        examples: examples.unwrap_or_default(),
        tools: tools.unwrap_or_default(),
        too_long: said.too_long.unwrap_or(TooLong::Fail),
        // An analysis has one turn: nothing can be sent back.
        repairs: if endpoint.is_chat() { said.repairs.unwrap_or(DEFAULT_REPAIRS) } else { 0 },
        grounded,
    };
    let judged = said.prompt.is_none() == prompt.is_none();
    let no_text = said.no_text.unwrap_or(NoSource::Fault);
    Built { task: Arc::new(Chatting { asked, system: templated, prompt, grounded_in, no_text }), judged }
}

/// The text and the template of a field that is a text or the name of a file.
fn template(on: &mut Builder<'_>, field: &str, said: &str) -> Option<(String, Template)> {
    let text = files::text_of(on, field, said)?;
    let template = prompt::parse(&text).map_err(|message| on.fault(field, message)).ok()?;
    Some((text, template))
}

fn schema(on: &mut Builder<'_>, file: &str) -> Option<Value> {
    let schema = files::json_of(on, "chat.schema", file)?;
    match ReplyRules::new(Some(&schema), &[]) {
        Ok(_) => Some(schema),
        Err(message) => {
            on.fault("chat.schema", format!("`{}`: {message}", on.base.join(file).display()));
            None
        }
    }
}

/// The system text that all lines share, with the schema; or the template of a text that each line has for itself.
fn told(system: Option<Template>, schema: Option<&Value>) -> (Option<String>, Option<Template>) {
    let Some(template) = system else { return (schema.map(|schema| with_schema("", schema)), None) };
    let names_schema = template.names().any(|name| name == SCHEMA);
    let is_fixed = |segment: &Segment| match segment {
        Segment::Text(_) => true,
        Segment::Name(name) => name == SCHEMA && schema.is_some(),
        Segment::Date(_) => false,
    };
    if !template.segments().iter().all(is_fixed) {
        return (None, Some(template));
    }
    let text: String = template
        .segments()
        .iter()
        .map(|segment| match (segment, schema) {
            (Segment::Text(text), _) => text.clone(),
            (_, schema) => schema.map(Value::to_string).unwrap_or_default(),
        })
        .collect();
    let text = match schema {
        Some(schema) if !names_schema => with_schema(&text, schema),
        _ => text,
    };
    (Some(text), None)
}

/// Quotes are looked for in objects, at places that they may have.
fn check_grounded(on: &mut Builder<'_>, said: &ChatDraft, grounded: &[String], schema: Option<&Value>) {
    let is_faulty = said.schema.is_some() && schema.is_none();
    match schema {
        _ if grounded.is_empty() => {
            if said.grounded_in.is_some() && said.too_long != Some(TooLong::Split) {
                on.fault("chat.grounded_in", "is of no use without `grounded`, which names the places that quote");
            }
        }
        None if is_faulty => {}
        None => on.fault("chat.grounded", "needs a `schema`: without one a reply is a text, which has no places"),
        Some(schema) => {
            let names: Vec<String> = properties(schema).into_iter().map(|property| property.name).collect();
            check_places(on, "the schema", grounded, &names);
        }
    }
}

/// Quotes are looked for at places that there may be.
fn check_places(on: &mut Builder<'_>, what: &str, grounded: &[String], names: &[String]) {
    for text in grounded {
        if Grounded::parse(text).is_ok_and(|place| !place.may_be_in(names)) {
            on.fault("chat.grounded", format!("{what} has no `{text}`; it has {}", listed(names)));
        }
    }
}

/// What one endpoint takes, the other does not.
fn check_endpoint(on: &mut Builder<'_>, said: &ChatDraft, has_model: bool) {
    if said.endpoint.unwrap_or(ChatEndpoint::Chat).is_chat() {
        if said.metrics.is_some() {
            on.fault("chat.metrics", "are for endpoint = \"pca\"; a chat has a `schema`");
        }
        return;
    }
    let of_chats = [
        ("model", has_model),
        ("system", said.system.is_some()),
        ("schema", said.schema.is_some()),
        ("examples", said.examples.is_some()),
        ("temperature", said.temperature.is_some()),
        ("top_p", said.top_p.is_some()),
        ("max_tokens", said.max_tokens.is_some()),
        ("seed", said.seed.is_some()),
        ("stop", said.stop.is_some()),
        ("repairs", said.repairs.is_some()),
        ("tools", said.tools.is_some()),
        ("too_long", said.too_long.is_some()),
    ];
    for (name, _) in of_chats.iter().filter(|(_, is_said)| *is_said) {
        on.fault(&format!("chat.{name}"), "is for a chat; an analysis takes a transcript and `metrics` alone");
    }
}

fn listed(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    format!("{}{}", shown.join(", "), if names.len() > SHOWN { ", …" } else { "" })
}

/// What the author should know before anything is paid.
pub(super) fn notes(of: &Chatting) -> Vec<String> {
    let asked = &of.asked;
    let mut notes = Vec::new();
    let bare: Vec<String> =
        asked.properties().into_iter().filter(|own| !own.is_described).map(|own| own.name).collect();
    if !bare.is_empty() {
        notes.push(format!(
            "the schema does not say what {} mean{}: a `description` of each makes better replies",
            listed(&bare),
            if bare.len() == 1 { "s" } else { "" }
        ));
    }
    notes.extend(unstable(of));
    if asked.options.max_tokens.is_none() && asked.endpoint.is_chat() {
        notes.push("max_tokens is not set: a reply may have all that the context has room for, and a lost call may have cost that".to_owned());
    }
    notes
}

/// A name in the text before all others makes all after it other for each line: nothing of that is cached.
fn unstable(of: &Chatting) -> Option<String> {
    let template = of.system.as_ref()?;
    let first = template.names().find(|name| *name != SCHEMA)?;
    let after = template.segments().iter().skip_while(|segment| !is_name(segment, first)).skip(1);
    let behind = after.map(|segment| if let Segment::Text(text) = segment { text.len() } else { 0 }).sum::<usize>();
    let examples: usize =
        of.asked.examples.iter().map(|Example { user, assistant }| user.len() + assistant.len()).sum();
    let schema = of.asked.schema.as_ref().map_or(0, |schema| schema.to_string().len());
    (behind + examples + schema > 0).then(|| {
        format!(
            "`{{{first}}}` stands before text that is the same for all lines, which the vendor's cache cannot find behind it; move it into `prompt`, and replies cost less"
        )
    })
}

fn is_name(segment: &Segment, wanted: &str) -> bool {
    matches!(segment, Segment::Name(name) if name == wanted)
}
