//! A directory as a sink: it writes a temporary file, syncs, and renames.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use super::{Content, Erased, Item, MOST_READ, Receipt, SinkError, staged::Staged, together::Together};
use crate::{crash, temp_lock};

/// The prefix of every unfinished file's name.
const TEMPORARY: &str = ".wavebatch-tmp-";
/// Names of a listing that are passed on together.
const NAMES_AT_A_TIME: usize = 1_000;
/// The most known folders in memory; when it is reached, the set is cleared.
const MAX_KNOWN: usize = 100_000;

/// A directory of the local machine.
#[derive(Debug, Clone)]
pub struct Directory {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    /// Folders that this process has seen or created, which saves a million `mkdir` calls.
    known: Mutex<HashSet<PathBuf>>,
    /// Makes the renames of many jobs durable with one sync.
    together: Together,
    /// Makes names of temporary files unique within the process.
    serial: AtomicU64,
}

impl Directory {
    /// The directory at `address`; it need not exist yet.
    ///
    /// # Errors
    /// [`SinkError::AddressRefused`] if the address is empty or a URL of another scheme.
    pub fn open(address: &str) -> Result<Self, SinkError> {
        let refused = |why: &str| SinkError::AddressRefused { address: address.to_owned(), why: why.to_owned() };
        let path = match address.split_once("://") {
            None => PathBuf::from(address),
            Some(("file", _)) => url::Url::parse(address)
                .ok()
                .and_then(|url| url.to_file_path().ok())
                .ok_or_else(|| refused("a file URL has three slashes and an absolute path: file:///srv/out"))?,
            Some((scheme, _)) => {
                return Err(refused(&format!("`{scheme}://` is not supported; use a path, or s3://bucket/prefix/")));
            }
        };
        let root = std::path::absolute(&path).map_err(|e| refused(&e.to_string()))?;
        let shared = Shared { root, known: Mutex::default(), together: Together::default(), serial: AtomicU64::new(0) };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(super) fn root(&self) -> String {
        self.shared.root.display().to_string()
    }

    pub(super) fn address(&self, name: &str) -> String {
        self.shared.root.join(name).display().to_string()
    }

    pub(super) fn put_all(&self, items: &[Item]) -> Result<Vec<Receipt>, SinkError> {
        let mut staged = Vec::with_capacity(items.len());
        for item in items {
            staged.push(self.stage(item)?);
        }
        // All files are written before the first sync, so that the disk can write them together.
        for one in &staged {
            one.sync()?;
        }
        let mut receipts = Vec::with_capacity(items.len());
        crash::point("before-sink");
        for one in &mut staged {
            one.publish()?;
            crash::point("in-sink");
            receipts.push(one.receipt.clone());
        }
        let folders: HashSet<_> = staged.iter().filter_map(|one| one.target.parent()).collect();
        for folder in folders {
            self.shared
                .together
                .sync(folder, sync_folder)
                .map_err(|e| SinkError::of_sink(folder.display().to_string(), e))?;
        }
        Ok(receipts)
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<Vec<u8>>, SinkError> {
        let target = self.target(name)?;
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            File::open(&target)?.take(MOST_READ + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        match read() {
            Ok(bytes) if bytes.len() as u64 > MOST_READ => {
                Err(SinkError::TooLarge { address: self.address(name), most: MOST_READ })
            }
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(SinkError::of_output(self.address(name), e)),
        }
    }

    /// The path of the file with this name, if it exists.
    pub(super) fn find(&self, name: &str) -> Result<Option<PathBuf>, SinkError> {
        let target = self.target(name)?;
        match fs::metadata(&target) {
            Ok(_) => Ok(Some(target)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(SinkError::of_output(self.address(name), e)),
        }
    }

    pub(super) fn try_out(&self, name: &str) -> Result<(), SinkError> {
        let nothing = Content::Bytes(Bytes::new());
        let staged =
            self.stage(&Item { name: name.to_owned(), content: nothing, content_type: "application/octet-stream" })?;
        if staged.target.is_dir() {
            return Err(SinkError::of_output(self.address(name), io::ErrorKind::IsADirectory.into()));
        }
        Ok(())
    }

    pub(super) fn sweep(&self) -> Result<usize, SinkError> {
        let mut removed = 0;
        for entry in walkdir::WalkDir::new(&self.shared.root) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) => match (e.depth(), e.into_io_error()) {
                    (0, Some(e)) if e.kind() != io::ErrorKind::NotFound => {
                        return Err(SinkError::of_sink(self.root(), e));
                    }
                    _ => continue,
                },
            };
            if entry.file_type().is_file()
                && entry.file_name().to_string_lossy().starts_with(TEMPORARY)
                && temp_lock::sweep(entry.path())
            {
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Lists everything below the directory with its size, in chunks; `some` returns `false` to stop.
    pub(super) fn names(&self, mut some: impl FnMut(Vec<(String, u64)>) -> bool) -> Result<(), SinkError> {
        let root = &self.shared.root;
        let mut names = Vec::new();
        for entry in walkdir::WalkDir::new(root) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) if e.io_error().is_some_and(|e| e.kind() == io::ErrorKind::NotFound) => continue,
                Err(e) => {
                    let at = e.path().unwrap_or(root).display().to_string();
                    return Err(SinkError::of_sink(at, e.into()));
                }
            };
            let name = entry.path().strip_prefix(root).ok().and_then(Path::to_str);
            let unfinished = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
            if let Some(name) = name.filter(|_| entry.file_type().is_file() && !unfinished) {
                // A file that has disappeared in the meantime counts as empty.
                names.push((name.to_owned(), entry.metadata().map_or(0, |meta| meta.len())));
            }
            if names.len() == NAMES_AT_A_TIME && !some(std::mem::take(&mut names)) {
                return Ok(());
            }
        }
        some(names);
        Ok(())
    }

    /// Removes a file. One that is not there is no error.
    pub(super) fn remove(&self, name: &str) -> Result<(), SinkError> {
        match fs::remove_file(self.target(name)?) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(SinkError::of_output(self.address(name), e)),
            _ => Ok(()),
        }
    }

