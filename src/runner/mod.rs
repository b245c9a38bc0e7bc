//! The pipeline: claim loop, one job's life, heartbeat, events. It never prints.

pub mod intake;

mod events;

pub use events::{Event, Events};
