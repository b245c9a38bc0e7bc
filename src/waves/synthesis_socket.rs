//! Synthesis over a socket: the audio in pieces, and the time of each word in between.
//!
//! A socket serves one request at a time, and the next one after `complete`, unless the server closes it then.

use std::{io, time::Duration};

use base64::Engine as _;
use serde_json::{Map, Value};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    time::{Instant, timeout_at},
};

use super::{
    answer::MAX_ANSWER,
    audio_stream::{AudioStream, Flaw},
    client::{Client, expiring},
    errors::Said,
    frames::BASE64,
    gate::Departure,
    socket::{Socket, SocketEnd, SocketMessage, of_error},
    synthesis::TtsBody,
    synthesis_call::{LIVE_PATH, SynthesisCall, SynthesisOutcome, SynthesizedAudio},
    words,
};
use crate::domain::{
    call::{CallFailure, ErrorKind, Outcome},
    options::ExpireContent,
    synthesis::SpokenWord,
};

/// How long the first message of an answer may take, and each one after it.
const FIRST: Duration = Duration::from_secs(60);
const SILENCE: Duration = Duration::from_secs(30);
/// The server waits this long behind the last audio before it says `complete`; its own default is 4 s.
const COMPLETE_BACKOFF_MS: u32 = 250;
/// How far the last word may end behind the audio, in ms.
const SLACK_MS: u64 = 50;

/// A message of the server about a request.
#[derive(Debug, Clone, PartialEq)]
enum TtsFrame {
    Audio(Vec<u8>),
    Word(SpokenWord),
    Complete,
    /// An error, as it came.
    Failed(Value),
    /// It cannot be read.
    Unreadable(&'static str),
    /// Nothing that matters here: another request's, or of a kind that this release does not know.
    Other,
}

impl TtsFrame {
    /// Reads a message; `own_id` is the id under which the request was sent.
    fn read(message: &SocketMessage, own_id: &str) -> Self {
        let bytes = match message {
            SocketMessage::Text(text) => text,
            SocketMessage::Binary(bytes) => bytes,
        };
        let Ok(Value::Object(frame)) = serde_json::from_slice(bytes) else {
            return Self::Unreadable("a message is no JSON object");
        };
        if text(&frame, "external_request_id").is_some_and(|id| id != own_id) {
            return Self::Other;
        }
        let data = frame.get("data").and_then(Value::as_object);
        match text(&frame, "status").unwrap_or_default() {
            "chunk" | "audio" => match data.and_then(|data| text(data, "audio")).or_else(|| text(&frame, "audio")) {
                Some(audio) => BASE64.decode(audio).map_or(Self::Unreadable("its audio is no base64"), Self::Audio),
                None => Self::Unreadable("a message has no audio"),
            },
            "word_timestamp" => data.and_then(word).map_or(Self::Other, Self::Word),
            "complete" => Self::Complete,
            "error" | "failed" => Self::Failed(Value::Object(frame)),
            _ if frame.get("error").is_some_and(|error| !error.is_null()) => Self::Failed(Value::Object(frame)),
            _ => Self::Other,
        }
    }
}

fn text<'f>(fields: &'f Map<String, Value>, name: &str) -> Option<&'f str> {
    fields.get(name)?.as_str()
}

/// A word with its times in seconds.
fn word(data: &Map<String, Value>) -> Option<SpokenWord> {
    let ms = |name: &str| {
        let field = data.get(name)?;
        let seconds = field.as_f64().or_else(|| field.as_str()?.parse().ok())?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a day at most, and not negative")]
        (0.0..86_400.0).contains(&seconds).then(|| (seconds * 1_000.0).round() as u64)
    };
    let (start_ms, end_ms) = (ms("start")?, ms("end")?);
    (start_ms <= end_ms).then_some(SpokenWord { word: text(data, "word")?.to_owned(), start_ms, end_ms })
}

/// What has come of an answer.
struct Answer {
    audio: AudioStream,
    words: Vec<SpokenWord>,
    /// The vendor's id of the request.
    request_id: Option<String>,
    content_expiry: Option<String>,
}

