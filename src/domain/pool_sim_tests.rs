//! The slow-down against a model of a server that refuses calls: the cost of a storm, and the used share of the limits.
//! Time is simulated; a run of minutes takes a millisecond.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use super::{
    call::{CallFailure, ErrorKind},
    pool::{Gate, Limited, Limits, PoolState, Traffic, WINDOW_MS},
    retry::{self, RetryDecision, Used},
};

const MINUTE: i64 = 60_000;
/// The number of calls that a batch makes at once by default.
const WORKERS: usize = 16;

/// A server; its behavior depends on the ms since the start.
#[derive(Clone, Copy)]
struct Server<'a> {
    /// How long a call takes that is not refused, in ms, plus or minus a tenth.
    latency: i64,
    /// The share of calls that the server refuses regardless of its limits.
    refuses: &'a dyn Fn(i64) -> f64,
    /// How many calls it accepts at once.
    at_once: &'a dyn Fn(i64) -> u32,
    /// How many calls it accepts in any minute.
    a_minute: &'a dyn Fn(i64) -> u32,
    /// The `Retry-After` of its refusals.
    retry_after: Option<Duration>,
}

/// A server that refuses nothing.
const WELL: Server<'static> =
    Server { latency: 200, refuses: &|_| 0.0, at_once: &|_| u32::MAX, a_minute: &|_| u32::MAX, retry_after: None };

/// The result of a run.
#[derive(Debug, Default)]
struct Ran {
    /// When the last call was answered, in ms from the start.
    ms: i64,
    answered: u32,
    refused: u32,
}

/// A call in flight: when it ends, when it was sent, whether it is answered, and how often its line was refused.
type OnWire = Reverse<(i64, i64, bool, u32)>;

struct Model<'a> {
    limits: Limits,
    server: Server<'a>,
    pool: PoolState,
    /// Pseudo-random numbers (splitmix64).
    seed: u64,
    now: i64,
    wire: BinaryHeap<OnWire>,
    /// When calls end at the server.
    at_work: BinaryHeap<Reverse<i64>>,
    /// When calls were sent; and which calls of the last minute the server accepted.
    sent: Vec<i64>,
    taken: VecDeque<i64>,
    /// Lines that wait until they are due, and lines that wait for a permit; with how often each was refused in a row.
    waiting: BinaryHeap<Reverse<(i64, u32)>>,
    ready: Vec<u32>,
    fresh: u32,
    ran: Ran,
}

