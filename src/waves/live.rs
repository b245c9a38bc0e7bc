//! Transcription over a socket: the samples go out at a pace, and the final texts come back until the last one.

use std::{
    io::{self, Cursor, SeekFrom},
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use reqwest::{
    RequestBuilder, StatusCode,
    header::{HeaderMap, HeaderValue},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncSeekExt as _},
    time::{Instant, sleep_until, timeout},
};

use super::{
    answer::{Ending, HttpReply},
    classify,
    client::{Client, SttBody, expiring, name},
    gate::Departure,
    socket::{Socket, SocketEnd, SocketMessage, of_error},
    synthesis::wire_id,
    words,
};
use crate::{
    audio::wav,
    domain::{
        body::Arrived,
        call::{CallFailure, ErrorKind, Outcome},
        options::TranscribeOptions,
    },
};

/// The path of the socket.
const PATH: &str = "/waves/v1/stt/live";
/// The bytes of one frame: the API recommends about as many.
const FRAME: usize = 4_096;
/// How long a frame may wait for the API to take it.
const STALL: Duration = Duration::from_secs(30);
/// How long the API may be silent behind the last frame.
const SILENCE: Duration = Duration::from_secs(60);

/// The request of a live transcription.
#[derive(Debug, Clone, Copy)]
pub struct LiveCall<'a> {
    /// Language and flags.
    pub options: &'a TranscribeOptions,
    /// The call's id in the journal. The vendor keeps it as `external_session_id`.
    pub call_id: &'a str,
    /// How many times as fast as it was spoken the audio is sent.
    pub speed: f64,
}

/// 16-bit mono samples, read as they are sent.
struct Samples {
    rate: u32,
    /// Bytes that are still to be sent.
    left: u64,
    from: Box<dyn AsyncRead + Send + Unpin>,
}

impl Samples {
    /// The samples of a WAV that was made to be sent.
    async fn of(body: SttBody) -> Result<Self, CallFailure> {
        let wrong = |why: String| CallFailure::new(ErrorKind::SourceUnreadable, why);
        let opened = match body {
            SttBody::File { path, .. } => of_file(&path).await,
            SttBody::Bytes { content, .. } => of_memory(content),
            SttBody::Url(_) => return Err(wrong("a live session takes samples, not a URL".into())),
        };
        let samples = opened.map_err(|e| wrong(format!("the converted recording cannot be read: {e}")))?;
        if samples.left == 0 {
            Err(CallFailure::new(ErrorKind::SourceEmpty, "the recording has no samples"))
        } else {
            Ok(samples)
        }
    }

    /// The next frame; `None` behind the last one.
    async fn frame(&mut self) -> io::Result<Option<Bytes>> {
        let len = usize::try_from(self.left).unwrap_or(FRAME).min(FRAME);
        if len == 0 {
            return Ok(None);
        }
        let mut frame = vec![0; len];
        self.from.read_exact(&mut frame).await?;
        self.left -= len as u64;
        Ok(Some(frame.into()))
    }

    /// How long a number of bytes sounds.
    fn time_of(&self, bytes: u64) -> Duration {
        Duration::from_millis(bytes * 500 / u64::from(self.rate.max(1)))
    }
}

async fn of_file(path: &Path) -> io::Result<Samples> {
    let file = std::fs::File::open(path)?;
    let (mut file, header) = tokio::task::spawn_blocking(move || {
        let mut file = file;
        wav::read(&mut file).map(|header| (file, header))
    })
    .await
    .map_err(io::Error::other)?
    .map(|(file, header)| (tokio::fs::File::from_std(file), header))
    .map_err(io::Error::other)?;
    file.seek(SeekFrom::Start(header.data_offset)).await?;
    samples(&header, tokio::io::BufReader::with_capacity(16 * FRAME, file))
}

fn of_memory(content: Bytes) -> io::Result<Samples> {
    let header = wav::read(&mut Cursor::new(&content)).map_err(io::Error::other)?;
    let at = usize::try_from(header.data_offset).unwrap_or(usize::MAX).min(content.len());
    samples(&header, Cursor::new(content.slice(at..)))
}

fn samples(header: &wav::Wav, from: impl AsyncRead + Send + Unpin + 'static) -> io::Result<Samples> {
    if (header.format_tag, header.bits_per_sample, header.channels) != (wav::PCM, 16, 1) {
        return Err(io::Error::other("it is not mono with 16 bits"));
    }
    Ok(Samples { rate: header.sample_rate, left: header.data_len / 2 * 2, from: Box::new(from) })
}