impl Client {
    /// Synthesizes over a socket, which an earlier call may have opened.
    ///
    /// # Errors
    /// `into` could not be written.
    pub(super) async fn speak_on_socket<W: AsyncWrite + Unpin + Send + ?Sized>(
        &self,
        call: &SynthesisCall<'_>,
        departs: impl FnOnce() -> Departure + Send,
        deadline: Instant,
        into: &mut W,
    ) -> io::Result<SynthesisOutcome> {
        let expires = call.options.expire_content != ExpireContent::No;
        let mut socket = match self.sockets.take(expires) {
            Some(socket) => socket,
            None => match self.open_tts_socket(call, deadline).await {
                Ok(socket) => socket,
                Err(outcome) => return Ok(self.with_path(outcome, LIVE_PATH)),
            },
        };
        let body = TtsBody::by(call).over_socket(COMPLETE_BACKOFF_MS);
        let own_id = body.request_id().to_owned();
        let message = serde_json::to_string(&body).expect("numbers and strings always make JSON");
        if departs() == Departure::Stale {
            self.sockets.put(socket, expires);
            return Ok(Outcome::Stale);
        }
        let mut answer = Answer {
            audio: AudioStream::new(call.wire_format(), call.rate),
            words: Vec::new(),
            request_id: socket.request_id.clone(),
            content_expiry: socket.content_expiry.clone(),
        };
        let sent = timeout_at(deadline, socket.send(message)).await;
        let ended = match sent {
            Ok(Ok(())) => answer.listen(&mut socket, &own_id, deadline, into).await?,
            Ok(Err(end)) => Err(answer.cut(&end)),
            Err(_) => Err(answer.timed_out()),
        };
        Ok(match ended {
            Ok(()) => {
                into.flush().await?;
                self.sockets.put(socket, expires);
                answer.checked(call.rate.hz())
            }
            Err(outcome) => outcome,
        })
    }

    async fn open_tts_socket(&self, call: &SynthesisCall<'_>, deadline: Instant) -> Result<Socket, SynthesisOutcome> {
        let request =
            self.http.get(self.endpoint(LIVE_PATH)).query(&call.options.extra.query.iter().collect::<Vec<_>>());
        self.open_socket(expiring(request, call.options.expire_content), deadline).await
    }
}

impl Answer {
    /// Reads the answer to its end. `Err` has the outcome of one without its end.
    async fn listen<W: AsyncWrite + Unpin + Send + ?Sized>(
        &mut self,
        socket: &mut Socket,
        own_id: &str,
        deadline: Instant,
        into: &mut W,
    ) -> io::Result<Result<(), SynthesisOutcome>> {
        let mut patience = FIRST;
        loop {
            let message = match timeout_at(deadline.min(Instant::now() + patience), socket.next()).await {
                Ok(Ok(message)) => message,
                Ok(Err(end)) => return Ok(Err(self.cut(&end))),
                Err(_) => return Ok(Err(self.timed_out())),
            };
            patience = SILENCE;
            self.note_id(&message);
            match TtsFrame::read(&message, own_id) {
                TtsFrame::Audio(piece) => {
                    if self.audio.bytes() + piece.len() as u64 > MAX_ANSWER {
                        let message = "the answer is larger than any that is read (64 MB), and is not kept".to_owned();
                        let failure = self.failure(ErrorKind::AnswerTooLarge, message);
                        return Ok(Err(Outcome::TooLarge { failure, body: None }));
                    }
                    self.audio.push(&piece);
                    into.write_all(&piece).await?;
                }
                TtsFrame::Word(word) => self.words.push(word),
                TtsFrame::Complete => return Ok(Ok(())),
                TtsFrame::Failed(error) => {
                    return Ok(Err(of_error(&error, self.audio.bytes() > 0, self.request_id.clone())));
                }
                TtsFrame::Unreadable(why) => return Ok(Err(self.unusable(why))),
                TtsFrame::Other => {}
            }
        }
    }

    /// Takes the vendor's id of the request from a message that has it.
    fn note_id(&mut self, message: &SocketMessage) {
        if self.audio.bytes() > 0 {
            return;
        }
        let SocketMessage::Text(json) = message else { return };
        if let Some(id) = Said::read(json).request_id {
            self.request_id = Some(id);
        }
    }

