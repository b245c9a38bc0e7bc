//! The parts into which a text was cut.

use serde::Serialize;

use super::Seconds;
use crate::domain::{
    job::JobState,
    synthesis_options::{AudioFormat, TtsLanguage},
};

/// A job and its parts.
#[derive(Debug, Clone, Serialize)]
pub struct JobPartsView {
    /// Its line in the manifest.
    pub line: u64,
    /// Its key.
    pub key: String,
    /// Its state.
    pub state: JobState,
    /// The voice.
    pub voice_id: String,
    /// The language that its line or its column sets.
    pub language: Option<TtsLanguage>,
    /// The format of its audio.
    pub output_format: AudioFormat,
    /// Sample rate in Hz.
    pub sample_rate: u32,
    /// The name of its output file.
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
    /// The start of its audio, if all parts before it are there.
    pub start_seconds: Option<Seconds>,
    /// Its length, in Unicode scalar values.
    pub characters: usize,
    /// The state of its clip.
    pub state: &'static str,
    /// Its paragraph, from 1.
    pub paragraph: u32,
    /// The text of the part.
    pub text: String,
    /// The cache key of its clip.
    pub cache_key: String,
}
