//! Plain text: as the API wrote it, or a paragraph for each speaker's turn.

use super::{
    pieces::{Fullest, fullest, letters, sticks},
    speaker_name,
};
use crate::domain::transcript::{Spoken, Transcript};

pub(super) fn render(transcript: &Transcript) -> String {
    let turns = match fullest(transcript, |said| said.speaker.is_some()) {
        Some(Fullest::Utterances(said) | Fullest::Words(said)) if is_whole(said, &transcript.text) => turns(said),
        _ => transcript.text.trim().to_owned(),
    };
    if turns.is_empty() { turns } else { turns + "\n" }
}

/// Whether next to nothing of the text would be lost.
fn is_whole(said: &[Spoken], text: &str) -> bool {
    said.iter().map(|s| letters(&s.text)).sum::<usize>() * 20 >= letters(text) * 19
}

/// What nobody in particular said belongs to the turn it stands in.
fn turns(said: &[Spoken]) -> String {
    let (mut file, mut speaking) = (String::new(), None);
    for one in said {
        let text = one.text.trim();
        if one.speaker.is_some() && one.speaker != speaking {
            speaking = one.speaker;
            let name = speaking.map(speaker_name).unwrap_or_default();
            file.push_str(&format!("{}{name}: ", if file.is_empty() { "" } else { "\n\n" }));
        } else if !file.is_empty() && !sticks(&file, text) {
            file.push(' ');
        }
        file.push_str(text);
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::tests::spoken;

    #[test]
    fn each_turn_is_a_paragraph() {
        let mut t = Transcript {
            text: "Good morning. How are you? Fine.".into(),
            utterances: spoken(&[
                ("Good morning.", 0, 1, Some(0)),
                ("How are you?", 1, 2, Some(0)),
                ("Fine.", 2, 3, Some(1)),
            ]),
            ..Transcript::default()
        };
        let told = "Speaker 1: Good morning. How are you?\n\nSpeaker 2: Fine.\n";
        assert_eq!(render(&t), told);
        t.words = std::mem::take(&mut t.utterances);
        assert_eq!(render(&t), told);
        t.words.pop();
        assert_eq!(render(&t), "Good morning. How are you? Fine.\n", "no word is lost for want of a speaker");
    }

    #[test]
    fn without_speakers_the_text_stays_as_it_came() {
        let t = Transcript { text: " Two  spaces.\nTwo lines.\n".into(), ..Transcript::default() };
        assert_eq!(render(&t), "Two  spaces.\nTwo lines.\n");
    }
}
