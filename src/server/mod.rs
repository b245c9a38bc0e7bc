//! What listens: callbacks of calls whose answers are posted.

mod receiver;

pub use receiver::{Patience, Receiver, ReceiverSettings};
