//! A file on its way into a directory.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::PathBuf,
};

use sha2::{Digest, Sha256};

use super::{Content, Receipt, SinkError};

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
            Content::File(path) => {
                let unreadable = |source| SinkError::Content { path: path.display().to_string(), source };
                let mut from = File::open(path).map_err(unreadable)?;
                let mut buffer = vec![0; 128 * 1024];
                loop {
                    match from.read(&mut buffer).map_err(unreadable)? {
                        0 => break,
                        read => self.append(&buffer[..read], &mut hash)?,
                    }
                }
            }
        }
        self.receipt.sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(())
    }

    fn append(&mut self, bytes: &[u8], hash: &mut Sha256) -> Result<(), SinkError> {
        hash.update(bytes);
        self.receipt.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|e| self.refused(e))
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
