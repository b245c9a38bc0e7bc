//! Copying a whole ledger to another place, whatever engines hold the two.
//!
//! Both ledgers are marked before the first row is copied, so nobody else works on either. The copying process registers
//! itself on both as a process at work: its death is noticed as that of any other. Rows go over in the order of their keys,
//! in pages that are committed one after the other. So a copying that was cut off goes on after the last row that is there.

mod error;
pub(in crate::store) mod progress;
mod rows;

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::crash;

pub use error::CopyError;
pub use progress::{CopyProgress, CopyStep, OnCopy};
pub use rows::TableCopied;

use crate::store::cache::carry::Carrying;
use crate::store::engine::db::{Conn, Engine, query, query_scalar};
use crate::store::engine::mark::{CopyEnd, CopyMark};
use crate::store::engine::tables::{self, Table};
use crate::store::{ClipTotals, Enlisted, Life, Store, StoreError};

/// The tables whose rows are copied. Each comes after those that it refers to.
pub(in crate::store) const TABLES: &[&str] = &[
    "batches",
    "texts",
    "forgets",
    "jobs",
    "job_parts",
    "hearings",
    "clips",
    "calls",
    "spending",
    "spend_notices",
    "answers",
    "callbacks",
    "outputs",
    "forget_items",
    "pools",
    "dictionaries",
    "notices",
    "schedules",
    "runs",
];

/// How long to wait for a process that was at work on a server a moment ago: its death shows only then.
const WAIT: Duration = Duration::from_secs(8);

/// A copying under way.
#[derive(Debug)]
pub struct LedgerCopy {
    from: Store,
    to: Store,
    id: String,
    enlisted: (Enlisted, Enlisted),
    tables: Vec<Table>,
    carrying: Carrying,
}

/// What a copying is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// The target is empty.
    Fresh,
    /// The target has some of the rows already.
    GoOn,
    /// What the target has counts for nothing: the source was worked since, or it differs.
    Anew,
}

impl LedgerCopy {
    /// That both addresses lead to this ledger.
    #[must_use]
    pub fn same(ledger: &Store) -> CopyError {
        CopyError::Same { from: ledger.address().to_owned(), to: ledger.address().to_owned() }
    }

    /// Refuses a ledger that is in use. Dead processes give back what they had.
    ///
    /// # Errors
    /// A process works on it.
    pub async fn refuse_used(ledger: &Store) -> Result<(), CopyError> {
        alone(ledger).await
    }

    /// Begins to copy a ledger, or goes on with a copying that was cut off. Marks both ledgers.
    ///
    /// # Errors
    /// One of the two is in use; the target holds something else; or bought speech has no place there.
    pub async fn begin(from: Store, to: Store) -> Result<Self, CopyError> {
        let (id, start) = Self::plan(&from, &to).await?;
        alone(&from).await?;
        alone(&to).await?;
        let carrying = from.carrying(&to).await?;
        let me = from.enlist_to_copy(0).await?;
        // No number of a process that the rows name is given again.
        let last = me.id();
        let enlisted = (me, to.enlist_to_copy(last).await?);
        let tables = {
            let mut conn = from.read.acquire().await?;
            let mut found = Vec::new();
            for name in TABLES {
                found.push(Table::of(&mut conn, name).await?);
            }
            found
        };
        let copying = Self { from, to, id, enlisted, tables, carrying };
        match copying.mark(start).await {
            Ok(()) => Ok(copying),
            Err(e) => {
                copying.give_up().await;
                Err(e)
            }
        }
    }

    /// Which copying it is, and how it begins.
    async fn plan(from: &Store, to: &Store) -> Result<(String, Start), CopyError> {
        let marked = |store: &Store, mark| StoreError::Copied { ledger: store.address().to_owned(), mark };
        let (source, target) = (CopyMark::find(&from.read).await?, CopyMark::find(&to.read).await?);
        let copied = match target {
            None if from.id() == to.id() => {
                return Err(CopyError::Same { from: from.address().to_owned(), to: to.address().to_owned() });
            }
            None => None,
            Some(mark) if mark.end == CopyEnd::Target && from.id() == to.id() => Some(mark.id),
            Some(mark) => return Err(marked(to, mark).into()),
        };
        match source {
            None => Ok((Uuid::now_v7().to_string(), copied.map_or(Start::Fresh, |_| Start::Anew))),
            Some(mark) if mark.end == CopyEnd::Target => Err(marked(from, mark).into()),
            Some(mark) if copied.as_ref() == Some(&mark.id) => Ok((mark.id, Start::GoOn)),
            Some(mark) if copied.is_some() && mark.end == CopyEnd::Source && mark.with == to.address() => {
                Ok((mark.id, Start::Anew))
            }
            // It was killed before it marked the target.
            Some(mark) if copied.is_none() && mark.end == CopyEnd::Source && mark.with == to.address() => {
                Ok((mark.id, Start::Fresh))
            }
            Some(mark) => Err(marked(from, mark).into()),
        }
    }

