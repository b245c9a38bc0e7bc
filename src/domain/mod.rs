//! The ground: types and decisions. No I/O, no runtime, no database, no network.

pub mod call;
pub mod cost;
pub mod options;
pub mod row;
pub mod transcript;
