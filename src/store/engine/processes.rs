//! Which processes work on the ledger: each has a row, and an OS lock that the kernel releases when it dies.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use sqlx::{Row, SqliteConnection};

use crate::store::{Store, StoreError, batches::control, batches::pauses, engine::beat};
use crate::{clock::Millis, domain::job::BatchId};

/// Proof that this process works on the ledger. Once it is dropped or the process dies, others can claim its jobs.
#[derive(Debug)]
pub struct Enlisted {
    id: i64,
    _lock: File,
}

impl Enlisted {
    /// The process's number in the ledger.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.id
    }
}

/// A process that registered for work and did not leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its number in the ledger.
    pub id: i64,
    /// Its number in the system.
    pub pid: i64,
    /// Its limits.
    pub settings: String,
    /// Whether it lives.
    pub life: Life,
}

/// Whether a registered process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It has a heartbeat, and nothing proves that it is dead.
    AtWork,
    /// It holds its lock, or its lock cannot be looked at, and its heartbeat is older than a lease.
    Silent,
    /// Nobody holds its lock.
    Dead,
}

fn lock_path(ledger: &Path, process: i64) -> PathBuf {
    let mut name = ledger.file_name().unwrap_or_default().to_os_string();
    name.push(format!("-process-{process}.lock"));
    ledger.with_file_name(name)
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

impl Store {
    /// Registers this process as a worker, and starts its heartbeat. `settings` are its limits, for `status` to compare.
    ///
    /// # Errors
    /// The ledger or its directory cannot be written.
    pub async fn enlist(&self, settings: String) -> Result<Enlisted, StoreError> {
        self.watch_clock().await?;
        self.reap().await?;
        let path = self.path.clone();
        // The lock is taken inside the transaction, so that no process sees the row without it.
        let (id, lock) = self
            .write(move |conn, now| {
                let (settings, ledger) = (settings.clone(), path.clone());
                Box::pin(async move {
                    let alone: bool =
                        sqlx::query_scalar("SELECT NOT EXISTS (SELECT 1 FROM processes)").fetch_one(&mut *conn).await?;
                    if alone {
                        // An outage counts as over where no process watched it: if it lasts, it is detected again.
                        pauses::reset_outage_timers(conn, now).await?;
                    }
                    let id: i64 = sqlx::query(
                        r"-- processes::enlist
                          INSERT INTO processes (pid, started_at, beat_at, settings)
                          VALUES ($1, $2, $3, $4)
                          RETURNING id",
                    )
                    .bind(i64::from(std::process::id()))
                    .bind(now)
                    .bind(now)
                    .bind(settings)
                    .fetch_one(conn)
                    .await?
                    .get("id");
                    let path = lock_path(&ledger, id);
                    let failed = |source| StoreError::Path { path: path.clone(), source };
                    let lock = open_lock(&path).map_err(failed)?;
                    lock.lock().map_err(failed)?;
                    Ok((id, lock))
                })
            })
            .await?;
        self.shared.heartbeat_at.store(self.clock().boot(), Ordering::Relaxed);
        self.shared.process.store(id, Ordering::Release);
        Ok(Enlisted { id, _lock: lock })
    }

    /// Unregisters this process: the jobs that it still had are due at once.
    ///
    /// # Errors
    /// The ledger cannot be written; the lease then expires by itself.
    pub async fn leave(&self, enlisted: Enlisted) -> Result<(), StoreError> {
        self.shared.process.store(0, Ordering::Release);
        self.reap_process(enlisted.id).await
    }

    /// Makes the jobs of processes that are gone due at once. Returns how many processes were gone.
    pub async fn reap(&self) -> Result<usize, StoreError> {
        let me = self.shared.process.load(Ordering::Acquire);
        let others: Vec<(i64, Millis)> =
            sqlx::query_as("SELECT id, beat_at FROM processes WHERE id <> $1").bind(me).fetch_all(&self.read).await?;
        let mut reaped = 0;
        for (id, beat_at) in others {
            let locked = OpenOptions::new().write(true).open(lock_path(&self.path, id));
            if let Some(_lock) = self.proof_of_death(locked, beat_at, File::try_lock) {
                self.reap_process(id).await?;
                reaped += 1;
            }
        }
        Ok(reaped)
    }

    /// `Some` where a process is proved dead, with the lock that it does not hold any more.
    fn proof_of_death(
        &self,
        lock: io::Result<File>,
        beat_at: Millis,
        take: impl FnOnce(&File) -> Result<(), TryLockError>,
    ) -> Option<Option<File>> {
        match lock {
            Ok(lock) => take(&lock).is_ok().then_some(Some(lock)),
            // Another process reaped it and died just then; or the file of a live process was removed, and its
            // heartbeat shows that it lives.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                (self.now() - beat_at > self.timing().lease_ms).then_some(None)
            }
            Err(_) => None,
        }
    }

    /// The processes that registered for work on this ledger and did not leave it. It changes nothing: the locks of dead
    /// ones are only looked at.
    pub async fn registered(&self) -> Result<Vec<Registered>, StoreError> {
        let rows: Vec<(i64, i64, Millis, String)> =
            sqlx::query_as("SELECT id, pid, beat_at, settings FROM processes ORDER BY id")
                .fetch_all(&self.read)
                .await?;
        let me = self.shared.process.load(Ordering::Acquire);
        let look = |(id, pid, beat_at, settings)| {
            let lock = File::open(lock_path(&self.path, id));
            // A shared lock, so that two that look at once do not take each other for the process.
            let is_dead = id != me && self.proof_of_death(lock, beat_at, File::try_lock_shared).is_some();
            let life = match is_dead {
                true => Life::Dead,
                false if self.now() - beat_at > self.timing().lease_ms => Life::Silent,
                false => Life::AtWork,
            };
            Registered { id, pid, settings, life }
        };
        Ok(rows.into_iter().map(look).collect())
    }

    /// How many lines of a batch a process has in hand.
    pub async fn in_hand(&self, batch: BatchId, process: i64) -> Result<u64, StoreError> {
        let lines: i64 =
            sqlx::query_scalar("SELECT count(*) FROM jobs WHERE process = $1 AND batch = $2 AND state = 'running'")
                .bind(process)
                .bind(batch)
                .fetch_one(&self.read)
                .await?;
        Ok(u64::try_from(lines).unwrap_or(0))
    }

    /// The lock file is removed before the row. A row without its file belongs to a dead process; nobody would ever look
    /// for a file without its row.
    async fn reap_process(&self, id: i64) -> Result<(), StoreError> {
        let path = lock_path(&self.path, id);
        self.write(move |conn, now| {
            let path = path.clone();
            Box::pin(async move {
                let _ = std::fs::remove_file(path);
                reap_process(conn, id, now).await
            })
        })
        .await
    }
}

