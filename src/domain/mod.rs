//! The ground: types and decisions. No I/O, no runtime, no database, no network.

pub mod call;
pub mod identity;
pub mod job;
pub mod options;
pub mod pool;
pub mod retry;
pub mod cost;
pub mod options;
pub mod row;
pub mod transcript;
