//! The closed lists of a report's row: its status and its notes.

use super::{options::listed, transcript::SuspectReason};

listed! {
    /// A line's status in the report.
    RowStatus, "status" {
        /// The line is finished, and nothing is wrong with its result.
        Succeeded = "succeeded",
        /// The API said success, and the result cannot be right. The notes say why. The outputs are there.
        Suspect = "suspect",
        /// The line failed. `error_kind` and `error` say why.
        Failed = "failed",
        /// The line names no source or text, and `no_source` or `no_text` is `skip`.
        Skipped = "skipped",
        /// You cancelled the line.
        Cancelled = "cancelled",
        /// The line is not started, or waits for its next try.
        Queued = "queued",
        /// A worker works on the line.
        Running = "running",
        /// The vendor works on the line, and its callback is awaited.
        Awaiting = "awaiting",
    }
}

impl RowStatus {
    /// Whether nothing more happens to the line unless the user requests it.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        !matches!(self, Self::Queued | Self::Running | Self::Awaiting)
    }
}

listed! {
    /// What a reader of the report should know about a line in addition to its status. Joined by `;`.
    Note, "note" {
        /// The answer is the local stand-in's, not the API's.
        Sandbox = "sandbox",
        /// The answer was lost in transit, and its text was found in the vendor's log.
        Recovered = "recovered",
        /// Word times were requested, and the answer has none. Captions distribute the text over the recording.
        WordsLost = "words_lost",
        /// Somebody speaks in the recording, and the transcript has no words.
        Unheard = "unheard",
        /// Somebody speaks long after the last word.
        CutOff = "cut_off",
        /// There are words where nobody speaks.
        Invented = "invented",
        /// There are very few words for so much speech.
        Sparse = "sparse",
        /// One phrase comes again and again, more often than it can be said.
        Looped = "looped",
        /// Two channels speak, and the words are those of one.
        OneSided = "one_sided",
        /// The reply does not fit its JSON Schema, or an analysis has not what its metrics ask for.
        Schema = "schema",
        /// The vendor's filter stopped the reply.
        Filtered = "filtered",
        /// The reply quotes what does not stand in its source.
        Ungrounded = "ungrounded",
        /// The reply fits its JSON Schema only since it was sent back to the model with what was wrong.
        Repaired = "repaired",
        /// The transcript was paid for without word times, and captions were requested later. Captions distribute the text over
        /// the recording.
        WordsNotAsked = "words_not_asked",
        /// No times of words came with some of the speech: the voice sent none, or it was bought without them. Its captions share out
        /// the times by characters. `--rebuy` buys it again.
        WordsEstimated = "words_estimated",
        /// Words had times that cannot be: beyond the audio, overlapping, far too long. Captions have them mended.
        TimesMended = "times_mended",
        /// A caption has more than 21 characters a second: too many to read.
        FastCaptions = "fast_captions",
        /// The API heard another length than the file has: part of the recording may be missing.
        DurationMismatch = "duration_mismatch",
        /// Words have times after the end of the recording. Captions keep those times.
        WordsBeyond = "words_beyond",
        /// No text for more than two seconds of audio.
        Empty = "empty",
        /// The audio is shorter than its text can be.
        TooShort = "too_short",
        /// The audio is much longer than its text takes.
        TooLong = "too_long",
        /// The audio is silent.
        Silent = "silent",
        /// Long silences take much of the audio.
        HalfSilent = "half_silent",
        /// The audio is so loud that its samples are cut off.
        Clipped = "clipped",
        /// The audio is one constant sound.
        ConstantSound = "constant_sound",
        /// The level jumps between two parts of the audio.
        LevelJump = "level_jump",
        /// The recording does not prove its own length. Another length in the answer is no reason for doubt.
        LengthNotExact = "length_not_exact",
        /// The recording's header declares another length than the file has: it is cut short, or the header is wrong.
        HeaderDiffers = "header_differs",
        /// The recording has several channels, and the API processes one.
        Stereo = "stereo",
        /// Nobody speaks in the recording. It was not sent, and its outputs are empty.
        NoSpeech = "no_speech",
        /// The channels were to be transcribed one by one, and the recording has one.
        OneChannel = "one_channel",
        /// Both channels have the same sound. They were sent as one.
        DualMono = "dual_mono",
        /// Somebody speaks on one channel alone. The others were not sent.
        OneSide = "one_side",
        /// The recording was sent in several pieces, whose answers are joined.
        Stitched = "stitched",
        /// At a joint of two pieces no word of both is the same: words may be missing or doubled there.
        DoubtfulJoint = "doubtful_joint",
        /// The speakers of one piece could not be found in the next one: one person may have several numbers.
        SpeakersByPiece = "speakers_by_piece",
        /// Long silences were cut out before the recording was sent.
        Trimmed = "trimmed",
        /// The speech of all channels was sent in one call.
        Packed = "packed",
        /// The words of a packed recording could not be told apart, and its channels were paid for one by one.
        PackedInVain = "packed_in_vain",
        /// The line was tried another way (`retry --with`), and that answer is the better one.
        OtherWay = "other_way",
        /// The line was tried another way (`retry --with`), and the first answer is the better one.
        FirstWay = "first_way",
        /// The recording could not be heard before it was sent: its format needs ffmpeg, or it is damaged.
        NotHeard = "not_heard",
        /// The file has no header, and sounds as if it had another encoding than `raw` says: A-law and µ-law are easily mistaken.
        RawDiffers = "raw_differs",
        /// The recording was converted before it was sent, since the API does not list its format, or as `prepare` says.
        Converted = "converted",
        /// Redaction was requested in a language in which the API does nothing.
        NotRedacted = "not_redacted",
        /// Speakers were requested, and the answer names none.
        NoSpeakers = "no_speakers",
        /// The content's deletion was requested, and the answer says that it was not applied.
        NotExpiring = "not_expiring",
        /// At least one call for this line may have been billed in vain.
        PaidAgain = "paid_again",
        /// The outputs existed before this ledger knew the line (`submit --adopt`). Nothing was paid for.
        Adopted = "adopted",
        /// The manifest no longer has the line. It stays in totals and in the report.
        Gone = "gone",
        /// The line now requests another voice, format or language, or another line owns its file. Reports show it only with `--with-dropped`.
        Dropped = "dropped",
        /// What the line was made of has no result any more in the batch that feeds this one: its result is of what it was.
        UpstreamChanged = "upstream_changed",
        /// The answer was pruned, and neither the earlier report nor the outputs have its transcript. Another format has to be paid for.
        AnswerPruned = "answer_pruned",
        /// The line was forgotten (`wavebatch forget`). Its key, state, cost and times are left.
        Forgotten = "forgotten",
    }
}

impl From<SuspectReason> for Note {
    fn from(reason: SuspectReason) -> Self {
        match reason {
            SuspectReason::Empty => Self::Empty,
            SuspectReason::DurationMismatch => Self::DurationMismatch,
            SuspectReason::WordsBeyond => Self::WordsBeyond,
            SuspectReason::TooShort => Self::TooShort,
            SuspectReason::TooLong => Self::TooLong,
            SuspectReason::Silent => Self::Silent,
            SuspectReason::HalfSilent => Self::HalfSilent,
            SuspectReason::Clipped => Self::Clipped,
            SuspectReason::ConstantSound => Self::ConstantSound,
            SuspectReason::LevelJump => Self::LevelJump,
            SuspectReason::WordsLost => Self::WordsLost,
            SuspectReason::Unheard => Self::Unheard,
            SuspectReason::CutOff => Self::CutOff,
            SuspectReason::Invented => Self::Invented,
            SuspectReason::Sparse => Self::Sparse,
            SuspectReason::Looped => Self::Looped,
            SuspectReason::OneSided => Self::OneSided,
            SuspectReason::Schema => Self::Schema,
            SuspectReason::Filtered => Self::Filtered,
            SuspectReason::Ungrounded => Self::Ungrounded,
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
