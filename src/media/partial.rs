//! The bytes of a download on their way to the disk.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use tokio::{
    fs::{DirBuilder, File, OpenOptions},
    io::{AsyncSeekExt, AsyncWriteExt},
};

use super::fetch_error::FetchError;

/// A recording of up to this size may stay in memory: most recordings of a batch are small, and a file takes many calls on the
/// disk's threads.
pub(super) const SMALL: u64 = 64 << 10;

/// An unfinished download: in memory while it is small enough, then a file. Dropping this value removes the file, unless it was
/// finished.
#[derive(Debug)]
pub(super) struct PartialFile {
    file: Option<File>,
    kept: Vec<u8>,
    keep: u64,
    path: PathBuf,
    dest: PathBuf,
    len: u64,
    max: u64,
    finished: bool,
}

impl PartialFile {
    /// An empty download, which becomes the file `dest` when it has more than `keep` bytes.
    pub(super) async fn create(dest: &Path, max: u64, keep: u64) -> Result<Self, FetchError> {
        let mut path = dest.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let dest = dest.to_owned();
        let mut part = Self { file: None, kept: Vec::new(), keep, path, dest, len: 0, max, finished: false };
        if keep == 0 {
            part.open().await?;
        }
        Ok(part)
    }

    /// Creates the file, and its folder if necessary, and writes the bytes that were kept in memory.
    async fn open(&mut self) -> Result<(), FetchError> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut opened = options.open(&self.path).await;
        if opened.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
            && let Some(folder) = self.path.parent()
        {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder).await;
            self.on_disk(made)?;
            opened = options.open(&self.path).await;
        }
        let mut file = self.on_disk(opened)?;
        let written = file.write_all(&std::mem::take(&mut self.kept)).await;
        self.on_disk(written)?;
        self.file = Some(file);
        Ok(())
    }

    /// The number of bytes so far.
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// The maximum number of bytes.
    pub(super) const fn max(&self) -> u64 {
        self.max
    }

    fn on_disk<T>(&self, done: io::Result<T>) -> Result<T, FetchError> {
        done.map_err(|source| FetchError::Disk { path: self.path.clone(), source })
    }

    /// Drops all bytes so far.
    pub(super) async fn restart(&mut self) -> Result<(), FetchError> {
        self.kept.clear();
        if self.len > 0
            && let Some(file) = &mut self.file
        {
            let emptied = file.set_len(0).await;
            let rewound = file.rewind().await;
            self.on_disk(emptied)?;
            self.on_disk(rewound)?;
        }
        self.len = 0;
        Ok(())
    }

    pub(super) async fn append(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        if self.file.is_none() && self.len + bytes.len() as u64 > self.keep {
            self.open().await?;
        }
        match &mut self.file {
            Some(file) => {
                let written = file.write_all(bytes).await;
                self.on_disk(written)?;
            }
            None => self.kept.extend_from_slice(bytes),
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Waits until the appended bytes are written, so that the length is reliable.
    pub(super) async fn settle(&mut self) -> Result<(), FetchError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let flushed = file.flush().await;
        self.on_disk(flushed)
    }

    /// Renames the file to its final name, or returns the bytes in memory.
    pub(super) async fn finish(mut self) -> Result<Option<Bytes>, FetchError> {
        self.finished = true;
        if self.file.is_none() {
            return Ok(Some(std::mem::take(&mut self.kept).into()));
        }
        let renamed = tokio::fs::rename(&self.path, &self.dest).await;
        self.finished = renamed.is_ok();
        self.on_disk(renamed).map(|()| None)
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.finished && self.file.is_some() {
            // It may be gone already, and the next start sweeps a leftover.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
