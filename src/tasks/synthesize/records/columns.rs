//! The purpose of each column of a manifest of texts.

use super::output_name::OutputName;
use crate::{
    definition::{
        Faults, Synthesizing,
        manifest::{Columns, KEY_NAMES, NameRule, OpenManifest, Uses, extras, rule_name},
        text::ticked,
    },
    domain::{synthesis::SynthesisOption, synthesis_options::OWN_BODY},
};

/// The names of the column of the text, and of the text's file.
pub(in crate::tasks::synthesize) const TEXT_NAMES: [&str; 1] = ["text"];
pub(in crate::tasks::synthesize) const TEXT_FILE_NAMES: [&str; 1] = ["text_file"];

/// Names that people give to a column of this option.
const NEAR: &[(SynthesisOption, &[&str])] = &[
    (SynthesisOption::VoiceId, &["voice", "voices", "voice_name", "speaker"]),
    (SynthesisOption::Language, &["lang", "lang_code", "language_code", "locale"]),
    (SynthesisOption::Speed, &["rate", "speech_rate", "speaking_rate", "pace"]),
];

/// Where each value of a line comes from.
#[derive(Debug)]
pub(super) struct TextColumns {
    pub(super) columns: Columns,
    /// The column or template of the text, and of the text's file.
    pub(super) text_name: Option<String>,
    pub(super) file_name: Option<String>,
    pub(super) key: Option<NameRule>,
    pub(super) text: Option<NameRule>,
    pub(super) file: Option<NameRule>,
    pub(super) options: Vec<(SynthesisOption, usize)>,
    /// Parameters that this release does not know, by name.
    pub(super) extras: Vec<(String, usize)>,
    pub(super) name: OutputName,
}

impl TextColumns {
    /// Determines the purpose of each column.
    pub(super) fn of(asked: &Synthesizing, manifest: &OpenManifest<'_>, columns: Vec<String>) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let (definition, of_files) = (manifest.definition, manifest.of_files);
        let mut fault = |message: String| faults.push(manifest.fault(message));
        let uses = Uses { definition, columns: &columns, own: columns.len(), of_files, doubled: &manifest.doubled };
        let mut rule = |template: Option<&_>, names: &[&str]| {
            let rule = match template {
                Some(template) => uses.rule(template, columns.len()).map(Some),
                None => uses.find(names, columns.len()).map(|at| at.map(NameRule::Cell)),
            };
            rule.map_err(&mut fault).ok().flatten()
        };
        let key = rule(definition.key_column.as_ref(), &KEY_NAMES);
        let text = rule(asked.text_column.as_ref(), &TEXT_NAMES);
        let file = rule(asked.text_file_column.as_ref(), &TEXT_FILE_NAMES);
        let is_named = asked.text_column.is_some() || asked.text_file_column.is_some();
        if text.is_none() && file.is_none() && !is_named {
            let found = ticked(&columns);
            fault(format!(
                "no column is known to hold the text; found: {found}. Call it `text` (or `text_file`), or name it in the definition: columns = {{ text = \"…\" }}"
            ));
        }
        let used = [&key, &text, &file].map(|rule| rule.as_ref().and_then(NameRule::column));
        let may_set: &[SynthesisOption] = if of_files { &[] } else { &asked.option_columns };
        let options = uses.options((may_set, &asked.mapped), &used);
        let options = options.map_err(|messages| messages.into_iter().for_each(&mut fault)).unwrap_or_default();
        let free = |at: usize| !of_files && !used.contains(&Some(at));
        let extras = extras(&columns, free, OWN_BODY, !asked.option_columns.is_empty());
        let extras = extras.map_err(&mut fault).unwrap_or_default();
        let names_voices = !asked.synthesis.voices.is_empty() || !asked.voices_by_language.is_empty();
        // The front matter of files may name them, too.
        let may_have_files = of_files || file.is_some();
        if !names_voices && !may_have_files && options.iter().all(|(o, _)| *o != SynthesisOption::VoiceId) {
            fault("no voice is named: say voice_id = \"…\" in [synthesize], or add a column `voice_id`".into());
        }
        let name = OutputName::of(&asked.synthesis.name, &uses).map_err(|e| fault(format!("the output's name: {e}")));
        let Some(name) = name.ok().filter(|_| faults.is_empty()) else { return Err(faults) };
        let special = |at: &usize| options.iter().any(|(_, own)| own == at) || extras.iter().any(|(_, own)| own == at);
        let taken = |at: &usize| of_files || used.contains(&Some(*at)) || special(at);
        let carried: Vec<usize> = (0..columns.len()).filter(|at| !taken(at)).collect();
        let shown = |rule: &Option<NameRule>| rule.as_ref().map(|rule| rule_name(rule, &columns));
        let option_names = options.iter().map(|(option, _)| option.to_string());
        let (text_name, file_name) = (shown(&text), shown(&file));
        let warnings = match may_set == SynthesisOption::ALL {
            true => uses.near_options((SynthesisOption::ALL, &options), &carried, NEAR),
            false => Vec::new(),
        };
        let columns = Columns {
            own: columns.len(),
            key: shown(&key),
            content: text_name.iter().chain(&file_name).cloned().collect(),
            options: option_names.chain(extras.iter().map(|(_, at)| columns[*at].clone())).collect(),
            option_columns: options
                .iter()
                .map(|(_, at)| at)
                .chain(extras.iter().map(|(_, at)| at))
                .map(|at| columns[*at].clone())
                .collect(),
            texts_at: [&key, &text, &file].into_iter().flatten().flat_map(NameRule::columns).collect(),
            options_at: options.iter().map(|(_, at)| *at).collect(),
            warnings,
            carried: carried.iter().map(|at| columns[*at].clone()).collect(),
            carried_at: carried,
            all: columns,
        };
        Ok(Self { columns, text_name, file_name, key, text, file, options, extras, name })
    }
}
