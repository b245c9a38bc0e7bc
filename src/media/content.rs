//! The content of local recordings: SHA-256 of all their bytes, read from a file that does not change meanwhile.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::domain::identity::{ContentHash, SeenFile};

/// Bytes that are read at a time.
const CHUNK: usize = 256 * 1024;

/// Identifies an unchanged file: writing to the file or replacing it changes some of these values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The file's metadata as its directory has it.
    pub seen: SeenFile,
    device: u64,
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        let modified_ns = meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
        Self { seen: SeenFile { bytes: meta.len(), modified_ns, inode: meta.ino() }, device: meta.dev() }
    }

    /// The stamp of the file at `path`; `None` if it is missing, unreadable or no regular file.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().filter(Metadata::is_file).map(|meta| Self::of(&meta))
    }
}

/// Why the content of a file is unknown.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It grew, shrank or was written to while it was read.
    #[error("changed while it was read")]
    Changed,
}

/// Reads a file to its end. `read` receives the length of each piece in bytes.
///
/// # Errors
/// The file cannot be read, or changes.
pub fn hash_file(path: &Path, mut read: impl FnMut(u64)) -> Result<(Stamp, ContentHash), ContentError> {
    let mut file = File::open(path)?;
    let stamp = Stamp::of(&file.metadata()?);
    let mut hash = Sha256::new();
    let room = usize::try_from(stamp.seen.bytes.saturating_add(1)).unwrap_or(CHUNK).min(CHUNK);
    let (mut buffer, mut total) = (vec![0; room], 0);
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e.into()),
        };
        hash.update(&buffer[..n]);
        total += n as u64;
        // A file that grows as fast as it is read has no end.
        if total > stamp.seen.bytes {
            return Err(ContentError::Changed);
        }
        read(n as u64);
    }
    // Checked by path: another file may have replaced it.
    if total != stamp.seen.bytes || Stamp::at(path) != Some(stamp) {
        return Err(ContentError::Changed);
    }
    Ok((stamp, ContentHash(hash.finalize().into())))
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::*;

    #[test]
    fn a_file_that_stays_what_it_is_has_a_content() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("a"), vec![7; 1_000_000]).unwrap();
        fs::write(at("b"), vec![7; 1_000_000]).unwrap();
        fs::write(at("c"), vec![8; 1_000_000]).unwrap();
        fs::write(at("empty"), "").unwrap();
        let mut heard = 0;
        let (stamp, a) = hash_file(&at("a"), |n| heard += n).unwrap();
        assert_eq!((stamp.seen.bytes, heard), (1_000_000, 1_000_000));
        assert_eq!(Stamp::at(&at("a")), Some(stamp));
        assert_ne!(Stamp::at(&at("b")), Some(stamp));
        let of = |name: &str| hash_file(&at(name), |_| ()).unwrap().1;
        assert!(a == of("b") && a != of("c"));
        assert!(of("empty").0.starts_with(&[0xe3, 0xb0, 0xc4, 0x42]));
        assert!(matches!(hash_file(&at("missing"), |_| ()), Err(ContentError::Io(_))));
        assert!(hash_file(dir.path(), |_| ()).is_err());
    }

    #[test]
    fn one_that_changes_meanwhile_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let changing = |change: &dyn Fn()| {
            fs::write(&path, vec![7; 3 * CHUNK]).unwrap();
            let mut pieces = 0;
            hash_file(&path, |_| {
                pieces += 1;
                if pieces == 2 {
                    change();
                }
            })
        };
        let append = || fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"more").unwrap();
        let cut = || fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(CHUNK as u64).unwrap();
        let replace = || {
            fs::write(dir.path().join("new"), vec![8; 3 * CHUNK]).unwrap();
            fs::rename(dir.path().join("new"), &path).unwrap();
        };
        let remove = || fs::remove_file(&path).unwrap();
        for change in [&append as &dyn Fn(), &cut, &replace, &remove] {
            assert!(matches!(changing(change), Err(ContentError::Changed)));
        }
        assert!(changing(&|| ()).is_ok());
    }
}
