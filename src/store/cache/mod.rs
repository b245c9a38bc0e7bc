//! Data kept beside the rows: audio in the spool, and answers until they are pruned.

pub(super) mod audio_cache;
pub(super) mod carry;
pub(super) mod check;
mod clips;
pub(super) mod erase;
pub(super) mod folder;
pub(super) mod home;
pub(super) mod objects;
pub(super) mod prune;
pub(super) mod source;
pub(super) mod spool;

pub(super) use clips::keep_rows;
