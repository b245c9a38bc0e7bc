//! A file on its way into a directory.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::PathBuf,
};

use sha2::{Digest, Sha256};

use super::{Content, Receipt, SinkError};
use crate::domain::hex::hex;

/// A file that is written, but not yet under its name. Removed if it never gets there.
pub(super) struct Staged {
    temporary: PathBuf,
    pub(super) target: PathBuf,
    file: File,
    pub(super) receipt: Receipt,
}

impl Staged {
    /// Fills the empty `file`, which is called `temporary` until it is published as `target`.
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

    /// Gives it its name.
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
            // Across file systems, or where it must not be, it is copied.
            Content::Draft(path) if fs::rename(path, &self.temporary).is_ok() => {
                self.file = File::open(&self.temporary).map_err(|e| self.refused(e))?;
                let mut bytes = 0;
                let hashed = each_block(&self.file, |block| {
                    hash.update(block);
                    bytes += block.len() as u64;
                    Ok(())
                });
                hashed.flatten().map_err(|e| self.refused(e))?;
                self.receipt.bytes = bytes;
            }
            Content::File(path) | Content::Draft(path) => {
                let unreadable = |source| SinkError::Content { path: path.display().to_string(), source };
                let from = File::open(path).map_err(unreadable)?;
                each_block(from, |block| self.append(block, &mut hash)).map_err(unreadable)??;
            }
        }
        self.receipt.sha256 = hex(&hash.finalize());
        Ok(())
    }

    fn append(&mut self, bytes: &[u8], hash: &mut Sha256) -> Result<(), SinkError> {
        hash.update(bytes);
        self.receipt.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|e| self.refused(e))
    }
}

/// Reads to the end, block by block, or to the first that is refused.
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
