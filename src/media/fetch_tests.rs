//! Fetching from servers that behave badly, on real sockets.

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use url::Url;

use super::{
    fetch::{FetchError, FetchSettings, Fetched, Fetcher},
    source::SourceTrouble,
};
use crate::{domain::call::ErrorKind, pace::Pace};

/// What a server does with one request: bytes to write, and whether it then keeps the connection open in silence.
type Reply = (String, bool);

/// Answers the n-th request (from 0), given its head.
async fn server(reply: impl Fn(usize, &str) -> Reply + Send + 'static) -> (Url, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/a.wav?sig=secret", listener.local_addr().unwrap()).parse().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = heads.clone();
    tokio::spawn(async move {
        let mut silent: Vec<TcpStream> = Vec::new();
        for round in 0.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let head = read_head(&mut stream).await;
            let (bytes, hold) = reply(round, &head);
            seen.lock().unwrap().push(head);
            stream.write_all(bytes.as_bytes()).await.unwrap();
            if hold {
                silent.push(stream);
            }
        }
    });
    (url, heads)
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap() > 0 {}
    String::from_utf8(head).unwrap()
}

fn response(status: &str, headers: &str, body: &str) -> Reply {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}");
    (format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()), false)
}

fn fetcher() -> Fetcher {
    Fetcher::new(FetchSettings {
        idle_timeout: Duration::from_millis(150),
        pace: Pace { tries: 3, first: Duration::from_millis(2), longest: Duration::from_millis(5) },
        ..FetchSettings::default()
    })
    .unwrap()
}

/// Fetches at most 100 bytes, and gives what then lies on the disk.
async fn fetch(url: &Url) -> Result<(Fetched, String), SourceTrouble> {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("a.wav");
    match fetcher().fetch(url, &dest, 100).await {
        Ok(fetched) => {
            assert_eq!(std::fs::metadata(&dest).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
            Ok((fetched, std::fs::read_to_string(&dest).unwrap()))
        }
        Err(FetchError::Source(trouble)) => {
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "something was left");
            assert!(!trouble.message.contains("secret"), "{trouble}");
            Err(trouble)
        }
        Err(disk) => panic!("{disk}"),
    }
}

#[tokio::test]
async fn a_file_arrives_with_its_type() {
    let (url, _) = server(|_, _| response("200 OK", "Content-Type: audio/wav\r\n", "abc")).await;
    let expected = Fetched { bytes: 3, content_type: Some("audio/wav".into()), content: None };
    assert_eq!(fetch(&url).await.unwrap(), (expected, "abc".into()));
}

#[tokio::test]
async fn user_info_becomes_basic_authentication() {
    let (mut url, heads) = server(|_, _| response("200 OK", "", "abc")).await;
    url.set_username("me").unwrap();
    url.set_password(Some("p%40w")).unwrap();
    fetch(&url).await.unwrap();
    assert!(heads.lock().unwrap()[0].contains("authorization: Basic bWU6cEB3\r\n"));
}

