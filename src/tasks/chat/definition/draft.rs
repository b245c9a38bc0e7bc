//! The fields that only a chat's definition has, before the defaults.

use std::ops::RangeInclusive;

use toml::de::DeValue;

use crate::{
    definition::{
        NoSource, Page,
        fields::{FieldTable, fields},
        text::{named, some},
        walk::{Section, TomlWalk, Wrong},
    },
    domain::{
        chat::{ChatEndpoint, ChatModel, Grounded, MOST_REPAIRS, Metric, MetricType, TooLong},
        extra::Extra,
    },
};

/// The rows of the reference.
pub(super) const FIELDS: &[FieldTable] = &[ROOT, OPTIONS, METRICS];

fields! {
    /// Further fields of a chat.
    ROOT = "" {
        /// What happens to a line that asks nothing: all cells of its prompt are empty.
        "no_text": [NoSource] (= "\"fault\"") => Lines;
    }
}

fields! {
    /// What a language model is asked for each line. If finished lines would have to be paid for again after a change, the command
    /// exits with 2 and says what it costs, until you say `--rebuy`: that is so for all that is sent. After a change of `grounded` or
    /// `grounded_in`, `run` judges again and pays for nothing.
    ///
    /// In `system` and `prompt`, `{column}` stands for a cell of the line; other braces, as those of JSON, stand for themselves, and
    /// `{{column}}` for `{column}`. A value that ends in `.md` or `.txt` is the name of a file beside the definition.
    OPTIONS = "chat" {
        /// The endpoint that lines are sent to.
        "endpoint": [ChatEndpoint] (= "\"chat\"") => Pays;
        /// The model of a chat.
        "model": [ChatModel] (required) => Pays;
        /// The text before all others: a text, or the name of a file. What is the same for all lines is cheaper for all but the first: it is in the vendor's cache.
        "system": "a string" () => Pays;
        /// What a line asks: a text, or the name of a file. With `endpoint = "pca"`, the transcript.
        "prompt": "a string" (or "the column `prompt`, `text` or `transcript`") => Pays;
        /// The JSON Schema of replies: the name of a file. The model is told it after `system`, or where `{schema}` stands in it. Its properties become columns of the report.
        "schema": "a string" () => Pays;
        /// Turns before a line's own that show what is wanted: the name of a file of JSON Lines with `user` and `assistant`.
        "examples": "a string" () => Pays;
        /// How much chance there is in a reply: 0 to 2.
        "temperature": "a number" (or "the API's own: 1") => Pays;
        /// The share of likely words that a reply is made of: 0 to 1.
        "top_p": "a number" (or "the API's own: 1") => Pays;
        /// The most tokens of a reply. It bounds what a call can cost; a reply that it ends is suspect (`cut_off`).
        "max_tokens": "a whole number" (or "what the context has room for") => Pays;
        /// A number that makes chance repeat itself, as far as the model can.
        "seed": "a whole number" () => Pays;
        /// Texts at which a reply ends: at most 4.
        "stop": "a list of strings" (= "[]") => Pays;
        /// How often a reply that does not fit the schema is sent back to the model with what is wrong: 0 to 5. Each time is a call, and costs what it costs.
        "repairs": "a whole number" (= "1") => Nothing;
        /// Functions that the model may call: the name of a file with a list in JSON, as the API takes it. wavebatch runs none; the calls are the output.
        "tools": "a string" () => Pays;
        /// What happens to a line that is too long for the context, as far as its tokens can be estimated.
        "too_long": [TooLong] (= "\"fail\"") => Nothing;
        /// Places of the reply whose texts must stand in the line's source, e.g. `["evidence", "*.quote"]`: names with dots, and `*` for any name. Lists are looked through. Case, spaces and punctuation do not matter.
        "grounded": "a list of strings" (= "[]") => Nothing;
        /// The text that quotes must stand in: a template over columns.
        "grounded_in": "a string" (or "`{transcript}`, else the prompt") => Nothing;
    }
}

fields! {
    /// What an analysis is to find in each transcript: a table for each, `[[chat.metrics]]`, or a list of inline tables. The values are
    /// columns of the report, each with a column for its confidence and one for its reasoning. Without metrics, an analysis is a
    /// summary of the call.
    METRICS = "chat.metrics" {
        /// Its name, which is the column's: letters, digits, `_` and `-`.
        "name": "a string" (required) => Pays;
        /// What is asked, in plain words.
        "prompt": "a string" (required) => Pays;
        /// What its value is. A value of another type makes the line suspect (`schema`).
        "type": [MetricType] (required) => Pays;
        /// The values that an enum may have: two or more.
        "choices": "a list of strings" () => Pays;
    }
}

