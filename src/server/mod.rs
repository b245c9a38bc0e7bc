//! What a service does besides working lines: it listens for callbacks of calls whose answers are posted, and starts
//! batches on time.

mod receiver;
mod schedules;
mod secret;

pub use receiver::{Patience, Receiver, ReceiverSettings};
pub use schedules::{
    Folder, ScheduleState, Scheduler, SchedulerSettings, Scheduling, definitions_in, distinct, names_ahead,
};
pub use secret::{SecretError, WEBHOOK_SECRET, secrets};
