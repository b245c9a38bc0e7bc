//! Walks a TOML file field by field. All faults are reported at once, each with its line.

use std::{
    collections::BTreeMap,
    ops::{Range, RangeInclusive},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    fault::{Fault, Place},
    text::ticked,
};
use crate::domain::options::nearest;

/// Why a value was refused.
pub enum Wrong {
    /// The value has another type than the one named.
    Type(&'static str),
    /// The type is right, but the value is not valid.
    Value(String),
}

/// A file being walked.
pub struct TomlWalk<'t> {
    file: &'t str,
    text: &'t str,
    /// The faults so far.
    pub faults: Vec<Fault>,
    /// The position of each dotted name's value: line and character.
    pub places: BTreeMap<String, (u64, u64)>,
    known: Vec<String>,
    unknown: Vec<(String, Range<usize>)>,
}

/// One table of the file; absent tables read as empty.
pub struct Section<'t> {
    /// Its dotted name; empty for the root table.
    prefix: String,
    table: Option<&'t DeTable<'t>>,
    asked: Vec<String>,
}

impl<'t> Section<'t> {
    /// The root table.
    pub fn root(table: &'t DeTable<'t>) -> Self {
        Self { prefix: String::new(), table: Some(table), asked: Vec::new() }
    }

    /// The names in it that were not taken yet.
    pub fn others(&self) -> Vec<String> {
        let names = self.table.into_iter().flat_map(|table| table.keys()).map(|name| name.get_ref().to_string());
        names.filter(|name| !self.asked.contains(name)).collect()
    }

    /// Those of them whose value may be meant for a name that this release does not know.
    pub fn others_with(&self, may_be_meant: impl Fn(&DeValue<'_>) -> bool) -> Vec<String> {
        let value = |name: &String| self.table.and_then(|table| table.get(name.as_str()));
        self.others()
            .into_iter()
            .filter(|name| value(name).is_some_and(|value| may_be_meant(value.get_ref())))
            .collect()
    }

    fn dotted(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }
}

impl<'t> TomlWalk<'t> {
    /// A walk through `text`, of a file called `file`.
    pub fn new(file: &'t str, text: &'t str) -> Self {
        let (faults, places, known, unknown) = Default::default();
        Self { file, text, faults, places, known, unknown }
    }

    /// Records a fault at a byte of the file.
    pub fn fault(&mut self, at: usize, field: Option<String>, message: impl Into<String>) {
        let (line, position) = self.line_of(at);
        self.faults.push(Fault {
            line: Some(line),
            position: Some(position),
            place: field.map(Place::Field),
            ..Fault::of_file(self.file, message)
        });
    }

    /// Records a fault of a field that was read.
    pub fn fault_of(&mut self, dotted: &str, message: impl Into<String>) {
        let place = Some(Place::Field(dotted.to_owned()));
        let Some(&(line, position)) = self.places.get(dotted) else { return };
        if self.faults.iter().all(|fault| fault.place != place) {
            let (line, position) = (Some(line), Some(position));
            self.faults.push(Fault { line, position, place, ..Fault::of_file(self.file, message) });
        }
    }

    fn line_of(&self, at: usize) -> (u64, u64) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() as u64 + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (line, before[start..].chars().count() as u64 + 1)
    }

    /// Takes one field and parses it with `read`. A fault is recorded, and the field reads as absent.
    pub fn take<T>(
        &mut self,
        section: &mut Section<'t>,
        name: &str,
        read: impl FnOnce(&'t DeValue<'t>) -> Result<T, Wrong>,
    ) -> Option<T> {
        section.asked.push(name.to_owned());
        let dotted = section.dotted(name);
        self.known.push(dotted.clone());
        let value: &'t Spanned<DeValue<'t>> = section.table?.get(name)?;
        let at = value.span().start;
        let place = self.line_of(at);
        self.places.insert(dotted.clone(), place);
        match read(value.get_ref()) {
            Ok(taken) => Some(taken),
            Err(Wrong::Type(wanted)) => {
                let found = type_name(value.get_ref());
                self.fault(at, Some(dotted), format!("must be {wanted}, not {found}"));
                None
            }
            Err(Wrong::Value(message)) => {
                self.fault(at, Some(dotted), message);
                None
            }
        }
    }

