//! Which columns a manifest has, and what each is for.

use std::borrow::Cow;

use super::super::{
    Definition, Fault, Faults, Transcribing,
    paths::looks_like_source,
    template::{Names as Known, Segment, Template, TemplateFault},
    text::{did_you_mean, excerpt, shell_word, ticked},
};
use super::{
    names::{Names, groups},
    record::Record,
};
use crate::domain::{
    batch::LineOption,
    extra::{self, EXTRA_COLUMN},
    options::OWN_QUERY,
};

pub(super) const KEY_NAMES: [&str; 2] = ["key", "id"];
const SOURCE_NAMES: [&str; 8] = ["source", "url", "audio", "audio_url", "file", "path", "recording", "recording_url"];

/// A manifest's columns and what is made of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// All columns, in order: the manifest's own, then those that file names make.
    pub columns: Vec<String>,
    /// The column or template of the key; `None`: the source's file name, else the line's number.
    pub key: Option<String>,
    /// The column or template of the source.
    pub source: String,
    /// The columns that override an option.
    pub option_columns: Vec<LineOption>,
    /// The columns that set a parameter which this release does not know.
    pub extra_columns: Vec<String>,
    /// The columns carried into the report.
    pub carried: Vec<String>,
}

/// A manifest's columns, whatever the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// All of them, in order.
    pub all: Vec<String>,
    /// Those that override an option.
    pub options: Vec<String>,
    /// Those carried into the report.
    pub carried: Vec<String>,
}

impl From<&Header> for Columns {
    fn from(header: &Header) -> Self {
        let own = header.option_columns.iter().map(ToString::to_string);
        let options = own.chain(header.extra_columns.iter().cloned()).collect();
        Self { all: header.columns.clone(), options, carried: header.carried.clone() }
    }
}

/// Where each thing that a line has comes from.
#[derive(Debug)]
pub(super) struct ColumnPlan {
    pub(super) header: Header,
    /// How many columns are the manifest's own.
    pub(super) own: usize,
    pub(super) names: Option<Names>,
    /// Whether the lines are files, whose names stand in the first column.
    of_files: bool,
    pub(super) key: Option<NameRule>,
    pub(super) source: NameRule,
    pub(super) options: Vec<(LineOption, usize)>,
    /// Parameters that this release does not know, by name.
    pub(super) extras: Vec<(String, usize)>,
    pub(super) carried: Vec<usize>,
}

/// How a text is made from a line's cells.
#[derive(Debug)]
pub(super) enum NameRule {
    /// One cell as it is.
    Cell(usize),
    /// Several, with text between.
    Filled(Vec<TemplatePart>),
}

/// A stretch of a template whose columns are found.
#[derive(Debug)]
pub(super) enum TemplatePart {
    Text(String),
    Cell(usize),
}

impl NameRule {
    /// The text for a line, without the space around it; empty where all of its cells are.
    pub(super) fn text<'r>(&self, record: &'r Record) -> Cow<'r, str> {
        match self {
            Self::Cell(index) => Cow::Borrowed(record.cell(*index).trim()),
            Self::Filled(parts) => {
                let mut filled = String::new();
                let mut any = false;
                for part in parts {
                    match part {
                        TemplatePart::Text(text) => filled.push_str(text),
                        TemplatePart::Cell(index) => {
                            let cell = record.cell(*index).trim();
                            any |= !cell.is_empty();
                            filled.push_str(cell);
                        }
                    }
                }
                if any { Cow::Owned(filled) } else { Cow::Borrowed("") }
            }
        }
    }

    /// The one column whose cell it is.
    pub(super) fn column(&self) -> Option<usize> {
        match self {
            Self::Cell(index) => Some(*index),
            Self::Filled(_) => None,
        }
    }
}

