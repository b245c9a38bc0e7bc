//! A text by the parts that it was cut into.

use serde::Serialize;

use super::Seconds;
use crate::domain::{job::JobState, synthesis_options::AudioFormat};

/// A job by its parts.
#[derive(Debug, Clone, Serialize)]
pub struct JobPartsView {
    /// Its line in the manifest.
    pub line: u64,
    /// Its key.
    pub key: String,
    /// Its state.
    pub state: JobState,
    /// Who speaks.
    pub voice_id: String,
    /// The format of its audio.
    pub output_format: AudioFormat,
    /// Samples a second.
    pub sample_rate: u32,
    /// The name of its file.
    pub output_name: String,
    /// Length of the joined audio, if all parts are there.
    pub audio_seconds: Option<Seconds>,
    /// The parts, in order.
    pub parts: Vec<JobPartView>,
}

/// A part of a text.
#[derive(Debug, Clone, Serialize)]
pub struct JobPartView {
    /// Its number, from 1.
    pub part: usize,
    /// When it is heard, if all parts before it are there.
    pub start_seconds: Option<Seconds>,
    /// Its length, in Unicode scalar values.
    pub characters: usize,
    /// Whether it is bought.
    pub state: &'static str,
    /// Its paragraph, from 1.
    pub paragraph: u32,
    /// What is spoken.
    pub text: String,
    /// What names its audio in the cache.
    pub cache_key: String,
}
