//! A transcript: read leniently from the API's answer, and checked for plausibility.

mod alarms;
mod reading;
#[cfg(test)]
mod reading_tests;
mod restore;
mod spoken;
mod stitch;
mod text;
mod timeline;
mod turns;

use serde::Serialize;
use serde_json::Value;

use self::reading::to_millis;
pub use self::{
    alarms::{Alarm, AlarmLimits, alarm, alarm_of_mix},
    reading::{AnswerDetail, AnswerReading, TextField},
    restore::Restored,
    spoken::{SpokenTurn, spoken_words},
    stitch::{Answered, Stitched},
    text::{letters, sticks},
    timeline::{TimedText, Timeline},
    turns::{Conversation, NamedSide, Side, Speaker, Turn},
};
use super::{
    body::{Arrived, Arriving, Body, Reader},
    length::Length,
    options::listed,
    vendor_log::LogEntry,
};

/// Silence of this length needs no words, and lengths may differ by this much.
const SLACK_MS: u64 = 2_000;
/// How long after the audio's end a word may begin: decoders and encoders add a little.
const LATE_MS: u64 = 500;

/// A transcription, whichever model made it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transcript {
    /// The whole text.
    pub text: String,
    /// Words in order of time; empty unless word times were requested, or if no word has a time.
    pub words: Timeline,
    /// Utterances in order of time; Pulse only.
    pub utterances: Timeline,
    /// Length of the audio as the API measured it.
    pub duration_ms: Option<u64>,
    /// Language, if the answer has it (Pulse Pro).
    pub language: Option<String>,
    /// The vendor's request id, if the answer has it (Pulse Pro).
    pub request_id: Option<String>,
    /// The names of the speakers, if they have any: the first is speaker 0.
    pub speaker_names: Vec<String>,
}

/// Why an answer is not a transcription.
#[derive(Debug, thiserror::Error)]
pub enum TranscriptError {
    /// Not JSON.
    #[error("the answer is not JSON")]
    NotJson(#[source] serde_json::Error),
    /// The answer is not an object with a `transcription` string.
    #[error("the answer has no `transcription`")]
    NoText,
    /// The stored answer cannot be unpacked.
    #[error("what is kept of the answer is damaged")]
    Damaged(#[source] std::io::Error),
}

impl From<serde_json::Error> for TranscriptError {
    fn from(error: serde_json::Error) -> Self {
        if error.is_io() { Self::Damaged(error.into()) } else { Self::NotJson(error) }
    }
}

impl Transcript {
    /// Reads an answer as the API sent it. Only the text is required: every other field is taken if it is valid
    /// and omitted if not, because the stored answer keeps everything.
    ///
    /// # Errors
    /// The answer is not JSON or has no `transcription`.
    pub fn parse(answer: &[u8]) -> Result<Self, TranscriptError> {
        Self::read(Reader::Whole(answer), AnswerDetail::All)
    }

    /// Reads a stored answer.
    ///
    /// # Errors
    /// As for [`Transcript::parse`], or the stored answer is damaged.
    pub fn of(answer: &Body) -> Result<Self, TranscriptError> {
        Self::of_kept(answer, AnswerDetail::All)
    }

    /// Only the text of an answer, without reading its words.
    ///
    /// # Errors
    /// As for [`Transcript::of`].
    pub fn text_of(answer: &Body) -> Result<String, TranscriptError> {
        Self::of_kept(answer, AnswerDetail::Text).map(|transcript| transcript.text)
    }

    fn of_kept(answer: &Body, want: AnswerDetail) -> Result<Self, TranscriptError> {
        if answer.is_large() {
            return Self::read(answer.reader(), want);
        }
        let whole = answer.whole().map_err(TranscriptError::Damaged)?;
        Self::read(Reader::Whole(&whole), want)
    }

    fn read(answer: Reader<'_>, want: AnswerDetail) -> Result<Self, TranscriptError> {
        let reading = AnswerReading::of(answer, want)?;
        if reading.transcription == Some(true) { Ok(reading.transcript) } else { Err(TranscriptError::NoText) }
    }

    /// A result found in the vendor's log: text and length (in seconds), no words.
    #[must_use]
    pub fn from_log(text: impl Into<String>, duration_s: Option<f64>) -> Self {
        Self { text: text.into(), duration_ms: duration_s.and_then(to_millis), ..Self::default() }
    }

    /// Whether the API transcribed nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// Whether any words or utterances have times.
    #[must_use]
    pub fn has_times(&self) -> bool {
        !(self.words.is_empty() && self.utterances.is_empty())
    }

    /// Whether words or utterances have times that audio of this length in ms does not have.
    #[must_use]
    pub fn goes_beyond(&self, length_ms: u64) -> bool {
        let beyond = |said: TimedText<'_>| {
            said.start_ms > length_ms.saturating_add(LATE_MS) || said.end_ms > length_ms.saturating_add(SLACK_MS)
        };
        self.words.iter().chain(self.utterances.iter()).any(beyond)
    }

    /// Whether speakers are distinguished.
    #[must_use]
    pub fn has_speakers(&self) -> bool {
        self.utterances.iter().any(|u| u.speaker.is_some()) || self.words.iter().any(|w| w.speaker.is_some())
    }
}

/// The answer to store for a result that was found in the vendor's log, in the shape that [`Transcript::parse`] reads.
#[must_use]
pub fn recovered_answer(text: &str, entry: &LogEntry) -> Body {
    #[derive(Serialize)]
    struct Recovered<'a> {
        status: &'a str,
        transcription: &'a str,
        words: [(); 0],
        utterances: [(); 0],
        language: &'a str,
        metadata: Metadata,
        request_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        emotions: Option<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        gender: Option<&'a str>,
        recovered: bool,
    }
    #[derive(Serialize)]
    struct Metadata {
        duration: Option<f64>,
    }
    let answer = Recovered {
        status: "success",
        transcription: text,
        words: [],
        utterances: [],
        language: &entry.language,
        metadata: Metadata { duration: entry.duration_s },
        request_id: &entry.request_id,
        // An object if the log has one, else the log's text.
        emotions: entry
            .emotions
            .as_ref()
            .map(|said| serde_json::from_str(said).unwrap_or_else(|_| said.as_str().into())),
        gender: entry.gender.as_deref(),
        recovered: true,
    };
    let mut written = Arriving::default();
    serde_json::to_writer(&mut written, &answer).expect("numbers and strings are JSON, and memory takes them");
    Arrived::into_body(written.finish())
}