    /// The outcome of an answer that came to its end.
    fn checked(mut self, hz: u32) -> SynthesisOutcome {
        match self.audio.check(true) {
            Ok(()) => {}
            Err(Flaw::Cut(why)) => return Outcome::Unknown(self.failure(ErrorKind::Truncated, why.to_owned())),
            Err(Flaw::Unusable(why)) => return self.unusable(&why),
        }
        let audio_ms = self.audio.bytes() / 2 * 1_000 / u64::from(hz);
        if let Some(end_ms) = self.words.iter().map(|word| word.end_ms).max().filter(|end| *end > audio_ms + SLACK_MS) {
            let seconds = |ms: u64| format!("{}.{:03} s", ms / 1_000, ms % 1_000);
            let message =
                format!("its words end at {}, and its audio at {} already", seconds(end_ms), seconds(audio_ms));
            return Outcome::Unknown(self.failure(ErrorKind::Truncated, message));
        }
        if !self.words.is_sorted_by_key(|word| word.start_ms) {
            self.words.clear();
        }
        Outcome::Answered(SynthesizedAudio {
            bytes: self.audio.bytes(),
            format: self.audio.format(),
            content_type: None,
            request_id: self.request_id,
            content_expiry: self.content_expiry,
            words: self.words,
        })
    }

    /// The outcome where the socket ended first.
    fn cut(&self, end: &SocketEnd) -> SynthesisOutcome {
        let has_begun = self.audio.bytes() > 0 || !self.words.is_empty();
        if end.is_full() && !has_begun {
            return Outcome::Refused(self.failure(ErrorKind::RateLimited, format!("{end}: it has no room for more")));
        }
        let kind = if has_begun { ErrorKind::Truncated } else { ErrorKind::ConnectionLost };
        Outcome::Unknown(self.failure(kind, format!("{end}, before the answer was complete")))
    }

    fn timed_out(&self) -> SynthesisOutcome {
        let message = match self.audio.bytes() {
            0 => "the API did not answer in time",
            _ => "time was up in the middle of the answer",
        };
        Outcome::Unknown(self.failure(ErrorKind::TimedOut, message.to_owned()))
    }

    fn unusable(&self, why: &str) -> SynthesisOutcome {
        let message = format!("the API took the text, but {why}");
        Outcome::Unusable(self.failure(ErrorKind::UnusableAnswer, message))
    }

    fn failure(&self, kind: ErrorKind, message: String) -> CallFailure {
        CallFailure {
            request_id: self.request_id.clone().map(|id| words::clean(&id)),
            ..CallFailure::new(kind, message)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(message: &Value) -> TtsFrame {
        TtsFrame::read(&SocketMessage::Text(message.to_string().into()), "c1")
    }

    #[test]
    fn messages_are_read_in_the_shapes_that_they_have() {
        let chunk = json!({"status": "chunk", "external_request_id": "c1", "data": {"audio": "AQID"}});
        assert_eq!(read(&chunk), TtsFrame::Audio(vec![1, 2, 3]));
        for (start, end) in [(json!(1.12), json!(1.9204)), (json!("1.12"), json!("1.92"))] {
            let data = json!({"id": 2, "word": "$100", "start": start, "end": end});
            let word = SpokenWord { word: "$100".into(), start_ms: 1_120, end_ms: 1_920 };
            assert_eq!(read(&json!({"status": "word_timestamp", "data": data})), TtsFrame::Word(word));
        }
        for data in
            [json!({}), json!({"word": "a", "start": 2.0, "end": 1.0}), json!({"word": "a", "start": -1, "end": 1})]
        {
            assert_eq!(read(&json!({"status": "word_timestamp", "data": data})), TtsFrame::Other, "{data}");
        }
        assert_eq!(read(&json!({"status": "complete", "request_id": "v"})), TtsFrame::Complete);
        assert_eq!(
            read(&json!({"status": "complete", "external_request_id": "c0"})),
            TtsFrame::Other,
            "another request's"
        );
        assert_eq!(read(&json!({"status": "something new"})), TtsFrame::Other);
        assert!(matches!(read(&json!({"status": "error", "message": "No"})), TtsFrame::Failed(_)));
        assert!(matches!(read(&json!({"error": {"message": "No"}})), TtsFrame::Failed(_)));
        for wrong in [json!([]), json!({"status": "chunk"}), json!({"status": "chunk", "data": {"audio": "?"}})] {
            assert!(matches!(read(&wrong), TtsFrame::Unreadable(_)), "{wrong}");
        }
    }
}
