//! What each task does, one folder a task.

pub mod synthesize;
pub mod transcribe;
