//! The finished lines of another batch as a manifest. The caller writes them to a file, line by line, and the file is read as
//! often as needed.

use std::{
    collections::HashMap,
    io::{self, BufWriter, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    input::Input,
    listing::Ignored,
    record::{Next, Record},
};
use crate::definition::Dialect;

/// The longest line of such a file, in bytes: the longest answer that is kept, twice over for its JSON.
const MAX_LINE: usize = 1 << 30;

/// The column of the words of a transcript with their times and speakers, as JSON. It is in no report.
pub(crate) const WORDS: &str = "words";

/// What the other batch's lines have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FedColumns {
    /// The other batch.
    pub batch: String,
    /// The name of its definition, by which its columns are known in the report.
    pub definition: String,
    /// All columns: that of the key, those of its manifest, then those of its report.
    pub columns: Vec<String>,
    /// How many of them are found by their names alone: that of the key, and those of its manifest.
    pub named: usize,
}

/// Facts about the lines of such a file that are in no cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FedLines {
    /// The keys, in the order of the lines.
    pub keys: Vec<String>,
    /// The SHA-256 of what is at an address.
    pub contents: HashMap<String, [u8; 32]>,
}

/// Writes such a file.
#[derive(Debug)]
pub struct FedWriter<W: Write> {
    to: BufWriter<W>,
}

/// A line of such a file.
#[derive(Serialize, Deserialize)]
enum FedLine {
    #[serde(rename = "cells")]
    Cells(Vec<String>),
    #[serde(rename = "fault")]
    Fault(String),
}

impl<W: Write> FedWriter<W> {
    /// Begins with what all lines have.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new(to: W, columns: &FedColumns) -> io::Result<Self> {
        let mut to = BufWriter::with_capacity(64 << 10, to);
        serde_json::to_writer(&mut to, columns)?;
        to.write_all(b"\n")?;
        Ok(Self { to })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, cells: Vec<String>) -> io::Result<()> {
        self.add(&FedLine::Cells(cells))
    }

    /// Adds a line that cannot be made, and why.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_bad(&mut self, fault: &str) -> io::Result<()> {
        self.add(&FedLine::Fault(fault.to_owned()))
    }

    fn add(&mut self, line: &FedLine) -> io::Result<()> {
        serde_json::to_writer(&mut self.to, line)?;
        self.to.write_all(b"\n")
    }

    /// Flushes the buffer, and returns the file.
    ///
    /// # Errors
    /// The rest cannot be written.
    pub fn finish(self) -> io::Result<W> {
        self.to.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// What all lines of such a file have.
pub(super) fn columns_of(copy: &Path) -> io::Result<FedColumns> {
    Ok(Fed::open(copy)?.0)
}

/// A reading of such a file.
pub(super) struct Fed {
    input: Input,
    line: Vec<u8>,
    number: u64,
    /// Of the columns alone: the lines come in time, and are of the same manifest.
    hash: [u8; 32],
}

impl Fed {
    /// Begins a reading, after what all lines have.
    pub(super) fn open(copy: &Path) -> io::Result<(FedColumns, Self)> {
        let mut input = Input::open(copy, Dialect::default())?;
        let mut line = Vec::new();
        input.read_line(&mut line, MAX_LINE)?;
        let columns = serde_json::from_slice(&line)?;
        let hash = Sha256::digest(&line).into();
        Ok((columns, Self { input, line, number: 0, hash }))
    }

    /// Reads the next line.
    pub(super) fn next(&mut self, record: &mut Record) -> io::Result<Next> {
        if !self.input.read_line(&mut self.line, MAX_LINE)? {
            return Ok(Next::End);
        }
        self.number += 1;
        record.start(self.number);
        match serde_json::from_slice(&self.line)? {
            FedLine::Cells(cells) => cells.iter().for_each(|cell| record.push(cell)),
            FedLine::Fault(fault) => return Ok(Next::unreadable(self.number, None, fault)),
        }
        Ok(Next::Line)
    }

    /// Returns the hash of its columns.
    pub(super) fn finish(self) -> ([u8; 32], Ignored) {
        (self.hash, Ignored::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(batch: &str) -> FedColumns {
        let columns = ["key", "customer", "transcript"].map(str::to_owned).to_vec();
        FedColumns { batch: batch.into(), definition: "calls".into(), columns, named: 2 }
    }

    fn written(batch: &str, lines: u64) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = FedWriter::new(file.reopen().unwrap(), &columns(batch)).unwrap();
        for n in 0..lines {
            writer.write(vec![format!("k{n}"), String::new(), "Two\nlines, \"quoted\"\u{0}".into()]).unwrap();
        }
        writer.write_bad("its transcript is gone").unwrap();
        writer.finish().unwrap();
        file
    }

    #[test]
    fn cells_are_read_as_they_were_written() {
        let file = written("calls", 2);
        let (found, mut fed) = Fed::open(file.path()).unwrap();
        assert_eq!((&found, columns_of(file.path()).unwrap()), (&columns("calls"), found.clone()));
        let mut record = Record::default();
        for n in 1..=2 {
            assert_eq!(fed.next(&mut record).unwrap(), Next::Line);
            assert_eq!((record.number, record.cell(2)), (n, "Two\nlines, \"quoted\"\u{0}"));
        }
        assert_eq!(fed.next(&mut record).unwrap(), Next::unreadable(3, None, "its transcript is gone"));
        assert_eq!(fed.next(&mut record).unwrap(), Next::End);
    }

    #[test]
    fn the_hash_is_that_of_the_other_batch_and_its_columns_whatever_has_finished() {
        let hash = |batch, lines| Fed::open(written(batch, lines).path()).unwrap().1.finish().0;
        assert_eq!(hash("calls-20", 0), hash("calls-20", 5));
        assert_ne!(hash("calls-20", 5), hash("calls-21", 5));
    }
}
