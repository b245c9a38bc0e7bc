//! wavebatch: a durable batch runner for Smallest AI's Waves speech API.

pub mod audio;
pub mod domain;
pub mod media;
pub mod sandbox;