impl ColumnPlan {
    /// Finds the columns' uses. `first` is the manifest's first line, for guessing in a hint.
    pub(super) fn of(
        definition: &Definition,
        asked: &Transcribing,
        of_files: bool,
        mut columns: Vec<String>,
        first: Option<&Record>,
    ) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let shown = &definition.manifest;
        let own = columns.len();
        for group in asked.name_pattern.iter().flat_map(groups) {
            // The key that a listing makes is only a default.
            if columns.iter().any(|column| column == group) && !(of_files && group == "key") {
                let message =
                    format!("there is a column `{group}`, and a group of that name in name_pattern; rename the group");
                faults.push(Fault::of_file(shown.clone(), message));
            }
            columns.push(group.to_owned());
        }
        let uses = Uses { definition, columns: &columns, own, of_files };
        let mut named = |template: &Template, limit: usize| {
            uses.rule(template, limit).map_err(|message| faults.push(Fault::of_file(shown.clone(), message))).ok()
        };
        let key = match &definition.key_column {
            Some(template) => named(template, columns.len()),
            None => uses.find(&KEY_NAMES, columns.len()).map(NameRule::Cell),
        };
        let source = match &asked.source_column {
            // Of a line of a manifest, the file's name is known only by its source.
            Some(template) => named(template, if of_files { columns.len() } else { own }),
            None => uses.find(&SOURCE_NAMES, own).map(NameRule::Cell),
        };
        if source.is_none() && asked.source_column.is_none() {
            faults.push(Fault::of_file(shown.clone(), no_source(definition, &columns[..own], first)));
        }
        let Some(source) = source.filter(|_| faults.is_empty()) else { return Err(faults) };
        let used = [key.as_ref().and_then(NameRule::column), source.column()];
        let options: Vec<(LineOption, usize)> = columns
            .iter()
            .enumerate()
            .filter(|(index, _)| !used.contains(&Some(*index)))
            .filter_map(|(index, name)| Some((name.parse::<LineOption>().ok()?, index)))
            .filter(|(option, _)| asked.option_columns.contains(option))
            .collect();
        let free = |index: usize| !used.contains(&Some(index));
        let extras = extras(&columns, free, OWN_QUERY, !asked.option_columns.is_empty());
        let extras = extras.map_err(|message| Faults::from(Fault::of_file(shown.clone(), message)))?;
        let made = |index: &usize| of_files && *index < own;
        let taken = |index: &usize| {
            made(index)
                || used.contains(&Some(*index))
                || options.iter().any(|(_, at)| at == index)
                || extras.iter().any(|(_, at)| at == index)
        };
        let carried: Vec<usize> = (0..columns.len()).filter(|index| !taken(index)).collect();
        let header = Header {
            key: key.as_ref().map(|rule| rule_name(rule, &columns)),
            source: rule_name(&source, &columns),
            option_columns: options.iter().map(|(option, _)| *option).collect(),
            extra_columns: extras.iter().map(|(_, at)| columns[*at].clone()).collect(),
            carried: carried.iter().map(|index| columns[*index].clone()).collect(),
            columns,
        };
        let names = asked.name_pattern.as_ref().map(Names::new);
        Ok(Self { header, own, names, of_files, key, source, options, extras, carried })
    }

    /// That of a manifest in which there is nothing, not even a header.
    pub(super) fn of_nothing() -> Self {
        let header = Header {
            columns: Vec::new(),
            key: None,
            source: SOURCE_NAMES[0].to_owned(),
            option_columns: Vec::new(),
            extra_columns: Vec::new(),
            carried: Vec::new(),
        };
        let (options, extras, carried) = (Vec::new(), Vec::new(), Vec::new());
        let source = NameRule::Cell(0);
        Self { header, own: 0, names: None, of_files: false, key: None, source, options, extras, carried }
    }

    /// Adds the cells that the name of a line's file makes.
    pub(super) fn read_name(&self, record: &mut Record) {
        let Some(names) = &self.names else { return };
        let source = self.named_source(record).into_owned();
        names.read(&source, record);
    }

    /// The source whose file's name is read.
    pub(super) fn named_source<'r>(&self, record: &'r Record) -> Cow<'r, str> {
        if self.of_files { Cow::Borrowed(record.cell(0)) } else { self.source.text(record) }
    }
}

/// The columns that set a parameter which this release does not know, with its name. Where no column may override an option,
/// none may do that either.
pub(super) fn extras(
    columns: &[String],
    free: impl Fn(usize) -> bool,
    owned: &[&str],
    may_override: bool,
) -> Result<Vec<(String, usize)>, String> {
    let named = columns.iter().enumerate().filter(|(at, _)| may_override && free(*at));
    let named = named.filter_map(|(at, column)| Some((at, column, column.strip_prefix(EXTRA_COLUMN)?)));
    named
        .map(|(at, column, name)| match extra::check_name(name, owned) {
            Ok(()) => Ok((name.to_owned(), at)),
            Err(message) => Err(format!("column `{}`: {message}", excerpt(column))),
        })
        .collect()
}

