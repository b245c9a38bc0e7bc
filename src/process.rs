//! Process limits set at start: the maximum number of open files, and no core dumps.

use std::path::PathBuf;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Limits of open files to try where a system refuses the hard limit, as macOS refuses "infinity".
const FALLBACKS: [u64; 3] = [65_536, 10_240, 4_096];

/// With fewer open files than this, calls wait for one another.
const ENOUGH_FILES: u64 = 256;

/// Sets up this process. Called once, before any thread is started. A setting that the system refuses stays as it is.
pub fn set_up() {
    raise_open_files();
    forbid_core_dumps();
}

/// The number of files, sockets and pipes that this process may have open at once.
#[must_use]
pub fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The warning for the user if this process may have too few files open.
#[must_use]
pub fn too_few_files() -> Option<String> {
    let most = open_files();
    (most < ENOUGH_FILES).then(|| {
        format!(
            "only {most} files may be open at once, and work waits for them; allow {ENOUGH_FILES} or more (`ulimit -Hn`, LimitNOFILE=)"
        )
    })
}

/// Raises the soft limit of open files to the hard limit. Shells set 1,024 (macOS 256), too few for a thousand
/// incoming connections.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    for current in candidates(limit) {
        if setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum }).is_ok() {
            return;
        }
    }
}

/// The soft limits to try, the best one first. None of them is below the present one.
fn candidates(limit: Rlimit) -> Vec<Option<u64>> {
    let Some(current) = limit.current else { return Vec::new() };
    let within = |n: &u64| *n > current && limit.maximum.is_none_or(|most| *n < most);
    let best = (limit.maximum.is_none_or(|most| most > current)).then_some(limit.maximum);
    best.into_iter().chain(FALLBACKS.iter().filter(|n| within(n)).map(|n| Some(*n))).collect()
}

/// Forbids core dumps, and debuggers of other processes of the same user: this process's memory holds the API key,
/// transcripts and signed URLs.
fn forbid_core_dumps() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // A core dump through a pipe ignores the limit.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// The user's home directory, if it is known.
#[must_use]
pub fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_only_goes_up() {
        let of = |current, maximum| candidates(Rlimit { current, maximum });
        assert_eq!(of(Some(1_024), Some(1_048_576)), [1_048_576, 65_536, 10_240, 4_096].map(Some));
        assert_eq!(of(Some(1_024), Some(8_192)), [8_192, 4_096].map(Some));
        assert_eq!(of(Some(20_000), None), [None, Some(65_536)]);
        assert_eq!(of(Some(64), Some(64)), []);
        assert_eq!(of(None, None), []);
    }
}
