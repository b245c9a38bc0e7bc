//! Recordings in an S3 store, on a real socket, with everything that goes wrong there.

use std::{
    io::Write,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;
use wavebatch::{
    domain::{
        call::ErrorKind,
        s3::{Listed, S3Address, S3Settings},
    },
    media::{
        fetch::{FetchError, FetchSettings},
        s3::{ListError, ListedKey, Objects},
        source::SourceFailure,
    },
    pace::Pace,
    s3::S3Kind,
};

use crate::support::{
    Fixture,
    s3::{Fault, S3Server},
    service::program,
    synthesis,
    web::{Page, Web},
};

const QUICK: Pace = Pace { tries: 3, first: Duration::from_millis(5), longest: Duration::from_millis(10) };

fn at(address: &str) -> S3Address {
    address.parse().unwrap()
}

fn objects(server: &S3Server) -> Objects {
    patient(Objects::new(&server.settings()))
}

fn patient(objects: Objects) -> Objects {
    objects.patient(FetchSettings {
        idle_timeout: Duration::from_millis(400),
        whole_timeout: Duration::from_secs(5),
        pace: QUICK,
        ..FetchSettings::default()
    })
}

async fn list(objects: &Objects, prefix: &str) -> Result<Vec<ListedKey>, ListError> {
    let mut keys = Vec::new();
    let count = objects
        .list(&at(prefix), |key| {
            keys.push(key);
            Ok(())
        })
        .await?;
    assert_eq!(count, keys.len() as u64);
    Ok(keys)
}

struct Dest(TempDir);

impl Dest {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("a.wav")
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.0.path()).unwrap().count()
    }
}

/// Fetches `s3://calls/a.wav`, at most 1,000,000 bytes.
async fn fetch(objects: &Objects, expected: Option<&Listed>) -> Result<Vec<u8>, FetchError> {
    let dest = Dest::new();
    match objects.fetch(&at("s3://calls/a.wav"), expected, &dest.path(), 1_000_000).await {
        Ok(fetched) => {
            let content = std::fs::read(dest.path()).unwrap();
            assert_eq!((fetched.bytes, dest.files()), (content.len() as u64, 1));
            Ok(content)
        }
        Err(error) => {
            assert_eq!(dest.files(), 0, "something was left");
            Err(error)
        }
    }
}

