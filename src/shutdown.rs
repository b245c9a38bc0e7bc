//! Signals: the first Ctrl-C drains, the second gives up; SIGTERM drains too, and is remembered.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What asked the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM, as from a service manager.
    Terminate,
}

/// What the signals so far ask for.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled by the first signal: what is in flight is finished, and nothing new begun.
    pub drain: CancellationToken,
    /// Cancelled by the second: leave now.
    pub abort: CancellationToken,
    /// 0 = none yet.
    first: Arc<AtomicU8>,
}

impl Shutdown {
    /// Listens to the process's signals from now on.
    ///
    /// # Errors
    /// The system does not let it.
    pub fn listen() -> io::Result<Self> {
        let this = Self::default();
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let hearer = this.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(()) = interrupt.recv() => hearer.hear(Signal::Interrupt),
                    Some(()) = terminate.recv() => hearer.hear(Signal::Terminate),
                    else => break,
                }
            }
        });
        Ok(this)
    }

    /// Takes note of a signal.
    pub fn hear(&self, signal: Signal) {
        let mark = match signal {
            Signal::Interrupt => 1,
            Signal::Terminate => 2,
        };
        if self.first.compare_exchange(0, mark, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.drain.cancel();
        } else {
            self.abort.cancel();
        }
    }

    /// The first signal, if there was one.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        match self.first.load(Ordering::Acquire) {
            1 => Some(Signal::Interrupt),
            2 => Some(Signal::Terminate),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_drains_and_the_second_gives_up() {
        let shutdown = Shutdown::default();
        assert_eq!(shutdown.signal(), None);
        shutdown.hear(Signal::Terminate);
        assert!(shutdown.drain.is_cancelled() && !shutdown.abort.is_cancelled());
        shutdown.hear(Signal::Interrupt);
        assert!(shutdown.abort.is_cancelled());
        assert_eq!(shutdown.signal(), Some(Signal::Terminate), "the first is remembered");
    }

    #[tokio::test]
    async fn a_real_signal_is_heard() {
        let shutdown = Shutdown::listen().unwrap();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
        shutdown.drain.cancelled().await;
        assert_eq!(shutdown.signal(), Some(Signal::Terminate));
    }
}
