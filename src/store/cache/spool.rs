//! The bought audio in the spool: how much there is, and which of it may be removed.

use std::{
    collections::HashSet,
    fs, io,
    time::{Duration, SystemTime},
};

use futures::{StreamExt, stream};

use serde_json::json;

use crate::domain::identity::Identity;
use crate::store::engine::db::{Conn, query_scalar};
use crate::store::{
    CachedClip, ClipPlace, PartKeys, Scratch, Store, StoreError,
    cache::audio_cache::failed,
    cache::clips::{DAY, day_of},
    cache::home::Home,
    cache::objects::ClipBucket,
};

/// How many clips a transaction removes at most.
const AT_ONCE: usize = 200;
/// How many objects are removed at the same time.
const OBJECTS_AT_ONCE: usize = 8;
/// An object without a row is swept when it is older than this.
const ORPHAN_AGE: Duration = DAY;

/// A number of clips, and the length of their files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClipTotals {
    /// How many clips.
    pub clips: u64,
    /// Bytes.
    pub bytes: u64,
}

/// The kept audio.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpoolView {
    /// All clips.
    pub all: ClipTotals,
    /// The clips that unfinished jobs need.
    pub needed: ClipTotals,
    /// When the least recently used clip was bought or used.
    pub oldest: Option<SystemTime>,
    /// When the most recently used clip was bought or used.
    pub newest: Option<SystemTime>,
}

/// The limits beyond which a clip is removed. At least one is set.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpoolLimits {
    /// Clips that were not used since then are removed.
    pub unused_since: Option<SystemTime>,
    /// While the audio cache is larger, its least recently used clips are removed.
    pub max_bytes: Option<u64>,
}

/// What was removed, and what stayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpoolPruned {
    /// What was removed, or would be.
    pub taken: ClipTotals,
    /// What stayed because unfinished jobs need it.
    pub needed: ClipTotals,
    /// What stayed within the limits.
    pub within: ClipTotals,
}

/// The audio cache as it was a moment ago.
pub(in crate::store) struct CacheContents {
    /// The least recently used first.
    pub(in crate::store) clips: Vec<CachedClip>,
    pub(in crate::store) needed: HashSet<Identity>,
}

impl Store {
    /// Which bought audio is kept.
    ///
    /// # Errors
    /// The ledger or the spool cannot be read.
    pub async fn spool_view(&self, tasks: &dyn PartKeys) -> Result<SpoolView, StoreError> {
        let CacheContents { clips, needed } = self.seen(tasks).await?;
        let mut view = SpoolView::default();
        for clip in &clips {
            view.all.add(clip);
            if needed.contains(&clip.cache_key) {
                view.needed.add(clip);
            }
        }
        view.oldest = clips.first().map(|clip| clip.used_at);
        view.newest = clips.last().map(|clip| clip.used_at);
        Ok(view)
    }

    /// Removes bought audio, least recently used first, and files of dead processes; never what an unfinished job needs.
    ///
    /// # Errors
    /// The ledger or the spool cannot be read, or a file cannot be removed.
    pub async fn prune_spool(
        &self,
        tasks: &dyn PartKeys,
        limits: SpoolLimits,
        dry_run: bool,
    ) -> Result<SpoolPruned, StoreError> {
        let seen = self.seen(tasks).await?;
        let going = going(&seen, limits);
        let mut pruned = SpoolPruned::default();
        for (clip, goes) in seen.clips.iter().zip(&going) {
            match () {
                () if *goes && dry_run => pruned.taken.add(clip),
                () if *goes => {}
                () if seen.needed.contains(&clip.cache_key) => pruned.needed.add(clip),
                () => pruned.within.add(clip),
            }
        }
        if dry_run {
            return Ok(pruned);
        }
        let going: Vec<_> = seen.clips.into_iter().zip(going).filter(|(_, goes)| *goes).map(|(clip, _)| clip).collect();
        for set in going.chunks(AT_ONCE) {
            let (needed, used) = self.remove(set).await?;
            for clip in set {
                match clip.cache_key {
                    own if needed.contains(&own) => pruned.needed.add(clip),
                    own if used.contains(&own) => pruned.within.add(clip),
                    _ => pruned.taken.add(clip),
                }
            }
        }
        match self.clip_home().await? {
            Home::Folder { folder, .. } => folder.sweep(),
            home @ Home::Objects { bucket, .. } => {
                self.sweep_objects(bucket).await.map_err(|e| e.unwrap_or_else(|io| failed(home, io)))?;
            }
        }
        Scratch::sweep(&self.spool());
        Ok(pruned)
    }

    /// Removes objects that no row has: replaced takes, and those whose row was removed by a process that died then.
    async fn sweep_objects(&self, bucket: &ClipBucket) -> Result<(), Result<StoreError, io::Error>> {
        let old = bucket.all_takes(|take| !take.is_younger(ORPHAN_AGE)).await.map_err(Err)?;
        for set in old.chunks(AT_ONCE) {
            let takes: Vec<_> = set.iter().map(|take| (take.cache_key, take.number)).collect();
            let orphans = self.orphans(&takes).await.map_err(Ok)?;
            remove_all(bucket, orphans).await.map_err(Err)?;
        }
        Ok(())
    }