/// What the final messages of a session said.
#[derive(Debug, Default)]
struct Finals {
    texts: Vec<String>,
    words: Vec<Value>,
    utterances: Vec<Value>,
    language: Option<Value>,
    session_id: Option<String>,
}

/// What a message means for the session.
enum Heard {
    /// More is to come.
    More,
    /// It was the last one.
    Last,
    /// An error, as it came.
    Failed(Value),
    Unreadable,
}

impl Finals {
    fn take(&mut self, message: &SocketMessage) -> Heard {
        let SocketMessage::Text(text) = message else { return Heard::More };
        let Ok(mut event) = serde_json::from_slice::<Value>(text) else { return Heard::Unreadable };
        let kind = event["type"].as_str().unwrap_or_default().to_owned();
        if kind == "error" || event["status"] == "error" {
            return Heard::Failed(event);
        }
        if let Some(id) = event["session_id"].as_str() {
            self.session_id = Some(words::clean(id));
        }
        let is = |name: &str| event[name].as_bool().unwrap_or_default();
        let (is_final, is_last) = (is("is_final"), is("is_last"));
        if !(is_final || is_last) {
            return Heard::More;
        }
        let said = ["transcript", "transcription"].iter().find_map(|name| event[*name].as_str());
        let said = said.map(str::trim).unwrap_or_default().to_owned();
        let mut own = |name: &str| match event[name].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        };
        let (words, mut utterances) = (own("words"), own("utterances"));
        if utterances.is_empty()
            && let (Some(first), Some(last)) = (words.first(), words.last())
        {
            utterances
                .push(json!({"start": first["start"], "end": last["end"], "text": said, "speaker": first["speaker"]}));
        }
        if !said.is_empty() {
            self.texts.push(said);
        }
        self.words.extend(words);
        self.utterances.extend(utterances);
        if event["language"].is_string() {
            self.language = Some(event["language"].take());
        }
        if is_last { Heard::Last } else { Heard::More }
    }

    /// The answer in the shape of one that came over HTTP.
    fn into_body(self, sent: Duration) -> Vec<u8> {
        let Self { texts, words, utterances, language, session_id } = self;
        let mut body = json!({
            "status": "success",
            "transcription": texts.join(" "),
            "words": words,
            "utterances": utterances,
            "metadata": {"duration": sent.as_secs_f64()},
            "transport": "live",
        });
        let optional = [("language", language), ("request_id", session_id.map(Value::from))];
        for (name, value) in optional {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        serde_json::to_vec(&body).expect("what was read can be written")
    }
}

