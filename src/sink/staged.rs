//! A file that is being written into a directory.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{Content, Receipt, SinkError};
use crate::{domain::hex::hex, temp_lock};

/// A file that is written, but does not have its final name yet. Dropping it removes it, unless it was published.
pub(super) struct Staged {
    temporary: PathBuf,
    pub(super) target: PathBuf,
    file: File,
    pub(super) receipt: Receipt,
}

impl Staged {
    /// Fills the empty `file`, which has the name `temporary` until it is published as `target`.
    pub(super) fn write(
        temporary: PathBuf,
        target: PathBuf,
        file: File,
        content: &Content,
        address: String,
    ) -> Result<Self, SinkError> {
        let receipt = Receipt { address, bytes: 0, sha256: String::new() };
        let mut staged = Self { temporary, target, file, receipt };
        staged.fill(content)?;
        Ok(staged)
    }

    /// Waits until its bytes are on disk.
    pub(super) fn sync(&self) -> Result<(), SinkError> {
        self.file.sync_data().map_err(|e| self.refused(e))
    }

    /// Renames it to its final name.
    pub(super) fn publish(&mut self) -> Result<(), SinkError> {
        fs::rename(&self.temporary, &self.target).map_err(|e| self.refused(e))?;
        self.temporary.clear();
        Ok(())
    }

    fn refused(&self, source: io::Error) -> SinkError {
        SinkError::of_output(self.receipt.address.clone(), source)
    }

    fn fill(&mut self, content: &Content) -> Result<(), SinkError> {
        let mut hash = Sha256::new();
        match content {
            Content::Bytes(bytes) => self.append(bytes, &mut hash)?,
            Content::Draft(path) => match moved(path, &self.temporary) {
                Some(file) => {
                    self.file = file;
                    let mut bytes = 0;
                    let hashed = each_block(&self.file, |block| {
                        hash.update(block);
                        bytes += block.len() as u64;
                        Ok(())
                    });
                    hashed.flatten().map_err(|e| self.refused(e))?;
                    self.receipt.bytes = bytes;
                }
                None => self.copy(path, &mut hash)?,
            },
            Content::File(path) => self.copy(path, &mut hash)?,
        }
        self.receipt.sha256 = hex(&hash.finalize());
        Ok(())
    }

    fn copy(&mut self, path: &Path, hash: &mut Sha256) -> Result<(), SinkError> {
        let unreadable = |source| SinkError::Content { path: path.display().to_string(), source };
        let from = File::open(path).map_err(unreadable)?;
        each_block(from, |block| self.append(block, hash)).map_err(unreadable)?
    }

    fn append(&mut self, bytes: &[u8], hash: &mut Sha256) -> Result<(), SinkError> {
        hash.update(bytes);
        self.receipt.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|e| self.refused(e))
    }
}

/// A draft moved to its temporary name, and locked as the file there was; `None` if it must be copied, as across file systems.
fn moved(draft: &Path, temporary: &Path) -> Option<File> {
    let file = File::open(draft).ok()?;
    let is_ours = temp_lock::hold(&file).unwrap_or_default() && fs::rename(draft, temporary).is_ok();
    is_ours.then_some(file)
}

/// Reads to the end, block by block, or until `take` fails.
fn each_block<E>(mut from: impl Read, mut take: impl FnMut(&[u8]) -> Result<(), E>) -> io::Result<Result<(), E>> {
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(Ok(())),
            read => {
                if let Err(refused) = take(&buffer[..read]) {
                    return Ok(Err(refused));
                }
            }
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.temporary.as_os_str().is_empty() {
            // If it cannot be removed now, a later sweep does it.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
