//! What one line of a manifest asks for, and everything that is wrong with it.

use std::{borrow::Cow, collections::HashMap, path::Path};

use url::Url;

use super::super::{
    NoSource, Transcribing,
    origin::unknown_scheme,
    paths::{clean, file_name, is_s3, is_web, percent_decoded, scheme, stem},
    text::excerpt,
};
use super::{columns::ColumnPlan, record::Record, repeats::About};
use crate::domain::{
    batch::{LineOption, LineOverrides},
    key::Key,
    open::Strangers,
    options::{SendMode, TranscribeOptions},
    s3::S3Address,
};

/// Where relative sources begin.
#[derive(Debug)]
pub(super) enum Base {
    /// In a directory, absolute.
    Dir(String),
    /// At the address of the manifest that names them.
    Url(Url),
    /// At that of a manifest in a store, or at a prefix.
    S3(S3Address),
}

/// Distinct sets of option cells that are remembered; beyond, the memory starts again.
const REMEMBERED: usize = 4096;

/// Judges lines one by one, the same in every reading.
pub(super) struct Judge<'m> {
    asked: &'m Transcribing,
    plan: &'m ColumnPlan,
    base: &'m Base,
    options: HashMap<Vec<u8>, Options>,
    cells: Vec<u8>,
    /// What lines ask for that is in none of our lists.
    pub(super) strangers: Strangers,
}

/// What a set of option cells comes to.
#[derive(Clone)]
struct Options {
    overrides: Option<LineOverrides>,
    send: SendMode,
    faults: Vec<LineFault>,
}

/// One fault of a line.
#[derive(Debug, Clone)]
pub(super) struct LineFault {
    /// The column, if it is one.
    pub(super) column: Option<String>,
    pub(super) message: String,
    pub(super) about: About,
}

impl LineFault {
    pub(super) fn new(column: Option<String>, message: impl Into<String>) -> Self {
        Self { column, message: message.into(), about: About::Line }
    }
}

/// A good line, still in the record's words.
pub(super) struct JudgedLine<'r> {
    pub(super) key: Cow<'r, str>,
    /// `None`: the line has none.
    pub(super) source: Option<Cow<'r, str>>,
    pub(super) overrides: Option<LineOverrides>,
}

impl<'m> Judge<'m> {
    pub(super) fn new(asked: &'m Transcribing, plan: &'m ColumnPlan, base: &'m Base) -> Self {
        Self { asked, plan, base, options: HashMap::new(), cells: Vec::new(), strangers: Strangers::default() }
    }

    pub(super) fn judge<'r>(&mut self, record: &'r Record) -> Result<JudgedLine<'r>, Vec<LineFault>> {
        let mut faults = Vec::new();
        let (overrides, send) = self.options(record, &mut faults);
        let text = self.plan.source.text(record);
        let source = (!text.is_empty()).then_some(text);
        let column = || Some(self.plan.header.source.clone());
        match &source {
            Some(source) => {
                let checked = check_source(source, send, self.base);
                faults.extend(checked.err().map(|message| LineFault::new(column(), message)));
            }
            None if self.asked.no_source == NoSource::Skip => {}
            None => {
                let message = "is empty: the line names no recording";
                faults.push(LineFault { about: About::NoSource, ..LineFault::new(column(), message) });
            }
        }
        if let Some(names) = self.plan.names.as_ref().filter(|_| record.unmatched) {
            faults.push(LineFault::new(column(), names.message(&self.plan.named_source(record))));
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
            faults.push(LineFault::new(self.plan.header.key.clone(), message));
        }
        if faults.is_empty() { Ok(JudgedLine { key, source, overrides }) } else { Err(faults) }
    }

    /// A source as the ledger takes it: an address, or an absolute path.
    pub(super) fn resolve(&self, source: &str) -> String {
        if is_web(source) {
            return source.to_owned();
        }
        if is_s3(source) {
            return source.parse::<S3Address>().map_or_else(|_| source.to_owned(), |address| address.to_string());
        }
        if scheme(source).is_some() {
            let path = Url::parse(source).ok().and_then(|url| url.to_file_path().ok());
            return path.map_or_else(|| source.to_owned(), |path| path.to_string_lossy().into_owned());
        }
        match self.base {
            Base::Url(url) => url.join(source).map_or_else(|_| source.to_owned(), String::from),
            Base::S3(manifest) => below(manifest, source).to_string(),
            Base::Dir(_) if source.starts_with('/') => source.to_owned(),
            Base::Dir(dir) => {
                let path = format!("{}/{}", dir.trim_end_matches('/'), source);
                let plain = !source.split('/').any(|part| matches!(part, "" | "." | ".."));
                if plain { path } else { clean(Path::new(&path)).to_string_lossy().into_owned() }
            }
        }
    }

    /// The path of a resolved source as its folder knows it, if it is a local file.
    pub(super) fn local(&self, resolved: &str) -> Option<String> {
        if !resolved.starts_with('/') {
            return None;
        }
        let below = match self.base {
            Base::Dir(dir) => resolved.strip_prefix(dir.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/')),
            Base::Url(_) | Base::S3(_) => None,
        };
        Some(below.unwrap_or(resolved).to_owned())
    }

    fn options(&mut self, record: &Record, faults: &mut Vec<LineFault>) -> (Option<LineOverrides>, SendMode) {
        let own = self.asked.options.send;
        let columns = || {
            let options = self.plan.options.iter().map(|(_, index)| index);
            options.chain(self.plan.extras.iter().map(|(_, index)| index))
        };
        if columns().all(|index| record.cell(*index).trim().is_empty()) {
            return (None, own);
        }
        self.cells.clear();
        for index in columns() {
            self.cells.extend_from_slice(record.cell(*index).trim().as_bytes());
            self.cells.push(0x1f);
        }
        if !self.options.contains_key(&self.cells) {
            if self.options.len() >= REMEMBERED {
                self.options.clear();
            }
            let (options, merged) = read_options(self.asked, self.plan, record);
            if options.faults.is_empty() {
                self.strangers.extend(merged.unlisted());
            }
            self.options.insert(self.cells.clone(), options);
        }
        let options = &self.options[&self.cells];
        faults.extend(options.faults.iter().cloned());
        (options.overrides.clone(), options.send)
    }
}

