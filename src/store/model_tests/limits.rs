//! Random operations on a ledger with limits: on the batch's money, on a day's and a month's, on a pool; with pauses,
//! changed lines and retried lines. After each operation no limit may be exceeded, and every waiting ask has a reason to
//! wait.

mod op;
mod seen;

use std::{future::Future, pin::Pin, sync::Arc};

use futures::poll;
use jiff::tz::TimeZone;
use proptest::{collection::vec, prelude::*};

use self::{
    op::{Op, op},
    seen::Seen,
};
use super::{
    RESERVE,
    ops::{Where, message},
};
use crate::{
    domain::{
        cost::MicroUsd,
        identity::source_identity,
        job::{BatchId, JobState, Why},
        pool::Limits,
        retry::PauseKind,
        spend::SpendRule,
    },
    store::{tests::*, *},
};

const LINES: u64 = 6;
/// Long enough that the duration of a test does not matter.
const LEASE: i64 = 1_000_000;
/// How long a changed line waits for the worker of its older version, if that does not say that it stopped.
const TIMEOUT_MS: i64 = 60_000;

type PermitResult = Result<Result<Permit, Denial>, StoreError>;

struct Waiting {
    who: usize,
    /// The limits of a day and a month when it was asked.
    rule: Option<Arc<SpendRule>>,
    asked: Pin<Box<dyn Future<Output = PermitResult>>>,
}

struct Fixture {
    _ledger: Ledger,
    _enlisted: Vec<Enlisted>,
    stores: [Store; 2],
    clock: Clock,
    batch: BatchId,
    cap: Option<i64>,
    rule: Option<Arc<SpendRule>>,
    limits: Limits,
    hands: Vec<Claimed>,
    waiting: Vec<Waiting>,
    /// The limits of the permits that were granted last.
    granted_under: Vec<Option<Arc<SpendRule>>>,
    /// How often each line was changed, and when last.
    changes: [(u64, i64); LINES as usize],
}

impl Fixture {
    async fn new(cap: Option<i64>, limits: Limits) -> Self {
        let ledger = ledger().await;
        let timing = Timing { lease_ms: LEASE, beat_ms: LEASE };
        let open = || Store::open(Opening { clock: ledger.clock.clone(), timing, ..Opening::new(&ledger.path) });
        let stores = [open().await.unwrap().0, open().await.unwrap().0];
        let batch = ledger.submit(NewBatch { max_spend: cap, ..batch("b") }, LINES).await;
        let mut enlisted = Vec::new();
        for store in &stores {
            enlisted.push(store.enlist("{}".into()).await.unwrap());
        }
        Self {
            clock: ledger.clock.clone(),
            stores,
            batch,
            cap,
            rule: None,
            limits,
            hands: Vec::new(),
            waiting: Vec::new(),
            granted_under: Vec::new(),
            changes: [(0, 0); LINES as usize],
            _enlisted: enlisted,
            _ledger: ledger,
        }
    }

    async fn apply(&mut self, op: &Op, seen: &Seen) {
        match *op {
            Op::Claim { who } => self.claim(who, seen).await,
            Op::Ask { who, hand, replaces } => {
                let Some(hand) = pick(hand, self.hands.len()) else { return };
                self.ask(who, hand, replaces, seen).await;
            }
            Op::AskAll { who } => {
                for hand in 0..self.hands.len() {
                    let claimed = &self.hands[hand];
                    if seen.holds(claimed) && seen.open(claimed.job).is_none() {
                        self.ask(who, hand, false, seen).await;
                    }
                }
            }
            Op::Forget { ask } => {
                let Some(ask) = pick(ask, self.waiting.len()) else { return };
                self.waiting.swap_remove(ask);
            }
            Op::End { who, call, how, pauses } => {
                let Some(call) = pick(call, seen.calls.len()) else { return };
                let pauses = pauses.then(|| (PauseKind::Credentials, "401".to_owned()));
                self.stores[who].end(Ended { pauses, ..ended(seen.calls[call].id, message(how)) }).await.unwrap();
            }
            Op::Settle { who, hand, to } => {
                let Some(hand) = pick(hand, self.hands.len()) else { return };
                let to = match to {
                    Where::Done(state) => done(state),
                    Where::Queued { .. } => To::Queued { due_at: self.clock.now(), call: None, source_try: false },
                    Where::Awaiting { call } => {
                        let Some(call) = pick(call, seen.calls.len()) else { return };
                        To::Awaiting { call: seen.calls[call].id, until: self.clock.now() + LEASE }
                    }
                };
                let held = seen.holds(&self.hands[hand]);
                assert_eq!(self.stores[who].settle(settle(&self.hands[hand], to)).await.unwrap(), held);
            }
            Op::Wait { ms } => self.clock.advance(ms),
            Op::Pause => self.stores[0].pause(self.batch, PauseKind::User, "lunch".into()).await.unwrap(),
            Op::Resume { users_too } => {
                let lifted = self.stores[1].resume(self.batch, users_too).await.unwrap();
                assert_eq!(lifted, seen.paused && (users_too || !seen.by_user));
            }
            Op::Change { line } => self.change(line % self.changes.len()).await,
            Op::Retry { line } => {
                let key = line.map(|line| format!("k{}", line % self.changes.len() + 1));
                self.stores[1]
                    .retry(Chosen::of(self.batch, key.map_or_else(Selection::default, Selection::of_key)))
                    .await
                    .unwrap();
            }
            Op::Cancel => {
                self.stores[0].cancel(self.batch).await.unwrap();
            }
            Op::Spend { day, month } => {
                let zone = TimeZone::get("Asia/Kathmandu").unwrap();
                self.rule = Some(Arc::new(SpendRule { day: day.map(MicroUsd), month: month.map(MicroUsd), zone }));
            }
            Op::Cap { max } => {
                self.cap = max;
                self.submit(vec![]).await;
            }
        }
    }

