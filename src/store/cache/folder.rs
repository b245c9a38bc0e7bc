//! Bought audio, kept as files in a folder: a complete file under its cache key is the answer, whichever job bought it.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::store::{Scratch, StoreError};
use crate::{
    crash,
    domain::{hex::unhex, identity::Identity, synthesis_options::AudioFormat},
};

/// A folder that keeps bought audio: `ab/abcd….pcm`, named by cache key and format.
///
/// A file appears here complete or not at all: it is written under another name, made durable, and renamed. Every file
/// here was paid for, and is the answer of a call whose row may not know it yet.
#[derive(Debug, Clone)]
pub struct ClipFolder {
    root: PathBuf,
}

/// A clip of the audio cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedClip {
    /// The identity of its text, voice and options.
    pub cache_key: Identity,
    /// Where it is.
    pub place: ClipPlace,
    /// Its length.
    pub bytes: u64,
    /// When it was bought, or last used.
    pub used_at: SystemTime,
}

/// Where a clip is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClipPlace {
    /// In this file.
    File(PathBuf),
    /// In the object of this take.
    Object(u32),
}

// All of these use the disk, and are for threads that may block.
impl ClipFolder {
    pub(in crate::store) const fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The path of a clip, whether it is kept or not.
    #[must_use]
    pub fn path(&self, cache_key: Identity, format: AudioFormat) -> PathBuf {
        let hex = cache_key.hex();
        self.root.join(&hex[..2]).join(format!("{hex}.{format}"))
    }

