//! The interface for front ends: a [`Session`] submits definitions and works batches; a [`Service`] does so until it is
//! stopped. Input is settings and an event sink; errors are [`AppError`]s. It never prints and knows no command line.

mod api;
mod backup;
mod callbacks;
mod chain;
mod check;
mod choice;
mod choice_error;
mod clones;
mod doctor;
mod error;
mod events;
mod feeders;
mod files;
mod forget;
mod ledger;
mod ledger_copy;
mod metrics_file;
mod notify;
mod parts;
mod publish;
mod run;
mod schedule;
mod secrets;
mod service;
mod session;
mod settings;
mod stages;
mod status;
mod submit;
mod texts;
pub mod views;

pub use api::Api;
pub use backup::{RestoreRequest, Restored, back_up, dump_command, restore};
pub use callbacks::check_public_url;
pub use chain::{ChainBatch, ChainError, chain_of, follow, in_order};
pub use check::{CheckRequest, Checked, check, each_part};
pub use choice::{Choice, ChosenLines};
pub use choice_error::ChoiceError;
pub use clones::{CloneError, CloneEvent, CloneRequest, CloneRow, CloneSettings, Cloned, clone_voices, read_clones};
pub use doctor::examine;
pub use error::{AppError, NotWorkable};
pub use events::{BatchNames, CallbacksAt, Event, EventSink, Events, Watched};
pub use files::{MissingFiles, Orphans, missing_outputs, orphans, remove_files};
pub use forget::{
    ForgetChoice, ForgetError, ForgetOptions, Forgetter, Forgotten, LinesOfBatch, Retained, Verified, choose_lines,
    verify_receipt,
};
pub use ledger::{batch_of, find_ledger, open_ledger};
pub use ledger_copy::{CopyRequest, LedgerCopied, Reopened, copy_ledger, reopen_ledger};
pub use metrics_file::{MetricsFile, MetricsFileError};
pub use notify::{NotStarted, Notifications, Tried, could_not_start, try_notification};
pub use parts::{JobParts, PartState, PartStatus};
pub use publish::{Published, publish_batch};
pub use run::{Workable, user_pause};
pub use schedule::{Listing, Load, Planned, list_schedules};
pub use secrets::{NotInLedger, renew_secret, signing_secret};
pub use service::{Service, ServiceSettings};
pub use session::Session;
pub use settings::{SANDBOX_ACCOUNT, SANDBOX_OUTPUT, Settings, limits_of};
pub use stages::Stages;
pub use status::{answers, kept_until, spend_limits, status};
pub use submit::Consent;
pub use texts::{LineText, place_of, spoken_text, texts};
