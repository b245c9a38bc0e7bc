//! One binary for all integration tests, by theme.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod account;
mod admin;
mod cli;
mod crash;
mod damaged;
mod faults;
mod full_disk;
mod jobs;
mod layers;
mod leases;
mod limits;
mod money;
mod night;
mod night_walls;
mod nights;
mod notify;
mod outages;
mod papers;
mod pipeline;
mod power;
mod receiver;
mod refusals;
mod s3_sink;
mod s3_source;
mod schedule;
mod scheduling;
mod serving;
mod sources;
mod speaking;
mod speech_verbs;
mod spend;
mod support;
mod synthesis;
mod verbs;
mod webhooks;