    pub(in crate::store) async fn seen(&self, tasks: &dyn PartKeys) -> Result<CacheContents, StoreError> {
        let mut clips = Vec::new();
        match self.clip_home().await? {
            home @ Home::Folder { folder, .. } => {
                let folder = folder.clone();
                let walked = tokio::task::spawn_blocking(move || {
                    let mut clips = Vec::new();
                    folder.walk(|clip| clips.push(clip)).map(|()| clips)
                });
                clips = walked.await.map_err(io::Error::other).flatten().map_err(|e| failed(home, e))?;
            }
            Home::Objects { .. } => {
                let now = SystemTime::now();
                self.all_clip_rows(|row| {
                    let place = ClipPlace::Object(row.take);
                    // The latest moment of that day.
                    let after = SystemTime::UNIX_EPOCH + DAY * u32::try_from(row.used_day + 1).unwrap_or_default();
                    let used_at = (after - Duration::from_millis(1)).min(now);
                    clips.push(CachedClip { cache_key: row.cache_key, place, bytes: row.bytes, used_at });
                })
                .await?;
            }
        }
        clips.sort_unstable_by_key(|clip| (clip.used_at, clip.cache_key.0));
        Ok(CacheContents { clips, needed: self.needed_cache_keys(tasks).await? })
    }

    /// Removes clips that no unfinished job needs. Returns which ones it left: those that are needed now, and those that were
    /// used since they were listed.
    ///
    /// A job that reuses a clip records that first, then searches for it. The records are read and the files, or the rows of
    /// objects, removed in one write transaction: if the record comes before it, the clip stays; if after it, none is found.
    pub(in crate::store) async fn remove(
        &self,
        clips: &[CachedClip],
    ) -> Result<(HashSet<Identity>, HashSet<Identity>), StoreError> {
        let home = self.clip_home().await?;
        let set = json!(clips.iter().map(|clip| [clip.cache_key.hex()]).collect::<Vec<_>>()).to_string();
        let going = clips.to_vec();
        let removed = self.write(move |conn, now| {
            let (set, going) = (set.clone(), going.clone());
            Box::pin(async move {
                let needed: Vec<String> = query_scalar(NEEDED_OF).bind(set).fetch_all(&mut *conn).await?;
                let needed: HashSet<String> = needed.into_iter().collect();
                let (needed, going): (Vec<_>, Vec<_>) =
                    going.into_iter().partition(|clip| needed.contains(&clip.cache_key.hex()));
                let needed = needed.iter().map(|clip| clip.cache_key).collect();
                let mut removed = Removed { needed, ..Removed::default() };
                removed.remove_files(&going);
                removed.remove_rows(conn, &going, now).await?;
                Ok(removed)
            })
        });
        let Removed { needed, used, objects, failure } = removed.await?;
        if let Some((kind, words)) = failure {
            return Err(failed(home, io::Error::new(kind, words)));
        }
        if let Home::Objects { bucket, .. } = home {
            remove_all(bucket, objects).await.map_err(|e| failed(home, e))?;
        }
        Ok((needed, used))
    }
}

/// What became of clips that were to be removed.
#[derive(Debug, Default)]
struct Removed {
    needed: HashSet<Identity>,
    used: HashSet<Identity>,
    /// Objects whose rows are gone.
    objects: Vec<(Identity, u32)>,
    failure: Option<(io::ErrorKind, String)>,
}

impl Removed {
    /// Removes the files among these. After a failure nothing more is tried.
    fn remove_files(&mut self, clips: &[CachedClip]) {
        for clip in clips {
            let ClipPlace::File(path) = &clip.place else { continue };
            if fs::metadata(path).and_then(|meta| meta.modified()).is_ok_and(|at| at > clip.used_at) {
                self.used.insert(clip.cache_key);
            } else if let Err(e) = fs::remove_file(path)
                && e.kind() != io::ErrorKind::NotFound
            {
                self.failure = Some((e.kind(), e.to_string()));
                return;
            }
        }
    }

