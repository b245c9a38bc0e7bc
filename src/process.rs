//! The process itself: limits set at its start (the maximum number of open files, no core dumps), and what it uses.

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

/// Lets other programs go first when processors are scarce: for work that nobody waits for, beside work that somebody
/// does. It holds for threads that are started from now on. Where the system refuses, nothing changes.
pub fn go_last() {
    const NICER: i32 = 10;
    let _ = rustix::process::nice(NICER);
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

/// What this process uses now. What the system does not say is `None`; so far only Linux is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessUse {
    /// Seconds of processor time, of the program and of the system for it.
    pub cpu_seconds: Option<f64>,
    /// Memory in use, in bytes.
    pub resident_bytes: Option<u64>,
    /// Address space in use, in bytes.
    pub virtual_bytes: Option<u64>,
    /// Open files, sockets and pipes.
    pub open_files: Option<u64>,
    /// The most of them, if there is a limit.
    pub most_open_files: Option<u64>,
    /// When the process started, in seconds since 1970.
    pub started_at: Option<f64>,
}

/// What this process uses now. It reads a few small files that the kernel makes up, and no disk.
#[cfg(target_os = "linux")]
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "exact for hundreds of years of ticks")]
pub fn in_use() -> ProcessUse {
    let most_open_files = getrlimit(Resource::Nofile).current;
    let Ok(process) = procfs::process::Process::myself() else { return ProcessUse::default() };
    let Ok(stat) = process.stat() else { return ProcessUse::default() };
    let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
    ProcessUse {
        cpu_seconds: Some(seconds(stat.utime + stat.stime)),
        resident_bytes: Some(stat.rss.saturating_mul(procfs::page_size())),
        virtual_bytes: Some(stat.vsize),
        open_files: process.fd_count().ok().and_then(|n| u64::try_from(n).ok()),
        most_open_files,
        started_at: procfs::boot_time_secs().ok().map(|boot| boot as f64 + seconds(stat.starttime)),
    }
}

/// What this process uses now: other systems are not asked.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn in_use() -> ProcessUse {
    ProcessUse::default()
}

/// A process of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: i32,
    /// The name of its program, if it can be seen.
    pub program: Option<String>,
}

/// The processes that hold a write lock on this byte of a file. Nobody, where the system does not say.
#[cfg(target_os = "linux")]
#[must_use]
pub fn lock_holders(file: &std::path::Path, byte: u64) -> Vec<Holder> {
    use std::os::unix::fs::MetadataExt;

    let (Ok(meta), Ok(locks)) = (std::fs::metadata(file), procfs::locks()) else { return Vec::new() };
    let is_it = |lock: &procfs::Lock| {
        lock.inode == meta.ino()
            && matches!(lock.kind, procfs::LockKind::Write)
            && lock.offset_first <= byte
            && lock.offset_last.is_none_or(|last| byte <= last)
    };
    let holder = |pid| {
        let stat = procfs::process::Process::new(pid).and_then(|process| process.stat());
        Holder { pid, program: stat.ok().map(|stat| stat.comm) }
    };
    locks.iter().filter(|lock| is_it(lock)).filter_map(|lock| lock.pid).map(holder).collect()
}

/// The processes that hold a write lock on this byte of a file: other systems are not asked.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn lock_holders(_: &std::path::Path, _: u64) -> Vec<Holder> {
    Vec::new()
}

/// The user's home directory, if it is known.
#[must_use]
pub fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_process_uses_is_plausible() {
        let before = in_use();
        // So many that what other tests open meanwhile does not count.
        let files: Vec<_> = (0..300).map(|_| std::fs::File::open("/proc/self/stat").unwrap()).collect();
        let after = in_use();
        drop(files);
        assert!(after.open_files.unwrap() > before.open_files.unwrap() + 150, "{before:?} {after:?}");
        assert!(after.most_open_files.is_none_or(|most| most >= after.open_files.unwrap()));
        assert!(after.resident_bytes.unwrap() > 1_000_000 && after.virtual_bytes > after.resident_bytes);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - after.started_at.unwrap();
        assert!((-2.0..86_400.0).contains(&age), "{age}");
        assert!((0.0..age.max(0.0) * 1_000.0 + 10.0).contains(&after.cpu_seconds.unwrap()), "{after:?}");
    }

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