    async fn claim(&mut self, who: usize, seen: &Seen) {
        let got = claim(&self.stores[who], 9).await;
        assert!(got.is_empty() || !seen.paused, "a paused batch is not worked");
        for hand in &got {
            assert_ne!(seen.job(hand.job).state, JobState::Superseded);
            // The worker of an older version has stopped, or had its time to do so.
            let (_, since) = self.changes[line_of(&hand.key)];
            let patient = self.clock.now() >= since + TIMEOUT_MS;
            assert!(patient || !seen.older_is_held(&hand.key), "{} is worked twice", hand.key);
        }
        self.hands.extend(got);
    }

    /// Asks for a permit, which waits if it has to.
    async fn ask(&mut self, who: usize, hand: usize, replaces: bool, seen: &Seen) {
        let hand = &self.hands[hand];
        let replaces = seen.open(hand.job).filter(|_| replaces);
        let why = if replaces.is_some() { Why::Unknown } else { Why::First };
        let ask = PermitRequest { replaces, why, spend: self.rule.clone(), ..ask(hand, self.limits) };
        let store = self.stores[who].clone();
        let mut asked: Pin<Box<dyn Future<Output = PermitResult>>> = Box::pin(async move { store.permit(ask).await });
        assert!(poll!(&mut asked).is_pending(), "the writer has not run yet");
        self.waiting.push(Waiting { who, rule: self.rule.clone(), asked });
    }

    /// The manifest gets another recording in this line.
    async fn change(&mut self, line: usize) {
        let (version, since) = &mut self.changes[line];
        (*version, *since) = (*version + 1, self.clock.now());
        let number = line as u64 + 1;
        let source = format!("/r/{number}-{version}.wav");
        self.submit(vec![NewJob {
            source_id: source_identity(&source, &crate::domain::query::QueryRules::default()),
            ..job(number, &source)
        }])
        .await;
    }

    async fn submit(&mut self, lines: Vec<NewJob>) {
        let new = NewBatch { max_spend: self.cap, ..batch("b") };
        let Begun { batch, existed, .. } = self.stores[0].begin(new, Resubmission::default()).await.unwrap();
        assert!(existed);
        self.stores[0].submit(batch, lines, vec![]).await.unwrap();
        self.stores[0].end_submit(batch).await.unwrap();
    }

    /// Lets both writers look at the waiting asks, and collects the verdicts. Returns the denials.
    async fn hear(&mut self) -> Vec<Denial> {
        for store in &self.stores {
            store.write(|_, _| Box::pin(async { Ok(()) })).await.unwrap();
        }
        let (mut denials, mut still) = (Vec::new(), Vec::new());
        self.granted_under.clear();
        for mut one in self.waiting.drain(..) {
            match poll!(&mut one.asked) {
                std::task::Poll::Ready(verdict) => match verdict.unwrap() {
                    Ok(_) => self.granted_under.push(one.rule),
                    Err(denial) => denials.push(denial),
                },
                std::task::Poll::Pending => still.push(one),
            }
        }
        self.waiting = still;
        denials
    }

