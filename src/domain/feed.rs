//! How one batch makes lines of what another one has finished.

use serde::{Deserialize, Serialize};

use super::{job::JobState, options::listed};

listed! {
    /// Which lines of the other batch become lines.
    FeedFrom, "value of from" {
        /// Those that succeeded.
        Succeeded = "succeeded",
        /// The suspect ones too.
        All = "all",
    }
}

impl FeedFrom {
    /// Whether a line in this state becomes a line.
    #[must_use]
    pub const fn takes(self, state: JobState) -> bool {
        match state {
            JobState::Succeeded => true,
            JobState::Suspect => matches!(self, Self::All),
            _ => false,
        }
    }
}

/// What makes lines of the lines of another batch. If it changes, all of them are read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedSettings {
    /// The file of the definition, as an absolute path; none if the sources were given on the command line.
    pub file: Option<String>,
    /// The date of the batch, as `2026-11-20`.
    pub date: Option<String>,
    /// Which lines count as finished.
    pub from: FeedFrom,
    /// What the lines are made of: columns and templates, with their use.
    pub columns: Vec<(String, Vec<String>)>,
}

impl Default for FeedSettings {
    /// Of no file, and of lines that succeeded.
    fn default() -> Self {
        Self { file: None, date: None, from: FeedFrom::Succeeded, columns: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspect_line_is_taken_only_if_all_are() {
        let taken = |from: FeedFrom| -> Vec<_> { JobState::ALL.iter().filter(|state| from.takes(**state)).collect() };
        assert_eq!(taken(FeedFrom::Succeeded), [&JobState::Succeeded]);
        assert_eq!(taken(FeedFrom::All), [&JobState::Succeeded, &JobState::Suspect]);
    }
}
