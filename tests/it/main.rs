//! One binary for all integration tests, by theme.

mod pipeline;
mod sources;
mod support;
