//! Plain text: the API's own text, or a paragraph for each speaker's turn.

use std::io::{self, Write};

use super::{
    pieces::{TimedSource, fullest},
    speaker_name,
};
use crate::domain::transcript::{Timeline, Transcript, letters, sticks};

pub(super) fn write(transcript: &Transcript, out: &mut impl Write) -> io::Result<()> {
    let whole = transcript.text.trim();
    let is_empty = match fullest(transcript, |said| said.speaker.is_some()) {
        Some(TimedSource::Utterances(said) | TimedSource::Words(said)) if is_whole(said, whole) => {
            write_turns(transcript, said, out)?;
            said.is_empty()
        }
        _ => {
            out.write_all(whole.as_bytes())?;
            whole.is_empty()
        }
    };
    if is_empty { Ok(()) } else { out.write_all(b"\n") }
}

/// Whether almost all of the text is contained.
fn is_whole(said: &Timeline, text: &str) -> bool {
    said.iter().map(|s| letters(s.text)).sum::<usize>() * 20 >= letters(text) * 19
}

/// Text without a speaker belongs to the turn that surrounds it.
fn write_turns(transcript: &Transcript, said: &Timeline, out: &mut impl Write) -> io::Result<()> {
    let (mut before, mut speaking): (Option<char>, _) = (None, None);
    for one in said.iter() {
        let text = one.text.trim();
        if one.speaker.is_some() && one.speaker != speaking {
            speaking = one.speaker;
            let name = speaking.map(|speaker| speaker_name(transcript, speaker)).unwrap_or_default();
            write!(out, "{}{name}: ", if before.is_none() { "" } else { "\n\n" })?;
        } else if before.is_some_and(|last| !sticks(last, text)) {
            out.write_all(b" ")?;
        }
        out.write_all(text.as_bytes())?;
        before = text.chars().next_back().or(before);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::tests::{of_two_roles, timed_text, written};

    fn render(transcript: &Transcript) -> String {
        written(|out| write(transcript, out))
    }

    #[test]
    fn each_turn_is_a_paragraph() {
        let mut t = Transcript {
            text: "Good morning. How are you? Fine.".into(),
            utterances: timed_text(&[
                ("Good morning.", 0, 1, Some(0)),
                ("How are you?", 1, 2, Some(0)),
                ("Fine.", 2, 3, Some(1)),
            ]),
            ..Transcript::default()
        };
        let message = "Speaker 1: Good morning. How are you?\n\nSpeaker 2: Fine.\n";
        assert_eq!(render(&t), message);
        t.words = std::mem::take(&mut t.utterances);
        assert_eq!(render(&t), message);
        t.words = t.words.iter().take(2).collect();
        assert_eq!(render(&t), "Good morning. How are you? Fine.\n", "no word is lost for want of a speaker");
    }

    #[test]
    fn roles_are_names() {
        insta::assert_snapshot!(render(&of_two_roles()), @r"
        agent: Good morning. How can I help?

        <i>A & B {\an8}: My order, number seven, has not come.

        agent: Mhm.

        <i>A & B {\an8}: I called twice.
        ");
    }

    #[test]
    fn without_speakers_the_text_stays_as_it_came() {
        let t = Transcript { text: " Two  spaces.\nTwo lines.\n".into(), ..Transcript::default() };
        assert_eq!(render(&t), "Two  spaces.\nTwo lines.\n");
    }
}