    /// A string that `parse` accepts.
    pub fn text<T>(
        &mut self,
        section: &mut Section<'t>,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.take(section, name, |value| match value.as_str() {
            Some(text) => parse(text).map_err(Wrong::Value),
            None => Err(Wrong::Type("a string")),
        })
    }

    /// A value of any type that `parse` accepts.
    pub fn any_of<T>(
        &mut self,
        section: &mut Section<'t>,
        name: &str,
        parse: impl FnOnce(&'t DeValue<'t>) -> Result<T, String>,
    ) -> Option<T> {
        self.take(section, name, |value| parse(value).map_err(Wrong::Value))
    }

    /// `true` or `false`.
    pub fn flag(&mut self, section: &mut Section<'t>, name: &str) -> Option<bool> {
        self.take(section, name, |value| value.as_bool().ok_or(Wrong::Type("true or false")))
    }

    /// A whole number from 1.
    pub fn count(&mut self, section: &mut Section<'t>, name: &str) -> Option<u32> {
        self.count_in(section, name, 1..=u32::MAX)
    }

    /// A whole number in a range.
    pub fn count_in(&mut self, section: &mut Section<'t>, name: &str, range: RangeInclusive<u32>) -> Option<u32> {
        self.take(section, name, |value| {
            let number = value.as_integer().ok_or(Wrong::Type("a whole number"))?;
            let count = u32::from_str_radix(number.as_str(), number.radix()).ok();
            count
                .filter(|count| range.contains(count))
                .ok_or_else(|| Wrong::Value(format!("{number} is not between {} and {}", range.start(), range.end())))
        })
    }

    /// A list of strings that `parse` accepts.
    pub fn list<T>(
        &mut self,
        section: &mut Section<'t>,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        const WANTED: Wrong = Wrong::Type("a list of strings");
        let mut wrong: Vec<(usize, String)> = Vec::new();
        let taken = self.take(section, name, |value| {
            let mut list = Vec::new();
            for item in value.as_array().ok_or(WANTED)?.iter() {
                match parse(item.get_ref().as_str().ok_or(WANTED)?) {
                    Ok(item) => list.push(item),
                    Err(message) => wrong.push((item.span().start, message)),
                }
            }
            Ok(list)
        });
        let dotted = section.dotted(name);
        for (at, message) in wrong {
            self.fault(at, Some(dotted.clone()), message);
        }
        taken
    }

    /// A table of strings. `name_of` gets a name, its value and the entries before it, and returns the name to keep.
    pub fn texts(
        &mut self,
        section: &mut Section<'t>,
        name: &str,
        name_of: impl Fn(&BTreeMap<String, String>, &str, &str) -> Result<String, String>,
    ) -> Option<BTreeMap<String, String>> {
        let table = self.take(section, name, |value| value.as_table().ok_or(Wrong::Type("a table of texts")))?;
        let mut taken = BTreeMap::new();
        for (key, value) in table {
            let named = match value.get_ref().as_str() {
                Some(text) => name_of(&taken, key.get_ref(), text).map(|name| (name, text.to_owned())),
                None => Err(format!("must be texts, and `{}` is {}", key.get_ref(), type_name(value.get_ref()))),
            };
            match named {
                Ok((name, text)) => drop(taken.insert(name, text)),
                Err(message) => self.fault(value.span().start, Some(section.dotted(name)), message),
            }
        }
        Some(taken)
    }

    /// A table inside this one.
    pub fn section(&mut self, parent: &mut Section<'t>, name: &str) -> Section<'t> {
        let table = self.take(parent, name, |value| value.as_table().ok_or(Wrong::Type("a table")));
        Section { prefix: parent.dotted(name), table, asked: Vec::new() }
    }

    /// The tables of a list, each with the byte where it begins. One table alone is a list of one.
    pub fn sections(&mut self, parent: &mut Section<'t>, name: &str) -> Option<Vec<(usize, Section<'t>)>> {
        const WANTED: Wrong = Wrong::Type("a list of tables");
        let prefix = parent.dotted(name);
        let start = parent.table.and_then(|table| table.get(name)).map_or(0, |value| value.span().start);
        let tables = self.take(parent, name, |value| match value {
            DeValue::Table(table) => Ok(vec![(start, table)]),
            DeValue::Array(items) => {
                let item = |item: &'t Spanned<DeValue<'t>>| {
                    item.get_ref().as_table().map(|table| (item.span().start, table)).ok_or(WANTED)
                };
                items.iter().map(item).collect()
            }
            _ => Err(WANTED),
        })?;
        let section = |(at, table)| (at, Section { prefix: prefix.clone(), table: Some(table), asked: Vec::new() });
        Some(tables.into_iter().map(section).collect())
    }

    /// Records the names in a table that were not taken.
    pub fn close(&mut self, section: Section<'t>) {
        for (key, _) in section.table.into_iter().flat_map(|table| table.iter()) {
            let name = key.get_ref();
            if !section.asked.iter().any(|asked| asked == name.as_ref()) {
                self.unknown.push((section.dotted(name), key.span()));
            }
        }
    }

    /// Reports the unknown fields. Call it after all tables are closed, since a field may belong to another table.
    pub fn report_unknown(&mut self) {
        for (dotted, span) in std::mem::take(&mut self.unknown) {
            let (table, name) = dotted.rsplit_once('.').unwrap_or(("", &dotted));
            let in_table = |known: &&String| known.rsplit_once('.').map_or("", |(table, _)| table) == table;
            let elsewhere = |known: &&String| known.rsplit('.').next() == Some(name);
            let siblings: Vec<&str> =
                self.known.iter().filter(in_table).map(|k| k.rsplit('.').next().unwrap_or(k)).collect();
            let message = if let Some(near) = nearest(name, siblings.iter().copied()) {
                format!("there is no such field; did you mean `{near}`?")
            } else if let Some(other) = {
                // An option of the task has a name in `[columns]` too.
                let is_column = |known: &String| known.starts_with("columns.");
                self.known.iter().filter(elsewhere).min_by_key(|known| is_column(known))
            } {
                // The fields of the top level stand before its tables.
                let place = if other.contains('.') { "" } else { ", above all tables" };
                format!("there is no such field here; did you mean `{other}`{place}?")
            } else {
                format!("there is no such field; known here: {}", ticked(&siblings))
            };
            self.fault(span.start, Some(dotted), message);
        }
        self.faults.sort_by_key(|fault| (fault.line, fault.position));
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
/// A number, whole or not.
///
/// # Errors
/// It is none.
pub fn number(value: &DeValue<'_>) -> Result<f64, Wrong> {
    let text = match value {
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.as_str().to_owned(),
        _ => return Err(Wrong::Type("a number")),
    };
    text.parse().map_err(|_| Wrong::Value(format!("`{text}` is not a number")))
}
