//! Transcripts as files: one file for each format.

use std::io::{self, Write};

use bytes::Bytes;

use crate::domain::{body::Body, cut::SentenceRules, options::TranscriptFormat, transcript::Transcript};

#[cfg(test)]
mod book_tests;
mod captions;
mod conversation;
#[cfg(test)]
mod file_tests;
mod lines;
mod pieces;
mod srt;
mod synthesis;
mod timing;
mod txt;
mod vtt;

pub use captions::{CaptionFacts, Captions, Cue, captions};
pub use conversation::{CallAnswer, conversation_json, joined_json};
pub use synthesis::synthesis_captions;

/// Writes the transcript as a file of this format. `answer` is the API's response (or what was kept of a recovered result), and
/// is written unchanged as the JSON file. `rules` say where the sentences of captions end. Returns what should be known about the
/// captions.
///
/// If a transcript has no times, captions distribute the text over the recording.
///
/// # Errors
/// `out` cannot be written, or the kept answer is damaged.
pub fn write(
    format: TranscriptFormat,
    transcript: &Transcript,
    answer: &Body,
    rules: SentenceRules,
    out: &mut impl Write,
) -> io::Result<CaptionFacts> {
    let none = CaptionFacts::default();
    match format {
        TranscriptFormat::Json => io::copy(&mut answer.reader(), out).map(|_| none),
        TranscriptFormat::Txt => txt::write(transcript, out).map(|()| none),
        TranscriptFormat::Srt => srt::write(transcript, rules, out),
        TranscriptFormat::Vtt => vtt::write(transcript, rules, out),
    }
}

/// The same in memory.
///
/// # Errors
/// The kept answer is damaged.
pub fn render(
    format: TranscriptFormat,
    transcript: &Transcript,
    answer: &Body,
    rules: SentenceRules,
) -> io::Result<(Bytes, CaptionFacts)> {
    if format == TranscriptFormat::Json {
        return Ok((answer.whole()?, CaptionFacts::default()));
    }
    let mut file = Vec::new();
    let facts = write(format, transcript, answer, rules, &mut file)?;
    Ok((file.into(), facts))
}

/// A speaker's name on one line, never empty. The API counts speakers from 0, and readers from 1.
fn speaker_name(transcript: &Transcript, speaker: u32) -> String {
    let nth = usize::try_from(speaker).unwrap_or(usize::MAX);
    let own = transcript.speaker_names.get(nth).map_or("", String::as_str);
    let words = own.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    match words.collect::<Vec<_>>().join(" ") {
        none if none.is_empty() => format!("Speaker {}", u64::from(speaker) + 1),
        name => name,
    }
}

/// `01:02:03,004`
fn clock(ms: u64, decimal: char) -> String {
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{decimal}{:03}", ms % 1_000)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::transcript::{TimedText, Timeline};

    /// `("text", start, end, speaker)`, in milliseconds.
    pub(crate) fn timed_text(list: &[(&str, u64, u64, Option<u32>)]) -> Timeline {
        list.iter().map(|&(text, start_ms, end_ms, speaker)| TimedText { text, start_ms, end_ms, speaker }).collect()
    }

    /// The output of `write` as text.
    pub(crate) fn written<T>(write: impl FnOnce(&mut Vec<u8>) -> io::Result<T>) -> String {
        let mut file = Vec::new();
        write(&mut file).unwrap();
        String::from_utf8(file).unwrap()
    }

    fn file(format: TranscriptFormat, transcript: &Transcript, answer: &Body) -> String {
        let rules = SentenceRules::default();
        let rendered = render(format, transcript, answer, rules).unwrap().0;
        assert_eq!(written(|out| write(format, transcript, answer, rules, out)).as_bytes(), rendered);
        String::from_utf8(rendered.into()).unwrap()
    }

    #[test]
    fn json_is_the_answer_byte_for_byte() {
        for spaces in ["", &" ".repeat(2_000)] {
            let answer = format!("{{ \"transcription\":\"\\u00e9\",\"new\": 1.50}}\n{spaces}");
            let kept = Body::from(answer.as_str());
            let transcript = Transcript::of(&kept).unwrap();
            assert_eq!(file(TranscriptFormat::Json, &transcript, &kept), answer);
            assert_eq!(file(TranscriptFormat::Txt, &transcript, &kept), "é\n");
        }
    }

    #[test]
    fn nothing_said_is_an_empty_file_of_each_format() {
        let (nothing, answer) = (Transcript::default(), Body::from(""));
        assert_eq!(file(TranscriptFormat::Txt, &nothing, &answer), "");
        assert_eq!(file(TranscriptFormat::Srt, &nothing, &answer), "");
        assert_eq!(file(TranscriptFormat::Vtt, &nothing, &answer), "WEBVTT\n\n");
    }

    /// A conversation of two roles, one of which is all markup.
    pub(crate) fn of_two_roles() -> Transcript {
        Transcript {
            text: "Good morning. How can I help?\nMy order, number seven, has not come.\nMhm.\nI called twice.".into(),
            utterances: timed_text(&[
                ("Good morning. How can I help?", 160, 2_880, Some(0)),
                ("My order, number seven, has not come.", 3_100, 5_400, Some(1)),
                ("Mhm.", 4_300, 4_600, Some(0)),
                ("I called twice.", 5_450, 7_000, Some(1)),
            ]),
            duration_ms: Some(8_000),
            speaker_names: vec!["agent".into(), "<i>A & B\n{\\an8}".into()],
            ..Transcript::default()
        }
    }

    #[test]
    fn a_name_is_one_line_and_never_empty() {
        let own = ["agent", " a\r\n\n b\u{0}", " \n", ""].map(str::to_owned);
        let transcript = Transcript { speaker_names: own.to_vec(), ..Transcript::default() };
        let names: Vec<_> = (0..5).map(|speaker| speaker_name(&transcript, speaker)).collect();
        assert_eq!(names, ["agent", "a b", "Speaker 3", "Speaker 4", "Speaker 5"]);
    }

    #[test]
    fn the_clock_does_not_wrap_at_a_day() {
        assert_eq!(clock(3_723_004, ','), "01:02:03,004");
        assert_eq!(clock(360_000_000, '.'), "100:00:00.000");
    }
}