#[tokio::test]
async fn refusals_are_final_and_told() {
    for (status, kind) in [
        ("404 Not Found", ErrorKind::SourceMissing),
        ("410 Gone", ErrorKind::SourceMissing),
        ("403 Forbidden", ErrorKind::SourceRefused),
        ("400 Bad Request", ErrorKind::SourceRefused),
        ("304 Not Modified", ErrorKind::SourceRefused),
        ("204 No Content", ErrorKind::SourceEmpty),
        ("200 OK", ErrorKind::SourceEmpty),
    ] {
        let (url, heads) = server(move |_, _| response(status, "", "")).await;
        let trouble = fetch(&url).await.unwrap_err();
        assert_eq!((trouble.kind, trouble.transient), (kind, false), "{status}");
        assert_eq!(heads.lock().unwrap().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_three_times() {
    for status in ["429 Slow Down", "500 Oops", "503 Later"] {
        let (url, heads) = server(move |_, _| response(status, "Retry-After: 9\r\n", "x")).await;
        let trouble = fetch(&url).await.unwrap_err();
        assert_eq!((trouble.kind, trouble.transient), (ErrorKind::SourceUnavailable, true), "{status}");
        assert_eq!(heads.lock().unwrap().len(), 3, "{status}");
    }
    let (url, _) = server(|round, _| response(if round == 0 { "500 Oops" } else { "200 OK" }, "", "abc")).await;
    assert_eq!(fetch(&url).await.unwrap().1, "abc");
}

#[tokio::test]
async fn nobody_there_may_pass() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let trouble = fetch(&url).await.unwrap_err();
    assert_eq!((trouble.kind, trouble.transient), (ErrorKind::SourceUnavailable, true));
    assert!(trouble.message.contains("refused"), "{trouble}");
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    for bytes in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"] {
        let (url, heads) = server(move |_, _| (bytes.to_owned(), true)).await;
        let trouble = fetch(&url).await.unwrap_err();
        assert_eq!((trouble.kind, trouble.transient), (ErrorKind::SourceTimedOut, true), "{trouble}");
        assert_eq!(heads.lock().unwrap().len(), 3);
    }
    let (url, _) = server(|_, _| (String::new(), true)).await;
    let settings = FetchSettings { whole_timeout: Duration::from_millis(50), ..FetchSettings::default() };
    let dir = tempfile::tempdir().unwrap();
    let error = Fetcher::new(settings).unwrap().fetch(&url, &dir.path().join("a"), 100).await.unwrap_err();
    assert!(matches!(error, FetchError::Source(trouble) if trouble.kind == ErrorKind::SourceTimedOut));
}

#[tokio::test]
async fn redirects_are_followed_but_not_for_ever() {
    let hops = |last: usize| {
        server(move |round, _| match round {
            _ if round == last => response("200 OK", "", "abc"),
            _ => response("302 Found", &format!("Location: /hop{round}\r\n"), ""),
        })
    };
    let (url, _) = hops(10).await;
    assert_eq!(fetch(&url).await.unwrap().1, "abc");
    let (url, heads) = hops(11).await;
    let trouble = fetch(&url).await.unwrap_err();
    assert_eq!((trouble.kind, trouble.transient), (ErrorKind::SourceRefused, false));
    assert!(trouble.message.ends_with("it redirects more than 10 times"), "{trouble}");
    assert_eq!(heads.lock().unwrap().len(), 11);
}

#[tokio::test]
async fn a_circle_is_told() {
    let (url, heads) = server(|round, _| {
        response("302 Found", if round == 0 { "Location: /b\r\n" } else { "Location: /a.wav?sig=secret\r\n" }, "")
    })
    .await;
    let trouble = fetch(&url).await.unwrap_err();
    assert_eq!((trouble.kind, trouble.transient), (ErrorKind::SourceRefused, false));
    assert!(trouble.message.ends_with("it redirects in a circle"), "{trouble}");
    assert_eq!(heads.lock().unwrap().len(), 2);
}

/// A server that cuts the first transfer after three of nine bytes, and then does `later`.
async fn cutting(validator: &'static str, later: fn(&str) -> Reply) -> (Url, Arc<Mutex<Vec<String>>>) {
    server(move |round, head| match round {
        0 => (format!("HTTP/1.1 200 OK\r\n{validator}Content-Length: 9\r\n\r\nabc"), false),
        _ => later(head),
    })
    .await
}

#[tokio::test]
async fn a_cut_transfer_is_resumed() {
    for validator in ["ETag: \"v1\"\r\n", "ETag: W/\"v\"\r\nLast-Modified: Fri, 07 Aug 2026 08:00:00 GMT\r\n"] {
        let rest = |_: &str| response("206 Partial", "Content-Range: bytes 3-8/9\r\n", "defghi");
        let (url, heads) = cutting(validator, rest).await;
        assert_eq!(fetch(&url).await.unwrap().1, "abcdefghi");
        let second = heads.lock().unwrap()[1].clone();
        let if_range = if validator.contains("v1") { "\"v1\"" } else { "Fri, 07 Aug 2026 08:00:00 GMT" };
        assert!(second.contains("range: bytes=3-\r\n"), "{second}");
        assert!(second.contains(&format!("if-range: {if_range}\r\n")), "{second}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_resumed_is_begun_again() {
    let (no_ranges, _) = cutting("ETag: \"v1\"\r\n", |_| response("200 OK", "", "ABCDEFGHI")).await;
    assert_eq!(fetch(&no_ranges).await.unwrap().1, "ABCDEFGHI");
    let (unproven, heads) = cutting("", |_| response("200 OK", "", "ABCDEFGHI")).await;
    assert_eq!(fetch(&unproven).await.unwrap().1, "ABCDEFGHI");
    assert!(!heads.lock().unwrap()[1].contains("range"));
    for answer in ["416 No\r\nContent-Range: bytes */2", "206 Partial\r\nContent-Range: bytes 1-8/9", "206 Partial"] {
        let (url, _) = server(move |round, head| match round {
            0 => ("HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 9\r\n\r\nabc".into(), false),
            _ if head.contains("range: ") => response(answer, "", "zz"),
            _ => response("200 OK", "", "ABCDEFGHI"),
        })
        .await;
        assert_eq!(fetch(&url).await.unwrap().1, "ABCDEFGHI", "{answer}");
    }
}

#[tokio::test]
async fn a_transfer_that_is_always_cut_is_no_file() {
    let (url, heads) = server(|_, _| ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".into(), false)).await;
    let trouble = fetch(&url).await.unwrap_err();
    assert_eq!((trouble.kind, trouble.transient), (ErrorKind::SourceUnavailable, true));
    assert!(trouble.message.ends_with("was cut after 3 of 9 bytes"), "{trouble}");
    assert_eq!(heads.lock().unwrap().len(), 3);
    let short = |_: &str| response("206 Partial", "Content-Range: bytes 3-8/9\r\n", "def");
    let (url, _) = cutting("ETag: \"v1\"\r\n", short).await;
    assert_eq!(fetch(&url).await.unwrap_err().kind, ErrorKind::SourceUnavailable);
}

#[tokio::test]
async fn too_large_is_told_from_the_head_or_the_bytes() {
    let declared = "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n".to_owned();
    let (url, heads) = server(move |_, _| (declared.clone(), true)).await;
    let trouble = fetch(&url).await.unwrap_err();
    assert_eq!((trouble.kind, trouble.transient), (ErrorKind::SourceTooLarge, false));
    let streamed = |bytes: usize| format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(bytes));
    let (url, _) = server(move |_, _| (streamed(101), false)).await;
    let trouble = fetch(&url).await.unwrap_err();
    assert_eq!((trouble.kind, trouble.transient), (ErrorKind::SourceTooLarge, false));
    let (url, _) = server(move |_, _| (streamed(100), false)).await;
    assert_eq!(fetch(&url).await.unwrap().0.bytes, 100);
    assert_eq!(heads.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_is_not_the_lines_fault() {
    let (url, heads) = server(|_, _| response("200 OK", "", "abc")).await;
    let error = fetcher().fetch(&url, Path::new("/dev/null/dir/a.wav"), 100).await.unwrap_err();
    assert!(matches!(error, FetchError::Disk { .. }), "{error}");
    assert!(heads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_small_stays_in_memory_and_the_rest_becomes_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("spool/a.wav");
    let (url, _) = server(|_, _| response("200 OK", "", "abc")).await;
    let fetched = fetcher().fetch_or_keep(&url, &dest, 100).await.unwrap();
    assert_eq!((fetched.bytes, fetched.content.as_deref()), (3, Some(&b"abc"[..])));
    assert!(!dir.path().join("spool").exists(), "nothing was written");
    let (url, _) = server(|_, _| response("200 OK", "", &"x".repeat(70_000))).await;
    let fetched = fetcher().fetch_or_keep(&url, &dest, 100_000).await.unwrap();
    assert_eq!((fetched.bytes, fetched.content), (70_000, None));
    assert_eq!(std::fs::read(&dest).unwrap().len(), 70_000);
}
