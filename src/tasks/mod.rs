//! What is done with each line of a batch: one folder a task, and here the list of them.

pub mod synthesize;
pub mod transcribe;

use std::sync::Arc;

use crate::runner::{Maker, Makers};

/// How each task of this program is worked.
#[must_use]
pub fn makers() -> Makers {
    let makers: [Arc<dyn Maker>; 2] = [Arc::new(transcribe::Transcribe), Arc::new(synthesize::Synthesize)];
    makers.into_iter().collect()
}
