//! Which processes work on the ledger: each has a row, and a lock that is released when it dies. Beside a file it is an OS
//! lock, which the kernel releases. On a server it is a lock of the writer's session, which the server releases.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, atomic::Ordering},
};

use futures::future::BoxFuture;

use crate::store::engine::db::{Conn, READ, query, query_as, query_scalar};
use crate::store::engine::rows;
use crate::store::engine::sessions::{insert, lock_session, unlock_session, unlock_shared};
use crate::store::{Store, StoreError, batches::control, batches::pauses, engine::beat, engine::tables};
use crate::{
    clock::Millis,
    domain::{
        job::BatchId,
        pool::Pool,
        process::{ProcessName, WORKED},
    },
};

/// Proof that this process works on the ledger. Once it is dropped or the process dies, others can claim its jobs.
#[derive(Debug)]
pub struct Enlisted {
    id: i64,
    /// Beside a file.
    _lock: Option<File>,
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
    /// Its number in its system.
    pub pid: i64,
    /// The name of its machine.
    pub host: String,
    /// The wavebatch that it is.
    pub version: String,
    /// When it began to work.
    pub started_at: Millis,
    /// Its last heartbeat.
    pub beat_at: Millis,
    /// Lines in its hands.
    pub lines: u64,
    /// Its calls in flight, by pool.
    pub calls: BTreeMap<Pool, u32>,
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

/// A process on a server whose session is gone is dead only after so long a silence, in ms: it may be connecting again.
const SILENCE_MS: i64 = 6_000;

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
        self.show_growth().await;
        let home = self.home_claim();
        self.register(settings, move |conn, now| {
            let home = home.clone();
            Box::pin(async move {
                let alone: bool =
                    query_scalar("SELECT NOT EXISTS (SELECT 1 FROM processes)").fetch_one(&mut *conn).await?;
                if alone {
                    // An outage counts as over where no process watched it: if it lasts, it is detected again.
                    pauses::reset_outage_timers(conn, now).await?;
                }
                home.make(conn).await
            })
        })
        .await
    }

    /// Registers this process as one that changes no row of a line, and starts its heartbeat: it has the ledger to itself. Its
    /// number is higher than `last`.
    pub(in crate::store) async fn enlist_to_copy(&self, last: i64) -> Result<Enlisted, StoreError> {
        self.register("{}".into(), move |conn, _| {
            Box::pin(async move { tables::number_after(conn, "processes", last).await })
        })
        .await
    }

    /// Registers a process that forgets lines, so that others see that it lives. `None`: it is registered already.
    pub async fn enlist_to_forget(&self) -> Result<Option<Enlisted>, StoreError> {
        if self.shared.process.load(Ordering::Acquire) != 0 {
            return Ok(None);
        }
        self.reap().await?;
        self.register("{}".into(), |_, _| Box::pin(async { Ok(()) })).await.map(Some)
    }

    async fn register<F>(&self, settings: String, before: F) -> Result<Enlisted, StoreError>
    where
        F: for<'c> Fn(&'c mut Conn, Millis) -> BoxFuture<'c, Result<(), StoreError>> + Send + Sync + 'static,
    {
        self.shared.settings.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&settings);
        let (file, before) = (self.file().map(Path::to_owned), Arc::new(before));
        // The lock is taken inside the transaction, so that no process sees the row without it.
        let (id, lock) = self
            .write(move |conn, now| {
                let (settings, file, before) = (settings.clone(), file.clone(), Arc::clone(&before));
                Box::pin(async move {
                    before(conn, now).await?;
                    let id = insert(conn, &settings, now).await?;
                    match file {
                        Some(ledger) => {
                            let path = lock_path(&ledger, id);
                            let failed = |source| StoreError::Path { path: path.clone(), source };
                            let lock = open_lock(&path).map_err(failed)?;
                            lock.lock().map_err(failed)?;
                            Ok((id, Some(lock)))
                        }
                        None => {
                            lock_session(conn, id).await?;
                            Ok((id, None))
                        }
                    }
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
        // Others may have taken it for dead meanwhile: then it has another number.
        let id = match self.shared.process.swap(0, Ordering::AcqRel) {
            0 => enlisted.id,
            id => id,
        };
        self.bury(id, None).await.map(drop)
    }

    /// Makes the jobs of processes that are gone due at once. Returns how many processes were gone.
    pub async fn reap(&self) -> Result<usize, StoreError> {
        let mut reaped = 0;
        for found in self.look(Looking::ToTake).await? {
            if let Some(Proof { _lock }) = found.proof {
                reaped += usize::from(self.bury(found.id, Some(found.beat_at)).await?);
            }
        }
        Ok(reaped)
    }

    /// The processes that registered for work on this ledger and did not leave it. It changes nothing: the locks of dead
    /// ones are only looked at.
    pub async fn registered(&self) -> Result<Vec<Registered>, StoreError> {
        let (mut lines, mut calls) = (self.lines_in_hand().await?, self.calls_in_flight().await?);
        let registered = |found: Found| {
            let life = match found.proof {
                Some(_) => Life::Dead,
                None if self.now() - found.beat_at > self.timing().lease_ms => Life::Silent,
                None => Life::AtWork,
            };
            let Found { id, pid, host, version, started_at, beat_at, settings, .. } = found;
            let (lines, calls) = (lines.remove(&id).unwrap_or(0), calls.remove(&id).unwrap_or_default());
            Registered { id, pid, host, version, started_at, beat_at, lines, calls, settings, life }
        };
        Ok(self.look(Looking::Only).await?.into_iter().map(registered).collect())
    }

    /// The settings of the processes at work.
    pub async fn settings_at_work(&self) -> Result<Vec<(ProcessName, String)>, StoreError> {
        let found = self.look(Looking::Only).await?.into_iter();
        let at_work = found.filter(|one| one.proof.is_none() && self.now() - one.beat_at <= self.timing().lease_ms);
        Ok(at_work.map(|one| (ProcessName { host: one.host, pid: one.pid }, one.settings)).collect())
    }

    /// Whether another process works this batch, so that it goes on without this one.
    pub async fn is_worked_by_others(&self, batch: BatchId) -> Result<bool, StoreError> {
        let (found, own) = (self.look(Looking::Only).await?, self.shared.process.load(Ordering::Acquire));
        let others = found.into_iter().filter(|one| one.proof.is_none() && one.id != own);
        let mut at_work = others.filter(|one| self.now() - one.beat_at <= self.timing().lease_ms);
        Ok(at_work.any(|one| {
            let settings: serde_json::Value = serde_json::from_str(&one.settings).unwrap_or_default();
            settings[WORKED].as_array().is_none_or(|batches| batches.contains(&batch.0.into()))
        }))
    }

    /// How many lines each process has in hand.
    async fn lines_in_hand(&self) -> Result<BTreeMap<i64, u64>, StoreError> {
        let rows: Vec<(i64, i64)> = query_as(
            r"-- processes::lines_in_hand
              SELECT process, count(*)
              FROM jobs
              WHERE process IS NOT NULL AND state = 'running'
              GROUP BY process",
        )
        .fetch_all(&self.read)
        .await?;
        Ok(rows.into_iter().map(|(process, lines)| (process, u64::try_from(lines).unwrap_or(0))).collect())
    }

    /// How many calls each process has in flight, by pool.
    async fn calls_in_flight(&self) -> Result<BTreeMap<i64, BTreeMap<Pool, u32>>, StoreError> {
        let rows = query(
            r"-- processes::calls_in_flight
              SELECT process, pool, count(*) AS calls
              FROM calls
              WHERE slot_until IS NOT NULL AND slot_until > $1 AND process IS NOT NULL
              GROUP BY process, pool",
        )
        .bind(self.now())
        .fetch_all(&self.read)
        .await?;
        let mut calls: BTreeMap<i64, BTreeMap<Pool, u32>> = BTreeMap::new();
        for row in rows {
            let (process, pool) = (row.try_get("process")?, row.try_get("pool")?);
            calls.entry(process).or_default().insert(pool, rows::count(&row, "calls")?);
        }
        Ok(calls)
    }

    /// All processes but this one without a lock of others, with a proof for each that is dead.
    async fn look(&self, looking: Looking) -> Result<Vec<Found>, StoreError> {
        self.shared.in_time(READ, Box::pin(self.look_in_time(looking))).await
    }

    async fn look_in_time(&self, looking: Looking) -> Result<Vec<Found>, StoreError> {
        let me = self.shared.process.load(Ordering::Acquire);
        let mut conn = self.read.acquire().await?;
        let rows = query("SELECT id, pid, host, version, started_at, beat_at, settings FROM processes ORDER BY id")
            .fetch_all(&mut conn)
            .await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            let (id, beat_at): (i64, Millis) = (row.try_get("id")?, row.try_get("beat_at")?);
            if id == me && looking == Looking::ToTake {
                continue;
            }
            let proof = match self.file() {
                _ if id == me => None,
                Some(ledger) => self.proof_by_file(&lock_path(ledger, id), beat_at, looking),
                None => self.proof_by_session(&mut conn, id, beat_at).await?,
            };
            found.push(Found {
                id,
                pid: row.try_get("pid")?,
                host: row.try_get("host")?,
                version: row.try_get("version")?,
                started_at: row.try_get("started_at")?,
                beat_at,
                settings: row.try_get("settings")?,
                proof,
            });
        }
        Ok(found)
    }

    /// A proof that a process is dead, beside a file: it does not hold its lock any more.
    fn proof_by_file(&self, path: &Path, beat_at: Millis, looking: Looking) -> Option<Proof> {
        let (lock, take): (_, fn(&File) -> _) = match looking {
            Looking::ToTake => (OpenOptions::new().write(true).open(path), File::try_lock),
            // A shared lock, so that two that look at once do not take each other for the process.
            Looking::Only => (File::open(path), File::try_lock_shared),
        };
        match lock {
            Ok(lock) => take(&lock).is_ok().then_some(Proof { _lock: Some(lock) }),
            // Another process reaped it and died just then; or the file of a live process was removed, and its
            // heartbeat shows that it lives.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                (self.now() - beat_at > self.timing().lease_ms).then_some(Proof { _lock: None })
            }
            Err(_) => None,
        }
    }

    /// The same on a server: its session's lock is free, it has been silent for a while, and the server has been up for
    /// longer than a lease. A restart of the server ends the sessions of the living.
    async fn proof_by_session(
        &self,
        conn: &mut Conn,
        process: i64,
        beat_at: Millis,
    ) -> Result<Option<Proof>, StoreError> {
        if self.now() - beat_at <= SILENCE_MS {
            return Ok(None);
        }
        let free: bool = query_scalar(
            "SELECT CASE WHEN wb_uptime_ms() > $2 THEN pg_try_advisory_lock_shared(wb_class(), CAST($1 AS INTEGER)) ELSE 1 = 0 END",
        )
        .bind(process)
        .bind(self.timing().lease_ms)
        .fetch_one(&mut *conn)
        .await?;
        if free {
            unlock_shared(conn, process).await?;
        }
        Ok(free.then_some(Proof { _lock: None }))
    }

    /// How many lines of a batch a process has in hand.
    pub async fn in_hand(&self, batch: BatchId, process: i64) -> Result<u64, StoreError> {
        let lines: i64 =
            query_scalar("SELECT count(*) FROM jobs WHERE process = $1 AND batch = $2 AND state = 'running'")
                .bind(process)
                .bind(batch)
                .fetch_one(&self.read)
                .await?;
        Ok(u64::try_from(lines).unwrap_or(0))
    }

    /// Removes a process, and makes its jobs due. Not if it has had a heartbeat since `silent_since`. Returns whether it did.
    ///
    /// The lock file is removed before the row. A row without its file belongs to a dead process; nobody would ever look
    /// for a file without its row.
    async fn bury(&self, id: i64, silent_since: Option<Millis>) -> Result<bool, StoreError> {
        let path = self.file().map(|ledger| lock_path(ledger, id));
        self.write(move |conn, now| {
            let path = path.clone();
            Box::pin(async move {
                match path {
                    Some(path) => drop(std::fs::remove_file(path)),
                    None if silent_since.is_none() => unlock_session(conn, id).await?,
                    None => {
                        let beat_at: Option<Millis> = query_scalar("SELECT beat_at FROM processes WHERE id = $1")
                            .bind(id)
                            .fetch_optional(&mut *conn)
                            .await?;
                        if beat_at != silent_since {
                            return Ok(false);
                        }
                    }
                }
                reap_process(conn, id, now).await?;
                Ok(true)
            })
        })
        .await
    }
}

