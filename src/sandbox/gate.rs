//! A gate that tests close: what comes to it waits until it is opened.

use tokio::sync::watch;

/// Open unless held.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: watch::Sender<GateState>,
    waiting: watch::Sender<usize>,
}

#[derive(Debug, Clone, Copy, Default)]
struct GateState {
    held: bool,
    /// How often it was opened: what hangs waits for the next time.
    releases: u64,
}

impl Gate {
    pub(super) fn hold(&self) {
        self.state.send_modify(|state| state.held = true);
    }

    pub(super) fn release(&self) {
        self.state.send_modify(|state| {
            state.held = false;
            state.releases += 1;
        });
    }

    /// Waits until so many wait here.
    pub(super) async fn waiting(&self, n: usize) {
        let mut waiting = self.waiting.subscribe();
        waiting.wait_for(|have| *have >= n).await.expect("the gate holds the sender");
    }

    /// Waits while it is held; what `hangs`, until it is opened the next time.
    pub(super) async fn pass(&self, hangs: bool) {
        /// Counts one among the waiting while it is.
        struct Waits<'a>(&'a watch::Sender<usize>);
        impl Drop for Waits<'_> {
            fn drop(&mut self) {
                self.0.send_modify(|n| *n -= 1);
            }
        }

        let mut state = self.state.subscribe();
        let seen = *state.borrow();
        if !seen.held && !hangs {
            return;
        }
        self.waiting.send_modify(|n| *n += 1);
        let _waits = Waits(&self.waiting);
        let opened = state.wait_for(|now| !now.held && (!hangs || now.releases > seen.releases)).await;
        opened.expect("the gate holds the sender");
    }
}
