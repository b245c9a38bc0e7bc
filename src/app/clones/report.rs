//! The report of clones: a CSV that is rewritten after each change. A later run knows by it what was made.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// A row of the report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CloneRow {
    /// The clone's name.
    pub name: String,
    /// `completed`, `pending`, `processing`, `failed`, `not_made` or `bad_line`.
    pub status: String,
    /// The id to speak by.
    pub voice_id: String,
    /// The models that it speaks by, with `;` between them.
    pub models: String,
    /// The files of the sample, with ` + ` between them.
    pub sample: String,
    /// SHA-256 of the sample as it was sent.
    pub sample_sha256: String,
    /// How long somebody speaks in it, in seconds.
    pub speech_seconds: String,
    /// Requests that were sent for it, in all runs.
    pub requests: u32,
    /// When it was ready, or failed.
    pub finished_at: String,
    /// Why there is none.
    pub error: String,
}

/// The rows by name, and where they are kept.
#[derive(Debug)]
pub(super) struct CloneReport {
    /// `None`: a single clone has no report.
    path: Option<PathBuf>,
    /// In the order of the manifest.
    order: Vec<String>,
    rows: BTreeMap<String, CloneRow>,
}

impl CloneReport {
    /// Reads the report of an earlier run, if there is one.
    ///
    /// # Errors
    /// It cannot be read, or is no such report.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let mut rows = BTreeMap::new();
        if let Some(path) = path.filter(|path| path.exists()) {
            let mut reader = ::csv::Reader::from_path(path).map_err(io::Error::other)?;
            for row in reader.deserialize::<CloneRow>() {
                let row = row.map_err(|error| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("it is no report of clones: {error}"))
                })?;
                rows.insert(row.name.clone(), row);
            }
        }
        // Rows that the manifest has no more stay, behind its own.
        let order = rows.keys().cloned().collect();
        Ok(Self { path: path.map(Path::to_owned), order, rows })
    }

    /// The row of a clone.
    pub(super) fn row(&self, name: &str) -> Option<&CloneRow> {
        self.rows.get(name)
    }

    /// Puts these names first, in this order.
    pub(super) fn arrange(&mut self, names: impl IntoIterator<Item = String>) {
        let mut order: Vec<String> = names.into_iter().collect();
        order.extend(self.order.iter().filter(|name| !order.contains(name)).cloned().collect::<Vec<_>>());
        self.order = order;
    }

    /// Sets a row, and writes the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn set(&mut self, row: CloneRow) -> io::Result<()> {
        if !self.order.contains(&row.name) {
            self.order.push(row.name.clone());
        }
        self.rows.insert(row.name.clone(), row);
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut writer = ::csv::Writer::from_writer(Vec::new());
        for row in self.order.iter().filter_map(|name| self.rows.get(name)) {
            writer.serialize(row).map_err(io::Error::other)?;
        }
        let text = writer.into_inner().map_err(|error| io::Error::other(error.to_string()))?;
        let mut next = path.as_os_str().to_owned();
        next.push(".new");
        let mut file = File::create(&next)?;
        file.write_all(&text)?;
        file.sync_data()?;
        fs::rename(&next, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("voices.csv");
        let mut report = CloneReport::open(Some(&path)).unwrap();
        let row = |name: &str, error: &str| CloneRow {
            name: name.into(),
            status: "completed".into(),
            requests: 1,
            error: error.into(),
            ..CloneRow::default()
        };
        report.set(row("Zoe", "")).unwrap();
        report.set(row("Ann, \"A\"", "two\nlines")).unwrap();
        let mut again = CloneReport::open(Some(&path)).unwrap();
        assert_eq!(again.row("Ann, \"A\""), Some(&row("Ann, \"A\"", "two\nlines")));
        again.arrange(["New".to_owned(), "Zoe".to_owned()]);
        again.set(row("New", "")).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let names: Vec<_> = text.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
        assert_eq!(names[..3], ["New", "Zoe", "\"Ann"], "{text}");
        fs::write(&path, "key,status\na,b\n").unwrap();
        assert!(CloneReport::open(Some(&path)).unwrap_err().to_string().contains("no report of clones"));
    }
}
