//! The bought speech of the spool: how much there is, and what of it may go.

use std::{collections::HashSet, fs, io, path::PathBuf, time::SystemTime};

use serde_json::json;

use super::{KeptSound, Scratch, Store, StoreError, sql::sql};
use crate::domain::identity::Identity;

/// Files that a transaction removes at most.
const AT_ONCE: usize = 200;

/// So many sounds, and the length of their files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sounds {
    /// How many.
    pub sounds: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpoolView {
    /// All of it.
    pub all: Sounds,
    /// What unfinished jobs need.
    pub needed: Sounds,
    /// When a sound was bought or used, the longest ago.
    pub oldest: Option<SystemTime>,
    /// The same, the latest.
    pub newest: Option<SystemTime>,
}

/// What a sound has to go for. At least one is set.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpoolLimits {
    /// It was not used since.
    pub unused_since: Option<SystemTime>,
    /// The shelf is larger: the longest unused go until it is not.
    pub max_bytes: Option<u64>,
}

/// What went, and what stayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpoolPruned {
    /// What went, or would go.
    pub taken: Sounds,
    /// What stayed because unfinished jobs need it.
    pub needed: Sounds,
    /// What stayed within the limits.
    pub within: Sounds,
}

/// The shelf as it was a moment ago.
pub(super) struct Seen {
    /// The longest unused first.
    pub(super) sounds: Vec<KeptSound>,
    pub(super) needed: HashSet<Identity>,
}

impl Store {
    /// What bought speech is kept.
    ///
    /// # Errors
    /// The ledger or the spool cannot be read.
    pub async fn spool_view(&self) -> Result<SpoolView, StoreError> {
        let Seen { sounds, needed } = self.seen().await?;
        let mut view = SpoolView::default();
        for sound in &sounds {
            view.all.add(sound);
            if needed.contains(&sound.fingerprint) {
                view.needed.add(sound);
            }
        }
        view.oldest = sounds.first().map(|sound| sound.used_at);
        view.newest = sounds.last().map(|sound| sound.used_at);
        Ok(view)
    }

    /// Removes bought speech, the longest unused first, and what dead processes left; never what an unfinished job needs.
    ///
    /// # Errors
    /// The ledger or the spool cannot be read, or a file cannot be removed.
    pub async fn prune_spool(&self, limits: SpoolLimits, dry_run: bool) -> Result<SpoolPruned, StoreError> {
        let seen = self.seen().await?;
        let going = going(&seen, limits);
        let mut pruned = SpoolPruned::default();
        for (sound, goes) in seen.sounds.iter().zip(&going) {
            match () {
                () if *goes && dry_run => pruned.taken.add(sound),
                () if *goes => {}
                () if seen.needed.contains(&sound.fingerprint) => pruned.needed.add(sound),
                () => pruned.within.add(sound),
            }
        }
        if dry_run {
            return Ok(pruned);
        }
        let going: Vec<_> =
            seen.sounds.into_iter().zip(going).filter(|(_, goes)| *goes).map(|(sound, _)| sound).collect();
        for set in going.chunks(AT_ONCE) {
            let (needed, used) = self.remove(set).await?;
            for sound in set {
                match sound.fingerprint {
                    own if needed.contains(&own) => pruned.needed.add(sound),
                    own if used.contains(&own) => pruned.within.add(sound),
                    _ => pruned.taken.add(sound),
                }
            }
        }
        self.shelf().sweep();
        Scratch::sweep(&self.spool());
        Ok(pruned)
    }

    pub(super) async fn seen(&self) -> Result<Seen, StoreError> {
        let shelf = self.shelf();
        let walked = tokio::task::spawn_blocking(move || {
            let mut sounds = Vec::new();
            shelf.walk(|sound| sounds.push(sound)).map(|()| sounds)
        });
        let mut sounds = walked.await.map_err(io::Error::other).flatten().map_err(|e| self.unreadable(e))?;
        sounds.sort_unstable_by_key(|sound| (sound.used_at, sound.fingerprint.0));
        Ok(Seen { sounds, needed: self.needed_cache_keys().await? })
    }

    fn unreadable(&self, source: io::Error) -> StoreError {
        StoreError::Spool { path: self.shelf().root().to_owned(), source }
    }

    /// Removes files that no unfinished job needs. Says which ones it left: those that are needed now, and those that were
    /// used since they were seen.
    ///
    /// Who reuses a sound notes that first, and looks at its file then. The notes are read and the files removed inside
    /// one write transaction: a note stands before it, and the file stays; or is written after it, and no file is found.
    pub(super) async fn remove(
        &self,
        sounds: &[KeptSound],
    ) -> Result<(HashSet<Identity>, HashSet<Identity>), StoreError> {
        let set = json!(sounds.iter().map(|sound| [sound.fingerprint.hex()]).collect::<Vec<_>>()).to_string();
        let files: Vec<(Identity, PathBuf, SystemTime)> =
            sounds.iter().map(|sound| (sound.fingerprint, sound.path.clone(), sound.used_at)).collect();
        let (needed, used, failed) = self
            .write(move |conn, _| {
                let (set, files) = (set.clone(), files.clone());
                Box::pin(async move {
                    let needed: Vec<String> = sqlx::query_scalar(sql(NEEDED_OF)).bind(set).fetch_all(conn).await?;
                    let (mut spared, mut used, mut failed) = (HashSet::new(), HashSet::new(), None);
                    for (sound, path, seen) in files {
                        if needed.contains(&sound.hex()) {
                            spared.insert(sound);
                        } else if fs::metadata(&path).and_then(|meta| meta.modified()).is_ok_and(|at| at > seen) {
                            used.insert(sound);
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

/// Of these sounds, those that the spool must keep: as [`Store::needed_cache_keys`] says of all, but for those that nobody
/// has asked for yet.
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

impl Sounds {
    fn add(&mut self, sound: &KeptSound) {
        self.sounds += 1;
        self.bytes += sound.bytes;
    }
}

/// Which of them go, the longest unused first.
fn going(seen: &Seen, limits: SpoolLimits) -> Vec<bool> {
    let mut left: u64 = seen.sounds.iter().map(|sound| sound.bytes).sum();
    let goes = |sound: &KeptSound| {
        let unused = limits.unused_since.is_some_and(|since| sound.used_at < since);
        let goes =
            (unused || limits.max_bytes.is_some_and(|most| left > most)) && !seen.needed.contains(&sound.fingerprint);
        if goes {
            left -= sound.bytes;
        }
        goes
    };
    seen.sounds.iter().map(goes).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn seen(needed: &[u8]) -> Seen {
        let sound = |n: u8| KeptSound {
            fingerprint: Identity([n; 16]),
            path: PathBuf::new(),
            bytes: 10,
            used_at: at(u64::from(n) * 100),
        };
        Seen { sounds: (1..=5).map(sound).collect(), needed: needed.iter().map(|n| Identity([*n; 16])).collect() }
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
