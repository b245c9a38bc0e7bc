//! Callbacks on real sockets: each way they can come.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use wavebatch::{
    domain::{
        call::LogFlags,
        callback::{Secret, address, probe_address},
        cost::MicroUsd,
        cost::Rates,
        environment::Environment,
        job::{BatchId, CallId, JobState, RequestFingerprint, Step},
        length::Length,
        pool::{Limits, Pool},
    },
    server::{Admin, Metrics, Receiver, ReceiverSettings, Secrets, ServerTimeouts},
    store::{ClaimRequest, Claimed, End, Ended, Opening, PermitRequest, Purchase, Settlement, Store, To},
};

use crate::support::{
    Fixture,
    watching::{Lock, Page},
};

const SECRET: Secret = Secret::new([7; 32]);

/// A house with a receiver, and lines whose calls wait for their answers.
struct Hall {
    fixture: Fixture,
    receiver: Receiver,
    metrics: Metrics,
    admin: Admin,
    batch: BatchId,
    calls: Vec<(Claimed, CallId)>,
}

impl Hall {
    async fn new(lines: usize) -> Self {
        let fixture = Fixture::new().await;
        fixture.calls(lines);
        let toml = "name = \"night\"\ntask = \"transcribe\"\nmanifest = \"calls.csv\"\noutput = \"out/\"\n\
                    [transcribe]\nmodel = \"pulse-pro\"\nlanguage = \"en\"\n";
        let batch = fixture.submit(&fixture.write("night.toml", toml)).await;
        // The process that made the calls is gone by the time that they are answered.
        let enlisted = fixture.store.enlist("{}".into()).await.unwrap();
        let want = ClaimRequest {
            environment: Environment::Live,
            calls: vec![(Pool::PulsePro, 10_000)],
            ..ClaimRequest::default()
        };
        let mut calls = Vec::new();
        for job in fixture.store.claim(want).await.unwrap() {
            let call = fixture.store.permit(ask(&job)).await.unwrap().unwrap().call;
            let end = End::Accepted { request_id: None };
            let limits = Limits::default();
            fixture.store.end(Ended { call, departed_at: None, limits, end, pauses: None }).await.unwrap();
            let to = To::Awaiting { call, until: fixture.clock.now() + 900_000 };
            let (token, batch) = (job.token, job.batch);
            assert!(fixture.store.settle(Settlement { job: job.job, batch, token, to }).await.unwrap());
            calls.push((job, call));
        }
        fixture.store.leave(enlisted).await.unwrap();
        let metrics = Metrics::new();
        let receiver = receiver(&fixture.store, ServerTimeouts::default(), &metrics).await;
        let admin = fixture.admin(&metrics).await;
        Self { fixture, receiver, metrics, admin, batch, calls }
    }

    fn url(&self, nth: usize) -> String {
        url(self.receiver.addr(), self.calls[nth].1, &SECRET)
    }

    async fn post(&self, nth: usize, body: &str) -> u16 {
        post(&self.url(nth), body).await
    }

    /// The number of a sample of the page.
    async fn number(&self, sample: &str) -> f64 {
        Page::of(self.admin.addr()).await.get(sample)
    }

    async fn state(&self, nth: usize) -> Step {
        let (job, _) = &self.calls[nth];
        self.fixture.store.journal(job.job, 0, job.generation).await.unwrap().step(self.fixture.clock.now(), 15_000)
    }
}

async fn receiver(store: &Store, timeouts: ServerTimeouts, metrics: &Metrics) -> Receiver {
    let (listen, metrics) = (([127, 0, 0, 1], 0).into(), metrics.clone());
    let settings =
        ReceiverSettings { listen, secrets: Secrets::new(vec![SECRET]), rates: Rates::default(), timeouts, metrics };
    Receiver::start(store.clone(), settings).await.unwrap()
}

fn kept(effect: &str) -> String {
    format!("wavebatch_callbacks_total{{effect=\"{effect}\"}}")
}

fn refused(reason: &str) -> String {
    format!("wavebatch_callbacks_refused_total{{reason=\"{reason}\"}}")
}

