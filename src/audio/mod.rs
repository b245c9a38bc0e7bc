//! Audio containers and encodings, and what is measured of samples: code over readers and writers. Depends on no task and no
//! network.

use std::io;

pub mod analyze;
mod decode;
pub mod g711;
mod join;
mod meter;
pub mod mp3;
mod part;
#[cfg(test)]
pub(crate) mod tests;
mod verify;
pub mod wav;

pub use decode::{DecodeError, DecodedBlock, MediaSource, decode};
pub use join::{Joined, Joiner};
pub use meter::{Meter, measure_decoded};
pub use part::{Checked, Source, check};
pub use verify::verify;

use crate::domain::synthesis_options::{AudioFormat, SampleRate};

/// Why audio is invalid, or could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum AudioError {
    /// It is empty, or has only headers.
    #[error("it holds no audio")]
    Empty,
    /// It is no file of the format at all, but for example a JSON error message.
    #[error("it is not {format}: {why}")]
    NotThat {
        /// The format that was expected.
        format: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A valid file with another rate, length or number of channels than expected.
    #[error("its {what} is {found}, not {wanted}")]
    Differs {
        /// What differs.
        what: &'static str,
        /// The value found.
        found: u64,
        /// The expected value.
        wanted: u64,
    },
    /// Its end is missing.
    #[error("it is cut short: {has} {unit} of {declared}")]
    CutShort {
        /// The counted unit: bytes or frames.
        unit: &'static str,
        /// How many there are.
        has: u64,
        /// How many there should be.
        declared: u64,
    },
    /// Bytes that belong to no MP3 frame, between frames or more than a tag would have.
    #[error("byte {at} is no MP3 frame")]
    Junk {
        /// Where they begin, in bytes from the start.
        at: u64,
    },
    /// It would be longer than a WAV file can be; see [`wav::fits`].
    #[error("{samples} samples are too many for a WAV file (4 GB)")]
    TooLong {
        /// Its length, in samples.
        samples: u64,
    },
    /// The conversion needs a codec that this program lacks.
    #[error("{wanted} cannot be made of {bought}")]
    Unmakeable {
        /// The format of the parts.
        bought: AudioFormat,
        /// The requested format.
        wanted: AudioFormat,
    },
    /// A part cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// The output cannot be written; no part is to blame.
    #[error("it cannot be written")]
    Write(#[source] io::Error),
}

/// The time of a sample in milliseconds, rounded.
#[must_use]
pub fn sample_to_ms(sample: u64, rate: SampleRate) -> u64 {
    scale(sample, 1_000, u64::from(rate.hz()))
}

/// The sample at a time in milliseconds, rounded.
#[must_use]
pub fn ms_to_sample(ms: u64, rate: SampleRate) -> u64 {
    scale(ms, u64::from(rate.hz()), 1_000)
}

/// `n × times / by`, with a half rounded up; the greatest number on overflow.
fn scale(n: u64, times: u64, by: u64) -> u64 {
    let (n, times, by) = (u128::from(n), u128::from(times), u128::from(by));
    u64::try_from((2 * n * times + by) / (2 * by)).unwrap_or(u64::MAX)
}
