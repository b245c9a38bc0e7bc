//! The audio of an answer on its way to where it is kept: counted and checked as it passes, held in no memory.

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
    answer::{Ending, MAX_ANSWER, Reply, header, is_framed},
    classify::{Failure, incomplete},
    errors::Said,
    frames::{Frames, Heard},
    sound::{Flaw, Sound},
    speech::{SpeechCall, SpeechOutcome, Spoken, Transport},
    words,
};
use crate::domain::call::{ErrorKind, Outcome, Trouble};

/// Writes the audio of `response` to `into`, and says what the response means.
///
/// # Errors
/// `into` could not be written.
pub(super) async fn listen<W: AsyncWrite + Unpin + ?Sized>(
    response: Response,
    call: &SpeechCall<'_>,
    into: &mut W,
    deadline: Instant,
) -> io::Result<SpeechOutcome> {
    if !response.status().is_success() {
        return Ok(Failure::of(&Reply::read_explanation(response, deadline).await).into());
    }
    let head = Head::of(&response);
    if !head.may_be_heard(call.transport) {
        return Ok(head.explained(&Reply::read_explanation(response, deadline).await));
    }
    let mut tape = Tape { into, sound: Sound::new(call.wire_format(), call.rate) };
    let played = match timeout_at(deadline, record(response, call.transport, &mut tape)).await {
        Ok(played) => played?,
        Err(_) => Played::Body(Ending::TimedOut),
    };
    Ok(head.outcome(played, &tape.sound))
}

async fn record<W: AsyncWrite + Unpin + ?Sized>(
    response: Response,
    transport: Transport,
    tape: &mut Tape<'_, W>,
) -> io::Result<Played> {
    let played = match transport {
        Transport::Sync => play(response, tape).await?,
        Transport::Sse => play_events(response, tape).await?,
    };
    tape.into.flush().await?;
    Ok(played)
}

/// How the playing of a response ended.
enum Played {
    /// Its body ended so. What was written may be all of it.
    Body(Ending),
    /// The vendor's own mark stood at the end.
    Marked,
    /// All of the stream came, but not the mark.
    Unmarked,
    /// It is not audio, and why.
    Unusable(String),
}

async fn play<W: AsyncWrite + Unpin + ?Sized>(mut response: Response, tape: &mut Tape<'_, W>) -> io::Result<Played> {
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
    tape: &mut Tape<'_, W>,
) -> io::Result<Played> {
    let mut frames = Frames::default();
    loop {
        let heard = match response.chunk().await {
            Err(_) => return Ok(Played::Body(Ending::Cut)),
            Ok(Some(chunk)) => frames.push(&chunk),
            // The mark may lack the empty line behind it; anything else there is half an event.
            Ok(None) => match frames.finish() {
                all @ Heard::All(_) => all,
                Heard::More(_) | Heard::Failed(_) | Heard::TooLong => return Ok(Played::Unmarked),
            },
        };
        let (audio, ended) = match heard {
            Heard::More(audio) => (audio, false),
            Heard::All(audio) => (audio, true),
            Heard::Failed(why) => return Ok(Played::Unusable(why)),
            Heard::TooLong => return Ok(Played::Body(Ending::TooLong)),
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

/// Where the audio goes, and what is known of it.
struct Tape<'a, W: ?Sized> {
    into: &'a mut W,
    sound: Sound,
}

impl<W: AsyncWrite + Unpin + ?Sized> Tape<'_, W> {
    fn has_room_for(&self, piece: &[u8]) -> bool {
        self.sound.bytes() + piece.len() as u64 <= MAX_ANSWER
    }

    async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.sound.push(piece);
        self.into.write_all(piece).await
    }
}

/// What the head of a success says.
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

    /// Whether the media type can be audio's.
    fn may_be_heard(&self, transport: Transport) -> bool {
        let media_type = self.content_type().unwrap_or_default().to_ascii_lowercase();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        match transport {
            Transport::Sse => essence == "text/event-stream",
            Transport::Sync => !essence.starts_with("text/") && !essence.ends_with("json") && !essence.ends_with("xml"),
        }
    }

    /// The outcome of a success whose media type is not audio's.
    fn explained(&self, reply: &Reply) -> SpeechOutcome {
        if matches!(reply.ending, Ending::Cut | Ending::TimedOut)
            && let Some(outcome) = incomplete(reply.ending, self.status, self.request_id(), None)
        {
            return outcome;
        }
        let media_type = self.content_type().map_or_else(|| "no media type".into(), |it| format!("`{it}`"));
        let said = Said::read(reply.explanation()).words.map(|words| format!(": {words}")).unwrap_or_default();
        self.unusable(&format!("with {media_type} instead of audio{said}"))
    }

    fn outcome(&self, played: Played, sound: &Sound) -> SpeechOutcome {
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
        match sound.check(framed) {
            Ok(()) => Outcome::Answered(Spoken {
                bytes: sound.bytes(),
                format: sound.format(),
                content_type: self.content_type(),
                request_id: self.request_id(),
                content_expiry: header(&self.headers, "x-content-expiry"),
            }),
            Err(Flaw::Cut(why)) => self.truncated(why),
            Err(Flaw::Unusable(why)) => self.unusable(&why),
        }
    }

    fn truncated(&self, why: &str) -> SpeechOutcome {
        Outcome::Unknown(self.trouble(ErrorKind::Truncated, why.to_owned()))
    }

    fn unusable(&self, why: &str) -> SpeechOutcome {
        let message = format!("the API answered with success, but {why}");
        Outcome::Unusable(self.trouble(ErrorKind::UnusableAnswer, message))
    }

    fn trouble(&self, kind: ErrorKind, message: String) -> Trouble {
        Trouble { status: Some(self.status.as_u16()), request_id: self.request_id(), ..Trouble::new(kind, message) }
    }
}
