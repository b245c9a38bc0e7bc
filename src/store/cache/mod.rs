//! Data kept beside the rows: audio in the spool, and answers until they are pruned.

pub(super) mod audio_cache;
pub(super) mod prune;
pub(super) mod spool;
