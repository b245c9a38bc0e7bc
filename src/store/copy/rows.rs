//! The rows of all tables: copied by pages, then compared.

use std::sync::Arc;

use futures::TryStreamExt;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{CopyError, CopyProgress, CopyStep, LedgerCopy, OnCopy};
use crate::crash;
use crate::domain::hex::hex;
use crate::store::StoreError;
use crate::store::engine::db::{Cell, Conn, Readers, Value, query, query_scalar};
use crate::store::engine::mark::{CopyEnd, CopyMark};
use crate::store::engine::tables::{self, Kind, Table};

/// How many rows are asked for at once.
const PAGE: usize = 4_000;
/// After how many bytes the rows that were read are written.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// A table that was copied and compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableCopied {
    /// Its name.
    pub table: &'static str,
    /// How many rows it has.
    pub rows: u64,
    /// SHA-256 of its rows, in the order of their keys: the same on both sides.
    pub sha256: String,
}

/// Rows that were read.
type Rows = Vec<Vec<Value<'static>>>;

impl Table {
    /// Whether the engine numbers its rows.
    pub(super) fn numbers_its_rows(&self) -> bool {
        matches!(*self.key, [at] if self.columns[at].name == "id" && self.columns[at].kind == Kind::Int)
    }

    /// The statement for the rows after a key, in the order of their keys.
    fn page(&self, is_first: bool) -> String {
        let (columns, key) = (self.column_list(), self.key_list(""));
        let after = match is_first {
            true => String::new(),
            false => {
                let places: Vec<String> = (1..=self.key.len()).map(|place| format!("${place}")).collect();
                format!("WHERE ({key}) > ({})", places.join(", "))
            }
        };
        format!("SELECT {columns} FROM {} {after} ORDER BY {key} LIMIT {PAGE}", self.name)
    }

    /// The key of a row.
    fn key_of(&self, row: &[Value<'static>]) -> Vec<Value<'static>> {
        self.key.iter().map(|at| row[*at].clone()).collect()
    }

    /// The highest key that a ledger has.
    async fn last_key(&self, readers: &Readers) -> Result<Option<Vec<Value<'static>>>, StoreError> {
        let text =
            format!("SELECT {} FROM {} ORDER BY {} LIMIT 1", self.column_list(), self.name, self.key_list(" DESC"));
        let row = query(text).fetch_optional(readers).await?;
        row.map(|row| Ok(self.key_of(&self.values(&row)?))).transpose()
    }

    async fn count(&self, readers: &Readers) -> Result<u64, StoreError> {
        let rows: i64 = query_scalar(format!("SELECT count(*) FROM {}", self.name)).fetch_one(readers).await?;
        Ok(u64::try_from(rows).unwrap_or(0))
    }
}

/// Counts rows for whoever is told.
struct Counter<'a> {
    on: &'a OnCopy,
    step: CopyStep,
    done: u64,
    all: u64,
}

impl Counter<'_> {
    fn add(&mut self, rows: usize) {
        self.done += rows as u64;
        (self.on)(CopyProgress { step: self.step, done: self.done, all: self.all.max(self.done) });
    }
}

impl LedgerCopy {
    /// Copies the rows that the target does not have yet.
    pub(super) async fn copy_rows(&self, on: &OnCopy) -> Result<(), CopyError> {
        let mut all = 0;
        for table in &self.tables {
            all += table.count(&self.from.read).await?;
        }
        let mut counter = Counter { on, step: CopyStep::Rows, done: 0, all };
        for table in &self.tables {
            let table = Arc::new(table.clone());
            let after = table.last_key(&self.to.read).await?;
            if after.is_some() {
                counter.add(usize::try_from(table.count(&self.to.read).await?).unwrap_or(0));
            }
            let (send, mut rows) = mpsc::channel(1);
            let read = async {
                let mut conn = self.from.read.acquire().await?;
                self.read_rows(&table, after, &mut conn, send).await
            };
            let write = async {
                while let Some(page) = rows.recv().await {
                    counter.add(page.len());
                    let (table, page) = (Arc::clone(&table), Arc::new(page));
                    self.to
                        .write(move |conn, _| {
                            let (table, page) = (Arc::clone(&table), Arc::clone(&page));
                            Box::pin(async move { tables::insert_rows(conn, &table, &page).await })
                        })
                        .await?;
                    crash::point("copy-page");
                }
                Ok::<_, CopyError>(())
            };
            tokio::try_join!(read, write)?;
        }
        Ok(())
    }

