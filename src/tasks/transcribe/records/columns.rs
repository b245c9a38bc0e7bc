//! The purpose of each column of a manifest of recordings.

use std::borrow::Cow;

use super::file_names::{FileNames, groups};
use crate::{
    definition::{
        Faults, Transcribing,
        manifest::{Columns, KEY_NAMES, NameRule, OpenManifest, Record, Uses, extras, rule_name},
        path_map::{PathMap, slashed},
        paths::looks_like_source,
        template::Template,
        text::{shell_word, ticked},
    },
    domain::{
        batch::LineOption,
        listening::{ChannelMode, Roles},
        options::OWN_QUERY,
    },
};

pub(in crate::tasks::transcribe) const SOURCE_NAMES: [&str; 8] =
    ["source", "url", "audio", "audio_url", "file", "path", "recording", "recording_url"];

/// Names that people give to a column of this option.
const NEAR: &[(LineOption, &[&str])] = &[
    (LineOption::Language, &["lang", "lang_code", "language_code", "locale"]),
    (LineOption::Keywords, &["hotwords", "vocabulary", "boost_words"]),
    (LineOption::Diarize, &["diarization"]),
];

/// Where each value of a line comes from.
#[derive(Debug)]
pub(super) struct RecordingColumns {
    pub(super) columns: Columns,
    /// The column or template of the source.
    pub(super) source_name: String,
    pub(super) names: Option<FileNames>,
    /// Whether the lines are files, whose names are in the first column.
    pub(super) of_files: bool,
    pub(super) key: Option<NameRule>,
    pub(super) source: NameRule,
    pub(super) options: Vec<(LineOption, usize)>,
    /// Parameters that this release does not know, by name.
    pub(super) extras: Vec<(String, usize)>,
    /// The columns of the line's own roles, by channel. They are carried to the report like other columns.
    pub(super) roles: Vec<(u16, usize)>,
}

