//! A house for one test: a folder, a sandbox on a real socket, a ledger, recordings.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::SecretString;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use wavebatch::{
    audio::wav,
    clock::Clock,
    definition::{Definition, Overrides},
    domain::{
        cost::Rates,
        job::{BatchId, JobState},
        pool::{Limits, Pool},
    },
    media::fetch::{FetchSettings, Fetcher},
    runner::{
        Event, RunEnd, Runner, RunnerConfig,
        intake::{SubmitOptions, submit},
    },
    sandbox::{Config, Sandbox},
    store::{Counts, Opening, ReportRow, Store, Timing},
    waves::{Client, Settings, account},
};

pub const KEY: &str = "sk_test";

pub struct House {
    pub dir: TempDir,
    pub sandbox: Sandbox,
    pub store: Store,
    pub clock: Clock,
    pub limits: HashMap<Pool, Limits>,
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

impl House {
    pub async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let clock = Clock::system();
        let store = open(&dir.path().join("wavebatch.db"), &clock).await;
        let sandbox = Sandbox::start(config).await.expect("a sandbox");
        Self { dir, sandbox, store, clock, limits: HashMap::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below the house")).expect("a folder");
        fs::write(&path, content).expect("a file");
        path
    }

    /// A recording of `seconds`, whose words the sandbox knows. Each number makes another content.
    pub fn recording(&self, name: &str, words: &str, seconds: f64, number: usize) -> PathBuf {
        self.write(name, speech(words, seconds, number))
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

    /// A definition over `calls.csv` with more lines of TOML: first for `[transcribe]`, then for `[run]`.
    pub fn definition(&self, transcribe: &str, run: &str) -> PathBuf {
        let toml = format!(
            "name = \"night\"\ntask = \"transcribe\"\nmanifest = \"calls.csv\"\noutput = \"out/\"\n\
             [transcribe]\nmodel = \"pulse\"\nlanguage = \"en\"\n{transcribe}\n[run]\n{run}\n"
        );
        self.write("night.toml", toml)
    }

    pub async fn submit(&self, definition: &Path) -> BatchId {
        let definition = Definition::load(definition, &Overrides::default()).expect("a good definition");
        submit(&self.store, &definition, None, "waves", &SubmitOptions::default()).await.expect("submitted").batch
    }

    pub fn runner(&self) -> (Runner, mpsc::UnboundedReceiver<Event>) {
        self.runner_on(&self.store)
    }

    pub fn runner_on(&self, store: &Store) -> (Runner, mpsc::UnboundedReceiver<Event>) {
        let base_url = self.sandbox.base_url().parse().expect("a URL");
        let key = SecretString::from(KEY);
        let config = RunnerConfig {
            world: "waves",
            account: account(&base_url, &key),
            limits: self.limits.clone(),
            rates: Rates::default(),
        };
        let client =
            Client::new(Settings { base_url, key, connect_timeout: Duration::from_secs(2), user_agent: "test".into() })
                .expect("a client");
        let fetcher = Fetcher::new(FetchSettings {
            idle_timeout: Duration::from_millis(700),
            whole_timeout: Duration::from_secs(5),
            ..FetchSettings::default()
        })
        .expect("a fetcher");
        let (events, seen) = mpsc::unbounded_channel();
        (Runner::new(store.clone(), client, fetcher, config, events), seen)
    }

    /// Works until the end.
    pub async fn run(&self, batch: BatchId) -> Ran {
        self.run_until(batch, CancellationToken::new()).await
    }

    pub async fn run_until(&self, batch: BatchId, drain: CancellationToken) -> Ran {
        let (runner, mut seen) = self.runner();
        let end = tokio::time::timeout(Duration::from_secs(60), runner.run(&[batch], drain, CancellationToken::new()))
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

pub async fn open(path: &Path, clock: &Clock) -> Store {
    let opening =
        Opening { clock: clock.clone(), timing: Timing { lease_ms: 3_000, beat_ms: 500 }, ..Opening::new(path) };
    Store::open(opening).await.expect("a ledger").0
}

/// A WAV of 8 kHz with words for the sandbox; `number` goes into the samples.
pub fn speech(words: &str, seconds: f64, number: usize) -> Vec<u8> {
    let n = (seconds * 8_000.0) as usize;
    let samples: Vec<i16> = (0..n).map(|i| if i % 97 == 0 { (number % 30_000) as i16 } else { 0 }).collect();
    wav::pcm16(1, 8_000, Some(words), &samples)
}