/// The fields that the file sets; `None` if it does not set one.
#[derive(Debug, Default)]
pub(super) struct ChatDraft {
    pub(super) no_text: Option<NoSource>,
    pub(super) endpoint: Option<ChatEndpoint>,
    pub(super) metrics: Option<Vec<Metric>>,
    pub(super) model: Option<ChatModel>,
    pub(super) system: Option<String>,
    pub(super) prompt: Option<String>,
    pub(super) schema: Option<String>,
    pub(super) examples: Option<String>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) max_tokens: Option<u32>,
    pub(super) seed: Option<i64>,
    pub(super) stop: Option<Vec<String>>,
    pub(super) repairs: Option<u32>,
    pub(super) tools: Option<String>,
    pub(super) too_long: Option<TooLong>,
    pub(super) grounded: Option<Vec<String>>,
    pub(super) grounded_in: Option<String>,
    pub(super) extra: Extra,
}

/// Reads the fields: those of the file's top level, and all of `[chat]`.
pub(super) fn read(page: &mut Page<'_, '_>) -> ChatDraft {
    let Page { walk, root, .. } = page;
    let no_text = walk.text(root, "no_text", named);
    let mut section = walk.section(root, "chat");
    let s = &mut section;
    let draft = ChatDraft {
        no_text,
        endpoint: walk.text(s, "endpoint", named),
        metrics: read_metrics(walk, s),
        model: walk.text(s, "model", named),
        system: walk.text(s, "system", some),
        prompt: walk.text(s, "prompt", some),
        schema: walk.text(s, "schema", some),
        examples: walk.text(s, "examples", some),
        temperature: number_in(walk, s, "temperature", 0.0..=2.0),
        top_p: number_in(walk, s, "top_p", 0.0..=1.0),
        max_tokens: walk.count(s, "max_tokens"),
        seed: walk.take(s, "seed", |value| {
            let number = value.as_integer().ok_or(Wrong::Type("a whole number"))?;
            i64::from_str_radix(number.as_str(), number.radix()).map_err(|e| Wrong::Value(format!("{number}: {e}")))
        }),
        stop: read_stop(walk, s),
        repairs: walk.count_in(s, "repairs", 0..=MOST_REPAIRS),
        tools: walk.text(s, "tools", some),
        too_long: walk.text(s, "too_long", named),
        grounded: walk.list(s, "grounded", |text| Grounded::parse(text).map(|_| text.trim().to_owned())),
        grounded_in: walk.text(s, "grounded_in", some),
        extra: Extra::default(),
    };
    walk.close(section);
    draft
}

/// Reads the metrics. One that is wrong is a fault, and left out.
fn read_metrics<'t>(walk: &mut TomlWalk<'t>, section: &mut Section<'t>) -> Option<Vec<Metric>> {
    /// More than these are no scorecard any more.
    const MOST: usize = 64;
    let mut metrics: Vec<Metric> = Vec::new();
    for (at, mut own) in walk.sections(section, "metrics")? {
        let faults = walk.faults.len();
        let name = walk.text(&mut own, "name", Metric::name_of);
        let prompt = walk.text(&mut own, "prompt", some);
        let kind = walk.text(&mut own, "type", named);
        let choices = walk.list(&mut own, "choices", |text| match text.trim() {
            "" => Err("may not be empty".to_owned()),
            text => Ok(text.to_owned()),
        });
        walk.close(own);
        if walk.faults.len() > faults {
            continue;
        }
        let missing = [("name", name.is_none()), ("prompt", prompt.is_none()), ("type", kind.is_none())];
        for (field, _) in missing.iter().filter(|(_, is_missing)| *is_missing) {
            walk.fault(at, Some(format!("chat.metrics.{field}")), "is missing");
        }
        let (Some(name), Some(prompt), Some(kind)) = (name, prompt, kind) else { continue };
        let metric = Metric { name, prompt, kind, choices: choices.unwrap_or_default() };
        let wrong = match metrics.iter().any(|other| other.name == metric.name) {
            true => Err("is the name of two metrics".to_owned()),
            false => metric.check_choices(),
        };
        match wrong {
            Ok(()) => metrics.push(metric),
            Err(why) => walk.fault(at, Some("chat.metrics".to_owned()), format!("`{}` {why}", metric.name)),
        }
    }
    if metrics.len() > MOST {
        walk.fault_of("chat.metrics", format!("has {}, and {MOST} are the most", metrics.len()));
    }
    Some(metrics)
}

fn number_in<'t>(
    walk: &mut TomlWalk<'t>,
    section: &mut Section<'t>,
    name: &str,
    range: RangeInclusive<f64>,
) -> Option<f64> {
    walk.take(section, name, |value| {
        let text = match value {
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.as_str().to_owned(),
            _ => return Err(Wrong::Type("a number")),
        };
        let number = text.parse::<f64>().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| Wrong::Value(format!("{text} is not between {} and {}", range.start(), range.end())))
    })
}

fn read_stop<'t>(walk: &mut TomlWalk<'t>, section: &mut Section<'t>) -> Option<Vec<String>> {
    /// The most texts that the API takes.
    const MOST: usize = 4;
    let stop = walk.list(section, "stop", |text| match text {
        "" => Err("may not be empty".to_owned()),
        text => Ok(text.to_owned()),
    })?;
    if stop.len() > MOST {
        walk.fault_of("chat.stop", format!("has {}, and the API takes {MOST} at most", stop.len()));
        return None;
    }
    Some(stop)
}
