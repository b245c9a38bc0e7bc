//! The purpose of each column of a manifest of prompts.

use super::{
    super::{
        chatting::Chatting,
        prompt::{Prompt, SCHEMA},
    },
    PROMPT_NAMES, TRANSCRIPT_NAMES,
};
use crate::{
    definition::{
        Faults,
        manifest::{Columns, KEY_NAMES, NameRule, OpenManifest, Uses, WORDS, extras, rule_name},
        text::ticked,
    },
    domain::chat::{ChatEndpoint, OWN_BODY, REFUSED_BODY, TooLong},
};

/// The column that quotes are looked for in, if the definition names none.
const TRANSCRIPT: &str = "transcript";

/// Where each value of a line comes from.
#[derive(Debug)]
pub(super) struct ChatColumns {
    pub(super) columns: Columns,
    pub(super) key: Option<NameRule>,
    pub(super) prompt: Prompt,
    /// The column of the prompt, if it is one alone.
    pub(super) prompt_name: Option<String>,
    /// The text before the prompt, if each line has its own.
    pub(super) system: Option<Prompt>,
    /// Whether that text has the schema in it.
    pub(super) system_has_schema: bool,
    /// Where quotes must stand, if there are some.
    pub(super) source: Option<Prompt>,
    /// The words of the transcript that quotes stand in, with their times.
    pub(super) spoken: Option<usize>,
    /// Parameters that this release does not know, by name.
    pub(super) extras: Vec<(String, usize)>,
}

