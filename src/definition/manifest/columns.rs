//! Finds the uses of columns, by name and by templates over columns.

use std::borrow::Cow;

use super::super::{
    Definition, Fault, Faults,
    paths::{file_name, is_s3, looks_like_source, percent_decoded, scheme, stem},
    template::{Names as KnownNames, Segment, Template, TemplateFault},
    text::{did_you_mean, excerpt, ticked},
};
use super::record::Record;
use crate::domain::{
    extra::{self, EXTRA_COLUMN},
    key::Key,
};

/// The default names of the key column.
pub(crate) const KEY_NAMES: [&str; 2] = ["key", "id"];

/// How a text is made from a line's cells.
#[derive(Debug)]
pub(crate) enum NameRule {
    /// One cell as it is.
    Cell(usize),
    /// Several cells with text between them.
    Filled(Vec<Part>),
}

/// A part of a template whose columns are resolved.
#[derive(Debug)]
pub(crate) enum Part {
    Text(String),
    Cell(usize),
}

impl NameRule {
    /// The text for a line, without surrounding white space; empty if all of its cells are.
    pub(crate) fn text<'r>(&self, record: &'r Record) -> Cow<'r, str> {
        match self {
            Self::Cell(index) => Cow::Borrowed(record.cell(*index).trim()),
            Self::Filled(parts) => {
                let mut filled = String::new();
                let mut any = false;
                for part in parts {
                    match part {
                        Part::Text(text) => filled.push_str(text),
                        Part::Cell(index) => {
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

    /// The column, if the text is exactly one cell.
    pub(crate) fn column(&self) -> Option<usize> {
        match self {
            Self::Cell(index) => Some(*index),
            Self::Filled(_) => None,
        }
    }
}

/// The key of a line without one: the stem of its file's name, else its number.
pub(crate) fn key_of(source: Option<&str>, number: u64) -> Cow<'static, str> {
    let name = source.map(|source| {
        let name = stem(file_name(source));
        let is_url = scheme(source).is_some() && !is_s3(source);
        if is_url { percent_decoded(name) } else { name.to_owned() }
    });
    match name {
        Some(name) if Key::check(&name).is_ok() => Cow::Owned(name),
        _ => Cow::Owned(Key::of_line(number).to_string()),
    }
}

/// The columns that set a parameter unknown to this release, with its name. None, if no column may override an
/// option.
pub(crate) fn extras(
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

/// The context in which a template over columns is read.
pub(crate) struct Uses<'a> {
    pub(crate) definition: &'a Definition,
    pub(crate) columns: &'a [String],
    pub(crate) own: usize,
    pub(crate) of_files: bool,
}

impl Uses<'_> {
    /// The first of these names that is one of the first `limit` columns. In listings, a group of `name_pattern` goes
    /// before the listing's own columns.
    pub(crate) fn find(&self, names: &[&str], limit: usize) -> Option<usize> {
        names.iter().find_map(|name| self.columns[..limit].iter().rposition(|column| column == name))
    }

    pub(crate) fn rule(&self, template: &Template, limit: usize) -> Result<NameRule, String> {
        if let [Segment::Name(name)] = template.segments() {
            return self.find(&[name], limit).map(NameRule::Cell).ok_or_else(|| self.unknown(name, limit, None));
        }
        let names = KnownNames {
            name: &self.definition.name,
            batch: Some(self.definition.batch.as_str()),
            date: self.definition.date,
        };
        let parts = template.segments().iter().map(|segment| {
            // A column goes before `{name}`, `{batch}` and `{date}`: the manifest is more specific.
            if let Segment::Name(name) = segment
                && let Some(index) = self.find(&[name], limit)
            {
                return Ok(Part::Cell(index));
            }
            names.text(segment).map(Part::Text).map_err(|fault| match (fault, segment) {
                (TemplateFault::Unknown { known, .. }, Segment::Name(name)) => self.unknown(name, limit, Some(&known)),
                (fault, _) => fault.to_string(),
            })
        });
        let parts: Vec<Part> = parts.collect::<Result<_, _>>()?;
        if !parts.iter().any(|part| matches!(part, Part::Cell(_))) {
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

pub(crate) fn rule_name(rule: &NameRule, columns: &[String]) -> String {
    match rule {
        NameRule::Cell(index) => columns[*index].clone(),
        NameRule::Filled(parts) => parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Cell(index) => format!("{{{}}}", columns[*index]),
            })
            .collect(),
    }
}

/// Checks the column names in the header of a CSV.
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
