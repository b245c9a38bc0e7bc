//! Reading a backup: it is unpacked beside the place it goes to, and compared with its checksums before anything is used.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use sha2::{Digest, Sha256};

use super::{
    error::BackupError,
    head::{
        AnyHead, BackupHead, CHECKSUMS, CLIPS, Checksum, FORMAT, HEAD, INDEX, IndexedClip, LEDGER, OnBackup, UNSENT,
        is_clip_name, secret_member,
    },
};
use crate::domain::{
    callback::{Secret, SecretPurpose},
    hex::hex,
};
use crate::store::engine::schema;
use crate::temp_lock::LockedFolder;

/// What the folder of an unpacked backup begins with.
const UNPACKED: &str = ".wavebatch-restore-";
/// The longest head or list of checksums that is read.
const MOST_TEXT: u64 = 1 << 30;
const PIECE: usize = 1 << 20;

/// A backup that was unpacked and is as it was made.
#[derive(Debug)]
pub struct Backup {
    pub(super) file: PathBuf,
    head: BackupHead,
    secrets: Vec<(SecretPurpose, Secret)>,
    pub(super) index: Vec<IndexedClip>,
    /// Removed with this value.
    folder: LockedFolder,
}

impl Backup {
    /// Unpacks a backup in a folder of its own in `dir`, and checks it. Nothing else is touched.
    ///
    /// # Errors
    /// The file is no backup, is cut off, was changed, or was made by a newer program; or the folder cannot be written.
    pub async fn open(file: &Path, dir: &Path, on: &OnBackup) -> Result<Self, BackupError> {
        let (file, dir, on) = (file.to_owned(), dir.to_owned(), Arc::clone(on));
        let shown = file.clone();
        let opened = tokio::task::spawn_blocking(move || {
            LockedFolder::sweep(&dir, UNPACKED);
            let folder = LockedFolder::create(&dir, UNPACKED).map_err(BackupError::written(&dir))?;
            unpack(&file, folder, &on)
        });
        opened.await.map_err(|e| BackupError::read(shown)(io::Error::other(e)))?
    }

