//! Every way in which a synthesis can end, on real sockets.

use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::{
    Departure, Pronunciation, SynthesisCall, SynthesisOutcome, SynthesizedAudio, Transport,
    server::{Peer, serve},
    tests::{LONG, client},
};
use crate::{
    audio::wav,
    domain::{
        call::{CallFailure, ErrorKind, Outcome},
        extra::Extra,
        options::ExpireContent,
        synthesis_options::{AudioFormat, SampleRate, Speed, SynthesisOptions, TtsLanguage, TtsModel},
    },
};

fn options() -> SynthesisOptions {
    SynthesisOptions {
        model: TtsModel::Lightning,
        voice_id: "avery".into(),
        language: None,
        speed: Speed::NORMAL,
        number_pronunciation_language: None,
        extra: Extra::default(),
        math_notation: false,
        expire_content: ExpireContent::No,
    }
}

fn call(options: &SynthesisOptions, transport: Transport) -> SynthesisCall<'_> {
    SynthesisCall {
        options,
        text: "Hello.",
        format: AudioFormat::Wav,
        rate: SampleRate::Hz8000,
        dictionaries: &[],
        transport,
        call_id: "c1",
        session: "a batch",
    }
}

/// How a call ends at this server, and what it wrote.
async fn at(url: &Url, transport: Transport, timeout: Duration) -> (SynthesisOutcome, Vec<u8>) {
    let (options, mut written) = (options(), Vec::new());
    let call = call(&options, transport);
    let outcome = client(url).synthesize(&call, || Departure::Go, timeout, &mut written).await.unwrap();
    (outcome, written)
}

/// How a call ends if these bytes are the answer, after which the peer closes.
async fn answered_with(transport: Transport, response: impl Into<Vec<u8>>) -> (SynthesisOutcome, Vec<u8>) {
    let response = response.into();
    let (url, _) = serve(move |mut peer: Peer| {
        let response = response.clone();
        async move {
            peer.request().await;
            peer.write(response).await;
        }
    })
    .await;
    at(&url, transport, LONG).await
}

/// A complete response.
fn response(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn stream(body: &str) -> Vec<u8> {
    response("200 OK", "Content-Type: text/event-stream\r\n", body)
}

fn unknown((outcome, _): (SynthesisOutcome, Vec<u8>)) -> ErrorKind {
    match outcome {
        Outcome::Unknown(failure) => failure.kind,
        other => panic!("{other:?}"),
    }
}

fn unusable((outcome, _): (SynthesisOutcome, Vec<u8>)) -> CallFailure {
    match outcome {
        Outcome::Unusable(failure) if failure.kind == ErrorKind::UnusableAnswer => failure,
        other => panic!("{other:?}"),
    }
}

fn refused((outcome, _): (SynthesisOutcome, Vec<u8>)) -> (CallFailure, Option<Duration>) {
    match outcome {
        Outcome::Refused(failure) => (failure.clone(), failure.retry_after),
        other => panic!("{other:?}"),
    }
}

const FRAMES: &str = "event: audio\ndata: {\"audio\": \"AQID\", \"done\": false, \"status\": \"206\"}\n\n\
                      event: audio\ndata: {\"audio\": \"BA==\", \"done\": false, \"status\": \"206\"}\n\n";
const END: &str = "data: {\"status\": \"200\", \"done\": true}\n\n";

fn wav_file() -> Vec<u8> {
    wav::pcm16(1, 8000, Some("Hello."), &[7; 100_000])
}

#[tokio::test]
async fn audio_is_written_as_it_came_and_described() {
    let headers = "X-Request-Id: r1\r\nContent-Type: audio/wav\r\nx-content-expiry: applied\r\n";
    let (outcome, written) = answered_with(Transport::Sync, response("200 OK", headers, wav_file())).await;
    let expected = SynthesizedAudio {
        bytes: written.len() as u64,
        format: AudioFormat::Wav,
        content_type: Some("audio/wav".into()),
        request_id: Some("r1".into()),
        content_expiry: Some("applied".into()),
        words: Vec::new(),
    };
    assert_eq!((outcome, written), (Outcome::Answered(expected), wav_file()));
}

#[tokio::test]
async fn all_that_is_asked_for_is_sent() {
    let (url, mut requests) = serve(|mut peer: Peer| async move {
        let request = peer.request().await;
        peer.respond("500 No", "", "").await;
        request
    })
    .await;
    let full = SynthesisOptions {
        model: TtsModel::LightningPro,
        language: Some(TtsLanguage::Hi),
        speed: Speed::new(1.25).unwrap(),
        number_pronunciation_language: Some(TtsLanguage::En),
        math_notation: true,
        expire_content: ExpireContent::Required,
        extra: Extra {
            query: [("tier".to_owned(), "a b".to_owned())].into(),
            body: [("emotion".to_owned(), r#"{"calm":0.5}"#.to_owned()), ("pitch".to_owned(), r#""low""#.to_owned())]
                .into(),
        },
        ..options()
    };
    let dictionaries = ["d1".to_owned(), "d2".to_owned()];
    let full = SynthesisCall {
        text: "नमस्ते \"x\"",
        format: AudioFormat::Ulaw,
        rate: SampleRate::Hz44100,
        dictionaries: &dictionaries,
        session: "ivr-1",
        ..call(&full, Transport::Sync)
    };
    client(&url).synthesize(&full, || Departure::Go, LONG, &mut Vec::new()).await.unwrap();
    let (head, body) = requests.recv().await.unwrap();
    assert!(head.starts_with("POST /waves/v1/tts?tier=a+b HTTP/1.1\r\n"), "{head}");
    for line in ["accept: audio/wav", "authorization: Bearer sk_test", "x-expire-content: true"] {
        assert!(head.lines().any(|it| it == line), "{line} in {head}");
    }
    let expected = json!({
        "text": "नमस्ते \"x\"", "voice_id": "avery", "model": "lightning_v3.1_pro", "sample_rate": 44100,
        "output_format": "ulaw", "speed": 1.25, "language": "hi", "number_pronunciation_language": "en",
        "math_notation": true, "pronunciation_dicts": ["d1", "d2"], "session_id": "ivr-1", "request_id": "c1",
        "emotion": {"calm": 0.5}, "pitch": "low",
    });
    assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);

    at(&url, Transport::Sse, LONG).await;
    let (head, body) = requests.recv().await.unwrap();
    assert!(head.starts_with("POST /waves/v1/tts/live HTTP/1.1\r\n") && !head.contains("x-expire"), "{head}");
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&body["output_format"], &body["sample_rate"]), (&json!("pcm"), &json!(8000)));
    assert!(body["session_id"].as_str().unwrap().starts_with("a-batch."));
    for name in ["language", "math_notation", "pronunciation_dicts", "number_pronunciation_language"] {
        assert!(body.get(name).is_none(), "{name}");
    }
}

