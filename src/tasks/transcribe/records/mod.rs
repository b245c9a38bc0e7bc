//! How a record of a manifest of recordings becomes a job, and all its possible faults.

mod columns;
mod file_names;
mod source;

use std::{borrow::Cow, collections::HashMap, path::Path, sync::Arc};

pub(super) use self::columns::SOURCE_NAMES;
pub(crate) use self::file_names::name_pattern;
use self::{
    columns::RecordingColumns,
    source::{check_source, foreign, local, resolve},
};
use super::listening::role_of;
use crate::{
    definition::{
        Faults, NoSource, Transcribing,
        manifest::{
            About, Base, Columns, Emptiness, Gathered, JobDraft, LineFault, LineJudge, LineName, OpenManifest, Record,
            RecordReader, Refusal, ScanDepth, UnnamedColumns, key_of,
        },
        normal_forms::{NormalForms, Spelling},
        path_map::{PathMap, slashed},
        text::excerpt,
    },
    domain::{
        batch::{LineOption, LineOverrides},
        identity::{Identity, options_identity},
        key::{Key, KeyFault},
        open::UnlistedValues,
        options::{SendMode, TranscribeOptions},
        pool::Pool,
    },
};

/// The default columns of plain lines, and of files.
pub(crate) const UNNAMED: UnnamedColumns = UnnamedColumns { line: "source", files: ["source", "key"] };

/// Distinct sets of option cells that are cached; when the cache is full, it is cleared.
const REMEMBERED: usize = 4096;

/// Determines the purpose of each column of a manifest of recordings.
pub(crate) fn open_records<'d>(
    asked: &'d Transcribing,
    mut manifest: OpenManifest<'_>,
) -> Result<Box<dyn RecordReader + 'd>, Faults> {
    let columns = match manifest.take_columns() {
        Some(columns) => RecordingColumns::of(asked, &manifest, columns)?,
        None => RecordingColumns::of_nothing(),
    };
    let path_map = manifest.definition.path_map.clone();
    Ok(Box::new(Recordings { asked, columns, base: manifest.base, path_map }))
}

/// A reader of recordings.
#[derive(Debug)]
struct Recordings<'d> {
    asked: &'d Transcribing,
    columns: RecordingColumns,
    base: Base,
    path_map: PathMap,
}

impl Recordings<'_> {
    /// The source of a line, as it is called on this machine; empty where there is none.
    fn source<'r>(&self, record: &'r Record) -> Cow<'r, str> {
        match self.columns.source.text(record) {
            Cow::Borrowed(text) => self.path_map.apply(text),
            Cow::Owned(text) => Cow::Owned(self.path_map.apply(&text).into_owned()),
        }
    }
}

impl RecordReader for Recordings<'_> {
    fn columns(&self) -> &Columns {
        &self.columns.columns
    }

    fn complete(&self, record: &mut Record) {
        self.columns.read_name(record, &self.path_map);
    }

    fn begin(&self, _depth: ScanDepth) -> Box<dyn LineJudge + '_> {
        Box::new(RecordingJudge::new(self))
    }

    fn doubled_key(&self, key: &str, first: &LineName) -> LineFault {
        let hint = match self.columns.columns.key {
            Some(_) => "",
            None => "; no column is known to hold a key, so the file's name is it: name one with --key-column",
        };
        LineFault::new(None, format!("the key `{}` is also that of {first}{hint}", excerpt(key)))
    }

    fn nothing(&self, of: Emptiness) -> String {
        let message = match of {
            Emptiness::Table => "has a header, and no lines below it",
            Emptiness::File => "is empty",
            Emptiness::Listing => "no recordings are found",
        };
        message.to_owned()
    }
}

/// Judges lines one by one.
struct RecordingJudge<'m> {
    of: &'m Recordings<'m>,
    /// The options for each set of option cells.
    options: HashMap<Vec<u8>, Arc<LineOptions>>,
    cells: Vec<u8>,
    /// The options of lines that set none.
    defaults: Arc<LineOptions>,
    /// The last judged line.
    last: Last,
    jobs: u64,
    idle: u64,
    unlisted_values: UnlistedValues,
    forms: NormalForms,
}