impl RecordingColumns {
    /// Determines the purpose of each column.
    pub(super) fn of(
        asked: &Transcribing,
        manifest: &OpenManifest<'_>,
        mut columns: Vec<String>,
    ) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let (definition, of_files) = (manifest.definition, manifest.of_files);
        let own = columns.len();
        for group in asked.name_pattern.iter().flat_map(groups) {
            // The key of a listing is only a default.
            if columns.iter().any(|column| column == group) && !(of_files && group == "key") {
                let message =
                    format!("there is a column `{group}`, and a group of that name in name_pattern; rename the group");
                faults.push(manifest.fault(message));
            }
            columns.push(group.to_owned());
        }
        let named = if manifest.fed.is_some() { manifest.named(own) } else { columns.len() };
        let uses = Uses { definition, columns: &columns, own, named, of_files, doubled: &manifest.doubled };
        let mut rule = |template: Option<&Template>, names: &[&str], limit: usize| {
            let rule = match template {
                Some(template) => uses.rule(template, limit).map(Some),
                None => uses.find(names, limit.min(named)).map(|at| at.map(NameRule::Cell)),
            };
            rule.map_err(|message| faults.push(manifest.fault(message))).ok().flatten()
        };
        let key = rule(definition.key_column.as_ref(), &KEY_NAMES, columns.len());
        // For a line of a manifest, only the source gives the file's name.
        let limit = if of_files && asked.source_column.is_some() { columns.len() } else { own };
        let source = rule(asked.source_column.as_ref(), &SOURCE_NAMES, limit);
        if source.is_none() && asked.source_column.is_none() && faults.is_empty() {
            faults.push(manifest.fault(no_source(manifest, &columns[..own])));
        }
        let Some(source) = source.filter(|_| faults.is_empty()) else { return Err(faults) };
        let used = [key.as_ref().and_then(NameRule::column), source.column()];
        let options = uses.options((&asked.option_columns, &asked.mapped), &used);
        let options =
            options.map_err(|messages| messages.into_iter().map(|m| manifest.fault(m)).collect::<Faults>())?;
        let free = |index: usize| !used.contains(&Some(index));
        let extras = extras(&columns, free, OWN_QUERY, !asked.option_columns.is_empty());
        let extras = extras.map_err(|message| Faults::from(manifest.fault(message)))?;
        let roles = match asked.listening.channels {
            ChannelMode::Mix => Vec::new(),
            _ => columns
                .iter()
                .enumerate()
                .filter_map(|(at, name)| Some((Roles::channel_of_column(name)?, at)).filter(|_| free(at) && at < named))
                .collect(),
        };
        let made = |index: &usize| of_files && *index < own;
        let taken = |index: &usize| {
            made(index)
                || used.contains(&Some(*index))
                || options.iter().any(|(_, at)| at == index)
                || extras.iter().any(|(_, at)| at == index)
        };
        let templates = source.columns().into_iter().chain(roles.iter().map(|(_, at)| *at)).collect();
        let (carried, carried_names) = manifest.carried(&columns, taken, templates);
        let option_names = options.iter().map(|(option, _)| option.to_string());
        let source_name = rule_name(&source, &columns);
        let warnings = match asked.option_columns.as_slice() == LineOption::ALL {
            true if manifest.fed.is_none() => uses.near_options((LineOption::ALL, &options), &carried, NEAR),
            _ => Vec::new(),
        };
        let columns = Columns {
            own,
            by_language: Vec::new(),
            key: key.as_ref().map(|rule| rule_name(rule, &columns)),
            content: vec![source_name.clone()],
            options: option_names.chain(extras.iter().map(|(_, at)| columns[*at].clone())).collect(),
            option_columns: options
                .iter()
                .map(|(_, at)| at)
                .chain(extras.iter().map(|(_, at)| at))
                .map(|at| columns[*at].clone())
                .collect(),
            texts_at: key.iter().chain([&source]).flat_map(NameRule::columns).collect(),
            options_at: options.iter().map(|(_, at)| *at).collect(),
            warnings,
            carried: carried_names,
            carried_at: carried,
            all: columns,
        };
        let names = asked.name_pattern.as_ref().map(FileNames::new);
        Ok(Self { columns, source_name, names, of_files, key, source, options, extras, roles })
    }

    /// The columns of an empty manifest, which has no header either.
    pub(super) fn of_nothing() -> Self {
        let source_name = SOURCE_NAMES[0].to_owned();
        let columns = Columns { content: vec![source_name.clone()], ..Columns::default() };
        let (options, extras, roles, source) = (Vec::new(), Vec::new(), Vec::new(), NameRule::Cell(0));
        Self { columns, source_name, names: None, of_files: false, key: None, source, options, extras, roles }
    }

    /// Adds the cells that the pattern takes from the line's file name.
    pub(super) fn read_name(&self, record: &mut Record, path_map: &PathMap) {
        let Some(names) = &self.names else { return };
        let source = self.named_source(record);
        let source = if self.of_files { source.into_owned() } else { slashed(&path_map.apply(&source)).into_owned() };
        names.read(&source, record);
    }

    /// The source whose file name is read.
    pub(super) fn named_source<'r>(&self, record: &'r Record) -> Cow<'r, str> {
        if self.of_files { Cow::Borrowed(record.cell(0)) } else { self.source.text(record) }
    }
}

/// The message if no column holds the source: the columns that exist, and the command that sets the right one.
fn no_source(manifest: &OpenManifest<'_>, columns: &[String]) -> String {
    let (definition, first) = (manifest.definition, (manifest.first)(columns));
    let by_value =
        || (0..columns.len()).find(|at| first.as_ref().is_some_and(|line| looks_like_source(line.cell(*at).trim())));
    let likely = |column: &String, words: &[&str]| {
        let column = column.to_lowercase();
        words.iter().any(|word| column.contains(word))
    };
    let by_name =
        || columns.iter().position(|c| likely(c, &["url", "audio", "record", "file", "path", "source", "link"]));
    let source = by_value().or_else(by_name);
    let others = || columns.iter().enumerate().filter(|(at, _)| Some(*at) != source).map(|(_, name)| name);
    let key = others()
        .find(|name| KEY_NAMES.contains(&name.as_str()))
        .or_else(|| others().find(|name| likely(name, &["id", "key"])))
        .or_else(|| others().next().filter(|_| source.is_some()));
    let mut command = definition.command.clone();
    if command.is_empty() {
        command = format!("wavebatch run {}", shell_word(&definition.manifest));
    }
    let source = source.map_or("COLUMN", |at| columns[at].as_str());
    command.push_str(&format!(" --source-column {}", shell_word(source)));
    if let Some(key) = key.filter(|_| definition.key_column.is_none()) {
        command.push_str(&format!(" --key-column {}", shell_word(key)));
    }
    format!("no column is known to hold the recording; found: {}. Name it:\n  {command}", ticked(columns))
}
