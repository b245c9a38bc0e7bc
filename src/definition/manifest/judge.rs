//! What one line of a manifest asks for, and everything that is wrong with it.

use std::{borrow::Cow, collections::HashMap, path::Path};

use url::Url;

use super::super::{
    Definition,
    paths::{clean, file_name, is_web, percent_decoded, scheme, stem},
    text::excerpt,
};
use super::{columns::Plan, record::Record};
use crate::domain::{
    batch::{LineOption, LineOverrides},
    key::Key,
    options::SendMode,
};

/// Where relative sources begin.
#[derive(Debug)]
pub(super) enum Base {
    /// In a directory, absolute.
    Dir(String),
    /// At the address of the manifest that names them.
    Url(Url),
}

/// Distinct sets of option cells that are remembered; beyond, the memory starts anew.
const REMEMBERED: usize = 4096;

/// Judges lines one by one, the same in every reading.
pub(super) struct Judge<'m> {
    definition: &'m Definition,
    plan: &'m Plan,
    base: &'m Base,
    options: HashMap<Vec<u8>, Options>,
    cells: Vec<u8>,
}

/// What a set of option cells comes to.
#[derive(Clone)]
struct Options {
    overrides: Option<LineOverrides>,
    send: SendMode,
    faults: Vec<LineFault>,
}

/// One fault of a line: the column, if it is one, and the words.
pub(super) type LineFault = (Option<String>, String);

/// A good line, still in the record's words.
pub(super) struct Judged<'r> {
    pub(super) key: Cow<'r, str>,
    /// `None`: the line has none.
    pub(super) source: Option<Cow<'r, str>>,
    pub(super) overrides: Option<LineOverrides>,
}

impl<'m> Judge<'m> {
    pub(super) fn new(definition: &'m Definition, plan: &'m Plan, base: &'m Base) -> Self {
        Self { definition, plan, base, options: HashMap::new(), cells: Vec::new() }
    }

    pub(super) fn judge<'r>(&mut self, record: &'r Record) -> Result<Judged<'r>, Vec<LineFault>> {
        let mut faults = Vec::new();
        let (overrides, send) = self.options(record, &mut faults);
        let text = self.plan.source.text(record);
        let source = (!text.is_empty()).then_some(text);
        if let Some(source) = &source
            && let Err(message) = check_source(source, send, self.base)
        {
            faults.push((Some(self.plan.header.source.clone()), message));
        }
        let key = match &self.plan.key {
            Some(rule) => rule.text(record),
            None => key_of(source.as_deref(), record.number),
        };
        if let Err(fault) = Key::check(&key) {
            let message = match fault {
                crate::domain::key::KeyFault::Empty => fault.to_string(),
                _ => format!("`{}`: {fault}", excerpt(&key)),
            };
            faults.push((self.plan.header.key.clone(), message));
        }
        if faults.is_empty() { Ok(Judged { key, source, overrides }) } else { Err(faults) }
    }

    /// A source as the ledger takes it: an address, or an absolute path.
    pub(super) fn resolve(&self, source: &str) -> String {
        if is_web(source) {
            return source.to_owned();
        }
        if scheme(source).is_some() {
            let path = Url::parse(source).ok().and_then(|url| url.to_file_path().ok());
            return path.map_or_else(|| source.to_owned(), |path| path.to_string_lossy().into_owned());
        }
        match self.base {
            Base::Url(url) => url.join(source).map_or_else(|_| source.to_owned(), String::from),
            Base::Dir(_) if source.starts_with('/') => source.to_owned(),
            Base::Dir(dir) => {
                let path = format!("{}/{}", dir.trim_end_matches('/'), source);
                let plain = !source.split('/').any(|part| matches!(part, "" | "." | ".."));
                if plain { path } else { clean(Path::new(&path)).to_string_lossy().into_owned() }
            }
        }
    }

    fn options(&mut self, record: &Record, faults: &mut Vec<LineFault>) -> (Option<LineOverrides>, SendMode) {
        let own = self.definition.transcribe.send;
        if self.plan.options.iter().all(|(_, index)| record.cell(*index).trim().is_empty()) {
            return (None, own);
        }
        self.cells.clear();
        for (_, index) in &self.plan.options {
            self.cells.extend_from_slice(record.cell(*index).trim().as_bytes());
            self.cells.push(0x1f);
        }
        if !self.options.contains_key(&self.cells) {
            if self.options.len() >= REMEMBERED {
                self.options.clear();
            }
            let options = read_options(self.definition, self.plan, record);
            self.options.insert(self.cells.clone(), options);
        }
        let options = &self.options[&self.cells];
        faults.extend(options.faults.iter().cloned());
        (options.overrides, options.send)
    }
}

