//! Verifies a finished file from its own bytes alone.

use std::{fs::File, path::Path};

use super::{
    AudioError,
    part::{Body, check, differs},
};
use crate::domain::synthesis_options::{AudioFormat, SampleRate};

/// Reads a finished file again: it has one valid header with true lengths, or MP3 frames and a true header of them, none of
/// which needs missing bytes; and its length in samples is the expected one.
///
/// # Errors
/// The fault; see [`AudioError`].
pub fn verify(path: &Path, format: AudioFormat, rate: SampleRate, expected_samples: u64) -> Result<(), AudioError> {
    let mut file = File::open(path).map_err(AudioError::Read)?;
    let file_len = file.metadata().map_err(AudioError::Read)?.len();
    let checked = check(&mut file, format, rate)?;
    differs("length in samples", checked.samples, expected_samples)?;
    match checked.body {
        Body::Samples { offset, len } => {
            differs("header's length", offset, if format == AudioFormat::Wav { 44 } else { 0 })?;
            differs("size in bytes", file_len, offset + len)
        }
        Body::Opaque { .. } => Ok(()),
        Body::Frames { head, bytes, info } => {
            let frames = checked.samples / head.samples();
            let declared = info.map_or(frames, |info| info.frames.unwrap_or(frames));
            differs("declared number of frames", declared, frames)?;
            differs("size in bytes", file_len, bytes + info.map_or(0, |info| info.frame_len as u64))?;
            differs("number of frames that cannot be decoded", checked.lost_frames, 0)
        }
    }
}