async fn failure(objects: &Objects, expected: Option<&Listed>) -> SourceFailure {
    match fetch(objects, expected).await {
        Err(FetchError::Source(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i * 31 % 251) as u8).collect()
}

#[tokio::test]
async fn a_prefix_is_listed_by_pages() {
    let server = S3Server::start().await;
    for i in 0..2_500 {
        server.put("calls", &format!("20/{i:05}.wav"), format!("{i}"));
    }
    server.put("calls", "21/x.wav", "x");
    server.archive("calls", "20/00007.wav", "DEEP_ARCHIVE");
    server.archive("calls", "20/00008.wav", "GLACIER_IR");
    let keys = list(&objects(&server), "s3://calls/20/").await.unwrap();
    assert_eq!((keys.len(), keys[2_499].key.as_str()), (2_500, "20/02499.wav"));
    assert_eq!((keys[0].bytes, keys[0].etag.as_str()), (1, "cfcd208495d565ef66e7dff9f98764da"));
    assert_eq!([6, 7, 8].map(|i| keys[i].archived), [false, true, false]);
    assert_eq!(server.requests("GET"), 3);
    assert_eq!(list(&objects(&server), "s3://calls").await.unwrap().len(), 2_501);
    assert_eq!(list(&objects(&server), "s3://calls/22/").await.unwrap(), []);
}

#[tokio::test]
async fn keys_are_any_text() {
    let server = S3Server::start().await;
    let odd = ["p/a b+c.wav", "p/ü/€ 日本.wav", "p/a%20b&=?#.wav", "p/\"<x>'.wav"];
    for key in odd {
        server.put("calls", key, key);
    }
    let objects = objects(&server);
    let mut keys: Vec<_> = list(&objects, "s3://calls/p/").await.unwrap().into_iter().map(|k| k.key).collect();
    keys.sort_by_key(|key| odd.iter().position(|odd| odd == key));
    assert_eq!(keys, odd);
    for key in odd {
        let (dest, address) = (Dest::new(), S3Address { bucket: "calls".into(), key: key.into() });
        objects.fetch(&address, None, &dest.path(), 100).await.unwrap();
        assert_eq!(std::fs::read(dest.path()).unwrap(), key.as_bytes());
    }
}

#[tokio::test]
async fn a_page_is_asked_for_again_and_whoever_takes_the_keys_may_stop() {
    let server = S3Server::start().await;
    server.put("calls", "a.wav", "a");
    server.fault_times(2, "GET", "list-type=2", Fault::Status(503, "SlowDown"));
    assert_eq!(list(&objects(&server), "s3://calls/").await.unwrap().len(), 1);
    let full = objects(&server).list(&at("s3://calls/"), |_| Err(std::io::ErrorKind::StorageFull.into())).await;
    assert!(matches!(full, Err(ListError::Taken(_))), "{full:?}");
}

#[tokio::test]
async fn an_object_arrives_whole() {
    let server = S3Server::start().await;
    let content = noise(300_000);
    server.put("calls", "a.wav", content.clone());
    let objects = objects(&server);
    let listed = list(&objects, "s3://calls/").await.unwrap().remove(0);
    let listed = Listed { bytes: listed.bytes, etag: listed.etag };
    assert!(fetch(&objects, Some(&listed)).await.unwrap() == content);
    assert!(
        objects.fetch_start(&at("s3://calls/a.wav"), 70_000).await.unwrap()
            == (content[..70_000].to_vec(), Some(content.len() as u64))
    );
    assert!(
        objects.fetch_start(&at("s3://calls/a.wav"), 700_000).await.unwrap()
            == (content.clone(), Some(content.len() as u64))
    );
    server.put("calls", "empty.wav", "");
    assert_eq!(objects.fetch_start(&at("s3://calls/empty.wav"), 10).await.unwrap(), (Vec::new(), Some(0)));
}

#[tokio::test]
async fn a_cut_transfer_is_resumed() {
    let server = S3Server::start().await;
    let content = noise(300_000);
    for fault in [Fault::Truncate(100_000), Fault::Stall(100_000)] {
        server.put("calls", "a.wav", content.clone());
        server.fault_times(1, "GET", "a.wav", fault);
        assert!(fetch(&objects(&server), None).await.unwrap() == content);
    }
    server.fault("GET", "a.wav", Fault::Truncate(10));
    let failure = failure(&objects(&server), None).await;
    assert_eq!((failure.kind, failure.transient), (ErrorKind::SourceUnavailable, true), "{failure}");
}

#[tokio::test]
async fn an_object_that_changes_is_told() {
    let server = S3Server::start().await;
    let old = noise(300_000);
    server.put("calls", "a.wav", old.clone());
    let listed = Listed { bytes: old.len() as u64, etag: server.stored("calls", "a.wav").unwrap().etag };
    let quiet = objects(&server);
    for (expected, wrong) in [
        (Listed { bytes: 1, ..listed.clone() }, "size"),
        (Listed { etag: "0123".into(), ..listed.clone() }, "etag"),
        (Listed { etag: String::new(), bytes: 2 }, "size alone"),
    ] {
        let failure = failure(&quiet, Some(&expected)).await;
        assert_eq!((failure.kind, failure.transient), (ErrorKind::SourceChanged, false), "{wrong}: {failure}");
    }
    // It changes while it is fetched: without a listing, the new one is taken from its beginning.
    server.fault_times(1, "GET", "a.wav", Fault::Truncate(100_000));
    let slow = quiet.clone().patient(FetchSettings {
        pace: Pace { tries: 3, first: Duration::from_millis(300), longest: Duration::from_millis(300) },
        ..FetchSettings::default()
    });
    let new = noise(200_001);
    let change = async {
        while server.requests_about("GET", "a.wav") < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(80)).await;
        server.put("calls", "a.wav", new.clone());
    };
    let (got, ()) = tokio::join!(fetch(&slow, None), change);
    assert!(got.unwrap() == new);
}

