//! What serves: callbacks are received, batches looked after, and an address for who watches over it all.

mod admin;
mod keeper;
mod metrics;
pub mod probe;
mod receiver;
mod secret;
mod serve;

pub use admin::{Admin, AdminSettings};
pub use keeper::{Keeper, News};
pub use metrics::{Metrics, ScheduleState};
pub use receiver::{Receiver, ReceiverSettings};
pub use secret::{SecretError, WEBHOOK_SECRET, secrets};
pub use serve::Patience;
