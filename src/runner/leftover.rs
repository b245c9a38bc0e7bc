//! Files of the spool that are of use for one claim alone.

use std::{collections::HashSet, path::PathBuf};

use super::job::JobInHand;
use crate::store::{Scratch, Store};

/// A file of the spool that is of use for one claim alone. It goes with this value, or once its process is dead.
#[derive(Debug)]
pub struct Leftover {
    /// Where it is.
    pub path: PathBuf,
}

impl Leftover {
    /// A name that nobody else ever has: the token tells the process and this very claim. `what`: its ending.
    #[must_use]
    pub fn new(on: JobInHand<'_>, what: &str) -> Self {
        let job = on.job();
        let path = folder(on.store())
            .join(format!("{}-{}", job.token.0 >> 32, job.token.0 & 0xffff_ffff))
            .with_extension(format!("{}.{what}", job.job.0));
        Self { path }
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn folder(store: &Store) -> PathBuf {
    store.spool().join("fetch")
}

/// Removes what dead processes left in the spool.
pub(super) async fn sweep(store: &Store) {
    let Ok(alive) = store.live_processes().await else { return };
    let alive: HashSet<String> = alive.into_iter().map(|id| id.to_string()).collect();
    let (spool, audio_cache, folder) = (store.spool(), store.audio_cache(), folder(store));
    let _ = tokio::task::spawn_blocking(move || {
        Scratch::sweep(&spool);
        audio_cache.sweep();
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|n| n.split_once('-')).map(|(process, _)| process.to_owned());
            if owner.is_some_and(|process| !alive.contains(&process)) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    })
    .await;
}