    /// Removes a file, durably. Whether it was there is told.
    pub(super) fn erase(&self, name: &str) -> Result<Erased, SinkError> {
        let target = self.target(name)?;
        match fs::remove_file(&target) {
            Ok(()) => {
                let folder = target.parent().expect("a name inside the root has a parent");
                sync_folder(folder).map_err(|e| SinkError::of_sink(folder.display().to_string(), e))?;
                Ok(Erased { found: true, ..Erased::default() })
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Erased::default())
            }
            Err(e) => Err(SinkError::of_output(self.address(name), e)),
        }
    }

    /// The path of an output, if the name stays inside the sink.
    fn target(&self, name: &str) -> Result<PathBuf, SinkError> {
        let bad = |part: &str| matches!(part, "" | "." | "..") || part.contains('\0') || part.starts_with(TEMPORARY);
        if name.split('/').any(bad) {
            let why = "it is no name of a file inside the output".to_owned();
            return Err(SinkError::NameRefused { address: self.address(name), why });
        }
        Ok(self.shared.root.join(name))
    }

    /// Writes an item to a temporary file beside its target. A folder that has disappeared since is created again.
    fn stage(&self, item: &Item) -> Result<Staged, SinkError> {
        let target = self.target(&item.name)?;
        let folder = target.parent().expect("a name inside the root has a parent").to_owned();
        let refused = |e| SinkError::of_output(self.address(&item.name), e);
        self.make(&folder, &item.name)?;
        let (temporary, file) = match self.create(&folder) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                self.known().clear();
                self.make(&folder, &item.name)?;
                self.create(&folder)
            }
            created => created,
        }
        .map_err(refused)?;
        Staged::write(temporary, target, file, &item.content, self.address(&item.name))
    }

    fn create(&self, folder: &Path) -> io::Result<(PathBuf, File)> {
        loop {
            let serial = self.shared.serial.fetch_add(1, Ordering::Relaxed);
            let temporary = folder.join(format!("{TEMPORARY}{}-{serial}", process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
                Ok(file) => {
                    if temp_lock::hold(&file)? {
                        return Ok((temporary, file));
                    }
                }
            }
        }
    }

    /// Creates the folder of an output: a fault at the root is the sink's, a fault below it is the name's.
    fn make(&self, folder: &Path, name: &str) -> Result<(), SinkError> {
        if self.known().contains(folder) {
            return Ok(());
        }
        make_all(&self.shared.root).map_err(|e| SinkError::of_sink(self.root(), e))?;
        make_all(folder).map_err(|e| SinkError::of_output(self.address(name), e))?;
        let mut known = self.known();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(folder.to_owned());
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Like `create_dir_all`, but a new folder survives a power failure.
fn make_all(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return Ok(()) };
    make_all(parent)?;
    match fs::create_dir(folder) {
        Err(_) if folder.is_dir() => Ok(()),
        Err(e) => Err(e),
        Ok(()) => sync_folder(parent),
    }
}

/// Makes renames in the folder durable, if the file system supports it and the folder may be opened.
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder).and_then(|opened| opened.sync_all()) {
        Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput) => Ok(()),
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::{
        domain::s3::SinkSettings,
        sink::{Sink, SinkClass},
    };

    const TEXT: &str = "text/plain";

    fn sink() -> (tempfile::TempDir, Sink) {
        let folder = tempfile::tempdir().unwrap();
        let sink = Sink::open(folder.path().join("out").to_str().unwrap(), &SinkSettings::default()).unwrap();
        (folder, sink)
    }

    fn item(name: &str, content: &'static str) -> Item {
        Item { name: name.into(), content: Content::Bytes(Bytes::from_static(content.as_bytes())), content_type: TEXT }
    }

    fn files(root: &Path) -> Vec<String> {
        let relative = |p: &Path| p.strip_prefix(root).unwrap().display().to_string();
        let mut files: Vec<_> = walkdir::WalkDir::new(root)
            .into_iter()
            .map(Result::unwrap)
            .filter(|e| e.file_type().is_file())
            .map(|e| relative(e.path()))
            .collect();
        files.sort();
        files
    }

    #[tokio::test]
    async fn a_receipt_says_where_and_what() {
        let (folder, sink) = sink();
        let receipts = sink.put_all(vec![item("a/b/c.txt", "abc"), item("a.json", "")]).await.unwrap();
        assert_eq!(receipts[0].address, folder.path().join("out/a/b/c.txt").display().to_string());
        assert_eq!(receipts[0].address, sink.address("a/b/c.txt"));
        assert_eq!(receipts[0].bytes, 3);
        assert_eq!(receipts[0].sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(receipts[1].bytes, 0);
        assert_eq!(files(folder.path()), ["out/a.json", "out/a/b/c.txt"], "and nothing else is left");
    }

    #[tokio::test]
    async fn the_same_name_is_written_again() {
        let (folder, sink) = sink();
        let first = sink.put("k.txt", Content::Bytes("one".into()), TEXT).await.unwrap();
        assert_eq!(sink.put("k.txt", Content::Bytes("one".into()), TEXT).await.unwrap(), first);
        let finished = folder.path().join("report");
        fs::write(&finished, vec![b'x'; 300_000]).unwrap();
        assert_eq!(sink.put("k.txt", Content::File(finished.clone()), TEXT).await.unwrap().bytes, 300_000);
        assert_eq!(sink.get("k.txt").await.unwrap().unwrap(), fs::read(&finished).unwrap());
        let copied = sink.put("k.txt", Content::File(finished.clone()), TEXT).await.unwrap();
        let taken = sink.put("k.txt", Content::Draft(finished.clone()), TEXT).await.unwrap();
        assert_eq!((taken, finished.exists()), (copied, false));
        assert_eq!(sink.get("other/k.txt").await.unwrap(), None);
        assert_eq!(sink.get("k.txt/below").await.unwrap(), None);
        fs::File::create(folder.path().join("out/huge.json")).unwrap().set_len(1 << 40).unwrap();
        let huge = sink.get("huge.json").await.unwrap_err();
        assert!(matches!(huge, SinkError::TooLarge { .. }), "{huge}");
    }

    #[tokio::test]
    async fn a_name_that_can_never_be_taken_is_the_lines_own_fault() {
        let (folder, sink) = sink();
        sink.put_all(vec![item("file", "x"), item("folder/file", "x")]).await.unwrap();
        symlink("circle", folder.path().join("out/circle")).unwrap();
        let long = "x".repeat(300);
        for name in [&long, "folder", "file/below", "file/far/below", "circle/a", "../a", "/a", "a//b", "", "a\0b"] {
            let error = sink.put(name, Content::Bytes("y".into()), TEXT).await.unwrap_err();
            assert_eq!(error.class(), SinkClass::Line, "{name}: {error}");
        }
        assert_eq!(files(folder.path()), ["out/file", "out/folder/file"]);
    }

    #[tokio::test]
    async fn what_is_wrong_with_the_sink_is_no_lines_fault() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        for below in ["file", "file/out"] {
            let sink = Sink::open(folder.path().join(below).to_str().unwrap(), &SinkSettings::default()).unwrap();
            let error = sink.put("a", Content::Bytes("y".into()), TEXT).await.unwrap_err();
            assert!(matches!(error, SinkError::NotAFolder { .. }), "{below}: {error}");
        }
        for address in ["", "ftp://host/out", "s3://", "file://host"] {
            assert!(
                matches!(Sink::open(address, &SinkSettings::default()), Err(SinkError::AddressRefused { .. })),
                "{address}"
            );
        }
        assert_eq!(Sink::open("file:///srv/my%20out", &SinkSettings::default()).unwrap().root(), "/srv/my out");
    }

    #[tokio::test]
    async fn an_unwritable_folder_is_told_as_such() {
        let (folder, sink) = sink();
        fs::create_dir(folder.path().join("out")).unwrap();
        fs::set_permissions(folder.path().join("out"), PermissionsExt::from_mode(0o555)).unwrap();
        match sink.put("a", Content::Bytes("y".into()), TEXT).await {
            Err(error) => assert!(matches!(error, SinkError::Denied { .. }), "{error}"),
            Ok(_) => assert!(rustix::process::geteuid().is_root(), "only root may write there"),
        }
    }

    #[tokio::test]
    async fn a_folder_that_was_removed_is_made_again() {
        let (folder, sink) = sink();
        sink.put("a/b", Content::Bytes("y".into()), TEXT).await.unwrap();
        fs::remove_dir_all(folder.path().join("out")).unwrap();
        sink.put("a/b", Content::Bytes("y".into()), TEXT).await.unwrap();
        assert_eq!(files(folder.path()), ["out/a/b"]);
    }

    #[tokio::test]
    async fn content_that_is_gone_leaves_nothing_behind() {
        let (folder, sink) = sink();
        let error = sink.put("a", Content::File("/no/such/file".into()), TEXT).await.unwrap_err();
        assert_eq!(error.class(), SinkClass::Retry);
        assert_eq!(files(folder.path()), [""; 0]);
    }

    #[tokio::test]
    async fn what_the_dead_left_is_swept_and_what_is_being_written_is_not() {
        let (folder, sink) = sink();
        assert_eq!(sink.sweep().await.unwrap(), 0, "there need not be a folder");
        sink.put("a/kept", Content::Bytes("y".into()), TEXT).await.unwrap();
        let Sink::Directory(directory) = &sink else { panic!("a directory") };
        let draft = folder.path().join("draft");
        fs::write(&draft, "joined").unwrap();
        let draft = Item { name: "a/draft".into(), content: Content::Draft(draft), content_type: TEXT };
        let mut staged = [item("a/new", "n"), draft].map(|item| directory.stage(&item).unwrap());
        fs::write(folder.path().join(format!("out/a/{TEMPORARY}1-0")), "").unwrap();
        assert_eq!(sink.sweep().await.unwrap(), 1);
        staged.iter_mut().for_each(|one| one.publish().unwrap());
        assert_eq!(files(folder.path()), ["out/a/draft", "out/a/kept", "out/a/new"]);
    }
}
