//! Bought audio goes with its ledger to another place.

use std::{collections::HashSet, io, sync::Arc, time::SystemTime};

use futures::{StreamExt, TryStreamExt, stream};

use super::{
    clips::keep_rows,
    folder::{CachedClip, ClipFolder, ClipPlace},
    home::Home,
    objects::{ClipBucket, Take},
};
use crate::domain::{environment::Environment, identity::Identity};
use crate::store::copy::progress::{CopyProgress, CopyStep, OnCopy};
use crate::store::engine::db::query_scalar;
use crate::store::{ClipTotals, Store, StoreError};

/// How many clips are copied to a store at the same time.
const AT_ONCE: usize = 8;
/// How many rows of clips a transaction writes.
const ROWS_AT_ONCE: usize = 64;

/// How bought audio goes to where the copy of a ledger keeps it.
#[derive(Debug)]
pub(in crate::store) struct Carrying {
    way: Way,
    /// Clips that came while the store could not be reached, and the store.
    unsent: Option<(ClipFolder, ClipBucket)>,
    /// The address that the copy has.
    address: Option<String>,
    /// The place as messages name it.
    shown: String,
}

#[derive(Debug)]
enum Way {
    /// It stays where it is, or there is none.
    Nothing,
    Files(ClipFolder, ClipFolder),
    Sent(ClipFolder, ClipBucket),
    Objects(ClipBucket, ClipBucket),
}

impl Store {
    /// Finds out how the bought audio of this ledger goes to its copy.
    ///
    /// # Errors
    /// The copy would have no place for it, or a place that it cannot be brought to.
    pub(in crate::store) async fn carrying(&self, to: &Self) -> Result<Carrying, StoreError> {
        let said: Option<String> = query_scalar("SELECT spool FROM ledger").fetch_one(&self.read).await?;
        let environment: Option<Environment> =
            query_scalar("SELECT environment FROM batches ORDER BY id LIMIT 1").fetch_optional(&self.read).await?;
        let environment = environment.unwrap_or(Environment::Live);
        let at = |address: &str| to.home_at(address, self.id(), environment);
        let here = match &said {
            Some(address) => Some(at(address)?),
            None => self.home_beside(),
        };
        let address = to.asked_home().map(str::to_owned).or_else(|| said.clone());
        let there = match &address {
            Some(address) => Some(at(address)?),
            None => to.home_beside(),
        };
        let shown = there.as_ref().map(Home::shown).unwrap_or_default();
        let way = match (here, &there) {
            (None, _) => Way::Nothing,
            (Some(here), Some(there)) if here.shown() == there.shown() => Way::Nothing,
            (Some(Home::Folder { folder, .. }), None) => match listed(&folder).await?.is_empty() {
                true => Way::Nothing,
                false => return Err(StoreError::NoSharedSpool { ledger: to.address().to_owned() }),
            },
            (Some(Home::Folder { folder: from, .. }), Some(Home::Folder { folder, .. })) => {
                Way::Files(from, folder.clone())
            }
            (Some(Home::Folder { folder: from, .. }), Some(Home::Objects { bucket, .. })) => {
                Way::Sent(from, bucket.clone())
            }
            (Some(Home::Objects { bucket: from, .. }), Some(Home::Objects { bucket, .. })) => {
                Way::Objects(from, bucket.clone())
            }
            // An object does not say what its file would be called.
            (Some(Home::Objects { address: has, .. }), there) => {
                let asked = there.as_ref().map(Home::shown).unwrap_or_default();
                return Err(StoreError::OtherSpool { ledger: self.address().to_owned(), has, asked });
            }
        };
        let unsent = match there {
            Some(Home::Objects { bucket, .. }) => Some((self.unsent_clips(), bucket)),
            _ => None,
        };
        let carrying = Carrying { way, unsent, address, shown };
        carrying.try_out().await?;
        Ok(carrying)
    }
}

