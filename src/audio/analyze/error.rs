//! Why a recording could not be heard or converted.

use std::io;

use super::hearing::Break;

/// Why a recording could not be heard or converted at all. What breaks later is told by [`Break`].
#[derive(Debug, thiserror::Error)]
pub enum HearError {
    /// The file cannot be opened or read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// What was made of it cannot be written; the recording is not to blame.
    #[error("the converted audio cannot be written")]
    Write(#[source] io::Error),
    /// It is no recording in any known format.
    #[error("it is no audio in a known format")]
    Unknown,
    /// It is a known container without a sound track.
    #[error("the {container} file has no audio")]
    NoAudio {
        /// The container.
        container: String,
    },
    /// It is damaged from its beginning on.
    #[error("it is damaged from its beginning: {why}")]
    Damaged {
        /// What the decoder says.
        why: String,
    },
    /// It is of a format that only ffmpeg reads, and there is no ffmpeg.
    #[error("{what} needs ffmpeg, which was not found")]
    NeedsFfmpeg {
        /// The format.
        what: String,
    },
    /// The ffmpeg that is there did not decode it.
    #[error("ffmpeg cannot decode it: {why}")]
    Ffmpeg {
        /// The last line that it printed, or what it did wrong.
        why: String,
    },
    /// It has more channels than anybody can mean.
    #[error("{0} channels are too many")]
    Channels(usize),
    /// Its sample rate is beyond any recorder's.
    #[error("{0} Hz is no usable sample rate")]
    Rate(u32),
    /// The channel that is asked for is not there.
    #[error("there is no channel {wanted}: it has {has}")]
    NoChannel {
        /// The channel, from 1 on.
        wanted: u32,
        /// How many there are.
        has: u16,
    },
    /// Where it begins is after the end of the recording.
    #[error("nothing is left of it to send")]
    Empty,
    /// It ends, by a limit or a change, before anything of it was decoded.
    #[error("it breaks after {at_ms} ms: {why}")]
    Broken {
        /// How much could be decoded.
        at_ms: u64,
        /// Why no more.
        why: Break,
    },
    /// The converted audio would not fit its format.
    #[error("it is too long for a WAV file")]
    TooLong,
    /// Somebody asked to stop.
    #[error("it was stopped")]
    Stopped,
    /// Kept bytes of a hearing that this version cannot read.
    #[error("the kept hearing is unreadable: {0}")]
    Kept(&'static str),
}