impl Client {
    /// Transcribes a recording over a socket, and returns how the call ended, at the latest after `limit`. `body` is a mono WAV with
    /// 16 bits. `departs` is called as for [`Client::transcribe`].
    pub async fn transcribe_live(
        &self,
        call: &LiveCall<'_>,
        body: SttBody,
        departs: impl FnOnce() -> Departure + Send,
        limit: Duration,
    ) -> Outcome {
        let start = Instant::now();
        let outcome = match timeout(limit, self.attempt_live(call, body, departs, start + limit)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                Outcome::Unknown(CallFailure::new(ErrorKind::TimedOut, "time was up in the middle of the session"))
            }
        };
        let elapsed_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(call.id = call.call_id, elapsed_ms, outcome = name(&outcome), "call ended");
        self.with_path(outcome, PATH)
    }

    async fn attempt_live(
        &self,
        call: &LiveCall<'_>,
        body: SttBody,
        departs: impl FnOnce() -> Departure + Send,
        deadline: Instant,
    ) -> Outcome {
        let mut samples = match Samples::of(body).await {
            Ok(samples) => samples,
            Err(failure) => return Outcome::NotSent(failure),
        };
        let request = self.live_request(call, samples.rate);
        let mut socket = match self.open_socket(request, deadline).await {
            Ok(socket) => socket,
            Err(outcome) => return outcome,
        };
        if departs() == Departure::Stale {
            socket.close().await;
            return Outcome::Stale;
        }
        let (request_id, content_expiry) = (socket.request_id.clone(), socket.content_expiry.clone());
        let mut finals = Finals { session_id: request_id, ..Finals::default() };
        let whole = samples.time_of(samples.left);
        match converse(&mut socket, &mut samples, &mut finals, call.speed).await {
            Ok(()) => {
                socket.close().await;
                let mut headers = HeaderMap::new();
                if let Some(expiry) = content_expiry.and_then(|text| HeaderValue::from_str(&text).ok()) {
                    headers.insert("x-content-expiry", expiry);
                }
                let body = Arrived::Whole(finals.into_body(whole).into());
                let reply = HttpReply { status: StatusCode::OK, headers, body, ending: Ending::Complete, framed: true };
                classify::outcome(reply, false)
            }
            Err(outcome) => with_request_id(*outcome, finals.session_id),
        }
    }

    fn live_request(&self, call: &LiveCall<'_>, rate: u32) -> RequestBuilder {
        let options = call.options;
        let flags = [
            ("word_timestamps", true),
            ("sentence_timestamps", true),
            ("diarize", options.diarize),
            ("redact_pii", options.redact_pii),
            ("redact_pci", options.redact_pci),
        ];
        let on: Vec<_> = flags.into_iter().filter(|(_, on)| *on).map(|(name, _)| (name, "true")).collect();
        let keywords = Some(options.keywords.to_string()).filter(|words| !words.is_empty());
        let request = self
            .http
            .get(self.endpoint(PATH))
            // The model is `pulse`, which alone is served live.
            .query(&[("model", "pulse"), ("language", options.language.as_str()), ("encoding", "linear16")])
            .query(&[("sample_rate", rate)])
            .query(&on)
            .query(&keywords.map(|words| [("keywords", words)]).as_slice().concat())
            .query(&[("external_session_id", wire_id(call.call_id))])
            .query(&options.extra.query.iter().collect::<Vec<_>>());
        expiring(request, options.expire_content)
    }
}