#[tokio::test]
async fn what_cannot_be_had_says_why() {
    let server = S3Server::start().await;
    server.bucket("calls");
    let objects = objects(&server);
    let kind = |failure: SourceFailure| (failure.kind, failure.transient);
    assert_eq!(kind(failure(&objects, None).await), (ErrorKind::SourceMissing, false));
    server.put("calls", "a.wav", "");
    assert_eq!(kind(failure(&objects, None).await), (ErrorKind::SourceEmpty, false));
    server.put("calls", "a.wav", noise(1_000_001));
    assert_eq!(kind(failure(&objects, None).await), (ErrorKind::SourceTooLarge, false));
    server.put("calls", "a.wav", "abc");
    server.archive("calls", "a.wav", "GLACIER");
    assert_eq!(kind(failure(&objects, None).await), (ErrorKind::SourceArchived, false));
    let before = server.requests("GET");
    for (fault, kind_told, requests) in [
        (Fault::Status(403, "AccessDenied"), (ErrorKind::SourceRefused, false), 1),
        (Fault::Status(404, "NoSuchBucket"), (ErrorKind::SourceMissing, false), 1),
        (Fault::Status(503, "SlowDown"), (ErrorKind::SourceUnavailable, true), 3),
        (Fault::Status(500, "InternalError"), (ErrorKind::SourceUnavailable, true), 3),
        (Fault::LoseAnswer, (ErrorKind::SourceUnavailable, true), 3),
        (Fault::Hang, (ErrorKind::SourceTimedOut, true), 3),
    ] {
        let before = server.requests("GET");
        server.fault("GET", "a.wav", fault.clone());
        assert_eq!(kind(failure(&objects, None).await), kind_told, "{fault:?}");
        assert_eq!(server.requests("GET") - before, requests, "{fault:?}");
        server.lift();
    }
    assert_eq!(before, 4, "none of the first was tried again");
}

