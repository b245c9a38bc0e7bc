//! The lines of any kind of manifest: one match arm per kind.

use std::{io, path::PathBuf, sync::Arc};

use super::super::{
    Filters,
    dialect::{Delimiter, Dialect},
};
use super::{
    ManifestFormat,
    csv::Csv,
    fed::Fed,
    input::Input,
    jsonl::Jsonl,
    lines::LineReader,
    listed::Objects,
    listing::{FoundFiles, Ignored, Lister},
    record::{Next, Record},
};
use crate::domain::s3::S3Address;

/// The kind and place of a manifest.
#[derive(Debug)]
pub(super) enum Kind {
    /// A file with lines.
    File(TextFile),
    /// The copy of a listing of an S3 prefix.
    Listed { copy: PathBuf, root: S3Address, filters: Filters },
    /// The files below a directory, or files named one by one.
    Files(Lister),
    /// The copy of lines of another batch.
    Fed { copy: PathBuf },
}

/// A file with lines, and how its bytes become cells.
#[derive(Debug)]
pub(super) struct TextFile {
    pub(super) path: PathBuf,
    pub(super) format: ManifestFormat,
    pub(super) dialect: Dialect,
}

impl TextFile {
    pub(super) fn open(&self) -> io::Result<Input> {
        Input::open(&self.path, self.dialect)
    }

    /// Begins to read a table, at its header.
    pub(super) fn table(&self) -> io::Result<Csv> {
        let said = self.dialect.delimiter.map(|Delimiter(byte)| byte);
        let said = said.or((self.format == ManifestFormat::Tsv).then_some(b'\t'));
        Csv::open(self.open()?, said)
    }
}

/// A reading in progress.
pub(super) enum Rows {
    Csv { csv: Box<Csv>, width: usize },
    Jsonl(Box<Jsonl>),
    Lines(Box<LineReader>),
    Listed(Box<Objects>),
    Files { found: Arc<FoundFiles>, read: u64 },
    Fed(Box<Fed>),
}

impl Kind {
    /// Whether its lines are files, found or named; then the manifest has no columns of its own.
    pub(super) const fn is_of_files(&self) -> bool {
        matches!(self, Self::Listed { .. } | Self::Files(_))
    }

    /// The files of a listing, found at the first call.
    pub(super) fn found(&self) -> io::Result<Option<Arc<FoundFiles>>> {
        match self {
            Self::Files(lister) => lister.found().cloned().map(Some),
            Self::File(..) | Self::Listed { .. } | Self::Fed { .. } => Ok(None),
        }
    }

    /// Begins a reading, after the header. `columns` are the manifest's own; `found` are the files of an earlier reading.
    pub(super) fn rows(&self, columns: &[String], found: Option<Arc<FoundFiles>>) -> io::Result<Rows> {
        Ok(match self {
            Self::File(file) => match file.format {
                ManifestFormat::Csv | ManifestFormat::Tsv => {
                    let mut csv = Box::new(file.table()?);
                    csv.next(&mut Record::default())?;
                    Rows::Csv { csv, width: columns.len() }
                }
                ManifestFormat::Jsonl => Rows::Jsonl(Box::new(Jsonl::new(LineReader::new(file.open()?), columns))),
                // A text has become a file of its own.
                ManifestFormat::Lines | ManifestFormat::Text => Rows::Lines(Box::new(LineReader::new(file.open()?))),
            },
            Self::Listed { copy, root, filters } => Rows::Listed(Box::new(Objects::new(copy, root, filters)?)),
            Self::Fed { copy } => Rows::Fed(Box::new(Fed::open(copy)?.1)),
            Self::Files(lister) => {
                let found = found.map_or_else(|| lister.found().cloned(), Ok)?;
                Rows::Files { found, read: 0 }
            }
        })
    }
}

impl Rows {
    /// Reads the next line.
    pub(super) fn next(&mut self, record: &mut Record) -> io::Result<Next> {
        match self {
            Self::Csv { csv, width } => match csv.next(record)? {
                Next::Line
                    if record.len() < *width || (*width..record.len()).any(|at| !record.cell(at).trim().is_empty()) =>
                {
                    let fields = if record.len() == 1 { "field" } else { "fields" };
                    let message = format!("has {} {fields}, and the header has {width}", record.len());
                    Ok(Next::unreadable(record.number, None, message))
                }
                next => {
                    // A line may end in a delimiter.
                    record.truncate(*width);
                    Ok(next)
                }
            },
            Self::Jsonl(jsonl) => jsonl.next(record),
            Self::Lines(lines) => lines.next(record),
            Self::Listed(objects) => objects.next(record),
            Self::Fed(fed) => fed.next(record),
            Self::Files { found, read } => {
                *read += 1;
                Ok(found.read(*read, record))
            }
        }
    }

    /// The file that the line `number` stands for in a listing, whose record was read last.
    pub(super) fn file(&self, number: u64, record: &Record) -> Option<String> {
        match self {
            Self::Files { found, .. } => found.path(number),
            Self::Listed(_) => Some(record.cell(0).to_owned()),
            Self::Csv { .. } | Self::Jsonl(_) | Self::Lines(_) | Self::Fed(_) => None,
        }
    }

    /// Reads to the end. Returns the hash of the whole content, and what a listing ignored.
    pub(super) fn finish(self) -> io::Result<([u8; 32], Ignored)> {
        let input = match self {
            Self::Csv { csv, .. } => csv.into_input(),
            Self::Jsonl(jsonl) => jsonl.into_lines().into_input(),
            Self::Lines(lines) => lines.into_input(),
            Self::Listed(objects) => return objects.finish(),
            Self::Fed(fed) => return Ok(fed.finish()),
            Self::Files { found, .. } => return Ok(found.finish()),
        };
        Ok((input.finish()?, Ignored::new()))
    }
}
