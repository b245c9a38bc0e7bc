//! Why a backup is not made, or not put back.

use std::{fmt, io, path::PathBuf};

use crate::domain::batch::MicroUsd;
use crate::store::{CopyError, StoreError};

/// What a ledger knows and a backup of it does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loss {
    /// Calls that were paid for since.
    pub paid_calls: u64,
    /// Their cost.
    pub cost: MicroUsd,
    /// Calls that are open and may have been paid for since.
    pub open_calls: u64,
    /// Batches that began since.
    pub batches: u64,
    /// Changes of lines since, as the ledger counts them.
    pub changes: u64,
    /// Lines that were forgotten since: their content would be back.
    pub forgotten: u64,
}

impl Loss {
    /// Whether the ledger knows no more than the backup.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.paid_calls == 0 && self.open_calls == 0 && self.batches == 0 && self.changes == 0 && self.forgotten == 0
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |n: u64, one: &str, more: &str| match n {
            1 => format!("1 {one}"),
            n => format!("{n} {more}"),
        };
        let mut words = Vec::new();
        if self.paid_calls > 0 {
            let were = if self.paid_calls == 1 { "was" } else { "were" };
            let calls = counted(self.paid_calls, "call", "calls");
            words.push(format!("{calls} that {were} paid for (${})", self.cost));
        }
        if self.open_calls > 0 {
            words.push(format!("{} that may have been paid for", counted(self.open_calls, "open call", "open calls")));
        }
        if self.batches > 0 {
            words.push(counted(self.batches, "new batch", "new batches"));
        }
        if self.changes > 0 {
            words.push(counted(self.changes, "change of a line", "changes of lines"));
        }
        if self.forgotten > 0 {
            let lines = counted(self.forgotten, "forgotten line", "forgotten lines");
            words.push(format!("{lines}, whose content would be back"));
        }
        f.write_str(&words.join(", "))
    }
}

/// Why a backup is not made, or not put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is a file of that name.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// The file to be replaced is no backup of this ledger.
    #[error("{} is {what}, and stays as it is", path.display())]
    NotReplaced {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The file is no backup.
    #[error("{} is no backup of wavebatch", .0.display())]
    NoBackup(PathBuf),
    /// The end of the file is missing.
    #[error("the backup {} is cut off", .0.display())]
    Cut(PathBuf),
    /// The file is not as it was made.
    #[error("the backup {} was changed after it was made: {what}", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A newer program made it.
    #[error("the backup {} was made by wavebatch {program}, which is newer: {what}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version that made it.
        program: String,
        /// What this program does not know.
        what: String,
    },
    /// The file, or its folder, cannot be read or written.
    #[error("{} cannot be {verb}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// `read` or `written`.
        verb: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The copy of the ledger's file cannot be written.
    #[error("the copy of the ledger cannot be written to {}", path.display())]
    Snapshot {
        /// The folder of the backup.
        path: PathBuf,
        /// Why not.
        source: StoreError,
    },
    /// The ledger in the backup is damaged.
    #[error("the ledger in the backup {} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the engine found.
        what: String,
    },
    /// The place has another ledger.
    #[error("{ledger} is another ledger than that of the backup {}", path.display())]
    OtherLedger {
        /// The ledger that is there.
        ledger: String,
        /// The backup.
        path: PathBuf,
    },
    /// The place has a newer state of the ledger.
    #[error("the backup {} is older than the ledger {ledger}; what the ledger knows since then would be lost: {loss}", path.display())]
    Older {
        /// The backup.
        path: PathBuf,
        /// The ledger that is there.
        ledger: String,
        /// What would be lost.
        loss: Loss,
    },
    /// A program has the ledger open that is to be replaced.
    #[error("a program has the ledger {} open", .0.display())]
    Open(PathBuf),
    /// The place has a file that cannot be read as a ledger.
    #[error("{ledger} cannot be read, and so nobody knows what would be lost")]
    Unreadable {
        /// The file that is there.
        ledger: String,
        /// Why not.
        source: StoreError,
    },
    /// The log of a ledger that is gone is at the place.
    #[error("{} is left of a ledger that is gone; SQLite would apply it to the restored one", .0.display())]
    LeftLog(PathBuf),
    /// The backup has a ledger in a file, and the place is a database.
    #[error("the backup {} has a ledger in a file, and {ledger} is a database", path.display())]
    OfFile {
        /// The backup.
        path: PathBuf,
        /// The address of the database.
        ledger: String,
    },
    /// The backup has only what stands outside a database, and the place is a file.
    #[error("the backup {} has what stands outside the database {from}, and no ledger", path.display())]
    OfServer {
        /// The backup.
        path: PathBuf,
        /// The database.
        from: String,
    },
    /// The ledger that is there is in use.
    #[error(transparent)]
    InUse(#[from] CopyError),
    /// A ledger cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BackupError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Exists(_) => "name another file; --replace puts the new backup in the place of that one",
            Self::NotReplaced { .. } => "name another file, or move that one away",
            Self::NoBackup(_) => "name a file that `wavebatch backup` made",
            Self::Cut(_) => "copy the file again from where it was made, or take an older backup",
            Self::Changed { .. } => "take another copy of the file, or an older backup; nothing was put back",
            Self::Newer { .. } => "install that version of wavebatch, or a newer one",
            Self::Io { .. } | Self::Snapshot { .. } => {
                "see that the folder is there, that this user may write to it, and that its disk has room for the ledger twice"
            }
            Self::Damaged { .. } => "take an older backup; nothing was put back",
            Self::OtherLedger { .. } => "name another place with --to, or move that ledger away",
            Self::Older { .. } => {
                "go on with the ledger that is there; or name another place with --to; --lose-newer puts the backup in its place, and that work is paid for again"
            }
            Self::Open(_) => "end what has it open (`run`, `serve`, a sqlite3 shell), then run the same command again",
            Self::Unreadable { .. } => {
                "move it away together with its -wal and -shm, then run the same command again; keep it: `sqlite3 FILE .recover` may read what came after the backup"
            }
            Self::LeftLog(_) => {
                "end whatever may have it open, move it away together with the -shm beside it, then run the same command again"
            }
            Self::OfFile { .. } => {
                "restore it into a file with --to, then `wavebatch ledger copy` that file into an empty database"
            }
            Self::OfServer { .. } => "restore the dump of the database first, then name the database with --database",
            Self::InUse(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
        })
    }

    pub(super) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, verb: "read", source }
    }

    pub(super) fn written(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, verb: "written", source }
    }
}
