//! The ground: types and decisions. No I/O, no runtime, no database, no network.

pub mod batch;
pub mod call;
pub mod key;
pub mod options;
pub mod overrides;
