//! One job of a transcription batch: its recording, its call, and the vendor's log as its witness.

pub(crate) mod call;
pub(crate) mod logbook;
pub(crate) mod marks;
pub(crate) mod recording;
