//! Transcripts as files: one format, one file.

use bytes::Bytes;

use crate::domain::{options::TranscriptFormat, transcript::Transcript};

mod captions;
#[cfg(test)]
mod file_tests;
mod lines;
mod pieces;
mod speech;
mod srt;
mod timing;
mod txt;
mod vtt;

pub use captions::{Cue, cues};
pub use speech::speech_captions;

/// The transcript as a file of this format. `answer` is what the API sent (or what was kept of a recovered result),
/// and is the JSON file as it is.
///
/// Captions of a transcript without any times share the text out over the recording.
#[must_use]
pub fn render(format: TranscriptFormat, transcript: &Transcript, answer: &Bytes) -> Bytes {
    match format {
        TranscriptFormat::Json => answer.clone(),
        TranscriptFormat::Txt => txt::render(transcript).into(),
        TranscriptFormat::Srt => srt::render(transcript).into(),
        TranscriptFormat::Vtt => vtt::render(transcript).into(),
    }
}

/// Speakers are counted from 0 by the API, and from 1 by people.
fn speaker_name(speaker: u32) -> String {
    format!("Speaker {}", u64::from(speaker) + 1)
}

/// `01:02:03,004`
fn clock(ms: u64, decimal: char) -> String {
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{decimal}{:03}", ms % 1_000)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::transcript::Spoken;

    /// `("text", start, end, speaker)`, in milliseconds.
    pub(crate) fn spoken(list: &[(&str, u64, u64, Option<u32>)]) -> Vec<Spoken> {
        let one = |&(text, start_ms, end_ms, speaker): &(&str, u64, u64, Option<u32>)| Spoken {
            text: text.to_owned(),
            start_ms,
            end_ms,
            speaker,
        };
        list.iter().map(one).collect()
    }

    #[test]
    fn json_is_the_answer_byte_for_byte() {
        let answer = Bytes::from_static(b"{ \"transcription\":\"\\u00e9\",\"new\": 1.50}\n");
        let transcript = Transcript::parse(&answer).unwrap();
        assert_eq!(render(TranscriptFormat::Json, &transcript, &answer), answer);
        assert_eq!(render(TranscriptFormat::Txt, &transcript, &answer), "é\n");
    }

    #[test]
    fn nothing_said_is_an_empty_file_of_each_format() {
        let (nothing, answer) = (Transcript::default(), Bytes::new());
        assert_eq!(render(TranscriptFormat::Txt, &nothing, &answer), "");
        assert_eq!(render(TranscriptFormat::Srt, &nothing, &answer), "");
        assert_eq!(render(TranscriptFormat::Vtt, &nothing, &answer), "WEBVTT\n\n");
    }

    #[test]
    fn the_clock_does_not_wrap_at_a_day() {
        assert_eq!(clock(3_723_004, ','), "01:02:03,004");
        assert_eq!(clock(360_000_000, '.'), "100:00:00.000");
    }
}
