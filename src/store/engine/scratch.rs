//! Files of the spool that are removed with the value that created them.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::temp_lock;

static SERIAL: AtomicU64 = AtomicU64::new(0);
const MARK: &str = "tmp-";

/// A temporary file, readable only by its owner. Dropping this removes it. The file of a dead process begins with `tmp-`
/// and is removed by the next sweep: its owner holds a lock on it, which the kernel releases when the owner dies.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _held: File,
}

impl Scratch {
    /// Creates an empty file in the folder `dir`, which is created too if it is not there.
    ///
    /// # Errors
    /// The folder or the file cannot be created.
    pub fn create(dir: &Path, what: &str) -> io::Result<(Self, File)> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        loop {
            let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
            let path = dir.join(format!("{MARK}{}-{serial}-{what}", process::id()));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                // An earlier process with the same id may have left one, or an attacker a link to another file.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
                Ok(file) => {
                    if temp_lock::hold(&file)? {
                        return Ok((Self { path, _held: file.try_clone()? }, file));
                    }
                }
            }
        }
    }

    /// Removes the files of dead processes in the folder `dir`: manifests, incomplete audio, and reports with
    /// transcripts.
    pub fn sweep(dir: &Path) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(MARK) {
                let _ = temp_lock::sweep(&entry.path());
            }
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A file that cannot be removed now is swept later.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn nothing_is_written_through_what_lies_there_already() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("theirs");
        fs::write(&target, "kept").unwrap();
        let next = SERIAL.load(Ordering::Relaxed);
        for serial in next..next + 100 {
            let link = dir.path().join(format!("{MARK}{}-{serial}-manifest", process::id()));
            symlink(&target, link).unwrap();
        }
        let (scratch, mut file) = Scratch::create(dir.path(), "manifest").unwrap();
        io::Write::write_all(&mut file, b"a manifest").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
        assert_eq!(fs::read_to_string(scratch.path()).unwrap(), "a manifest");
    }

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
    fn what_the_dead_left_goes_and_what_somebody_holds_stays() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["tmp-1-0-report.csv", "tmp-1-1-manifest", "kept"] {
            File::create(dir.path().join(name)).unwrap();
        }
        fs::create_dir(dir.path().join("tmp-folder")).unwrap();
        let (held, file) = Scratch::create(dir.path(), "part").unwrap();
        drop(file);
        Scratch::sweep(dir.path());
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        left.sort();
        let mut stay = vec![dir.path().join("kept"), held.path().to_owned(), dir.path().join("tmp-folder")];
        stay.sort();
        assert_eq!(left, stay, "it is held as long as its owner lives, written or not");
        Scratch::sweep(&dir.path().join("missing"));
    }
}
