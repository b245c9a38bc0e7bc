//! Whether bought audio is where the rows say that it is.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use futures::TryStreamExt;

use super::{
    audio_cache::failed,
    folder::{CachedClip, ClipFolder},
    home::Home,
    objects::ClipBucket,
};
use crate::domain::{cost::MicroUsd, identity::Identity};
use crate::store::engine::db::query;
use crate::store::queries::check::Finding;
use crate::store::{PartKeys, Store, StoreError};

/// How bought audio and rows agree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpoolCheck {
    /// The place, as messages name it; `None` where the ledger has none.
    pub place: Option<String>,
    /// How many clips were looked at.
    pub clips: u64,
    /// What is not as it must be.
    pub findings: Vec<Finding>,
    /// Clips that no row knows: answers of calls whose end is not noted yet, or of another ledger. They do no harm.
    pub unknown: u64,
    /// Clips that wait on this machine for the store.
    pub unsent: u64,
}

/// Clips that were paid for and are not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MissingClips {
    /// How many of them unfinished lines need: these are bought again.
    pub needed: u64,
    /// What that costs, if each costs what it cost.
    pub needed_cost: MicroUsd,
    /// How many others. They are bought again only if their lines are delivered in another form, or said again.
    pub others: u64,
    /// What these cost.
    pub others_cost: MicroUsd,
}

impl MissingClips {
    fn add(&mut self, is_needed: bool, cost: MicroUsd) {
        let (clips, of) = match is_needed {
            true => (&mut self.needed, &mut self.needed_cost),
            false => (&mut self.others, &mut self.others_cost),
        };
        *clips += 1;
        *of = of.saturating_add(cost);
    }
}

const MISSING: &str = "clips are bought again when their lines go on: restore the spool from a backup, or accept that";
const DAMAGED: &str = "restore the spool from a backup; else remove the file, and it is bought again when it is needed";

impl Store {
    /// Compares bought audio with the rows. Clips of finished lines may have been pruned: only what unfinished lines need must
    /// be there.
    ///
    /// # Errors
    /// The ledger or the place of the clips cannot be read.
    pub async fn check_spool(&self, tasks: &dyn PartKeys) -> Result<SpoolCheck, StoreError> {
        let home = match self.clip_home().await {
            Ok(home) => home,
            Err(StoreError::NoSharedSpool { .. }) => return Ok(SpoolCheck::default()),
            Err(e) => return Err(e),
        };
        let mut check = match home {
            Home::Folder { folder, .. } => self.check_folder(tasks, (home, folder)).await?,
            Home::Objects { bucket, .. } => self.check_objects((home, bucket)).await?,
        };
        check.place = Some(home.shown());
        Ok(check)
    }

    /// The clips that rows know and that are not where the ledger keeps them. Of those that no unfinished line needs, only
    /// these count: others may have been pruned.
    ///
    /// # Errors
    /// The ledger or the place of the clips cannot be read.
    pub async fn missing_clips(
        &self,
        tasks: &dyn PartKeys,
        had: &HashSet<Identity>,
    ) -> Result<MissingClips, StoreError> {
        let mut missing = MissingClips::default();
        let home = match self.clip_home().await {
            Ok(home) => home,
            Err(StoreError::NoSharedSpool { .. }) => return Ok(missing),
            Err(e) => return Err(e),
        };
        let bought = self.bought_clips().await?;
        let needed = self.needed_cache_keys(tasks).await?;
        let (there, rows) = match home {
            Home::Folder { folder, .. } => (keys_in(home, folder).await?, None),
            Home::Objects { bucket, .. } => {
                let mut rows = HashSet::new();
                self.all_clip_rows(|row| {
                    rows.insert(row.cache_key);
                })
                .await?;
                let takes = bucket.all_takes(|_| true).await.map_err(|e| failed(home, e))?;
                (takes.iter().map(|take| take.cache_key).collect(), Some(rows))
            }
        };
        for (clip, of) in bought.iter().filter(|(clip, of)| of.counts && !there.contains(*clip)) {
            let is_needed = needed.contains(clip);
            let is_known = rows.as_ref().map_or_else(|| had.contains(clip), |rows| rows.contains(clip));
            if is_needed || is_known {
                missing.add(is_needed, of.cost);
            }
        }
        Ok(missing)
    }

