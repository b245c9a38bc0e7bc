//! Large bodies are inspected one at a time. All calls share the memory of the process, and the bodies of many calls
//! must not add up.

use tokio::sync::Semaphore;

use crate::domain::body::LARGE;

/// From this size on, an inspection takes too long for a thread that serves others.
const SLOW: u64 = 64 << 10;

/// One for the whole process, like the memory.
static TURN: Semaphore = Semaphore::const_new(1);

/// Runs `look`, which inspects a body of `len` bytes. A short body is inspected at once, a longer one on a thread of
/// its own. A large body waits until no other large one is being inspected.
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
