//! What listens: callbacks of calls whose answers are posted, and an address for who watches over it all.

mod admin;
mod metrics;
pub mod probe;
mod receiver;
mod secret;
mod serve;

pub use admin::{Admin, AdminSettings};
pub use metrics::{Metrics, ScheduleState};
pub use receiver::{Receiver, ReceiverSettings};
pub use secret::{SecretError, WEBHOOK_SECRET, secrets};
pub use serve::Patience;