    async fn check_folder(
        &self,
        tasks: &dyn PartKeys,
        (home, folder): (&Home, &ClipFolder),
    ) -> Result<SpoolCheck, StoreError> {
        let folder = folder.clone();
        // The rows first: a clip is there before its row.
        let bought = self.bought_clips().await?;
        let needed = self.needed_cache_keys(tasks).await?;
        let walked = tokio::task::spawn_blocking(move || {
            let mut clips: HashMap<Identity, u64> = HashMap::new();
            let mut add = |clip: CachedClip| {
                clips.insert(clip.cache_key, clip.bytes);
            };
            folder.walk(&mut add).map(|()| clips)
        });
        let clips = walked.await.map_err(io::Error::other).flatten().map_err(|e| failed(home, e))?;
        let is_missing =
            |(clip, of): &(&Identity, &Bought)| of.counts && needed.contains(*clip) && !clips.contains_key(*clip);
        let missing = bought.iter().filter(is_missing).map(|(clip, _)| clip.hex()).collect();
        let is_damaged = |clip: &Identity, bytes: u64| {
            bought.get(clip).is_some_and(|of| !of.lengths.is_empty() && !of.lengths.contains(&bytes))
        };
        let damaged = clips.iter().filter(|(clip, bytes)| is_damaged(clip, **bytes));
        let damaged = damaged.map(|(clip, bytes)| format!("{} ({bytes} bytes)", clip.hex())).collect();
        Ok(SpoolCheck {
            clips: clips.len() as u64,
            findings: [
                Finding::of("a clip that an unfinished line has paid for is not in the spool", missing, MISSING),
                Finding::of("a clip has another length than when it was bought", damaged, DAMAGED),
            ]
            .into_iter()
            .flatten()
            .collect(),
            unknown: clips.keys().filter(|clip| !bought.contains_key(*clip)).count() as u64,
            ..SpoolCheck::default()
        })
    }

    async fn check_objects(&self, (home, bucket): (&Home, &ClipBucket)) -> Result<SpoolCheck, StoreError> {
        let mut rows = Vec::new();
        self.all_clip_rows(|row| rows.push(row)).await?;
        let takes = bucket.all_takes(|_| true).await.map_err(|e| failed(home, e))?;
        let there: HashMap<(Identity, u32), u64> =
            takes.iter().map(|take| ((take.cache_key, take.number), take.bytes)).collect();
        let (mut missing, mut damaged) = (Vec::new(), Vec::new());
        for row in &rows {
            let name = bucket.name(row.cache_key, row.take);
            match there.get(&(row.cache_key, row.take)) {
                // Somebody may have pruned it just now.
                None if self.clip_rows(&[row.cache_key]).await?.contains(row) => missing.push(name),
                Some(bytes) if *bytes != row.bytes => damaged.push(format!("{name} ({bytes} bytes)")),
                _ => {}
            }
        }
        let known: std::collections::HashSet<_> = rows.iter().map(|row| (row.cache_key, row.take)).collect();
        let unsent = self.unsent_clips();
        let unsent = tokio::task::spawn_blocking(move || {
            let mut clips = 0;
            unsent.walk(|_| clips += 1).map(|()| clips)
        });
        Ok(SpoolCheck {
            clips: takes.len() as u64,
            findings: [
                Finding::of("a clip that has a row is not in the store", missing, MISSING),
                Finding::of("a clip has another length than its row says", damaged, DAMAGED),
            ]
            .into_iter()
            .flatten()
            .collect(),
            unknown: there.keys().filter(|take| !known.contains(*take)).count() as u64,
            unsent: unsent.await.map_err(io::Error::other).flatten().map_err(|e| failed(home, e))?,
            ..SpoolCheck::default()
        })
    }

    /// The clips that calls bought.
    async fn bought_clips(&self) -> Result<HashMap<Identity, Bought>, StoreError> {
        let mut bought: HashMap<Identity, Bought> = HashMap::new();
        let mut conn = self.read.acquire().await?;
        let mut rows = query(
            r"-- check::bought_clips
              SELECT cache_key, clip_bytes, cost, state = 'answered' AS counts
              FROM calls
              WHERE cache_key IS NOT NULL AND state IN ('answered', 'replaced', 'surplus')",
        )
        .fetch(&mut conn);
        while let Some(row) = rows.try_next().await? {
            let clip = bought.entry(row.try_get("cache_key")?).or_default();
            if row.try_get::<bool, _>("counts")? {
                clip.counts = true;
                clip.cost = MicroUsd(row.try_get("cost")?);
            }
            let bytes: Option<i64> = row.try_get("clip_bytes")?;
            clip.lengths.extend(bytes.and_then(|bytes| u64::try_from(bytes).ok()));
        }
        Ok(bought)
    }
}

/// A clip that calls bought.
#[derive(Debug, Default)]
struct Bought {
    /// Whether one of them is the answer that counts.
    counts: bool,
    /// The lengths of all of them that are known: a take that was bought again replaces the file of the one before.
    lengths: Vec<u64>,
    /// What the one that counts cost.
    cost: MicroUsd,
}

/// The clips that a folder has.
async fn keys_in(home: &Home, folder: &ClipFolder) -> Result<HashSet<Identity>, StoreError> {
    let folder = folder.clone();
    let walked = tokio::task::spawn_blocking(move || {
        let mut clips = HashSet::new();
        folder
            .walk(|clip| {
                clips.insert(clip.cache_key);
            })
            .map(|()| clips)
    });
    walked.await.map_err(io::Error::other).flatten().map_err(|e| failed(home, e))
}
