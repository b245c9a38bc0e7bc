//! Sockets between two requests.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::socket::Socket;

/// An idle socket is not used any longer: a server may be closing it (as of connections, in `send.rs`).
const IDLE: Duration = Duration::from_secs(4);
/// A server that closes a socket behind `complete` has done so by then.
const PROOF: Duration = Duration::from_millis(250);

/// Sockets that wait for their next request.
#[derive(Debug, Default)]
pub(super) struct IdleSockets {
    idle: Mutex<Vec<IdleSocket>>,
    /// A socket was open for a while behind `complete`.
    is_kept_open: AtomicBool,
    /// The server closed one behind `complete`.
    is_closed: AtomicBool,
}

#[derive(Debug)]
struct IdleSocket {
    socket: Socket,
    since: Instant,
    /// A socket that was opened with other headers is another socket.
    expires: bool,
}

impl IdleSockets {
    /// An open socket that serves another request.
    pub(super) fn take(&self, expires: bool) -> Option<Socket> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        idle.retain_mut(|own| {
            let quiet = own.socket.is_quiet();
            if !quiet {
                self.is_closed.store(true, Ordering::Relaxed);
            } else if now - own.since >= PROOF {
                self.is_kept_open.store(true, Ordering::Relaxed);
            }
            quiet && now - own.since < IDLE
        });
        let needs = if self.is_kept_open.load(Ordering::Relaxed) { Duration::ZERO } else { PROOF };
        let at = idle.iter().rposition(|own| own.expires == expires && now - own.since >= needs)?;
        Some(idle.swap_remove(at).socket)
    }

    /// Keeps a socket for the next request, if the server does not close it.
    pub(super) fn put(&self, socket: Socket, expires: bool) {
        let closes = self.is_closed.load(Ordering::Relaxed) && !self.is_kept_open.load(Ordering::Relaxed);
        if closes {
            tokio::spawn(socket.close());
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(IdleSocket { socket, since: Instant::now(), expires });
    }
}
