//! What serves: callbacks are received, batches looked after.

mod keeper;
mod receiver;
mod secret;

pub use keeper::{Keeper, News};
pub use receiver::{Patience, Receiver, ReceiverSettings};
pub use secret::{SecretError, WEBHOOK_SECRET, secrets};