#[tokio::test]
async fn a_stale_permit_sends_not_one_byte() {
    let (url, mut received) = serve(|mut peer: Peer| async move { peer.rest().await }).await;
    let (options, mut written) = (options(), Vec::new());
    let call = call(&options, Transport::Sync);
    let outcome = client(&url).synthesize(&call, || Departure::Stale, LONG, &mut written).await.unwrap();
    assert_eq!((outcome, written), (Outcome::Stale, Vec::new()));
    assert_eq!(received.recv().await.unwrap(), b"");
    let nowhere = "http://no-such-host.invalid/".parse().unwrap();
    assert!(matches!(at(&nowhere, Transport::Sse, LONG).await.0, Outcome::NotSent(_)));
}

#[tokio::test]
async fn half_an_answer_is_unknown() {
    let mut cut = response("200 OK", "Content-Type: audio/wav\r\n", wav_file());
    cut.pop();
    assert_eq!(unknown(answered_with(Transport::Sync, cut).await), ErrorKind::Truncated);
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nRIFF\r\n";
    assert_eq!(unknown(answered_with(Transport::Sync, chunked).await), ErrorKind::Truncated);
    let unframed = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &wav_file()].concat();
    assert!(matches!(answered_with(Transport::Sync, unframed.clone()).await.0, Outcome::Answered(_)));
    let half = &unframed[..unframed.len() / 2];
    assert_eq!(unknown(answered_with(Transport::Sync, half).await), ErrorKind::Truncated);
    assert_eq!(unknown(answered_with(Transport::Sync, "").await), ErrorKind::ConnectionLost);
    assert_eq!(
        unknown(
            answered_with(Transport::Sync, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n<")
                .await
        ),
        ErrorKind::Truncated
    );
}

#[tokio::test]
async fn silence_is_unknown() {
    for written in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nRIFF"] {
        let (url, _) = serve(move |mut peer: Peer| async move {
            peer.request().await;
            peer.write(written).await;
            peer.rest().await
        })
        .await;
        let ended = at(&url, Transport::Sync, Duration::from_millis(150)).await;
        assert_eq!(unknown(ended), ErrorKind::TimedOut);
    }
}

