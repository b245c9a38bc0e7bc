//! Catches the panics of a third-party parser on damaged files, without Rust's panic message on the user's screen.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// The result of `read`; `None` if it panics.
pub(super) fn caught<T>(read: impl FnOnce() -> T) -> Option<T> {
    // The hook is process-wide. It is set once, and behaves as before outside this function.
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                usual(panic);
            }
        }));
    });
    let before = QUIET.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(read));
    QUIET.set(before);
    outcome.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_and_quiet_only_in_here() {
        assert_eq!(caught(|| 1), Some(1));
        let inside = caught(|| {
            assert!(caught(|| panic!("deeper")).is_none());
            QUIET.get()
        });
        assert_eq!(inside, Some(true), "what is within another ends its own part only");
        assert!(caught(|| panic!("a damaged file")).is_none());
        assert!(!QUIET.get(), "the next panic of this thread is told");
    }
}
