//! The account's limits hold for all processes together, and waiting costs next to nothing.

use std::{
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio_util::sync::CancellationToken;
use tracing::{
    Level, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};
use wavebatch::{
    domain::{
        job::JobState::Succeeded,
        pool::{Limits, Pool},
    },
    sandbox::{Config, Fault, Match, StatusFault, What},
};

use crate::support::{Fixture, service::program};

#[tokio::test(flavor = "multi_thread")]
async fn no_minute_holds_more_calls_than_allowed() {
    let mut fixture = Fixture::timeless(Config::default()).await;
    fixture.limits.insert(Pool::Pulse, Limits { requests_per_minute: Some(5), concurrency: None });
    fixture.calls(12);
    let batch = fixture.submit(&fixture.definition("", "")).await;
    let (_, ()) = tokio::join!(fixture.run(batch), async {
        for calls in [5, 10] {
            fixture.until("a full minute", || async { fixture.counts(batch).await.of(Succeeded) == calls }).await;
            fixture.clock.advance(58_000);
            tokio::time::sleep(Duration::from_millis(60)).await;
            assert_eq!(fixture.sandbox.books().calls, calls);
            fixture.clock.advance(4_000);
        }
    });
    fixture.all_well(batch, 12, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_calls_in_flight() {
    let config = Config { latency: Duration::from_millis(10), concurrency: Some(3), ..Config::default() };
    let mut fixture = Fixture::with(config).await;
    fixture.limits.insert(Pool::Pulse, Limits { requests_per_minute: None, concurrency: Some(3) });
    fixture.calls(40);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 8")).await;
    let second = fixture.second_store().await;
    let never = CancellationToken::new;
    tokio::join!(fixture.run(batch), fixture.run_on(&second, batch, never(), never()));
    fixture.all_well(batch, 40, 1).await;
    let books = fixture.sandbox.books();
    assert_eq!(books.statuses.get(&429), None, "never above the limit");
    assert!(books.peak_in_flight <= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_minute() {
    let mut fixture = Fixture::timeless(Config { requests_per_minute: Some(6), ..Config::default() }).await;
    fixture.limits.insert(Pool::Pulse, Limits { requests_per_minute: Some(6), concurrency: None });
    fixture.calls(10);
    let batch = fixture.submit(&fixture.definition("", "")).await;
    let second = fixture.second_store().await;
    let drain = CancellationToken::new();
    tokio::join!(
        fixture.run_until(batch, drain.clone()),
        fixture.run_on(&second, batch, drain.clone(), CancellationToken::new()),
        async {
            fixture.until("a full minute", || async { fixture.counts(batch).await.of(Succeeded) == 6 }).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            drain.cancel();
        }
    );
    let books = fixture.sandbox.books();
    assert_eq!((books.calls, books.statuses.get(&429)), (6, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_slow_down_together() {
    let fixture = Fixture::timeless(Config::default()).await;
    fixture.calls(10);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 1")).await;
    let second = fixture.second_store().await;
    let limited = StatusFault { code: 429, retry_after: Some("20".into()), ..StatusFault::default() };
    fixture.sandbox.script([Fault::new(Match::First(4), What::Status(limited))]);
    let never = CancellationToken::new;
    tokio::join!(fixture.run(batch), fixture.run_on(&second, batch, never(), never()), async {
        fixture.until("the cooldown", || async { fixture.pool().await.state.cooldown_until > 0 }).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(fixture.sandbox.books().calls, 4, "neither process calls");
        assert!(fixture.pool().await.state.factor < 1.0);
        fixture.clock.advance(20_001);
    });
    fixture.all_well(batch, 10, 1).await;
    assert_eq!(fixture.sandbox.books().calls, 14);
}

/// Counts what the ledger's writer of this thread says of its transactions.
#[derive(Default)]
struct Transactions(AtomicU64);

impl Subscriber for Transactions {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "wavebatch::store::engine::writer" && *metadata.level() == Level::TRACE
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn waiting_costs_the_ledger_next_to_nothing() {
    // With one subscriber alone, the thread that first meets an event decides for all threads whether anybody wants it; and
    // that may be another test's. With two of them, each thread is asked.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let transactions = Arc::new(Transactions::default());
    let _counting = tracing::subscriber::set_default(Arc::clone(&transactions));
    let mut fixture = Fixture::timeless(Config::default()).await;
    fixture.limits.insert(Pool::Pulse, Limits { requests_per_minute: Some(1), concurrency: None });
    fixture.calls(60);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 4")).await;
    let drain = CancellationToken::new();
    tokio::join!(fixture.run_until(batch, drain.clone()), async {
        fixture.until("the first", || async { fixture.counts(batch).await.of(Succeeded) == 1 }).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = transactions.0.load(Ordering::Relaxed);
        assert!(before > 0, "they are counted");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let spent = transactions.0.load(Ordering::Relaxed) - before;
        assert!(spent <= 8, "{spent} transactions in a second of waiting");
        drain.cancel();
    });
}

/// Four processes of the real program on one batch; killed when dropped.
struct Crew<'a> {
    fixture: &'a Fixture,
    workers: Vec<Child>,
}

impl<'a> Crew<'a> {
    fn new(fixture: &'a Fixture) -> Self {
        Self { fixture, workers: (0..4).map(|_| Self::worker(fixture)).collect() }
    }

    fn worker(fixture: &Fixture) -> Child {
        let mut work = program(fixture, &["work", "--batch", "night", "-q"]);
        work.stderr(Stdio::null()).spawn().expect("the program")
    }

    /// Its calls go on at the vendor's, and their slots are held.
    fn kill(&mut self, at: usize) {
        self.workers[at].kill().expect("a living child");
        self.workers[at].wait().expect("a dead child");
        self.workers[at] = Self::worker(self.fixture);
    }

    /// All of them at once: hardly a line is worked meanwhile.
    async fn restart(&mut self) {
        for worker in &self.workers {
            kill_process(Pid::from_child(worker), Signal::TERM).expect("a living child");
        }
        for at in 0..self.workers.len() {
            self.ended(at).await;
            self.workers[at] = Self::worker(self.fixture);
        }
    }

    async fn ended(&mut self, at: usize) -> Option<i32> {
        for _ in 0..2_000 {
            if let Some(status) = self.workers[at].try_wait().expect("a child") {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("a worker does not end");
    }
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

/// Most calls in flight since it was last asked. A call takes many times as long as it takes to look.
struct Meter(Arc<AtomicU32>);

impl Meter {
    async fn reaches(&self, most: u32) {
        while self.0.load(Ordering::Acquire) < most {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn most(&self) -> u32 {
        self.0.swap(0, Ordering::AcqRel)
    }

    async fn watch(&self, fixture: &Fixture) {
        loop {
            self.0.fetch_max(fixture.sandbox.books().in_flight, Ordering::AcqRel);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn at_once(fixture: &Fixture, calls: u32) {
    let limits = format!("[limits.pulse]\nrequests_per_minute = 0\nconcurrency = {calls}\n");
    fixture.write("wavebatch.toml", limits);
}

#[tokio::test(flavor = "multi_thread")]
async fn four_processes_keep_six_in_flight_while_they_are_killed_and_fewer_when_they_are_told_to() {
    const LINES: usize = 150;
    let config = Config { latency: Duration::from_millis(200), keep: 1_000, ..Config::default() };
    let fixture = Fixture::with(config).await;
    fixture.provable_calls(LINES);
    at_once(&fixture, 6);
    let batch = fixture.submit(&fixture.definition("", "concurrency = 16\nunknown_grace = \"1s\"")).await;
    let meter = Meter(Arc::default());
    let mut crew = Crew::new(&fixture);
    let trial = async {
        for kill in 1..=6_usize {
            fixture.sandbox.arrivals(kill as u64 * 10).await;
            crew.kill(kill % 4);
        }
        fixture.sandbox.arrivals(75).await;
        // On a machine that is busy with other tests, it takes a while until as many calls meet as are allowed.
        meter.reaches(6).await;
        assert_eq!(meter.most(), 6, "all that is allowed, and no more");

        at_once(&fixture, 3);
        crew.restart().await;
        assert!(meter.most() <= 6, "some still believed in six");
        let lowered = fixture.sandbox.books().calls;
        fixture.sandbox.arrivals(lowered + 12).await;
        assert!(meter.most() <= 3);

        // A storm: every second call is refused for a while, and whoever asks for a permit slows down.
        let refused = Fault::new(Match::Every(2), What::status(429)).times(6);
        fixture.sandbox.script([refused]);
        crew.kill(0);
        for at in 0..4 {
            assert_eq!(crew.ended(at).await, Some(0));
        }
        assert!(meter.most() <= 3);
    };
    tokio::select! {
        () = trial => {}
        () = meter.watch(&fixture) => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("too few calls came: {:?}", fixture.counts(batch).await),
    }
    fixture.all_well(batch, LINES as u64, 1).await;
    let books = fixture.sandbox.books();
    assert!(books.peak_in_flight <= 6, "{}", books.peak_in_flight);
    assert_eq!(books.statuses.get(&429), Some(&6));
    assert!(fixture.rows(batch).await.iter().all(|row| row.tries == 0), "a 429 uses up no try");
}

crate::support::server::on_postgres_in_the_gate! {
    no_minute_holds_more_calls_than_allowed,
    two_processes_share_the_calls_in_flight,
    two_processes_share_the_minute,
    two_processes_slow_down_together,
    waiting_costs_the_ledger_next_to_nothing,
    four_processes_keep_six_in_flight_while_they_are_killed_and_fewer_when_they_are_told_to,
}
