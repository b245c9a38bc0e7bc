//! Recordings become transcripts.

mod intake;
mod records;
mod work;

pub(crate) use self::records::{UNNAMED, name_pattern, open_records};

/// The task.
#[derive(Debug, Clone, Copy)]
pub struct Transcribe;
