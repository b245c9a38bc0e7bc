//! Writes the audio of an answer to its destination: counted and checked as it passes, never held in memory.

use std::io;

use reqwest::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout_at},
};

use super::{
    answer::{Ending, HttpReply, MAX_ANSWER, header, is_framed},
    audio_stream::{AudioStream, Flaw},
    classify::{FailedReply, incomplete},
    errors::Said,
    frames::{Frames, StreamStep},
    synthesis_call::{SynthesisCall, SynthesisOutcome, SynthesizedAudio, Transport},
    words,
};
use crate::domain::call::{CallFailure, ErrorKind, Outcome};

/// Writes the audio of `response` to `into`, and returns the outcome of the response.
///
/// # Errors
/// `into` could not be written.
pub(super) async fn listen<W: AsyncWrite + Unpin + ?Sized>(
    response: Response,
    call: &SynthesisCall<'_>,
    into: &mut W,
    deadline: Instant,
) -> io::Result<SynthesisOutcome> {
    if !response.status().is_success() {
        return Ok(FailedReply::of(&HttpReply::read_explanation(response, deadline).await).into());
    }
    let head = Head::of(&response);
    if !head.is_audio_type(call.transport) {
        return Ok(head.explained(&HttpReply::read_explanation(response, deadline).await));
    }
    let mut tape = AudioWriter { into, audio_stream: AudioStream::new(call.wire_format(), call.rate) };
    let played = match timeout_at(deadline, record(response, call.transport, &mut tape)).await {
        Ok(played) => played?,
        Err(_) => Played::Body(Ending::TimedOut),
    };
    Ok(head.outcome(played, &tape.audio_stream))
}

async fn record<W: AsyncWrite + Unpin + ?Sized>(
    response: Response,
    transport: Transport,
    tape: &mut AudioWriter<'_, W>,
) -> io::Result<Played> {
    let played = match transport {
        Transport::Sync => play(response, tape).await?,
        Transport::Sse | Transport::Ws => play_events(response, tape).await?,
    };
    tape.into.flush().await?;
    Ok(played)
}

/// How the reading of a response's audio ended.
enum Played {
    /// The body ended in this way. The written audio may be complete.
    Body(Ending),
    /// The vendor's end mark was received.
    Marked,
    /// The whole stream was received, but no end mark.
    Unmarked,
    /// The body is not audio, for this reason.
    Unusable(String),
}

async fn play<W: AsyncWrite + Unpin + ?Sized>(
    mut response: Response,
    tape: &mut AudioWriter<'_, W>,
) -> io::Result<Played> {
    loop {
        match response.chunk().await {
            Err(_) => return Ok(Played::Body(Ending::Cut)),
            Ok(None) => return Ok(Played::Body(Ending::Complete)),
            Ok(Some(chunk)) if !tape.has_room_for(&chunk) => return Ok(Played::Body(Ending::TooLong)),
            Ok(Some(chunk)) => tape.write(&chunk).await?,
        }
    }
}

async fn play_events<W: AsyncWrite + Unpin + ?Sized>(
    mut response: Response,
    tape: &mut AudioWriter<'_, W>,
) -> io::Result<Played> {
    let mut frames = Frames::default();
    loop {
        let heard = match response.chunk().await {
            Err(_) => return Ok(Played::Body(Ending::Cut)),
            Ok(Some(chunk)) => frames.push(&chunk),
            // The mark may lack the empty line after it; anything else here is an incomplete event.
            Ok(None) => match frames.finish() {
                all @ StreamStep::All(_) => all,
                StreamStep::More(_) | StreamStep::Failed(_) | StreamStep::TooLong => return Ok(Played::Unmarked),
            },
        };
        let (audio, ended) = match heard {
            StreamStep::More(audio) => (audio, false),
            StreamStep::All(audio) => (audio, true),
            StreamStep::Failed(why) => return Ok(Played::Unusable(why)),
            StreamStep::TooLong => return Ok(Played::Body(Ending::TooLong)),
        };
        if !tape.has_room_for(&audio) {
            return Ok(Played::Body(Ending::TooLong));
        }
        tape.write(&audio).await?;
        if ended {
            return Ok(Played::Marked);
        }
    }
}

