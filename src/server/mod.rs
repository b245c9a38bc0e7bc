//! What listens: callbacks of calls whose answers are posted.

mod receiver;
mod secret;

pub use receiver::{Patience, Receiver, ReceiverSettings};
pub use secret::{SecretError, WEBHOOK_SECRET, secrets};
