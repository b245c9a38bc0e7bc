//! Finds the uses of columns, by name and by templates over columns.

use std::{borrow::Cow, fmt::Display};

use super::super::{
    Definition,
    paths::{file_name, is_s3, percent_decoded, scheme, stem},
    template::{Names as KnownNames, Segment, Template, TemplateFault},
    text::{did_you_mean, excerpt, shell_word, ticked},
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

    /// The columns that it is made from.
    pub(crate) fn columns(&self) -> Vec<usize> {
        match self {
            Self::Cell(index) => vec![*index],
            Self::Filled(parts) => {
                parts.iter().filter_map(|part| if let Part::Cell(at) = part { Some(*at) } else { None }).collect()
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

/// A name with everything that does not matter taken out.
pub(super) fn fold(name: &str) -> String {
    let name = name.trim();
    name.chars().map(|c| if matches!(c, ' ' | '-') { '_' } else { c }).flat_map(char::to_lowercase).collect()
}

/// Whether a folded name could be a slip of an option's name.
fn is_near(folded: &str, option: &str) -> bool {
    let bare = |name: &str| name.replace('_', "");
    let slips = match option.len() {
        0..=4 => 0,
        5..=7 => 1,
        _ => 2,
    };
    bare(folded) == bare(option) || folded != option && strsim::damerau_levenshtein(folded, option) <= slips
}

/// The context in which a template over columns is read.
pub(crate) struct Uses<'a> {
    pub(crate) definition: &'a Definition,
    pub(crate) columns: &'a [String],
    pub(crate) own: usize,
    /// How many columns are found by their names alone.
    pub(crate) named: usize,
    pub(crate) of_files: bool,
    /// Names that stand twice in the header.
    pub(crate) doubled: &'a [String],
}

impl Uses<'_> {
    /// The column with the first of these names, among the first `limit` columns. Case does not matter, nor whether words
    /// are parted by a space, `-` or `_`; the name as it is written goes first. In listings, a group of `name_pattern`
    /// goes before the listing's own columns.
    ///
    /// # Errors
    /// Several columns could be meant.
    pub(crate) fn find(&self, names: &[&str], limit: usize) -> Result<Option<usize>, String> {
        let columns = &self.columns[..limit];
        let exact = names.iter().find_map(|name| columns.iter().rposition(|column| column == name));
        let found = match exact {
            Some(at) => Some(at),
            None => self.find_alike(names, columns)?,
        };
        match found.map(|at| &columns[at]) {
            Some(name) if self.doubled.contains(name) => {
                Err(format!("column `{}` stands twice in the header: rename one of them", excerpt(name)))
            }
            _ => Ok(found),
        }
    }

    fn find_alike(&self, names: &[&str], columns: &[String]) -> Result<Option<usize>, String> {
        for name in names {
            let folded = fold(name);
            let alike: Vec<usize> = (0..columns.len()).filter(|at| fold(&columns[*at]) == folded).collect();
            match alike.as_slice() {
                [] => {}
                [one] => return Ok(Some(*one)),
                several => {
                    let several: Vec<_> = several.iter().map(|at| &columns[*at]).collect();
                    return Err(format!("`{name}` may be any of the columns {}: rename one of them", ticked(&several)));
                }
            }
        }
        Ok(None)
    }

    /// The columns that set options: those that `mapped` names, and those with an option's own name. `used` are columns that
    /// something else uses.
    ///
    /// # Errors
    /// A named column does not exist, or several could be meant.
    pub(crate) fn options<O: Copy + PartialEq + Display>(
        &self,
        (all, mapped): (&[O], &[(O, String)]),
        used: &[Option<usize>],
    ) -> Result<Vec<(O, usize)>, Vec<String>> {
        let (mut found, mut faults) = (Vec::new(), Vec::new());
        for option in all {
            let by_name = mapped.iter().find(|(own, _)| own == option).map(|(_, column)| column);
            let name = by_name.cloned().unwrap_or_else(|| option.to_string());
            let limit = if by_name.is_some() { self.columns.len() } else { self.named };
            match self.find(&[&name], limit) {
                Ok(None) if by_name.is_some() => {
                    faults.push(format!("columns.{option}: {}", self.unknown(&name, self.columns.len(), None)));
                }
                Ok(Some(at)) if by_name.is_some() && used.contains(&Some(at)) => {
                    faults.push(format!("columns.{option}: the column `{}` is used already", excerpt(&name)));
                }
                Ok(at) => found.extend(at.filter(|at| !used.contains(&Some(*at))).map(|at| (*option, at))),
                Err(message) => faults.push(message),
            }
        }
        found.sort_by_key(|(_, at)| *at);
        if faults.is_empty() { Ok(found) } else { Err(faults) }
    }

    /// Warns of columns that nothing uses, though their names are near that of an option which no column sets.
    pub(crate) fn near_options<O: Copy + PartialEq + Display>(
        &self,
        (all, found): (&[O], &[(O, usize)]),
        carried: &[usize],
        also: &[(O, &[&str])],
    ) -> Vec<String> {
        let free: Vec<O> = all.iter().copied().filter(|option| found.iter().all(|(own, _)| own != option)).collect();
        let near = |column: &str| {
            let folded = fold(column);
            free.iter().copied().find(|option| {
                let names = also.iter().filter(|(own, _)| own == option).flat_map(|(_, names)| names.iter());
                is_near(&folded, &option.to_string()) || names.clone().any(|name| *name == folded)
            })
        };
        let warned = carried.iter().filter_map(|at| {
            let column = &self.columns[*at];
            let option = near(column)?;
            Some(format!(
                "column `{}` sets nothing and is carried into the report; if it sets `{option}`, rename it to that, or say --column {option}={} (columns = {{ {option} = \"…\" }})",
                excerpt(column),
                shell_word(column)
            ))
        });
        warned.collect()
    }

    pub(crate) fn rule(&self, template: &Template, limit: usize) -> Result<NameRule, String> {
        if let [Segment::Name(name)] = template.segments() {
            return match self.find(&[name], limit)? {
                Some(at) => Ok(NameRule::Cell(at)),
                None => Err(self.unknown(name, limit, None)),
            };
        }
        let names = KnownNames {
            name: &self.definition.name,
            batch: Some(self.definition.batch.as_str()),
            date: self.definition.date,
        };
        let parts = template.segments().iter().map(|segment| {
            // A column goes before `{name}`, `{batch}` and `{date}`: the manifest is more specific.
            if let Segment::Name(name) = segment
                && let Some(index) = self.find(&[name], limit)?
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
