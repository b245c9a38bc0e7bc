//! Putting a backup in its place: the ledger last, so that a restore that is cut off leaves no half of one.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    error::{BackupError, Loss},
    head::IndexedClip,
    make::only_read,
    read::{Backup, remove},
};
use crate::crash;
use crate::domain::{batch::MicroUsd, hex::unhex, identity::Identity};
use crate::store::{
    ClipFolder, ClipPlace, ClipTotals, LedgerAddress, LedgerCopy, Opening, Store, StoreError,
    cache::home::{clips_within, is_of_objects, shared_folder, unsent_within},
    engine::db::{query, query_scalar},
    engine::rows,
    engine::sqlite::{log_beside, one_by_one, real_path, refuse_network_fs, spool_beside},
};

/// The ledger that a backup takes the place of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Its file.
    ledger: PathBuf,
    /// What it knows and the backup does not.
    pub loss: Loss,
}

/// Makes the folder that a ledger is restored into.
fn folder_of(ledger: &Path) -> Result<PathBuf, BackupError> {
    refuse_network_fs(ledger)?;
    let folder = ledger.parent().unwrap_or(Path::new("/"));
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(BackupError::written(folder))?;
    Ok(folder.to_owned())
}

impl Backup {
    /// Where a ledger at this path goes, and the folder it goes into, which is made.
    ///
    /// # Errors
    /// The folder cannot be made, or is on a network file system.
    pub fn place(ledger: &Path) -> Result<(PathBuf, PathBuf), BackupError> {
        let ledger = real_path(ledger);
        let folder = folder_of(&ledger)?;
        Ok((ledger, folder))
    }

    /// Checks the ledger in the backup, as its engine does. Checksums prove that it is what was written.
    ///
    /// # Errors
    /// It is damaged.
    pub async fn check(&self) -> Result<(), BackupError> {
        let mut conn = only_read(&self.ledger()).await?;
        let said: Result<Vec<String>, _> = query_scalar("PRAGMA quick_check(1)").fetch_all(&mut conn).await;
        conn.close().await;
        let damaged = |what| BackupError::Damaged { path: self.file.clone(), what };
        match said {
            Ok(said) if said == ["ok"] => Ok(()),
            Ok(said) => Err(damaged(said.join("; "))),
            Err(e) => Err(damaged(e.reason())),
        }
    }

    /// Looks at the ledger that is at the place of the restore, if there is one: it must be the same ledger, unused, and not
    /// newer than the backup, unless what it knows may be lost.
    ///
    /// # Errors
    /// It is not; or it cannot be read.
    pub async fn compare(&self, opening: Opening, lose_newer: bool) -> Result<Option<Replaced>, BackupError> {
        let LedgerAddress::File(path) = &opening.ledger else { return Ok(None) };
        let path = real_path(path);
        if !has_content(&path) {
            let log = log_beside(&path);
            return if has_content(&log) { Err(BackupError::LeftLog(log)) } else { Ok(None) };
        }
        let unreadable = |source| BackupError::Unreadable { ledger: path.display().to_string(), source };
        let existing = match Store::open(Opening { create: false, ..opening }).await {
            Ok((existing, _)) => existing,
            Err(e @ StoreError::Corrupt(_)) => return Err(unreadable(e)),
            Err(e) => return Err(e.into()),
        };
        let looked = self.compare_with(&existing).await;
        existing.close().await;
        let loss = match looked {
            Err(BackupError::Store(e @ StoreError::Corrupt(_))) => return Err(unreadable(e)),
            looked => looked?,
        };
        if !loss.is_nothing() && !lose_newer {
            return Err(BackupError::Older { path: self.file.clone(), ledger: path.display().to_string(), loss });
        }
        Ok(Some(Replaced { ledger: path, loss }))
    }

