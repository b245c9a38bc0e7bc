//! Recordings become transcripts.

mod work;

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct Transcribe;
