//! The data behind every `--json`, for all front ends. Field names are those that users see. Unless a name says
//! otherwise, money is in US dollars (`_usd`), times are RFC 3339 in UTC with milliseconds, lengths are in seconds
//! and sizes in bytes. Fields may be added; none changes its name or meaning.
//!
//! Views are made from the data of the rooms below, and use nothing of this room.

mod answers;
mod backup;
mod check;
mod dictionaries;
mod doctor;
mod jobs;
mod ledger;
mod parts;
mod schedule;
mod spend;
mod spool;
mod status;
mod voices;

use serde::{Serialize, Serializer};

pub use self::{
    answers::{AnswersView, KeptView},
    backup::{BackupView, LossView, MissingClipsView, RestoreView},
    check::{
        BatchLimitView, ChainEndView, ChainView, CheckView, ColumnsView, HeardView, PartView, PlanView,
        PreviewLineView, ShareView, SourcesView,
    },
    dictionaries::DictionaryView,
    doctor::{DoctorView, ExaminedView, Health},
    jobs::{CallView, JobView, RenditionView},
    ledger::{FindingView, LedgerCheckView, LedgerCopiedView, TableView},
    parts::{JobPartView, JobPartsView},
    schedule::{
        BrokenView, LastRunView, ListingView, LoadView, RunView, SameBatchView, ScheduleNodeView, ScheduledView,
        WaitingRunView, ZonedView,
    },
    spend::{GroupView, GroupsView, SpendLimitView, SpendView, SumsView},
    spool::{ClipsView, SpoolPrunedView, SpoolView},
    status::{
        BatchView, DifferenceView, DifferentValueView, FailureView, LedgerView, PauseView, PoolUse, ProcessNameView,
        ProcessState, ProcessView, StatusView, SynthesisProgressView, WindowView,
    },
    voices::{CloneView, VoiceView},
};
use crate::clock::Millis;

/// A moment, in ms since 1970. Serialized as RFC 3339 in UTC, or as `null` if it is out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Millis);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let at = jiff::Timestamp::from_millisecond(self.0).ok();
        at.map(|at| format!("{at:.3}")).serialize(to)
    }
}

/// A length, in ms. Serialized in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub u64);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[expect(clippy::cast_precision_loss, reason = "shown; no length has 2^52 ms")]
        to.serialize_f64(self.0 as f64 / 1_000.0)
    }
}
