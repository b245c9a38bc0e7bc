//! wavebatch: a durable batch runner for Smallest AI's Waves speech API.

pub mod clock;
pub mod domain;
pub mod store;
pub mod render;
pub mod report;
pub mod sink;
