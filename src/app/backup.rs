//! Backs a ledger up into one file, and puts it back.

use std::path::{Path, PathBuf};

use super::{
    error::{AppError, NotWorkable},
    views::{ClipsView, LossView, Moment, RestoreView},
};
use crate::{
    config::Config,
    report::words::shell,
    server::{keep_beside, refuse_other_beside, secrets_beside},
    store::{
        BackedUp, Backup, BackupError, BackupHead, BackupRequest, ClipTotals, LedgerAddress, Loss, MissingClips,
        OnBackup, Opening, PartKeys, Store, StoreError,
    },
};

/// The file of a database's dump that belongs to this backup.
fn dump_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".dump");
    name.into()
}

/// The command that dumps the database of a ledger on a server, for a backup in this file. It has no password.
#[must_use]
pub fn dump_command(address: &LedgerAddress, file: &Path) -> Option<String> {
    let LedgerAddress::Server(server) = address else { return None };
    let schema = server.schema().map(|schema| format!(" --schema={}", shell(schema))).unwrap_or_default();
    let file = shell(&dump_of(file).display().to_string());
    Some(format!("pg_dump --format=custom --file={file}{schema} {}", shell(&server.for_libpq())))
}

/// The command that restores such a dump into an empty database.
fn restore_command(address: &LedgerAddress, file: &Path) -> String {
    let LedgerAddress::Server(server) = address else { return String::new() };
    let file = shell(&dump_of(file).display().to_string());
    format!("pg_restore --no-owner --exit-on-error --dbname={} {file}", shell(&server.for_libpq()))
}

/// Backs up a ledger with the secrets beside it. `with_cache`: the clips of the audio cache too, where they are files.
///
/// # Errors
/// The file is there already, or cannot be written; the ledger, a secret or a clip cannot be read.
pub async fn back_up(
    store: &Store,
    file: PathBuf,
    (replace, with_cache): (bool, bool),
    on: &OnBackup,
) -> Result<BackedUp, AppError> {
    let secrets = match store.file() {
        Some(ledger) => secrets_beside(ledger)?,
        None => Vec::new(),
    };
    Ok(store.back_up(BackupRequest { file, replace, with_cache, secrets }, on).await?)
}

/// What is put back, and where to.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    /// The backup.
    pub file: PathBuf,
    /// The place of the ledger; else the one that the settings name.
    pub to: Option<LedgerAddress>,
    /// Whether a newer state of the same ledger may be lost.
    pub lose_newer: bool,
}

/// A backup that was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The address of the ledger.
    pub ledger: String,
    /// The backup.
    pub file: PathBuf,
    /// What the backup says of itself.
    pub head: BackupHead,
    /// The files that have its secrets.
    pub secrets: Vec<PathBuf>,
    /// The clips that were put back.
    pub clips: ClipTotals,
    /// Clips that were paid for and are not there.
    pub missing: MissingClips,
    /// Where the ledger is now that was there before.
    pub replaced: Option<PathBuf>,
    /// What that ledger knew and this one does not.
    pub lost: Loss,
}

impl Restored {
    /// As JSON shows it.
    #[must_use]
    pub fn view(self) -> RestoreView {
        RestoreView {
            ledger: self.ledger,
            ledger_id: self.head.ledger,
            file: self.file,
            made_at: Moment(self.head.made_at),
            batches: self.head.batches,
            lines: self.head.lines,
            calls: self.head.calls,
            secrets: self.secrets,
            clips: ClipsView { clips: self.clips.clips, bytes: self.clips.bytes },
            missing_clips: self.missing.into(),
            replaced: self.replaced,
            lost: LossView::from(self.lost),
        }
    }
}

/// Puts a backup back. All of it is unpacked and checked before the first file is in its place, and the ledger comes last.
///
/// # Errors
/// The backup is not whole, or of a newer program; the place has another ledger, one in use, or a newer one; a secret or a
/// clip has no place.
pub async fn restore(
    config: &Config,
    request: &RestoreRequest,
    tasks: &dyn PartKeys,
    on: &OnBackup,
) -> Result<Restored, AppError> {
    match request.to.as_ref().unwrap_or(&config.database) {
        LedgerAddress::File(path) => restore_file(config, request, (path, tasks), on).await,
        server @ LedgerAddress::Server(_) => restore_beside(config, request, (server, tasks), on).await,
    }
}