listed! {
    /// Why a result cannot be right although the API said success. A closed list.
    SuspectReason, "suspect reason" {
        /// No text for more than two seconds of audio; of a chat, a reply without text.
        Empty = "empty",
        /// The API heard another length than the file has: part of the recording may be missing.
        DurationMismatch = "duration_mismatch",
        /// Words have times after the end of the recording.
        WordsBeyond = "words_beyond",
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
        /// The level jumps between two parts.
        LevelJump = "level_jump",
        /// A format needs word times, and the answer has none.
        WordsLost = "words_lost",
        /// Somebody speaks in the recording, and the transcript has no words.
        Unheard = "unheard",
        /// Somebody speaks long after the last word; of a chat, the reply ends at `max_tokens` or at the end of the context.
        CutOff = "cut_off",
        /// There are words where nobody speaks.
        Invented = "invented",
        /// There are very few words for so much speech.
        Sparse = "sparse",
        /// One phrase comes again and again, more often than it can be said.
        Looped = "looped",
        /// Two channels speak, and the words are those of one.
        OneSided = "one_sided",
        /// The reply does not fit its JSON Schema, and did not after its repairs either; or an analysis has not what its metrics ask for.
        Schema = "schema",
        /// The vendor's filter stopped the reply.
        Filtered = "filtered",
        /// The reply quotes what does not stand in its source.
        Ungrounded = "ungrounded",
    }
}

impl SuspectReason {
    /// The reason as a sentence for users.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Empty => {
                "the transcript is empty though there is over 2 s of audio; allow_silence = true accepts that"
            }
            Self::DurationMismatch => "the API heard another length than the file has: part of it may be missing",
            Self::WordsBeyond => {
                "words have times after the end of the audio; captions keep those times, and may not fit the recording"
            }
            Self::TooShort => "the speech is shorter than its text can be",
            Self::TooLong => "the speech is much longer than its text takes",
            Self::Silent => "the speech is silent",
            Self::HalfSilent => "long silences take much of the speech",
            Self::Clipped => "the speech is so loud that it is cut off",
            Self::ConstantSound => "the speech is one constant sound",
            Self::LevelJump => "the level jumps between two parts",
            Self::Unheard => "somebody speaks in the recording, and the transcript has no words",
            Self::CutOff => "somebody speaks long after the last word: the end may be missing",
            Self::Invented => "there are words where nobody speaks",
            Self::Sparse => "there are very few words for so much speech: parts may be missing",
            Self::OneSided => "two channels speak, and the words are those of one",
            Self::Schema => "the reply does not fit its JSON Schema",
            Self::Filtered => "the vendor's filter stopped the reply",
            Self::Ungrounded => "the reply quotes what does not stand in its source",
            Self::Looped => "one phrase comes again and again, more often than it can be said",
            Self::WordsLost => "there are no word times, which srt and vtt need; `wavebatch retry` pays for them",
        }
    }
}

