//! Random operations on a ledger, compared with a small model of it: two processes, three lines, and any events of their
//! calls, in any order.

mod limits;
mod ops;

use std::collections::BTreeMap;

use futures::future::join_all;
use proptest::{collection::vec, prelude::*};

use self::ops::{How, Op, Where, message, op};
use crate::domain::{
    call::{CallFailure, ErrorKind},
    job::{BatchId, CallId, CallState, JobState, Step, Token, Why},
    pool::Limits,
};
use crate::store::engine::db::{query, query_as, query_scalar};
use crate::store::{tests::*, *};

/// The amount reserved for a call: a minute at 5,000 micro-USD.
const RESERVE: i64 = 5_000;
const LINES: usize = 3;
/// Long enough that the duration of a test does not matter.
const LEASE: i64 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Line {
    Queued(Millis),
    Running(Token, Millis),
    Awaiting(Millis),
    Over(JobState),
}

#[derive(Debug, Clone, PartialEq)]
struct Call {
    line: usize,
    state: CallState,
    cost: i64,
    awaited: bool,
    /// Bodies that were posted for the call.
    posted: Vec<String>,
}

impl Call {
    fn is_open(&self) -> bool {
        self.state.is_open()
    }

    fn give_up(&mut self) {
        self.end(How::GivenUp, false);
    }

    /// Applies a call's end by the rules of LEDGER.
    fn end(&mut self, how: How, rival: bool) {
        self.awaited = false;
        (self.state, self.cost) = match how {
            How::Answered(_) if self.state == CallState::Replaced => return,
            How::Answered(cost) => {
                let state = if rival { CallState::Surplus } else { CallState::Answered };
                // An answer without a cost keeps the cost assumed before.
                (state, cost.unwrap_or(if self.is_open() { RESERVE } else { self.cost }))
            }
            _ if !self.is_open() => return,
            How::Accepted => (CallState::Accepted, 0),
            How::Rejected => (CallState::Rejected, 0),
            How::Unknown => (CallState::Sent, 0),
            How::Unusable | How::GivenUp => (CallState::Lost, RESERVE),
        };
    }
}

/// The ledger and its model.
struct Pair {
    _ledger: Ledger,
    _enlisted: Vec<Enlisted>,
    stores: [Store; 2],
    clock: Clock,
    batch: BatchId,
    /// In the order of their numbers.
    jobs: Vec<crate::domain::job::JobId>,
    hands: Vec<Claimed>,
    ids: Vec<CallId>,
    lines: [Line; LINES],
    calls: Vec<Call>,
}

impl Pair {
    async fn new() -> Self {
        let ledger = ledger().await;
        let timing = Timing { lease_ms: LEASE, beat_ms: LEASE };
        let open = || Store::open(Opening { clock: ledger.clock.clone(), timing, ..Opening::new(&ledger.path) });
        let stores = [open().await.unwrap().0, open().await.unwrap().0];
        let batch = ledger.submit(batch("b"), LINES as u64).await;
        let enlisted = join_all(stores.iter().map(|store| store.enlist("{}".into()))).await;
        let jobs = query_scalar("SELECT id FROM jobs ORDER BY id").fetch_all(&ledger.store.read).await.unwrap();
        Self {
            clock: ledger.clock.clone(),
            stores,
            batch,
            jobs: jobs.into_iter().map(crate::domain::job::JobId).collect(),
            hands: Vec::new(),
            ids: Vec::new(),
            lines: [Line::Queued(0); LINES],
            calls: Vec::new(),
            _enlisted: enlisted.into_iter().map(Result::unwrap).collect(),
            _ledger: ledger,
        }
    }

    fn line_of(&self, hand: &Claimed) -> usize {
        self.jobs.iter().position(|job| *job == hand.job).unwrap()
    }

    fn holds(&self, hand: &Claimed) -> bool {
        matches!(self.lines[self.line_of(hand)], Line::Running(token, _) if token == hand.token)
    }

    /// The call of a line that is in a state.
    fn find(&self, line: usize, is: impl Fn(&Call) -> bool) -> Option<usize> {
        self.calls.iter().position(|call| call.line == line && is(call))
    }

