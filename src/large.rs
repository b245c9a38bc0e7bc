//! Large bodies are looked into one at a time: their memory is the process's, whoever looks, and what many calls bring at
//! once must not add up.

use tokio::sync::Semaphore;

use crate::domain::body::LARGE;

/// From here on a look takes too long for a thread that serves others.
const SLOW: u64 = 64 << 10;

/// One for the process: so is the memory.
static TURN: Semaphore = Semaphore::const_new(1);

/// Runs `look`, which looks into a body of `len` bytes: at once where that is short, else on a thread of its own; if it is
/// large, when no other large one is looked into.
///
/// # Panics
/// If `look` does.
pub async fn look_into<T: Send + 'static>(len: u64, look: impl FnOnce() -> T + Send + 'static) -> T {
    if len < SLOW {
        return look();
    }
    let turn = match len < LARGE {
        true => None,
        false => Some(TURN.acquire().await.expect("it is never closed")),
    };
    let looking = move || {
        let found = look();
        drop(turn);
        found
    };
    tokio::task::spawn_blocking(looking).await.expect("a look does not panic")
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn large_ones_come_one_at_a_time_and_small_ones_do_not_wait() {
        let at_once = Arc::new(AtomicU32::new(0));
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (entered, mut is_in) = tokio::sync::mpsc::unbounded_channel();
        let first = {
            let (at_once, entered) = (Arc::clone(&at_once), entered.clone());
            tokio::spawn(look_into(LARGE, move || {
                at_once.fetch_add(1, Ordering::SeqCst);
                entered.send(()).unwrap();
                released.recv().unwrap();
                at_once.fetch_sub(1, Ordering::SeqCst)
            }))
        };
        is_in.recv().await.unwrap();
        let second = {
            let at_once = Arc::clone(&at_once);
            tokio::spawn(look_into(2 * LARGE, move || at_once.fetch_add(1, Ordering::SeqCst)))
        };
        assert_eq!(look_into(10, || 1).await + look_into(LARGE - 1, || 1).await, 2);
        assert!(!second.is_finished());
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), 1, "alone");
        assert_eq!(second.await.unwrap(), 0, "when the first was gone");
    }
}