    async fn mark(&self, start: Start) -> Result<(), CopyError> {
        let mark = |end, with: &Store| CopyMark { end, with: with.address().to_owned(), id: self.id.clone() };
        let (source, me) = (mark(CopyEnd::Source, &self.to), self.enlisted.0.id());
        let lease_ms = self.from.timing().lease_ms;
        let marked = self.from.write(move |conn, now| {
            let source = source.clone();
            Box::pin(async move {
                let refused = match other_than(me, conn).await? {
                    None => submitted_since(now - lease_ms, conn).await?,
                    other => other,
                };
                if refused.is_none() {
                    CopyMark::set(Some(&source), conn).await?;
                }
                Ok(refused)
            })
        });
        if let Some(refused) = marked.await? {
            return Err(refused.of(&self.from));
        }
        crash::point("copy-source-marked");
        let (target, me) = (mark(CopyEnd::Target, &self.from), self.enlisted.1.id());
        let ledger_id = self.from.id().to_owned();
        let marked = self.to.write(move |conn, _| {
            let (target, ledger_id) = (target.clone(), ledger_id.clone());
            Box::pin(async move {
                if start == Start::Anew {
                    tables::empty(conn, TABLES).await?;
                }
                let refused = match other_than(me, conn).await? {
                    None if start == Start::Fresh => first_with_rows(conn).await?,
                    other => other,
                };
                if refused.is_none() {
                    if start != Start::GoOn && conn.engine() == Engine::Postgres {
                        // Nothing was ever signed with those of an empty ledger; those of the source follow.
                        query("DELETE FROM secrets").execute(&mut *conn).await?;
                    }
                    query("UPDATE ledger SET id = $1").bind(ledger_id).execute(&mut *conn).await?;
                    CopyMark::set(Some(&target), conn).await?;
                }
                Ok(refused)
            })
        });
        let Some(refused) = marked.await? else { return Ok(()) };
        if start == Start::Fresh {
            // Nothing was copied: the source is as it was.
            self.from.write(|conn, _| Box::pin(async move { CopyMark::set(None, conn).await })).await?;
        }
        Err(refused.of(&self.to))
    }

    /// The ledger, and its copy.
    #[must_use]
    pub const fn ends(&self) -> (&Store, &Store) {
        (&self.from, &self.to)
    }

    /// Copies what is not there yet, and compares all of it afterwards.
    ///
    /// # Errors
    /// A value is one that the target cannot hold; or the two differ afterwards.
    pub async fn copy(&self, on: &OnCopy) -> Result<Vec<TableCopied>, CopyError> {
        self.copy_rows(on).await?;
        self.compare(on).await
    }

    /// Copies the bought speech that the target is to keep in another place. Returns how much that is in all.
    ///
    /// # Errors
    /// One of the two places cannot be used.
    pub async fn carry(&self, on: &OnCopy) -> Result<ClipTotals, CopyError> {
        Ok(self.carrying.run(&self.to, on).await?)
    }

    /// Ends it: the target is a ledger from now on, and the source says that it was moved, unless it is to be kept.
    ///
    /// # Errors
    /// One of the two cannot be written; the same copying can then be ended later.
    pub async fn end(self, keep_source: bool) -> Result<(), CopyError> {
        self.copy_ledger_row().await?;
        crash::point("copy-before-moved");
        let moved = CopyMark { end: CopyEnd::Moved, with: self.to.address().to_owned(), id: self.id.clone() };
        let moved = (!keep_source).then_some(moved);
        self.from
            .write(move |conn, _| {
                let moved = moved.clone();
                Box::pin(async move { CopyMark::set(moved.as_ref(), conn).await })
            })
            .await?;
        crash::point("copy-after-moved");
        self.to.write(|conn, _| Box::pin(async move { CopyMark::set(None, conn).await })).await?;
        self.give_up().await;
        Ok(())
    }

    /// Stops where it is. Both ledgers keep their marks.
    pub async fn give_up(self) {
        let Self { from, to, enlisted, .. } = self;
        // Else the process counts as dead a little later.
        let _ = from.leave(enlisted.0).await;
        let _ = to.leave(enlisted.1).await;
        from.close().await;
        to.close().await;
    }

