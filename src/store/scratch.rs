//! Files of the spool that go with the value that made them.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

static SERIAL: AtomicU64 = AtomicU64::new(0);

/// A temporary file, readable by its owner alone. It is removed when this is dropped; one that a dead process left begins
/// with `tmp-` and that process's id.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes an empty file in the folder `dir`, which is made too if it is not there.
    ///
    /// # Errors
    /// The folder or the file cannot be made.
    pub fn create(dir: &Path, what: &str) -> io::Result<(Self, File)> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("tmp-{}-{serial}-{what}", process::id()));
        // A process of the same id may have left one: it is nobody's by now.
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        Ok((Self { path }, file))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is swept later.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_scratch_file_is_private_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let spool = dir.path().join("a/spool");
        let (first, _) = Scratch::create(&spool, "report").unwrap();
        let (second, _) = Scratch::create(&spool, "report").unwrap();
        assert_ne!(first.path(), second.path());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(first.path()), mode(&spool)), (0o600, 0o700));
        drop((first, second));
        assert_eq!(fs::read_dir(&spool).unwrap().count(), 0);
    }
}
