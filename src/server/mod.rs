//! What listens and what tells: callbacks of calls whose answers are posted, and notifications of how batches go.

mod notify;
mod receiver;
mod secret;

pub use notify::{
    NOTIFICATION, News, Notifier, NotifyPatience, NotifySettings, OwnTarget, SIGNATURE, TIMESTAMP, Target,
};
pub use receiver::{Patience, Receiver, ReceiverSettings};
pub use secret::{NOTIFY_SECRET, SecretError, WEBHOOK_SECRET, notify_secret, secrets};
