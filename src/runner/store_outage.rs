//! When the store of the recordings is down, which is no line's fault.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use crate::domain::{job::JobId, s3::S3Address};

/// So many different lines in a row have to fail: one broken object is not an outage.
const LINES: usize = 3;

/// What a failed fetch says about the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FetchOutage {
    /// Nothing: it is the line's trouble.
    Line,
    /// It is down, and has been since then.
    Down {
        /// In ms since 1970.
        since: i64,
        /// Whether this is the first that shows it.
        first: bool,
    },
}

/// The failures of one batch's store since it last gave something.
#[derive(Debug, Default)]
pub(super) struct StoreOutage {
    streak: Mutex<Streak>,
    /// What it gave last.
    given: Mutex<Option<S3Address>>,
}

#[derive(Debug, Default)]
struct Streak {
    since: i64,
    lines: HashSet<JobId>,
}

impl StoreOutage {
    /// It gave this.
    pub(super) fn works(&self, at: &S3Address) {
        *self.streak.lock().unwrap_or_else(PoisonError::into_inner) = Streak::default();
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = Some(at.clone());
    }

    /// What it gave last in this run.
    pub(super) fn given(&self) -> Option<S3Address> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It did not, for this line.
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
