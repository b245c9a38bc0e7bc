//! One sync of a folder for all callers that wait for one: many jobs rename into the same folder at the same time, and a sync
//! makes every rename durable that was made before it began.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

/// The folders that are being synced.
#[derive(Debug, Default)]
pub(super) struct Together {
    folders: Mutex<HashMap<PathBuf, Arc<SyncTurn>>>,
}

#[derive(Debug, Default)]
struct SyncTurn {
    state: Mutex<SyncState>,
    over: Condvar,
}

/// Rounds are counted from 1. A caller that comes during a round needs the next one, since the running one may have missed its
/// rename.
#[derive(Debug, Default)]
struct SyncState {
    waiting: usize,
    running: bool,
    begun: u64,
    done: u64,
    /// The last failed round, and its failure.
    failed: Option<(u64, SyncFailure)>,
}

/// The failure of a sync, for all its callers.
#[derive(Debug, Clone, Copy)]
struct SyncFailure {
    code: Option<i32>,
    kind: io::ErrorKind,
}

impl SyncFailure {
    fn of(error: &io::Error) -> Self {
        Self { code: error.raw_os_error(), kind: error.kind() }
    }

    fn error(self) -> io::Error {
        self.code.map_or_else(|| self.kind.into(), io::Error::from_raw_os_error)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Together {
    /// Returns once a sync of `folder` that began after this call has ended.
    pub(super) fn sync(&self, folder: &Path, sync: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
        let turn = Arc::clone(lock(&self.folders).entry(folder.to_owned()).or_default());
        let mut state = lock(&turn.state);
        state.waiting += 1;
        let mine = state.begun + 1;
        let result = loop {
            if state.done >= mine {
                break match state.failed {
                    // A later round's failure proves nothing about this one, but treating it as failed costs only one more
                    // delivery.
                    Some((round, failure)) if round >= mine => Err(failure.error()),
                    _ => Ok(()),
                };
            }
            if state.running {
                state = turn.over.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.running = true;
            state.begun += 1;
            let round = state.begun;
            drop(state);
            let result = sync(folder);
            state = lock(&turn.state);
            state.running = false;
            state.done = round;
            if let Err(e) = result {
                state.failed = Some((round, SyncFailure::of(&e)));
            }
            turn.over.notify_all();
        };
        state.waiting -= 1;
        let idle = state.waiting == 0;
        drop(state);
        if idle {
            // A caller that has just taken this entry from the map and does not wait yet syncs on its own: more work, but no
            // less safe.
            lock(&self.folders).remove(folder);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[test]
    fn those_who_come_during_a_round_share_the_next_one() {
        const OTHERS: usize = 8;
        let (together, rounds) = (Together::default(), AtomicUsize::new(0));
        let (inside, go) = (Barrier::new(2), Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let slow = |_: &Path| {
                    rounds.fetch_add(1, Ordering::SeqCst);
                    inside.wait();
                    go.wait();
                    Ok(())
                };
                together.sync(Path::new("/f"), slow).unwrap();
            });
            inside.wait();
            for _ in 0..OTHERS {
                scope.spawn(|| {
                    let quick = |_: &Path| {
                        rounds.fetch_add(1, Ordering::SeqCst);
                        Ok(())
                    };
                    together.sync(Path::new("/f"), quick).unwrap();
                });
            }
            // All the others wait before the first round ends.
            while lock(&lock(&together.folders)[Path::new("/f")].state).waiting < OTHERS + 1 {
                std::thread::yield_now();
            }
            go.wait();
        });
        assert_eq!(rounds.load(Ordering::SeqCst), 2);
        assert!(lock(&together.folders).is_empty());
    }

    #[test]
    fn a_failed_round_fails_all_who_waited_for_it() {
        let together = Together::default();
        let error = together.sync(Path::new("/f"), |_| Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let no_files = rustix::io::Errno::MFILE;
        let error = together.sync(Path::new("/f"), |_| Err(no_files.into())).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(no_files.raw_os_error()), "what it says is told");
        together.sync(Path::new("/f"), |_| Ok(())).unwrap();
    }
}
