//! Callbacks: how many a second are received and committed; from a callback to its outputs in an idle service; what 10,000
//! awaited calls cost a service that has nothing to do; and 1,000 long recordings whose receiver and workers are killed.
//!
//! `cargo bench --bench callbacks` (Linux: /proc is read); `-- rate`, `delay`, `idle` or `storm` for one of them. `N=`
//! changes its size.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

mod support;

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use secrecy::SecretString;
use support::Server;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use url::Url;
use wavebatch::{
    audio::wav,
    definition::{Definition, Overrides},
    domain::{
        call::LogFlags,
        callback::{Secret, SecretPurpose, address},
        cost::MicroUsd,
        cost::Rates,
        environment::Environment,
        job::{CallId, JobState, RequestFingerprint},
        length::Length,
        pool::{Limits, Pool},
    },
    runner::intake::{SubmitOptions, submit},
    sandbox::{Config, Fault, Match, Sandbox, What},
    server::{Metrics, Receiver, ReceiverSettings, Secrets, ServerTimeouts},
    store::{ClaimRequest, End, Ended, Opening, PermitRequest, Purchase, Settlement, Store, To},
    waves::account,
};

const KEY: &str = "sk_bench";
const NOWHERE: &str = "http://127.0.0.1:9";
const CONNECTIONS: usize = 64;
const DEFINITION: &str = "name = \"night\"\ntask = \"transcribe\"\nmanifest = \"calls.csv\"\noutput = \"out/\"\n\
    [transcribe]\nmodel = \"pulse-pro\"\nlanguage = \"en\"\nformats = [\"txt\", \"json\"]\nwebhook = \"always\"\n\
    [run]\nunknown_grace = \"1s\"\n";

fn main() {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args.first().is_some_and(|mode| mode == "sandbox") {
        return sandbox();
    }
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| arg == name);
    let place = env::var("BENCH_DIR").unwrap_or_else(|_| ".".into());
    let dir = tempfile::tempdir_in(place).expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if wanted("rate") {
        for bytes in [2_000, 64_000] {
            runtime.block_on(rate(&dir.path().join(format!("rate-{bytes}")), size(20_000), bytes));
        }
    }
    if wanted("delay") {
        runtime.block_on(delay(&dir.path().join("delay"), size(500)));
    }
    if wanted("idle") {
        runtime.block_on(idle(&dir.path().join("idle"), size(10_000)));
    }
    if wanted("storm") {
        runtime.block_on(storm(&dir.path().join("storm"), size(1_000)));
    }
}

