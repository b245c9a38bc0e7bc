//! Moves a ledger to another place: its rows, its bought speech, and its secrets.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{
    error::AppError,
    views::{ClipsView, LedgerCopiedView, TableView},
};
use crate::{
    config::Config,
    server::carry_secrets,
    store::{
        ClipTotals, CopyMark, LedgerAddress, LedgerCopy, OnCopy, Opening, SpoolSetting, Store, StoreError, TableCopied,
        real_path,
    },
};

/// Which ledger is copied, and where to.
#[derive(Debug, Clone)]
pub struct CopyRequest {
    /// The ledger.
    pub from: LedgerAddress,
    /// Where to.
    pub to: LedgerAddress,
    /// The folder for the local files of a ledger on a server that the settings do not name.
    pub local_files: PathBuf,
    /// Whether the ledger stays in use.
    pub keep_source: bool,
}

/// A ledger that was copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerCopied {
    /// Its address.
    pub from: String,
    /// The address of the copy.
    pub to: String,
    /// Whether it stays in use.
    pub source_kept: bool,
    /// The tables, in the order in which they were copied.
    pub tables: Vec<TableCopied>,
    /// The bought speech that was copied too.
    pub speech: ClipTotals,
    /// The files that have the secrets of its callbacks and notifications from now on.
    pub secrets: Vec<PathBuf>,
}

impl LedgerCopied {
    /// As JSON shows it.
    #[must_use]
    pub fn view(self) -> LedgerCopiedView {
        let table = |of: TableCopied| TableView { table: of.table, rows: of.rows, sha256: of.sha256 };
        LedgerCopiedView {
            from: self.from,
            to: self.to,
            moved: !self.source_kept,
            tables: self.tables.into_iter().map(table).collect(),
            speech: ClipsView { clips: self.speech.clips, bytes: self.speech.bytes },
            secrets: self.secrets,
        }
    }
}

/// Copies a ledger, or goes on with a copying that was cut off. Dropped, it stops where it is.
///
/// # Errors
/// One of the two ledgers cannot be opened or is in use, the target is not empty, bought speech or a secret has no place
/// there, or the copy differs.
pub async fn copy_ledger(config: &Config, request: &CopyRequest, on: &OnCopy) -> Result<LedgerCopied, AppError> {
    let from = open_source(config, request).await?;
    let refused = match same_file(&request.from, &request.to) {
        true => Err(LedgerCopy::same(&from)),
        false => LedgerCopy::refuse_used(&from).await,
    };
    if let Err(e) = refused {
        from.close().await;
        return Err(e.into());
    }
    let opening = opening(config, request, &request.to, config.spool.clone());
    let (to, fresh) = match Store::open(opening).await {
        Ok(opened) => opened,
        Err(e) => {
            from.close().await;
            return Err(AppError::of_ledger(e, &request.to));
        }
    };
    let made = to.file().filter(|_| fresh).map(Path::to_owned);
    let (from_shown, to_shown) = (from.address().to_owned(), to.address().to_owned());
    let copying = match LedgerCopy::begin(from, to).await {
        Ok(copying) => copying,
        Err(e) => {
            made.iter().for_each(|path| remove(path));
            return Err(e.into());
        }
    };
    let done = async {
        let (from, to) = copying.ends();
        let secrets = carry_secrets(from, to).await?;
        let tables = copying.copy(on).await?;
        let speech = copying.carry(on).await?;
        Ok::<_, AppError>((secrets, tables, speech))
    };
    match done.await {
        Ok((secrets, tables, speech)) => {
            copying.end(request.keep_source).await?;
            let source_kept = request.keep_source;
            Ok(LedgerCopied { from: from_shown, to: to_shown, source_kept, tables, speech, secrets })
        }
        Err(e) => {
            copying.give_up().await;
            Err(e)
        }
    }
}

/// What became of a ledger that was to be taken back into use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reopened {
    /// It is in use anyway.
    WasInUse,
    /// It was copied, and the user did not say that nothing done there is needed here.
    NotAgreed(CopyMark),
    /// It is in use again.
    Again(CopyMark),
}

/// Takes a ledger back into use that was moved, or whose copying was given up. Returns its address too.
///
/// # Errors
/// It is an unfinished copy, somebody is copying it, or it cannot be opened.
pub async fn reopen_ledger(config: &Config, agreed: bool) -> Result<(String, Reopened), AppError> {
    let opening = Opening { for_copy: true, ..config.opening(false) };
    let (store, _) = Store::open(opening).await.map_err(|e| AppError::of_ledger(e, &config.database))?;
    let shown = store.address().to_owned();
    let reopened = match store.copy_mark().await {
        Ok(Some(mark)) if !agreed => Ok(Reopened::NotAgreed(mark)),
        Ok(_) => store.reopen().await.map(|mark| mark.map_or(Reopened::WasInUse, Reopened::Again)),
        Err(e) => Err(e.into()),
    };
    store.close().await;
    Ok((shown, reopened?))
}

async fn open_source(config: &Config, request: &CopyRequest) -> Result<Store, AppError> {
    // It keeps its speech where it says.
    let spool = config.spool.of_ledger();
    let opening = Opening { create: false, ..opening(config, request, &request.from, spool) };
    match Store::open(opening).await {
        Ok((store, _)) => Ok(store),
        Err(source @ StoreError::Missing(_)) => {
            let hint = "the ledger that is to be copied comes first: `wavebatch ledger copy FROM TO`".to_owned();
            Err(AppError::NoLedger { source, hint })
        }
        Err(e) => Err(AppError::of_ledger(e, &request.from)),
    }
}

fn opening(config: &Config, request: &CopyRequest, ledger: &LedgerAddress, spool: SpoolSetting) -> Opening {
    let local_files = match *ledger == config.database {
        true => config.local_files.clone(),
        false => request.local_files.clone(),
    };
    Opening { timing: config.timing, local_files, spool, for_copy: true, ..Opening::new(ledger) }
}

fn same_file(a: &LedgerAddress, b: &LedgerAddress) -> bool {
    match (a, b) {
        (LedgerAddress::File(a), LedgerAddress::File(b)) => real_path(a) == real_path(b),
        (a, b) => a == b,
    }
}

/// Removes a ledger that was only made to be copied into.
fn remove(path: &Path) {
    for ending in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        let _ = fs::remove_file(name);
    }
}