/// Sends all samples, and takes what comes back up to the last message.
async fn converse(
    socket: &mut Socket,
    samples: &mut Samples,
    finals: &mut Finals,
    speed: f64,
) -> Result<(), Box<Outcome>> {
    let (begun, mut sent, mut is_over) = (Instant::now(), 0, false);
    let mut due = begun;
    loop {
        tokio::select! {
            biased;
            message = socket.next() => {
                let message = message.map_err(|end| Box::new(cut(&end, sent)))?;
                match finals.take(&message) {
                    Heard::More => {}
                    // Whoever closes before the samples are all there has not heard them.
                    Heard::Last if is_over => return Ok(()),
                    Heard::Last => return Err(Box::new(truncated("the API ended the session before the recording was over".into()))),
                    Heard::Failed(error) => return Err(Box::new(of_error(&error, !finals.texts.is_empty(), None))),
                    Heard::Unreadable => return Err(Box::new(unusable("a message of the session is no JSON"))),
                }
                if is_over {
                    due = Instant::now() + SILENCE;
                }
            }
            () = sleep_until(due), if !is_over => {
                let frame = samples.frame().await.map_err(|e| {
                    let message = format!("the recording could not be read while it was sent: {e}");
                    Box::new(Outcome::Unknown(CallFailure::new(ErrorKind::SourceChanged, message)))
                })?;
                let sending = match frame {
                    Some(frame) => {
                        sent += frame.len() as u64;
                        due = begun + samples.time_of(sent).div_f64(speed);
                        timeout(STALL, socket.send_bytes(frame)).await
                    }
                    None => {
                        is_over = true;
                        due = Instant::now() + SILENCE;
                        timeout(STALL, socket.send(r#"{"type":"close_stream"}"#.to_owned())).await
                    }
                };
                match sending {
                    Ok(Ok(())) => {}
                    Ok(Err(end)) => return Err(Box::new(cut(&end, sent))),
                    Err(_) => return Err(Box::new(timed_out("the API took no more audio"))),
                }
            }
            () = sleep_until(due), if is_over => return Err(Box::new(timed_out("the API did not finish the transcript in time"))),
        }
    }
}

fn cut(end: &SocketEnd, sent: u64) -> Outcome {
    // Less than a second of audio is no work that is billed before the session was refused.
    if end.is_full() && sent <= 32_000 {
        let message = format!("{end}: there are too many sessions");
        return Outcome::Refused(CallFailure::new(ErrorKind::RateLimited, message));
    }
    truncated(format!("{end}, before the transcript was complete"))
}

fn truncated(message: String) -> Outcome {
    Outcome::Unknown(CallFailure::new(ErrorKind::Truncated, message))
}

fn timed_out(message: &str) -> Outcome {
    Outcome::Unknown(CallFailure::new(ErrorKind::TimedOut, message))
}

fn unusable(why: &str) -> Outcome {
    Outcome::Unusable(CallFailure::new(ErrorKind::UnusableAnswer, why))
}

/// The same with the vendor's id of the session, where it has none.
fn with_request_id(outcome: Outcome, session: Option<String>) -> Outcome {
    let with = |failure: CallFailure| CallFailure { request_id: failure.request_id.or(session), ..failure };
    match outcome {
        Outcome::Refused(failure) => Outcome::Refused(with(failure)),
        Outcome::Unknown(failure) => Outcome::Unknown(with(failure)),
        Outcome::Unusable(failure) => Outcome::Unusable(with(failure)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(finals: &mut Finals, event: &Value) -> Heard {
        finals.take(&SocketMessage::Text(event.to_string().into()))
    }

    #[test]
    fn finals_become_one_answer_and_the_rest_is_left() {
        let mut finals = Finals::default();
        let word = |word: &str, start: f64| json!({"word": word, "start": start, "end": start + 0.3, "speaker": 1});
        let interim = json!({"type": "transcription", "transcript": "Good mor", "is_final": false});
        assert!(matches!(take(&mut finals, &interim), Heard::More));
        assert!(matches!(
            take(&mut finals, &json!({"type": "speech_started", "session_id": "s", "timestamp": 1.0})),
            Heard::More
        ));
        let one = json!({"type": "transcription", "transcript": "Good morning.", "transcription": "Good morning.", "is_final": true, "is_last": false,
            "session_id": "s1", "language": "en", "words": [word("Good", 0.5), word("morning.", 0.9)]});
        assert!(matches!(take(&mut finals, &one), Heard::More));
        let last = json!({"type": "transcription", "transcription": "Bye.", "is_final": true, "is_last": true, "words": [word("Bye.", 3.0)],
            "utterances": [{"text": "Bye.", "start": 3.0, "end": 3.3}]});
        assert!(matches!(take(&mut finals, &last), Heard::Last));
        let body: Value = serde_json::from_slice(&finals.into_body(Duration::from_millis(4_500))).unwrap();
        assert_eq!(
            (&body["transcription"], &body["language"], &body["request_id"]),
            (&"Good morning. Bye.".into(), &"en".into(), &"s1".into())
        );
        assert_eq!((body["words"].as_array().unwrap().len(), &body["metadata"]["duration"]), (3, &4.5.into()));
        assert_eq!(body["utterances"][0], json!({"start": 0.5, "end": 1.2, "text": "Good morning.", "speaker": 1}));
        assert_eq!(body["utterances"][1]["text"], "Bye.");
    }

    #[test]
    fn errors_are_told_from_texts() {
        let mut finals = Finals::default();
        assert!(matches!(take(&mut finals, &json!({"type": "error", "message": "No"})), Heard::Failed(_)));
        assert!(matches!(take(&mut finals, &json!({"status": "error", "error_code": "x"})), Heard::Failed(_)));
        assert!(matches!(finals.take(&SocketMessage::Text("no".into())), Heard::Unreadable));
        assert!(matches!(take(&mut finals, &json!({"is_last": true})), Heard::Last), "nobody speaks");
        assert!(finals.texts.is_empty());
    }

    #[tokio::test]
    async fn samples_are_those_of_the_file_and_go_out_in_frames() {
        let wav = wav::pcm16(1, 16_000, None, &vec![3; 5_000]);
        let body = SttBody::Bytes { content: wav.into(), content_type: "audio/wav".into() };
        let mut samples = Samples::of(body).await.unwrap();
        assert_eq!((samples.rate, samples.time_of(samples.left)), (16_000, Duration::from_micros(312_000)));
        let mut lengths = Vec::new();
        while let Some(frame) = samples.frame().await.unwrap() {
            lengths.push(frame.len());
        }
        assert_eq!(lengths, [4_096, 4_096, 1_808]);
        for wrong in [wav::pcm16(2, 16_000, None, &[0; 9]), wav::pcm16(1, 16_000, None, &[])] {
            let body = SttBody::Bytes { content: wrong.into(), content_type: "audio/wav".into() };
            assert!(Samples::of(body).await.is_err());
        }
    }
}
