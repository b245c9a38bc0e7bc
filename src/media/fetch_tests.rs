//! Fetching from faulty servers, on real sockets.

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
    source::SourceFailure,
};
use crate::{domain::call::ErrorKind, pace::Pace};

/// A server's reaction to one request: the bytes to write, and whether it then keeps the connection open in silence.
type Reply = (String, bool);

/// Answers the n-th request (from 0), given its head.
async fn server(reply: impl Fn(usize, &str) -> Reply + Send + 'static) -> (Url, Arc<Mutex<Vec<String>>>) {
    server_at("127.0.0.1", reply).await
}

async fn server_at(ip: &str, reply: impl Fn(usize, &str) -> Reply + Send + 'static) -> (Url, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
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

/// Fetches at most 100 bytes, and returns what is then on the disk.
async fn fetch(url: &Url) -> Result<(Fetched, String), SourceFailure> {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("a.wav");
    match fetcher().fetch(url, &dest, 100).await {
        Ok(fetched) => {
            assert_eq!(std::fs::metadata(&dest).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
            Ok((fetched, std::fs::read_to_string(&dest).unwrap()))
        }
        Err(FetchError::Source(failure)) => {
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "something was left");
            assert!(!failure.message.contains("secret"), "{failure}");
            Err(failure)
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
        let failure = fetch(&url).await.unwrap_err();
        assert_eq!((failure.kind, failure.transient), (kind, false), "{status}");
        assert_eq!(heads.lock().unwrap().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_three_times() {
    for status in ["429 Slow Down", "500 Oops", "503 Later"] {
        let (url, heads) = server(move |_, _| response(status, "Retry-After: 9\r\n", "x")).await;
        let failure = fetch(&url).await.unwrap_err();
        assert_eq!((failure.kind, failure.transient), (ErrorKind::SourceUnavailable, true), "{status}");
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
    let failure = fetch(&url).await.unwrap_err();
    assert_eq!((failure.kind, failure.transient), (ErrorKind::SourceUnavailable, true));
    assert!(failure.message.contains("refused"), "{failure}");
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    for bytes in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"] {
        let (url, heads) = server(move |_, _| (bytes.to_owned(), true)).await;
        let failure = fetch(&url).await.unwrap_err();
        assert_eq!((failure.kind, failure.transient), (ErrorKind::SourceTimedOut, true), "{failure}");
        assert_eq!(heads.lock().unwrap().len(), 3);
    }
    let (url, _) = server(|_, _| (String::new(), true)).await;
    let settings = FetchSettings { whole_timeout: Duration::from_millis(50), ..FetchSettings::default() };
    let dir = tempfile::tempdir().unwrap();
    let error = Fetcher::new(settings).unwrap().fetch(&url, &dir.path().join("a"), 100).await.unwrap_err();
    let FetchError::Source(failure) = error else { panic!("{error:?}") };
    assert_eq!(failure.kind, ErrorKind::SourceTimedOut);
    assert!(failure.message.ends_with(" did not arrive within 50 ms"), "{failure}");
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
    let failure = fetch(&url).await.unwrap_err();
    assert_eq!((failure.kind, failure.transient), (ErrorKind::SourceRefused, false));
    assert!(failure.message.ends_with("it redirects more than 10 times"), "{failure}");
    assert_eq!(heads.lock().unwrap().len(), 11);
}

#[tokio::test]
async fn a_circle_is_told() {
    let (url, heads) = server(|round, _| {
        response("302 Found", if round == 0 { "Location: /b\r\n" } else { "Location: /a.wav?sig=secret\r\n" }, "")
    })
    .await;
    let failure = fetch(&url).await.unwrap_err();
    assert_eq!((failure.kind, failure.transient), (ErrorKind::SourceRefused, false));
    assert!(failure.message.ends_with("it redirects in a circle"), "{failure}");
    assert_eq!(heads.lock().unwrap().len(), 2);
}

/// A server that interrupts the first transfer after three of nine bytes, and then does `later`.
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
    let failure = fetch(&url).await.unwrap_err();
    assert_eq!((failure.kind, failure.transient), (ErrorKind::SourceUnavailable, true));
    assert!(failure.message.ends_with("was cut after 3 of 9 bytes"), "{failure}");
    assert_eq!(heads.lock().unwrap().len(), 3);
    let short = |_: &str| response("206 Partial", "Content-Range: bytes 3-8/9\r\n", "def");
    let (url, _) = cutting("ETag: \"v1\"\r\n", short).await;
    assert_eq!(fetch(&url).await.unwrap_err().kind, ErrorKind::SourceUnavailable);
}

#[tokio::test]
async fn too_large_is_told_from_the_head_or_the_bytes() {
    let declared = "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n".to_owned();
    let (url, heads) = server(move |_, _| (declared.clone(), true)).await;
    let failure = fetch(&url).await.unwrap_err();
    assert_eq!((failure.kind, failure.transient), (ErrorKind::SourceTooLarge, false));
    let streamed = |bytes: usize| format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(bytes));
    let (url, _) = server(move |_, _| (streamed(101), false)).await;
    let failure = fetch(&url).await.unwrap_err();
    assert_eq!((failure.kind, failure.transient), (ErrorKind::SourceTooLarge, false));
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

/// Public and private servers on this machine: Linux has all of 127/8 for itself.
#[cfg(target_os = "linux")]
mod private_networks {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const INTERNET: &str = "127.0.0.2";
    const PRIVATE: &str = "127.0.0.1";

    fn is_internet(ip: IpAddr) -> bool {
        ip == IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2))
    }

    async fn redirecting(ip: &str, to: impl Into<String>) -> (Url, Arc<Mutex<Vec<String>>>) {
        let to = to.into();
        server_at(ip, move |_, _| response("302 Found", &format!("Location: {to}\r\n"), "")).await
    }

    async fn giving(ip: &str) -> (Url, Arc<Mutex<Vec<String>>>) {
        server_at(ip, |_, _| response("200 OK", "", "abc")).await
    }

    async fn get(url: &Url, allowed: bool) -> Result<Fetched, SourceFailure> {
        let dir = tempfile::tempdir().unwrap();
        let fetcher = fetcher().on_network(is_internet).with_private_redirects(allowed);
        match fetcher.fetch_or_keep(url, &dir.path().join("a"), 100).await {
            Ok(fetched) => Ok(fetched),
            Err(FetchError::Source(failure)) => Err(failure),
            Err(other) => panic!("{other}"),
        }
    }

    /// However the private address is written, no request reaches it.
    #[tokio::test]
    async fn the_internet_does_not_redirect_into_a_private_network() {
        let (inside, asked) = giving(PRIVATE).await;
        let port = inside.port().unwrap();
        for host in ["127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "localhost", "[::ffff:127.0.0.1]"]
        {
            let (outside, _) = redirecting(INTERNET, format!("http://{host}:{port}/latest/?token=secret")).await;
            let failure = get(&outside, false).await.unwrap_err();
            assert_eq!((failure.kind, failure.transient), (ErrorKind::SourceRefused, false), "{host}");
            assert!(failure.message.contains("into a private network, to `"), "{failure}");
            assert!(failure.message.ends_with("say private_redirects = true in [source]"), "{failure}");
            assert!(!failure.message.contains("secret"), "{failure}");
        }
        assert_eq!(asked.lock().unwrap().len(), 0);
    }

    #[tokio::test]
    async fn where_it_is_allowed_it_may() {
        let (inside, _) = giving(PRIVATE).await;
        let (outside, _) = redirecting(INTERNET, inside).await;
        assert_eq!(get(&outside, true).await.unwrap().bytes, 3);
    }

    #[tokio::test]
    async fn who_begins_in_a_private_network_may_stay_there() {
        let (inside, _) = giving(PRIVATE).await;
        let (door, _) = redirecting(PRIVATE, inside).await;
        assert_eq!(get(&door, false).await.unwrap().bytes, 3);
    }

    #[tokio::test]
    async fn the_internet_may_redirect_to_the_internet() {
        let (other, _) = giving(INTERNET).await;
        let (outside, _) = redirecting(INTERNET, other).await;
        assert_eq!(get(&outside, false).await.unwrap().bytes, 3);
    }

    /// A redirect from a private server to the internet does not permit a redirect back into the private network.
    #[tokio::test]
    async fn each_step_counts() {
        let (inside, asked) = giving(PRIVATE).await;
        let (outside, _) = redirecting(INTERNET, inside).await;
        let (door, _) = redirecting(PRIVATE, outside).await;
        assert_eq!(get(&door, false).await.unwrap_err().kind, ErrorKind::SourceRefused);
        assert_eq!(asked.lock().unwrap().len(), 0);
    }
}

#[tokio::test]
async fn a_password_does_not_go_to_another_server() {
    let (other, heads) = server(|_, _| response("200 OK", "", "abc")).await;
    let (mut url, own) = server(move |round, _| match round {
        0 => response("302 Found", "Location: /elsewhere\r\n", ""),
        _ => response("302 Found", &format!("Location: {other}\r\n"), ""),
    })
    .await;
    url.set_username("me").unwrap();
    url.set_password(Some("pw")).unwrap();
    fetch(&url).await.unwrap();
    assert!(own.lock().unwrap().iter().all(|head| head.contains("authorization: Basic")));
    assert!(!heads.lock().unwrap()[0].contains("authorization"));
}
