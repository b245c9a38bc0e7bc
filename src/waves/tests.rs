//! Every way in which a call can end, on real sockets.

mod changed;
mod free;
mod padded;

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use url::Url;

use super::{
    Client, ClientError, Departure, Settings, SttBody, SttCall,
    server::{Peer, serve},
};
use crate::domain::{
    call::{CallFailure, ErrorKind, LogEntry, LogError, LogFilter, LogPage, Outcome},
    extra::Extra,
    keywords::Keywords,
    options::{ExpireContent, Language, Redact, SendMode, SttModel, TranscribeOptions},
};

const OK: &str = r#"{"status":"success","transcription":"hello","words":[],"odd":1}"#;
pub(super) const LONG: Duration = Duration::from_secs(20);

fn settings(base_url: Url) -> Settings {
    Settings {
        base_url,
        key: "sk_test".into(),
        connect_timeout: Duration::from_secs(5),
        user_agent: "wavebatch/test".into(),
    }
}

pub(super) fn client(url: &Url) -> Client {
    Client::new(settings(url.clone())).unwrap()
}

fn options() -> TranscribeOptions {
    TranscribeOptions {
        model: SttModel::Pulse,
        language: Language::EN,
        word_timestamps: None,
        diarize: true,
        redact_pii: false,
        redact_pci: false,
        redact: Redact::Strict,
        emotion_detection: false,
        gender_detection: false,
        expire_content: ExpireContent::No,
        allow_silence: false,
        send: SendMode::Auto,
        keywords: Keywords::default(),
        extra: Extra::default(),
    }
}

fn recording(len: usize) -> (NamedTempFile, SttBody) {
    let mut file = NamedTempFile::new().unwrap();
    let bytes: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
    file.write_all(&bytes).unwrap();
    let body =
        SttBody::File { path: file.path().into(), len: len as u64, content_type: "audio/wav".into(), patch: None };
    (file, body)
}

async fn call_with(url: &Url, body: SttBody, departure: Departure, timeout: Duration) -> Outcome {
    let options = options();
    let call = SttCall { options: &options, word_timestamps: true, call_id: "c1", webhook: None };
    client(url).transcribe(&call, body, move || departure, timeout).await
}

async fn call(url: &Url) -> Outcome {
    let (_file, body) = recording(1000);
    call_with(url, body, Departure::Go, LONG).await
}

/// The outcome of a call whose request is read completely and answered with these bytes, after which the peer closes.
async fn answered_with(response: &'static str) -> Outcome {
    let (url, _) = serve(move |mut peer: Peer| async move {
        peer.request().await;
        peer.write(response).await;
    })
    .await;
    call(&url).await
}

fn unknown(outcome: &Outcome) -> ErrorKind {
    match outcome {
        Outcome::Unknown(failure) => failure.kind,
        other => panic!("{other:?}"),
    }
}