    /// What it says of itself.
    #[must_use]
    pub const fn head(&self) -> &BackupHead {
        &self.head
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The secrets that are in it.
    #[must_use]
    pub fn secrets(&self) -> &[(SecretPurpose, Secret)] {
        &self.secrets
    }

    /// The ledger's file, unpacked.
    pub(super) fn ledger(&self) -> PathBuf {
        self.folder.path().join(LEDGER)
    }

    /// The folder of the unpacked clips.
    pub(super) fn clips(&self) -> PathBuf {
        self.folder.path().join(CLIPS)
    }

    /// The folder of the unpacked clips that waited for a store of objects.
    pub(super) fn unsent(&self) -> PathBuf {
        self.folder.path().join(UNSENT)
    }
}

/// What a backup says of itself, without a look at the rest.
pub(super) fn head_of(file: &Path) -> Result<BackupHead, BackupError> {
    let mut tar = Archive::open(file)?;
    let mut entries = tar.entries()?;
    entries.head()
}

fn unpack(file: &Path, folder: LockedFolder, on: &OnBackup) -> Result<Backup, BackupError> {
    let mut tar = Archive::open(file)?;
    let all = tar.bytes;
    let mut entries = tar.entries()?;
    let head = entries.head()?;
    let mut found = Found::default();
    while let Some((name, entry)) = entries.next()? {
        if found.checksums.is_some() {
            return Err(entries.changed("something follows its end".into()));
        }
        match found.take(&name, entry, folder.path()) {
            Ok(()) => {}
            Err(Refused::Unknown) => return Err(entries.changed(format!("it holds `{name}`, as no backup does"))),
            Err(Refused::Read(e)) => return Err(entries.broken(e)),
            Err(Refused::Written(e)) => return Err(BackupError::written(folder.path())(e)),
        }
        on(entries.read(), all);
    }
    let Some(written) = found.checksums.take() else { return Err(BackupError::Cut(file.to_owned())) };
    let written: Vec<Checksum> =
        serde_json::from_slice(&written).map_err(|_| entries.changed(format!("{CHECKSUMS} cannot be read")))?;
    found.members.insert(HEAD.to_owned(), entries.head_sum.clone());
    if let Some(what) = difference(&written, &found.members) {
        return Err(entries.changed(what));
    }
    let unreadable = |what: &str| entries.changed(format!("{what} cannot be read"));
    let lines = found.index.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let index: Result<Vec<IndexedClip>, _> = lines.map(serde_json::from_slice).collect();
    let index = index.map_err(|_| unreadable(INDEX))?;
    let secret = |(purpose, text): (SecretPurpose, String)| {
        Secret::parse(text.trim()).map(|secret| (purpose, secret)).map_err(|_| unreadable(secret_member(purpose)))
    };
    let secrets = found.secrets.into_iter().map(secret).collect::<Result<_, _>>()?;
    if head.has_ledger != found.members.contains_key(LEDGER) {
        return Err(entries.changed("its head and its members differ".into()));
    }
    Ok(Backup { file: file.to_owned(), head, secrets, index, folder })
}

/// The first way in which members differ from what their backup says of them.
fn difference(written: &[Checksum], found: &BTreeMap<String, Checksum>) -> Option<String> {
    if let Some(missing) = written.iter().find(|one| !found.contains_key(&one.name)) {
        return Some(format!("`{}` is missing", missing.name));
    }
    if let Some(one) = written.iter().find(|one| found.get(&one.name) != Some(one)) {
        return Some(format!("`{}` has another checksum", one.name));
    }
    let written: BTreeSet<&str> = written.iter().map(|one| &*one.name).collect();
    let more = found.keys().find(|name| !written.contains(&***name))?;
    Some(format!("`{more}` was added"))
}

/// Why a member is not taken.
enum Refused {
    Unknown,
    Read(io::Error),
    Written(io::Error),
}

/// What was found in an archive.
#[derive(Default)]
struct Found {
    members: BTreeMap<String, Checksum>,
    checksums: Option<Vec<u8>>,
    index: Vec<u8>,
    secrets: Vec<(SecretPurpose, String)>,
}

impl Found {
    fn take(&mut self, name: &str, entry: impl Read, folder: &Path) -> Result<(), Refused> {
        if self.members.contains_key(name) {
            return Err(Refused::Unknown);
        }
        if name == CHECKSUMS {
            self.checksums = Some(text(entry)?.0);
            return Ok(());
        }
        if let Some(purpose) =
            [SecretPurpose::Webhook, SecretPurpose::Notify].into_iter().find(|one| secret_member(*one) == name)
        {
            let (content, sum) = text(entry)?;
            self.secrets.push((purpose, String::from_utf8_lossy(&content).into_owned()));
            self.members.insert(name.to_owned(), sum.named(name));
            return Ok(());
        }
        if name == INDEX {
            let (content, sum) = text(entry)?;
            self.index = content;
            self.members.insert(name.to_owned(), sum.named(name));
            return Ok(());
        }
        let is_clip =
            |folder: &str| name.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')).is_some_and(is_clip_name);
        if name != LEDGER && !is_clip(CLIPS) && !is_clip(UNSENT) {
            return Err(Refused::Unknown);
        }
        let sum = file(entry, &folder.join(name))?;
        self.members.insert(name.to_owned(), sum.named(name));
        Ok(())
    }
}

/// The length and hash of a member.
struct Sum {
    bytes: u64,
    hash: Sha256,
}

impl Sum {
    fn new() -> Self {
        Self { bytes: 0, hash: Sha256::new() }
    }

    fn add(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        self.hash.update(piece);
    }

    fn named(self, name: &str) -> Checksum {
        Checksum { name: name.to_owned(), bytes: self.bytes, sha256: hex(&self.hash.finalize()) }
    }
}

fn text(entry: impl Read) -> Result<(Vec<u8>, Sum), Refused> {
    let (mut content, mut sum) = (Vec::new(), Sum::new());
    entry.take(MOST_TEXT).read_to_end(&mut content).map_err(Refused::Read)?;
    sum.add(&content);
    Ok((content, sum))
}

fn file(mut entry: impl Read, path: &Path) -> Result<Sum, Refused> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Refused::Written)?;
    }
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = made.map_err(Refused::Written)?;
    let (mut piece, mut sum) = (vec![0; PIECE], Sum::new());
    loop {
        let read = entry.read(&mut piece).map_err(Refused::Read)?;
        if read == 0 {
            break;
        }
        sum.add(&piece[..read]);
        file.write_all(&piece[..read]).map_err(Refused::Written)?;
    }
    file.sync_all().map_err(Refused::Written)?;
    Ok(sum)
}

