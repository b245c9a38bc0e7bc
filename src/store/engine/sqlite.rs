//! A ledger in a file: what is refused before a byte is written, and its settings.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    str::FromStr,
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection,
    sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::store::{
    StoreError,
    engine::db::{Conn, Readers, of_sqlite},
    engine::opening::{Opened, Opening},
    engine::schema,
    engine::space::WRITER_CACHE,
};

/// The oldest SQLite without the WAL-reset bug.
pub const MIN_SQLITE: (u32, u32, u32) = (3, 51, 3);

/// The time between two looks at a directory in which another process opens a ledger.
const TRY_AGAIN: Duration = Duration::from_millis(5);

/// Opens a ledger's file.
pub(super) async fn open(given: &Path, opening: &Opening) -> Result<Opened<PathBuf>, StoreError> {
    let path = canonical(given).map_err(|source| StoreError::Path { path: given.to_owned(), source })?;
    let fresh = !path.exists();
    if fresh && !opening.create {
        return Err(StoreError::Missing(path));
    }
    refuse_network_fs(&path)?;
    prepare_file(&path).map_err(|source| StoreError::Path { path: path.clone(), source })?;

    let common = SqliteConnectOptions::new()
        .filename(&path)
        .busy_timeout(opening.busy_timeout)
        .foreign_keys(true)
        .disable_statement_logging();
    let one_by_one = one_by_one(&path, opening.busy_timeout).await;
    let mut options = common
        .clone()
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", WRITER_CACHE)
        .pragma("wal_autocheckpoint", "16000")
        // What was removed is overwritten: it must not be found in the file.
        .pragma("secure_delete", "ON");
    // A ledger keeps this from its first page on. Setting it again takes the write lock, which no reader needs.
    if fs::metadata(&path).is_ok_and(|file| file.len() == 0) {
        options = options.auto_vacuum(SqliteAutoVacuum::Incremental);
    }
    // Asked without opening the file: closing it again would drop this process's locks on it.
    let may_write = fresh || rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_ok();
    // What only reads needs no more. What writes is refused by SQLite.
    let read_only = match may_write {
        true => None,
        false => only_to_read(&path, common.clone()).await,
    };
    let (mut conn, common) = match read_only {
        Some(opened) => opened,
        None => match SqliteConnection::connect_with(&options).await.map_err(of_sqlite) {
            Ok(conn) => (conn, common),
            Err(e @ (StoreError::ReadOnly(_) | StoreError::Unopened(_))) if !fresh => {
                only_to_read(&path, common).await.ok_or(e)?
            }
            Err(e) => return Err(e),
        },
    };
    refuse_old_sqlite(&mut conn).await?;
    let shown = path.display().to_string();
    schema::of_sqlite(&mut conn, &shown).await?;
    let mut conn = Conn::from(conn);
    let id = schema::ledger_id(&mut conn, opening.clock.now(), &shown, opening.for_copy).await?;
    drop(one_by_one);
    let readers = SqlitePoolOptions::new()
        .max_connections(4)
        .connect_lazy_with(common.read_only(true).pragma("cache_size", "-8192"));
    Ok(Opened { conn, readers: Readers::Sqlite(readers), id, fresh, place: path })
}

/// A connection to a ledger that this user may not write, and its options.
///
/// Beside a write-ahead log, it is read as others read it. Without one nobody has it open, so it is read as a file that
/// does not change: else SQLite would leave files beside it that its owner may not write.
async fn only_to_read(path: &Path, common: SqliteConnectOptions) -> Option<(SqliteConnection, SqliteConnectOptions)> {
    let common = common.read_only(true);
    let ways = match fs::metadata(log_beside(path)).map(|log| log.len()) {
        Err(_) => vec![common.immutable(true)],
        Ok(0) => vec![common.clone(), common.immutable(true)],
        Ok(_) => vec![common],
    };
    for options in ways {
        let Ok(mut conn) = SqliteConnection::connect_with(&options).await else { continue };
        if sqlx::query("SELECT 1 FROM sqlite_schema").fetch_optional(&mut conn).await.is_ok() {
            return Some((conn, options));
        }
    }
    None
}

/// The resolved path of a ledger, whatever links lead to it: everything beside the ledger is named by it. It is the given
/// path where it cannot be resolved.
#[must_use]
pub fn real_path(ledger: &Path) -> PathBuf {
    canonical(ledger).unwrap_or_else(|_| ledger.to_owned())
}

/// The spool beside a ledger.
pub(in crate::store) fn spool_beside(ledger: &Path) -> PathBuf {
    let mut name = ledger.file_name().unwrap_or_default().to_os_string();
    name.push("-spool");
    ledger.with_file_name(name)
}

/// The write-ahead log beside a ledger.
pub(in crate::store) fn log_beside(ledger: &Path) -> PathBuf {
    let mut name = ledger.as_os_str().to_os_string();
    name.push("-wal");
    name.into()
}

