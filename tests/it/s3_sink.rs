//! Outputs in an S3 store, on a real socket, with everything that goes wrong there.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use wavebatch::{
    domain::s3::{S3Settings, SinkSettings},
    pace::Pace,
    s3::{S3, S3Kind, S3Timeouts},
    sink::{Bucket, Content, Item, MOST_READ, Sink, SinkClass, SinkError},
};

use crate::support::s3::{Fault, S3Server};

const TEXT: &str = "text/plain; charset=utf-8";

/// `s3://out/dated/`, tried quickly.
fn sink(server: &S3Server) -> Sink {
    sink_of(server, SinkSettings::default())
}

fn sink_of(server: &S3Server, settings: SinkSettings) -> Sink {
    let pace = Pace { tries: 3, first: Duration::from_millis(5), longest: Duration::from_millis(10) };
    let bucket = Bucket::on(S3::new(&server.settings()), "s3://out/night", &settings).unwrap();
    Sink::S3(bucket.patient(S3Timeouts { pace, answer: Duration::from_secs(2), ..S3Timeouts::default() }))
}

async fn server() -> S3Server {
    let server = S3Server::start().await;
    server.bucket("out");
    server
}

fn item(name: &str, content: &'static str) -> Item {
    Item { name: name.into(), content: Content::Bytes(Bytes::from_static(content.as_bytes())), content_type: TEXT }
}

async fn put(sink: &Sink, name: &str) -> Result<(), SinkError> {
    sink.put_all(vec![item(name, "abc")]).await.map(|_| ())
}

