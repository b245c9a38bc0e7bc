//! Spool files that are used by one claim only.

use std::{collections::HashSet, path::PathBuf};

use super::job::JobContext;
use crate::store::{Scratch, Store};

/// A spool file that is used by one claim only. Dropping this value removes it; if the process dies, a later sweep does.
#[derive(Debug)]
pub struct Leftover {
    /// Where it is.
    pub path: PathBuf,
}

impl Leftover {
    /// A unique name: the token identifies the process and the claim. `what`: its extension.
    #[must_use]
    pub fn new(on: JobContext<'_>, what: &str) -> Self {
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

/// Removes the files that dead processes left in the spool.
pub(super) async fn sweep(store: &Store) {
    let Ok(alive) = store.live_processes().await else { return };
    let alive: HashSet<String> = alive.into_iter().map(|id| id.to_string()).collect();
    let (spool, clips, folder) = (store.spool(), store.clip_folder(), folder(store));
    let _ = tokio::task::spawn_blocking(move || {
        Scratch::sweep(&spool);
        if let Some(clips) = clips {
            clips.sweep();
        }
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
