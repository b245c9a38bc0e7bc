//! Making a backup.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use sqlx::{ConnectOptions, sqlite::SqliteConnectOptions};

use super::{
    error::BackupError,
    head::{BackupHead, CLIPS, FORMAT, HEAD, INDEX, IndexedClip, LEDGER, OnBackup, UNSENT, secret_member},
    read::head_of,
    write::ArchiveWriter,
};
use crate::clock::Millis;
use crate::domain::{callback::SecretPurpose, environment::Environment, job::CallId};
use crate::store::{
    CachedClip, ClipFolder, ClipPlace, ClipTotals, LedgerSecret, Store, StoreError,
    cache::home::Home,
    engine::db::{Conn, of_sqlite, query, query_scalar},
    engine::rows,
};
use crate::temp_lock::LockedFolder;

/// What the folder of an unfinished backup begins with.
const UNFINISHED: &str = ".wavebatch-backup-";
/// Between two looks at the copy of the ledger's file while it grows.
const LOOK: Duration = Duration::from_millis(250);

/// What is backed up, and where to.
#[derive(Debug, Clone)]
pub struct BackupRequest {
    /// The file to be made.
    pub file: PathBuf,
    /// Whether it may take the place of an older backup of the same ledger.
    pub replace: bool,
    /// Whether the clips of the audio cache go along, where they are files.
    pub with_cache: bool,
    /// The secrets that stand in files beside the ledger.
    pub secrets: Vec<LedgerSecret>,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackedUp {
    /// The file.
    pub file: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// What it says of itself.
    pub head: BackupHead,
    /// The clips that the audio cache has in files; the list of them is in the backup.
    pub clips: ClipTotals,
    /// The clips that are in it: of the cache, and those that waited for a store of objects.
    pub clips_inside: ClipTotals,
    /// Which secrets are in it.
    pub secrets: Vec<SecretPurpose>,
}

impl Store {
    /// Makes a backup of the ledger, as it is at one moment, while others may work on it. It never takes the write lock.
    /// Dropped, it leaves nothing behind.
    ///
    /// # Errors
    /// The file is there already, or its folder cannot be written; the ledger or the audio cache cannot be read.
    pub async fn back_up(&self, request: BackupRequest, on: &OnBackup) -> Result<BackedUp, BackupError> {
        let file = self.backup_target(&request)?;
        let dir = file.parent().unwrap_or(Path::new("/")).to_owned();
        LockedFolder::sweep(&dir, UNFINISHED);
        let draft = LockedFolder::create(&dir, UNFINISHED).map_err(BackupError::written(&dir))?;
        let (snapshot, mut head) = match self.file() {
            Some(_) => {
                let path = draft.path().join(LEDGER);
                self.snapshot(&path, on).await?;
                let mut conn = only_read(&path).await?;
                let head = head(&mut conn, self.now()).await;
                conn.close().await;
                (Some(path), head?)
            }
            None => (None, head(&mut self.read.view().await?, self.now()).await?),
        };
        head.address = self.address().to_owned();
        head.has_ledger = snapshot.is_some();
        head.with_cache = request.with_cache;
        // After the rows: a clip is there before its row.
        let cache = self.clips_to_back_up().await?;
        let contents = Contents { head: head.clone(), snapshot, cache, request: request.clone() };
        let (archive, on) = (draft.path().join("backup.tar"), Arc::clone(on));
        let made = archive.clone();
        let written = tokio::task::spawn_blocking(move || contents.write(&archive, &on)).await;
        let written = written.map_err(io::Error::other).flatten().map_err(BackupError::written(&dir))?;
        publish(&made, &file, request.replace)?;
        let secrets = request.secrets.iter().map(|secret| secret.purpose).collect();
        let Written { bytes, clips, clips_inside } = written;
        Ok(BackedUp { file, bytes, head, clips, clips_inside, secrets })
    }

