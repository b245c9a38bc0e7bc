//! WebVTT: speakers as voice spans.

use std::io::{self, Write};

use super::{
    captions::{CaptionFacts, captions},
    clock, speaker_name,
};
use crate::domain::{
    cut::SentenceRules,
    transcript::{TimedText, Transcript},
};

pub(super) fn write(transcript: &Transcript, rules: SentenceRules, out: &mut impl Write) -> io::Result<CaptionFacts> {
    out.write_all(b"WEBVTT\n\n")?;
    let captions = captions(transcript, false, rules);
    for cue in captions.iter() {
        let name = cue.speaker.map(|speaker| speaker_name(transcript, speaker));
        let voice = name.map(|name| format!("<v {}>", escape(&name))).unwrap_or_default();
        let text = escape(cue.text);
        let (start, end) = (clock(cue.start_ms, '.'), clock(cue.end_ms, '.'));
        write!(out, "{start} --> {end}\n{voice}{text}\n\n")?;
    }
    Ok(captions.facts())
}

/// Cues in which each word has its time: `<00:00:01.250>` stands before it. The first word of a cue begins with the cue.
pub(super) fn write_words(
    transcript: &Transcript,
    words: &[TimedText<'_>],
    rules: SentenceRules,
    out: &mut impl Write,
) -> io::Result<CaptionFacts> {
    out.write_all(b"WEBVTT\n\n")?;
    let captions = captions(transcript, false, rules);
    // A word may have spaces in it, such as one before a dash.
    let mut pieces = words.iter().flat_map(|word| {
        let starts = std::iter::once(Some(word.start_ms)).chain(std::iter::repeat(None));
        word.text.split_whitespace().zip(starts)
    });
    for cue in captions.iter() {
        let (start, end) = (clock(cue.start_ms, '.'), clock(cue.end_ms, '.'));
        writeln!(out, "{start} --> {end}")?;
        for line in cue.text.lines() {
            for (nth, piece) in line.split(' ').filter(|piece| !piece.is_empty()).enumerate() {
                let space = if nth == 0 { "" } else { " " };
                let at = pieces.next().and_then(|(own, at)| at.filter(|_| own == piece));
                let at = at.filter(|at| (cue.start_ms + 1..cue.end_ms).contains(at));
                let tag = at.map(|at| format!("<{}>", clock(at, '.'))).unwrap_or_default();
                write!(out, "{space}{tag}{}", escape(piece))?;
            }
            out.write_all(b"\n")?;
        }
        out.write_all(b"\n")?;
    }
    Ok(captions.facts())
}

/// Escapes what WebVTT knows as markup; braces have no meaning in it.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::tests::{of_two_roles, timed_text, written};

    #[test]
    fn voices_are_marked_and_markup_is_escaped() {
        let t = Transcript {
            utterances: timed_text(&[("Salt & <pepper> --> done.", 0, 2000, Some(0)), ("Yes.", 2100, 2500, None)]),
            ..Transcript::default()
        };
        insta::assert_snapshot!(written(|out| write(&t, SentenceRules::default(), out)), @"
        WEBVTT

        00:00:00.000 --> 00:00:02.000
        <v Speaker 1>Salt &amp; &lt;pepper&gt; --&gt; done.

        00:00:02.100 --> 00:00:03.100
        Yes.
        ");
    }

    #[test]
    fn roles_are_voices() {
        insta::assert_snapshot!(written(|out| write(&of_two_roles(), SentenceRules::default(), out)), @r"
        WEBVTT

        00:00:00.160 --> 00:00:01.520
        <v agent>Good morning.

        00:00:01.520 --> 00:00:02.880
        <v agent>How can I help?

        00:00:03.100 --> 00:00:05.029
        <v &lt;i&gt;A &amp; B {\an8}>My order, number seven, has not come.

        00:00:05.029 --> 00:00:05.450
        <v agent>Mhm.

        00:00:05.450 --> 00:00:07.000
        <v &lt;i&gt;A &amp; B {\an8}>I called twice.
        ");
    }
}
