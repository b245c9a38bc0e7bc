//! The pipeline: claim loop, one job's life, heartbeat, events. It never prints.

mod events;

pub use events::{Event, Events};
