//! SubRip: `Speaker 1: ` at the start of a turn.
//!
//! The format has no escapes, and players take `<i>` and `{\an8}` for markup. What would be markup is written so that it looks the
//! same and is none: a word joiner (U+2060, invisible) after `<`, and after a `\` before `N`, `n` or `h`; braces in their
//! wide form (`｛…｝`), because some players hide all that stands between braces. Tried with FFmpeg's reader and libass.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use super::{
    captions::{CaptionFacts, captions},
    clock, speaker_name,
};
use crate::domain::{cut::SentenceRules, transcript::Transcript};

/// An invisible character that breaks what a player would read as markup.
const WORD_JOINER: char = '\u{2060}';

pub(super) fn write(transcript: &Transcript, rules: SentenceRules, out: &mut impl Write) -> io::Result<CaptionFacts> {
    let captions = captions(transcript, true, rules);
    for (nth, cue) in captions.iter().enumerate() {
        let name = cue.speaker.filter(|_| cue.turn).map(|speaker| speaker_name(transcript, speaker));
        let label = name.map(|name| format!("{}: ", escape(&name))).unwrap_or_default();
        let text = escape(cue.text);
        let (start, end) = (clock(cue.start_ms, ','), clock(cue.end_ms, ','));
        write!(out, "{}\n{start} --> {end}\n{label}{text}\n\n", nth + 1)?;
    }
    Ok(captions.facts())
}

fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['<', '{', '}', '\\']) && !text.contains("-->") {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '{' => escaped.push('｛'),
            '}' => escaped.push('｝'),
            _ => escaped.push(c),
        }
        let starts_markup = match c {
            '<' => rest.peek().is_some_and(|next| !next.is_whitespace()),
            '\\' => rest.peek().is_some_and(|next| matches!(next, 'N' | 'n' | 'h')),
            _ => false,
        };
        if starts_markup {
            escaped.push(WORD_JOINER);
        }
    }
    // A player would read an arrow in a text as a line of times.
    escaped.replace("-->", "-- >").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::tests::{of_two_roles, timed_text, written};

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
        insta::assert_snapshot!(written(|out| write(&t, SentenceRules::default(), out)), @"
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

    #[test]
    fn roles_are_names() {
        let file = written(|out| write(&of_two_roles(), SentenceRules::default(), out));
        insta::assert_snapshot!(file.replace(WORD_JOINER, "[joiner]"), @r"
        1
        00:00:00,160 --> 00:00:01,520
        agent: Good morning.

        2
        00:00:01,520 --> 00:00:02,880
        How can I help?

        3
        00:00:03,100 --> 00:00:05,029
        <[joiner]i>A & B ｛\an8｝: My order,
        number seven, has not come.

        4
        00:00:05,029 --> 00:00:05,450
        agent: Mhm.

        5
        00:00:05,450 --> 00:00:07,000
        <[joiner]i>A & B ｛\an8｝: I called twice.
        ");
    }

    #[test]
    fn markup_is_shown_as_it_is() {
        assert_eq!(escape("<i>a</i> {\\an8}b"), "<\u{2060}i>a<\u{2060}/i> ｛\\an8｝b");
        assert_eq!(escape("1 < 2, a --> b, c:\\new"), "1 < 2, a -- > b, c:\\\u{2060}new");
        assert_eq!(escape("plain"), "plain");
    }
}
