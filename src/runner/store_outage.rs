//! Detects that the store of the recordings is down, for which no line is to blame.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use crate::domain::{job::JobId, s3::S3Address};

/// An outage needs this many different lines that fail in a row: one broken object is not an outage.
const LINES: usize = 3;

/// What a failed fetch says about the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FetchOutage {
    /// Nothing: the failure is the line's.
    Line,
    /// It is down, and has been since then.
    Down {
        /// In ms since 1970.
        since: i64,
        /// Whether this failure is the first that shows it.
        first: bool,
    },
}

/// The failures of one batch's store since its last success.
#[derive(Debug, Default)]
pub(super) struct StoreOutage {
    streak: Mutex<Streak>,
    /// The last object that it returned.
    given: Mutex<Option<S3Address>>,
}

#[derive(Debug, Default)]
struct Streak {
    since: i64,
    lines: HashSet<JobId>,
}

impl StoreOutage {
    /// Records that the store returned this object.
    pub(super) fn works(&self, at: &S3Address) {
        *self.streak.lock().unwrap_or_else(PoisonError::into_inner) = Streak::default();
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = Some(at.clone());
    }

    /// The last object that it returned in this run.
    pub(super) fn given(&self) -> Option<S3Address> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records that the store failed for this line.
    pub(super) fn failed(&self, line: JobId, now: i64) -> FetchOutage {
        let mut streak = self.streak.lock().unwrap_or_else(PoisonError::into_inner);
        if streak.lines.is_empty() {
            streak.since = now;
        }
        let before = streak.lines.len();
        if before < LINES {
            streak.lines.insert(line);
        }
        if streak.lines.len() < LINES {
            return FetchOutage::Line;
        }
        FetchOutage::Down { since: streak.since, first: before < LINES }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_takes_several_lines_in_a_row() {
        let outage = StoreOutage::default();
        for _ in 0..9 {
            assert_eq!(outage.failed(JobId(1), 10), FetchOutage::Line, "one broken object");
        }
        assert_eq!(outage.failed(JobId(2), 20), FetchOutage::Line);
        assert_eq!(outage.failed(JobId(3), 30), FetchOutage::Down { since: 10, first: true });
        assert_eq!(outage.failed(JobId(1), 40), FetchOutage::Down { since: 10, first: false });
        outage.works(&"s3://b/k".parse().unwrap());
        assert_eq!(outage.failed(JobId(4), 50), FetchOutage::Line);
    }
}