fn not_sent(outcome: &Outcome) -> &CallFailure {
    match outcome {
        Outcome::NotSent(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_file_is_sent_as_it_is_and_the_answer_kept_as_it_came() {
    for len in [1, 1000, 64 * 1024, 64 * 1024 + 1, 1_000_000] {
        let (url, mut requests) = serve(|mut peer: Peer| async move {
            let request = peer.request().await;
            peer.respond("200 OK", "X-Request-Id: r1\r\nx-content-expiry: applied\r\n", OK).await;
            request
        })
        .await;
        let (file, body) = recording(len);
        let Outcome::Answered(answer) = call_with(&url, body, Departure::Go, LONG).await else { panic!("{len}") };
        assert_eq!(answer.body, OK.into());
        assert_eq!(answer.request_id.as_deref(), Some("r1"));
        assert_eq!(answer.content_expiry.as_deref(), Some("applied"));
        let (head, sent) = requests.recv().await.unwrap();
        let first = "POST /waves/v1/stt/?model=pulse&language=en&word_timestamps=true&diarize=true HTTP/1.1\r\n";
        assert!(head.starts_with(first), "{head}");
        for line in ["authorization: bearer sk_test", "content-type: audio/wav", &format!("content-length: {len}")] {
            assert!(head.to_ascii_lowercase().lines().any(|it| it == line), "{line} in {head}");
        }
        assert!(!head.contains("transfer-encoding") && !head.contains("x-expire-content"));
        assert!(sent == std::fs::read(file.path()).unwrap());
    }
}

#[tokio::test]
async fn a_url_is_sent_as_json_and_expiry_asked_for() {
    let (url, mut requests) = serve(|mut peer: Peer| async move {
        let request = peer.request().await;
        peer.respond("200 OK", "", OK).await;
        request
    })
    .await;
    let options = TranscribeOptions { expire_content: ExpireContent::Try, ..options() };
    let call = SttCall { options: &options, word_timestamps: false, call_id: "c1", webhook: None };
    let body = SttBody::Url("https://b.example/a%20b.wav?X-Amz-Signature=x&y=\"".parse().unwrap());
    let base = url.join("/self/hosted/").unwrap();
    let outcome = client(&base).transcribe(&call, body, || Departure::Go, LONG).await;
    assert!(matches!(outcome, Outcome::Answered(_)));
    let (head, sent) = requests.recv().await.unwrap();
    assert!(head.starts_with("POST /self/hosted/waves/v1/stt/?model=pulse&language=en&diarize=true "), "{head}");
    assert!(head.contains("content-type: application/json\r\n") && head.contains("x-expire-content: true\r\n"));
    assert_eq!(String::from_utf8(sent).unwrap(), r#"{"url":"https://b.example/a%20b.wav?X-Amz-Signature=x&y=%22"}"#);
}

#[tokio::test]
async fn an_answer_that_is_to_be_posted_is_not_waited_for() {
    let (url, mut requests) = serve(|mut peer: Peer| async move {
        let request = peer.request().await;
        peer.respond("200 OK", "", r#"{"status":"processing","request_id":"r7"}"#).await;
        request
    })
    .await;
    let options = options();
    let webhook = "https://hooks.example/w/callbacks/c1/00ff".parse().unwrap();
    let call = SttCall { options: &options, word_timestamps: false, call_id: "c1", webhook: Some(&webhook) };
    let (_file, body) = recording(1_000);
    let outcome = client(&url).transcribe(&call, body, || Departure::Go, LONG).await;
    assert_eq!(outcome, Outcome::Accepted { request_id: Some("r7".into()) });
    let (head, _) = requests.recv().await.unwrap();
    let query = "&webhook_url=https%3A%2F%2Fhooks.example%2Fw%2Fcallbacks%2Fc1%2F00ff&webhook_extra=call%3Ac1 ";
    assert!(head.contains(query), "{head}");
}

#[tokio::test]
async fn a_stale_permit_sends_not_one_byte() {
    let (url, mut received) = serve(|mut peer: Peer| async move { peer.rest().await }).await;
    let large = recording(500_000);
    for body in [recording(1000).1, large.1, SttBody::Url("https://b.example/a.wav".parse().unwrap())] {
        let (_file, small) = recording(1000);
        let body = if matches!(body, SttBody::File { len: 1000, .. }) { small } else { body };
        assert_eq!(call_with(&url, body, Departure::Stale, LONG).await, Outcome::Stale);
        assert_eq!(received.recv().await.unwrap(), b"");
    }
}

#[tokio::test]
async fn a_call_given_up_while_connecting_does_not_leave_afterwards() {
    let (url, mut received) = serve(|mut peer: Peer| async move { peer.rest().await }).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let (client, options) = (client(&url), options());
    let call = SttCall { options: &options, word_timestamps: false, call_id: "c1", webhook: None };
    let count = asked.clone();
    let departs = move || {
        count.fetch_add(1, Ordering::SeqCst);
        Departure::Go
    };
    let body = SttBody::Url("https://b.example/a.wav".parse().unwrap());
    // After one poll it has begun to connect; no other task has run since.
    assert!(client.transcribe(&call, body, departs, LONG).now_or_never().is_none());
    assert_eq!(received.recv().await.unwrap(), b"");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn no_connection_is_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let refused = call(&url).await;
    assert_eq!(not_sent(&refused).kind, ErrorKind::Unreachable);
    assert!(not_sent(&refused).message.contains("refused"), "{refused:?}");
    let unresolved = call(&"http://no-such-host.invalid/".parse().unwrap()).await;
    assert_eq!(not_sent(&unresolved).kind, ErrorKind::Unreachable);
}

#[tokio::test]
async fn a_failed_or_hanging_handshake_is_not_sent() {
    let (plain, _) = serve(|mut peer: Peer| async move { peer.write("HTTP/1.1 400 no TLS here\r\n\r\n").await }).await;
    let (mute, _) = serve(|mut peer: Peer| async move { peer.rest().await }).await;
    for url in [plain, mute] {
        let secure: Url = url.as_str().replace("http:", "https:").parse().unwrap();
        let settings = Settings { connect_timeout: Duration::from_millis(200), ..settings(secure) };
        let Ok(client) = Client::new(settings) else { continue }; // a machine without certificates
        let (options, (_file, body)) = (options(), recording(1000));
        let call = SttCall { options: &options, word_timestamps: false, call_id: "c1", webhook: None };
        let outcome = client.transcribe(&call, body, || unreachable!("before the handshake"), LONG).await;
        assert_eq!(not_sent(&outcome).kind, ErrorKind::Unreachable);
    }
}

#[tokio::test]
async fn silence_is_unknown_and_the_connection_is_closed() {
    let (url, mut done) = serve(|mut peer: Peer| async move {
        peer.request().await;
        peer.rest().await
    })
    .await;
    let (_file, body) = recording(1000);
    let outcome = call_with(&url, body, Departure::Go, Duration::from_millis(150)).await;
    assert_eq!(unknown(&outcome), ErrorKind::TimedOut);
    assert_eq!(done.recv().await.unwrap(), b"");
}

#[tokio::test]
async fn an_upload_that_stalls_is_unknown_and_stops() {
    let (url, mut done) = serve(|mut peer: Peer| async move {
        peer.head().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        peer.rest().await.len()
    })
    .await;
    let (_file, body) = recording(30_000_000);
    let outcome = call_with(&url, body, Departure::Go, Duration::from_millis(150)).await;
    assert_eq!(unknown(&outcome), ErrorKind::TimedOut);
    assert!(done.recv().await.unwrap() < 30_000_000);
}

#[tokio::test]
async fn a_connection_that_breaks_is_unknown() {
    let (resets, _) = serve(|mut peer: Peer| async move {
        peer.request().await;
        peer.reset();
    })
    .await;
    assert_eq!(unknown(&call(&resets).await), ErrorKind::ConnectionLost);
    assert_eq!(unknown(&answered_with("").await), ErrorKind::ConnectionLost);
    assert_eq!(unknown(&answered_with("HTTP/1.1 200 OK\r\nContent-").await), ErrorKind::ConnectionLost);
    assert_eq!(unknown(&answered_with("SSH-2.0-x\r\n\r\n").await), ErrorKind::ConnectionLost);
}

#[tokio::test]
async fn half_an_answer_is_unknown() {
    for half in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"transcription\":\"a\"}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n15\r\n{\"transcription\":\"a\"}\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"status\":\"success\",\"transcrip",
    ] {
        assert_eq!(unknown(&answered_with(half).await), ErrorKind::Truncated, "{half}");
    }
    let (drips, _) = serve(|mut peer: Peer| async move {
        peer.request().await;
        peer.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{").await;
        peer.rest().await
    })
    .await;
    let (_file, body) = recording(1000);
    let outcome = call_with(&drips, body, Departure::Go, Duration::from_millis(150)).await;
    assert_eq!(unknown(&outcome), ErrorKind::TimedOut);
}

#[tokio::test]
async fn what_is_too_large_costs_one_call_however_it_ends() {
    let too_large = |outcome| match outcome {
        Outcome::TooLarge { failure, body } => {
            assert_eq!((failure.kind, failure.status), (ErrorKind::AnswerTooLarge, Some(200)));
            body
        }
        other => panic!("{other:?}"),
    };
    // The head declares the length, so the body is not waited for.
    let declared = "HTTP/1.1 200 OK\r\nContent-Length: 536870913\r\n\r\n{";
    assert_eq!(too_large(answered_with(declared).await), None);
    for (declared, is_kept) in [(70 << 20, false), (65 << 20, true)] {
        let (url, _) = serve(move |mut peer: Peer| async move {
            peer.request().await;
            peer.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {declared}\r\n\r\n")).await;
            for _ in 0..65 {
                peer.write(vec![b' '; 1 << 20]).await;
            }
        })
        .await;
        let body = too_large(call(&url).await);
        assert_eq!(body.map(|body| body.len()), is_kept.then_some(65 << 20), "half of it is of no use");
    }
}

#[tokio::test]
async fn refusals_are_told_with_their_wait() {
    let response =
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 23\r\n\r\n{\"error\":\"Rate limit.\"}";
    let Outcome::Refused(failure) = answered_with(response).await else { panic!() };
    assert_eq!((failure.kind, failure.status), (ErrorKind::RateLimited, Some(429)));
    assert_eq!(failure.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(failure.message, "the API asks for fewer calls (429): Rate limit.");
    // The body is incomplete, but the status alone decides.
    let half = answered_with("HTTP/1.1 401 Unauthorized\r\nContent-Length: 99\r\n\r\n{").await;
    assert!(matches!(half, Outcome::Refused(failure) if failure.kind == ErrorKind::Unauthorized));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let moved = "HTTP/1.1 307 Moved\r\nLocation: https://else.example/x?sig=1\r\nContent-Length: 0\r\n\r\n";
    let Outcome::Refused(failure) = answered_with(moved).await else { panic!() };
    assert_eq!(
        failure.message,
        "the API redirects to https://else.example/x; set the base URL to where it lives (307)"
    );
}

const EARLY: &str = "HTTP/1.1 429 Too Many\r\nConnection: close\r\nContent-Length: 16\r\n\r\n{\"error\":\"slow\"}";

#[tokio::test]
async fn a_refusal_in_the_middle_of_the_upload_is_read() {
    let (url, mut rest) = serve(|mut peer: Peer| async move {
        peer.head().await;
        peer.write(EARLY).await;
        peer.rest().await.len()
    })
    .await;
    let (_file, body) = recording(20_000_000);
    let Outcome::Refused(failure) = call_with(&url, body, Departure::Go, LONG).await else { panic!() };
    assert_eq!(failure.kind, ErrorKind::RateLimited);
    assert!(rest.recv().await.unwrap() < 20_000_000, "the upload went on");
}

#[tokio::test]
async fn a_refusal_wins_over_the_broken_pipe() {
    // The connection is closed with unread bytes, so it is reset while the client waits to write more.
    let (url, _) = serve(|mut peer: Peer| async move {
        peer.head().await;
        peer.until_stalled().await;
        peer.write(EARLY).await;
    })
    .await;
    let (_file, body) = recording(20_000_000);
    for _ in 0..4 {
        let outcome = call_with(&url, body.clone(), Departure::Go, LONG).await;
        assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_request_that_found_its_idle_connection_closed_is_sent_once() {
    let (url, mut requests) = serve(|mut peer: Peer| async move {
        peer.request().await;
        peer.respond("200 OK", "", OK).await;
    })
    .await;
    let (client, options, (_file, body)) = (client(&url), options(), recording(1000));
    let call = SttCall { options: &options, word_timestamps: false, call_id: "c1", webhook: None };
    for _ in 0..3 {
        let outcome = client.transcribe(&call, body.clone(), || Departure::Go, LONG).await;
        // When the peer's result arrives, it has closed the connection that the client would reuse.
        requests.recv().await.unwrap();
        tokio::task::yield_now().await;
        assert!(matches!(outcome, Outcome::Answered(_)), "{outcome:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(requests.try_recv().is_err());
}

#[test]
fn unusable_settings_are_told_before_anything_is_sent() {
    let with = |base: &str, key: &str| Client::new(Settings { key: key.into(), ..settings(base.parse().unwrap()) });
    for key in ["sk_1\n", "sk 1", "\u{1}sk"] {
        assert!(matches!(with("http://127.0.0.1", key), Err(ClientError::KeyControl)), "{key:?}");
    }
    assert!(matches!(with("http://127.0.0.1", "sk_ü"), Err(ClientError::KeyNotAscii)));
    assert!(matches!(with("http://127.0.0.1", ""), Err(ClientError::KeyEmpty)));
    for base in ["ftp://127.0.0.1", "http://me:pw@127.0.0.1", "http://127.0.0.1/?a=b"] {
        assert!(matches!(with(base, "sk_1"), Err(ClientError::BaseUrl(_))), "{base}");
    }
    assert!(!format!("{:?}", with("http://127.0.0.1", "sk_secret").unwrap()).contains("sk_secret"));
}