/// Makes its jobs due. Nobody waits for its calls any more; their slots expire after a grace time, since the vendor may
/// still work on them.
async fn reap_process(conn: &mut SqliteConnection, process: i64, now: Millis) -> Result<(), StoreError> {
    sqlx::query("UPDATE jobs SET due_at = $1 WHERE process = $2 AND state = 'running'")
        .bind(now)
        .bind(process)
        .execute(&mut *conn)
        .await?;
    let superseded: Vec<i64> = sqlx::query_scalar(
        r"-- processes::bury
          UPDATE jobs
          SET token = NULL, process = NULL
          WHERE process = $1 AND state = 'superseded'
          RETURNING id",
    )
    .bind(process)
    .fetch_all(&mut *conn)
    .await?;
    control::release_successors(conn, &superseded, now).await?;
    let unawaited = sqlx::query(
        r"-- processes::bury
          SELECT c.id
          FROM calls AS c
          JOIN jobs AS j ON j.id = c.job
          WHERE c.slot_until IS NOT NULL AND c.process = $1 AND c.state IN ('sent', 'accepted') AND j.due_at IS NULL",
    )
    .bind(process)
    .fetch_all(&mut *conn)
    .await?;
    beat::orphan_calls(conn, process, now).await?;
    // Nobody looks at these calls again (their lines were changed or cancelled): what they may have cost is booked now.
    control::give_up_all(conn, &unawaited, now).await?;
    for job in superseded {
        control::give_up_open_calls(conn, job, now).await?;
    }
    sqlx::query("DELETE FROM processes WHERE id = $1").bind(process).execute(conn).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{batch, claim, ledger};
    use crate::store::{Opening, Store};

    #[tokio::test]
    async fn a_lock_goes_before_its_row_and_a_row_without_one_is_a_dead_processs() {
        let l = ledger().await;
        let other = Store::open(Opening::new(&l.path)).await.unwrap().0;
        let alive = other.enlist("{}".into()).await.unwrap();
        assert_eq!(l.store.reap().await.unwrap(), 0);
        assert_eq!(l.store.registered().await.unwrap()[0].life, Life::AtWork);
        // The file was removed: as long as the process has a heartbeat, it lives.
        std::fs::remove_file(lock_path(&l.path, alive.id())).unwrap();
        assert_eq!(l.store.reap().await.unwrap(), 0);
        // Or its reaper died between the two steps.
        assert_eq!(l.store.registered().await.unwrap()[0].life, Life::AtWork);
        drop(alive);
        other.shared.process.store(0, Ordering::Release);
        l.clock.advance(l.store.timing().lease_ms + 1_000);
        assert_eq!(l.store.reap().await.unwrap(), 1);
        assert_eq!(l.store.live_processes().await.unwrap(), [0_i64; 0]);
        let next = other.enlist("{}".into()).await.unwrap();
        let path = lock_path(&l.path, next.id());
        assert!(path.exists());
        other.leave(next).await.unwrap();
        assert!(!path.exists() && l.store.live_processes().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_process_whose_lock_is_free_is_dead_at_once() {
        let l = ledger().await;
        let batch = l.submit(batch("b"), 3).await;
        let killed = Store::open(Opening { clock: l.clock.clone(), ..Opening::new(&l.path) }).await.unwrap().0;
        let enlisted = killed.enlist("{}".into()).await.unwrap();
        let id = enlisted.id();
        assert_eq!(claim(&killed, 2).await.len(), 2);
        assert_eq!(l.store.registered().await.unwrap()[0].life, Life::AtWork);
        drop(enlisted);
        let found = l.store.registered().await.unwrap();
        assert_eq!((found.len(), found[0].id, found[0].life), (1, id, Life::Dead));
        assert_eq!(l.store.in_hand(batch, id).await.unwrap(), 2);
        assert_eq!(l.store.registered().await.unwrap(), found, "looking changes nothing");
        assert_eq!(l.store.reap().await.unwrap(), 1);
        assert!(l.store.registered().await.unwrap().is_empty());
    }
}