/// Whether a lock is taken, or only looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looking {
    ToTake,
    Only,
}

/// That a process is dead, with its lock where that is a file's.
#[derive(Debug)]
struct Proof {
    _lock: Option<File>,
}

/// A process of the ledger.
#[derive(Debug)]
struct Found {
    id: i64,
    pid: i64,
    host: String,
    version: String,
    started_at: Millis,
    beat_at: Millis,
    settings: String,
    proof: Option<Proof>,
}

/// Makes its jobs due. Nobody waits for its calls any more; their slots expire after a grace time, since the vendor may
/// still work on them.
async fn reap_process(conn: &mut Conn, process: i64, now: Millis) -> Result<(), StoreError> {
    query("UPDATE jobs SET due_at = $1 WHERE process = $2 AND state = 'running'")
        .bind(now)
        .bind(process)
        .execute(&mut *conn)
        .await?;
    // Others that looked at its open calls while it lived put them back until those would have timed out.
    query(
        r"-- processes::bury
          UPDATE jobs
          SET due_at = $1
          WHERE state = 'queued' AND due_at > $1 AND id IN (
            SELECT c.job FROM calls AS c WHERE c.slot_until IS NOT NULL AND c.process = $2 AND c.state = 'sent')",
    )
    .bind(now)
    .bind(process)
    .execute(&mut *conn)
    .await?;
    let superseded: Vec<i64> = query_scalar(
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
    let unawaited = query(
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
    query("DELETE FROM processes WHERE id = $1").bind(process).execute(conn).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pool::Limits;
    use crate::store::tests::{ask, batch, claim, ledger, settle};
    use crate::store::{Opening, Store, To};

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

    #[tokio::test]
    async fn a_call_that_was_put_back_while_its_owner_lived_is_looked_at_when_it_is_dead() {
        let l = ledger().await;
        let batch = l.submit(batch("b"), 1).await;
        let slow = Store::open(Opening { clock: l.clock.clone(), ..Opening::new(&l.path) }).await.unwrap().0;
        let enlisted = slow.enlist("{}".into()).await.unwrap();
        let job = claim(&slow, 1).await.remove(0);
        slow.permit(ask(&job, Limits::default())).await.unwrap().unwrap();
        // Its heartbeat is late, so another has the line, and sees that it lives.
        let here = l.store.enlist("{}".into()).await.unwrap();
        l.clock.advance(l.store.timing().lease_ms + 1);
        let job = claim(&l.store, 1).await.remove(0);
        let far = l.clock.now() + 120_000;
        assert!(l.store.settle(settle(&job, To::Queued { due_at: far, call: None, source_try: false })).await.unwrap());
        assert!(claim(&l.store, 1).await.is_empty());
        drop(enlisted);
        assert_eq!(l.store.reap().await.unwrap(), 1);
        assert_eq!(claim(&l.store, 1).await.len(), 1);
        assert_eq!(l.store.in_hand(batch, here.id()).await.unwrap(), 1);
        l.store.leave(here).await.unwrap();
    }
}