impl Carrying {
    /// The address that the copy of the ledger has for its audio.
    pub(in crate::store) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::Spool { place: self.shown.clone(), source }
    }

    /// Finds out whether the place can be written, before anything is copied.
    async fn try_out(&self) -> Result<(), StoreError> {
        match &self.way {
            Way::Sent(_, to) | Way::Objects(_, to) => to.try_out().await.map_err(|e| self.failed(e)),
            Way::Nothing | Way::Files(..) => Ok(()),
        }
    }

    /// Copies it. What is there already stays.
    ///
    /// # Errors
    /// One of the two places cannot be used.
    pub(in crate::store) async fn run(&self, to: &Store, on: &OnCopy) -> Result<ClipTotals, StoreError> {
        let mut totals = match &self.way {
            Way::Nothing => ClipTotals::default(),
            Way::Files(from, folder) => self.copy_files(from, folder, on).await?,
            Way::Sent(from, bucket) => self.send(from, (bucket, to), on).await?,
            Way::Objects(from, bucket) => self.copy_objects(from, bucket, on).await?,
        };
        if let Some((unsent, bucket)) = &self.unsent {
            let sent = self.send_unsent(unsent, bucket).await?;
            totals.clips += sent.clips;
            totals.bytes += sent.bytes;
        }
        Ok(totals)
    }

    async fn copy_files(&self, from: &ClipFolder, to: &ClipFolder, on: &OnCopy) -> Result<ClipTotals, StoreError> {
        let clips = listed(from).await?;
        let totals = total(&clips);
        let (from, to, on) = (from.clone(), to.clone(), Arc::clone(on));
        let copied = tokio::task::spawn_blocking(move || {
            for (clip, done) in clips.iter().zip(1..) {
                to.adopt(&from, clip)?;
                on(CopyProgress { step: CopyStep::Speech, done, all: totals.clips });
            }
            Ok(())
        });
        copied.await.map_err(io::Error::other).flatten().map_err(|e| self.failed(e))?;
        Ok(totals)
    }

    /// Sends files to a store, and writes the rows of the clips: an object without a row counts as not kept.
    async fn send(
        &self,
        from: &ClipFolder,
        (bucket, to): (&ClipBucket, &Store),
        on: &OnCopy,
    ) -> Result<ClipTotals, StoreError> {
        let clips = listed(from).await?;
        let totals = total(&clips);
        let mut there = HashSet::new();
        to.all_clip_rows(|row| {
            there.insert((row.cache_key, row.bytes));
        })
        .await?;
        let mut done = 0;
        for set in clips.chunks(ROWS_AT_ONCE) {
            let new = set.iter().filter(|clip| !there.contains(&(clip.cache_key, clip.bytes)));
            let sent: Vec<_> = stream::iter(new)
                .map(|clip| async move { Ok::<_, io::Error>((sent(clip, bucket).await?, clip.bytes, clip.used_at)) })
                .buffer_unordered(AT_ONCE)
                .try_collect()
                .await
                .map_err(|e| self.failed(e))?;
            let rows: Arc<[_]> = sent.into();
            to.write(move |conn, _| {
                let rows = Arc::clone(&rows);
                Box::pin(async move {
                    for ((cache_key, take), bytes, used_at) in rows.iter() {
                        let used_at = used_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                        let used_at = i64::try_from(used_at.as_millis()).unwrap_or_default();
                        keep_rows(conn, std::iter::once((*cache_key, *take, *bytes)), used_at).await?;
                    }
                    Ok(())
                })
            })
            .await?;
            done += set.len() as u64;
            on(CopyProgress { step: CopyStep::Speech, done, all: totals.clips });
        }
        Ok(totals)
    }

    async fn copy_objects(&self, from: &ClipBucket, to: &ClipBucket, on: &OnCopy) -> Result<ClipTotals, StoreError> {
        // Also those without a row: such an object is the answer of a call that is still open.
        let takes = from.all_takes(|_| true).await.map_err(|e| self.failed(e))?;
        let there: HashSet<(Identity, u32)> = to
            .all_takes(|_| true)
            .await
            .map_err(|e| self.failed(e))?
            .iter()
            .map(|take| (take.cache_key, take.number))
            .collect();
        let totals = ClipTotals { clips: takes.len() as u64, bytes: takes.iter().map(|take| take.bytes).sum() };
        let is_new = |take: &&Take| !there.contains(&(take.cache_key, take.number));
        let mut done = there.len() as u64;
        let mut copied =
            stream::iter(takes.iter().filter(is_new)).map(|take| to.adopt(from, take)).buffer_unordered(AT_ONCE);
        while let Some(()) = copied.try_next().await.map_err(|e| self.failed(e))? {
            done += 1;
            on(CopyProgress { step: CopyStep::Speech, done, all: totals.clips });
        }
        Ok(totals)
    }

    /// Sends what waits on this machine for the store. The call that bought it is open, and its line finds the object.
    async fn send_unsent(&self, from: &ClipFolder, bucket: &ClipBucket) -> Result<ClipTotals, StoreError> {
        let clips = listed(from).await?;
        for clip in &clips {
            sent(clip, bucket).await.map_err(|e| self.failed(e))?;
        }
        Ok(total(&clips))
    }
}

/// Puts a file into a store. Returns which take it is.
async fn sent(clip: &CachedClip, bucket: &ClipBucket) -> io::Result<(Identity, u32)> {
    let ClipPlace::File(path) = &clip.place else { return Err(io::ErrorKind::NotFound.into()) };
    let audio = tokio::fs::read(path).await?.into();
    Ok((clip.cache_key, bucket.put(clip.cache_key, &audio, false).await?))
}

async fn listed(folder: &ClipFolder) -> Result<Vec<CachedClip>, StoreError> {
    let at = folder.clone();
    let walked = tokio::task::spawn_blocking(move || {
        let mut clips = Vec::new();
        at.walk(|clip| clips.push(clip)).map(|()| clips)
    });
    let walked = walked.await.map_err(io::Error::other).flatten();
    walked.map_err(|source| StoreError::Spool { place: folder.root().display().to_string(), source })
}

fn total(clips: &[CachedClip]) -> ClipTotals {
    ClipTotals { clips: clips.len() as u64, bytes: clips.iter().map(|clip| clip.bytes).sum() }
}
