//! A service for one test: its scheduler, what it said, and nights of recordings.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use wavebatch::{
    domain::{
        cost::Rates,
        environment::{Environment, LedgerChoice},
        job::BatchId,
    },
    media::fetch::{FetchSettings, Fetcher},
    runner::Order,
    server::{Folder, Scheduler, SchedulerSettings, Scheduling},
    store::{ReportRow, Store, StoreError},
};

use crate::support::Fixture;

/// Each night at two in Kolkata, which is half past eight in the evening of UTC.
pub const NIGHT: &str = r#"task = "transcribe"
date = "today"
timezone = "Asia/Kolkata"
batch = "{name}-{date}"
manifest = "{date}.csv"
output = "../out/{name}/{date}/"
transcribe = { model = "pulse", language = "en", formats = ["txt"] }
run = { concurrency = 2 }
[schedule]
cron = "0 2 * * *"
window = "6h"
"#;

pub fn ms(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

/// A house whose clock shows this moment.
pub async fn fixture(now: &str) -> Fixture {
    Fixture::timeless_at(ms(now)).await
}

/// Moves the clock to this moment.
pub fn set(fixture: &Fixture, now: &str) {
    fixture.clock.advance(ms(now) - fixture.clock.now());
}

pub fn definition(fixture: &Fixture, name: &str, text: &str) {
    fixture.write(&format!("jobs/{name}.toml"), text);
}

/// Recordings of these numbers, each another one, in a manifest beside the definitions.
pub fn manifest(fixture: &Fixture, name: &str, calls: std::ops::Range<usize>) {
    let mut lines = String::from("key,source\n");
    for i in calls {
        fixture.recording(&format!("jobs/rec/{i}.wav"), &format!("words of call {i}"), 0.5, i);
        lines.push_str(&format!("call-{i},rec/{i}.wav\n"));
    }
    fixture.write(&format!("jobs/{name}.csv"), lines);
}

/// A scheduler at work.
pub struct Service {
    seen: UnboundedReceiver<Scheduling>,
    pub message: Vec<Scheduling>,
    dir: String,
    pub folder: std::sync::Arc<Folder>,
    pub task: JoinHandle<Result<(), StoreError>>,
    stop: CancellationToken,
}

impl Service {
    pub fn start(fixture: &Fixture) -> Self {
        Self::on(&fixture.store, fixture)
    }

    pub fn on(store: &Store, fixture: &Fixture) -> Self {
        Self::with(store, fixture, "jobs")
    }

    /// One whose definitions are in this folder.
    pub fn with(store: &Store, fixture: &Fixture, dir: &str) -> Self {
        let settings = SchedulerSettings {
            dirs: vec![fixture.path(dir)],
            environment: Environment::Live,
            choice: LedgerChoice::default(),
            origin: None,
            rates: Rates::default(),
            account: None,
            sandbox_output: None,
            tasks: wavebatch::tasks::Registry::built_in(),
        };
        let (events, seen) = unbounded_channel();
        let fetcher = Fetcher::new(FetchSettings::default()).unwrap();
        let scheduler = Scheduler::new(store.clone(), fetcher, settings, events);
        let (folder, stop) = (scheduler.folder(), CancellationToken::new());
        let task = tokio::spawn(scheduler.run(stop.clone()));
        Self { seen, message: Vec::new(), dir: dir.to_owned(), folder, task, stop }
    }

    /// Waits until this is said. What was said before does not count.
    pub async fn says<T>(&mut self, what: &str, is: impl Fn(&Scheduling) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(Some(event)) = tokio::time::timeout(left, self.seen.recv()).await else {
                panic!("waited in vain: {what}; it said {:#?}", self.message);
            };
            let found = is(&event);
            self.message.push(event);
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// Waits for the next start: the batch's name, and how many lines it added.
    pub async fn starts(&mut self) -> (String, u64) {
        let is = |event: &Scheduling| match event {
            Scheduling::Started { name, added, .. } => Some((name.clone(), *added)),
            _ => None,
        };
        self.says("a start", is).await
    }

    /// Waits until a run of this definition cannot be started: why, and what can be done.
    pub async fn cannot_start(&mut self) -> (String, Option<String>) {
        let is = |event: &Scheduling| match event {
            Scheduling::CouldNotStart { why, hint, .. } => Some((why.clone(), hint.clone())),
            _ => None,
        };
        self.says("a start that fails", is).await
    }

    /// Waits until it has looked at everything that there is at this moment, moved on by 10 s.
    pub async fn looks(&mut self, fixture: &Fixture) {
        for _ in 0..2 {
            let name = format!("sign-{}", fixture.clock.now());
            // A file without a schedule is only noticed.
            fixture.write(
                &format!("{}/{name}.toml", self.dir),
                "task = \"transcribe\"\nmanifest = \"none.csv\"\ntranscribe = { model = \"pulse\", language = \"en\" }\n",
            );
            fixture.clock.advance(10_001);
            let is = |event: &Scheduling| match event {
                Scheduling::Found { definition, .. } if *definition == name => Some(()),
                // It was seen half-written first.
                Scheduling::Mended { definition, .. } if *definition == name => Some(()),
                _ => None,
            };
            self.says("a look", is).await;
        }
    }

    /// How often something of this kind was said so far.
    pub fn count(&mut self, is: impl Fn(&Scheduling) -> bool) -> usize {
        while let Ok(event) = self.seen.try_recv() {
            self.message.push(event);
        }
        self.message.iter().filter(|event| is(event)).count()
    }

    pub fn count_starts(&mut self) -> usize {
        self.count(|event| matches!(event, Scheduling::Started { .. }))
    }

    /// Ends it as a signal does.
    pub async fn stop(mut self) -> Vec<Scheduling> {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(8), &mut self.task).await;
        ended.expect("it ends").unwrap().unwrap();
        self.count(|_| true);
        self.message
    }

    /// Ends it as `kill -9` does.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// Works all batches of the fixture, oldest first and within their windows, until `done`.
pub async fn work<F: Future<Output = bool>>(fixture: &Fixture, what: &str, done: impl FnMut() -> F) {
    fixture.store.enforce_windows();
    let (runner, _seen) = fixture.runner_on(&fixture.store);
    let (runner, drain) = (runner.in_order(Order::OldestFirst), CancellationToken::new());
    let working = {
        let drain = drain.clone();
        tokio::spawn(async move { runner.run(&[], drain, CancellationToken::new()).await })
    };
    fixture.until(what, done).await;
    drain.cancel();
    working.await.unwrap().unwrap();
}

pub async fn finished(fixture: &Fixture, batch: &str) -> bool {
    fixture.store.batch(batch).await.unwrap().is_some_and(|row| row.finished_at.is_some())
}

pub async fn id(fixture: &Fixture, batch: &str) -> BatchId {
    fixture.store.batch(batch).await.unwrap().expect("that batch").id
}

pub async fn rows(fixture: &Fixture, batch: &str) -> Vec<ReportRow> {
    fixture.rows(id(fixture, batch).await).await
}

pub async fn batches(fixture: &Fixture) -> Vec<String> {
    fixture.store.batches().await.unwrap().into_iter().map(|row| row.name).collect()
}

pub fn text(fixture: &Fixture, path: &str) -> String {
    let path: PathBuf = fixture.path("out").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}
