//! The first request of a batch goes alone, so that the others find its beginning in the vendor's cache.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, MutexGuard};

/// Who goes first.
#[derive(Debug, Default)]
pub(super) struct Lead {
    is_over: AtomicBool,
    turn: Mutex<()>,
}

/// The turn of a request that goes alone. If it ends without an answer, the next one goes alone.
#[derive(Debug)]
pub(super) struct LeadTurn<'a> {
    lead: &'a Lead,
    _turn: MutexGuard<'a, ()>,
}

impl Lead {
    /// Whether a request was answered, so that all others may go.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Waits for the turn to go alone; `None`: another one was answered meanwhile.
    pub(super) async fn turn(&self) -> Option<LeadTurn<'_>> {
        let turn = self.turn.lock().await;
        (!self.is_over()).then_some(LeadTurn { lead: self, _turn: turn })
    }
}

impl LeadTurn<'_> {
    /// It was answered: all others may go.
    pub(super) fn done(self) {
        self.lead.is_over.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_goes_first_and_then_all() {
        let lead = Lead::default();
        let first = lead.turn().await.unwrap();
        assert!(lead.turn().now_or_never().is_none(), "it waits");
        drop(first);
        let second = lead.turn().await.expect("the first had no answer");
        second.done();
        assert!(lead.is_over() && lead.turn().await.is_none());
    }
}
