//! Policies for faulty lines.

use crate::domain::options::listed;

listed! {
    /// What happens to a manifest's bad lines.
    BadLines, "policy for bad lines" {
        /// Any bad line stops the submission.
        Fault = "fault",
        /// The good lines are submitted; a bad line is in the report as failed.
        Skip = "skip",
    }
}

listed! {
    /// What happens to a line that names no recording.
    NoSource, "policy for lines without a source" {
        /// It is a bad line.
        Fault = "fault",
        /// The line has nothing to do and is in the report as skipped.
        Skip = "skip",
    }
}
