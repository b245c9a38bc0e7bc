//! wavebatch: a durable batch runner for Smallest AI's Waves speech API.

pub mod definition;
pub mod domain;
