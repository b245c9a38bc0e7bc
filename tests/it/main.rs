//! One binary for all integration tests, by theme.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod cli;
mod jobs;
mod layers;
mod papers;
mod pipeline;
mod support;
