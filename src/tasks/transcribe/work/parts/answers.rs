//! The answer to one call of several, and how good the answers of a plan are.

use crate::{
    domain::{
        body::Body,
        job::CallId,
        transcript::{SuspectReason, Transcript},
    },
    store::AnswerFacts,
    tasks::transcribe::work::plan::SentPart,
};

/// The answer for one part.
pub(super) struct CallInHand {
    pub(super) part: i64,
    pub(super) sent: SentPart,
    pub(super) call: CallId,
    pub(super) body: Body,
    /// The parsed answer, if it was parsed before.
    pub(super) transcript: Option<Transcript>,
    pub(super) facts: AnswerFacts,
    pub(super) words_asked: bool,
    /// Whether more than one call for it may have been billed.
    pub(super) paid_again: bool,
}

/// Why a part is suspect.
pub(super) struct Doubt {
    pub(super) part: i64,
    pub(super) reason: SuspectReason,
    /// The reason for users.
    pub(super) words: String,
}

/// How good a plan's answers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Reasons for which they cannot be right.
    pub(super) doubts: usize,
    /// Whether the first of them is that words are missing.
    pub(super) lacks_words: bool,
    /// Letters of the transcript.
    pub(super) letters: usize,
}

impl Verdict {
    /// Whether it is to be kept instead of the first one: fewer doubts, or as many and more words where words are missing.
    pub(super) const fn is_better_than(self, first: &Self) -> bool {
        self.doubts < first.doubts || (self.doubts == first.doubts && first.lacks_words && self.letters > first.letters)
    }
}

/// Whether words are missing if this is so.
pub(super) const fn lacks_words(reason: SuspectReason) -> bool {
    use SuspectReason::{CutOff, Empty, OneSided, Sparse, Unheard};
    matches!(reason, CutOff | Empty | OneSided | Sparse | Unheard)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_better_answers_are_kept() {
        let of = |doubts, lacks_words, letters| Verdict { doubts, lacks_words, letters };
        assert!(of(0, false, 10).is_better_than(&of(1, true, 500)), "without doubts, though shorter");
        assert!(!of(1, false, 500).is_better_than(&of(0, false, 10)));
        assert!(of(1, true, 500).is_better_than(&of(1, true, 10)), "more of what is missing");
        assert!(!of(1, false, 500).is_better_than(&of(1, false, 10)), "a loop is not better for being longer");
        assert!(!of(2, true, 500).is_better_than(&of(1, true, 10)));
        assert!(!of(1, true, 10).is_better_than(&of(1, true, 10)), "of equals, the first");
        assert!(lacks_words(SuspectReason::Unheard) && !lacks_words(SuspectReason::Invented));
    }
}