fn size(usual: usize) -> usize {
    env::var("N").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// A ledger with `n` jobs that wait for their callbacks, and their calls.
async fn awaiting(dir: &Path, n: usize) -> (Store, Vec<CallId>) {
    fs::create_dir_all(dir).expect("a folder");
    let mut manifest = String::from("key,source\n");
    for i in 0..n {
        let _ = writeln!(manifest, "call-{i:05},https://recordings.example.com/{i}.wav");
    }
    fs::write(dir.join("calls.csv"), manifest).expect("a manifest");
    fs::write(dir.join("night.toml"), DEFINITION).expect("a definition");
    let (store, _) =
        Store::open(Opening { create: true, ..Opening::new(dir.join("wavebatch.db")) }).await.expect("a ledger");
    let definition = Definition::load(
        &dir.join("night.toml"),
        wavebatch::tasks::Registry::built_in().definitions(),
        &Overrides::default(),
    )
    .expect("a good definition");
    let origin = Url::parse(NOWHERE).expect("an address");
    let definition = definition.asked_at(Some(NOWHERE.to_owned()));
    submit(
        &store,
        &definition,
        None,
        Environment::Live,
        &SubmitOptions::of(wavebatch::tasks::Registry::built_in().intakes()),
    )
    .await
    .expect("submitted");
    let enlisted = store.enlist("{}".into()).await.expect("a ledger");
    let account = account(&origin, &SecretString::from(KEY));
    let mut calls = Vec::with_capacity(n);
    while calls.len() < n {
        let want = ClaimRequest {
            environment: Environment::Live,
            calls: vec![(Pool::PulsePro, 250)],
            ..ClaimRequest::default()
        };
        let claimed = store.claim(want).await.expect("a ledger");
        let asked = claimed.into_iter().map(|job| {
            let (store, account) = (store.clone(), account.clone());
            async move {
                let trace = RequestFingerprint {
                    model: "pulse-pro".into(),
                    language: "en".into(),
                    flags: LogFlags::default(),
                    bytes: None,
                    audio_ms: Some(3_600_000),
                    estimated_ms: None,
                    keywords: Default::default(),
                };
                let ask = PermitRequest {
                    overdue_after: Some(10_800_000),
                    ..PermitRequest::new(
                        &job,
                        account,
                        Pool::PulsePro,
                        Purchase::Transcript { length: Length::Exact(3_600_000), rate: MicroUsd(5_000) },
                        trace,
                    )
                };
                let call = store.permit(ask).await.expect("a ledger").expect("a permit").call;
                let end = End::Accepted { request_id: None };
                let ended = Ended { call, departed_at: None, limits: Limits::default(), end, pauses: None };
                store.end(ended).await.expect("a ledger");
                let until = store.clock().now() + 10_800_000;
                let to = To::Awaiting { call, until };
                store
                    .settle(Settlement { job: job.job, batch: job.batch, token: job.token, to })
                    .await
                    .expect("a ledger");
                call
            }
        });
        calls.extend(futures::future::join_all(asked).await);
    }
    store.leave(enlisted).await.expect("a ledger");
    (store, calls)
}

/// What the vendor posts.
fn body(call: CallId, bytes: usize) -> String {
    let words = "word ".repeat(bytes / 5);
    format!(
        "{{\"status\":\"success\",\"request_id\":\"{call}\",\"transcription\":\"{words}\",\"metadata\":{{\"duration\":3600.0}}}}"
    )
}

/// Posts over a connection that stays open; returns the status.
async fn post(stream: &mut TcpStream, target: &Url, body: &str) -> u16 {
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        target.path(),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.expect("a connection");
    stream.write_all(body.as_bytes()).await.expect("a connection");
    let (mut answer, mut buffer) = (Vec::new(), [0; 1_024]);
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        let n = stream.read(&mut buffer).await.expect("an answer");
        assert!(n > 0, "the connection ended");
        answer.extend_from_slice(&buffer[..n]);
    }
    String::from_utf8_lossy(&answer[9..12]).parse().expect("a status")
}

async fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).await.expect("a receiver");
    stream.set_nodelay(true).expect("a socket");
    stream
}

fn first_secret(store: &Store) -> Secret {
    let secrets = Secrets::beside(store.file().expect("a ledger in a file"), SecretPurpose::Webhook).expect("a secret");
    secrets.keyring().newest().expect("a secret")
}

async fn rate(dir: &Path, n: usize, bytes: usize) {
    let (store, calls) = awaiting(dir, n).await;
    let secret = first_secret(&store);
    let settings = ReceiverSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        secrets: Secrets::new(vec![secret.clone()]),
        rates: Rates::default(),
        timeouts: ServerTimeouts::default(),
        metrics: Metrics::new(),
    };
    let receiver = Receiver::start(store.clone(), settings).await.expect("a port");
    let (addr, public_url) = (receiver.addr(), Url::parse("http://hooks/w").expect("an address"));
    let calls = Arc::new(calls);
    let began = Instant::now();
    let senders = (0..CONNECTIONS).map(|connection| {
        let (calls, secret, public_url) = (Arc::clone(&calls), secret.clone(), public_url.clone());
        tokio::spawn(async move {
            let mut stream = connect(addr).await;
            for call in calls.iter().skip(connection).step_by(CONNECTIONS) {
                let target = address(&public_url, *call, &secret);
                assert_eq!(post(&mut stream, &target, &body(*call, bytes)).await, 200);
            }
        })
    });
    futures::future::join_all(senders).await.into_iter().for_each(|done| done.expect("a sender"));
    let took = began.elapsed().as_secs_f64();
    let batch = store.batch("night").await.expect("a ledger").expect("the batch");
    let billed: u64 = store.spending(batch.id).await.expect("a ledger").iter().map(|s| s.billed).sum();
    println!(
        "rate: {n} callbacks of {bytes} bytes over {CONNECTIONS} connections: {:.0}/s, {billed} answers kept",
        n as f64 / took
    );
    receiver.shutdown().await;
}

