//! SubRip: `Speaker 1: ` at the start of a turn.

use std::io::{self, Write};

use super::{captions::captions, clock, speaker_name};
use crate::domain::transcript::Transcript;

pub(super) fn write(transcript: &Transcript, out: &mut impl Write) -> io::Result<()> {
    for (nth, cue) in captions(transcript, true).iter().enumerate() {
        let label = cue.speaker.filter(|_| cue.turn).map(|s| format!("{}: ", speaker_name(s))).unwrap_or_default();
        // A player would read an arrow in a text as a line of times.
        let text = cue.text.replace("-->", "-- >");
        let (start, end) = (clock(cue.start_ms, ','), clock(cue.end_ms, ','));
        write!(out, "{}\n{start} --> {end}\n{label}{text}\n\n", nth + 1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::tests::{timed_text, written};

    #[test]
    fn speakers_are_named_when_their_turn_begins() {
        let t = Transcript {
            utterances: timed_text(&[
                ("Good morning, what can I do for you?", 160, 2880, Some(0)),
                ("My order has not come.", 3100, 5000, Some(1)),
                ("I gave the number --> last week.", 5050, 7000, Some(1)),
            ]),
            duration_ms: Some(7_500),
            ..Transcript::default()
        };
        insta::assert_snapshot!(written(|out| write(&t, out)), @"
        1
        00:00:00,160 --> 00:00:02,880
        Speaker 1: Good morning,
        what can I do for you?

        2
        00:00:03,100 --> 00:00:05,000
        Speaker 2: My order has not come.

        3
        00:00:05,050 --> 00:00:07,000
        I gave the number -- > last week.
        ");
    }
}
