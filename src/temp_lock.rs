//! Temporary files and folders, each locked by its process. The kernel releases the lock when the process dies, so a
//! sweep can distinguish the files of dead processes from those of living ones.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
    time::Duration,
};

use tempfile::TempDir;

/// Where files cannot be locked, a younger file may still be in use.
const LEFTOVER_AGE: Duration = Duration::from_hours(24);

/// Locks a new file until its last handle is closed. `false`: a sweep has removed it in the meantime.
///
/// # Errors
/// The metadata of the file cannot be read.
pub fn hold(file: &File) -> io::Result<bool> {
    let is_swept = matches!(file.try_lock(), Err(TryLockError::WouldBlock)) || file.metadata()?.nlink() == 0;
    Ok(!is_swept)
}

/// Removes a file that nobody holds. Returns whether it did.
#[must_use]
pub fn sweep(path: &Path) -> bool {
    let Some(meta) = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file) else { return false };
    let Ok(file) = OpenOptions::new().read(true).open(path) else { return false };
    let is_left = match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(_)) => {
            meta.modified().ok().and_then(|at| at.elapsed().ok()).is_some_and(|age| age > LEFTOVER_AGE)
        }
    };
    // Under the lock, so that a process that makes a file of this name again notices.
    is_left && fs::remove_file(path).is_ok()
}

/// The lock file in a folder, held by the owner.
const LOCK: &str = ".lock";

/// A temporary folder that only its owner can enter. It is removed with this value, or by the next sweep after its
/// process is dead.
#[derive(Debug)]
pub struct LockedFolder {
    dir: TempDir,
    _lock: File,
}

impl LockedFolder {
    /// Makes a folder in `parent`, which may be writable for everybody. Its name begins with `prefix`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn create(parent: &Path, prefix: &str) -> io::Result<Self> {
        loop {
            let dir = tempfile::Builder::new()
                .prefix(prefix)
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(parent)?;
            let lock = OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.path().join(LOCK));
            match lock {
                // A sweep has removed it in the meantime.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
                Ok(lock) => {
                    if hold(&lock)? {
                        return Ok(Self { dir, _lock: lock });
                    }
                }
            }
        }
    }

    /// The path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Removes the folders in `parent` whose names begin with `prefix`, that belong to this user and that nobody
    /// holds.
    pub fn sweep(parent: &Path, prefix: &str) {
        let user = rustix::process::geteuid().as_raw();
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            if !entry.file_name().to_string_lossy().starts_with(prefix) {
                continue;
            }
            // The metadata of the entry, not of a link's target: anybody may have placed the link.
            let own = entry.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == user);
            if own && is_left(&entry.path()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Whether nobody holds the folder. A folder without a lock is being made, or its owner died at that moment.
fn is_left(folder: &Path) -> bool {
    match fs::symlink_metadata(folder.join(LOCK)) {
        Ok(_) => sweep(&folder.join(LOCK)),
        Err(_) => {
            let made = fs::symlink_metadata(folder).and_then(|meta| meta.modified()).ok();
            made.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > LEFTOVER_AGE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_owner_or_with_the_next_sweep() {
        const PREFIX: &str = "wavebatch-x-";
        let parent = tempfile::tempdir().unwrap();
        let names = || {
            let mut names: Vec<_> = fs::read_dir(parent.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
            names.sort();
            names
        };
        let folder = LockedFolder::create(parent.path(), PREFIX).unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(folder.path().join("manifest"), "x").unwrap();
        // As left by a killed process, with a file in it, and by a process that died before it had a lock.
        let left = parent.path().join(format!("{PREFIX}left"));
        let (young, old) = (parent.path().join(format!("{PREFIX}young")), parent.path().join(format!("{PREFIX}old")));
        [&left, &young, &old].into_iter().for_each(|dir| fs::create_dir(dir).unwrap());
        fs::write(left.join(LOCK), "").unwrap();
        fs::write(left.join("manifest"), "x").unwrap();
        let long_ago = std::time::SystemTime::now() - Duration::from_hours(25);
        File::open(&old).unwrap().set_modified(long_ago).unwrap();
        let (other, link) = (parent.path().join("other"), parent.path().join(format!("{PREFIX}link")));
        fs::create_dir(&other).unwrap();
        fs::write(other.join(LOCK), "").unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        LockedFolder::sweep(parent.path(), PREFIX);
        let mut stay = vec![folder.path().to_owned(), young.clone(), other.clone(), link.clone()];
        stay.sort();
        assert_eq!(names(), stay, "what is held, what is being made, and what is not ours");
        assert!(other.join(LOCK).exists());
        drop(folder);
        assert_eq!(names().len(), 3);
        LockedFolder::sweep(&parent.path().join("missing"), PREFIX);
    }

    #[test]
    fn what_is_held_stays_and_what_was_swept_cannot_be_held() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tmp");
        let held = File::create(&path).unwrap();
        assert!(hold(&held).unwrap());
        let other = held.try_clone().unwrap();
        drop(held);
        assert!(!sweep(&path), "by another handle of its owner");
        drop(other);
        assert!(sweep(&path) && !path.exists());
        let late = File::create(&path).unwrap();
        assert!(sweep(&path));
        assert!(!hold(&late).unwrap());
        assert!(!sweep(dir.path()) && !sweep(&path), "a folder, and nothing");
    }
}
