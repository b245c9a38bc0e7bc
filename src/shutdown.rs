//! Signals: the first Ctrl-C drains, the second aborts. SIGTERM does the same and is remembered. SIGHUP only drains.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::{
    signal::unix::{self, SignalKind, signal},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

/// The signal that asked the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM, as from a service manager.
    Terminate,
    /// SIGHUP: the terminal is gone, for example after a dropped ssh connection.
    Hangup,
}

/// The requests of the signals so far.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled by the first signal: work in flight is finished, and nothing new is started.
    pub drain: CancellationToken,
    /// Cancelled by the second signal: exit now.
    pub abort: CancellationToken,
    /// 0 = none yet.
    first: Arc<AtomicU8>,
    heard: Arc<Notify>,
}

impl Shutdown {
    /// Listens to the process's signals from now on.
    ///
    /// # Errors
    /// The system refuses a signal handler.
    pub fn listen() -> io::Result<Self> {
        let this = Self::default();
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        // A process that ignores SIGHUP is meant to survive the terminal: `nohup`.
        let mut hangup = (!ignores_hangup()).then(|| signal(SignalKind::hangup())).transpose()?;
        let hearer = this.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(()) = interrupt.recv() => hearer.hear(Signal::Interrupt),
                    Some(()) = terminate.recv() => hearer.hear(Signal::Terminate),
                    Some(()) = next(hangup.as_mut()) => hearer.hear(Signal::Hangup),
                    else => break,
                }
            }
        });
        Ok(this)
    }

    /// Records a signal.
    pub fn hear(&self, signal: Signal) {
        let mark = match signal {
            Signal::Interrupt => 1,
            Signal::Terminate => 2,
            Signal::Hangup => 3,
        };
        if self.first.compare_exchange(0, mark, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.drain.cancel();
        } else if signal == Signal::Hangup {
            // One lost terminal sends several signals: the kernel's and the shell's. They are no request for haste.
            return;
        } else {
            self.abort.cancel();
        }
        self.heard.notify_waiters();
    }

    /// Waits for the next signal from now on.
    pub async fn next(&self) {
        self.heard.notified().await;
    }

    /// The first signal, if there was one.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        match self.first.load(Ordering::Acquire) {
            1 => Some(Signal::Interrupt),
            2 => Some(Signal::Terminate),
            3 => Some(Signal::Hangup),
            _ => None,
        }
    }
}

/// The next signal, if this kind is listened to.
async fn next(signals: Option<&mut unix::Signal>) -> Option<()> {
    match signals {
        Some(signals) => signals.recv().await,
        None => None,
    }
}

/// Whether SIGHUP was ignored when the process was started. Only Linux reports this without unsafe code.
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| is_hangup_ignored(&status))
}

/// Reads the set of ignored signals from `/proc/self/status`; SIGHUP is the first.
fn is_hangup_ignored(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set & 1 == 1)
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

    #[test]
    fn a_lost_terminal_drains_however_often_it_says_so() {
        let shutdown = Shutdown::default();
        for _ in 0..3 {
            shutdown.hear(Signal::Hangup);
        }
        assert!(shutdown.drain.is_cancelled() && !shutdown.abort.is_cancelled());
        assert_eq!(shutdown.signal(), Some(Signal::Hangup));
        shutdown.hear(Signal::Terminate);
        assert!(shutdown.abort.is_cancelled(), "somebody else asks for haste");
    }

    #[test]
    fn nohup_is_seen() {
        let status = |set: &str| format!("Name:\twavebatch\nSigBlk:\t0000000000000001\nSigIgn:\t{set}\nSigCgt:\t1\n");
        assert!(is_hangup_ignored(&status("0000000000001001")));
        assert!(!is_hangup_ignored(&status("0000000000001000")));
        assert!(!is_hangup_ignored(""));
    }

    #[tokio::test]
    async fn a_real_signal_is_heard() {
        let shutdown = Shutdown::listen().unwrap();
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
        shutdown.drain.cancelled().await;
        assert_eq!(shutdown.signal(), Some(Signal::Terminate));
    }
}