/// What a template over columns is read with.
pub(super) struct Uses<'a> {
    pub(super) definition: &'a Definition,
    pub(super) columns: &'a [String],
    pub(super) own: usize,
    pub(super) of_files: bool,
}

impl Uses<'_> {
    /// The first of these names that is one of the first `limit` columns. Among files a group goes before what a listing
    /// makes itself.
    pub(super) fn find(&self, names: &[&str], limit: usize) -> Option<usize> {
        names.iter().find_map(|name| self.columns[..limit].iter().rposition(|column| column == name))
    }

    pub(super) fn rule(&self, template: &Template, limit: usize) -> Result<NameRule, String> {
        if let [Segment::Name(name)] = template.segments() {
            return self.find(&[name], limit).map(NameRule::Cell).ok_or_else(|| self.unknown(name, limit, None));
        }
        let names = Known {
            name: &self.definition.name,
            batch: Some(self.definition.batch.as_str()),
            date: self.definition.date,
        };
        let parts = template.segments().iter().map(|segment| {
            // A column goes before a name of the same spelling: the manifest is nearer.
            if let Segment::Name(name) = segment
                && let Some(index) = self.find(&[name], limit)
            {
                return Ok(TemplatePart::Cell(index));
            }
            names.text(segment).map(TemplatePart::Text).map_err(|fault| match (fault, segment) {
                (TemplateFault::Unknown { known, .. }, Segment::Name(name)) => self.unknown(name, limit, Some(&known)),
                (fault, _) => fault.to_string(),
            })
        });
        let parts: Vec<TemplatePart> = parts.collect::<Result<_, _>>()?;
        if !parts.iter().any(|part| matches!(part, TemplatePart::Cell(_))) {
            return Err(format!(
                "a template of no column makes all lines the same; found: {}",
                ticked(&self.columns[..limit])
            ));
        }
        Ok(NameRule::Filled(parts))
    }

    fn unknown(&self, name: &str, limit: usize, known: Option<&[String]>) -> String {
        if self.columns[limit..].iter().any(|group| group == name) && !self.of_files {
            return format!("`{name}` is made of the source's name by name_pattern, and so cannot make the source");
        }
        let columns = &self.columns[..limit];
        let near = did_you_mean(name, columns);
        let known = known.map(|known| format!("; beside them: {}", ticked(known))).unwrap_or_default();
        let found =
            columns.iter().enumerate().filter(|(at, column)| *at >= self.own || !columns[self.own..].contains(column));
        let found: Vec<&String> = found.map(|(_, column)| column).collect();
        format!("there is no column `{}`{near}; found: {}{known}", excerpt(name), ticked(&found))
    }
}

pub(super) fn rule_name(rule: &NameRule, columns: &[String]) -> String {
    match rule {
        NameRule::Cell(index) => columns[*index].clone(),
        NameRule::Filled(parts) => parts
            .iter()
            .map(|part| match part {
                TemplatePart::Text(text) => text.clone(),
                TemplatePart::Cell(index) => format!("{{{}}}", columns[*index]),
            })
            .collect(),
    }
}

/// What to say when no column is known to hold the source: what there is, and the command that names it.
fn no_source(definition: &Definition, columns: &[String], first: Option<&Record>) -> String {
    let by_value = || (0..columns.len()).find(|at| first.is_some_and(|line| looks_like_source(line.cell(*at).trim())));
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

/// Checks the names that a CSV's first line gives its columns.
pub(super) fn check_names(shown: &str, line: u64, columns: &[String]) -> Faults {
    let mut faults = Faults::default();
    let mut tell = |column: Option<&str>, message: String| faults.push(Fault::of_line(shown, line, column, message));
    if let Some(cell) = columns.iter().find(|name| looks_like_source(name)) {
        let message = "is no header: `{}` looks like a recording. The first line has to name the columns, e.g. `key,source`; if every line is one source, say --manifest-format lines";
        tell(None, message.replace("{}", &excerpt(cell)));
        return faults;
    }
    for (index, name) in columns.iter().enumerate() {
        if name.is_empty() {
            tell(None, format!("column {} has no name: is this the header?", index + 1));
        } else if columns[..index].contains(name) {
            tell(Some(name), "stands twice in the header".to_owned());
        }
    }
    if let [only] = columns
        && only.contains([';', '\t', '|'])
    {
        tell(
            None,
            format!("has one column, `{}`: cells are to be parted by commas (.csv) or tabs (.tsv)", excerpt(only)),
        );
    }
    faults
}