fn kind(error: &SinkError) -> S3Kind {
    match error {
        SinkError::Store(error) => error.kind,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn outputs_lie_below_the_prefix() {
    let server = server().await;
    let settings = SinkSettings {
        store: server.settings(),
        sse: Some("AES256".into()),
        storage_class: Some("STANDARD_IA".into()),
        metadata: BTreeMap::from([("team".to_owned(), "calls".to_owned())]),
        ..SinkSettings::default()
    };
    let sink = Sink::open("s3://out/night/", &settings).unwrap();
    let odd = "ü/a b+c%20€.txt";
    let items = vec![item("2026/a.txt", "abc"), item(odd, "x"), item("empty.txt", "")];
    let receipts = sink.put_all(items).await.unwrap();
    assert_eq!(receipts[0].address, "s3://out/night/2026/a.txt");
    assert_eq!((receipts[0].bytes, receipts[2].bytes), (3, 0));
    assert_eq!(receipts[0].sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(server.keys("out"), ["night/2026/a.txt", "night/empty.txt", &format!("night/{odd}")]);
    let stored = server.stored("out", "night/2026/a.txt").unwrap();
    assert_eq!((stored.content_type.as_deref(), stored.sse.as_deref()), (Some(TEXT), Some("AES256")));
    assert_eq!((stored.storage_class.as_deref(), stored.metadata["team"].as_str()), (Some("STANDARD_IA"), "calls"));
    assert_eq!(sink.get(odd).await.unwrap().unwrap(), b"x");
    assert_eq!(sink.get("2026/b.txt").await.unwrap(), None);
    server.put("out", "night/folder/", "");
    server.put("out", "nightly/other.txt", "");
    let mut names = Vec::new();
    sink.list_names(|name, _| names.push(name.to_owned())).await.unwrap();
    assert_eq!(names, ["2026/a.txt", "empty.txt", odd]);
    assert_eq!((sink.root().as_str(), sink.address("x").as_str()), ("s3://out/night/", "s3://out/night/x"));
}

#[tokio::test]
async fn a_file_is_streamed() {
    let (server, dir) = (server().await, tempfile::tempdir().unwrap());
    let (path, content) = (dir.path().join("report"), vec![b'x'; 1_000_000]);
    std::fs::write(&path, &content).unwrap();
    let settings = SinkSettings { store: server.settings(), ..SinkSettings::default() };
    let (sink, name) = Sink::open_file("s3://out/bi/report 1.csv", &settings).unwrap();
    server.fault_times(1, "PUT", "", Fault::LoseAnswer);
    let receipt = sink.put(&name, Content::File(path), TEXT).await.unwrap();
    assert_eq!(receipt.bytes, 1_000_000);
    assert!(server.get("out", "bi/report 1.csv").unwrap() == content);
    let gone = sink.put(&name, Content::File(dir.path().join("gone")), TEXT).await.unwrap_err();
    assert!(matches!(gone, SinkError::Content { .. }), "{gone}");
}

/// So many MiB, in a file.
fn large(mib: u32) -> (tempfile::TempDir, std::path::PathBuf, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large");
    let content: Vec<u8> = (0..mib * 256 * 1024).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(&path, &content).unwrap();
    (dir, path, content)
}

#[tokio::test]
async fn what_is_large_goes_up_in_parts() {
    let (server, (_dir, path, content)) = (server().await, large(33));
    let sink = sink(&server);
    server.fault_times(1, "PUT", "partNumber=3", Fault::Status(503, "SlowDown"));
    server.fault_times(1, "PUT", "partNumber=3", Fault::WrongEtag);
    server.fault_times(1, "POST", "uploadId=", Fault::LoseAnswer);
    let receipt = sink.put("large", Content::File(path.clone()), TEXT).await.unwrap();
    assert_eq!(receipt.bytes, content.len() as u64);
    assert!(server.get("out", "night/large").unwrap() == content);
    assert_eq!(server.stored("out", "night/large").unwrap().content_type.as_deref(), Some(TEXT));
    assert_eq!((server.uploads(), server.requests_about("PUT", "partNumber=")), (0, 5));
}

#[tokio::test]
async fn what_is_large_is_brought_to_a_file() {
    let (server, (dir, path, content)) = (server().await, large(17));
    let sink = sink(&server);
    sink.put("large", Content::File(path.clone()), TEXT).await.unwrap();
    let scratch = dir.path().join("scratch");
    std::fs::write(&scratch, vec![b'x'; 20_000_000]).unwrap();
    server.fault_times(1, "GET", "large", Fault::Truncate(1_000_000));
    server.fault_times(1, "GET", "large", Fault::Status(503, "SlowDown"));
    assert_eq!(sink.fetch("large", &scratch).await.unwrap().as_deref(), Some(&*scratch));
    assert!(std::fs::read(&scratch).unwrap() == content, "whole, and nothing of what was there");
    assert_eq!(sink.fetch("other", &scratch).await.unwrap(), None);
    assert_eq!((sink.has("large").await.unwrap(), sink.has("other").await.unwrap()), (true, false));
    server.fault("", "large", Fault::Status(403, "AccessDenied"));
    assert_eq!(kind(&sink.fetch("large", &scratch).await.unwrap_err()), S3Kind::Denied);
    assert!(sink.has("large").await.unwrap(), "what may be there is");
    server.lift();
    let full = sink.fetch("large", std::path::Path::new("/dev/full")).await.unwrap_err();
    assert!(matches!(full, SinkError::Content { .. }), "{full}");
}

#[tokio::test]
async fn a_place_is_tried_out_without_a_trace() {
    let server = server().await;
    let sink = sink(&server);
    put(&sink, "report.csv").await.unwrap();
    sink.try_out("report.csv").await.unwrap();
    assert_eq!((server.uploads(), server.get("out", "night/report.csv").unwrap().as_ref()), (0, &b"abc"[..]));
    server.fault("POST", "report.csv", Fault::Status(403, "AccessDenied"));
    assert_eq!(kind(&sink.try_out("report.csv").await.unwrap_err()), S3Kind::Denied);
}

#[tokio::test]
async fn nothing_is_left_of_an_upload_that_fails() {
    let (server, (_dir, path, _)) = (server().await, large(17));
    let sink = sink(&server);
    server.fault("PUT", "partNumber=2", Fault::Status(500, "InternalError"));
    let error = sink.put("large", Content::File(path.clone()), TEXT).await.unwrap_err();
    assert_eq!(error.class(), SinkClass::Retry);
    assert_eq!((server.uploads(), server.keys("out").len()), (0, 0), "nothing is left behind");

    server.lift();
    server.fault("PUT", "partNumber=", Fault::Hang);
    let dropped = tokio::time::timeout(Duration::from_millis(1_500), sink.put("large", Content::File(path), TEXT));
    assert!(dropped.await.is_err());
    let deadline = Instant::now() + Duration::from_secs(5);
    while server.uploads() > 0 {
        assert!(Instant::now() < deadline, "an upload was left behind");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(server.requests("DELETE"), 2);
}

#[tokio::test]
async fn only_old_uploads_below_the_prefix_are_swept() {
    let server = server().await;
    let days = |n: u64| Duration::from_secs(n * 24 * 3_600);
    server.leave_upload("out", "night/old", days(2));
    server.leave_upload("out", "night/new", days(0));
    server.leave_upload("out", "other/old", days(2));
    assert_eq!(sink(&server).sweep().await.unwrap(), 1);
    assert_eq!(server.uploads(), 2);
    server.fault("GET", "uploads", Fault::Status(403, "AccessDenied"));
    assert_eq!(sink(&server).sweep().await.unwrap(), 0, "not everybody may look");
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let server = server().await;
    let sink = sink(&server);
    for fault in [
        Fault::Status(503, "SlowDown"),
        Fault::Status(500, "InternalError"),
        Fault::Status(400, "RequestTimeout"),
        Fault::LoseAnswer,
        Fault::CorruptStored,
        Fault::WrongEtag,
        Fault::Status(400, "ExpiredToken"),
    ] {
        let before = server.requests("PUT");
        server.fault_times(1, "PUT", "a.txt", fault.clone());
        put(&sink, "a.txt").await.unwrap();
        assert_eq!(server.get("out", "night/a.txt").unwrap(), "abc", "{fault:?}");
        assert_eq!(server.requests("PUT") - before, 2, "{fault:?}");
    }
}

#[tokio::test]
async fn what_does_not_pass_is_classed() {
    let server = server().await;
    let sink = sink(&server);
    for (fault, kind_told, class, requests) in [
        (Fault::Status(503, "SlowDown"), S3Kind::Throttled, SinkClass::Retry, 3),
        (Fault::LoseAnswer, S3Kind::Unavailable, SinkClass::Retry, 3),
        (Fault::WrongEtag, S3Kind::Checksum, SinkClass::Retry, 3),
        (Fault::Status(403, "AccessDenied"), S3Kind::Denied, SinkClass::Pause, 1),
        (Fault::Status(403, "InvalidAccessKeyId"), S3Kind::BadCredentials, SinkClass::Pause, 1),
        (Fault::Status(400, "ExpiredToken"), S3Kind::BadCredentials, SinkClass::Pause, 2),
        (Fault::Status(404, "NoSuchBucket"), S3Kind::NoBucket, SinkClass::Pause, 1),
        (Fault::Status(400, "InvalidStorageClass"), S3Kind::Other, SinkClass::Pause, 1),
        (Fault::Status(400, "KeyTooLongError"), S3Kind::BadName, SinkClass::Line, 1),
    ] {
        let before = server.requests("PUT");
        server.fault("PUT", "a.txt", fault.clone());
        let error = put(&sink, "a.txt").await.unwrap_err();
        assert_eq!((kind(&error), error.class()), (kind_told, class), "{fault:?}: {error}");
        assert!(error.message().starts_with("cannot write s3://out/night/a.txt: "), "{}", error.message());
        assert_eq!(server.requests("PUT") - before, requests, "{fault:?}");
        server.lift();
    }
    for name in ["", "folder/", &"x".repeat(1_100)] {
        assert_eq!(put(&sink, name).await.unwrap_err().class(), SinkClass::Line, "{name}");
    }
}

#[tokio::test]
async fn a_store_that_takes_checksums_gets_them() {
    let server = server().await;
    let store = S3::new(&server.settings()).with_checksums(true);
    let sink = Sink::S3(Bucket::on(store, "s3://out/", &SinkSettings::default()).unwrap());
    put(&sink, "a.txt").await.unwrap();
    assert_eq!(server.get("out", "a.txt").unwrap(), "abc");
    let content = vec![7; 17 * 1024 * 1024];
    sink.put("large", Content::Bytes(content.clone().into()), TEXT).await.unwrap();
    assert!(server.get("out", "large").unwrap() == content);
}

#[tokio::test]
async fn nobody_at_the_address_is_told_soon() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let store = S3Settings { endpoint_url: Some(endpoint.clone()), ..S3Settings::default() };
    wavebatch::s3::set_test_credentials(&endpoint, "a", "b");
    let sink = Sink::open("s3://out/night/", &SinkSettings { store, ..SinkSettings::default() }).unwrap();
    let begun = Instant::now();
    let error = sink.get("summary.json").await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(10), "took {:?}", begun.elapsed());
    assert_eq!((kind(&error), error.class()), (S3Kind::Unavailable, SinkClass::Retry));
    assert!(error.hint().unwrap().contains("endpoint_url"));
}

#[tokio::test]
async fn names_of_a_directory_are_told_too() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Sink::open(dir.path().join("out").to_str().unwrap(), &SinkSettings::default()).unwrap();
    let mut names = Vec::new();
    sink.list_names(|name, _| names.push(name.to_owned())).await.unwrap();
    assert_eq!(names, [""; 0], "there need not be a folder");
    sink.put_all(vec![item("a/b.txt", "x"), item("c.txt", "x")]).await.unwrap();
    std::fs::write(dir.path().join("out/a/.wavebatch-tmp-1-1"), "").unwrap();
    sink.list_names(|name, _| names.push(name.to_owned())).await.unwrap();
    names.sort();
    assert_eq!(names, ["a/b.txt", "c.txt"]);
}

#[tokio::test]
async fn a_summary_stays_at_hand_whatever_becomes_of_the_outputs() {
    let server = server().await;
    let settings = SinkSettings { storage_class: Some("DEEP_ARCHIVE".into()), ..SinkSettings::default() };
    let sink = sink_of(&server, settings);
    put(&sink, "call.txt").await.unwrap();
    sink.put("summary.json", Content::Bytes("{}".into()), TEXT).await.unwrap();
    let class = |name: &str| server.stored("out", &format!("night/{name}")).unwrap().storage_class;
    assert_eq!((class("call.txt").as_deref(), class("summary.json")), (Some("DEEP_ARCHIVE"), None));
}

#[tokio::test]
async fn what_is_too_large_for_a_summary_is_not_read_to_its_end() {
    let server = server().await;
    server.put("out", "night/summary.json", vec![b' '; usize::try_from(MOST_READ).unwrap() + 1]);
    let error = sink(&server).get("summary.json").await.unwrap_err();
    assert!(matches!(error, SinkError::TooLarge { most: MOST_READ, .. }), "{error}");
    assert_eq!(error.class(), SinkClass::Pause);
    server.put("out", "night/summary.json", vec![b' '; 1_000_000]);
    assert_eq!(sink(&server).get("summary.json").await.unwrap().unwrap().len(), 1_000_000);
}

#[tokio::test]
async fn an_output_is_erased_with_all_its_versions_and_no_other() {
    let server = server().await;
    let sink = sink(&server);
    put(&sink, "plain.txt").await.unwrap();
    let erased = sink.erase("plain.txt").await.unwrap();
    assert_eq!((erased.found, erased.versions, erased.left), (true, 0, None), "a bucket without versions");
    assert!(!sink.erase("plain.txt").await.unwrap().found, "gone already");

    server.keep_versions("out");
    for name in ["a.txt", "a.txt.more", "a.txt", "b.txt"] {
        put(&sink, name).await.unwrap();
    }
    sink.remove("a.txt").await.unwrap();
    put(&sink, "a.txt").await.unwrap();
    assert_eq!(server.versions("out", "night/a.txt"), 4, "three, and a mark of a removal");
    let former = sink.erase_former("a.txt").await.unwrap();
    assert_eq!((former.found, former.versions), (true, 3));
    assert_eq!(server.keys("out"), ["night/a.txt", "night/a.txt.more", "night/b.txt"]);
    let erased = sink.erase("a.txt").await.unwrap();
    assert_eq!((erased.found, erased.versions, erased.left), (true, 1, None));
    assert_eq!(server.versions("out", "night/a.txt"), 0);
    assert_eq!(server.keys("out"), ["night/a.txt.more", "night/b.txt"], "a name that only begins like it stays");

    // Only the mark of a removal was left.
    sink.remove("b.txt").await.unwrap();
    let erased = sink.erase("b.txt").await.unwrap();
    assert_eq!((erased.found, erased.versions, server.versions("out", "night/b.txt")), (true, 2, 0));
}

#[tokio::test]
async fn a_locked_version_is_refused_and_a_store_that_lists_none_says_so() {
    let server = server().await;
    let sink = sink(&server);
    server.keep_versions("out");
    put(&sink, "a.txt").await.unwrap();
    server.lock_newest("out", "night/a.txt");
    let refused = sink.erase("a.txt").await.unwrap_err();
    assert_eq!(kind(&refused), S3Kind::Denied, "{refused}");
    assert_eq!(server.keys("out"), ["night/a.txt"]);

    let plain = S3Server::start().await;
    plain.bucket("out");
    let sink = sink_of(&plain, SinkSettings { store: plain.settings(), ..SinkSettings::default() });
    put(&sink, "a.txt").await.unwrap();
    plain.fault("GET", "versions", Fault::Status(403, "AccessDenied"));
    let erased = sink.erase("a.txt").await.unwrap();
    assert!(erased.found && erased.left.is_some(), "{erased:?}");
    assert_eq!(plain.keys("out"), [""; 0]);
}