    /// The path of the file to be made, resolved. Refuses one that is there, unless it is an older backup of this ledger that
    /// may be replaced.
    fn backup_target(&self, request: &BackupRequest) -> Result<PathBuf, BackupError> {
        let path = std::path::absolute(&request.file).map_err(BackupError::written(&request.file))?;
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(BackupError::Exists(path));
        };
        let path = dir.canonicalize().map_err(BackupError::written(dir))?.join(name);
        match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(e) => return Err(BackupError::written(&path)(e)),
            Ok(_) if !request.replace => return Err(BackupError::Exists(path)),
            Ok(found) if !found.is_file() => return Err(BackupError::NotReplaced { path, what: "no file" }),
            Ok(_) => {}
        }
        match head_of(&path) {
            Ok(head) if head.ledger == self.id() => Ok(path),
            Ok(_) => Err(BackupError::NotReplaced { path, what: "the backup of another ledger" }),
            Err(e @ BackupError::Io { .. }) => Err(e),
            Err(_) => Err(BackupError::NotReplaced { path, what: "no backup that this program reads" }),
        }
    }

    /// Copies the ledger's file, as it is at one moment. Readers and writers go on meanwhile.
    async fn snapshot(&self, to: &Path, on: &OnBackup) -> Result<(), BackupError> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
        let file = made.map_err(BackupError::written(to))?;
        let name = to.to_str().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename));
        let name = name.map_err(BackupError::written(to))?.to_owned();
        let all = self.places().ledger_bytes().ok().flatten().unwrap_or(0);
        let mut conn = self.read.acquire().await?;
        let copying = query("VACUUM INTO $1").bind(name).execute(&mut conn);
        tokio::pin!(copying);
        loop {
            tokio::select! {
                copied = &mut copying => {
                    copied.map_err(|source| of_snapshot(to, source))?;
                    return Ok(());
                }
                () = tokio::time::sleep(LOOK) => {
                    // Bit by bit, as the archive is made durable.
                    if let Ok(file) = file.try_clone() {
                        let _ = tokio::task::spawn_blocking(move || file.sync_data()).await;
                    }
                    on(file.metadata().map_or(0, |meta| meta.len()), 2 * all);
                }
            }
        }
    }

    /// The clips of the audio cache that are files, and those that wait for a store of objects.
    async fn clips_to_back_up(&self) -> Result<Clips, BackupError> {
        let folder = match self.clip_home().await {
            Ok(Home::Folder { folder, .. }) => Some(folder.clone()),
            Ok(Home::Objects { .. }) | Err(StoreError::NoSharedSpool { .. }) => None,
            Err(e) => return Err(e.into()),
        };
        let unsent = self.unsent_clips();
        let at = folder.as_ref().map_or_else(|| self.spool(), |folder| folder.root().to_owned());
        let walked = tokio::task::spawn_blocking(move || {
            let walk = |folder: &ClipFolder| {
                let mut clips = Vec::new();
                folder.walk(|clip| clips.push(clip)).map(|()| clips)
            };
            let kept = folder.as_ref().map_or(Ok(Vec::new()), walk)?;
            let waiting = walk(&unsent)?;
            let root = folder.unwrap_or_else(|| unsent.clone());
            Ok(Clips { kept: (root, kept), unsent: (unsent, waiting) })
        });
        walked.await.map_err(io::Error::other).flatten().map_err(BackupError::read(at))
    }
}

/// Clips and their folders.
struct Clips {
    kept: (ClipFolder, Vec<CachedClip>),
    unsent: (ClipFolder, Vec<CachedClip>),
}

struct Contents {
    head: BackupHead,
    snapshot: Option<PathBuf>,
    cache: Clips,
    request: BackupRequest,
}

struct Written {
    bytes: u64,
    clips: ClipTotals,
    clips_inside: ClipTotals,
}

impl Contents {
    fn write(&self, path: &Path, on: &OnBackup) -> io::Result<Written> {
        let (kept, unsent) = (&self.cache.kept, &self.cache.unsent);
        let mut archive = ArchiveWriter::create(path, u64::try_from(self.head.made_at / 1_000).unwrap_or(0))?;
        archive.bytes(HEAD, &serde_json::to_vec_pretty(&self.head)?)?;
        let clips = ClipTotals { clips: kept.1.len() as u64, bytes: kept.1.iter().map(|clip| clip.bytes).sum() };
        let mut done = 0;
        if let Some(snapshot) = &self.snapshot {
            let file = File::open(snapshot)?;
            done = file.metadata()?.len();
            let all = 2 * done + if self.request.with_cache { clips.bytes } else { 0 };
            archive.file(LEDGER, &file, &mut |piece| {
                done += piece;
                on(done, all);
            })?;
            // The disk needs its room for clips.
            fs::remove_file(snapshot)?;
        }
        for secret in &self.request.secrets {
            archive.bytes(secret_member(secret.purpose), format!("{}\n", secret.secret.hex()).as_bytes())?;
        }
        archive.bytes(INDEX, &index(kept)?)?;
        let mut clips_inside = ClipTotals::default();
        let taken: &[_] = if self.request.with_cache { &kept.1 } else { &[] };
        for (folder, (of, clips)) in [(CLIPS, (&kept.0, taken)), (UNSENT, (&unsent.0, &*unsent.1))] {
            for clip in clips {
                let Some((name, at)) = name_of(of, clip) else { continue };
                let file = match File::open(at) {
                    // It was pruned, or sent, meanwhile.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    opened => opened?,
                };
                archive.file(&format!("{folder}/{name}"), &file, &mut |piece| {
                    done += piece;
                    on(done, done.max(clips.iter().map(|clip| clip.bytes).sum()));
                })?;
                clips_inside.clips += 1;
                clips_inside.bytes += file.metadata()?.len();
            }
        }
        Ok(Written { bytes: archive.finish()?, clips, clips_inside })
    }
}

