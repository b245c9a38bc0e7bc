//! Named points at which a process can be made to die, as in a power cut. Only the crash harness uses them.
//!
//! Compiled in only with debug assertions or the feature `crash-points`; without them [`point`] does nothing.

/// The points, in the order in which a line passes them. No kind of line passes all of them.
pub const POINTS: &[&str] = &[
    "after-claim",
    "after-intent",
    "after-request",
    "before-file",
    "after-file",
    "after-answer",
    "before-callback",
    "after-callback",
    "before-sink",
    "in-sink",
    "before-settle",
];

/// Whether the crash points are compiled into this program.
pub const ARMED: bool = cfg!(any(debug_assertions, feature = "crash-points"));

/// Ends this process by SIGKILL if `WAVEBATCH_CRASH_AT` is `name`, or is `name:n` and this is the `n`th pass.
#[inline]
pub fn point(name: &str) {
    #[cfg(any(debug_assertions, feature = "crash-points"))]
    fuse::pass(name);
    #[cfg(not(any(debug_assertions, feature = "crash-points")))]
    let _ = name;
}

/// Makes every worker of the line with this key panic in this process, as a bug would; only if [`ARMED`].
pub fn plant_defect(key: &str) {
    #[cfg(any(debug_assertions, feature = "crash-points"))]
    fuse::defects().push(key.to_owned());
    #[cfg(not(any(debug_assertions, feature = "crash-points")))]
    let _ = key;
}

/// Panics if a defect is planted at this line.
#[inline]
pub(crate) fn defect(key: &str) {
    #[cfg(any(debug_assertions, feature = "crash-points"))]
    {
        let planted = fuse::defects().iter().any(|at| at == key);
        assert!(!planted, "a defect is planted at {key}");
    }
    #[cfg(not(any(debug_assertions, feature = "crash-points")))]
    let _ = key;
}

#[cfg(any(debug_assertions, feature = "crash-points"))]
mod fuse {
    use std::sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    };

    use rustix::process::{Signal, getpid, kill_process};

    /// The keys of lines with a planted defect.
    pub(super) fn defects() -> MutexGuard<'static, Vec<String>> {
        static DEFECTS: Mutex<Vec<String>> = Mutex::new(Vec::new());
        DEFECTS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[derive(Debug)]
    struct Fuse {
        name: String,
        left: AtomicU64,
    }

    pub(super) fn pass(name: &str) {
        static FUSE: OnceLock<Option<Fuse>> = OnceLock::new();
        let fuse = FUSE.get_or_init(|| std::env::var("WAVEBATCH_CRASH_AT").ok().and_then(|at| Fuse::parse(&at)));
        if fuse.as_ref().is_some_and(|fuse| fuse.burns_down(name)) {
            let _ = kill_process(getpid(), Signal::KILL);
            std::process::abort();
        }
    }

    impl Fuse {
        fn parse(at: &str) -> Option<Self> {
            let (name, nth) = at.split_once(':').unwrap_or((at, "1"));
            let left = nth.parse().ok().filter(|nth| *nth > 0)?;
            Some(Self { name: name.to_owned(), left: AtomicU64::new(left) })
        }

        fn burns_down(&self, name: &str) -> bool {
            self.name == name && self.left.fetch_sub(1, Ordering::Relaxed) == 1
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn it_burns_down_at_the_nth_passing_of_its_own_point() {
            let fuse = Fuse::parse("in-sink:2").unwrap();
            let passed = ["in-sink", "after-claim", "in-sink"].map(|name| fuse.burns_down(name));
            assert_eq!(passed, [false, false, true]);
            assert!(Fuse::parse("in-sink").unwrap().burns_down("in-sink"));
            assert!(Fuse::parse("in-sink:0").is_none() && Fuse::parse("in-sink:x").is_none());
        }
    }
}
