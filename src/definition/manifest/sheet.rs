//! A small CSV for other modules here, read as strictly as a manifest.

use std::{io, path::Path};

use super::super::dialect::Dialect;
use super::{
    csv::Csv,
    input::Input,
    record::{Next, Record},
};

/// The rows of a CSV file.
pub struct Sheet {
    csv: Csv,
    record: Record,
}

/// One row of a CSV file.
pub struct SheetRow {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Its cells, or why it cannot be read.
    pub cells: Result<Vec<String>, String>,
}

impl Sheet {
    /// Opens a file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { csv: Csv::open(Input::open(path, Dialect::default())?, None)?, record: Record::default() })
    }

    /// The next row that is not blank, its cells without surrounding white space.
    pub fn next_row(&mut self) -> io::Result<Option<SheetRow>> {
        Ok(match self.csv.next(&mut self.record)? {
            Next::Line => {
                let cells = self.record.cells().map(|cell| cell.trim().to_owned()).collect();
                Some(SheetRow { line: self.record.number, cells: Ok(cells) })
            }
            Next::Unreadable(bad) => Some(SheetRow { line: bad.number, cells: Err(bad.message) }),
            Next::End => None,
        })
    }
}