impl ChatColumns {
    /// Determines the purpose of each column.
    pub(super) fn of(asked: &Chatting, manifest: &OpenManifest<'_>, columns: Vec<String>) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        if manifest.of_files {
            let message = "names files, and a chat takes a table, JSON Lines or plain lines; write a CSV with the columns `key` and `prompt`";
            faults.push(manifest.fault(message));
            return Err(faults);
        }
        let mut fault = |message: String| faults.push(manifest.fault(message));
        let definition = manifest.definition;
        let (own, named) = (columns.len(), manifest.named(columns.len()));
        let uses = Uses { definition, columns: &columns, own, named, of_files: false, doubled: &manifest.doubled };
        let key = match definition.key_column.as_ref() {
            Some(template) => uses.rule(template, columns.len()).map(Some),
            None => uses.find(&KEY_NAMES, named).map(|at| at.map(NameRule::Cell)),
        };
        let key = key.map_err(&mut fault).ok().flatten();
        let schema = asked.asked.schema.as_ref().map(ToString::to_string);
        let of = |template| Prompt::of(template, &uses, schema.as_deref());
        let prompt = match &asked.prompt {
            Some(template) => of(template).map(Some).map_err(|message| format!("chat.prompt: {message}")),
            None => uses.find(prompt_names(asked.asked.endpoint), columns.len()).map(|at| at.map(Prompt::of_cell)),
        };
        let prompt = prompt.map_err(&mut fault);
        let system =
            asked.system.as_ref().map(of).transpose().map_err(|message| fault(format!("chat.system: {message}")));
        let splits = asked.asked.too_long == TooLong::Split;
        let source = quotes(asked, &uses).map_err(|message| fault(format!("chat.grounded_in: {message}")));
        match &prompt {
            Ok(None) => fault(no_prompt(&columns)),
            Ok(Some(prompt)) => {
                let same =
                    || prompt.columns().chain(system.iter().flatten().flat_map(Prompt::columns)).next().is_none();
                if same() {
                    fault(format!(
                        "chat.prompt: has no column in it, so that all lines ask the same; found: {}",
                        ticked(&columns)
                    ));
                }
            }
            Err(()) => {}
        }
        let source = match (&prompt, source) {
            // The text that is cut is the one that quotes stand in, else the whole prompt.
            (Ok(Some(prompt)), Ok(None)) if splits => Ok(prompt.column().map(Prompt::of_cell)),
            (_, source) => source,
        };
        if let (Ok(Some(prompt)), Ok(source)) = (&prompt, &source) {
            let cut = source.as_ref().and_then(Prompt::column);
            if splits && !prompt.columns().any(|at| Some(at) == cut) {
                fault("chat.too_long: there is no one column in `prompt` that could be cut; say which it is: grounded_in = \"{transcript}\"".to_owned());
            }
        }
        let used = [key.as_ref().and_then(NameRule::column)];
        let owned: Vec<&str> = OWN_BODY.iter().chain(REFUSED_BODY).copied().collect();
        let extras = extras(&columns, |at| !used.contains(&Some(at)), &owned, true).map_err(&mut fault);
        let (Ok(Some(prompt)), Ok(system), Ok(source), Ok(extras)) = (prompt, system, source, extras) else {
            return Err(faults);
        };
        if !faults.is_empty() {
            return Err(faults);
        }
        // What the model reads as a whole is no column of the report; a name or a date in a prompt is one.
        let whole = [prompt.column(), source.as_ref().and_then(Prompt::column)];
        let taken = |at: &usize| {
            used.contains(&Some(*at))
                || whole.contains(&Some(*at))
                || columns[*at] == TRANSCRIPT
                || extras.iter().any(|(_, own)| own == at)
        };
        let mut content: Vec<usize> = prompt.columns().chain(system.iter().flat_map(Prompt::columns)).collect();
        content.sort_unstable();
        content.dedup();
        let named = content.iter().copied().filter(|at| !taken(at)).collect();
        let (carried, carried_names) = manifest.carried(&columns, taken, named);
        let is_transcript = source.as_ref().and_then(Prompt::column).is_some_and(|at| columns[at] == TRANSCRIPT);
        let spoken = manifest.fed.as_ref().filter(|_| is_transcript && asked.asked.tells_moments());
        let spoken = spoken.and_then(|fed| (fed.named..columns.len()).find(|at| columns[*at] == WORDS));
        // Another batch is asked for what is used of it.
        let read = prompt.columns().chain(system.iter().flat_map(Prompt::columns));
        let read = read.chain(source.iter().flat_map(Prompt::columns)).chain(spoken);
        let read: Vec<usize> = read.filter(|_| manifest.fed.is_some()).collect();
        let extra_columns: Vec<String> = extras.iter().map(|(_, at)| columns[*at].clone()).collect();
        let prompt_name = prompt.column().map(|at| columns[at].clone());
        let system_has_schema = asked.system.as_ref().is_some_and(|system| system.names().any(|name| name == SCHEMA));
        let columns = Columns {
            own: columns.len(),
            key: key.as_ref().map(|rule| rule_name(rule, &columns)),
            content: content.iter().map(|at| columns[*at].clone()).collect(),
            by_language: Vec::new(),
            options: extra_columns.clone(),
            option_columns: extra_columns,
            texts_at: key.iter().flat_map(NameRule::columns).chain(read).collect(),
            options_at: Vec::new(),
            warnings: Vec::new(),
            carried: carried_names,
            carried_at: carried,
            all: columns,
        };
        Ok(Self { columns, key, prompt, prompt_name, system, system_has_schema, source, spoken, extras })
    }
}

const fn prompt_names(endpoint: ChatEndpoint) -> &'static [&'static str] {
    match endpoint {
        ChatEndpoint::Chat => &PROMPT_NAMES,
        ChatEndpoint::Pca => &TRANSCRIPT_NAMES,
    }
}

/// Where quotes must stand: as the definition says, else in the transcript. `None`: there are no quotes, or they stand in the
/// prompt.
fn quotes(asked: &Chatting, uses: &Uses<'_>) -> Result<Option<Prompt>, String> {
    if asked.asked.grounded.is_empty() && asked.asked.too_long == TooLong::Fail {
        return Ok(None);
    }
    match &asked.grounded_in {
        Some(template) => Prompt::of(template, uses, None).map(Some),
        None => Ok(uses.find(&[TRANSCRIPT], uses.columns.len())?.map(Prompt::of_cell)),
    }
}

fn no_prompt(columns: &[String]) -> String {
    format!(
        "no column is known to hold the prompt; found: {}. Say in [chat] what a line asks, e.g. prompt = \"{{{}}}\"",
        ticked(columns),
        columns.last().map_or("column", String::as_str)
    )
}
