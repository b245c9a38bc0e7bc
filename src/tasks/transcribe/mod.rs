//! Recordings become transcripts.

mod intake;
mod records;

pub use self::intake::Transcribe;
pub(crate) use self::records::{UNNAMED, name_pattern, open_records};
