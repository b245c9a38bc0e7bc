//! Types and decisions. No I/O, no runtime, no database, no network.

pub mod batch;
pub mod body;
pub mod call;
pub mod callback;
pub mod causes;
pub mod cost;
pub mod cut;
pub mod environment;
pub mod estimate;
pub mod extra;
pub mod facts;
pub mod hex;
pub mod html;
pub mod identity;
pub mod invisible;
pub mod job;
pub mod key;
pub mod keywords;
pub mod length;
pub mod lenient;
pub mod listed;
pub mod notice;
pub mod open;
pub mod options;
pub mod overrides;
pub mod padding;
pub mod pool;
#[cfg(test)]
mod pool_sim_tests;
#[cfg(test)]
mod pool_tests;
pub mod printable;
pub mod prompts;
pub mod pronunciation;
pub mod query;
pub mod retry;
pub mod row;
pub mod s3;
pub mod schedule;
pub mod spend;
pub mod synthesis;
pub mod synthesis_options;
pub mod task;
pub mod transcript;
pub mod transcription;
pub mod vendor_log;