/// The options for a set of option cells.
struct LineOptions {
    id: Identity,
    /// The options that differ from the batch's, as JSON.
    overrides: Option<String>,
    pool: Pool,
    send: SendMode,
    faults: Vec<LineFault>,
}

/// What is kept of the last judged line.
struct Last {
    options: Arc<LineOptions>,
    has_source: bool,
    /// The path of its source, if that is spelled otherwise on the disk.
    spelled: Option<String>,
}

impl<'m> RecordingJudge<'m> {
    fn new(of: &'m Recordings<'m>) -> Self {
        let asked = &of.asked.options;
        let defaults = Arc::new(LineOptions {
            id: options_identity(asked, &of.asked.listening),
            overrides: None,
            pool: asked.model.into(),
            send: asked.send,
            faults: Vec::new(),
        });
        let last = Last { options: Arc::clone(&defaults), has_source: false, spelled: None };
        let (options, cells, unlisted_values, forms) = Default::default();
        Self { of, options, cells, defaults, last, jobs: 0, idle: 0, unlisted_values, forms }
    }

    fn options(&mut self, record: &Record) -> Arc<LineOptions> {
        let RecordingColumns { options, extras, roles, .. } = &self.of.columns;
        let set = || options.iter().map(|(_, at)| at).chain(extras.iter().map(|(_, at)| at));
        let columns = || set().chain(roles.iter().map(|(_, at)| at));
        if columns().all(|at| record.cell(*at).trim().is_empty()) {
            return Arc::clone(&self.defaults);
        }
        self.cells.clear();
        for at in columns() {
            self.cells.extend_from_slice(record.cell(*at).trim().as_bytes());
            self.cells.push(0x1f);
        }
        if let Some(known) = self.options.get(&self.cells) {
            return Arc::clone(known);
        }
        if self.options.len() >= REMEMBERED {
            self.options.clear();
        }
        let (read, merged) = read_options(self.of, record);
        if read.faults.is_empty() {
            self.unlisted_values.extend(merged.unlisted());
        }
        let read = Arc::new(read);
        self.options.insert(self.cells.clone(), Arc::clone(&read));
        read
    }

    /// The path of a local file whose name is on the disk in another Unicode normal form.
    fn spelled(&mut self, source: &str) -> Result<Option<String>, String> {
        if source.is_ascii() || self.of.columns.of_files {
            return Ok(None);
        }
        let path = resolve(&self.of.base, source);
        match path.starts_with('/').then(|| self.forms.find(Path::new(&path))) {
            Some(Spelling::Other(other)) => Ok(other.into_os_string().into_string().ok()),
            Some(Spelling::Several(files)) => Err(format!(
                "there is no file with this very name, and {files} whose names differ only in their Unicode form; write it as the folder has it"
            )),
            Some(Spelling::AsWritten) | None => Ok(None),
        }
    }

    /// Checks the source of a line that has one, and reports a missing one.
    fn check_source(&mut self, source: Option<&str>, send: SendMode) -> Option<LineFault> {
        self.last.spelled = None;
        let column = || Some(self.of.columns.source_name.clone());
        match source {
            Some(source) => {
                if let Some(message) = foreign(source, &self.of.base) {
                    return Some(LineFault { about: About::WindowsPath, ..LineFault::new(column(), message) });
                }
                let checked = check_source(source, send, &self.of.base).and_then(|()| self.spelled(source));
                match checked {
                    Ok(spelled) => {
                        self.last.spelled = spelled;
                        None
                    }
                    Err(message) => Some(LineFault::new(column(), message)),
                }
            }
            None if self.of.asked.no_source == NoSource::Skip => None,
            None => {
                let message = "is empty: the line names no recording";
                Some(LineFault { about: About::NoSource, ..LineFault::new(column(), message) })
            }
        }
    }
}