/// The destination of the audio, and the checks of it.
struct AudioWriter<'a, W: ?Sized> {
    into: &'a mut W,
    audio_stream: AudioStream,
}

impl<W: AsyncWrite + Unpin + ?Sized> AudioWriter<'_, W> {
    fn has_room_for(&self, piece: &[u8]) -> bool {
        self.audio_stream.bytes() + piece.len() as u64 <= MAX_ANSWER
    }

    async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.audio_stream.push(piece);
        self.into.write_all(piece).await
    }
}

/// The head of a success.
struct Head {
    status: StatusCode,
    headers: HeaderMap,
    framed: bool,
}

impl Head {
    fn of(response: &Response) -> Self {
        Self { status: response.status(), headers: response.headers().clone(), framed: is_framed(response) }
    }

    fn content_type(&self) -> Option<String> {
        header(&self.headers, CONTENT_TYPE.as_str()).map(|media_type| words::clean(&media_type))
    }

    fn request_id(&self) -> Option<String> {
        header(&self.headers, "x-request-id").map(|id| words::clean(&id))
    }

    /// Whether the media type can be that of audio.
    fn is_audio_type(&self, transport: Transport) -> bool {
        let media_type = self.content_type().unwrap_or_default().to_ascii_lowercase();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        match transport {
            Transport::Sse | Transport::Ws => essence == "text/event-stream",
            Transport::Sync => !essence.starts_with("text/") && !essence.ends_with("json") && !essence.ends_with("xml"),
        }
    }

    /// The outcome of a success whose media type is not that of audio.
    fn explained(&self, reply: &HttpReply) -> SynthesisOutcome {
        if matches!(reply.ending, Ending::Cut | Ending::TimedOut)
            && let Some(outcome) = incomplete(reply.ending, self.status, self.request_id(), None)
        {
            return outcome;
        }
        let media_type = self.content_type().map_or_else(|| "no media type".into(), |it| format!("`{it}`"));
        let said = Said::read(reply.explanation()).words.map(|words| format!(": {words}")).unwrap_or_default();
        self.unusable(&format!("with {media_type} instead of audio{said}"))
    }

    fn outcome(&self, played: Played, audio_stream: &AudioStream) -> SynthesisOutcome {
        let framed = match played {
            Played::Body(ending) => {
                if let Some(outcome) = incomplete(ending, self.status, self.request_id(), None) {
                    return outcome;
                }
                self.framed
            }
            Played::Marked => true,
            Played::Unmarked => return self.truncated("the stream ends without its mark"),
            Played::Unusable(why) => return self.unusable(&why),
        };
        match audio_stream.check(framed) {
            Ok(()) => Outcome::Answered(SynthesizedAudio {
                bytes: audio_stream.bytes(),
                format: audio_stream.format(),
                content_type: self.content_type(),
                request_id: self.request_id(),
                content_expiry: header(&self.headers, "x-content-expiry"),
                words: Vec::new(),
            }),
            Err(Flaw::Cut(why)) => self.truncated(why),
            Err(Flaw::Unusable(why)) => self.unusable(&why),
        }
    }

    fn truncated(&self, why: &str) -> SynthesisOutcome {
        Outcome::Unknown(self.failure(ErrorKind::Truncated, why.to_owned()))
    }

    fn unusable(&self, why: &str) -> SynthesisOutcome {
        let message = format!("the API answered with success, but {why}");
        Outcome::Unusable(self.failure(ErrorKind::UnusableAnswer, message))
    }

    fn failure(&self, kind: ErrorKind, message: String) -> CallFailure {
        CallFailure {
            status: Some(self.status.as_u16()),
            request_id: self.request_id(),
            ..CallFailure::new(kind, message)
        }
    }
}