fn read_options(asked: &Transcribing, plan: &ColumnPlan, record: &Record) -> (Options, TranscribeOptions) {
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
            faults.push(of_option(Some(option.to_string()), message));
        }
    }
    for (name, index) in &plan.extras {
        let cell = record.cell(*index).trim();
        if !cell.is_empty() {
            said.extra.query.insert(name.clone(), cell.to_owned());
        }
    }
    let merged = said.apply(&asked.options);
    if faults.is_empty() {
        for fault in merged.faults() {
            let own = filled.iter().find(|option| option.as_str() == fault.field);
            let column = own.or(filled.first()).map(LineOption::to_string);
            faults.push(of_option(column, fault.message));
        }
    }
    (Options { overrides: said.differing_from(&asked.options), send: merged.send, faults }, merged)
}

fn of_option(column: Option<String>, message: String) -> LineFault {
    LineFault { about: About::Option, ..LineFault::new(column, message) }
}

/// The object that a relative source names, beside the manifest `of` in its bucket.
fn below(of: &S3Address, source: &str) -> S3Address {
    let folder = &of.key[..of.key.rfind('/').map_or(0, |slash| slash + 1)];
    let key = if source.starts_with('/') { source.to_owned() } else { format!("/{folder}{source}") };
    let plain = !key[1..].split('/').any(|part| matches!(part, "" | "." | ".."));
    let key = if plain { key } else { clean(Path::new(&key)).to_string_lossy().into_owned() };
    S3Address { bucket: of.bucket.clone(), key: key.trim_start_matches('/').to_owned() }
}

/// The key of a line that names none: its source's file name without the ending, else its number.
pub(super) fn key_of(source: Option<&str>, number: u64) -> Cow<'static, str> {
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

fn check_source(source: &str, send: SendMode, base: &Base) -> Result<(), String> {
    if let Some(c) = source.chars().find(|c| c.is_control()) {
        return Err(format!("a source may not have control characters, and this one has U+{:04X}", c as u32));
    }
    if is_web(source) {
        return check_web(source);
    }
    if is_s3(source) {
        return match source.parse::<S3Address>() {
            Ok(address) if address.is_prefix() => Err("names a prefix, and no object below it".to_owned()),
            Ok(_) => Ok(()),
            Err(e) => Err(e.to_string()),
        };
    }
    let local = match scheme(source) {
        None => matches!(base, Base::Dir(_)),
        Some(scheme) if scheme.eq_ignore_ascii_case("file") => {
            let path = Url::parse(source).ok().and_then(|url| url.to_file_path().ok());
            path.map(|_| true).ok_or("is not a valid file: URL")?
        }
        Some(scheme) => return Err(unknown_scheme(&excerpt(scheme))),
    };
    if local && send == SendMode::Url {
        return Err(
            "send = \"url\" needs an http(s) or s3:// address, and this is a file; use send = \"auto\" or \"bytes\""
                .into(),
        );
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
