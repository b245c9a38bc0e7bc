//! The space that the ledger uses on disk, and how much of it is kept answers.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::domain::job::BatchId;
use crate::store::engine::db::query;
use crate::store::{Store, StoreError, engine::rows, engine::space, engine::sqlite::log_beside};

/// How many answers are read to estimate the size of a batch's answers: reading each would read most of the ledger.
const SAMPLE: u32 = 100;

/// The space that the ledger uses on disk, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LedgerSizes {
    /// The file, or all tables and indexes on a server.
    pub file: u64,
    /// Free pages in it.
    pub free: u64,
    /// The write-ahead log beside it.
    pub wal: u64,
    /// The folder beside it for what is too large for it.
    pub spool: u64,
}

/// Where the ledger and its spool are, for looks at their disks that hold no handle on the ledger.
#[derive(Debug, Clone)]
pub struct LedgerPlaces {
    /// `None`: it is on a server, whose disks nobody here can ask.
    ledger: Option<PathBuf>,
    spool: PathBuf,
}

/// The space of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// What this user can still write.
    pub free: u64,
    /// All of it.
    pub size: u64,
}

impl DiskSpace {
    /// The file system of a path that exists.
    ///
    /// # Errors
    /// The system does not say.
    pub fn of(path: &Path) -> io::Result<Self> {
        space_of(path)
    }
}

/// The kept answers of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptAnswers {
    /// The batch.
    pub batch: BatchId,
    /// How many answers it has.
    pub answers: u64,
    /// The bytes that they use in the ledger, estimated from the first hundred.
    pub bytes: u64,
}

impl Store {
    /// The space that the ledger uses on disk.
    pub async fn sizes(&self) -> Result<LedgerSizes, StoreError> {
        let (pages, free) = space::page_bytes(&mut self.read.acquire().await?).await?;
        let places = self.places();
        let spool = places.spool_bytes();
        let Some(path) = self.file() else { return Ok(LedgerSizes { file: pages, free, wal: 0, spool }) };
        let file = fs::metadata(path).map(|file| file.len()).unwrap_or(pages);
        Ok(LedgerSizes { file, free, wal: wal_bytes(path), spool })
    }

    /// The bytes of all tables and indexes, if the ledger is on a server; `None` for a file.
    pub async fn bytes_on_server(&self) -> Result<Option<u64>, StoreError> {
        if self.file().is_some() {
            return Ok(None);
        }
        let (bytes, _) = space::page_bytes(&mut self.read.acquire().await?).await?;
        Ok(Some(bytes))
    }

    /// Where the ledger and its spool are.
    #[must_use]
    pub fn places(&self) -> LedgerPlaces {
        LedgerPlaces { ledger: self.file().map(Path::to_owned), spool: self.spool() }
    }

    /// The batches that have kept answers. It reads only indexes, except for a sample of each batch.
    pub async fn kept_by_batch(&self) -> Result<Vec<KeptAnswers>, StoreError> {
        // Ids of calls grow with time: no call is read of batches that are older than the oldest answer.
        let found = query(
            r"-- sizes::kept_by_batch
              WITH oldest AS MATERIALIZED (SELECT call FROM answers ORDER BY call LIMIT 1) SELECT b.id,
                (SELECT count(*) FROM oldest o CROSS JOIN calls c CROSS JOIN answers a WHERE c.batch = b.id AND c.id >= o.call AND a.call = c.id) AS n, (SELECT CAST(avg(size) AS DOUBLE PRECISION) FROM (SELECT length(a.body) AS size FROM oldest o CROSS JOIN calls c CROSS JOIN answers a WHERE c.batch = b.id AND c.id >= o.call AND a.call = c.id LIMIT $1) AS sample) AS size
              FROM batches b",
        )
        .bind(SAMPLE)
        .fetch_all(&self.read)
        .await?;
        let mut kept = Vec::new();
        for row in found {
            let answers = rows::length(&row, "n")?.unwrap_or(0);
            if answers > 0 {
                let size: Option<f64> = row.try_get("size")?;
                #[expect(clippy::cast_precision_loss, reason = "an estimate")]
                let bytes = (size.unwrap_or(0.0) * answers as f64).round() as u64;
                kept.push(KeptAnswers { batch: BatchId(row.try_get("id")?), answers, bytes });
            }
        }
        Ok(kept)
    }
}

// All of these use the disk, and are for threads that may block.
impl LedgerPlaces {
    /// The bytes of the ledger's file and of the write-ahead log beside it; `None` if it is on a server.
    ///
    /// # Errors
    /// The file cannot be found now.
    pub fn ledger_bytes(&self) -> io::Result<Option<u64>> {
        self.ledger.as_deref().map(|path| Ok(fs::metadata(path)?.len() + wal_bytes(path))).transpose()
    }

    /// The bytes of all files of the spool. It looks at each of them.
    #[must_use]
    pub fn spool_bytes(&self) -> u64 {
        within(&self.spool)
    }

    /// The file system of the ledger; `None` if it is on a server.
    ///
    /// # Errors
    /// The system does not say.
    pub fn ledger_disk(&self) -> io::Result<Option<DiskSpace>> {
        self.ledger.as_deref().map(space_of).transpose()
    }

    /// The file system of the spool, which may be a mount of its own.
    ///
    /// # Errors
    /// The system does not say.
    pub fn spool_disk(&self) -> io::Result<DiskSpace> {
        match (space_of(&self.spool), self.spool.parent()) {
            // The first speech makes it.
            (Err(e), Some(folder)) if e.kind() == io::ErrorKind::NotFound => space_of(folder),
            (found, _) => found,
        }
    }
}

fn wal_bytes(ledger: &Path) -> u64 {
    fs::metadata(log_beside(ledger)).map_or(0, |file| file.len())
}

fn space_of(path: &Path) -> io::Result<DiskSpace> {
    let found = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(DiskSpace { free: bytes(found.f_bavail), size: bytes(found.f_blocks) })
}

/// The bytes of all files below a folder; a file that cannot be read counts as zero.
fn within(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => within(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