fn read_options(definition: &Definition, plan: &Plan, record: &Record) -> Options {
    let mut said = LineOverrides::default();
    let mut faults: Vec<LineFault> = Vec::new();
    let mut filled = Vec::new();
    for (option, index) in &plan.options {
        let cell = record.cell(*index).trim();
        if cell.is_empty() {
            continue;
        }
        filled.push(*option);
        if let Err(message) = said.set(*option, cell) {
            let hint = format!(
                "{message} (a column of this name overrides the option; if it is data of your own, leave it out of `option_columns`, or turn them off with option_columns = [])"
            );
            faults.push((Some(option.to_string()), hint));
        }
    }
    let merged = said.apply(&definition.transcribe);
    if faults.is_empty() {
        for fault in merged.faults() {
            let own = filled.iter().find(|option| option.as_str() == fault.field);
            let column = own.or(filled.first()).map(LineOption::to_string);
            faults.push((column, fault.message));
        }
    }
    Options { overrides: said.differing_from(&definition.transcribe), send: merged.send, faults }
}

/// The key of a line that names none: its source's file name without the ending, else its number.
fn key_of(source: Option<&str>, number: u64) -> Cow<'static, str> {
    let name = source.map(|source| {
        let name = stem(file_name(source));
        if scheme(source).is_some() { percent_decoded(name) } else { name.to_owned() }
    });
    match name {
        Some(name) if Key::check(&name).is_ok() => Cow::Owned(name),
        _ => Cow::Owned(Key::of_line(number).to_string()),
    }
}

fn check_source(source: &str, send: SendMode, base: &Base) -> Result<(), String> {
    if let Some(c) = source.chars().find(|c| c.is_control()) {
        return Err(format!("a source may not have control characters, and this one has U+{:04X}", c as u32));
    }
    if is_web(source) {
        return check_web(source);
    }
    let local = match scheme(source) {
        None => matches!(base, Base::Dir(_)),
        Some(scheme) if scheme.eq_ignore_ascii_case("file") => {
            let path = Url::parse(source).ok().and_then(|url| url.to_file_path().ok());
            path.map(|_| true).ok_or("is not a valid file: URL")?
        }
        Some(scheme) => {
            return Err(format!("`{}:` addresses cannot be read; http(s) URLs and files can", excerpt(scheme)));
        }
    };
    if local && send == SendMode::Url {
        return Err("send = \"url\" needs an http(s) URL, and this is a file; use send = \"auto\" or \"bytes\"".into());
    }
    Ok(())
}

fn check_web(source: &str) -> Result<(), String> {
    // Most addresses need no parser to be seen to be valid.
    let after = &source[source.find("://").map_or(0, |at| at + 3)..];
    let host = &after[..after.find('/').unwrap_or(after.len())];
    let plain = |b: u8| b.is_ascii_lowercase() || b == b'.' || b == b'-';
    if host.len() > 3
        && host.bytes().all(plain)
        && host.as_bytes()[0].is_ascii_lowercase()
        && host.as_bytes()[host.len() - 1].is_ascii_lowercase()
        && !host.contains("..")
        && !host.contains("xn--")
    {
        return Ok(());
    }
    // The words only: the address may be signed.
    Url::parse(source).map(|_| ()).map_err(|e| format!("is not a valid URL: {e}"))
}
