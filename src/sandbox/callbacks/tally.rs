//! What became of callbacks, for the books and for tests that wait for it.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::acknowledges;
use crate::sandbox::books::{Books, CallbackBooks, CallbackEnd};

#[derive(Debug, Default)]
struct TallyPages {
    deliveries: u64,
    deliveries_ended: u64,
    acknowledged: u64,
    given_up: u64,
    lost: u64,
    calls: BTreeMap<u64, CallbackBooks>,
}

/// The books of the last so many callbacks.
#[derive(Debug)]
pub(in crate::sandbox) struct Tally {
    keep: usize,
    pages: watch::Sender<TallyPages>,
}

impl Tally {
    pub(super) fn new(keep: usize) -> Self {
        Self { keep, pages: watch::Sender::default() }
    }

    /// A callback is owed.
    pub(super) fn accepted(&self, number: u64, request_id: &str, url: &str) {
        let call = CallbackBooks { request_id: request_id.to_owned(), url: url.to_owned(), ..CallbackBooks::default() };
        self.pages.send_modify(|pages| {
            pages.calls.insert(number, call);
            while pages.calls.len() > self.keep {
                pages.calls.pop_first();
            }
        });
    }

    /// The work for a call is done.
    pub(super) fn billed(&self, number: u64) {
        self.change(number, |_| {}, |call| call.billed = true);
    }

    /// A delivery begins.
    pub(super) fn begun(&self, number: u64) {
        self.change(number, |pages| pages.deliveries += 1, |call| call.deliveries += 1);
    }

    /// A delivery was answered with this status, or not at all.
    pub(super) fn ended(&self, number: u64, status: Option<u16>) {
        let ended = |call: &mut CallbackBooks| {
            call.statuses.push(status);
            call.acknowledged += u32::from(status.is_some_and(acknowledges));
        };
        self.change(number, |pages| pages.deliveries_ended += 1, ended);
    }

    /// A callback is no longer owed.
    pub(super) fn over(&self, number: u64, end: CallbackEnd) {
        let count = |pages: &mut TallyPages| match end {
            CallbackEnd::Acknowledged => pages.acknowledged += 1,
            CallbackEnd::GivenUp => pages.given_up += 1,
            CallbackEnd::Lost => pages.lost += 1,
        };
        self.change(number, count, |call| call.end = Some(end));
    }

    pub(super) fn reset(&self) {
        self.pages.send_replace(TallyPages::default());
    }

    /// Waits until so many deliveries have ended.
    pub(in crate::sandbox) async fn deliveries(&self, n: u64) {
        self.until(|pages| pages.deliveries_ended >= n).await;
    }

    /// Waits until so many callbacks are no longer owed.
    pub(in crate::sandbox) async fn callbacks(&self, n: u64) {
        self.until(|pages| pages.acknowledged + pages.given_up + pages.lost >= n).await;
    }

    /// The books with what is known here.
    pub(in crate::sandbox) fn enter(&self, mut books: Books) -> Books {
        let pages = self.pages.borrow();
        for record in &mut books.requests {
            record.billed |= pages.calls.get(&record.number).is_some_and(|call| call.billed);
        }
        Books {
            deliveries: pages.deliveries,
            callbacks_acknowledged: pages.acknowledged,
            callbacks_given_up: pages.given_up,
            callbacks_lost: pages.lost,
            callbacks: pages.calls.clone(),
            ..books
        }
    }

    fn change(&self, number: u64, all: impl FnOnce(&mut TallyPages), one: impl FnOnce(&mut CallbackBooks)) {
        self.pages.send_modify(|pages| {
            all(pages);
            if let Some(call) = pages.calls.get_mut(&number) {
                one(call);
            }
        });
    }

    async fn until(&self, reached: impl Fn(&TallyPages) -> bool) {
        self.pages.subscribe().wait_for(|pages| reached(pages)).await.expect("the tally holds the sender");
    }
}
