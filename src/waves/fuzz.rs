//! Entry points that only the fuzzers in `fuzz/` need.

use bytes::Bytes;
use reqwest::{StatusCode, header::HeaderMap};

use super::{
    answer::{self, Ending},
    audio_stream::AudioStream,
    classify,
    frames::{Frames, StreamStep},
};
use crate::domain::{
    body::Arrived,
    call::Outcome,
    synthesis_options::{AudioFormat, SampleRate},
};

/// A reply, without headers.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'b> {
    /// The HTTP status; an invalid one counts as 200.
    pub status: u16,
    /// The body.
    pub body: &'b [u8],
    /// The answer is to be posted.
    pub posted: bool,
    /// The head said where the body ends.
    pub framed: bool,
    /// The connection broke in the middle of the body.
    pub cut: bool,
}

/// The outcome of a reply to a transcription.
#[must_use]
pub fn stt_outcome(reply: &Reply<'_>) -> Outcome {
    let ending = if reply.cut { Ending::Cut } else { Ending::Complete };
    let came = answer::HttpReply {
        status: StatusCode::from_u16(reply.status).unwrap_or_default(),
        headers: HeaderMap::new(),
        body: Arrived::Whole(Bytes::copy_from_slice(reply.body)),
        ending,
        framed: reply.framed,
    };
    classify::outcome(came, reply.posted)
}

/// The result of reading a stream of audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The audio up to the end; empty if the stream failed.
    pub audio: Vec<u8>,
    /// Whether the end mark was there; or what ended the stream instead.
    pub end: Result<bool, String>,
}

/// Reads a stream that arrives in pieces of `by` bytes.
///
/// # Panics
/// If `by` is zero.
#[must_use]
pub fn hear(stream: &[u8], by: usize) -> Stream {
    let (mut frames, mut audio) = (Frames::default(), Vec::new());
    let mut pieces = stream.chunks(by);
    loop {
        let (heard, last) = match pieces.next() {
            Some(piece) => (frames.push(piece), false),
            None => (frames.finish(), true),
        };
        match heard {
            StreamStep::More(more) => audio.extend(more),
            StreamStep::All(more) => return Stream { audio: [audio, more].concat(), end: Ok(true) },
            StreamStep::Failed(why) => return Stream { audio: Vec::new(), end: Err(why) },
            StreamStep::TooLong => return Stream { audio: Vec::new(), end: Err("an event is too long".into()) },
        }
        if last {
            return Stream { audio, end: Ok(false) };
        }
    }
}

/// Whether these bytes are audio of this format and rate, in an answer that says where it ends and in one that does not.
#[must_use]
pub fn is_whole_audio(bytes: &[u8], format: AudioFormat, rate: SampleRate) -> (bool, bool) {
    let mut audio_stream = AudioStream::new(format, rate);
    bytes.chunks(1_000).for_each(|piece| audio_stream.push(piece));
    (audio_stream.check(true).is_ok(), audio_stream.check(false).is_ok())
}