#[tokio::test]
async fn a_success_that_is_no_audio_is_unusable() {
    for (headers, body, words) in [
        ("Content-Type: audio/wav\r\n", "", "but the answer is empty"),
        ("", "", "but the answer is empty"),
        ("Content-Type: application/json\r\n", r#"{"error":"Busy"}"#, "with `application/json` instead of audio: Busy"),
        ("Content-Type: text/html\r\n", "<html><title>Hi</title>", "with `text/html` instead of audio: Hi"),
        ("Content-Type: audio/wav\r\n", r#"{"error":"Busy"}"#, "with JSON instead of audio: Busy"),
        ("Content-Type: audio/wav\r\n", "<html></html>", "with an HTML page"),
        ("Content-Type: audio/wav\r\n", "nothing at all", "but the answer is no WAV file: not a RIFF/WAVE file"),
    ] {
        let failure = unusable(answered_with(Transport::Sync, response("200 OK", headers, body)).await);
        assert!(failure.message.ends_with(words), "{}", failure.message);
        assert_eq!(failure.status, Some(200));
    }
    let long_by_one = [wav_file(), vec![0; 2]].concat();
    let faster = wav::pcm16(1, 16_000, None, &[7; 100]);
    for file in [long_by_one, faster, wav_file()[..1000].to_vec()] {
        let headers = "Content-Type: audio/wav\r\nX-Request-Id: r7\r\n";
        let failure = unusable(answered_with(Transport::Sync, response("200 OK", headers, file)).await);
        assert_eq!(failure.request_id.as_deref(), Some("r7"));
    }
    assert!(
        unusable(answered_with(Transport::Sse, response("200 OK", "Content-Type: audio/wav\r\n", wav_file())).await)
            .message
            .contains("`audio/wav` instead of audio")
    );
}

#[tokio::test]
async fn events_become_samples() {
    for body in [
        [FRAMES, END].concat(),
        [FRAMES, END].concat().replace('\n', "\r\n"),
        [": hi\n\n", FRAMES, END, FRAMES, "data: late\n\n"].concat(),
    ] {
        let (outcome, written) = answered_with(Transport::Sse, stream(&body)).await;
        let Outcome::Answered(spoken) = outcome else { panic!("{outcome:?}") };
        assert_eq!((spoken.format, spoken.bytes, written), (AudioFormat::Pcm, 4, vec![1, 2, 3, 4]));
    }
}

#[tokio::test]
async fn events_arrive_in_pieces() {
    let (url, _) = serve(|mut peer: Peer| async move {
        peer.request().await;
        peer.write(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .await;
        for piece in [FRAMES, END].concat().as_bytes().chunks(7) {
            peer.write([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await;
            tokio::task::yield_now().await;
        }
        // The mark is the end, whether or not the connection ends.
        peer.rest().await;
    })
    .await;
    let (outcome, written) = at(&url, Transport::Sse, LONG).await;
    assert!(matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
    assert_eq!(written, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_stream_without_its_mark_is_no_short_file() {
    for half in [FRAMES, &FRAMES[..50], "", "data: {\"done\": false}\n\n"] {
        assert_eq!(unknown(answered_with(Transport::Sse, stream(half)).await), ErrorKind::Truncated, "{half}");
    }
    let mut cut = stream(&[FRAMES, END].concat());
    cut.truncate(cut.len() - 10);
    assert_eq!(unknown(answered_with(Transport::Sse, cut).await), ErrorKind::Truncated);
}

#[tokio::test]
async fn a_stream_with_an_error_or_without_audio_is_unusable() {
    let error = "event: error\ndata: {\"error\": \"Overload\", \"message\": \"Try later.\"}\n\n";
    let failure = unusable(answered_with(Transport::Sse, stream(&[FRAMES, error, END].concat())).await);
    assert!(failure.message.ends_with("its stream tells of an error: Overload: Try later."), "{}", failure.message);
    let odd = FRAMES.replacen("AQID", "AQ==", 1).replace("BA==", "AQID").replacen("AQID", "AQIDBA==", 1);
    for body in [END.to_owned(), odd + END, FRAMES.replace("AQID", "!") + END] {
        unusable(answered_with(Transport::Sse, stream(&body)).await);
    }
}

#[tokio::test]
async fn more_than_any_part_has_costs_one_call() {
    let event = format!("event: audio\ndata: {{\"audio\": \"{}\"}}\n\n", "A".repeat(20 << 20));
    let (outcome, _) = answered_with(Transport::Sse, stream(&event)).await;
    let Outcome::TooLarge { failure, body: None } = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.kind, ErrorKind::AnswerTooLarge);
}

#[tokio::test]
async fn refusals_are_told_with_the_vendors_words() {
    let refusal =
        |status: &str, headers: &str, body: &str| answered_with(Transport::Sync, response(status, headers, body));
    let (failure, _) = refused(refusal("400 No", "", r#"{"error":"InvalidRequest","message":"No such voice."}"#).await);
    assert_eq!(failure.kind, ErrorKind::BadRequest);
    assert_eq!(failure.message, "the API refused the request (400): InvalidRequest: No such voice.");
    for status in ["404 No", "410 Gone"] {
        let (failure, _) = refused(refusal(status, "", r#"{"error":"MODEL_DEPRECATED","message":"Gone."}"#).await);
        assert!(failure.message.starts_with("the vendor has retired this model or route"), "{}", failure.message);
        assert_eq!(failure.kind, ErrorKind::ModelRetired);
    }
    let live = r#"{"error":[{"code":"too_big","path":["text"],"message":"At most 8000 characters"}]}"#;
    let (failure, _) = refused(refusal("400 No", "", live).await);
    assert_eq!(failure.message, "the API refused the request (400): text: At most 8000 characters");
    let (failure, _) = refused(refusal("404 No", "", "<html><title>Not Found</title></html>").await);
    assert!(failure.message.contains("/waves/v1/tts was tried"), "{}", failure.message);
    let slow = refused(refusal("429 Slow", "Retry-After: 3\r\n", r#"{"error":"RateLimit","message":"Slow."}"#).await);
    assert_eq!((slow.0.kind, slow.1), (ErrorKind::RateLimited, Some(Duration::from_secs(3))));
    let broke = refused(refusal("429 No", "", r#"{"error":"Limit","message":"Credits are used up."}"#).await);
    assert_eq!(broke.0.kind, ErrorKind::QuotaExhausted);
    let failed = refused(refusal("500 No", "", r#"{"error":"InternalServerError","message":"x"}"#).await);
    assert_eq!(failed.0.kind, ErrorKind::ServerError);
    let bad_key = refused(answered_with(Transport::Sse, response("401 No", "", r#"{"error":"unauthorized"}"#)).await);
    assert_eq!(bad_key.0.kind, ErrorKind::Unauthorized);
    assert_eq!(unknown(refusal("502 No", "", "<html></html>").await), ErrorKind::Gateway);
    assert_eq!(unknown(refusal("504 No", "", r#"{"error":"x"}"#).await), ErrorKind::Gateway);
}

#[tokio::test]
async fn a_full_disk_is_nobodys_answer() {
    let body = response("200 OK", "Content-Type: audio/wav\r\n", wav_file());
    let (url, _) = serve(move |mut peer: Peer| {
        let body = body.clone();
        async move {
            peer.request().await;
            peer.write(body).await;
        }
    })
    .await;
    let mut full = std::io::Cursor::new(vec![0; 100].into_boxed_slice());
    let options = options();
    let call = call(&options, Transport::Sync);
    let error = client(&url).synthesize(&call, || Departure::Go, LONG, &mut full).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WriteZero);
}

#[tokio::test]
async fn voices_and_dictionaries_are_told_as_failures_where_they_fail() {
    for (status, body, kind) in [
        ("401 No", r#"{"error":"unauthorized"}"#, ErrorKind::Unauthorized),
        ("500 No", r#"{"error":"Internal server error"}"#, ErrorKind::ServerError),
        ("200 OK", "[7]", ErrorKind::UnusableAnswer),
        ("200 OK", "<html></html>", ErrorKind::UnusableAnswer),
    ] {
        let (url, _) = serve(move |mut peer: Peer| async move {
            peer.request().await;
            peer.respond(status, "", body).await;
        })
        .await;
        let items = [Pronunciation { word: "a".into(), pronunciation: "b".into() }];
        let client = client(&url);
        assert_eq!(client.voices().await.unwrap_err().kind, kind, "{body}");
        assert_eq!(client.dictionaries().await.unwrap_err().kind, kind, "{body}");
        assert_eq!(client.create_dictionary(&items).await.unwrap_err().kind, kind, "{body}");
        assert_eq!(client.delete_dictionary("d").await.unwrap_err().kind, kind, "{body}");
    }
}
