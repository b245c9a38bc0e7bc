//! The parts of a service besides the workers: it receives callbacks, starts scheduled batches, supervises batches,
//! sends notifications, and has an admin address for monitoring.

mod admin;
mod metrics;
mod notify;
pub mod probe;
mod receiver;
mod refusal;
mod schedules;
mod secret;
mod serve;
mod supervisor;

pub use admin::{Admin, AdminSettings};
pub use metrics::{METRICS, MetricDoc, MetricScope, Metrics, WatchedLedger};
pub use notify::{
    NOTICE_FIELDS, NOTICE_SECRETS, NOTIFICATION, News, Notifier, NotifySettings, NotifyTimeouts, OwnTarget, SIGNATURE,
    TIMESTAMP, Target,
};
pub use receiver::{Receiver, ReceiverSettings};
pub use refusal::Refusal;
pub use schedules::{
    Folder, ScheduleState, Scheduler, SchedulerSettings, Scheduling, content_of, definitions_in, distinct, names_ahead,
};
pub use secret::{
    NOTIFY_SECRET, NOTIFY_SECRET_SUFFIX, SecretError, Secrets, WEBHOOK_SECRET, WEBHOOK_SECRET_SUFFIX, carry_secrets,
    keep_beside, random, refuse_other_beside, secrets_beside,
};
pub use serve::ServerTimeouts;
pub use supervisor::{BatchNews, Supervisor};