    /// Whether a clip is kept, and how long its file is, in bytes.
    ///
    /// # Errors
    /// It cannot be found out now: the disk fails, or the folder cannot be read. The clip may be there nevertheless.
    pub fn find(&self, cache_key: Identity, format: AudioFormat) -> io::Result<Option<u64>> {
        match fs::metadata(self.path(cache_key, format)) {
            Ok(meta) => Ok((meta.is_file() && meta.len() > 0).then_some(meta.len())),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether a clip is kept.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn is_kept(&self, cache_key: Identity, format: AudioFormat) -> Result<bool, StoreError> {
        match self.find(cache_key, format) {
            Ok(found) => Ok(found.is_some()),
            Err(source) => Err(StoreError::Spool { place: self.root.display().to_string(), source }),
        }
    }

    /// Keeps complete audio. An existing file stays, unless it is to be replaced.
    ///
    /// # Errors
    /// The disk is full or fails; then nothing is kept.
    pub fn write(&self, cache_key: Identity, format: AudioFormat, audio: &[u8], replace: bool) -> io::Result<()> {
        let (draft, mut file) = self.draft()?;
        file.write_all(audio)?;
        drop(file);
        self.keep(&draft, cache_key, format, replace)
    }

    /// Finds out whether audio can be written here.
    ///
    /// # Errors
    /// It cannot.
    pub(in crate::store) fn try_out(&self) -> io::Result<()> {
        self.draft().map(drop)
    }

    /// An empty file to be written and then [kept](Self::keep).
    fn draft(&self) -> io::Result<(Scratch, File)> {
        Scratch::create(&self.root, "part")
    }

    /// Makes a complete draft durable, under its clip's name.
    fn keep(&self, draft: &Scratch, cache_key: Identity, format: AudioFormat, replace: bool) -> io::Result<()> {
        if !replace && self.find(cache_key, format)?.is_some() {
            return Ok(());
        }
        let path = self.path(cache_key, format);
        let folder = path.parent().unwrap_or(&self.root);
        File::open(draft.path())?.sync_all()?;
        let fresh = !folder.is_dir();
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        crash::point("before-file");
        fs::rename(draft.path(), &path)?;
        File::open(folder)?.sync_all()?;
        crash::point("after-file");
        if fresh {
            File::open(&self.root)?.sync_all()?;
        }
        Ok(())
    }

    /// Copies a clip of another folder, with the time of its last use, unless a file of its length is here. Its name stays.
    ///
    /// # Errors
    /// It cannot be read, or the disk is full or fails.
    pub(in crate::store) fn adopt(&self, from: &Self, clip: &CachedClip) -> io::Result<()> {
        let ClipPlace::File(source) = &clip.place else { return Ok(()) };
        let Ok(name) = source.strip_prefix(&from.root) else { return Ok(()) };
        let target = self.root.join(name);
        if fs::metadata(&target).is_ok_and(|meta| meta.len() == clip.bytes) {
            return Ok(());
        }
        let (draft, mut file) = self.draft()?;
        io::copy(&mut File::open(source)?, &mut file)?;
        file.set_modified(clip.used_at)?;
        file.sync_all()?;
        let folder = target.parent().unwrap_or(&self.root);
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        fs::rename(draft.path(), &target)?;
        File::open(folder)?.sync_all()
    }

    /// Moves a damaged file out of the way. It stays beside the cache's files, for inspection.
    pub fn discard(&self, cache_key: Identity, format: AudioFormat) {
        let path = self.path(cache_key, format);
        let _ = fs::rename(&path, path.with_extension(format!("{format}.damaged")));
    }

    /// Records that a clip was used now: the least recently used clips are removed first.
    pub fn touch(&self, cache_key: Identity, format: AudioFormat) {
        // An audio cache that cannot be written can still be read.
        if let Ok(file) = File::options().append(true).open(self.path(cache_key, format)) {
            let _ = file.set_modified(SystemTime::now());
        }
    }

    /// Removes a clip. One that is not there is no error.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, cache_key: Identity, format: AudioFormat) -> io::Result<()> {
        match fs::remove_file(self.path(cache_key, format)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// Calls `each` for every kept clip, in no order. Other files are skipped.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn walk(&self, mut each: impl FnMut(CachedClip)) -> io::Result<()> {
        for folder in entries(&self.root)? {
            let folder = folder?;
            if !folder.file_type()?.is_dir() {
                continue;
            }
            for file in entries(&folder.path())? {
                let file = file?;
                let Some(cache_key) = cache_key_of(&file.path()) else { continue };
                // Another process may prune it meanwhile.
                let Ok(meta) = file.metadata() else { continue };
                let used_at = meta.modified()?;
                each(CachedClip { cache_key, place: ClipPlace::File(file.path()), bytes: meta.len(), used_at });
            }
        }
        Ok(())
    }

    /// The folder of the cache.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Removes drafts that dead processes left.
    pub fn sweep(&self) {
        Scratch::sweep(&self.root);
    }
}

fn entries(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(e) => Err(e),
    }
}

fn cache_key_of(path: &Path) -> Option<Identity> {
    unhex(path.file_stem()?.to_str()?).map(Identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(audio_cache: &ClipFolder, cache_key: Identity, content: &[u8], replace: bool) {
        audio_cache.write(cache_key, AudioFormat::Pcm, content, replace).unwrap();
    }

    #[test]
    fn what_is_kept_stays_unless_it_is_to_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let audio_cache = ClipFolder { root: dir.path().join("speech") };
        let (cache_key, other) = (Identity([0xab; 16]), Identity([0; 16]));
        let find = |cache_key, format| audio_cache.find(cache_key, format).unwrap();
        assert_eq!(find(cache_key, AudioFormat::Pcm), None);
        audio_cache.walk(|_| panic!("there is nothing")).unwrap();
        keep(&audio_cache, cache_key, b"first", false);
        keep(&audio_cache, cache_key, b"second one", false);
        assert_eq!(fs::read(audio_cache.path(cache_key, AudioFormat::Pcm)).unwrap(), b"first");
        assert_eq!(find(cache_key, AudioFormat::Mp3), None, "another format is another purchase");
        keep(&audio_cache, cache_key, b"second one", true);
        assert_eq!(find(cache_key, AudioFormat::Pcm), Some(10));
        keep(&audio_cache, other, b"x", false);
        let mut seen = Vec::new();
        audio_cache.walk(|kept| seen.push((kept.cache_key, kept.bytes))).unwrap();
        seen.sort_by_key(|(_, bytes)| *bytes);
        assert_eq!(seen, [(other, 1), (cache_key, 10)]);
        let left = fs::read_dir(audio_cache.root()).unwrap().filter(|e| e.as_ref().unwrap().path().is_file()).count();
        assert_eq!(left, 0, "drafts go with their values");
    }

    #[test]
    fn what_cannot_be_looked_at_now_is_not_gone() {
        let dir = tempfile::tempdir().unwrap();
        let audio_cache = ClipFolder { root: dir.path().join("speech") };
        let cache_key = Identity([3; 16]);
        keep(&audio_cache, cache_key, b"bought", false);
        let folder = audio_cache.path(cache_key, AudioFormat::Pcm).parent().unwrap().to_owned();
        let away = dir.path().join("away");
        fs::rename(&folder, &away).unwrap();
        assert_eq!(audio_cache.find(cache_key, AudioFormat::Pcm).unwrap(), None, "its folder is gone");
        // A failing mount answers each look with an error; so does a link that points to itself, also for root.
        std::os::unix::fs::symlink(&folder, &folder).unwrap();
        assert!(audio_cache.find(cache_key, AudioFormat::Pcm).is_err());
        assert!(audio_cache.write(cache_key, AudioFormat::Pcm, b"again", false).is_err(), "it stays in hand");
        fs::remove_file(&folder).unwrap();
        fs::rename(&away, &folder).unwrap();
        assert_eq!(audio_cache.find(cache_key, AudioFormat::Pcm).unwrap(), Some(6));
    }

    #[test]
    fn used_again_is_used_now() {
        let dir = tempfile::tempdir().unwrap();
        let audio_cache = ClipFolder { root: dir.path().to_owned() };
        let cache_key = Identity([7; 16]);
        keep(&audio_cache, cache_key, b"x", false);
        let path = audio_cache.path(cache_key, AudioFormat::Pcm);
        File::options().append(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        audio_cache.touch(cache_key, AudioFormat::Pcm);
        let mut age = None;
        audio_cache.walk(|kept| age = kept.used_at.elapsed().ok()).unwrap();
        assert!(age.unwrap().as_secs() < 60);
    }
}
