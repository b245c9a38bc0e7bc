//! Captions of a synthesis: the sentences with their times.

use bytes::Bytes;
use serde_json::json;

use super::{CaptionFacts, render};
use crate::domain::{
    body::Body,
    cut::SentenceRules,
    options::TranscriptFormat,
    synthesis::{CaptionFormat, TimedSentence},
    transcript::{TimedText, Transcript},
};

/// The sentences of a synthesis as a file of this format. In JSON, each sentence says whether its times are estimated; captions
/// break long sentences, by the `rules` of the language.
#[must_use]
pub fn synthesis_captions(
    format: CaptionFormat,
    sentences: &[TimedSentence],
    audio_ms: u64,
    rules: SentenceRules,
) -> (Bytes, CaptionFacts) {
    let format = match format {
        CaptionFormat::Json => return (in_json(sentences, audio_ms).into(), CaptionFacts::default()),
        CaptionFormat::Srt => TranscriptFormat::Srt,
        CaptionFormat::Vtt => TranscriptFormat::Vtt,
    };
    fn timed_text(s: &TimedSentence) -> TimedText<'_> {
        TimedText { text: &s.text, start_ms: s.start_ms, end_ms: s.end_ms, speaker: None }
    }
    let utterances = sentences.iter().map(timed_text).collect();
    let transcript = Transcript { utterances, duration_ms: Some(audio_ms), ..Transcript::default() };
    render(format, &transcript, &Body::from(""), rules).expect("memory takes what it is given")
}

fn in_json(sentences: &[TimedSentence], audio_ms: u64) -> String {
    let sentence = |s: &TimedSentence| json!({ "start_ms": s.start_ms, "end_ms": s.end_ms, "text": s.text, "part": s.part, "shared_out": s.shared_out });
    let note = "where `shared_out` is true, a part's time is shared out among its sentences by their characters";
    let all =
        json!({ "audio_ms": audio_ms, "note": note, "sentences": sentences.iter().map(sentence).collect::<Vec<_>>() });
    format!("{all:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sentence_has_its_caption() {
        let one =
            TimedSentence { text: "Press one & wait.".into(), start_ms: 0, end_ms: 1_500, part: 1, shared_out: false };
        let two = TimedSentence { text: "Or stay.".into(), start_ms: 2_100, end_ms: 3_300, part: 2, shared_out: true };
        let text = |format| {
            let sentences = [one.clone(), two.clone()];
            let (file, _) = synthesis_captions(format, &sentences, 3_300, SentenceRules::default());
            String::from_utf8(file.to_vec()).unwrap()
        };
        insta::assert_snapshot!(text(CaptionFormat::Srt), @"
        1
        00:00:00,000 --> 00:00:01,500
        Press one & wait.

        2
        00:00:02,100 --> 00:00:03,300
        Or stay.
        ");
        assert!(text(CaptionFormat::Vtt).contains("00:00:02.100 --> 00:00:03.300\nOr stay."));
        let json: serde_json::Value = serde_json::from_str(&text(CaptionFormat::Json)).unwrap();
        assert_eq!(
            (&json["sentences"][1]["start_ms"], &json["sentences"][1]["shared_out"]),
            (&2_100.into(), &true.into())
        );
    }
}
