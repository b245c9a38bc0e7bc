//! The ground: types and decisions. No I/O, no runtime, no database, no network.

pub mod batch;
pub mod body;
pub mod call;
pub mod callback;
pub mod cost;
pub mod cut;
pub mod estimate;
pub mod hex;
pub mod identity;
pub mod job;
pub mod key;
pub mod lenient;
pub mod notice;
pub mod options;
pub mod overrides;
pub mod pool;
#[cfg(test)]
mod pool_tests;
pub mod prompts;
pub mod pronunciation;
pub mod retry;
pub mod row;
pub mod s3;
pub mod schedule;
pub mod speech;
pub mod synthesis;
pub mod task;
pub mod transcript;