/// An archive that is read from its beginning to its end.
struct Archive {
    file: PathBuf,
    bytes: u64,
    read: Arc<AtomicU64>,
    tar: tar::Archive<Counted>,
}

impl Archive {
    fn open(path: &Path) -> Result<Self, BackupError> {
        let file = File::open(path).map_err(BackupError::read(path))?;
        let meta = file.metadata().map_err(BackupError::read(path))?;
        if !meta.is_file() {
            return Err(BackupError::NoBackup(path.to_owned()));
        }
        let read = Arc::new(AtomicU64::new(0));
        let tar = tar::Archive::new(Counted { file, read: Arc::clone(&read) });
        Ok(Self { file: path.to_owned(), bytes: meta.len(), read, tar })
    }

    fn entries(&mut self) -> Result<Entries<'_>, BackupError> {
        let failed = BackupError::read(&self.file);
        let head_sum = Checksum { name: HEAD.to_owned(), bytes: 0, sha256: String::new() };
        let (file, bytes, read) = (self.file.clone(), self.bytes, Arc::clone(&self.read));
        Ok(Entries { file, bytes, read, entries: self.tar.entries().map_err(failed)?, head_sum })
    }
}

/// The members of an archive.
struct Entries<'a> {
    file: PathBuf,
    bytes: u64,
    read: Arc<AtomicU64>,
    entries: tar::Entries<'a, Counted>,
    head_sum: Checksum,
}

impl<'a> Entries<'a> {
    /// The first member.
    fn head(&mut self) -> Result<BackupHead, BackupError> {
        let is_system = |e: &io::Error| e.raw_os_error().is_some();
        let no_backup = || BackupError::NoBackup(self.file.clone());
        let entry = match self.entries.next() {
            Some(Err(e)) if is_system(&e) => return Err(BackupError::read(&self.file)(e)),
            Some(Ok(entry)) if &*entry.path_bytes() == HEAD.as_bytes() => entry,
            Some(_) | None => return Err(no_backup()),
        };
        let announced = entry.size();
        let mut content = Vec::new();
        match entry.take(MOST_TEXT).read_to_end(&mut content) {
            Err(e) if is_system(&e) => return Err(BackupError::read(&self.file)(e)),
            _ if (content.len() as u64) < announced => return Err(BackupError::Cut(self.file.clone())),
            _ => {}
        }
        let any: AnyHead = serde_json::from_slice(&content).map_err(|_| no_backup())?;
        let newer = |what| BackupError::Newer { path: self.file.clone(), program: any.program.clone(), what };
        if any.format > FORMAT {
            return Err(newer(format!("its format is {}, this program knows {FORMAT}", any.format)));
        }
        let head: BackupHead = serde_json::from_slice(&content).map_err(|_| no_backup())?;
        let known = schema::known();
        if head.schema > known {
            return Err(newer(format!("its ledger has schema {}, this program knows {known}", head.schema)));
        }
        let mut sum = Sum::new();
        sum.add(&content);
        self.head_sum = sum.named(HEAD);
        Ok(head)
    }

    /// The next member and its name.
    fn next(&mut self) -> Result<Option<Member<'a>>, BackupError> {
        let entry = match self.entries.next() {
            None => return Ok(None),
            Some(Err(e)) => return Err(self.broken(e)),
            Some(Ok(entry)) => entry,
        };
        if !entry.header().entry_type().is_file() {
            return Err(self.changed("it holds something that is no file".into()));
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let left = entry.size();
        Ok(Some((name, Whole { entry, left })))
    }

    /// How much of the file was read.
    fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    fn changed(&self, what: String) -> BackupError {
        BackupError::Changed { path: self.file.clone(), what }
    }

    /// Why the archive cannot be read on: its end is missing, or what is there is not what was written.
    fn broken(&self, error: io::Error) -> BackupError {
        if error.raw_os_error().is_some() {
            return BackupError::read(&self.file)(error);
        }
        match self.read() >= self.bytes {
            true => BackupError::Cut(self.file.clone()),
            false => self.changed(error.to_string()),
        }
    }
}

/// A member and its name.
type Member<'a> = (String, Whole<tar::Entry<'a, Counted>>);

/// A member that is read to its end, or not at all.
struct Whole<R> {
    entry: R,
    left: u64,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.entry.read(into)?;
        self.left -= (read as u64).min(self.left);
        match read {
            0 if self.left > 0 && !into.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

/// A file of which is known how much was read.
#[derive(Debug)]
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(into)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
