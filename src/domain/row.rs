//! The closed lists that a report's row draws from: its status and its notes.

use super::{options::listed, transcript::SuspectReason};

listed! {
    /// What the report says of a line.
    RowStatus, "status" {
        /// Done, and nothing speaks against the result.
        Succeeded = "succeeded",
        /// The API said success, and the result cannot be right; the notes say why.
        Suspect = "suspect",
        /// Given up; `error_kind` and `error` say why.
        Failed = "failed",
        /// The line names no source.
        Skipped = "skipped",
        /// Cancelled by the user.
        Cancelled = "cancelled",
        /// Not begun, or waiting for its next try.
        Queued = "queued",
        /// Being worked on.
        Running = "running",
        /// The vendor has it, and its answer is awaited.
        Awaiting = "awaiting",
    }
}

impl RowStatus {
    /// Whether nothing more happens to the line unless the user asks for it.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Awaiting)
    }
}

listed! {
    /// What a reader of the report should know of a line besides its status. Joined by `;`.
    Note, "note" {
        /// The answer is the local stand-in's, not the API's.
        Sandbox = "sandbox",
        /// The answer was lost on its way, and its text was found in the vendor's log.
        Recovered = "recovered",
        /// The answer has no word times; times of captions are shared out over the recording.
        WordsLost = "words_lost",
        /// It was bought without word times, and formats that need them were asked for later; times of captions are shared
        /// out over the recording.
        WordsNotAsked = "words_not_asked",
        /// The API heard another length than the file has.
        DurationMismatch = "duration_mismatch",
        /// No text for more than two seconds of audio.
        Empty = "empty",
        /// The speech is shorter than its text can be.
        TooShort = "too_short",
        /// The recording has several channels, and the API works on one.
        Stereo = "stereo",
        /// Redaction was asked for in a language in which the API does nothing.
        NotRedacted = "not_redacted",
        /// Speakers were asked for, and the answer names none.
        NoSpeakers = "no_speakers",
        /// The content's deletion was asked for, and the answer says it was not applied.
        NotExpiring = "not_expiring",
        /// At least one of its calls may have been paid for in vain.
        PaidAgain = "paid_again",
        /// The outputs were there before this ledger knew the line (`submit --adopt`); nothing was bought.
        Adopted = "adopted",
        /// The manifest lacks its line now.
        Gone = "gone",
        /// Its line asks for another voice or format now, or its file is another line's.
        Dropped = "dropped",
        /// The answer was pruned; other formats need it bought again.
        AnswerPruned = "answer_pruned",
    }
}

impl From<SuspectReason> for Note {
    fn from(reason: SuspectReason) -> Self {
        match reason {
            SuspectReason::Empty => Self::Empty,
            SuspectReason::DurationMismatch => Self::DurationMismatch,
            SuspectReason::TooShort => Self::TooShort,
            SuspectReason::WordsLost => Self::WordsLost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_statuses_is_the_documented_one() {
        assert_eq!(
            RowStatus::NAMES,
            ["succeeded", "suspect", "failed", "skipped", "cancelled", "queued", "running", "awaiting"]
        );
        assert_eq!(RowStatus::ALL.iter().filter(|s| s.is_finished()).count(), 5);
    }

    #[test]
    fn a_suspicion_is_noted_in_its_own_words() {
        for reason in SuspectReason::ALL {
            assert_eq!(Note::from(*reason).as_str(), reason.as_str());
        }
    }
}
