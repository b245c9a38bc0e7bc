//! A pause in an upload, long enough to receive an early refusal.
//!
//! A server that refuses in the middle of an upload may close at once. The next write then fails, and
//! the refusal would be lost although it has arrived. The connection reads before it writes, but it knows only
//! what the I/O driver has reported. Therefore the driver runs before each piece.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures::task::AtomicWaker;

/// One turn of the I/O driver. Polled again too early, it is still pending.
#[derive(Debug, Default)]
pub(super) struct YieldToDriver(Option<Arc<DriverTurn>>);

#[derive(Debug, Default)]
struct DriverTurn {
    over: AtomicBool,
    task: AtomicWaker,
}

impl Wake for DriverTurn {
    fn wake(self: Arc<Self>) {
        self.over.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl YieldToDriver {
    /// Ready when the driver has run since the first poll; then ready for the next pause.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let turn = self.0.get_or_insert_with(|| {
            let turn = Arc::new(DriverTurn::default());
            // Before the yield, which may wake the task from another thread.
            turn.task.register(cx.waker());
            // The runtime wakes yielding tasks after it has polled its driver; the future itself is no longer needed.
            let waker = Waker::from(turn.clone());
            let _ = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&waker));
            turn
        });
        turn.task.register(cx.waker());
        if !turn.over.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.0 = None;
        Poll::Ready(())
    }
}