/// The list of clips, one a line.
fn index((folder, clips): &(ClipFolder, Vec<CachedClip>)) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for clip in clips {
        let Some((file, _)) = name_of(folder, clip) else { continue };
        let used_at = clip.used_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let used_at = i64::try_from(used_at.as_millis()).unwrap_or(i64::MAX);
        serde_json::to_writer(&mut lines, &IndexedClip { file, bytes: clip.bytes, used_at })?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// The name of a clip below its folder, and its path.
fn name_of<'c>(folder: &ClipFolder, clip: &'c CachedClip) -> Option<(String, &'c Path)> {
    let ClipPlace::File(path) = &clip.place else { return None };
    Some((path.strip_prefix(folder.root()).ok()?.to_str()?.to_owned(), path))
}

/// Gives the finished file its name, and makes that durable.
fn publish(made: &Path, file: &Path, replace: bool) -> Result<(), BackupError> {
    let named = match replace {
        true => fs::rename(made, file),
        false => fs::hard_link(made, file),
    };
    match named {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(BackupError::Exists(file.to_owned())),
        named => named.map_err(BackupError::written(file))?,
    }
    let dir = file.parent().unwrap_or(Path::new("/"));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(BackupError::written(dir))
}

/// What SQLite says of the disk is said of the copy: the ledger itself is only read.
fn of_snapshot(to: &Path, source: StoreError) -> BackupError {
    match source {
        StoreError::Full(_) | StoreError::ReadOnly(_) | StoreError::Unopened(_) => {
            BackupError::Snapshot { path: to.parent().unwrap_or(to).to_owned(), source }
        }
        source => source.into(),
    }
}

/// A connection to the file of a ledger that nobody writes.
pub(super) async fn only_read(path: &Path) -> Result<Conn, StoreError> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(true);
    options.disable_statement_logging().connect().await.map(Conn::from).map_err(of_sqlite)
}

/// What a ledger says of itself.
async fn head(conn: &mut Conn, now: Millis) -> Result<BackupHead, StoreError> {
    let row = query(
        r"-- backup::head
          SELECT l.id, l.newest_at, l.seq, l.spool,
            (SELECT max(version) FROM _sqlx_migrations) AS version,
            (SELECT environment FROM batches ORDER BY id LIMIT 1) AS environment,
            (SELECT count(*) FROM batches) AS batches,
            (SELECT count(*) FROM jobs) AS jobs,
            (SELECT count(*) FROM calls) AS calls
          FROM ledger AS l",
    )
    .fetch_one(&mut *conn)
    .await?;
    let newest: Option<CallId> =
        query_scalar("SELECT id FROM calls ORDER BY id DESC LIMIT 1").fetch_optional(conn).await?;
    let count = |name| rows::count(&row, name).map(u64::from);
    Ok(BackupHead {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: now,
        schema: row.try_get("version")?,
        ledger: row.try_get("id")?,
        address: String::new(),
        has_ledger: false,
        environment: row.try_get::<Option<Environment>, _>("environment")?.unwrap_or(Environment::Live),
        newest_at: row.try_get("newest_at")?,
        seq: row.try_get("seq")?,
        newest_call: newest.map(|call| call.to_string()),
        batches: count("batches")?,
        lines: count("jobs")?,
        calls: count("calls")?,
        spool: row.try_get("spool")?,
        with_cache: false,
    })
}