async fn restore_file(
    config: &Config,
    request: &RestoreRequest,
    (path, tasks): (&Path, &dyn PartKeys),
    on: &OnBackup,
) -> Result<Restored, AppError> {
    let (ledger, folder) = Backup::place(path)?;
    let backup = Backup::open(&request.file, &folder, on).await?;
    let head = backup.head().clone();
    if !head.has_ledger {
        return Err(BackupError::OfServer { path: request.file.clone(), from: head.address }.into());
    }
    backup.check().await?;
    let opening = Opening {
        // It keeps its speech where it says.
        spool: config.spool.of_ledger(),
        timing: config.timing,
        create: false,
        ..Opening::new(ledger.as_path())
    };
    let replaced = backup.compare(opening.clone(), request.lose_newer).await?;
    let from = request.file.display().to_string();
    for (purpose, secret) in backup.secrets() {
        refuse_other_beside(&ledger, *purpose, secret, &from)?;
    }
    let clips = backup.put_clips(&ledger).await?;
    let secrets: Result<Vec<_>, _> =
        backup.secrets().iter().map(|(purpose, secret)| keep_beside(&ledger, *purpose, secret, &from)).collect();
    let secrets = secrets?;
    let kept = backup.put_ledger(&ledger, replaced.as_ref()).await?;
    let (store, _) = Store::open(opening).await.map_err(|e| AppError::of_ledger(e, &LedgerAddress::File(ledger)))?;
    let missing = missing(&store, &backup, tasks).await;
    let shown = store.address().to_owned();
    store.close().await;
    let lost = replaced.map(|replaced| replaced.loss).unwrap_or_default();
    let file = request.file.clone();
    Ok(Restored { ledger: shown, file, head, secrets, clips, missing: missing?, replaced: kept, lost })
}

/// Puts back what stands outside the database of a ledger on a server.
async fn restore_beside(
    config: &Config,
    request: &RestoreRequest,
    (address, tasks): (&LedgerAddress, &dyn PartKeys),
    on: &OnBackup,
) -> Result<Restored, AppError> {
    let opening = Opening { ledger: address.clone(), spool: config.spool.of_ledger(), ..config.opening(false) };
    let local_files = config.local_files.clone();
    let made = std::fs::create_dir_all(&local_files);
    made.map_err(|source| BackupError::Io { path: local_files.clone(), verb: "written", source })?;
    let backup = Backup::open(&request.file, &local_files, on).await?;
    let head = backup.head().clone();
    if head.has_ledger {
        return Err(BackupError::OfFile { path: request.file.clone(), ledger: address.to_string() }.into());
    }
    let store = match Store::open(opening).await {
        Ok((store, _)) => store,
        Err(StoreError::Missing(_)) => {
            let source = BackupError::OfServer { path: request.file.clone(), from: head.address };
            let hint = format!("restore the dump of the database first: `{}`", restore_command(address, &request.file));
            return Err(AppError::NotWorkable(NotWorkable { why: source.to_string(), hint }));
        }
        Err(e) => return Err(AppError::of_ledger(e, address)),
    };
    let put = async {
        backup.refuse_other(&store)?;
        let clips = backup.put_clips_into(&local_files).await?;
        Ok::<_, AppError>((clips, missing(&store, &backup, tasks).await?))
    };
    let put = put.await;
    let shown = store.address().to_owned();
    store.close().await;
    let (clips, missing) = put?;
    let (secrets, file, lost) = (Vec::new(), request.file.clone(), Loss::default());
    Ok(Restored { ledger: shown, file, head, secrets, clips, missing, replaced: None, lost })
}

async fn missing(store: &Store, backup: &Backup, tasks: &dyn PartKeys) -> Result<MissingClips, AppError> {
    Ok(store.missing_clips(tasks, &backup.had_clips()).await?)
}