    async fn read_rows(
        &self,
        table: &Table,
        mut after: Option<Vec<Value<'static>>>,
        conn: &mut Conn,
        send: mpsc::Sender<Rows>,
    ) -> Result<(), CopyError> {
        let bears_nul = matches!(self.to.read, Readers::Sqlite(_));
        loop {
            let mut page = query(table.page(after.is_none()));
            for value in after.iter().flatten() {
                page = page.bind_value(value.clone());
            }
            let (mut rows, mut bytes, mut read) = (Rows::new(), 0, 0);
            let mut found = page.fetch(&mut *conn);
            while let Some(row) = found.try_next().await? {
                let row = table.values(&row)?;
                if !bears_nul {
                    self.refuse_nul(table, &row)?;
                }
                read += 1;
                bytes += size_of(&row);
                rows.push(row);
                if bytes > PAGE_BYTES {
                    after = rows.last().map(|row| table.key_of(row));
                    bytes = 0;
                    if send.send(std::mem::take(&mut rows)).await.is_err() {
                        return Ok(());
                    }
                }
            }
            drop(found);
            if let Some(last) = rows.last() {
                after = Some(table.key_of(last));
                if send.send(rows).await.is_err() {
                    return Ok(());
                }
            }
            if read < PAGE {
                return Ok(());
            }
        }
    }

    fn refuse_nul(&self, table: &Table, row: &[Value<'static>]) -> Result<(), CopyError> {
        let nul = row.iter().position(|value| matches!(value, Value::Text(Some(text)) if text.contains('\0')));
        nul.map_or(Ok(()), |at| {
            Err(CopyError::Nul {
                ledger: self.from.address().to_owned(),
                table: table.name,
                column: table.columns[at].name.clone(),
            })
        })
    }

    /// Compares all rows of both ledgers.
    pub(super) async fn compare(&self, on: &OnCopy) -> Result<Vec<TableCopied>, CopyError> {
        let mut all = 0;
        for table in &self.tables {
            all += table.count(&self.from.read).await?;
        }
        let mut counter = Counter { on, step: CopyStep::Compare, done: 0, all };
        let mut copied = Vec::new();
        for table in &self.tables {
            let (counted, mut pages) = mpsc::unbounded_channel();
            let there = tokio::spawn(sum(self.to.read.clone(), table.clone(), None));
            let here = tokio::spawn(sum(self.from.read.clone(), table.clone(), Some(counted)));
            while let Some(rows) = pages.recv().await {
                counter.add(rows);
            }
            let (here, there) = (joined(here).await?, joined(there).await?);
            if here != there {
                self.begin_anew_next_time().await?;
                return Err(CopyError::Differs { table: table.name, here: here.0, there: there.0 });
            }
            copied.push(TableCopied { table: table.name, rows: here.0, sha256: here.1 });
        }
        Ok(copied)
    }

    /// What the target has counts for nothing.
    async fn begin_anew_next_time(&self) -> Result<(), CopyError> {
        let mark =
            CopyMark { end: CopyEnd::Target, with: self.from.address().to_owned(), id: format!("{} differs", self.id) };
        self.to
            .write(move |conn, _| {
                let mark = mark.clone();
                Box::pin(async move { CopyMark::set(Some(&mark), conn).await })
            })
            .await?;
        Ok(())
    }
}

async fn joined<T>(task: tokio::task::JoinHandle<Result<T, StoreError>>) -> Result<T, StoreError> {
    task.await.map_err(|e| StoreError::Panicked(e.to_string()))?
}

/// The number of rows of a table, and SHA-256 of all of them in the order of their keys.
async fn sum(
    readers: Readers,
    table: Table,
    counted: Option<mpsc::UnboundedSender<usize>>,
) -> Result<(u64, String), StoreError> {
    let mut conn = readers.acquire().await?;
    let (mut sum, mut rows) = (Sha256::new(), 0_u64);
    let mut after: Option<Vec<Value<'static>>> = None;
    loop {
        let mut page = query(table.page(after.is_none()));
        for value in after.iter().flatten() {
            page = page.bind_value(value.clone());
        }
        let (mut read, mut last) = (0, None);
        let mut found = page.fetch(&mut conn);
        while let Some(row) = found.try_next().await? {
            for at in 0..table.columns.len() {
                digest(&mut sum, row.cell(at)?);
            }
            read += 1;
            if read == PAGE {
                last = Some(table.key_of(&table.values(&row)?));
            }
        }
        drop(found);
        rows += read as u64;
        if let Some(counted) = &counted {
            let _ = counted.send(read);
        }
        match last {
            None => return Ok((rows, hex(&sum.finalize()))),
            last => after = last,
        }
    }
}

/// Adds a value, so that no two rows of different values give the same bytes.
fn digest(sum: &mut Sha256, cell: Cell<'_>) {
    match cell {
        Cell::Null => sum.update([0]),
        Cell::Int(n) => {
            sum.update([1]);
            sum.update(n.to_be_bytes());
        }
        Cell::Real(x) => {
            sum.update([2]);
            sum.update(x.to_be_bytes());
        }
        Cell::Text(text) => {
            sum.update([3]);
            sum.update((text.len() as u64).to_be_bytes());
            sum.update(text);
        }
        Cell::Bytes(bytes) => {
            sum.update([4]);
            sum.update((bytes.len() as u64).to_be_bytes());
            sum.update(bytes);
        }
    }
}

fn size_of(row: &[Value<'static>]) -> usize {
    let size = |value: &Value<'static>| match value {
        Value::Text(Some(text)) => text.len(),
        Value::Bytes(Some(bytes)) => bytes.len(),
        _ => 0,
    };
    row.iter().map(|value| 32 + size(value)).sum()
}
