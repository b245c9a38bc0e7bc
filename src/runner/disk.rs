//! A folder here that cannot be written: no line's fault, and told with what to do about it.

use std::{
    io,
    path::Path,
    sync::atomic::{AtomicI64, Ordering},
};

/// How long all lines that wait for it are told of with one word, in ms.
const TELL_AGAIN_MS: i64 = 60_000;

/// Where it happened, what the system said, and what helps.
pub(super) fn told(path: &Path, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "make it writable for this user",
        _ => "look at that disk",
    };
    format!("{} cannot be written ({error}); {remedy}", path.display())
}

/// When it was last told: a disk that is full befalls line after line.
#[derive(Debug, Default)]
pub(super) struct Telling(AtomicI64);

impl Telling {
    /// Whether it is to be told at `now`, in ms since 1970.
    pub(super) fn is_due(&self, now: i64) -> bool {
        let due = |last: i64| (now - last).abs() >= TELL_AGAIN_MS;
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| due(last).then_some(now)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn it_is_told_once_a_minute() {
        let telling = Telling::default();
        let at = [1_000_000, 1_000_001, 1_059_999, 1_060_000, 1_060_001, 10, 20].map(|now| telling.is_due(now));
        assert_eq!(at, [true, false, false, true, false, true, false], "also by a clock that was set back");
    }

    #[test]
    fn the_remedy_fits_what_the_system_said() {
        let said = |errno: Errno| told(Path::new("/spool"), &errno.into());
        assert!(said(Errno::NOSPC).starts_with("/spool cannot be written (No space left on device"));
        for (errno, remedy) in [
            (Errno::NOSPC, "make room there"),
            (Errno::DQUOT, "make room there"),
            (Errno::ROFS, "make it writable for this user"),
            (Errno::IO, "look at that disk"),
        ] {
            assert!(said(errno).ends_with(remedy), "{}", said(errno));
        }
    }
}
