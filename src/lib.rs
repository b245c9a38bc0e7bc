//! wavebatch: a durable batch runner for Smallest AI's Waves speech API.

pub mod app;
pub mod audio;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crash;
pub mod definition;
pub mod domain;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
pub mod io_fault;
pub mod large;
pub mod media;
pub mod pace;
pub mod process;
pub mod render;
pub mod report;
pub mod runner;
pub mod s3;
pub mod sandbox;
pub mod server;
pub mod shutdown;
pub mod sink;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod temp_lock;
pub mod waves;
