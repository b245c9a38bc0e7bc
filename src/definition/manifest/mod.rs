//! Manifests: the work of a batch, line by line. A manifest is read twice as a stream: first for faults and counts,
//! then for the lines themselves. Both readings make the same decisions.

mod base;
#[cfg(test)]
pub(crate) mod bench_tests;
mod columns;
mod csv;
mod fed;
mod header;
mod input;
mod jsonl;
mod keys;
mod lines;
mod listed;
mod listing;
#[cfg(test)]
mod listing_tests;
mod parser;
#[cfg(test)]
mod property_tests;
mod record;
mod records;
mod repeats;
mod rounded;
mod rows;
mod scan;
pub mod sheet;
mod sniff;
#[cfg(test)]
mod tests;
mod wrapped;

use std::{
    collections::HashSet,
    io::{self, BufRead},
    path::PathBuf,
    sync::Arc,
};

use self::{
    csv::Csv,
    header::Header,
    input::Input,
    jsonl::{Jsonl, MAX_COLUMNS},
    lines::LineReader as PlainLines,
    listing::{FoundFiles, Lister, Wanted},
    record::Next,
    rows::{Kind, Rows, TextFile},
    wrapped::WrappedSentence,
};
use super::{
    Definition, Fault, Faults, Origin,
    dialect::Delimiter,
    paths::io_message,
    sample::{Draw, Sample},
    text::excerpt,
};

pub(super) use self::listing::pattern;
pub(crate) use self::{
    base::Base,
    columns::{KEY_NAMES, NameRule, Uses, extras, key_of, rule_name},
    fed::WORDS,
    repeats::About,
};
pub use self::{
    fed::{FedColumns, FedLines, FedWriter},
    listed::{ListedObject, ListingWriter},
    listing::Ignored,
    record::Record,
    records::{
        Columns, Emptiness, Gathered, JobDraft, LineFault, LineJudge, LineName, ManifestLine, OpenManifest,
        RecordReader, Refusal, ScanDepth, UnnamedColumns,
    },
    scan::{BadLine, ManifestLines, ManifestRow, Scan},
};
pub use super::manifest_format::ManifestFormat;

/// The copy of a manifest that came from a store, the web or standard input, or the listing of a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spooled {
    /// The path of the copy, byte for byte, or of a listing written by a [`ListingWriter`].
    pub path: PathBuf,
    /// Of the lines of another batch: what is in no cell of them.
    pub fed: Option<Arc<FedLines>>,
}

/// A manifest with known columns.
#[derive(Debug)]
pub struct Manifest<'d> {
    definition: &'d Definition,
    kind: Kind,
    records: Box<dyn RecordReader + 'd>,
    /// The numbers of the lines that are read; `None`: all.
    drawn: Option<HashSet<u64>>,
    /// What the user should know about the file and its header.
    warnings: Vec<String>,
}

impl<'d> Manifest<'d> {
    /// Opens the manifest of a definition, and finds the uses of its columns. `copy` is the caller's local copy,
    /// required where [`Origin::needs_copy`].
    ///
    /// # Errors
    /// The manifest is missing or empty, or has no header or no column for the content to work on.
    ///
    /// # Panics
    /// If a copy is needed and none is given.
    pub fn open(definition: &'d Definition, copy: Option<&Spooled>) -> Result<Self, Faults> {
        let message = |e: &io::Error| Faults::from(Fault::of_file(definition.manifest.clone(), io_message(e)));
        let kind = kind_of(definition, copy);
        let base = Base::of(definition).map_err(|e| message(&e))?;
        let columns = match columns_of(definition, &kind) {
            Err(faults) if faults.is_only_empty() && definition.allow_empty => None,
            columns => Some(columns?),
        };
        let first = |columns: &[String]| {
            let mut record = Record::default();
            let mut rows = kind.rows(columns, None).ok()?;
            (rows.next(&mut record).ok()? == Next::Line).then_some(record)
        };
        let of_files = kind.is_of_files();
        let Header { names, doubled, warnings, fed } = columns.unwrap_or_default();
        let columns = (!names.is_empty()).then_some(names);
        let opened = OpenManifest { definition, base, of_files, columns, doubled, fed, first: &first };
        let records = definition.task.open_records(opened)?;
        let mut manifest = Self { definition, kind, records, drawn: None, warnings };
        manifest.drawn = definition.sample.map(|sample| manifest.draw(sample)).transpose()?;
        Ok(manifest)
    }

    /// The columns and their uses.
    #[must_use]
    pub fn columns(&self) -> &Columns {
        self.records.columns()
    }

