//! Files of the spool that go with the value that made them.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

static SERIAL: AtomicU64 = AtomicU64::new(0);
const MARK: &str = "tmp-";
/// A file younger than this may still be somebody's.
const LEFTOVER_AGE: Duration = Duration::from_hours(24);

/// A temporary file, readable by its owner alone. It is removed when this is dropped; one that a dead process left begins
/// with `tmp-` and that process's id, and goes with a later sweep.
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
        let path = dir.join(format!("{MARK}{}-{serial}-{what}", process::id()));
        // A process of the same id may have left one: it is nobody's by now.
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        Ok((Self { path }, file))
    }

    /// Removes what dead processes left in the folder `dir` more than a day ago: manifests, and reports with transcripts.
    pub fn sweep(dir: &Path) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let written = entry.metadata().ok().filter(fs::Metadata::is_file).and_then(|meta| meta.modified().ok());
            let old = written.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > LEFTOVER_AGE);
            if old && entry.file_name().to_string_lossy().starts_with(MARK) {
                let _ = fs::remove_file(entry.path());
            }
        }
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
    use std::{os::unix::fs::PermissionsExt, time::SystemTime};

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

    #[test]
    fn what_the_dead_left_goes_after_a_day() {
        let dir = tempfile::tempdir().unwrap();
        for (name, hours) in [("tmp-1-0-report.csv", 25), ("tmp-1-1-manifest", 23), ("kept", 99)] {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_hours(hours)).unwrap();
        }
        fs::create_dir(dir.path().join("tmp-folder")).unwrap();
        Scratch::sweep(dir.path());
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["kept", "tmp-1-1-manifest", "tmp-folder"]);
        Scratch::sweep(&dir.path().join("missing"));
    }
}