/// One path for one ledger, whatever links lead to it: everything beside it (locks of processes, the spool) is found by
/// its path. Where there is no ledger yet, its folder's path is resolved, as far as the folder exists.
fn canonical(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match path.canonicalize() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    // A link to a ledger that does not exist yet is followed as SQLite follows it.
    if let Ok(target) = fs::read_link(&path) {
        let target = path.parent().map_or(target.clone(), |folder| folder.join(&target));
        if target != path {
            return canonical(&target);
        }
    }
    let there = path.ancestors().skip(1).find_map(|folder| Some((folder, folder.canonicalize().ok()?)));
    Ok(match there.and_then(|(folder, found)| Some(found.join(path.strip_prefix(folder).ok()?))) {
        Some(path) => path,
        None => path,
    })
}

/// The ledger may hold texts and addresses of recordings: only its owner may read it.
fn prepare_file(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    match fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists && !path.exists() => Err(e),
        _ => Ok(()),
    }
}

/// Two processes may start on a new ledger at once: SQLite does not wait when its journal mode changes, nor do
/// migrations. So the ledgers of one directory are opened one at a time, as long as that does not take too long.
///
/// The lock is never on the ledger itself: closing one handle of a file drops all of the process's locks on it, SQLite's
/// too. The next process that closes the ledger then takes itself for the last one, and removes our log.
pub(in crate::store) async fn one_by_one(path: &Path, most: Duration) -> Option<fs::File> {
    let dir = fs::File::open(path.parent()?).ok()?;
    let began = Instant::now();
    loop {
        match dir.try_lock() {
            Ok(()) => return Some(dir),
            Err(fs::TryLockError::WouldBlock) if began.elapsed() < most => tokio::time::sleep(TRY_AGAIN).await,
            // Some file systems have no locks on directories; losing a race for a new ledger is then a clear error.
            Err(_) => return None,
        }
    }
}

async fn refuse_old_sqlite(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(conn).await.map_err(of_sqlite)?;
    let mut parts = version.split('.').map(|p| u32::from_str(p).unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    if (next(), next(), next()) < MIN_SQLITE { Err(StoreError::OldSqlite(version)) } else { Ok(()) }
}

#[cfg(target_os = "linux")]
pub(in crate::store) fn refuse_network_fs(path: &Path) -> Result<(), StoreError> {
    let there = path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"));
    let Ok(stat) = rustix::fs::statfs(there) else { return Ok(()) };
    #[expect(clippy::useless_conversion, reason = "its width differs between machines")]
    match network_fs(i64::from(stat.f_type)) {
        Some(kind) => Err(StoreError::NetworkFs { path: path.to_owned(), kind }),
        None => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(in crate::store) fn refuse_network_fs(_: &Path) -> Result<(), StoreError> {
    Ok(())
}

/// The name of a network file system, by the magic number of statfs(2).
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "statfs has other shapes elsewhere"))]
fn network_fs(magic: i64) -> Option<&'static str> {
    Some(match magic & 0xffff_ffff {
        0x6969 => "NFS",
        0x517b => "SMB",
        0xff53_4d42 => "CIFS",
        0xfe53_4d42 => "SMB2",
        0x0102_1997 => "9p",
        0x5346_414f | 0x6b41_4653 => "AFS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_leads_to_a_ledger_it_has_one_path() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        fs::create_dir(real.join("a")).unwrap();
        std::os::unix::fs::symlink(real.join("a"), real.join("b")).unwrap();
        let path = real.join("a/wavebatch.db");
        for other in ["a/wavebatch.db", "b/wavebatch.db", "b/../a/./wavebatch.db"] {
            assert_eq!(canonical(&real.join(other)).unwrap(), path, "{other}, not there yet");
        }
        assert_eq!(canonical(&real.join("b/new/x.db")).unwrap(), real.join("a/new/x.db"));
        std::os::unix::fs::symlink("a/wavebatch.db", real.join("link.db")).unwrap();
        assert_eq!(canonical(&real.join("link.db")).unwrap(), path, "a link to what is to be made");
        fs::write(&path, "").unwrap();
        for other in ["link.db", "b/wavebatch.db"] {
            assert_eq!(canonical(&real.join(other)).unwrap(), path, "{other}");
        }
        std::os::unix::fs::symlink("circle.db", real.join("circle.db")).unwrap();
        assert!(canonical(&real.join("circle.db")).is_err());
    }

    #[test]
    fn network_file_systems_are_known_by_their_number() {
        assert_eq!(network_fs(0x6969), Some("NFS"));
        assert_eq!(network_fs(0xff53_4d42_u32.cast_signed().into()), Some("CIFS"));
        assert_eq!(network_fs(0xef53), None, "ext4");
    }
}