    /// Begins a reading; of a listing, with the files that an earlier one has `found`.
    fn rows(&self, found: Option<Arc<FoundFiles>>) -> Result<Rows, Faults> {
        let columns = self.columns();
        self.kind.rows(&columns.all[..columns.own], found).map_err(|e| self.io_fault(None, &e))
    }

    /// Draws the lines of a sample.
    fn draw(&self, sample: Sample) -> Result<HashSet<u64>, Faults> {
        let (mut rows, mut record, mut draw) = (self.rows(None)?, Record::default(), Draw::new(sample));
        loop {
            let next = rows.next(&mut record).map_err(|e| self.io_fault(Some(record.number), &e))?;
            match next {
                Next::End => return Ok(draw.lines()),
                Next::Line => draw.add(record.number),
                Next::Unreadable(unreadable) => draw.add(unreadable.number),
            }
        }
    }

    /// Reads the next line, and adds the cells that are derived from others.
    fn next(&self, rows: &mut Rows, record: &mut Record) -> Result<Next, Faults> {
        let next = rows.next(record).map_err(|e| self.io_fault(Some(record.number), &e))?;
        if next != Next::Line {
            return Ok(next);
        }
        if let Some((at, value)) = self.columns().unusable(record) {
            return Ok(Next::unreadable(record.number, Some(at), value.fault()));
        }
        self.records.complete(record);
        Ok(next)
    }

    /// A fault of reading, after the line `after`.
    fn io_fault(&self, after: Option<u64>, error: &io::Error) -> Faults {
        let message = match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                format!("cannot be unpacked: {error}")
            }
            io::ErrorKind::Other => error.to_string(),
            _ => io_message(error),
        };
        let line = after.filter(|line| *line > 0);
        let message = line.map_or(message.clone(), |line| format!("after line {line}: {message}"));
        Fault::of_file(self.definition.manifest.clone(), message).into()
    }
}

fn kind_of(definition: &Definition, copy: Option<&Spooled>) -> Kind {
    let copied = || copy.expect("the caller brings a copy where one is needed").path.clone();
    let file = |path: PathBuf, name: &str| {
        let format = definition.manifest_format.or_else(|| ManifestFormat::of_name(name));
        Kind::File(TextFile { path, format: format.unwrap_or(ManifestFormat::Csv), dialect: definition.dialect })
    };
    match &definition.origin {
        Origin::File(path) => file(path.clone(), &path.to_string_lossy()),
        Origin::Url(url) => file(copied(), url.path()),
        Origin::S3Object(address) => file(copied(), &address.key),
        Origin::S3Prefix(root) => {
            Kind::Listed { copy: copied(), root: root.clone(), filters: definition.filters.clone() }
        }
        Origin::Stdin => file(copied(), ""),
        Origin::Batch(_) => Kind::Fed { copy: copied() },
        Origin::Listing { root, pattern } => {
            let filters = definition.filters.clone();
            Kind::Files(Lister::new(Wanted::Below { root: root.clone(), pattern: pattern.clone(), filters }))
        }
        Origin::Files(files) => {
            Kind::Files(Lister::new(Wanted::Named { files: files.clone(), settle: definition.filters.settle }))
        }
    }
}

