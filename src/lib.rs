//! wavebatch: a durable batch runner for Smallest AI's Waves speech API.

pub mod audio;
pub mod clock;
pub mod domain;
pub mod pace;
pub mod definition;
pub mod store;
pub mod waves;
pub mod media;
pub mod sink;
pub mod render;
pub mod runner;
pub mod report;
pub mod sandbox;
pub mod config;
pub mod telemetry;
pub mod shutdown;
pub mod cli;
