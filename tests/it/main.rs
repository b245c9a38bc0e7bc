//! One binary for all integration tests, by theme.

mod jobs;
mod layers;
mod papers;
mod pipeline;
mod support;
