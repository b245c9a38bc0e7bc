//! Backups.

use std::path::PathBuf;

use serde::Serialize;

use super::{ClipsView, Moment};
use crate::{
    domain::{batch::MicroUsd, callback::SecretPurpose},
    store::{BackedUp, Loss, MissingClips},
};

/// A backup that was made.
#[derive(Debug, Clone, Serialize)]
pub struct BackupView {
    /// The file.
    pub file: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// The address of the ledger, without a password.
    pub ledger: String,
    /// The id of the ledger.
    pub ledger_id: String,
    /// When it was made.
    pub made_at: Moment,
    /// Whether the ledger is in it. It is not where the ledger is on a server.
    pub has_ledger: bool,
    /// The command that dumps the database of a ledger on a server; else `null`.
    pub dump: Option<String>,
    /// How many batches the ledger has.
    pub batches: u64,
    /// How many lines.
    pub lines: u64,
    /// How many calls.
    pub calls: u64,
    /// The number of the newest change of a line.
    pub seq: i64,
    /// Which secrets are in it: `webhook`, `notify`.
    pub secrets: Vec<SecretPurpose>,
    /// The clips that the audio cache has in files. The list of them is in the backup.
    pub clips: ClipsView,
    /// The clips that are in the backup.
    pub clips_inside: ClipsView,
    /// The place of bought speech, unless that is beside the ledger.
    pub spool: Option<String>,
}

impl BackupView {
    /// Of a backup, with the command that dumps the database.
    #[must_use]
    pub fn of(made: BackedUp, dump: Option<String>) -> Self {
        let BackedUp { file, bytes, head, clips, clips_inside, secrets } = made;
        let view = |of: crate::store::ClipTotals| ClipsView { clips: of.clips, bytes: of.bytes };
        Self {
            file,
            bytes,
            ledger: head.address,
            ledger_id: head.ledger,
            made_at: Moment(head.made_at),
            has_ledger: head.has_ledger,
            dump,
            batches: head.batches,
            lines: head.lines,
            calls: head.calls,
            seq: head.seq,
            secrets,
            clips: view(clips),
            clips_inside: view(clips_inside),
            spool: head.spool,
        }
    }
}

/// A backup that was put back.
#[derive(Debug, Clone, Serialize)]
pub struct RestoreView {
    /// The ledger.
    pub ledger: String,
    /// The id of the ledger.
    pub ledger_id: String,
    /// The backup.
    pub file: PathBuf,
    /// When the backup was made.
    pub made_at: Moment,
    /// How many batches the ledger has.
    pub batches: u64,
    /// How many lines.
    pub lines: u64,
    /// How many calls.
    pub calls: u64,
    /// The files that have the secrets of callbacks and notifications.
    pub secrets: Vec<PathBuf>,
    /// The clips that were put back.
    pub clips: ClipsView,
    /// Clips that were paid for and are not there.
    pub missing_clips: MissingClipsView,
    /// Where the ledger is now that the backup took the place of; else `null`.
    pub replaced: Option<PathBuf>,
    /// What that ledger knew and this one does not.
    pub lost: LossView,
}

/// Clips that were paid for and are not there.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct MissingClipsView {
    /// How many of them unfinished lines need: these are bought again.
    pub needed: u64,
    /// What that costs at list price.
    pub needed_usd: MicroUsd,
    /// How many others.
    pub others: u64,
    /// What these cost.
    pub others_usd: MicroUsd,
}

impl From<MissingClips> for MissingClipsView {
    fn from(of: MissingClips) -> Self {
        let MissingClips { needed, needed_cost, others, others_cost } = of;
        Self { needed, needed_usd: needed_cost, others, others_usd: others_cost }
    }
}

/// What a ledger knew and a backup of it does not.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LossView {
    /// Calls that were paid for.
    pub paid_calls: u64,
    /// Their cost at list price.
    pub cost_usd: MicroUsd,
    /// Open calls, which may have been paid for.
    pub open_calls: u64,
    /// Batches.
    pub batches: u64,
    /// Changes of lines.
    pub changes: u64,
    /// Lines that were forgotten: their content is back.
    pub forgotten: u64,
}

impl From<Loss> for LossView {
    fn from(of: Loss) -> Self {
        let Loss { paid_calls, cost, open_calls, batches, changes, forgotten } = of;
        Self { paid_calls, cost_usd: cost, open_calls, batches, changes, forgotten }
    }
}
