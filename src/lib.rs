//! wavebatch: a durable batch runner for Smallest AI's Waves speech API.

pub mod domain;
pub mod render;
pub mod report;
pub mod sink;
