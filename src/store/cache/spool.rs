//! The bought audio in the spool: how much there is, and which of it may be removed.

use std::{collections::HashSet, fs, io, path::PathBuf, time::SystemTime};

use serde_json::json;

use crate::domain::identity::Identity;
use crate::store::{CachedClip, PartKeys, Scratch, Store, StoreError, engine::sql::sql};

/// How many files a transaction removes at most.
const AT_ONCE: usize = 200;

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
        self.audio_cache().sweep();
        Scratch::sweep(&self.spool());
        Ok(pruned)
    }

    pub(in crate::store) async fn seen(&self, tasks: &dyn PartKeys) -> Result<CacheContents, StoreError> {
        let audio_cache = self.audio_cache();
        let walked = tokio::task::spawn_blocking(move || {
            let mut clips = Vec::new();
            audio_cache.walk(|clip| clips.push(clip)).map(|()| clips)
        });
        let mut clips = walked.await.map_err(io::Error::other).flatten().map_err(|e| self.unreadable(e))?;
        clips.sort_unstable_by_key(|clip| (clip.used_at, clip.cache_key.0));
        Ok(CacheContents { clips, needed: self.needed_cache_keys(tasks).await? })
    }

    fn unreadable(&self, source: io::Error) -> StoreError {
        StoreError::Spool { path: self.audio_cache().root().to_owned(), source }
    }

    /// Removes files that no unfinished job needs. Returns which ones it left: those that are needed now, and those that
    /// were used since they were listed.
    ///
    /// A job that reuses a clip records that first, then searches for the file. The records are read and the files
    /// removed in one write transaction: if the record comes before it, the file stays; if after it, no file is found.
    pub(in crate::store) async fn remove(
        &self,
        clips: &[CachedClip],
    ) -> Result<(HashSet<Identity>, HashSet<Identity>), StoreError> {
        let set = json!(clips.iter().map(|clip| [clip.cache_key.hex()]).collect::<Vec<_>>()).to_string();
        let files: Vec<(Identity, PathBuf, SystemTime)> =
            clips.iter().map(|clip| (clip.cache_key, clip.path.clone(), clip.used_at)).collect();
        let (needed, used, failed) = self
            .write(move |conn, _| {
                let (set, files) = (set.clone(), files.clone());
                Box::pin(async move {
                    let needed: Vec<String> = sqlx::query_scalar(sql(NEEDED_OF)).bind(set).fetch_all(conn).await?;
                    let (mut spared, mut used, mut failed) = (HashSet::new(), HashSet::new(), None);
                    for (clip, path, seen) in files {
                        if needed.contains(&clip.hex()) {
                            spared.insert(clip);
                        } else if fs::metadata(&path).and_then(|meta| meta.modified()).is_ok_and(|at| at > seen) {
                            used.insert(clip);
                        } else if let Err(e) = fs::remove_file(&path)
                            && e.kind() != io::ErrorKind::NotFound
                        {
                            failed = Some((e.kind(), e.to_string()));
                            break;
                        }
                    }
                    Ok((spared, used, failed))
                })
            })
            .await?;
        match failed {
            None => Ok((needed, used)),
            Some((kind, words)) => Err(self.unreadable(io::Error::new(kind, words))),
        }
    }
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
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn seen(needed: &[u8]) -> CacheContents {
        let clip = |n: u8| CachedClip {
            cache_key: Identity([n; 16]),
            path: PathBuf::new(),
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