    fn end(&mut self, at: usize, how: How) -> CallState {
        let line = self.calls[at].line;
        let rival = self.find(line, |call| call.state == CallState::Answered).is_some_and(|other| other != at);
        self.calls[at].end(how, rival);
        self.calls[at].state
    }

    /// Books the open calls of a line that nobody will look at again.
    fn close_books(&mut self, line: usize) {
        if matches!(self.lines[line], Line::Over(_)) {
            let open = |call: &&mut Call| call.line == line && call.is_open() && !call.awaited;
            self.calls.iter_mut().filter(open).for_each(Call::give_up);
        }
    }

    async fn apply(&mut self, op: Op) {
        let pick = |n: usize, len: usize| (len > 0).then(|| n % len);
        match op {
            Op::Claim { who } => self.claim(who).await,
            Op::Permit { who, hand, replaces } => {
                let Some(hand) = pick(hand, self.hands.len()) else { return };
                let replaces = replaces.and_then(|n| pick(n, self.ids.len()));
                self.permit(who, hand, replaces).await;
            }
            Op::WriterTask { who, hand } => {
                let Some(hand) = pick(hand, self.hands.len()) else { return };
                self.work(who, hand).await;
            }
            Op::End { who, call, how } => {
                let Some(at) = pick(call, self.ids.len()) else { return };
                self.ends(who, &[(at, how)]).await;
            }
            Op::Ends { who, calls, how } => {
                let Some(at) = pick(calls[0], self.ids.len()) else { return };
                self.ends(who, &[(at, how[0]), (calls[1] % self.ids.len(), how[1])]).await;
            }
            Op::Settle { who, hand, to } => {
                let Some(hand) = pick(hand, self.hands.len()) else { return };
                self.settle(who, hand, to).await;
            }
            Op::Receive { who, call, words, cost } => {
                let Some(at) = pick(call, self.ids.len()) else { return };
                let content = CallbackContent::Answer { request_id: None, audio_ms: None, cost };
                self.receive(who, at, format!(r#"{{"transcription":"{words}"}}"#), content).await;
            }
            Op::Fail { who, call } => {
                let Some(at) = pick(call, self.ids.len()) else { return };
                let content = CallbackContent::Failed(CallFailure::new(ErrorKind::ServerError, "the vendor failed"));
                self.receive(who, at, r#"{"status":"failed"}"#.into(), content).await;
            }
            // No time has passed for the heartbeats.
            Op::LeasesRunOut => self.clock.step(2 * LEASE),
            Op::Cancel => {
                self.stores[0].cancel(self.batch).await.unwrap();
                self.calls.iter_mut().filter(|call| call.is_open() && !call.awaited).for_each(Call::give_up);
                for line in self.lines.iter_mut().filter(|line| !matches!(line, Line::Over(_))) {
                    *line = Line::Over(JobState::Cancelled);
                }
            }
            Op::Retry => self.retry(None).await,
            Op::RetryKey { line } => self.retry(Some(line % LINES)).await,
        }
    }

    async fn claim(&mut self, who: usize) {
        let got = claim(&self.stores[who], 9).await;
        let now = self.clock.now();
        let mut expected = Vec::new();
        for (line, job) in self.lines.iter().zip(&self.jobs) {
            if let Line::Queued(due) | Line::Running(_, due) | Line::Awaiting(due) = line
                && *due <= now
            {
                expected.push(*job);
            }
        }
        let mut jobs: Vec<_> = got.iter().map(|hand| hand.job).collect();
        jobs.sort_unstable();
        assert_eq!(jobs, expected, "what is due, and nothing else");
        for hand in got {
            let line = self.line_of(&hand);
            self.lines[line] = Line::Running(hand.token, now + LEASE);
            self.hands.push(hand);
        }
    }

    async fn permit(&mut self, who: usize, hand: usize, replaces: Option<usize>) {
        let hand = self.hands[hand].clone();
        let line = self.line_of(&hand);
        let open = self.find(line, Call::is_open);
        let expected = if !self.holds(&hand) {
            Err(Denial::LeaseLost)
        } else if self.find(line, |call| call.state == CallState::Answered).is_some() {
            Err(Denial::AlreadyAnswered)
        } else if open != replaces {
            Err(Denial::OpenCall)
        } else {
            Ok(())
        };
        let why = if replaces.is_some() { Why::Unknown } else { Why::First };
        let ask = PermitRequest { replaces: replaces.map(|at| self.ids[at]), why, ..ask(&hand, Limits::default()) };
        let verdict = self.stores[who].permit(ask).await.unwrap();
        assert_eq!(verdict.as_ref().map(|_| ()).map_err(Clone::clone), expected);
        if let Ok(permit) = verdict {
            if let Some(at) = open {
                self.calls[at].give_up();
            }
            self.ids.push(permit.call);
            self.calls.push(Call { line, state: CallState::Sent, cost: 0, awaited: true, posted: Vec::new() });
        }
    }

    /// Works a claimed job. The journal decides; a new call is made only where it allows one.
    async fn work(&mut self, who: usize, at: usize) {
        let hand = self.hands[at].clone();
        let line = self.line_of(&hand);
        let step = self.stores[who].journal(hand.job, 0, hand.generation).await.unwrap().step(self.clock.now(), LEASE);
        let answered = self.find(line, |call| call.state == CallState::Answered);
        let open = self.find(line, Call::is_open);
        match (answered, open) {
            (Some(answered), _) => assert_eq!(step, Step::Deliver(self.ids[answered]), "never asked for again"),
            (None, Some(_)) => assert!(matches!(step, Step::PutBack { .. } | Step::Reconcile(_)), "{step:?}"),
            (None, None) => assert!(matches!(step, Step::Call(_)), "{step:?}"),
        }
        match step {
            Step::Call(_) => self.permit(who, at, None).await,
            Step::Deliver(_) => self.settle(who, at, Where::Done(JobState::Succeeded)).await,
            Step::Reconcile(_) => self.permit(who, at, open).await,
            Step::PutBack { .. } | Step::Await { .. } => self.settle(who, at, Where::Queued { later: true }).await,
        }
    }

    /// Ends calls at the same time, as the worker and a reconciler may do.
    async fn ends(&mut self, who: usize, ends: &[(usize, How)]) {
        let message = ends.iter().map(|(at, how)| self.stores[who].end(ended(self.ids[*at], message(*how))));
        let replies: Vec<_> = join_all(message).await.into_iter().map(Result::unwrap).collect();
        for ((at, how), reply) in ends.iter().zip(replies) {
            assert_eq!(self.end(*at, *how), reply.state, "{how:?}");
        }
    }

    async fn settle(&mut self, who: usize, hand: usize, to: Where) {
        let hand = self.hands[hand].clone();
        let (line, held, now) = (self.line_of(&hand), self.holds(&hand), self.clock.now());
        let later = now + 10 * LEASE;
        let (to, becomes) = match to {
            Where::Done(state) => (done(state), Line::Over(state)),
            Where::Queued { later: is_later } => {
                let due_at = if is_later { later } else { now };
                (To::Queued { due_at, call: None, source_try: false }, Line::Queued(due_at))
            }
            Where::Awaiting { call } => {
                let Some(at) = (!self.ids.is_empty()).then(|| call % self.ids.len()) else { return };
                let until = if self.calls[at].is_open() { later } else { now };
                (To::Awaiting { call: self.ids[at], until: later }, Line::Awaiting(until))
            }
        };
        assert_eq!(self.stores[who].settle(settle(&hand, to)).await.unwrap(), held);
        if held {
            self.lines[line] = becomes;
        }
        self.close_books(line);
    }

    async fn receive(&mut self, who: usize, at: usize, body: String, content: CallbackContent) {
        let answer = match &content {
            CallbackContent::Answer { cost, .. } => Some(*cost),
            CallbackContent::Failed(_) => None,
        };
        let call = &self.calls[at];
        let closed = !call.is_open();
        let expected = match answer {
            _ if call.posted.contains(&body) => Effect::Repeated,
            Some(_) if matches!(call.state, CallState::Answered | CallState::Surplus) => Effect::Other,
            None if closed => Effect::Ignored,
            Some(cost) => match self.end(at, How::Answered(cost)) {
                CallState::Answered => Effect::Answered,
                CallState::Surplus => Effect::Surplus,
                _ => Effect::Ignored,
            },
            None => {
                self.end(at, How::Rejected);
                Effect::Failed
            }
        };
        let delivery = Callback { call: self.ids[at], body: body.clone().into(), content };
        assert_eq!(self.stores[who].receive(delivery).await.unwrap(), Some(expected));
        if expected != Effect::Repeated {
            self.calls[at].posted.push(body);
            let line = self.calls[at].line;
            if let Line::Awaiting(due) = &mut self.lines[line] {
                *due = (*due).min(self.clock.now());
            }
        }
    }

    async fn retry(&mut self, only: Option<usize>) {
        let key = only.map(|line| format!("k{}", line + 1));
        self.stores[1]
            .retry(Chosen::of(self.batch, key.map_or_else(Selection::default, Selection::of_key)))
            .await
            .unwrap();
        let now = self.clock.now();
        for line in (0..LINES).filter(|line| only.is_none_or(|only| only == *line)) {
            let Line::Over(state) = self.lines[line] else { continue };
            if state == JobState::Succeeded && only.is_none() {
                continue;
            }
            let kept = matches!(state, JobState::Failed | JobState::Cancelled);
            if let Some(at) = self.find(line, |call| call.state == CallState::Answered).filter(|_| !kept) {
                self.calls[at].state = CallState::Replaced;
            }
            self.lines[line] = Line::Queued(now);
        }
    }

    /// Compares the ledger with the model, and checks the promises on both.
    async fn compare(&self) {
        let rows = query("SELECT id, state, cost, reserve FROM calls").fetch_all(&self.stores[0].read).await;
        let mut found = BTreeMap::new();
        for row in rows.unwrap() {
            let state: String = row.get("state");
            let id = crate::store::engine::rows::call_id(&row, "id").unwrap().unwrap();
            found.insert(id, (state, row.get::<i64, _>("cost"), row.get::<i64, _>("reserve")));
        }
        let expected = self.ids.iter().zip(&self.calls).map(|(id, call)| {
            let reserve = if call.is_open() { RESERVE } else { 0 };
            (*id, (call.state.as_str().to_owned(), call.cost, reserve))
        });
        assert_eq!(found, expected.collect());

        let row = self.stores[0].batch("b").await.unwrap().unwrap();
        assert_eq!(row.reserved, RESERVE * self.calls.iter().filter(|call| call.is_open()).count() as i64);
        assert_eq!(row.spent, self.calls.iter().map(|call| call.cost).sum::<i64>());
        let states: Vec<(String, Option<i64>)> =
            query_as("SELECT state, token FROM jobs ORDER BY id").fetch_all(&self.stores[0].read).await.unwrap();
        let expected = self.lines.iter().map(|line| match line {
            Line::Queued(_) => ("queued".to_owned(), None),
            Line::Running(token, _) => ("running".to_owned(), Some(token.0)),
            Line::Awaiting(_) => ("awaiting".to_owned(), None),
            Line::Over(state) => (state.as_str().to_owned(), None),
        });
        assert_eq!(states, expected.collect::<Vec<_>>());
        let report = self.stores[0].report_page(self.batch, (0, 0), 9, false).await.unwrap();
        for (line, row) in report.iter().enumerate() {
            let of = |is: &dyn Fn(&&Call) -> bool| self.calls.iter().filter(|c| c.line == line).filter(is).count();
            assert!(of(&|call| call.is_open()) <= 1 && of(&|call| call.state == CallState::Answered) <= 1);
            let billed = of(&|call| !call.is_open() && call.state != CallState::Rejected);
            assert_eq!(row.billed_calls, u32::try_from(billed).unwrap(), "answered, lost, surplus and replaced");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_books_are_right(ops in vec(op(), 10..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new().await;
            for op in ops {
                pair.apply(op).await;
                pair.compare().await;
            }
            assert_eq!(pair.stores[0].check_rows().await.unwrap(), []);
        });
    }
}

crate::store::harness::on_postgres_too! {
    whatever_happens_the_books_are_right,
}