fn ask(job: &Claimed) -> PermitRequest {
    PermitRequest {
        overdue_after: Some(900_000),
        ..PermitRequest::new(
            job,
            "acc".into(),
            Pool::PulsePro,
            Purchase::Transcript { length: Length::Exact(60_000), rate: MicroUsd(4_000) },
            RequestFingerprint {
                model: "pulse-pro".into(),
                language: "en".into(),
                flags: LogFlags::default(),
                bytes: None,
                audio_ms: None,
                estimated_ms: None,
                keywords: Default::default(),
            },
        )
    }
}

fn url(at: SocketAddr, call: CallId, secret: &Secret) -> String {
    address(&format!("http://{at}/behind/a/proxy").parse().unwrap(), call, secret).to_string()
}

async fn post(url: &str, body: &str) -> u16 {
    let client = reqwest::Client::builder().build().unwrap();
    client.post(url).body(body.to_owned()).send().await.unwrap().status().as_u16()
}

fn words(nth: usize) -> String {
    format!(
        r#"{{"status":"success","transcription":"words of call {}","metadata":{{"duration":30.0}},"call":"x"}}"#,
        nth + 1
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_is_kept_and_then_delivered() {
    let hall = Hall::new(3).await;
    for nth in 0..3 {
        assert_eq!(hall.post(nth, &words(nth)).await, 200);
        assert_eq!(hall.state(nth).await, Step::Deliver(hall.calls[nth].1));
    }
    hall.fixture.run(hall.batch).await;
    for i in 1..=3 {
        assert_eq!(hall.fixture.output(&format!("call-{i:04}.txt")).trim(), format!("words of call {i}"));
    }
    assert_eq!(hall.fixture.sandbox.books().calls, 0, "nothing was asked for again");
    let row = hall.fixture.store.batch_by_id(hall.batch).await.unwrap();
    assert_eq!((row.spent, row.reserved), (3 * 2_000, 0), "half a minute each");
    hall.receiver.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn again_and_again_is_once() {
    let hall = Hall::new(1).await;
    let body = words(0);
    let all = futures::future::join_all((0..10).map(|_| hall.post(0, &body))).await;
    assert_eq!(all, [200; 10]);
    assert_eq!(hall.post(0, &body.replace("words", "other words")).await, 200);
    hall.fixture.run(hall.batch).await;
    assert_eq!(hall.fixture.output("call-0001.txt").trim(), "words of call 1", "the first one counts");
    // For a line that is done: kept, not used.
    assert_eq!(hall.post(0, &body).await, 200);
    assert_eq!(hall.fixture.row(hall.batch, "call-0001").await.billed_calls, 1);
    for (effect, times) in [("answered", 1.0), ("repeated", 10.0), ("other", 1.0), ("surplus", 0.0)] {
        assert_eq!(hall.number(&kept(effect)).await, times, "{effect}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_prove_its_call_learns_nothing() {
    let hall = Hall::new(1).await;
    let at = hall.receiver.addr();
    let call = hall.calls[0].1;
    let stranger = Secret::new([8; 32]);
    let good = hall.url(0);
    for wrong in [
        url(at, call, &stranger),
        url(at, CallId::new(), &SECRET),
        format!("{}{}", &good[..good.len() - 1], if good.ends_with('0') { '1' } else { '0' }),
        format!("http://{at}/"),
        format!("http://{at}/callbacks/{call}"),
        format!("http://{at}/callbacks/{call}/"),
        good.replace("callbacks", "callback"),
    ] {
        let answer = reqwest::Client::new().post(&wrong).body(words(0)).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (404, ""), "{wrong}");
    }
    let got = reqwest::get(&good).await.unwrap();
    assert_eq!(got.status().as_u16(), 404, "nothing is read here");
    assert!(matches!(hall.state(0).await, Step::Await { .. }), "nothing was written");
    assert_eq!(hall.number(&refused("unknown")).await, 8.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_no_use_leaves_the_call_open() {
    let hall = Hall::new(1).await;
    for body in ["", "{", "no json", r#"{"status":"success"}"#, r#"{"status":"processing"}"#] {
        assert_eq!(hall.post(0, body).await, 400, "{body}");
    }
    let at = hall.receiver.addr();
    let path = hall.url(0).replace(&format!("http://{at}"), "");
    // More than is read, said or sent; and a body that breaks off.
    let declared = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 70000000\r\n\r\n");
    assert!(talk(at, declared.as_bytes(), false).await.starts_with("HTTP/1.1 413"));
    let half = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\n\r\n{{\"status\":");
    assert!(talk(at, half.as_bytes(), true).await.starts_with("HTTP/1.1 400"), "half a body");
    assert!(matches!(hall.state(0).await, Step::Await { .. }));
    assert_eq!((hall.number(&refused("unreadable")).await, hall.number(&refused("too_large")).await), (6.0, 1.0));
    assert_eq!(hall.post(0, &words(0)).await, 200, "and the vendor may try again");
}

/// Sends raw bytes; with `ends` no more come. What comes back until the end.
async fn talk(at: SocketAddr, bytes: &[u8], ends: bool) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    if ends {
        stream.shutdown().await.unwrap();
    }
    let mut back = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut back)).await;
    String::from_utf8_lossy(&back).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_one_is_a_try() {
    let hall = Hall::new(1).await;
    assert_eq!(hall.post(0, r#"{"status":"failed","error":"no speech in it"}"#).await, 200);
    assert!(matches!(hall.state(0).await, Step::Call(_)));
    let row = hall.fixture.row(hall.batch, "call-0001").await;
    assert_eq!((row.state, row.tries, row.billed_calls), (JobState::Awaiting, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_keeps_nobody_waiting() {
    let hall = Hall::new(1).await;
    let short = Duration::from_millis(300);
    let timeouts = ServerTimeouts { head: short, body: short, end: short, ..ServerTimeouts::default() };
    let slow = receiver(&hall.fixture.store, timeouts, &hall.metrics).await;
    let mut silent = Vec::new();
    for _ in 0..500 {
        silent.push(TcpStream::connect(slow.addr()).await.unwrap());
    }
    let path = url(slow.addr(), hall.calls[0].1, &SECRET).replace(&format!("http://{}", slow.addr()), "");
    let dripping = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\n\r\n{{");
    let message = tokio::spawn({
        let (at, dripping) = (slow.addr(), dripping);
        async move { talk(at, dripping.as_bytes(), false).await }
    });
    assert_eq!(post(&url(slow.addr(), hall.calls[0].1, &SECRET), &words(0)).await, 200, "the honest are served");
    assert!(message.await.unwrap().starts_with("HTTP/1.1 408"), "too slow");
    let mut one = [0; 1];
    for stream in &mut silent {
        let left = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut one)).await.expect("it is left");
        assert!(matches!(left, Ok(0) | Err(_)));
    }
    assert_eq!(hall.number(&refused("too_slow")).await, 1.0);
    slow.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_ledger_cannot_be_written_the_vendor_is_asked_to_come_again() {
    let hall = Hall::new(1).await;
    let at = hall.receiver.addr();
    hall.is_asked_to_come_again(at).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_is_by_a_process_that_works_and_holds_on_to_what_it_has() {
    let hall = Hall::new(1).await;
    let opening = Opening {
        clock: hall.fixture.clock.clone(),
        busy_timeout: Duration::from_millis(20),
        ..Opening::new(hall.fixture.store.file().unwrap())
    };
    let (store, _) = Store::open(opening).await.unwrap();
    let enlisted = store.enlist("{}".into()).await.unwrap();
    let working = receiver(&store, ServerTimeouts::default(), &hall.metrics).await;
    hall.is_asked_to_come_again(working.addr()).await;
    store.leave(enlisted).await.unwrap();
}

impl Hall {
    async fn is_asked_to_come_again(&self, at: SocketAddr) {
        let lock = Lock::on(self.fixture.store.file().unwrap()).await;
        let url = url(at, self.calls[0].1, &SECRET);
        let began = Instant::now();
        let answer = reqwest::Client::new().post(&url).body(words(0)).send().await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (503, "10"));
        assert!(matches!(self.state(0).await, Step::Await { .. }));
        assert_eq!((self.number(&refused("ledger")).await, self.number(&kept("answered")).await), (1.0, 0.0));
        lock.release().await;
        // Which of the two deliveries is the first, nobody can tell from here, and nobody needs to.
        assert_eq!(post(&url, &words(0)).await, 200);
        assert_eq!(self.state(0).await, Step::Deliver(self.calls[0].1));
        self.fixture.until("both are counted", || async { self.number(&kept("repeated")).await == 1.0 }).await;
        assert_eq!(self.number(&kept("answered")).await, 1.0);
        self.fixture.run(self.batch).await;
        assert_eq!(self.fixture.output("call-0001.txt").trim(), "words of call 1");
        assert_eq!(self.fixture.row(self.batch, "call-0001").await.billed_calls, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_receivers_on_one_ledger_have_one_effect() {
    let hall = Hall::new(8).await;
    let store = hall.fixture.second_store().await;
    let second = receiver(&store, ServerTimeouts::default(), &hall.metrics).await;
    let both = [hall.receiver.addr(), second.addr()];
    let posts =
        hall.calls.iter().enumerate().flat_map(|(nth, (_, call))| {
            both.map(|at| async move { post(&url(at, *call, &SECRET), &words(nth)).await })
        });
    assert_eq!(futures::future::join_all(posts).await, [200; 16]);
    assert_eq!((hall.number(&kept("answered")).await, hall.number(&kept("repeated")).await), (8.0, 8.0));
    hall.fixture.run(hall.batch).await;
    for i in 1..=8 {
        assert_eq!(hall.fixture.output(&format!("call-{i:04}.txt")).trim(), format!("words of call {i}"));
        assert_eq!(hall.fixture.row(hall.batch, &format!("call-{i:04}")).await.billed_calls, 1);
    }
    assert_eq!(hall.fixture.sandbox.books().calls, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_delay_of_a_callback_is_counted_from_its_calls_intent() {
    let hall = Hall::new(2).await;
    hall.fixture.clock.advance(90_000);
    assert_eq!(hall.post(0, &words(0)).await, 200);
    assert_eq!(hall.post(0, &words(0)).await, 200, "again, which says nothing about the delay");
    assert_eq!(hall.post(1, r#"{"status":"failed","error":"no speech in it"}"#).await, 200);
    let page = Page::of(hall.admin.addr()).await;
    let bucket = |le: &str| page.get(&format!("wavebatch_callback_delay_seconds_bucket{{le=\"{le}\"}}"));
    assert_eq!((bucket("60.0"), bucket("120.0"), page.get("wavebatch_callback_delay_seconds_count")), (0.0, 2.0, 2.0));
    assert!((180.0..230.0).contains(&page.get("wavebatch_callback_delay_seconds_sum")));
    assert_eq!((page.get(&kept("failed")), page.get(&kept("answered"))), (1.0, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_is_answered_before_anything_else_and_counts_as_nothing() {
    let hall = Hall::new(1).await;
    let public = format!("http://{}/behind/a/proxy", hall.receiver.addr()).parse().unwrap();
    let probe = |secret| probe_address(&public, CallId::new().0, secret);
    let client = reqwest::Client::new();
    let lock = Lock::on(hall.fixture.store.file().unwrap()).await;
    let answer = client.post(probe(&SECRET)).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (204, ""));
    lock.release().await;
    assert_eq!(reqwest::get(probe(&SECRET)).await.unwrap().status().as_u16(), 404, "it is posted");
    let strange = client.post(probe(&Secret::new([8; 32]))).send().await.unwrap();
    assert_eq!((strange.status().as_u16(), strange.text().await.unwrap().as_str()), (404, ""));
    assert_eq!(hall.number(&refused("unknown")).await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_wait_for_room() {
    let hall = Hall::new(1).await;
    let at = hall.receiver.addr();
    let path = hall.url(0).replace(&format!("http://{at}"), "");
    let head = |len: usize| {
        format!("POST {path} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {len}\r\n\r\n")
    };
    let ask = async |head: String| {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    };
    let mut large = Vec::new();
    for _ in 0..4 {
        let mut stream = ask(head(64 << 20)).await;
        go_on(&mut stream).await;
        large.push(stream);
    }
    let body = words(0);
    let mut small = ask(head(body.len())).await;
    let waits = tokio::time::timeout(Duration::from_millis(300), small.read_u8()).await;
    assert!(waits.is_err(), "there is no room");
    drop(large.pop());
    go_on(&mut small).await;
    small.write_all(body.as_bytes()).await.unwrap();
    let mut message = [0; 15];
    small.read_exact(&mut message).await.unwrap();
    assert_eq!(&message, b"HTTP/1.1 200 OK");
}

/// Reads that the body may come, which is when there is room for it.
async fn go_on(stream: &mut TcpStream) {
    let mut message = [0; 25];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut message)).await;
    read.expect("there is room").unwrap();
    assert_eq!(&message, b"HTTP/1.1 100 Continue\r\n\r\n");
}
