//! What serves: callbacks are received, batches looked after and told of, and an address for who watches over it all.

mod admin;
mod keeper;
mod metrics;
mod notify;
pub mod probe;
mod receiver;
mod secret;
mod serve;

pub use admin::{Admin, AdminSettings};
pub use keeper::{BatchNews, Keeper};
pub use metrics::{Metrics, ScheduleState};
pub use notify::{
    NOTIFICATION, News, Notifier, NotifyPatience, NotifySettings, OwnTarget, SIGNATURE, TIMESTAMP, Target,
};
pub use receiver::{Receiver, ReceiverSettings};
pub use secret::{NOTIFY_SECRET, SecretError, WEBHOOK_SECRET, notify_secret, secrets};
pub use serve::Patience;
