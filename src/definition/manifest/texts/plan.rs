//! Which columns a manifest of texts has, and what each is for.

use super::super::{
    super::text::ticked,
    Fault, Faults,
    columns::{KEY_NAMES, NameRule, Uses, extras, rule_name},
};
use super::names::OutputName;
use crate::{
    definition::{Columns, Definition, Synthesizing},
    domain::{synthesis::SynthesisOption, synthesis_options::OWN_BODY},
};

/// A manifest's columns and what is made of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextHeader {
    /// All columns, in order.
    pub columns: Vec<String>,
    /// The column or template of the key; `None`: the file's name, else the line's number.
    pub key: Option<String>,
    /// The column or template of the text.
    pub text: Option<String>,
    /// The column or template of the text's file.
    pub text_file: Option<String>,
    /// The columns that override an option.
    pub option_columns: Vec<SynthesisOption>,
    /// The columns that set a parameter which this release does not know.
    pub extra_columns: Vec<String>,
    /// The columns carried into the report.
    pub carried: Vec<String>,
}

impl From<&TextHeader> for Columns {
    fn from(header: &TextHeader) -> Self {
        let own = header.option_columns.iter().map(ToString::to_string);
        let options = own.chain(header.extra_columns.iter().cloned()).collect();
        Self { all: header.columns.clone(), options, carried: header.carried.clone() }
    }
}

/// Where each thing that a line has comes from.
#[derive(Debug)]
pub(super) struct TextPlan {
    pub(super) header: TextHeader,
    pub(super) key: Option<NameRule>,
    pub(super) text: Option<NameRule>,
    pub(super) file: Option<NameRule>,
    pub(super) options: Vec<(SynthesisOption, usize)>,
    /// Parameters that this release does not know, by name.
    pub(super) extras: Vec<(String, usize)>,
    pub(super) carried: Vec<usize>,
    pub(super) name: OutputName,
}

impl TextPlan {
    /// Finds the columns' uses.
    pub(super) fn of(
        definition: &Definition,
        asked: &Synthesizing,
        of_files: bool,
        columns: Vec<String>,
    ) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let mut fault = |message: String| faults.push(Fault::of_file(definition.manifest.clone(), message));
        let uses = Uses { definition, columns: &columns, own: columns.len(), of_files };
        let mut rule = |template: Option<&_>, names: &[&str]| match template {
            Some(template) => uses.rule(template, columns.len()).map_err(&mut fault).ok(),
            None => uses.find(names, columns.len()).map(NameRule::Cell),
        };
        let key = rule(definition.key_column.as_ref(), &KEY_NAMES);
        let text = rule(asked.text_column.as_ref(), &["text"]);
        let file = rule(asked.text_file_column.as_ref(), &["text_file"]);
        let is_named = asked.text_column.is_some() || asked.text_file_column.is_some();
        if text.is_none() && file.is_none() && !is_named {
            let found = ticked(&columns);
            fault(format!(
                "no column is known to hold the text; found: {found}. Call it `text` (or `text_file`), or name it in the definition: columns = {{ text = \"…\" }}"
            ));
        }
        let used = [&key, &text, &file].map(|rule| rule.as_ref().and_then(NameRule::column));
        let options: Vec<(SynthesisOption, usize)> = columns
            .iter()
            .enumerate()
            .filter(|(at, _)| !of_files && !used.contains(&Some(*at)))
            .filter_map(|(at, name)| Some((name.parse::<SynthesisOption>().ok()?, at)))
            .filter(|(option, _)| asked.option_columns.contains(option))
            .collect();
        let free = |at: usize| !of_files && !used.contains(&Some(at));
        let extras = extras(&columns, free, OWN_BODY, !asked.option_columns.is_empty());
        let extras = extras.map_err(&mut fault).unwrap_or_default();
        if asked.synthesis.voices.is_empty() && options.iter().all(|(o, _)| *o != SynthesisOption::VoiceId) {
            fault("no voice is named: say voice_id = \"…\" in [synthesize], or add a column `voice_id`".into());
        }
        let name = OutputName::of(&asked.synthesis.name, &uses).map_err(|e| fault(format!("the output's name: {e}")));
        let Some(name) = name.ok().filter(|_| faults.is_empty()) else { return Err(faults) };
        let special = |at: &usize| options.iter().any(|(_, own)| own == at) || extras.iter().any(|(_, own)| own == at);
        let taken = |at: &usize| of_files || used.contains(&Some(*at)) || special(at);
        let carried: Vec<usize> = (0..columns.len()).filter(|at| !taken(at)).collect();
        let shown = |rule: &Option<NameRule>| rule.as_ref().map(|rule| rule_name(rule, &columns));
        let header = TextHeader {
            key: shown(&key),
            text: shown(&text),
            text_file: shown(&file),
            option_columns: options.iter().map(|(option, _)| *option).collect(),
            extra_columns: extras.iter().map(|(_, at)| columns[*at].clone()).collect(),
            carried: carried.iter().map(|at| columns[*at].clone()).collect(),
            columns,
        };
        Ok(Self { header, key, text, file, options, extras, carried, name })
    }
}