/// The checked names of the manifest's columns.
fn columns_of(definition: &Definition, kind: &Kind) -> Result<Header, Faults> {
    let shown = definition.manifest.as_str();
    let message = |e: io::Error| match e.kind() {
        io::ErrorKind::Other => Faults::from(Fault::of_file(shown, e.to_string())),
        _ => Faults::from(Fault::of_file(shown, io_message(&e))),
    };
    if let Kind::Fed { copy } = kind {
        return fed::columns_of(copy).map(Header::of_batch).map_err(message);
    }
    let unnamed = definition.task.unnamed_columns();
    let Kind::File(file) = kind else {
        return Ok(Header::of_names(unnamed.files.map(str::to_owned).to_vec()));
    };
    if file.format == ManifestFormat::Lines && definition.manifest_format.is_none() {
        refuse_table(shown, file.open().map_err(message)?, definition.of.reads_texts()).map_err(message)??;
    }
    match file.format {
        ManifestFormat::Lines if definition.manifest_format.is_none() && definition.of.reads_texts() => {
            match wrapped::find(PlainLines::new(file.open().map_err(message)?)).map_err(message)? {
                Some(sentence) => Err(one_text(shown, &sentence)),
                None => Ok(Header::of_names(vec![unnamed.line.to_owned()])),
            }
        }
        ManifestFormat::Lines | ManifestFormat::Text => {
            file.open().map_err(message)?;
            Ok(Header::of_names(vec![unnamed.line.to_owned()]))
        }
        ManifestFormat::Csv | ManifestFormat::Tsv => {
            let (mut csv, mut record) = (file.table().map_err(message)?, Record::default());
            match csv.next(&mut record).map_err(message)? {
                Next::End => Err(Fault::of_nothing(shown, "is empty").into()),
                Next::Unreadable(bad) => Err(Fault::of_line(shown, bad.number, None, bad.message).into()),
                Next::Line if record.len() > MAX_COLUMNS => Err(too_many_columns(shown, record.number)),
                Next::Line => {
                    let cells = record.cells().map(|cell| cell.trim().to_owned()).collect();
                    let mut header = Header::read(shown, record.number, cells)?;
                    header.warnings.splice(..0, how_it_is_read(definition, file, &csv));
                    Ok(header)
                }
            }
        }
        ManifestFormat::Jsonl => {
            let limit = definition.limit.unwrap_or(u64::MAX);
            let columns = Jsonl::columns_of(PlainLines::new(file.open().map_err(message)?), limit).map_err(message)?;
            let columns = columns.map_err(|line| too_many_columns(shown, line))?;
            if columns.is_empty() {
                // The faults of the lines say more than the absence of columns.
                unreadable_objects(shown, file, limit).map_err(message)?.map_or(Ok(Header::of_names(columns)), Err)
            } else {
                Ok(Header::of_names(columns))
            }
        }
    }
}

/// Refuses a file of plain lines that is a table with tabs, as Excel saves it under the name "Unicode Text". A text to be spoken
/// may have a tab.
fn refuse_table(shown: &str, mut file: Input, reads_texts: bool) -> io::Result<Result<(), Faults>> {
    let is_utf16 = file.encoding().is_some();
    let start = file.fill_buf()?;
    let first = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if !first.contains(&b'\t') || (reads_texts && !is_utf16) {
        return Ok(Ok(()));
    }
    let message = "has tabs between its cells, as Excel's \"Unicode Text\": say --manifest-format tsv (manifest_format = \"tsv\"), or save it as CSV; if each line is one source all the same, say --manifest-format lines";
    Ok(Err(Fault::of_line(shown, 1, None, message).into()))
}

fn one_text(shown: &str, sentence: &WrappedSentence) -> Faults {
    let WrappedSentence { line, end, start } = sentence;
    let message = format!(
        "goes on in the next line (`… {}`, `{} …`): this is a text in wrapped lines, and each line would be bought as a text of its own. If the file is one text, say --manifest-format text, or put it into a folder and name the folder; if each line is a text, say --manifest-format lines",
        excerpt(end),
        excerpt(start)
    );
    Fault::of_line(shown, *line, None, message).into()
}

/// What was found out about a table's bytes, if that is not what a CSV usually has.
fn how_it_is_read(definition: &Definition, file: &TextFile, csv: &Csv) -> Vec<String> {
    let usual = if file.format == ManifestFormat::Tsv { b'\t' } else { b',' };
    let delimiter = Some(Delimiter(csv.delimiter())).filter(|found| found.0 != usual);
    let delimiter = delimiter.filter(|_| definition.dialect.delimiter.is_none());
    let encoding = csv.encoding().filter(|_| definition.dialect.encoding.is_none());
    let parted = delimiter.map(|delimiter| format!("its cells are parted by {delimiter}"));
    parted.into_iter().chain(encoding.map(|encoding| format!("its text is {encoding}"))).collect()
}

fn too_many_columns(shown: &str, line: u64) -> Faults {
    Fault::of_line(shown, line, None, format!("makes over {MAX_COLUMNS} columns")).into()
}

fn unreadable_objects(shown: &str, file: &TextFile, limit: u64) -> io::Result<Option<Faults>> {
    let mut jsonl = Jsonl::new(PlainLines::new(file.open()?), &[]);
    let (mut record, mut faults) = (Record::default(), Faults::default());
    let mut any = false;
    for _ in 0..limit {
        match jsonl.next(&mut record)? {
            Next::End => break,
            Next::Line => {}
            Next::Unreadable(bad) => faults.push(Fault::of_line(shown, bad.number, None, bad.message)),
        }
        any = true;
    }
    if !any {
        faults.push(Fault::of_nothing(shown, "is empty"));
    }
    Ok((!faults.is_empty()).then_some(faults))
}
