//! Faults of this machine, its disks and mounts. No line is to blame, and the message says what to do.

use std::{
    io,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use crate::{domain::retry::LOCAL_WAIT_MS, io_fault};

/// The interval between two messages about the same fault, in ms: one message stands for all lines that wait.
const REPEAT_MS: i64 = 60_000;

/// Where it happened, what the system reported, and what helps.
#[must_use]
pub fn message(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be written ({error}); {}", path.display(), io_fault::remedy(error))
}

/// When the message was last sent: a full disk affects line after line.
#[derive(Debug, Default)]
pub(super) struct MessageInterval(AtomicI64);

impl MessageInterval {
    /// Whether a message is due at `now`, in ms since 1970.
    pub(super) fn is_due(&self, now: i64) -> bool {
        let due = |last: i64| (now - last).abs() >= REPEAT_MS;
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| due(last).then_some(now)).is_ok()
    }
}

/// How long this machine, a disk or a mount has prevented the sources of a batch from being read.
#[derive(Debug, Default)]
pub(super) struct LocalOutage(Mutex<Option<(i64, String)>>);

impl LocalOutage {
    /// Records a failure at `now`, in ms since 1970.
    pub(super) fn failed(&self, now: i64, message: &str) {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = failing.as_ref().map_or(now, |(since, _)| *since);
        *failing = Some((since, message.to_owned()));
    }

    /// A recording was read to its end.
    pub(super) fn works(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The reason, if nothing could be read for `limit` ms. The period starts again when the pause is lifted.
    pub(super) fn too_long(&self, now: i64, limit: i64) -> Option<String> {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, message) = failing.take_if(|(since, _)| now - *since >= limit)?;
        Some(format!("no recording could be read for {} min: {message}", limit / 60_000))
    }
}

/// The delay before this machine's failed work is tried again, in ms.
pub(super) const AGAIN_MS: i64 = LOCAL_WAIT_MS.cast_signed();

/// The end of a message about a line that waits.
pub(super) fn again() -> String {
    format!("its lines are tried again every {} s", LOCAL_WAIT_MS / 1_000)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn it_is_told_once_a_minute() {
        let interval = MessageInterval::default();
        let at = [1_000_000, 1_000_001, 1_059_999, 1_060_000, 1_060_001, 10, 20].map(|now| interval.is_due(now));
        assert_eq!(at, [true, false, false, true, false, true, false], "also by a clock that was set back");
    }

    #[test]
    fn an_outage_of_the_machine_is_measured_from_its_beginning() {
        let outage = LocalOutage::default();
        assert_eq!(outage.too_long(10, 60_000), None);
        outage.failed(1_000, "`a.wav` cannot be read");
        outage.failed(50_000, "`b.wav` cannot be read");
        assert_eq!(outage.too_long(60_999, 60_000), None);
        assert_eq!(
            outage.too_long(61_000, 60_000).as_deref(),
            Some("no recording could be read for 1 min: `b.wav` cannot be read")
        );
        assert_eq!(outage.too_long(200_000, 60_000), None, "after a pause it begins again");
        outage.failed(200_000, "x");
        outage.works();
        assert_eq!(outage.too_long(900_000, 60_000), None);
    }

    #[test]
    fn the_remedy_fits_what_the_system_said() {
        let said = |errno: Errno| message(Path::new("/spool"), &errno.into());
        assert!(said(Errno::NOSPC).starts_with("/spool cannot be written (No space left on device"));
        for (errno, remedy) in [
            (Errno::NOSPC, "make room there"),
            (Errno::DQUOT, "make room there"),
            (Errno::ROFS, "make it writable for this user"),
            (Errno::IO, "look at that disk or mount"),
            (Errno::MFILE, "raise the limit of open files (`ulimit -n`, LimitNOFILE=)"),
        ] {
            assert!(said(errno).ends_with(remedy), "{}", said(errno));
        }
    }
}