impl Model<'_> {
    /// Processes `lines` for at most `longest` ms.
    fn run(limits: Limits, server: Server<'_>, (lines, longest): (u32, i64), seed: u64) -> Ran {
        let mut model = Model {
            limits,
            server,
            pool: PoolState::default(),
            seed,
            now: 0,
            wire: BinaryHeap::new(),
            at_work: BinaryHeap::new(),
            sent: Vec::new(),
            taken: VecDeque::new(),
            waiting: BinaryHeap::new(),
            ready: Vec::new(),
            fresh: lines,
            ran: Ran::default(),
        };
        let mut wake = Some(0);
        while model.ran.answered < lines {
            let ends = model.wire.peek().map(|Reverse((at, ..))| *at);
            let due = model.waiting.peek().map(|Reverse((at, _))| *at);
            let next = [ends, due, wake].into_iter().flatten().min().expect("something comes");
            // Transactions run one after another; each one handles the events since the last.
            model.now = next.max(model.now + model.between(1, 12));
            if model.now > longest {
                break;
            }
            model.end_calls();
            wake = model.begin_calls();
        }
        model.ran
    }

    fn random(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let n = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((n ^ (n >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, from: i64, to: i64) -> i64 {
        from + (self.random() * (to - from) as f64) as i64
    }

    fn end_calls(&mut self) {
        let (in_flight, now) = (self.wire.len() as u32, self.now);
        while let Some(Reverse((at, sent_at, answered, times))) = self.wire.peek().copied()
            && at <= now
        {
            self.wire.pop();
            if answered {
                self.pool.clean(&self.limits, sent_at, now);
                self.ran.answered += 1;
                self.ran.ms = now;
                continue;
            }
            self.ran.refused += 1;
            let (asked, jitter) = (self.server.retry_after, self.random());
            let limited = match self.pool.limited(&self.limits, sent_at, in_flight, asked, jitter, now) {
                Limited::Isolated => times + 1,
                Limited::Storm => 0,
            };
            let failure = CallFailure { retry_after: asked, ..CallFailure::new(ErrorKind::RateLimited, "") };
            match retry::verdict(&failure, Used { limited, ..Used::default() }, 1, jitter) {
                RetryDecision::Later(wait) => self.waiting.push(Reverse((now + wait as i64, times + 1))),
                RetryDecision::Again => self.ready.push(times + 1),
                other => panic!("{other:?}"),
            }
        }
        while let Some(Reverse((at, times))) = self.waiting.peek().copied()
            && at <= now
        {
            self.waiting.pop();
            self.ready.push(times);
        }
    }

    /// Starts as many calls as the gate allows, one by one. Returns when to look again, if there is a moment.
    fn begin_calls(&mut self) -> Option<i64> {
        let now = self.now;
        while self.ready.len() as u32 + self.fresh > 0 && self.wire.len() < WORKERS {
            let mut traffic = Traffic { in_flight: self.wire.len() as u32, ..Traffic::default() };
            if let Some(limit) = self.pool.effective(&self.limits, now).requests_per_minute {
                let lately = self.sent.iter().rev().take_while(|at| **at > now - WINDOW_MS);
                traffic.in_window = (lately.count() as u32).min(limit);
                let nth = self.sent.len().checked_sub(limit as usize).map(|at| self.sent[at]);
                traffic.nth_newest = nth.filter(|_| traffic.in_window >= limit);
            }
            match self.pool.gate(&self.limits, &traffic, now) {
                Gate::Open(_) => self.begin_call(),
                // A waiting permit is checked each second.
                Gate::Shut { until, .. } => return until.map(|at| at.min(now + 1_000)),
            }
        }
        None
    }

    fn begin_call(&mut self) {
        let Some(times) = self.ready.pop().or_else(|| (self.fresh > 0).then_some(0)) else { return };
        self.fresh -= u32::from(times == 0);
        let (now, server) = (self.now, self.server);
        self.sent.push(now);
        while self.at_work.peek().is_some_and(|Reverse(until)| *until <= now) {
            self.at_work.pop();
        }
        while self.taken.front().is_some_and(|at| *at <= now - MINUTE) {
            self.taken.pop_front();
        }
        let over =
            self.at_work.len() as u32 >= (server.at_once)(now) || self.taken.len() as u32 >= (server.a_minute)(now);
        let answered = !over && self.random() >= (server.refuses)(now);
        let mut ends = now + self.between(2, 6);
        if answered {
            let works = server.latency * 9 / 10 + self.between(0, server.latency / 5);
            self.at_work.push(Reverse(now + works));
            self.taken.push_back(now);
            ends += works;
        }
        self.wire.push(Reverse((ends, now, answered, times)));
    }
}

fn flight(calls: u32) -> Limits {
    Limits { requests_per_minute: None, concurrency: Some(calls) }
}

/// The mean of the runs with this many seeds, and the worst run.
fn mean(seeds: u64, mut run: impl FnMut(u64) -> f64) -> (f64, f64) {
    let all: Vec<f64> = (0..seeds).map(|seed| run(seed * 7_919)).collect();
    (all.iter().sum::<f64>() / seeds as f64, all.iter().copied().fold(f64::MIN, f64::max))
}

#[test]
fn a_storm_of_five_seconds_costs_three_more() {
    let storm = |ms: i64| if (2_000..7_000).contains(&ms) { 0.8 } else { 0.0 };
    for retry_after in [None, Some(Duration::from_secs(1))] {
        let server = Server { refuses: &storm, retry_after, ..WELL };
        // 800 calls of 200 ms, 10 in flight: 16 s, plus 5 s in which almost nothing is answered.
        let (mean, worst) = mean(200, |seed| Model::run(flight(10), server, (800, i64::MAX), seed).ms as f64 / 1e3);
        assert!(mean <= 24.5 && worst <= 26.0, "{mean:.2} s instead of 21, {worst:.2} at worst, {retry_after:?}");
    }
}

#[test]
fn a_server_that_always_refuses_a_few_is_used_as_fully_as_one_that_does_not() {
    let refuses = |_: i64| 0.02;
    let run = |server, seed| Model::run(flight(10), server, (1_500, i64::MAX), seed).ms as f64;
    let (leaves, _) = mean(100, |seed| run(WELL, seed) / run(Server { refuses: &refuses, ..WELL }, seed));
    assert!(leaves >= 0.97, "{leaves:.3} of its pace");
    // Isolated refusals hardly prolong the recovery from a storm.
    let storm = |ms: i64| if (2_000..7_000).contains(&ms) { 0.8 } else { 0.02 };
    let server = Server { refuses: &storm, ..WELL };
    let (mean, _) = mean(200, |seed| Model::run(flight(10), server, (800, i64::MAX), seed).ms as f64 / 1e3);
    assert!(mean <= 26.0, "{mean:.2} s instead of 21");
}

#[test]
fn calls_in_flight_that_are_lowered_to_a_third_and_raised_again_are_used() {
    let lowered = |ms: i64| if (2 * MINUTE..4 * MINUTE).contains(&ms) { 3 } else { 10 };
    let server = Server { at_once: &lowered, ..WELL };
    let seeds = 12;
    let (mut used, mut refused) = (0.0, 0.0);
    for seed in 0..seeds {
        let ran = Model::run(flight(10), server, (u32::MAX, 6 * MINUTE), seed);
        let full = Model::run(flight(10), WELL, (u32::MAX, MINUTE), seed).answered;
        used += f64::from(ran.answered) / (f64::from(full) * (4.0 + 2.0 * 0.3)) / seeds as f64;
        refused += f64::from(ran.refused) / f64::from(ran.refused + ran.answered) / seeds as f64;
    }
    assert!(used >= 0.9 && refused <= 0.01, "{used:.3} of what was allowed, {refused:.4} refused");
}

#[test]
fn a_rate_that_is_lowered_to_a_third_and_raised_again_is_used() {
    for set in [25, 60, 600] {
        let lowered = |ms: i64| if (2 * MINUTE..4 * MINUTE).contains(&ms) { set / 3 } else { set };
        let server = Server { a_minute: &lowered, ..WELL };
        let limits = Limits { requests_per_minute: Some(set), concurrency: None };
        let mut refused = 0;
        let (unused, at_worst) = mean(10, |seed| {
            let ran = Model::run(limits, server, (u32::MAX, 6 * MINUTE), seed);
            refused += ran.refused;
            1.0 - f64::from(ran.answered) / f64::from(4 * set + 2 * (set / 3))
        });
        assert!(unused <= 0.1, "{unused:.3} of {set} a minute is not used, {at_worst:.3} at worst");
        // At most the calls in flight meet a full minute, and only a few times each.
        assert!(refused <= 10 * 60, "{refused} refusals in ten runs");
    }
}