/// Why this transcript cannot be right, if there is a reason.
///
/// `length` is the recording's. If it is not exact, another length in the answer proves nothing. If no length is known at all,
/// an empty text is suspect.
#[must_use]
pub fn suspect(
    transcript: &Transcript,
    length: Length,
    allow_silence: bool,
    words_needed: bool,
) -> Option<SuspectReason> {
    // The answer may be of a part of the recording: the longer of two lengths without proof counts.
    let with_words = length.exact_ms().or(length.ms().max(transcript.duration_ms));
    if transcript.is_empty() && !allow_silence && with_words.is_none_or(|ms| ms > SLACK_MS) {
        return Some(SuspectReason::Empty);
    }
    if let (Some(ours), Some(theirs)) = (length.exact_ms(), transcript.duration_ms) {
        let apart = ours.abs_diff(theirs);
        if apart > SLACK_MS && apart.saturating_mul(20) > ours {
            return Some(SuspectReason::DurationMismatch);
        }
    }
    if length.exact_ms().is_some_and(|ms| transcript.goes_beyond(ms)) {
        return Some(SuspectReason::WordsBeyond);
    }
    (words_needed && !transcript.is_empty() && !transcript.has_times()).then_some(SuspectReason::WordsLost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_alone_is_the_one_that_all_of_it_has() {
        let twice = r#"{"transcription":"first","transcription":"last"}"#;
        assert_eq!(Transcript::text_of(&twice.into()).unwrap(), "last");
        assert_eq!(Transcript::parse(twice.as_bytes()).unwrap().text, "last");
        assert!(matches!(Transcript::text_of(&"{".into()), Err(TranscriptError::NotJson(_))));
    }

    #[test]
    fn reads_pulse_with_speakers_of_both_spellings() {
        let t = Transcript::parse(
            br#"{"status":"success","transcription":"Hello, how","words":[
                {"start":0.16,"end":1.12,"speaker":0,"speaker_confidence":1,"word":"Hello,","confidence":0.99},
                {"start":1.12,"end":1.36,"speaker":"speaker_1","word":"how"}],
              "utterances":[{"start":0.16,"end":2.88,"speaker":0,"text":"Hello, how"}],
              "metadata":{"duration":5.28,"fileSize":465740},"gender":"female","new":{"a":1}}"#,
        )
        .unwrap();
        let hello = TimedText { text: "Hello,", start_ms: 160, end_ms: 1120, speaker: Some(0) };
        let how = TimedText { text: "how", start_ms: 1120, end_ms: 1360, speaker: Some(1) };
        assert!(t.words.iter().eq([hello, how]));
        assert_eq!(t.utterances.iter().next().unwrap().end_ms, 2880);
        assert_eq!((t.duration_ms, t.request_id), (Some(5280), None));
    }

    #[test]
    fn reads_pulse_pro() {
        let t = Transcript::parse(
            br#"{"status":"success","transcription":"Hi.","words":[{"word":"Hi.","start":0.24,"end":1.2}],"language":"en",
              "metadata":{"duration":5.28,"rtfx":30.7},"totalBytes":1,"request_id":"36e9"}"#,
        )
        .unwrap();
        assert_eq!((t.language.as_deref(), t.request_id.as_deref()), (Some("en"), Some("36e9")));
        assert!(!t.has_speakers() && t.has_times());
    }

    #[test]
    fn nonsense_around_the_text_is_left_out() {
        let t = Transcript::parse(
            br#"{"transcription":"a b c d","words":[{"word":"a","start":-3,"end":"NaN"},{"word":"c","start":"5.5","end":1,"speaker":-1},
              {"word":"d"},{"word":"b","start":2,"end":null,"speaker":{}},7,{"start":1},{"word":" "}],
              "utterances":{},"metadata":{"duration":"long"},"language":7}"#,
        )
        .unwrap();
        let read: Vec<_> = t.words.iter().map(|w| (w.text, w.start_ms, w.end_ms, w.speaker)).collect();
        assert_eq!(
            read,
            [("a", 0, 0, None), ("b", 2000, 2000, None), ("c", 5500, 5500, None), ("d", 5500, 5500, None)]
        );
        assert_eq!((t.duration_ms, t.language), (None, None));
        assert!(!Transcript::parse(br#"{"transcription":"a","words":[{"word":"a"}]}"#).unwrap().has_times());
    }

    #[test]
    fn no_text_is_no_transcript() {
        assert!(matches!(Transcript::parse(b"<html>"), Err(TranscriptError::NotJson(_))));
        for answer in ["{}", "[]", r#"{"transcription":null}"#] {
            assert!(matches!(Transcript::parse(answer.as_bytes()), Err(TranscriptError::NoText)), "{answer}");
        }
    }

    #[test]
    fn a_recovered_answer_reads_like_any_other() {
        let entry = |duration_s| LogEntry { duration_s, language: "en".into(), ..LogEntry::named("r1") };
        let kept = recovered_answer("hi \"you\"", &entry(Some(3.5)));
        let t = Transcript::of(&kept).unwrap();
        assert_eq!((t.text.as_str(), t.duration_ms, t.request_id.as_deref()), ("hi \"you\"", Some(3500), Some("r1")));
        assert_eq!(Transcript::from_log("hi \"you\"", Some(3.5)).duration_ms, Some(3500));
        assert_eq!(Transcript::of(&recovered_answer("", &entry(None))).unwrap().duration_ms, None);
        let heard = |emotions: &str| {
            let entry = LogEntry { emotions: Some(emotions.into()), gender: Some("female".into()), ..entry(None) };
            serde_json::from_slice::<Value>(&recovered_answer("hi", &entry).whole().unwrap()).unwrap()
        };
        let json = heard(r#"{"calm":0.7}"#);
        assert_eq!((&json["emotions"]["calm"], &json["gender"]), (&0.7.into(), &"female".into()));
        assert_eq!(heard("neutral, calm")["emotions"], "neutral, calm");
    }

    #[test]
    fn an_empty_text_is_suspect_beyond_two_seconds() {
        let silent = |seconds| Transcript::from_log(" \n", seconds);
        let empty = Some(SuspectReason::Empty);
        assert_eq!(suspect(&silent(Some(2.0)), Length::Unknown, false, true), None);
        assert_eq!(suspect(&silent(Some(2.1)), Length::Unknown, false, true), empty);
        assert_eq!(suspect(&silent(Some(2.1)), Length::Exact(1_000), false, true), None);
        assert_eq!(suspect(&silent(Some(9.0)), Length::Estimated(1_000), false, true), empty, "the API heard 9 s");
        assert_eq!(suspect(&silent(Some(0.03)), Length::Estimated(13_700), false, true), empty, "a wrong header");
        assert_eq!(suspect(&silent(None), Length::Unknown, false, false), empty);
        assert_eq!(suspect(&silent(Some(9.0)), Length::Unknown, true, true), None);
    }

    #[test]
    fn another_length_is_suspect_only_where_ours_is_exact() {
        let heard = |seconds| Transcript::from_log("text", Some(seconds));
        let wrong = Some(SuspectReason::DurationMismatch);
        assert_eq!(suspect(&heard(7.9), Length::Exact(10_000), false, false), wrong);
        assert_eq!(suspect(&heard(8.0), Length::Exact(10_000), false, false), None);
        assert_eq!(suspect(&heard(97.0), Length::Exact(100_000), false, false), None);
        assert_eq!(suspect(&heard(106.0), Length::Exact(100_000), false, false), wrong);
        assert_eq!(suspect(&heard(1.0), Length::Estimated(100_000), false, false), None);
    }

    #[test]
    fn words_after_the_end_of_the_audio_are_suspect() {
        let said = |start_ms, end_ms, duration_ms| {
            let words = [TimedText { text: "late", start_ms, end_ms, speaker: None }].into_iter().collect();
            Transcript { text: "late".into(), words, duration_ms, ..Transcript::default() }
        };
        let beyond = Some(SuspectReason::WordsBeyond);
        assert_eq!(suspect(&said(100_000, 100_400, Some(5_000)), Length::Exact(5_000), false, true), beyond);
        assert_eq!(suspect(&said(100_000, 100_400, None), Length::Exact(5_000), false, false), beyond);
        assert_eq!(suspect(&said(4_000, 7_100, None), Length::Exact(5_000), false, true), beyond, "it ends too late");
        assert_eq!(suspect(&said(5_400, 5_900, None), Length::Exact(5_000), false, true), None, "an encoder's delay");
        for length in [Length::Unknown, Length::Estimated(1_000)] {
            assert_eq!(suspect(&said(60_000, 60_400, Some(5_000)), length, false, true), None, "nothing proves it");
        }
    }

    #[test]
    fn captions_without_words_are_suspect() {
        let mut t = Transcript::from_log("text", Some(5.0));
        assert_eq!(suspect(&t, Length::Unknown, false, true), Some(SuspectReason::WordsLost));
        assert_eq!(suspect(&t, Length::Unknown, false, false), None);
        t.utterances.push(TimedText { text: "text", start_ms: 0, end_ms: 5, speaker: None });
        assert_eq!(suspect(&t, Length::Unknown, false, true), None);
    }
}
