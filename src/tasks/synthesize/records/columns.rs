//! The purpose of each column of a manifest of texts.

use super::{
    languages::{self, TextColumn},
    output_name::OutputName,
};
use crate::{
    definition::{
        Faults, Synthesizing,
        manifest::{Columns, KEY_NAMES, NameRule, OpenManifest, Uses, extras, rule_name},
    },
    domain::{
        synthesis::SynthesisOption::{self, Language},
        synthesis_options::OWN_BODY,
    },
};

/// The names of the column of the text, and of the text's file.
pub(in crate::tasks::synthesize) const TEXT_NAMES: [&str; 1] = ["text"];
pub(in crate::tasks::synthesize) const TEXT_FILE_NAMES: [&str; 1] = ["text_file"];

/// The texts of a line: in each language, else the one that is found, or that of a file.
///
/// # Errors
/// The columns that do not exist.
fn texts(
    asked: &Synthesizing,
    uses: &Uses<'_>,
    (text, has_file): (Option<NameRule>, bool),
) -> Result<Vec<TextColumn>, Vec<String>> {
    if !asked.text_columns.is_empty() {
        return if uses.of_files { Err(vec![OF_FILES.to_owned()]) } else { languages::columns(asked, uses) };
    }
    let is_named = asked.text_column.is_some() || asked.text_file_column.is_some();
    match text {
        None if !has_file && !is_named => Err(vec![languages::no_text(uses.columns)]),
        text => Ok(text.into_iter().map(|rule| TextColumn::only(rule, uses.columns)).collect()),
    }
}

/// The fault of a manifest of files that is to have a text for each language.
const OF_FILES: &str = "text_columns names columns of a table, and this manifest has files; leave text_columns out (the front matter of a file may name its language), or take a CSV as manifest";

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
    /// The name of the column or template of the text's file.
    pub(super) file_name: Option<String>,
    pub(super) key: Option<NameRule>,
    /// The texts of a line: at most one, or one for each language.
    pub(super) texts: Vec<TextColumn>,
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
        let (own, named) = (columns.len(), manifest.named(columns.len()));
        let uses = Uses { definition, columns: &columns, own, named, of_files, doubled: &manifest.doubled };
        let mut rule = |template: Option<&_>, names: &[&str]| {
            let rule = match template {
                Some(template) => uses.rule(template, columns.len()).map(Some),
                None => uses.find(names, named).map(|at| at.map(NameRule::Cell)),
            };
            rule.map_err(&mut fault).ok().flatten()
        };
        let key = rule(definition.key_column.as_ref(), &KEY_NAMES);
        let by_language = !asked.text_columns.is_empty();
        let (text, file) = match by_language {
            true => (None, None),
            false => {
                (rule(asked.text_column.as_ref(), &TEXT_NAMES), rule(asked.text_file_column.as_ref(), &TEXT_FILE_NAMES))
            }
        };
        let texts = texts(asked, &uses, (text, file.is_some()));
        let texts = texts.map_err(|messages| messages.into_iter().for_each(&mut fault)).unwrap_or_default();
        let rules: Vec<&NameRule> = key.iter().chain(texts.iter().map(|text| &text.rule)).chain(&file).collect();
        let used: Vec<Option<usize>> = rules.iter().map(|rule| rule.column()).collect();
        let may_set: Vec<SynthesisOption> = match of_files {
            true => Vec::new(),
            // Each text has the language of its column.
            false => asked.option_columns.iter().filter(|o| !by_language || **o != Language).copied().collect(),
        };
        let options = uses.options((&may_set, &asked.mapped), &used);
        let options = options.map_err(|messages| messages.into_iter().for_each(&mut fault)).unwrap_or_default();
        let free = |at: usize| !of_files && !used.contains(&Some(at));
        let extras = extras(&columns, free, OWN_BODY, !asked.option_columns.is_empty());
        let extras = extras.map_err(&mut fault).unwrap_or_default();
        let names_voices = !asked.synthesis.voices.is_empty() || !asked.voices_by_language.is_empty();
        // The front matter of files may name them, too.
        let may_have_files = of_files || file.is_some();
        languages::voices(asked, &texts, &options).into_iter().for_each(&mut fault);
        if !names_voices && !may_have_files && options.iter().all(|(o, _)| *o != SynthesisOption::VoiceId) {
            fault("no voice is named: say voice_id = \"…\" in [synthesize], or add a column `voice_id`".into());
        }
        let name = OutputName::of(&asked.synthesis.name, &uses).map_err(|e| fault(format!("the output's name: {e}")));
        let Some(name) = name.ok().filter(|_| faults.is_empty()) else { return Err(faults) };
        let special = |at: &usize| options.iter().any(|(_, own)| own == at) || extras.iter().any(|(_, own)| own == at);
        let taken = |at: &usize| of_files || used.contains(&Some(*at)) || special(at);
        let templates = rules.iter().flat_map(|rule| rule.columns()).chain(name.columns()).collect();
        let (carried, carried_names) = manifest.carried(&columns, taken, templates);
        let shown = |rule: &Option<NameRule>| rule.as_ref().map(|rule| rule_name(rule, &columns));
        let option_names = options.iter().map(|(option, _)| option.to_string());
        let (key_name, file_name) = (shown(&key), shown(&file));
        let mut warnings = match asked.option_columns == SynthesisOption::ALL && !of_files {
            true if manifest.fed.is_none() => uses.near_options((&may_set, &options), &carried, NEAR),
            _ => Vec::new(),
        };
        warnings.extend(languages::warnings(asked, &texts, (&columns, &carried)));
        let texts_at = rules.iter().flat_map(|rule| rule.columns()).collect();
        let columns = Columns {
            own: columns.len(),
            key: key_name,
            content: texts.iter().map(|text| &text.name).chain(&file_name).cloned().collect(),
            by_language: texts
                .iter()
                .filter_map(|text| Some((text.language?.to_string(), text.name.clone())))
                .collect(),
            options: option_names.chain(extras.iter().map(|(_, at)| columns[*at].clone())).collect(),
            option_columns: options
                .iter()
                .map(|(_, at)| at)
                .chain(extras.iter().map(|(_, at)| at))
                .map(|at| columns[*at].clone())
                .collect(),
            texts_at,
            options_at: options.iter().map(|(_, at)| *at).collect(),
            warnings,
            carried: carried_names,
            carried_at: carried,
            all: columns,
        };
        Ok(Self { columns, file_name, key, texts, file, options, extras, name })
    }

    /// Whether each text has the language of its column.
    pub(super) fn has_languages(&self) -> bool {
        self.texts.iter().any(|text| text.language.is_some())
    }

    /// What a line without a text lacks one in.
    pub(super) fn text_name(&self) -> Option<String> {
        match self.texts.as_slice() {
            [] => self.file_name.clone(),
            [one] => Some(one.name.clone()),
            _ => None,
        }
    }
}
