//! The space that the ledger uses on disk, and how much of it is kept answers.

use std::{fs, path::Path};

use sqlx::Row;

use crate::domain::job::BatchId;
use crate::store::{Store, StoreError, engine::rows, engine::space};

/// How many answers are read to estimate the size of a batch's answers: reading each would read most of the ledger.
const SAMPLE: u32 = 100;

/// The space that the ledger uses on disk, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LedgerSizes {
    /// The file.
    pub file: u64,
    /// Free pages in it.
    pub free: u64,
    /// The write-ahead log beside it.
    pub wal: u64,
    /// The folder beside it for what is too large for it.
    pub spool: u64,
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
        let (pages, free) = space::page_bytes(&mut *self.read.acquire().await?).await?;
        let mut wal = self.path.as_os_str().to_os_string();
        wal.push("-wal");
        Ok(LedgerSizes {
            file: fs::metadata(self.path()).map(|file| file.len()).unwrap_or(pages),
            free,
            wal: fs::metadata(wal).map_or(0, |file| file.len()),
            spool: within(&self.spool()),
        })
    }

    /// The batches that have kept answers. It reads only indexes, except for a sample of each batch.
    pub async fn kept_by_batch(&self) -> Result<Vec<KeptAnswers>, StoreError> {
        // Ids of calls grow with time: no call is read of batches that are older than the oldest answer.
        let found = sqlx::query(
            r"-- sizes::kept_by_batch
              WITH oldest AS MATERIALIZED (SELECT min(call) AS call FROM answers) SELECT b.id,
                (SELECT count(*) FROM oldest o CROSS JOIN calls c CROSS JOIN answers a WHERE c.batch = b.id AND c.id >= o.call AND a.call = c.id) AS n, (SELECT CAST(avg(size) AS DOUBLE PRECISION) FROM (SELECT length(a.body) AS size FROM oldest o CROSS JOIN calls c CROSS JOIN answers a WHERE c.batch = b.id AND c.id >= o.call AND a.call = c.id LIMIT $1)) AS size
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
