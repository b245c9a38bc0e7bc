//! The journal of clones that were asked for and are not settled: a file of JSON Lines. A line is on disk before its request leaves,
//! so that a process that dies leaves a trace of what may have been made.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    /// The clone's name.
    name: String,
    /// When its request was about to leave, in ms since 1970; none: the request is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sent_at: Option<i64>,
}

/// The journal. Only one process has it.
#[derive(Debug)]
pub(super) struct CloneJournal {
    path: PathBuf,
    file: File,
    open: BTreeMap<String, i64>,
}

impl CloneJournal {
    /// Opens a journal, or begins one.
    ///
    /// # Errors
    /// Another process has it (`WouldBlock`), or it cannot be read or written.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut open = BTreeMap::new();
        let text = fs::read_to_string(path)?;
        // A line that was cut by a crash was never on disk as a whole, and its request never left.
        for entry in text.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok()) {
            match entry.sent_at {
                Some(at) => drop(open.insert(entry.name, at)),
                None => drop(open.remove(&entry.name)),
            }
        }
        let mut journal = Self { path: path.to_owned(), file, open };
        if !text.is_empty() && !text.ends_with('\n') {
            journal.file.write_all(b"\n")?;
        }
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(journal)
    }

    /// When the request for a clone left that is not settled, in ms since 1970.
    pub(super) fn sent_at(&self, name: &str) -> Option<i64> {
        self.open.get(name).copied()
    }

    /// A request is about to leave.
    pub(super) fn sends(&mut self, name: &str, at: i64) -> io::Result<()> {
        self.add(&Entry { name: name.to_owned(), sent_at: Some(at) })?;
        self.open.insert(name.to_owned(), at);
        Ok(())
    }

    /// It is known what became of a request.
    pub(super) fn settled(&mut self, name: &str) -> io::Result<()> {
        if self.open.remove(name).is_some() {
            self.add(&Entry { name: name.to_owned(), sent_at: None })?;
        }
        Ok(())
    }

    fn add(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()
    }

    /// Removes the file if everything in it is settled.
    pub(super) fn close(self) -> io::Result<()> {
        if self.open.is_empty() { fs::remove_file(&self.path) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_settled_is_known_after_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("voices.journal");
        let mut journal = CloneJournal::open(&path).unwrap();
        assert_eq!(CloneJournal::open(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock, "one process has it");
        journal.sends("Ann", 5).unwrap();
        journal.sends("Ben", 6).unwrap();
        journal.settled("Ann").unwrap();
        drop(journal);
        // A crash in the middle of a line.
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"name\":\"Ca").unwrap();
        let mut journal = CloneJournal::open(&path).unwrap();
        let known = |journal: &CloneJournal| ["Ann", "Ben", "Ca"].map(|name| journal.sent_at(name));
        assert_eq!(known(&journal), [None, Some(6), None]);
        journal.sends("Cat", 7).unwrap();
        drop(journal);
        let mut journal = CloneJournal::open(&path).unwrap();
        assert_eq!((journal.sent_at("Cat"), journal.sent_at("Ben")), (Some(7), Some(6)), "a torn line spoils none");
        for name in ["Ben", "Cat"] {
            journal.settled(name).unwrap();
        }
        journal.close().unwrap();
        assert!(!path.exists());
    }
}
