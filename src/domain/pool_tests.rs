//! The arithmetic of limits against a model that remembers every call: when it was sent, and whether it is in flight.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use super::pool::{Bound, Gate, Limited, Limits, PoolState, Traffic, WINDOW_MS};

/// The next event, and its delay after the previous one.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A request to send this many calls.
    Ask(u32),
    /// The end of a call in flight, given by its number.
    Ends(usize),
    /// The end of a call with a 429.
    Limited(usize, Option<u64>),
    /// The failure of a call.
    Failed(usize),
}

fn events() -> impl Strategy<Value = Vec<(i64, Event)>> {
    let event = prop_oneof![
        6 => (1u32..12).prop_map(Event::Ask),
        5 => (0usize..64).prop_map(Event::Ends),
        2 => (0usize..64, proptest::option::of(0u64..20)).prop_map(|(which, wait)| Event::Limited(which, wait)),
        1 => (0usize..64).prop_map(Event::Failed),
    ];
    let wait = prop_oneof![5 => 0i64..900, 2 => 900i64..20_000, 1 => 20_000i64..200_000];
    vec((wait, event), 1..150)
}

fn limits() -> impl Strategy<Value = Limits> {
    let limit = || proptest::option::of(1u32..40);
    (limit(), limit()).prop_map(|(requests_per_minute, concurrency)| Limits { requests_per_minute, concurrency })
}

/// What a vendor would see, and what the journal would record of it.
#[derive(Default)]
struct Wire {
    sent: Vec<i64>,
    open: Vec<(i64, i64)>,
    /// No call may be sent before this moment.
    quiet_until: i64,
    taught: bool,
}

impl Wire {
    fn in_window(&self, ms: i64, now: i64) -> usize {
        self.sent.iter().filter(|at| **at > now - ms).count()
    }

    fn traffic(&self, limits: &Limits, now: i64) -> Traffic {
        let mut traffic = Traffic { in_flight: self.open.len() as u32, ..Traffic::default() };
        if let Some(limit) = limits.requests_per_minute {
            traffic.in_window = (self.in_window(WINDOW_MS, now) as u32).min(limit);
            let nth = self.sent.len().checked_sub(limit as usize).map(|at| self.sent[at]);
            traffic.nth_newest = nth.filter(|_| traffic.in_window >= limit);
        }
        traffic
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_rolling_minute_and_no_moment_holds_more_than_allowed(limits in limits(), events in events()) {
        let (mut pool, mut wire, mut now) = (PoolState::default(), Wire::default(), 1_000_000);
        for (job, (wait, event)) in (0..).zip(events) {
            now += wait;
            let which = |n: usize| (!wire.open.is_empty()).then(|| n % wire.open.len());
            match event {
                Event::Ask(wanted) => {
                    let traffic = wire.traffic(&pool.effective(&limits, now), now);
                    match pool.gate(&limits, &traffic, now) {
                        Gate::Open(room) => {
                            prop_assert!(room > 0 && now >= wire.quiet_until);
                            if !wire.taught {
                                // Nothing ever failed, so every allowed call is permitted.
                                let most = |limit: Option<u32>, used: usize| limit.map_or(u32::MAX, |n| n - used as u32);
                                let rate = most(limits.requests_per_minute, wire.in_window(WINDOW_MS, now));
                                prop_assert_eq!(room, rate.min(most(limits.concurrency, wire.open.len())));
                            }
                            for _ in 0..room.min(wanted) {
                                wire.sent.push(now);
                                wire.open.push((job, now));
                            }
                        }
                        Gate::Shut { until: Some(until), bound } => {
                            prop_assert!(until > now, "a wait that is over: {bound:?}");
                            // After the wait a call may start, unless another limit holds.
                            let later = pool.gate(&limits, &wire.traffic(&pool.effective(&limits, until), until), until);
                            prop_assert!(!matches!(later, Gate::Shut { bound: still, until: Some(_) } if still == bound), "{later:?} still");
                        }
                        Gate::Shut { until: None, bound } => {
                            prop_assert!(!wire.open.is_empty(), "{bound:?}: who would wake it?");
                        }
                    }
                }
                Event::Ends(n) => if let Some(at) = which(n) {
                    let (_, sent_at) = wire.open.swap_remove(at);
                    pool.clean(&limits, sent_at, now);
                },
                Event::Limited(n, retry_after) => if let Some(at) = which(n) {
                    let (_, sent_at) = wire.open.swap_remove(at);
                    let wait = retry_after.map(Duration::from_secs);
                    let before = pool.effective(&limits, now);
                    let taken_for = pool.limited(&limits, sent_at, wire.open.len() as u32, wait, 0.5, now);
                    if taken_for == Limited::Storm {
                        wire.quiet_until = wire.quiet_until.max(now + retry_after.unwrap_or(0) as i64 * 1_000);
                        wire.taught = true;
                    } else {
                        prop_assert_eq!(pool.effective(&limits, now), before, "its line waits, and not the pool");
                    }
                },
                Event::Failed(n) => if let Some(at) = which(n) {
                    let (job, sent_at) = wire.open.swap_remove(at);
                    pool.failed(job, false, None, sent_at, now);
                    wire.taught = true;
                },
            }
            let pace = pool.pace(&limits, now);
            prop_assert!(pace > 0.0 && pace <= 1.0);
            let slowed = pool.effective(&limits, now);
            for (set, slowed) in [(limits.requests_per_minute, slowed.requests_per_minute), (limits.concurrency, slowed.concurrency)] {
                prop_assert!(slowed.is_none_or(|n| n >= 1) && set.is_none_or(|set| slowed.is_some_and(|n| n <= set)));
            }
            prop_assert!(limits.concurrency.is_none_or(|most| wire.open.len() <= most as usize));
            if let Some(most) = limits.requests_per_minute {
                prop_assert!(wire.in_window(60_000, now) <= most as usize, "the vendor's minute");
            }
        }
        // Whatever happened, after twenty clean minutes the pool has its full pace, and one call ends an outage.
        let later = now + 20 * 60_000;
        prop_assert_eq!(pool.effective(&limits, later), limits);
        match pool.gate(&limits, &Traffic::default(), later) {
            Gate::Open(room) => prop_assert!(room > 0),
            Gate::Shut { bound, .. } => prop_assert!(bound != Bound::Rate && bound != Bound::InFlight),
        }
    }
}