    /// The one row of the ledger itself, and the numbers that come next.
    async fn copy_ledger_row(&self) -> Result<(), CopyError> {
        let mut conn = self.from.read.acquire().await?;
        let row = query("SELECT id, created_at, newest_at, seq FROM ledger").fetch_one(&mut conn).await?;
        let (id, created_at): (String, i64) = (row.try_get("id")?, row.try_get("created_at")?);
        let (newest_at, seq): (i64, i64) = (row.try_get("newest_at")?, row.try_get("seq")?);
        let mut last = Vec::new();
        let numbered = self.tables.iter().filter(|table| table.numbers_its_rows()).map(|table| table.name);
        for table in numbered.chain(["processes"]) {
            last.push((table, tables::last_number(&mut conn, table).await?));
        }
        drop(conn);
        let spool = self.carrying.address().map(str::to_owned);
        self.to
            .write(move |conn, _| {
                let (id, spool, last) = (id.clone(), spool.clone(), last.clone());
                Box::pin(async move {
                    query("UPDATE ledger SET id = $1, created_at = $2, newest_at = $3, seq = $4, spool = $5")
                        .bind(id)
                        .bind(created_at)
                        .bind(newest_at)
                        .bind(seq)
                        .bind(spool)
                        .execute(&mut *conn)
                        .await?;
                    for (table, last) in last {
                        tables::number_after(conn, table, last).await?;
                    }
                    Ok(())
                })
            })
            .await?;
        Ok(())
    }
}

impl Store {
    /// What a copying made of this ledger; `None` if it is in use.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn copy_mark(&self) -> Result<Option<CopyMark>, StoreError> {
        CopyMark::find(&self.read).await
    }

    /// Takes a ledger back into use that was moved, or whose copying was given up. Returns what it was; `None` if it is in
    /// use anyway. Once it has been worked, a copying that was cut off begins anew.
    ///
    /// # Errors
    /// It is an unfinished copy, or somebody is copying it.
    pub async fn reopen(&self) -> Result<Option<CopyMark>, CopyError> {
        let Some(mark) = CopyMark::find(&self.read).await? else { return Ok(None) };
        if mark.end == CopyEnd::Target {
            return Err(StoreError::Copied { ledger: self.address().to_owned(), mark }.into());
        }
        alone(self).await?;
        let refused = self.write(|conn, _| {
            Box::pin(async move {
                let other = other_than(0, conn).await?;
                if other.is_none() {
                    CopyMark::set(None, conn).await?;
                }
                Ok(other)
            })
        });
        refused.await?.map_or(Ok(Some(mark)), |refused| Err(refused.of(self)))
    }
}

/// Waits until nobody else works on a ledger. Dead processes give back what they had.
async fn alone(store: &Store) -> Result<(), CopyError> {
    let began = Instant::now();
    loop {
        store.reap().await?;
        let others = store.registered().await?;
        if others.is_empty() {
            return Ok(());
        }
        if store.file().is_some() || began.elapsed() > WAIT {
            let ledger = store.address().to_owned();
            let is_silent = others.iter().any(|process| process.life != Life::AtWork);
            return Err(CopyError::InUse {
                ledger,
                processes: others.iter().map(CopyError::named).collect(),
                is_silent,
            });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Why a transaction did not mark its ledger.
#[derive(Debug)]
enum Refused {
    /// A process began to work on it just now.
    InUse(i64),
    /// A batch is being submitted to it.
    Submitting(String),
    /// This table has rows.
    NotEmpty(&'static str),
}

impl Refused {
    fn of(self, ledger: &Store) -> CopyError {
        let ledger = ledger.address().to_owned();
        match self {
            Self::InUse(pid) => {
                CopyError::InUse { ledger, processes: vec![format!("process {pid}")], is_silent: false }
            }
            Self::Submitting(batch) => CopyError::Submitting { ledger, batch },
            Self::NotEmpty(table) => CopyError::NotEmpty { ledger, table },
        }
    }
}

async fn other_than(me: i64, conn: &mut Conn) -> Result<Option<Refused>, StoreError> {
    let other = query_scalar("SELECT pid FROM processes WHERE id <> $1 ORDER BY id LIMIT 1").bind(me);
    Ok(other.fetch_optional(conn).await?.map(Refused::InUse))
}

async fn submitted_since(since: i64, conn: &mut Conn) -> Result<Option<Refused>, StoreError> {
    let batch = query_scalar("SELECT name FROM batches WHERE submitting_at > $1 ORDER BY id LIMIT 1").bind(since);
    Ok(batch.fetch_optional(conn).await?.map(Refused::Submitting))
}

async fn first_with_rows(conn: &mut Conn) -> Result<Option<Refused>, StoreError> {
    for table in TABLES {
        if query_scalar(format!("SELECT EXISTS (SELECT 1 FROM {table})")).fetch_one(&mut *conn).await? {
            return Ok(Some(Refused::NotEmpty(table)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
