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

use crate::support::{House, service::program};

#[tokio::test(flavor = "multi_thread")]
async fn no_minute_holds_more_calls_than_allowed() {
    let mut house = House::timeless(Config::default()).await;
    house.limits.insert(Pool::Pulse, Limits { requests_per_minute: Some(5), concurrency: None });
    house.calls(12);
    let batch = house.submit(&house.definition("", "")).await;
    let (_, ()) = tokio::join!(house.run(batch), async {
        for calls in [5, 10] {
            house.until("a full minute", || async { house.counts(batch).await.of(Succeeded) == calls }).await;
            house.clock.advance(58_000);
            tokio::time::sleep(Duration::from_millis(60)).await;
            assert_eq!(house.sandbox.books().calls, calls);
            house.clock.advance(4_000);
        }
    });
    house.all_well(batch, 12, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_calls_in_flight() {
    let config = Config { latency: Duration::from_millis(10), concurrency: Some(3), ..Config::default() };
    let mut house = House::with(config).await;
    house.limits.insert(Pool::Pulse, Limits { requests_per_minute: None, concurrency: Some(3) });
    house.calls(40);
    let batch = house.submit(&house.definition("", "concurrency = 8")).await;
    let second = house.second_store().await;
    let never = CancellationToken::new;
    tokio::join!(house.run(batch), house.run_on(&second, batch, never(), never()));
    house.all_well(batch, 40, 1).await;
    let books = house.sandbox.books();
    assert_eq!(books.statuses.get(&429), None, "never above the limit");
    assert!(books.peak_in_flight <= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_minute() {
    let mut house = House::timeless(Config { requests_per_minute: Some(6), ..Config::default() }).await;
    house.limits.insert(Pool::Pulse, Limits { requests_per_minute: Some(6), concurrency: None });
    house.calls(10);
    let batch = house.submit(&house.definition("", "")).await;
    let second = house.second_store().await;
    let drain = CancellationToken::new();
    tokio::join!(
        house.run_until(batch, drain.clone()),
        house.run_on(&second, batch, drain.clone(), CancellationToken::new()),
        async {
            house.until("a full minute", || async { house.counts(batch).await.of(Succeeded) == 6 }).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            drain.cancel();
        }
    );
    let books = house.sandbox.books();
    assert_eq!((books.calls, books.statuses.get(&429)), (6, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_slow_down_together() {
    let house = House::timeless(Config::default()).await;
    house.calls(10);
    let batch = house.submit(&house.definition("", "concurrency = 1")).await;
    let second = house.second_store().await;
    let limited = StatusFault { code: 429, retry_after: Some("20".into()), ..StatusFault::default() };
    house.sandbox.script([Fault::new(Match::First(4), What::Status(limited))]);
    let never = CancellationToken::new;
    tokio::join!(house.run(batch), house.run_on(&second, batch, never(), never()), async {
        house.until("the cooldown", || async { house.pool().await.state.cooldown_until > 0 }).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(house.sandbox.books().calls, 4, "neither process calls");
        assert!(house.pool().await.state.factor < 1.0);
        house.clock.advance(20_001);
    });
    house.all_well(batch, 10, 1).await;
    assert_eq!(house.sandbox.books().calls, 14);
}

/// Counts what the ledger's writer of this thread says of its transactions.
#[derive(Default)]
struct Transactions(AtomicU64);

impl Subscriber for Transactions {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "wavebatch::store::writer" && *metadata.level() == Level::TRACE
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
    let transactions = Arc::new(Transactions::default());
    let _counting = tracing::subscriber::set_default(Arc::clone(&transactions));
    let mut house = House::timeless(Config::default()).await;
    house.limits.insert(Pool::Pulse, Limits { requests_per_minute: Some(1), concurrency: None });
    house.calls(60);
    let batch = house.submit(&house.definition("", "concurrency = 4")).await;
    let drain = CancellationToken::new();
    tokio::join!(house.run_until(batch, drain.clone()), async {
        house.until("the first", || async { house.counts(batch).await.of(Succeeded) == 1 }).await;
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
    house: &'a House,
    workers: Vec<Child>,
}

impl<'a> Crew<'a> {
    fn new(house: &'a House) -> Self {
        Self { house, workers: (0..4).map(|_| Self::worker(house)).collect() }
    }

    fn worker(house: &House) -> Child {
        let mut work = program(house, &["work", "--batch", "night", "-q"]);
        work.stderr(Stdio::null()).spawn().expect("the program")
    }

    /// Its calls go on at the vendor's, and their slots are held.
    fn kill(&mut self, at: usize) {
        self.workers[at].kill().expect("a living child");
        self.workers[at].wait().expect("a dead child");
        self.workers[at] = Self::worker(self.house);
    }

    /// All of them at once: hardly a line is worked meanwhile.
    async fn restart(&mut self) {
        for worker in &self.workers {
            kill_process(Pid::from_child(worker), Signal::TERM).expect("a living child");
        }
        for at in 0..self.workers.len() {
            self.ended(at).await;
            self.workers[at] = Self::worker(self.house);
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
    fn most(&self) -> u32 {
        self.0.swap(0, Ordering::AcqRel)
    }

    async fn watch(&self, house: &House) {
        loop {
            self.0.fetch_max(house.sandbox.books().in_flight, Ordering::AcqRel);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn at_once(house: &House, calls: u32) {
    let limits = format!("[limits.pulse]\nrequests_per_minute = 0\nconcurrency = {calls}\n");
    house.write("wavebatch.toml", limits);
}

#[tokio::test(flavor = "multi_thread")]
async fn four_processes_keep_six_in_flight_while_they_are_killed_and_fewer_when_they_are_told_to() {
    const LINES: usize = 150;
    let config = Config { latency: Duration::from_millis(150), keep: 1_000, ..Config::default() };
    let house = House::with(config).await;
    house.provable_calls(LINES);
    at_once(&house, 6);
    let batch = house.submit(&house.definition("", "concurrency = 16\nunknown_grace = \"1s\"")).await;
    let meter = Meter(Arc::default());
    let mut crew = Crew::new(&house);
    let trial = async {
        for kill in 1..=6_usize {
            house.sandbox.arrivals(kill as u64 * 10).await;
            crew.kill(kill % 4);
        }
        house.sandbox.arrivals(75).await;
        assert_eq!(meter.most(), 6, "all that is allowed, and no more");

        at_once(&house, 3);
        crew.restart().await;
        assert!(meter.most() <= 6, "some still believed in six");
        let lowered = house.sandbox.books().calls;
        house.sandbox.arrivals(lowered + 12).await;
        assert!(meter.most() <= 3);

        // A storm: every second call is refused for a while, and whoever asks for a permit slows down.
        let refused = Fault::new(Match::Every(2), What::status(429)).times(6);
        house.sandbox.script([refused]);
        crew.kill(0);
        for at in 0..4 {
            assert_eq!(crew.ended(at).await, Some(0));
        }
        assert!(meter.most() <= 3);
    };
    tokio::select! {
        () = trial => {}
        () = meter.watch(&house) => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("too few calls came: {:?}", house.counts(batch).await),
    }
    house.all_well(batch, LINES as u64, 1).await;
    let books = house.sandbox.books();
    assert!(books.peak_in_flight <= 6, "{}", books.peak_in_flight);
    assert_eq!(books.statuses.get(&429), Some(&6));
    assert!(house.rows(batch).await.iter().all(|row| row.tries == 0), "a 429 uses up no try");
}
