//! Turns at the API: among all parts that could be bought now, those of the earliest job go first, so that a book's first
//! chapter is done long before its last.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// The place in the order: the job, the part, and a number that distinguishes two equal ones.
type TurnPlace = (i64, i64, u64);

/// A limited number of concurrent turns.
#[derive(Debug)]
pub(super) struct Turns {
    size: usize,
    state: Mutex<TurnState>,
}

#[derive(Debug)]
struct TurnState {
    free: usize,
    asked: u64,
    waiting: BTreeMap<TurnPlace, oneshot::Sender<Turn>>,
}

/// A turn. Dropping it passes it to the next waiter.
#[derive(Debug)]
pub(super) struct Turn {
    /// `None` once it is given back.
    of: Option<Arc<Turns>>,
}

impl Turns {
    pub(super) fn new(size: usize) -> Self {
        Self { size, state: Mutex::new(TurnState { free: size, asked: 0, waiting: BTreeMap::new() }) }
    }

    /// The number of turns.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// Waits for a turn.
    pub(super) async fn take(self: &Arc<Self>, job: i64, part: i64) -> Turn {
        let called = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Turn { of: Some(Arc::clone(self)) };
            }
            let (call, called) = oneshot::channel();
            state.asked += 1;
            let place = (job, part, state.asked);
            state.waiting.insert(place, call);
            called
        };
        called.await.expect("who waits is called in the end")
    }

    fn lock(&self) -> MutexGuard<'_, TurnState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a turn to the first waiter that is still there.
    fn hand_on(self: Arc<Self>) {
        loop {
            let next = {
                let mut state = self.lock();
                let next = state.waiting.pop_first();
                if next.is_none() {
                    state.free += 1;
                }
                next
            };
            let Some((_, call)) = next else { return };
            match call.send(Turn { of: Some(Arc::clone(&self)) }) {
                Ok(()) => return,
                // That waiter has gone. Dropping the turn must not pass it on a second time.
                Err(mut turn) => turn.of = None,
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.of.take() {
            turns.hand_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn the_earliest_job_and_part_go_first_whoever_asked_first() {
        let turns = Arc::new(Turns::new(1));
        let first = turns.take(9, 9).now_or_never().unwrap();
        let mut asks: Vec<_> = [(2, 0), (1, 7), (1, 3)].map(|(job, part)| Box::pin(turns.take(job, part))).into();
        assert!(asks.iter_mut().all(|ask| ask.now_or_never().is_none()));
        drop(first);
        let mut order = Vec::new();
        for _ in 0..3 {
            let (at, turn) = asks.iter_mut().enumerate().find_map(|(at, ask)| Some((at, ask.now_or_never()?))).unwrap();
            assert!(turns.take(0, 0).now_or_never().is_none(), "one at a time");
            order.push(at);
            drop(asks.remove(at));
            drop(turn);
        }
        assert_eq!(order, [2, 1, 0]);
        assert!(turns.take(0, 0).now_or_never().is_some());
    }

    #[test]
    fn who_waits_no_more_is_passed_over() {
        let turns = Arc::new(Turns::new(1));
        let first = turns.take(1, 0).now_or_never().unwrap();
        let mut gone = Box::pin(turns.take(1, 1));
        let mut called = Box::pin(turns.take(1, 2));
        let mut last = Box::pin(turns.take(1, 3));
        for ask in [&mut gone, &mut called, &mut last] {
            assert!(ask.now_or_never().is_none());
        }
        drop(gone);
        drop(first);
        // The waiter was given the turn, and was dropped before it took it.
        drop(called);
        assert!(last.now_or_never().is_some());
    }
}
