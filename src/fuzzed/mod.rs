//! What the fuzzers in `fuzz/` run, one function for each target: it panics where a promise is broken. The tests run each
//! of them over its committed corpus, so that neither rots.

mod answers;
mod audio_headers;
mod callbacks;
mod definitions;
mod manifests;
mod padding;
mod streams;
#[cfg(test)]
mod tests;
mod texts;

use std::{
    fs,
    path::{Path, PathBuf},
};

pub use self::{
    answers::answers, audio_headers::audio_headers, callbacks::callbacks, definitions::definitions,
    manifests::manifests, padding::padding, streams::streams, texts::texts,
};

/// Writes a file into the folder, over the one before.
fn file(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).expect("the folder can be written to");
    path
}
