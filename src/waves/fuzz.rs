//! What the fuzzers in `fuzz/` need of this room and nobody else does.

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
    /// Its HTTP status; one that is none is taken for 200.
    pub status: u16,
    /// Its body.
    pub body: &'b [u8],
    /// Its answer is to be posted.
    pub posted: bool,
    /// Its head said where the body ends.
    pub framed: bool,
    /// The connection broke in the middle of the body.
    pub cut: bool,
}

/// What a reply to a transcription means.
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

/// What was heard of a stream of speech.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The audio up to the end; none where it failed.
    pub audio: Vec<u8>,
    /// Whether the mark stood at its end; or what ended it instead.
    pub end: Result<bool, String>,
}

/// Hears a stream that comes in pieces of `by` bytes.
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

/// Whether these bytes are audio of this format and rate, as an answer that says where it ends and as one that does not.
#[must_use]
pub fn is_whole_audio(bytes: &[u8], format: AudioFormat, rate: SampleRate) -> (bool, bool) {
    let mut audio_stream = AudioStream::new(format, rate);
    bytes.chunks(1_000).for_each(|piece| audio_stream.push(piece));
    (audio_stream.check(true).is_ok(), audio_stream.check(false).is_ok())
}