    /// Removes the rows of the objects among these. The objects go later: until then nothing finds them.
    async fn remove_rows(&mut self, conn: &mut Conn, clips: &[CachedClip], now: i64) -> Result<(), StoreError> {
        let seen_day = |clip: &CachedClip| {
            let used = clip.used_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            i64::try_from(used.as_millis()).map_or(i64::MAX, |ms| day_of(ms.min(now)))
        };
        let objects: Vec<_> = clips
            .iter()
            .filter_map(|clip| match clip.place {
                ClipPlace::Object(take) => Some((clip, take)),
                ClipPlace::File(_) => None,
            })
            .collect();
        if objects.is_empty() {
            return Ok(());
        }
        let set: Vec<_> =
            objects.iter().map(|(clip, take)| json!([clip.cache_key.hex(), take, seen_day(clip)])).collect();
        let gone: Vec<Identity> = query_scalar(
            r"-- spool::remove_rows
              DELETE FROM clips
              WHERE EXISTS (
                SELECT 1 FROM rows_of($1) AS r
                WHERE clips.cache_key = unhex(r.v ->> 0) AND clips.take = CAST(r.v ->> 1 AS BIGINT)
                  AND clips.used_day <= CAST(r.v ->> 2 AS BIGINT))
              RETURNING cache_key",
        )
        .bind(json!(set).to_string())
        .fetch_all(conn)
        .await?;
        let gone: HashSet<Identity> = gone.into_iter().collect();
        for (clip, take) in objects {
            match gone.contains(&clip.cache_key) {
                true => self.objects.push((clip.cache_key, take)),
                false => drop(self.used.insert(clip.cache_key)),
            }
        }
        Ok(())
    }
}

/// Removes objects, several at a time. The first failure ends it: what is left is swept later.
async fn remove_all(bucket: &ClipBucket, takes: impl IntoIterator<Item = (Identity, u32)>) -> io::Result<()> {
    let removals = takes.into_iter().map(|(clip, take)| bucket.remove(clip, take));
    let mut removals = stream::iter(removals).buffer_unordered(OBJECTS_AT_ONCE);
    while let Some(removed) = removals.next().await {
        removed?;
    }
    Ok(())
}

/// The clips among these that the spool must keep, by the rule of [`Store::needed_cache_keys`], except for clips that no
/// job has planned yet.
const NEEDED_OF: &str = r"-- spool::needed_of
        SELECT r.v ->> 0
        FROM rows_of($1) AS r
        WHERE EXISTS (
            SELECT 1 FROM calls AS c JOIN jobs AS j ON j.id = c.job
            WHERE c.cache_key = unhex(r.v ->> 0) AND c.cache_key IS NOT NULL AND c.state = 'answered'
              AND (j.due_at IS NOT NULL OR j.token IS NOT NULL))
          OR EXISTS (
            SELECT 1 FROM job_parts AS p JOIN jobs AS j ON j.id = p.job
            WHERE p.cache_key = unhex(r.v ->> 0) AND p.reused = 1 AND (j.due_at IS NOT NULL OR j.token IS NOT NULL))
          OR EXISTS (
            SELECT 1 FROM calls AS c
            WHERE c.cache_key = unhex(r.v ->> 0) AND c.cache_key IS NOT NULL AND c.state IN ('sent', 'accepted'))";

impl ClipTotals {
    fn add(&mut self, clip: &CachedClip) {
        self.clips += 1;
        self.bytes += clip.bytes;
    }
}

/// Which of them are removed, the least recently used first.
fn going(seen: &CacheContents, limits: SpoolLimits) -> Vec<bool> {
    let mut left: u64 = seen.clips.iter().map(|clip| clip.bytes).sum();
    let goes = |clip: &CachedClip| {
        let unused = limits.unused_since.is_some_and(|since| clip.used_at < since);
        let goes =
            (unused || limits.max_bytes.is_some_and(|most| left > most)) && !seen.needed.contains(&clip.cache_key);
        if goes {
            left -= clip.bytes;
        }
        goes
    };
    seen.clips.iter().map(goes).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn seen(needed: &[u8]) -> CacheContents {
        let clip = |n: u8| CachedClip {
            cache_key: Identity([n; 16]),
            place: ClipPlace::File(PathBuf::new()),
            bytes: 10,
            used_at: at(u64::from(n) * 100),
        };
        CacheContents {
            clips: (1..=5).map(clip).collect(),
            needed: needed.iter().map(|n| Identity([*n; 16])).collect(),
        }
    }

    #[test]
    fn the_longest_unused_go_first_and_what_is_needed_stays() {
        let gone = |needed: &[u8], unused_since: Option<u64>, max_bytes: Option<u64>| {
            let limits = SpoolLimits { unused_since: unused_since.map(at), max_bytes };
            let which = going(&seen(needed), limits);
            (1..).zip(which).filter(|(_, goes)| *goes).map(|(n, _)| n).collect::<Vec<u8>>()
        };
        assert_eq!(gone(&[], Some(300), None), [1, 2]);
        assert_eq!(gone(&[], None, Some(30)), [1, 2]);
        assert_eq!(gone(&[], None, Some(29)), [1, 2, 3]);
        assert_eq!(gone(&[1], None, Some(30)), [2, 3], "what stays counts too");
        assert_eq!(gone(&[], Some(200), Some(20)), [1, 2, 3]);
        assert_eq!(gone(&[1, 2, 3, 4, 5], Some(900), Some(0)), [0_u8; 0]);
        assert_eq!(gone(&[], Some(0), Some(50)), [0_u8; 0]);
    }
}
