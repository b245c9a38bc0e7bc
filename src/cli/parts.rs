//! The parts of a synthesis job, as text.

use std::str::FromStr;

use super::words::{counted, grouped, shorten, table};
use crate::app::{
    JobParts, PartState, PartStatus,
    views::{JobPartView, JobPartsView},
};
use crate::domain::{printable::visible, synthesis_options::TtsLanguage};

/// The width of a part's first words, in columns.
const FIRST_WORDS: usize = 60;

/// A moment in joined audio, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment(pub(super) u64);

/// `avery, wav at 24000 Hz`
pub(super) fn who(job: &JobParts) -> String {
    let request = &job.request;
    let voice = spoken_by(request.voice_id.as_deref().unwrap_or_default(), job.language);
    let format = request.output_format.map(|format| format!(", {format}")).unwrap_or_default();
    let rate = request.sample_rate.map(|rate| format!(" at {rate} Hz")).unwrap_or_default();
    format!("{voice}{format}{rate}")
}

/// The voice, and the language if the line has one of its own: `meher (hi)`
pub(super) fn spoken_by(voice: &str, language: Option<TtsLanguage>) -> String {
    let language = language.map(|language| format!(" ({language})")).unwrap_or_default();
    format!("{voice}{language}")
}

/// The first words of a part, for one line of a message.
pub(super) fn first_words(part: &PartStatus) -> String {
    shorten(&part.part.text, FIRST_WORDS)
}

/// Converts a part number, which counts from 1, to an index.
pub(super) fn numbered(job: &JobParts, number: u32) -> Result<usize, String> {
    let nth = usize::try_from(number).unwrap_or(usize::MAX).wrapping_sub(1);
    match job.parts.get(nth) {
        Some(part) if part.state == PartState::Silent => {
            Err(format!("part {number} has no words: {}", first_words(part)))
        }
        Some(_) => Ok(nth),
        None => Err(format!("there is no part {number}; it has {}", counted(job.parts.len() as u64, "part"))),
    }
}

/// The index of the part at a moment of the audio.
pub(super) fn heard_at(job: &JobParts, moment: Moment) -> Result<usize, String> {
    let at = clock(moment.0);
    job.heard_at(moment.0).ok_or_else(|| match job.end_ms() {
        Some(end) => format!("{at} is outside; it lasts {}", clock(end)),
        None => {
            let known = clock(job.known_to_ms());
            format!(
                "what is heard at {at} is not known: the spool has its parts only up to {known}; name it with --part"
            )
        }
    })
}

/// A table below a headline.
pub(super) fn in_full(job: &JobPartsView, width: usize) -> String {
    let long = job.audio_seconds.map(|length| format!(", {}", clock(length.0))).unwrap_or_default();
    let count = counted(job.parts.len() as u64, "part");
    let row = |part: &JobPartView| {
        vec![
            part.part.to_string(),
            part.start_seconds.map_or_else(|| "?".into(), |start| clock(start.0)),
            grouped(part.characters as u64),
            part.state.to_owned(),
            shorten(&part.text, FIRST_WORDS),
        ]
    };
    let rows: Vec<_> = job.parts.iter().map(row).collect();
    let voice = spoken_by(&job.voice_id, job.language);
    let who = format!("{voice}, {} at {} Hz", job.output_format, job.sample_rate);
    let head = format!("{}, line {}, {who}: {}, {count}{long}\n", job.key, job.line, job.state);
    head + &table(&["part", "start", "chars", "state", ""], &rows, &[0, 1, 2], width)
}

/// `00:12:34.500`
pub(super) fn clock(ms: u64) -> String {
    let s = ms / 1_000;
    format!("{:02}:{:02}:{:02}.{:03}", s / 3_600, s / 60 % 60, s % 60, ms % 1_000)
}

/// `00:12:34`, `12:34`, `754.2`
impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("`{}` is no moment; write e.g. 00:12:34, 12:34 or 754.2", visible(&text));
        let digits = |text: &str, most: usize| {
            let good = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            good.then(|| text.parse::<u64>().ok()).flatten().ok_or_else(fault)
        };
        let (whole, decimals) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
        let fields: Vec<&str> = whole.split(':').collect();
        let mut seconds = 0;
        for (nth, field) in fields.iter().enumerate() {
            let value = digits(field, 9)?;
            if fields.len() > 3 || nth > 0 && value > 59 {
                return Err(fault());
            }
            seconds = seconds * 60 + value;
        }
        let ms = match decimals {
            None => 0,
            // Digits below a millisecond are cut off.
            Some(decimals) => digits(decimals, 9).and_then(|_| digits(&format!("{decimals}00")[..3], 3))?,
        };
        Ok(Self(seconds * 1_000 + ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_players_show_them() {
        let read = |text: &str| text.parse::<Moment>().map(|moment| moment.0);
        for (text, ms) in [
            ("00:12:34", 754_000),
            ("12:34", 754_000),
            ("754.2", 754_200),
            ("754", 754_000),
            ("0:00.0004", 0),
            ("1:00:00.125", 3_600_125),
            ("90:00", 5_400_000),
        ] {
            assert_eq!(read(text), Ok(ms), "{text}");
        }
        for bad in ["", ":", "1:60", "1:2:3:4", "-1", "1e3", "1.", ".5", "1:-2", "1,5", "nan", "1:99:00", "9999999999"]
        {
            assert!(read(bad).unwrap_err().contains("write e.g. 00:12:34"), "{bad}");
        }
        assert_eq!([0, 754_200, 360_000_001].map(clock), ["00:00:00.000", "00:12:34.200", "100:00:00.001"]);
    }
}