    async fn compare_with(&self, existing: &Store) -> Result<Loss, BackupError> {
        let ledger = existing.address().to_owned();
        if existing.id() != self.head().ledger {
            return Err(BackupError::OtherLedger { ledger, path: self.file.clone() });
        }
        LedgerCopy::refuse_used(existing).await?;
        let name =
            self.ledger().to_str().map(str::to_owned).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename));
        let name = name.map_err(BackupError::read(self.ledger()))?;
        let mut conn = existing.read.acquire().await?;
        query("ATTACH DATABASE $1 AS backup").bind(name).execute(&mut conn).await?;
        let row = query(
            r"-- restore::compare
              SELECT
                (SELECT count(*) FROM calls AS c LEFT JOIN backup.calls AS b ON b.id = c.id
                 WHERE c.state IN ('answered', 'lost', 'surplus', 'replaced')
                   AND (b.id IS NULL OR b.state NOT IN ('answered', 'lost', 'surplus', 'replaced'))) AS paid,
                (SELECT coalesce(sum(c.cost - coalesce(b.cost, 0)), 0) FROM calls AS c LEFT JOIN backup.calls AS b ON b.id = c.id
                 WHERE c.cost > coalesce(b.cost, 0)) AS cost,
                (SELECT count(*) FROM calls AS c WHERE c.state IN ('sent', 'accepted')
                   AND NOT EXISTS (SELECT 1 FROM backup.calls AS b WHERE b.id = c.id)) AS open,
                (SELECT count(*) FROM batches AS c
                 WHERE NOT EXISTS (SELECT 1 FROM backup.batches AS b WHERE b.name = c.name)) AS batches,
                (SELECT count(*) FROM jobs AS c WHERE c.forget IS NOT NULL
                   AND NOT EXISTS (SELECT 1 FROM backup.jobs AS b WHERE b.id = c.id AND b.forget IS NOT NULL)) AS forgotten,
                max(0, (SELECT seq FROM ledger) - (SELECT seq FROM backup.ledger)) AS changes",
        )
        .fetch_one(&mut conn)
        .await;
        let detached = query("DETACH DATABASE backup").execute(&mut conn).await;
        let row = row?;
        detached?;
        let count = |name| rows::count(&row, name).map(u64::from);
        Ok(Loss {
            paid_calls: count("paid")?,
            cost: MicroUsd(row.try_get("cost")?),
            open_calls: count("open")?,
            batches: count("batches")?,
            changes: count("changes")?,
            forgotten: count("forgotten")?,
        })
    }

    /// Puts the clips that are in the backup where the ledger at this path looks for them. What is there already stays. Returns
    /// how many there are in the backup.
    ///
    /// # Errors
    /// The place cannot be written.
    pub async fn put_clips(&self, ledger: &Path) -> Result<ClipTotals, BackupError> {
        self.put_clips_into(&spool_beside(ledger)).await
    }

    /// The same for a ledger on a server, with this folder for local files.
    ///
    /// # Errors
    /// As [`Self::put_clips`].
    pub async fn put_clips_into(&self, spool: &Path) -> Result<ClipTotals, BackupError> {
        let head = self.head();
        let cache = match &head.spool {
            Some(address) if is_of_objects(address) => None,
            Some(address) => Some(shared_folder(address, &head.ledger, head.environment)),
            None => Some(clips_within(spool)),
        };
        let unsent = (ClipFolder::new(self.unsent()), unsent_within(spool));
        let pairs: Vec<_> = cache.map(|to| (ClipFolder::new(self.clips()), to)).into_iter().chain([unsent]).collect();
        let used: HashMap<String, i64> = self.index.iter().map(|clip| (clip.file.clone(), clip.used_at)).collect();
        let shown = spool.to_owned();
        let put = tokio::task::spawn_blocking(move || {
            let mut totals = ClipTotals::default();
            for (from, to) in pairs {
                put_folder(&from, &to, &used, &mut totals)?;
            }
            Ok(totals)
        });
        put.await.map_err(io::Error::other).flatten().map_err(BackupError::written(shown))
    }

    /// Puts the ledger in its place. A ledger that is there is kept beside it; returns its new path.
    ///
    /// # Errors
    /// Somebody has begun to use the ledger that is there; or the place cannot be written.
    pub async fn put_ledger(&self, ledger: &Path, replaced: Option<&Replaced>) -> Result<Option<PathBuf>, BackupError> {
        let folder = ledger.parent().unwrap_or(Path::new("/"));
        // Nobody opens it in the meantime.
        let _turn = one_by_one(ledger, Duration::from_secs(5)).await;
        let log = log_beside(ledger);
        if has_content(&log) {
            // Whoever closes a ledger last removes its log.
            return Err(match replaced {
                Some(_) => BackupError::Open(ledger.to_owned()),
                None => BackupError::LeftLog(log),
            });
        }
        let kept = match replaced {
            None => None,
            Some(replaced) => {
                let aside = aside(&replaced.ledger);
                fs::hard_link(&replaced.ledger, &aside).map_err(BackupError::written(&aside))?;
                Some(aside)
            }
        };
        // An empty log, or an index, belongs to the file that is replaced.
        for ending in ["-wal", "-shm"] {
            let mut name = ledger.as_os_str().to_os_string();
            name.push(ending);
            remove(Path::new(&name)).map_err(BackupError::written(ledger))?;
        }
        crash::point("restore-before-ledger");
        let put = match replaced {
            Some(_) => fs::rename(self.ledger(), ledger),
            // Somebody may have made a ledger there just now.
            None => {
                if fs::metadata(ledger).is_ok_and(|meta| meta.len() == 0) {
                    remove(ledger).map_err(BackupError::written(ledger))?;
                }
                fs::hard_link(self.ledger(), ledger)
            }
        };
        match put {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(BackupError::Open(ledger.to_owned())),
            put => put.map_err(BackupError::written(ledger))?,
        }
        File::open(folder).and_then(|dir| dir.sync_all()).map_err(BackupError::written(folder))?;
        Ok(kept)
    }

    /// The clips that the audio cache had in files.
    #[must_use]
    pub fn had_clips(&self) -> HashSet<Identity> {
        let key = |clip: &IndexedClip| unhex(clip.file.split('/').nth(1)?.split('.').next()?).map(Identity);
        self.index.iter().filter_map(key).collect()
    }

    /// Refuses a ledger on a server that is not the one of this backup.
    ///
    /// # Errors
    /// It is another one.
    pub fn refuse_other(&self, ledger: &Store) -> Result<(), BackupError> {
        match ledger.id() == self.head().ledger {
            true => Ok(()),
            false => Err(BackupError::OtherLedger { ledger: ledger.address().to_owned(), path: self.file.clone() }),
        }
    }
}

