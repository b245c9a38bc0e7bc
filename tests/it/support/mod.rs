//! All that one test needs: a folder, a sandbox on a real socket, a ledger, recordings.

pub mod crash;
pub mod ear;
#[path = "../../support/proxy.rs"]
pub mod proxy;
pub mod pty;
pub mod s3;
pub mod server;
pub mod service;
pub mod synthesis;
pub mod watching;
pub mod web;

pub use self::server::postgres;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use secrecy::SecretString;
use sqlx::{ConnectOptions, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wavebatch::{
    audio::wav,
    clock::Clock,
    definition::{Definition, Overrides},
    domain::{
        callback::{Keyring, Rule, Secret},
        cost::Rates,
        environment::Environment,
        job::{BatchId, JobState},
        pool::{Limits, Pool},
        spend::SpendRule,
    },
    media::fetch::{FetchSettings, Fetcher},
    pace::Pace,
    runner::{
        Event, Means, RunEnd, Runner, RunnerConfig, Webhook,
        intake::{SubmitOptions, submit},
    },
    sandbox::{Config, Sandbox},
    server::{Metrics, Receiver, ReceiverSettings, Secrets, ServerTimeouts},
    store::{
        BadSet, Begun, Counts, JobDetail, JobFilter, NewJob, Opening, PoolView, ReportRow, SpoolSetting, Store, Timing,
    },
    tasks::Registry,
    waves::{Client, Settings, account},
};

pub const KEY: &str = "sk_test";
/// Leases that outlast every move of a test's clock.
pub const LONG: Timing = Timing { lease_ms: 100_000_000, beat_ms: 500 };
/// Leases that a test can wait for.
pub const SHORT: Timing = Timing { lease_ms: 3_000, beat_ms: 500 };

/// Submits lines of a batch.
pub async fn submit_lines(store: &Store, batch: BatchId, jobs: &[NewJob]) {
    let begun = Begun { batch, existed: true, at: store.clock().now(), redelivered: 0, pruned: 0 };
    let set = jobs.iter().zip(0..).collect();
    store.submit_sets(begun, vec![(set, BadSet::default())]).await.expect("a ledger");
}

pub struct Fixture {
    pub dir: TempDir,
    pub sandbox: Sandbox,
    pub store: Store,
    pub clock: Clock,
    pub limits: HashMap<Pool, Limits>,
    /// What a day and a month may cost.
    pub spend: Option<Arc<SpendRule>>,
    /// Where the runner finds the API; the sandbox's by default.
    pub base_url: Option<String>,
    /// Where answers are posted to, if they are.
    pub webhook: Option<Webhook>,
    /// The tasks that there are.
    pub registry: Registry,
}

/// What a run left behind.
pub struct Ran {
    pub end: RunEnd,
    pub events: Vec<Event>,
}

impl Ran {
    pub fn warnings(&self) -> Vec<String> {
        self.events.iter().filter_map(|e| if let Event::Warning(w) = e { Some(w.clone()) } else { None }).collect()
    }

    pub fn paused(&self) -> Option<String> {
        self.events.iter().find_map(|e| if let Event::Paused { reason, .. } = e { Some(reason.clone()) } else { None })
    }
}

impl Fixture {
    pub async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        Self::with_timing(config, SHORT, Clock::system()).await
    }

    /// One whose clock can be moved by hours without a lease running out.
    pub async fn timeless(config: Config) -> Self {
        Self::with_timing(config, LONG, Clock::system()).await
    }

    /// The same, whose clock stands still until it is moved.
    pub async fn still() -> Self {
        Self::with_timing(Config::default(), LONG, Clock::stopped()).await
    }

    /// The same, whose clock shows this moment (ms since 1970) from the first on.
    pub async fn timeless_at(now: i64) -> Self {
        let clock = Clock::system();
        clock.advance(now - clock.now());
        Self::with_timing(Config::default(), LONG, clock).await
    }

    async fn with_timing(config: Config, timing: Timing, clock: Clock) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = open(&dir.path().join("wavebatch.db"), &clock, timing).await;
        let sandbox = Sandbox::start(config).await.expect("a sandbox");
        Self {
            dir,
            sandbox,
            store,
            clock,
            limits: HashMap::new(),
            spend: None,
            base_url: None,
            webhook: None,
            registry: Registry::built_in(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below the folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
        path
    }

    /// A recording of `seconds`, whose words the sandbox knows. Each number makes another content.
    pub fn recording(&self, name: &str, words: &str, seconds: f64, number: usize) -> PathBuf {
        self.write(name, synthesis(words, seconds, number))
    }

    /// `n` recordings of one second and a manifest with their keys.
    pub fn calls(&self, n: usize) -> PathBuf {
        let mut manifest = String::from("key,source,agent\n");
        for i in 1..=n {
            self.recording(&format!("rec/{i}.wav"), &format!("words of call {i}"), 1.0, i);
            manifest.push_str(&format!("call-{i:04},rec/{i}.wav,agent {i}\n"));
        }
        self.write("calls.csv", manifest)
    }

    /// `n` recordings, each with a size of its own, so that the vendor's log can prove each call; their manifest, and
    /// settings without a limit of requests.
    pub fn provable_calls(&self, n: usize) {
        let mut manifest = String::from("key,source\n");
        for i in 1..=n {
            self.recording(&format!("rec/{i}.wav"), &format!("words of call {i}"), 0.5 + i as f64 / 1_000.0, i);
            manifest.push_str(&format!("call-{i},rec/{i}.wav\n"));
        }
        self.write("calls.csv", manifest);
        self.write("wavebatch.toml", "[limits.pulse]\nrequests_per_minute = 0\n");
    }

    /// `calls.csv` with these keys and sources.
    pub fn lines<S: AsRef<str>>(&self, lines: &[(&str, S)]) {
        let rows: String = lines.iter().map(|(key, source)| format!("{key},{}\n", source.as_ref())).collect();
        self.write("calls.csv", format!("key,source\n{rows}"));
    }

    /// The ledger, to be damaged or looked into past the program.
    pub async fn ledger(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.store.file().unwrap()).connect().await.expect("a ledger")
    }

    /// A definition over `calls.csv` with more lines of TOML: first for `[transcribe]`, then for `[run]`.
    pub fn definition(&self, transcribe: &str, run: &str) -> PathBuf {
        let toml = format!(
            "name = \"night\"\ntask = \"transcribe\"\nmanifest = \"calls.csv\"\noutput = \"out/\"\n\
             [transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\n{transcribe}\n[run]\n{run}\n"
        );
        self.write("night.toml", toml)
    }

    /// Has answers of recordings posted, and hears them.
    pub async fn listens(&mut self, secret: Secret, rule: Rule) -> Receiver {
        let settings = ReceiverSettings {
            listen: ([127, 0, 0, 1], 0).into(),
            secrets: Secrets::new(vec![secret.clone()]),
            rates: Rates::default(),
            timeouts: ServerTimeouts::default(),
            metrics: Metrics::new(),
        };
        let receiver = Receiver::start(self.store.clone(), settings).await.expect("a port");
        let public_url = format!("http://{}/hooks", receiver.addr()).parse().expect("an address");
        self.webhook = Some(Webhook { public_url, secrets: Keyring::new(vec![secret]), rule });
        receiver
    }

    pub async fn submit(&self, definition: &Path) -> BatchId {
        let definition = Definition::load(definition, self.registry.definitions(), &Overrides::default())
            .expect("a good definition");
        submit(&self.store, &definition, None, Environment::Live, &SubmitOptions::of(self.registry.intakes()))
            .await
            .expect("submitted")
            .batch
    }

    pub fn runner_on(&self, store: &Store) -> (Runner, mpsc::UnboundedReceiver<Event>) {
        let base_url = self.base_url();
        let key = SecretString::from(KEY);
        let config = RunnerConfig {
            environment: Environment::Live,
            account: self.account(),
            limits: self.limits.clone(),
            share: 1.0,
            spend: self.spend.clone(),
            rates: Rates::default(),
            webhook: self.webhook.clone(),
            ffmpeg: None,
            word_voices: Vec::new(),
        };
        let client =
            Client::new(Settings { base_url, key, connect_timeout: Duration::from_secs(2), user_agent: "test".into() })
                .expect("a client");
        let fetcher = Fetcher::new(FetchSettings {
            idle_timeout: Duration::from_millis(400),
            whole_timeout: Duration::from_secs(5),
            pace: Pace { tries: 2, first: Duration::from_millis(10), longest: Duration::from_millis(20) },
            ..FetchSettings::default()
        })
        .expect("a fetcher");
        let (events, seen) = mpsc::unbounded_channel();
        let means = Means { store: store.clone(), client, fetcher };
        (Runner::new(means, self.registry.makers(), config, events), seen)
    }

    pub fn account(&self) -> String {
        account(&self.base_url(), &SecretString::from(KEY))
    }

    fn base_url(&self) -> url::Url {
        self.base_url.clone().unwrap_or_else(|| self.sandbox.base_url()).parse().expect("a URL")
    }

    /// Puts up a definition with these lines of `[transcribe]` and `[run]`, and works until the end.
    pub async fn go(&self, transcribe: &str, run: &str) -> (BatchId, Ran) {
        let batch = self.submit(&self.definition(transcribe, run)).await;
        (batch, self.run(batch).await)
    }

    /// Works until the end.
    pub async fn run(&self, batch: BatchId) -> Ran {
        self.run_until(batch, CancellationToken::new()).await
    }

    /// Works until the end, and moves the clock to what is due next whenever all that is left waits for it.
    pub async fn run_ahead(&self, batch: BatchId) -> Ran {
        let ahead = async {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                if let Some(due_at) = self.waits_until(batch).await {
                    self.clock.advance(due_at - self.clock.now());
                }
            }
        };
        tokio::select! { ran = self.run(batch) => ran, () = ahead => unreachable!("it goes on for ever") }
    }

    /// When the next line is due, if every line that is not finished waits for its moment.
    pub async fn waits_until(&self, batch: BatchId) -> Option<i64> {
        let filter = JobFilter { limit: 1_000, ..JobFilter::default() };
        let jobs = self.store.jobs(batch, &filter).await.expect("a ledger");
        let left = jobs.iter().filter(|job| job.due_at.is_some());
        let waits = |job: &&JobDetail| job.row.state == JobState::Queued;
        let due_at = left.clone().all(|job| waits(&job)).then(|| left.filter_map(|job| job.due_at).min()).flatten();
        due_at.filter(|at| *at > self.clock.now())
    }

    /// Waits until every line that is not finished waits for its moment; how long that still is, in ms.
    pub async fn wait_ahead(&self, batch: BatchId) -> i64 {
        self.until("lines that wait", || async { self.waits_until(batch).await.is_some() }).await;
        self.waits_until(batch).await.map_or(0, |due_at| due_at - self.clock.now())
    }

    pub async fn run_until(&self, batch: BatchId, drain: CancellationToken) -> Ran {
        self.run_on(&self.store, batch, drain, CancellationToken::new()).await
    }

    /// Works on another handle of the ledger, as another process would.
    pub async fn run_on(
        &self,
        store: &Store,
        batch: BatchId,
        drain: CancellationToken,
        abort: CancellationToken,
    ) -> Ran {
        let (runner, mut seen) = self.runner_on(store);
        let end = tokio::time::timeout(Duration::from_secs(40), runner.run(&[batch], drain, abort))
            .await
            .expect("a run ends")
            .expect("a ledger that can be written");
        drop(runner);
        let mut events = Vec::new();
        while let Ok(event) = seen.try_recv() {
            events.push(event);
        }
        Ran { end, events }
    }

    /// Another handle on the same ledger.
    pub async fn second_store(&self) -> Store {
        open(&self.path("wavebatch.db"), &self.clock, self.store.timing()).await
    }

    /// Waits until the ledger shows what is waited for.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, mut seen: impl FnMut() -> F) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !seen().await {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub async fn pool(&self) -> PoolView {
        let view = self.store.pool(&self.account(), Pool::Pulse, &Limits::default()).await;
        view.expect("a ledger")
    }

    pub async fn job(&self, batch: BatchId, key: &str) -> JobDetail {
        let filter = JobFilter { lines: wavebatch::store::Selection::of_key(key), limit: 1, ..JobFilter::default() };
        self.store.jobs(batch, &filter).await.expect("a ledger").pop().expect("that key")
    }

    /// State and kind of each key.
    pub async fn ends(&self, batch: BatchId) -> HashMap<String, (JobState, String)> {
        let rows = self.rows(batch).await;
        rows.into_iter().map(|r| (r.key, (r.state, r.error_kind.unwrap_or_default()))).collect()
    }

    pub async fn counts(&self, batch: BatchId) -> Counts {
        self.store.counts(batch).await.expect("a ledger")
    }

    pub async fn rows(&self, batch: BatchId) -> Vec<ReportRow> {
        self.store.report_page(batch, (0, 0), 10_000, true).await.expect("a ledger")
    }

    pub async fn row(&self, batch: BatchId, key: &str) -> ReportRow {
        self.rows(batch).await.into_iter().find(|r| r.key == key).expect("that key")
    }

    /// All lines succeeded, and none was billed more than `most` times.
    pub async fn all_well(&self, batch: BatchId, lines: u64, most: u64) {
        let counts = self.counts(batch).await;
        assert_eq!(counts.of(JobState::Succeeded), lines, "{counts:?}");
        assert_eq!(counts.total(), lines);
        let books = self.sandbox.books();
        assert!(books.most_billed() <= most, "a recording was billed {} times", books.most_billed());
    }

    pub fn output(&self, name: &str) -> String {
        fs::read_to_string(self.path("out").join(name)).expect("an output")
    }
}

pub async fn open(path: &Path, clock: &Clock, timing: Timing) -> Store {
    let mut opening = Opening { clock: clock.clone(), timing, ..Opening::new(path) };
    if let Some(server) = server::stands_for(path) {
        let local_files = path.with_extension("db-spool");
        let spool = SpoolSetting::folder(local_files.clone());
        opening = Opening { ledger: server.into(), server_time: false, local_files, spool, ..opening };
    }
    Store::open(opening).await.expect("a ledger").0
}

/// A WAV of 8 kHz with words for the sandbox; `number` goes into the samples.
pub fn synthesis(words: &str, seconds: f64, number: usize) -> Vec<u8> {
    let n = (seconds * 8_000.0) as usize;
    let samples: Vec<i16> = (0..n).map(|i| if i % 97 == 0 { (number % 30_000) as i16 } else { 0 }).collect();
    wav::pcm16(1, 8_000, Some(words), &samples)
}
