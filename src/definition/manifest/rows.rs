//! The lines of any kind of manifest: one match arm per kind.

use std::{io, path::PathBuf};

use super::super::{
    Filters,
    dialect::{Delimiter, Dialect},
};
use super::{
    ManifestFormat,
    csv::Csv,
    input::Input,
    jsonl::Jsonl,
    lines::LineReader,
    listed::Objects,
    listing::{Files, Ignored, Listing},
    record::{Next, Record},
};
use crate::domain::s3::S3Address;

/// The kind and place of a manifest.
#[derive(Debug)]
pub(super) enum Kind {
    /// A file with lines.
    File(TextFile),
    /// A directory, or a pattern below one.
    Listing { root: PathBuf, pattern: Option<String>, filters: Filters },
    /// The copy of a listing of an S3 prefix.
    Listed { copy: PathBuf, root: S3Address, filters: Filters },
    /// Recordings named one by one.
    Files(Vec<String>),
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
    Listing(Box<Listing>),
    Listed(Box<Objects>),
    Files(Files),
}

impl Kind {
    /// Whether its lines are files, found or named; then the manifest has no columns of its own.
    pub(super) const fn is_of_files(&self) -> bool {
        !matches!(self, Self::File(..))
    }

    /// Begins a reading, after the header. `columns` are the manifest's own.
    pub(super) fn rows(&self, columns: &[String]) -> io::Result<Rows> {
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
            Self::Listing { root, pattern, filters } => {
                Rows::Listing(Box::new(Listing::new(root, pattern.as_deref(), filters)?))
            }
            Self::Listed { copy, root, filters } => Rows::Listed(Box::new(Objects::new(copy, root, filters)?)),
            Self::Files(files) => Rows::Files(Files::new(files)),
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
            Self::Listing(listing) => listing.next(record),
            Self::Listed(objects) => objects.next(record),
            Self::Files(files) => Ok(files.next(record)),
        }
    }

    /// Reads to the end. Returns the hash of the whole content, and what a listing ignored.
    pub(super) fn finish(self) -> io::Result<([u8; 32], Ignored)> {
        let input = match self {
            Self::Csv { csv, .. } => csv.into_input(),
            Self::Jsonl(jsonl) => jsonl.into_lines().into_input(),
            Self::Lines(lines) => lines.into_input(),
            Self::Listing(listing) => return listing.finish(),
            Self::Listed(objects) => return objects.finish(),
            Self::Files(files) => return Ok(files.finish()),
        };
        Ok((input.finish()?, Ignored::new()))
    }
}