#[tokio::test]
async fn a_presigned_address_can_be_read_by_anybody() {
    let server = S3Server::start().await;
    server.put("calls", "p/a b+ü.wav", "abc");
    let url = objects(&server).presign(&at("s3://calls/p/a b+ü.wav"), Duration::from_secs(3_600)).await.unwrap();
    assert!(url.query().unwrap().contains("X-Amz-Expires=3600"), "{url}");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let plain = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
    assert_eq!(plain.get(url.clone()).send().await.unwrap().bytes().await.unwrap(), "abc");
    let mut unsigned = url;
    unsigned.set_query(None);
    assert_eq!(plain.get(unsigned).send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn credentials_that_expire_in_the_middle_are_fetched_again() {
    let server = S3Server::start().await;
    server.put("calls", "a.wav", "abc");
    let objects = objects(&server);
    fetch(&objects, None).await.unwrap();
    server.fault_times(1, "GET", "a.wav", Fault::Status(400, "ExpiredToken"));
    assert_eq!(fetch(&objects, None).await.unwrap(), b"abc");
    server.fault("GET", "a.wav", Fault::Status(400, "ExpiredToken"));
    let error = fetch(&objects, None).await.unwrap_err();
    assert!(matches!(&error, FetchError::Credentials(why) if why.contains("ExpiredToken")), "{error}");
}

#[tokio::test]
async fn another_region_is_learned_or_named() {
    let server = S3Server::start().await;
    server.put("calls", "a.wav", "abc");
    server.fault_times(1, "GET", "", Fault::ElsewhereIn("eu-west-3"));
    assert_eq!(list(&objects(&server), "s3://calls/").await.unwrap().len(), 1);
    assert_eq!(server.requests("GET"), 2);
    server.fault("GET", "", Fault::ElsewhereIn("eu-west-3"));
    let wrong = S3Settings { region: Some("us-east-1".into()), ..server.settings() };
    let error = list(&patient(Objects::new(&wrong)), "s3://calls/").await.unwrap_err();
    assert_eq!(server.requests("GET"), 3);
    assert!(error.to_string().contains("is in region eu-west-3, not us-east-1"), "{error}");
}

/// What a listing comes to, within the ten seconds that the first action has.
async fn first_action(settings: &S3Settings) -> (S3Kind, String) {
    let begun = Instant::now();
    let error = list(&Objects::new(settings), "s3://calls/20/").await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(10), "took {:?}", begun.elapsed());
    let message = error.to_string();
    assert!(message.starts_with("cannot list s3://calls/20/: "), "{message}");
    let ListError::Store(error) = error else { panic!("{message}") };
    (error.kind, message)
}

#[tokio::test]
async fn nobody_at_the_address_is_told_soon() {
    // Bound, so that no other test listens there, and not listening.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let endpoint = format!("http://{}", socket.local_addr().unwrap());
    wavebatch::s3::set_test_credentials(&endpoint, "a", "b");
    let settings = S3Settings { endpoint_url: Some(endpoint.clone()), ..S3Settings::default() };
    let (kind, message) = first_action(&settings).await;
    assert_eq!(kind, S3Kind::Unavailable);
    assert!(message.contains(&endpoint) && message.contains("refused"), "{message}");
}

#[tokio::test]
async fn a_name_without_an_address_is_told_soon() {
    let endpoint = "http://no-such-store.invalid:9000";
    wavebatch::s3::set_test_credentials(endpoint, "a", "b");
    let settings = S3Settings { endpoint_url: Some(endpoint.into()), ..S3Settings::default() };
    let (kind, message) = first_action(&settings).await;
    assert!(kind.is_passing() && message.contains(endpoint), "{message}");
}

#[tokio::test]
async fn a_store_that_never_answers_is_told_soon() {
    let server = S3Server::start().await;
    server.fault("", "", Fault::Hang);
    assert_eq!(first_action(&server.settings()).await.0, S3Kind::TimedOut);
    assert_eq!(server.requests(""), 1);
}

#[tokio::test]
async fn a_missing_bucket_and_a_locked_one_are_told_soon() {
    let server = S3Server::start().await;
    let (kind, message) = first_action(&server.settings()).await;
    assert_eq!(kind, S3Kind::NoBucket);
    assert!(message.contains("no bucket `calls` at http://127.0.0.1"), "{message}");
    server.fault("GET", "", Fault::Status(403, "AccessDenied"));
    let (kind, message) = first_action(&server.settings()).await;
    assert_eq!(kind, S3Kind::Denied);
    assert!(message.contains("bucket `calls`") && message.contains("AccessDenied"), "{message}");
    assert_eq!(server.requests("GET"), 2);
}

#[tokio::test]
async fn no_credentials_anywhere_are_told_soon() {
    let server = S3Server::start().await;
    // Another name of the same place, for which nothing was lent.
    let endpoint = server.endpoint().replace("127.0.0.1", "localhost");
    let settings = S3Settings { endpoint_url: Some(endpoint), ..S3Settings::default() };
    let (kind, message) = first_action(&settings).await;
    assert_eq!(kind, S3Kind::NoCredentials, "{message}");
    for place in ["AWS_ACCESS_KEY_ID", "profile `default`", "~/.aws/credentials", "instance's metadata"] {
        assert!(message.contains(place), "{message}");
    }
    let settings = S3Settings { profile: Some("no-such-profile".into()), ..settings };
    let (kind, message) = first_action(&settings).await;
    assert_eq!(kind, S3Kind::NoCredentials);
    assert!(message.contains("no-such-profile"), "{message}");
    assert_eq!(server.requests(""), 0);
}

#[tokio::test]
async fn wrong_credentials_are_told_without_the_secret() {
    let server = S3Server::start().await;
    server.bucket("calls");
    wavebatch::s3::set_test_credentials(server.endpoint(), crate::support::s3::ACCESS_KEY, "hunter2hunter2");
    let (kind, message) = first_action(&server.settings()).await;
    assert_eq!(kind, S3Kind::BadCredentials, "{message}");
    assert!(message.contains("SignatureDoesNotMatch") && !message.contains("hunter2"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_never_ends_is_left_with_a_word() {
    let server = S3Server::start().await;
    for n in 0..3 {
        server.put("calls", &format!("in/{n}.wav"), "x");
    }
    for (fault, message, most) in
        [(Fault::SameToken, "goes round in a circle", 4), (Fault::NothingForEver, "does not end", 1_100)]
    {
        server.fault("GET", "list-type=2", fault);
        let before = server.requests("GET");
        match list(&objects(&server), "s3://calls/in/").await {
            Err(ListError::Store(error)) => {
                assert_eq!(error.kind, S3Kind::Other);
                let error = error.to_string();
                assert!(
                    error.starts_with("cannot list s3://calls/in/: the store's listing") && error.contains(message),
                    "{error}"
                );
            }
            other => panic!("{other:?}"),
        }
        let asked = server.requests("GET") - before;
        assert!(asked <= most, "{asked} requests");
        server.lift();
    }
}

/// Keys that differ only in what others would tidy up.
const KEYS: [&str; 10] = [
    "2026/1.wav",
    "/2026/1.wav",
    "//2026/1.wav",
    "2026//1.wav",
    "a+b c.wav",
    "a%2Bb%20c.wav",
    "ü/日本 é.wav",
    "p%2Fq.wav",
    "p/q.wav",
    " x.wav",
];

#[tokio::test]
async fn keys_are_taken_as_they_are() {
    let server = S3Server::start().await;
    for key in KEYS.iter().chain(&["x/../y.wav", "./z.wav"]) {
        server.put("calls", key, *key);
    }
    let objects = objects(&server);
    let listed: Vec<_> = list(&objects, "s3://calls/").await.unwrap().into_iter().map(|listed| listed.key).collect();
    assert_eq!(listed.len(), KEYS.len() + 2);
    for key in &listed {
        let (dest, address) = (Dest::new(), at(&format!("s3://calls/{key}")));
        assert_eq!(address.key, *key);
        objects.fetch(&address, None, &dest.path(), 100).await.unwrap_or_else(|e| panic!("{key}: {e}"));
        assert_eq!(std::fs::read(dest.path()).unwrap(), key.as_bytes());
        let presigned = objects.presign(&address, Duration::from_secs(60)).await;
        if key.split('/').any(|part| matches!(part, "." | "..")) {
            let refused = presigned.unwrap_err().to_string();
            assert!(refused.contains("which no URL can have; use send = \"bytes\""), "{refused}");
        } else {
            let body =
                reqwest::get(presigned.unwrap()).await.unwrap().error_for_status().unwrap().text().await.unwrap();
            assert_eq!(body, *key);
        }
    }
    let below: Vec<_> = list(&objects, "s3://calls//2026/").await.unwrap().into_iter().map(|l| l.key).collect();
    assert_eq!(below, ["/2026/1.wav"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_object_is_its_own_line_and_its_own_output() {
    let (fixture, server) = (Fixture::new().await, S3Server::start().await);
    fixture.write("wavebatch.toml", "[limits.pulse]\nrequests_per_minute = 0\n");
    server.bucket("out");
    for (n, key) in KEYS.iter().enumerate() {
        server.put("calls", key, synthesis(&format!("words {n}"), 0.5, n));
    }
    let toml = "name = \"keys\"\ntask = \"transcribe\"\nmanifest = \"s3://calls/\"\noutput = \"s3://out//n\"\n\
                [transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\nformats = [\"txt\"]\nsend = \"bytes\"\n";
    fixture.write("keys.toml", toml);
    let output = program(&fixture, &["run", "keys.toml"]).envs(server.environment()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for (n, key) in KEYS.iter().enumerate() {
        let name = key.trim_end_matches(".wav").trim_start();
        let folders: Vec<_> = name.split('/').map(|folder| if folder.is_empty() { "%2F" } else { folder }).collect();
        let name = folders.join("/");
        let written = server.get("out", &format!("/n/{name}.txt"));
        let written = written.unwrap_or_else(|| panic!("{name} is not among {:?}", server.keys("out")));
        assert_eq!(written, format!("words {n}\n"), "{key}");
    }
    assert!(server.get("out", "/n/report.csv").is_some());
    // The same again is known, whatever its name.
    let output = program(&fixture, &["run", "keys.toml"]).envs(server.environment()).output().unwrap();
    assert_eq!((output.status.code(), fixture.sandbox.books().calls), (Some(0), KEYS.len() as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_lately_is_left_out() {
    let (fixture, server) = (Fixture::new().await, S3Server::start().await);
    for (n, key) in ["in/old.wav", "in/new.wav"].iter().enumerate() {
        server.put("calls", key, synthesis(&format!("words {n}"), 0.5, n));
    }
    server.date("calls", "in/old.wav", SystemTime::now() - Duration::from_secs(3_600));
    server.date("calls", "in/new.wav", SystemTime::now());
    let args =
        ["run", "s3://calls/in/", "--settle", "10m", "--task", "transcribe", "--model", "pulse", "--language", "en"];
    let output = program(&fixture, &args).envs(server.environment()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), fixture.sandbox.books().calls), (Some(0), 1), "{said}");
    assert!(said.contains("1 changed less than 10 min ago (settle)"), "{said}");
}

#[tokio::test]
async fn a_store_may_be_below_a_path() {
    let xml = "<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a.wav</Key>\
               <Size>3</Size><ETag>&quot;e&quot;</ETag></Contents></ListBucketResult>";
    let object = "/storage/v1/s3/calls//x%2By/a.wav?x-id=GetObject";
    let web = Web::serve([(object, Page::File(b"abc".to_vec())), ("*", Page::File(xml.into()))]).await;
    for endpoint in ["/storage/v1/s3", "/storage/v1/s3/"].map(|path| web.url(path)) {
        wavebatch::s3::set_test_credentials(&endpoint, "A", "secret");
        let settings = S3Settings { endpoint_url: Some(endpoint.clone()), ..S3Settings::default() };
        let objects = patient(Objects::new(&settings));
        assert_eq!(list(&objects, "s3://calls/").await.unwrap()[0].key, "a.wav", "{endpoint}");
        let dest = Dest::new();
        objects.fetch(&at("s3://calls//x+y/a.wav"), None, &dest.path(), 100).await.unwrap();
        assert_eq!(std::fs::read(dest.path()).unwrap(), b"abc");
        let url = objects.presign(&at("s3://calls//x+y/a.wav"), Duration::from_secs(60)).await.unwrap();
        assert_eq!(url.path(), "/storage/v1/s3/calls//x%2By/a.wav");
    }
    let lists = web.asked("/storage/v1/s3/calls/?list-type=2&encoding-type=url&max-keys=1000&prefix=");
    assert_eq!(lists.len(), 2, "asked for something else");
}

#[tokio::test]
async fn a_packed_object_is_unpacked() {
    let server = S3Server::start().await;
    let content = noise(300_000);
    let packed = gzip(&content);
    server.put("calls", "a.wav", packed.clone());
    server.pack("calls", "a.wav", "gzip");
    let objects = objects(&server);
    assert!(fetch(&objects, None).await.unwrap() == content);
    let etag = server.stored("calls", "a.wav").unwrap().etag;
    let listed = Listed { bytes: packed.len() as u64, etag };
    assert!(fetch(&objects, Some(&listed)).await.unwrap() == content);
    // What was cut begins anew: nothing goes on in the middle of a packed body.
    server.fault_times(1, "GET", "a.wav", Fault::Truncate(packed.len() / 2));
    assert!(fetch(&objects, Some(&listed)).await.unwrap() == content);
    assert_eq!(objects.fetch_start(&at("s3://calls/a.wav"), 100).await.unwrap(), (Vec::new(), None));
    server.put("calls", "a.wav", gzip(&vec![0; 50_000_000]));
    server.pack("calls", "a.wav", "gzip");
    assert_eq!(failure(&objects, None).await.kind, ErrorKind::SourceTooLarge);
    server.put("calls", "a.wav", [&packed[..500], &packed[700..]].concat());
    server.pack("calls", "a.wav", "gzip");
    let damaged = failure(&objects, None).await;
    assert_eq!((damaged.kind, damaged.transient), (ErrorKind::SourceUnreadable, false), "{damaged}");
    server.pack("calls", "a.wav", "br");
    let message = failure(&objects, None).await.message;
    assert!(message.starts_with("s3://calls/a.wav has the Content-Encoding br, which cannot be undone"), "{message}");
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}
