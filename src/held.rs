//! Temporary files that belong to a process for as long as it lives: it holds a lock on each, which the kernel takes away
//! when it dies, so that whoever sweeps can tell the dead's from the living's.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    time::Duration,
};

/// Where files cannot be locked, one that is younger may still be somebody's.
const LEFTOVER_AGE: Duration = Duration::from_hours(24);

/// Holds a file that was just made until its last handle is closed. `false`: a sweep came between, and it is gone.
///
/// # Errors
/// What the file is cannot be read.
pub fn hold(file: &File) -> io::Result<bool> {
    let is_swept = matches!(file.try_lock(), Err(TryLockError::WouldBlock)) || file.metadata()?.nlink() == 0;
    Ok(!is_swept)
}

/// Removes a file that nobody holds, and says whether it did.
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
    // Under the lock, so that whoever makes it anew under this name finds out.
    is_left && fs::remove_file(path).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

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
