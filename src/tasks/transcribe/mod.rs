//! Recordings become transcripts.

pub(crate) mod work;