impl LineJudge for RecordingJudge<'_> {
    fn judge<'r>(&mut self, record: &'r Record) -> Result<Cow<'r, str>, Refusal> {
        let columns = &self.of.columns;
        let options = self.options(record);
        let text = self.of.source(record);
        let source = (!text.is_empty()).then_some(&*text);
        let mut faults = options.faults.clone();
        faults.extend(self.check_source(source, options.send));
        if let Some(names) = columns.names.as_ref().filter(|_| record.unmatched) {
            faults
                .push(LineFault::new(Some(columns.source_name.clone()), names.message(&columns.named_source(record))));
        }
        let key = match &columns.key {
            Some(rule) => rule.text(record),
            None => key_of(source.map(slashed).as_deref(), record.number),
        };
        if let Err(fault) = Key::check(&key) {
            let message = match fault {
                KeyFault::Empty => fault.to_string(),
                _ => format!("`{}`: {fault}", excerpt(&key)),
            };
            faults.push(LineFault::new(columns.columns.key.clone(), message));
        }
        self.last.options = options;
        self.last.has_source = source.is_some();
        if faults.is_empty() { Ok(key) } else { Err(Refusal::Line(faults)) }
    }

    fn gather(&mut self, _name: &mut dyn FnMut(&str)) {
        self.jobs += 1;
        self.idle += u64::from(!self.last.has_source);
    }

    fn jobs(&mut self, record: &Record) -> Vec<JobDraft> {
        let Last { options, has_source, spelled } = &self.last;
        let base = &self.of.base;
        let source = has_source.then(|| spelled.clone().unwrap_or_else(|| resolve(base, &self.of.source(record))));
        vec![JobDraft {
            local: source.as_deref().and_then(|source| local(base, source)),
            expected: record.listed.clone(),
            text: None,
            variant: String::new(),
            overrides: options.overrides.clone(),
            // Without a source there is nothing to do, and options change nothing.
            options_id: if *has_source { options.id } else { Identity([0; 16]) },
            pool: options.pool,
            source,
        }]
    }

    fn gathered(self: Box<Self>) -> Gathered {
        Gathered { jobs: self.jobs, idle: self.idle, unlisted_values: self.unlisted_values, findings: Arc::new(()) }
    }
}

fn read_options(of: &Recordings<'_>, record: &Record) -> (LineOptions, TranscribeOptions) {
    let (asked, columns) = (of.asked, &of.columns);
    let mut said = LineOverrides::default();
    let mut faults: Vec<LineFault> = Vec::new();
    let mut filled = Vec::new();
    for (option, index) in &columns.options {
        let cell = record.cell(*index).trim();
        if cell.is_empty() {
            continue;
        }
        filled.push(*option);
        if let Err(message) = said.set(*option, cell) {
            faults.push(LineFault::of_option(Some(option.to_string()), message));
        }
    }
    for (name, index) in &columns.extras {
        let cell = record.cell(*index).trim();
        if !cell.is_empty() {
            said.extra.query.insert(name.clone(), cell.to_owned());
        }
    }
    for (channel, index) in &columns.roles {
        let cell = record.cell(*index).trim();
        if cell.is_empty() {
            continue;
        }
        match role_of(cell) {
            Ok(role) => drop(said.roles.0.insert(*channel, role)),
            Err(message) => faults.push(LineFault::of_option(Some(format!("channel_{channel}")), message)),
        }
    }
    let merged = said.apply(&asked.options);
    if faults.is_empty() {
        for fault in merged.faults() {
            let own = filled.iter().find(|option| option.as_str() == fault.field);
            let column = own.or(filled.first()).map(LineOption::to_string);
            faults.push(LineFault::of_option(column, fault.message));
        }
    }
    let overrides = said.differing_from(&asked.options);
    let own = overrides.clone().unwrap_or_default().apply(&asked.options);
    let read = LineOptions {
        id: options_identity(&own, &asked.listening),
        overrides: overrides.as_ref().map(|own| serde_json::to_string(own).expect("words and flags are JSON")),
        pool: own.model.into(),
        send: merged.send,
        faults,
    };
    (read, merged)
}