/// `wavebatch serve` on a ledger.
struct Service {
    child: Child,
    addr: SocketAddr,
}

impl Service {
    fn start(dir: &Path, base_url: &str, args: &[&str]) -> Self {
        let addr = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
        let mut child = Command::new(env!("CARGO_BIN_EXE_wavebatch"))
            .current_dir(dir)
            .args(["serve", "--admin-listen", "off"])
            .args(args)
            .args(if args.contains(&"--listen") { vec![] } else { vec!["--listen".to_owned(), addr.to_string()] })
            .env("SMALLEST_API_KEY", KEY)
            .env("SMALLEST_BASE_URL", base_url)
            .env_remove("WAVEBATCH_DATABASE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let message: Vec<String> =
            lines.by_ref().map_while(Result::ok).take_while(|line| !line.contains("workers ")).collect();
        assert!(child.try_wait().expect("a child").is_none(), "{}", message.join("\n"));
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, addr }
    }

    /// Seconds of processor time so far, and peak memory in MB.
    fn costs(&self) -> (f64, f64) {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let stat = fs::read_to_string(proc.join("stat")).expect("a living child");
        let fields: Vec<&str> = stat.rsplit(") ").next().expect("its fields").split(' ').collect();
        let ticks: f64 = [11, 12].iter().map(|at| fields[*at].parse::<f64>().expect("ticks")).sum();
        let status = fs::read_to_string(proc.join("status")).expect("a living child");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        let kb: f64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        (ticks / 100.0, kb / 1_024.0)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn delay(dir: &Path, n: usize) {
    let (store, calls) = awaiting(dir, n).await;
    let secret = first_secret(&store);
    let service = Service::start(dir, NOWHERE, &[]);
    let public_url = Url::parse("http://hooks/w").expect("an address");
    let mut stream = connect(service.addr).await;
    let mut delays = Vec::with_capacity(n);
    // The order of claims is the manifest's.
    let mut keys: Vec<(String, CallId)> = Vec::new();
    let batch = store.batch("night").await.expect("a ledger").expect("the batch");
    let filter = wavebatch::store::JobFilter {
        lines: wavebatch::store::Selection::of_states(&[JobState::Awaiting]),
        limit: 100_000,
        ..wavebatch::store::JobFilter::default()
    };
    for job in store.jobs(batch.id, &filter).await.expect("a ledger") {
        keys.push((job.row.key.clone(), job.calls[0].id));
    }
    assert_eq!(keys.len(), calls.len());
    for (key, call) in keys {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let out = dir.join(format!("out/{key}.txt"));
        let began = Instant::now();
        assert_eq!(post(&mut stream, &address(&public_url, call, &secret), &body(call, 50_000)).await, 200);
        while !out.exists() {
            assert!(began.elapsed() < Duration::from_secs(10), "it never comes");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        delays.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
    println!(
        "delay: from a callback of 50,000 bytes to its outputs, {n} times: median {:.0} ms, p99 {:.0} ms, longest {:.0} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

async fn idle(dir: &Path, n: usize) {
    let (store, _) = awaiting(dir, n).await;
    store.close().await;
    let service = Service::start(dir, NOWHERE, &[]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (before, began) = (service.costs().0, Instant::now());
    tokio::time::sleep(Duration::from_secs(30)).await;
    let (after, peak) = service.costs();
    let share = 100.0 * (after - before) / began.elapsed().as_secs_f64();
    println!("idle: {n} calls awaited: peak {peak:.0} MB, {share:.2}% of one core");
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn sandbox() {
    let config = Config {
        latency: Duration::from_millis(20),
        webhook_delay: Some(Duration::from_millis(300)),
        webhook_backoff: Duration::from_millis(200),
        ..Config::default()
    };
    let sandbox = Sandbox::start(config).await.expect("a free port");
    let chance = |p, seed| Match::Probability { p, seed };
    sandbox.script([
        Fault::new(chance(0.08, 1), What::CallbackLost),
        Fault::new(chance(0.30, 2), What::CallbackEarly),
        Fault::new(chance(0.20, 3), What::CallbackTwice),
    ]);
    println!("{}", sandbox.base_url());
    sandbox.join().await.expect("a sandbox");
}

async fn storm(dir: &Path, n: usize) {
    const KILLS: usize = 10;
    let server = tokio::task::spawn_blocking(|| Server::start(&["sandbox"])).await.expect("a sandbox");
    fs::create_dir_all(dir.join("rec")).expect("a folder");
    let mut manifest = String::from("key,source\n");
    for i in 0..n {
        // Each has a length of its own, so that the vendor's log can tell them apart.
        let samples = vec![0_i16; 8_000 + i];
        fs::write(dir.join(format!("rec/{i}.wav")), wav::pcm16(1, 8_000, Some(&format!("words of {i}")), &samples))
            .expect("a recording");
        let _ = writeln!(manifest, "call-{i:05},rec/{i}.wav");
    }
    fs::write(dir.join("calls.csv"), manifest).expect("a manifest");
    fs::write(dir.join("night.toml"), DEFINITION).expect("a definition");
    fs::write(dir.join("wavebatch.toml"), "[limits.pulse-pro]\nrequests_per_minute = 0\nconcurrency = 20\n")
        .expect("settings");
    let listen = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").to_string();
    let public_url = format!("http://{listen}/hooks");
    let receives = ["--no-workers", "--listen", listen.as_str()];
    let works = ["--listen", "off", "--public-url", public_url.as_str(), "--overdue", "5s", "--grace", "1s"];
    let began = Instant::now();
    let (mut receiver, mut worker) =
        (Service::start(dir, &server.url, &receives), Service::start(dir, &server.url, &works));
    let submitted = Command::new(env!("CARGO_BIN_EXE_wavebatch"))
        .current_dir(dir)
        .args(["submit", "night.toml", "-q", "--public-url", public_url.as_str()])
        .env("SMALLEST_API_KEY", KEY)
        .env("SMALLEST_BASE_URL", &server.url)
        .status()
        .expect("the program");
    assert!(submitted.success());
    let (store, _) = Store::open(Opening::new(dir.join("wavebatch.db"))).await.expect("a ledger");
    let batch = store.batch("night").await.expect("a ledger").expect("the batch").id;
    let mut kills = 0;
    loop {
        let counts = store.counts(batch).await.expect("a ledger");
        let done = usize::try_from(counts.total() - counts.unfinished()).expect("a number");
        if counts.total() > 0 && counts.unfinished() == 0 {
            break;
        }
        if kills < KILLS && done >= (kills + 1) * n * 8 / 10 / KILLS {
            kills += 1;
            drop(receiver);
            receiver = Service::start(dir, &server.url, &receives);
            if kills % 2 == 0 {
                drop(worker);
                worker = Service::start(dir, &server.url, &works);
            }
        }
        assert!(began.elapsed() < Duration::from_secs(300), "it does not end: {counts:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = began.elapsed().as_secs_f64();
    let counts = store.counts(batch).await.expect("a ledger");
    let books = tokio::task::spawn_blocking(move || server.books()).await.expect("books");
    let twice = books.contents.values().filter(|content| content.billed > 1).count();
    println!(
        "storm: {n} recordings, {kills} kills of the receiver and {} of the worker: {:.1} s, {} succeeded, {} calls, {twice} bought twice; \
         {} callbacks lost, {} deliveries",
        kills / 2,
        took,
        counts.of(JobState::Succeeded),
        books.calls,
        books.callbacks_lost,
        books.deliveries
    );
    drop((receiver, worker));
}