    /// Checks the promises.
    async fn hold(&self, before: &Seen, after: &Seen, heard_at: i64, denials: &[Denial]) {
        let committed = after.spent + after.reserved;
        let begun: Vec<_> = after.calls.iter().filter(|call| !before.knows(call.id)).collect();
        if !begun.is_empty() {
            assert!(self.cap.is_none_or(|cap| committed <= cap), "{committed} of {:?}", self.cap);
            assert!(!before.paused || !after.paused, "a paused batch makes no call");
        }
        for rule in self.granted_under.iter().flatten() {
            for one in after.uses(rule, heard_at) {
                // Earlier asks may have had a higher limit, or none.
                let alone = self.granted_under.iter().all(|other| other.as_ref() == Some(rule));
                assert!(!alone || one.has(MicroUsd::ZERO), "{one:?}");
            }
        }
        for call in begun {
            assert_ne!(after.job(call.job).state, JobState::Superseded, "nobody wants it any more");
        }
        let in_flight = after.in_flight(heard_at);
        assert!(self.limits.concurrency.is_none_or(|most| in_flight <= most as usize), "{in_flight} in flight");
        let mut moments: Vec<i64> = after.calls.iter().map(|call| call.sent_at).collect();
        moments.sort_unstable();
        let recent = moments.iter().filter(|at| **at > heard_at - 61_000).count();
        if let Some(limit) = self.limits.requests_per_minute.map(|n| n as usize) {
            assert!(moments.windows(limit + 1).all(|some| some[limit] - some[0] > 60_000), "{limit} a minute");
        }

        let too_dear = self.cap.is_some_and(|cap| committed + RESERVE > cap);
        assert!(too_dear || !denials.contains(&Denial::SpendLimit), "{committed} of {:?}", self.cap);
        for denial in denials {
            if let Denial::SpendPeriod { limit, reserve } = denial {
                assert!(!limit.has(MicroUsd(*reserve)), "{limit:?}");
            }
        }
        let dear = |one: &Waiting| {
            let full = |rule: &Arc<SpendRule>| after.uses(rule, heard_at).iter().any(|one| !one.has(MicroUsd(RESERVE)));
            one.rule.as_ref().is_some_and(full)
        };
        let walled = self.limits.concurrency.is_some_and(|most| in_flight >= most as usize)
            || self.limits.requests_per_minute.is_some_and(|most| recent >= most as usize)
            || too_dear && (in_flight > 0 || after.awaits());
        let held = in_flight > 0 || after.awaits();
        let idle = self.waiting.iter().filter(|one| !(held && dear(one))).map(|one| one.who).collect::<Vec<_>>();
        assert!(walled || idle.is_empty(), "{idle:?} wait for nothing");

        after.add_up();
        let page = self.stores[0].report_page(self.batch, (0, 0), 99, false).await.unwrap();
        let keys: Vec<_> = page.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(keys, (1..=LINES).map(|n| format!("k{n}")).collect::<Vec<_>>(), "a line is one row");
        let counts = self.stores[0].counts(self.batch).await.unwrap();
        assert_eq!(counts.by_state.values().sum::<u64>(), LINES, "what is superseded is in no count");
        for row in &page {
            assert!(row.billed_calls as usize >= before.billed(row.job), "what was billed stays so");
            assert_eq!(row.billed_calls as usize, after.billed(row.job));
            let again = before.jobs.get(&row.job).is_some_and(|job| is_over(job.state)) && !is_over(row.state);
            assert!(!again || row.tries == 0, "retry begins again");
        }
    }
}

fn is_over(state: JobState) -> bool {
    !matches!(state, JobState::Queued | JobState::Running | JobState::Awaiting)
}

fn pick(n: usize, len: usize) -> Option<usize> {
    (len > 0).then(|| n % len)
}

fn line_of(key: &str) -> usize {
    key[1..].parse::<usize>().unwrap() - 1
}

fn limits() -> impl Strategy<Value = Limits> {
    (proptest::option::of(1u32..5), proptest::option::of(1u32..4))
        .prop_map(|(requests_per_minute, concurrency)| Limits { requests_per_minute, concurrency })
}

proptest! {
    // A twentieth of PROPTEST_CASES: each case is a ledger on a disk.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 20,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_wall_is_passed(cap in op::cap(), limits in limits(), ops in vec(op(), 10..70)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut fixture = Fixture::new(cap, limits).await;
            let mut before = Seen::of(&fixture.stores[0], fixture.batch).await;
            for op in ops {
                fixture.apply(&op, &before).await;
                let heard_at = fixture.clock.now();
                let denials = fixture.hear().await;
                let after = Seen::of(&fixture.stores[0], fixture.batch).await;
                fixture.hold(&before, &after, heard_at, &denials).await;
                before = after;
            }
        });
    }
}

crate::store::harness::on_postgres_too! {
    no_wall_is_passed,
}