fn has_content(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.len() > 0)
}

/// A name beside a ledger that is free.
fn aside(ledger: &Path) -> PathBuf {
    let now = jiff::Zoned::now().strftime("%Y%m%dT%H%M%S").to_string();
    let named = |n: u32| {
        let mut name = ledger.as_os_str().to_os_string();
        name.push(format!("-replaced-{now}"));
        if n > 0 {
            name.push(format!("-{n}"));
        }
        PathBuf::from(name)
    };
    (0..).map(named).find(|path| !path.exists()).unwrap_or_else(|| named(0))
}

fn put_folder(
    from: &ClipFolder,
    to: &ClipFolder,
    used: &HashMap<String, i64>,
    totals: &mut ClipTotals,
) -> io::Result<()> {
    let mut clips = Vec::new();
    from.walk(|clip| clips.push(clip))?;
    if clips.is_empty() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(to.root())?;
    for mut clip in clips {
        if let ClipPlace::File(path) = &clip.place
            && let Some(used_at) = path.strip_prefix(from.root()).ok().and_then(|name| used.get(name.to_str()?))
        {
            let since = Duration::from_millis(u64::try_from(*used_at).unwrap_or(0));
            clip.used_at = SystemTime::UNIX_EPOCH + since;
        }
        to.adopt(from, &clip)?;
        totals.clips += 1;
        totals.bytes += clip.bytes;
    }
    Ok(())
}
