//! Processes that stop, die, or come back too late: nothing is lost, and nothing bought twice where the log proves it.

use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use wavebatch::{
    domain::job::{BatchId, CallState, JobState::Succeeded},
    runner::RunEnd,
    sandbox::{Config, Fault, Match, What},
    store::{End, Ended, Opening, Store, Timing},
};

use crate::support::{Fixture, open, synthesis::SynthesisSetup, watching::Lock};

/// Longer than any of these calls may take, and a lease, in ms.
const TIMEOUT_AND_LEASE: i64 = 300_000;

/// Recordings of different lengths, so that the log can tell them apart.
async fn different(lines: usize) -> Fixture {
    let fixture = Fixture::new().await;
    let keys: Vec<String> = (1..=lines).map(|i| format!("call-{i}")).collect();
    let mut rows = Vec::new();
    for (i, key) in keys.iter().enumerate() {
        let name = format!("rec/{key}.wav");
        fixture.recording(&name, &format!("words of {key}"), 1.0 + i as f64 / 10.0, i);
        rows.push((key.as_str(), name));
    }
    fixture.lines(&rows);
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_abort_the_log_proves_what_was_bought() {
    let fixture = different(8).await;
    let batch = fixture.submit(&fixture.definition("", "concurrency = 3")).await;
    fixture.sandbox.hold();
    let abort = CancellationToken::new();
    let (ran, ()) =
        tokio::join!(fixture.run_on(&fixture.store, batch, CancellationToken::new(), abort.clone()), async {
            fixture.sandbox.waiting(3).await;
            abort.cancel();
        });
    assert_eq!(ran.end, RunEnd::Interrupted);
    fixture.sandbox.release();
    assert_eq!(fixture.sandbox.books().billed, 3);
    let second = fixture.second_store().await;
    fixture.run_on(&second, batch, CancellationToken::new(), CancellationToken::new()).await;
    fixture.all_well(batch, 8, 1).await;
    let notes = fixture.rows(batch).await.into_iter().filter(|r| r.notes.as_deref() == Some("recovered")).count();
    assert_eq!(notes, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_is_succeeded_at_once() {
    let fixture = different(6).await;
    let batch = fixture.submit(&fixture.definition("", "concurrency = 2")).await;
    fixture.sandbox.hold();
    let doomed = fixture.second_store().await;
    tokio::select! {
        _ = fixture.run_on(&doomed, batch, CancellationToken::new(), CancellationToken::new()) => unreachable!("it is held"),
        // Its future is dropped without a word to the ledger, and its lock goes with it.
        () = fixture.sandbox.waiting(2) => {}
    }
    drop(doomed);
    fixture.sandbox.release();
    let began = std::time::Instant::now();
    assert_eq!(fixture.run(batch).await.end, RunEnd::Done);
    assert!(began.elapsed() < Duration::from_millis(2_900), "it did not wait for the lease: {:?}", began.elapsed());
    fixture.all_well(batch, 6, 1).await;
}

/// A process whose leases run out while it lives, as if it were stopped for a while.
async fn sluggish(fixture: &Fixture) -> wavebatch::store::Store {
    open(&fixture.path("wavebatch.db"), &fixture.clock, Timing { lease_ms: 300, beat_ms: 600_000 }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_changes_nothing_when_the_log_had_it() {
    let fixture = different(1).await;
    let batch = fixture.submit(&fixture.definition("", "")).await;
    fixture.sandbox.hold();
    let slow = sluggish(&fixture).await;
    let never = CancellationToken::new;
    tokio::join!(fixture.run_on(&slow, batch, never(), never()), async {
        fixture.sandbox.waiting(1).await;
        // Its owner should have given up by itself long ago: it was stopped for good.
        fixture.clock.advance(TIMEOUT_AND_LEASE);
        let other = fixture.run(batch).await;
        assert_eq!(other.end, RunEnd::Done);
        assert_eq!(fixture.row(batch, "call-1").await.notes.as_deref(), Some("recovered"));
        fixture.sandbox.release();
    });
    fixture.all_well(batch, 1, 1).await;
    let row = fixture.row(batch, "call-1").await;
    assert_eq!(row.billed_calls, 1);
    assert_eq!(fixture.output("call-1.txt").trim(), "words of call-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_to_a_call_that_was_given_up_is_kept_in_the_books() {
    let fixture = different(1).await;
    fixture.sandbox.script([Fault::new(Match::Any, What::LogsAbsent)]);
    let batch = fixture.submit(&fixture.definition("", "")).await;
    fixture.sandbox.hold();
    let slow = sluggish(&fixture).await;
    let never = CancellationToken::new;
    tokio::join!(
        fixture.run_on(&slow, batch, never(), never()),
        async {
            fixture.sandbox.waiting(1).await;
            fixture.clock.advance(TIMEOUT_AND_LEASE);
            fixture.run(batch).await;
        },
        async {
            fixture.sandbox.waiting(2).await;
            fixture.sandbox.release();
        }
    );
    fixture.all_well(batch, 1, 2).await;
    let mut states: Vec<_> = fixture.job(batch, "call-1").await.calls.iter().map(|c| c.state).collect();
    states.sort();
    assert_eq!(states, [CallState::Answered, CallState::Surplus]);
    let row = fixture.row(batch, "call-1").await;
    assert_eq!((row.billed_calls, row.cost), (2, 168), "both are in the books");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_wins_where_there_is_no_other() {
    let fixture = different(1).await;
    let batch = fixture.submit(&fixture.definition("", "")).await;
    fixture.sandbox.hold();
    tokio::join!(fixture.run(batch), async {
        fixture.sandbox.waiting(1).await;
        let call = fixture.job(batch, "call-1").await.calls[0].id;
        let end = Ended { call, departed_at: None, limits: Default::default(), end: End::GivenUp, pauses: None };
        assert_eq!(fixture.store.end(end).await.unwrap().state, CallState::Lost);
        fixture.sandbox.release();
    });
    fixture.all_well(batch, 1, 1).await;
    let detail = fixture.job(batch, "call-1").await;
    assert_eq!((detail.row.state, detail.calls[0].state), (Succeeded, CallState::Answered));
    assert_eq!(fixture.store.batch_by_id(batch).await.unwrap().reserved, 0);
}

/// What is on the wire while the ledger is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    Speech,
    Stream,
    Recordings,
}

const WIRES: [Wire; 3] = [Wire::Speech, Wire::Stream, Wire::Recordings];
/// Lines of each, all of them in flight.
const IN_FLIGHT: u64 = 6;
const LEASE_MS: i64 = 500;

impl Wire {
    async fn fixture(self) -> (Fixture, BatchId) {
        let fixture = Fixture::with(Config::default()).await;
        let batch = if self == Self::Recordings {
            fixture.provable_calls(usize::try_from(IN_FLIGHT).unwrap());
            fixture.submit(&fixture.definition("", "unknown_grace = \"100ms\"")).await
        } else {
            let transport = if self == Self::Stream { "sse" } else { "sync" };
            let setup = SynthesisSetup { synthesize: json!({ "transport": transport }), ..SynthesisSetup::default() };
            let texts: Vec<_> = (1..=IN_FLIGHT).map(|i| (format!("k{i}"), format!("Sentence number {i}."))).collect();
            let lines: Vec<_> = texts.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
            fixture.speak(&setup, &lines).await
        };
        (fixture, batch)
    }
}

async fn process(fixture: &Fixture) -> Store {
    let timing = Timing { lease_ms: LEASE_MS, beat_ms: 100 };
    let (clock, busy_timeout) = (fixture.clock.clone(), Duration::from_secs(2));
    let opening = Opening { clock, timing, busy_timeout, ..Opening::new(fixture.path("wavebatch.db")) };
    Store::open(opening).await.expect("a ledger").0
}

/// What happens while all calls are on the wire.
#[derive(Debug, Clone, Copy)]
enum Disturbance {
    /// Somebody locks the ledger, for so many ms; calls are answered in the middle of that, or later.
    Locked { ms: u64, answered_meanwhile: bool },
    /// The wall clock is set by so many ms.
    Set(i64),
}

/// Three processes; all calls are on the wire when it begins, and each is made once.
async fn three_processes(wire: Wire, disturbance: Disturbance) {
    let message = format!("{wire:?}, {disturbance:?}");
    let in_flight = usize::try_from(IN_FLIGHT).unwrap();
    let (fixture, batch) = wire.fixture().await;
    fixture.sandbox.hold();
    let stores = [process(&fixture).await, process(&fixture).await, process(&fixture).await];
    let run = async |store: &Store| {
        let never = CancellationToken::new;
        fixture.run_on(store, batch, never(), never()).await
    };
    let later = async |store: &Store| {
        fixture.sandbox.waiting(in_flight).await;
        run(store).await
    };
    let ((), ran) = tokio::join!(
        async {
            fixture.sandbox.waiting(in_flight).await;
            let mut ledger = fixture.ledger().await;
            let mut at_work = 0;
            while at_work < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
                at_work = sqlx::query_scalar("SELECT count(*) FROM processes").fetch_one(&mut ledger).await.unwrap();
            }
            match disturbance {
                Disturbance::Locked { ms, answered_meanwhile } => {
                    let lock = Lock::on(&fixture.path("wavebatch.db")).await;
                    tokio::time::sleep(Duration::from_millis(ms / 2)).await;
                    if answered_meanwhile {
                        fixture.sandbox.release();
                    }
                    tokio::time::sleep(Duration::from_millis(ms / 2)).await;
                    lock.release().await;
                }
                Disturbance::Set(ms) => fixture.clock.step(ms),
            }
            // Whoever looks first finds leases that have run out.
            tokio::time::sleep(Duration::from_millis(1_000)).await;
            fixture.sandbox.release();
        },
        async { tokio::join!(run(&stores[0]), later(&stores[1]), later(&stores[2])) }
    );
    for ran in [ran.0, ran.1, ran.2] {
        assert_eq!(ran.end, RunEnd::Done, "{message}");
    }
    let books = fixture.sandbox.books();
    assert_eq!((books.calls, books.billed), (IN_FLIGHT, IN_FLIGHT), "{message}: nothing was bought twice");
    let rows = fixture.rows(batch).await;
    assert!(rows.iter().all(|row| row.billed_calls == 1 && row.state == Succeeded), "{message}: {rows:?}");
}

async fn all_of(table: Vec<(Wire, Disturbance)>) {
    let rows = table.into_iter().map(|(wire, what)| tokio::spawn(three_processes(wire, what)));
    let done = futures::stream::iter(rows).buffer_unordered(4).collect::<Vec<_>>().await;
    done.into_iter().for_each(|row| row.expect("a row that holds"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_locked_for_several_leases_buys_nothing_twice() {
    let locks = [(600, false), (1_200, true), (2_600, false), (2_600, true)];
    let lock = |(ms, answered_meanwhile)| Disturbance::Locked { ms, answered_meanwhile };
    all_of(WIRES.into_iter().flat_map(|wire| locks.map(|which| (wire, lock(which)))).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_clock_that_is_set_buys_nothing_twice() {
    let steps = [LEASE_MS + 100, 20 * LEASE_MS, 3_600_000, 365 * 24 * 3_600_000, -3_600_000];
    all_of(WIRES.into_iter().flat_map(|wire| steps.map(|ms| (wire, Disturbance::Set(ms)))).collect()).await;
}

crate::support::server::on_postgres_in_the_gate! {
    after_an_abort_the_log_proves_what_was_bought,
    a_late_answer_changes_nothing_when_the_log_had_it,
    a_late_answer_to_a_call_that_was_given_up_is_kept_in_the_books,
    a_late_answer_wins_where_there_is_no_other,
    a_ledger_that_is_locked_for_several_leases_buys_nothing_twice,
    a_wall_clock_that_is_set_buys_nothing_twice,
}
