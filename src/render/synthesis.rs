//! Captions of a synthesis: the sentences and the words with their times.

use bytes::Bytes;
use serde_json::json;

use super::{CaptionFacts, render, vtt};
use crate::domain::{
    body::Body,
    cut::SentenceRules,
    options::TranscriptFormat,
    synthesis::{CaptionFile, TimedSentence, TimedWord},
    transcript::{TimedText, Transcript},
};

/// The sentences of a synthesis as a file of captions. In JSON, each sentence or word says whether its times are estimated;
/// captions break long sentences, by the `rules` of the language, and at the times of words where there are any.
#[must_use]
pub fn synthesis_captions(
    file: CaptionFile,
    sentences: &[TimedSentence],
    audio_ms: u64,
    rules: SentenceRules,
) -> (Bytes, CaptionFacts) {
    let format = match file {
        CaptionFile::Json => return (in_json(sentences, audio_ms).into(), CaptionFacts::default()),
        CaptionFile::WordsJson => return (words_in_json(sentences, audio_ms).into(), CaptionFacts::default()),
        CaptionFile::WordsVtt => {
            let words: Vec<TimedText<'_>> = words_of(sentences).collect();
            let transcript = Transcript {
                words: words.iter().copied().collect(),
                duration_ms: Some(audio_ms),
                ..Transcript::default()
            };
            let mut out = Vec::new();
            let facts = vtt::write_words(&transcript, &words, rules, &mut out).expect("memory takes what it is given");
            return (out.into(), facts);
        }
        CaptionFile::Srt => TranscriptFormat::Srt,
        CaptionFile::Vtt => TranscriptFormat::Vtt,
    };
    let mut transcript = Transcript { duration_ms: Some(audio_ms), ..Transcript::default() };
    if sentences.iter().any(|sentence| sentence.is_measured) {
        transcript.words = words_of(sentences).collect();
    } else {
        fn timed_text(s: &TimedSentence) -> TimedText<'_> {
            TimedText { text: &s.text, start_ms: s.start_ms, end_ms: s.end_ms, speaker: None }
        }
        transcript.utterances = sentences.iter().map(timed_text).collect();
    }
    render(format, &transcript, &Body::from(""), rules).expect("memory takes what it is given")
}

fn words_of(sentences: &[TimedSentence]) -> impl Iterator<Item = TimedText<'_>> {
    let words = sentences.iter().flat_map(|sentence| &sentence.words);
    words.map(|own| TimedText { text: &own.text, start_ms: own.start_ms, end_ms: own.end_ms, speaker: None })
}

fn words_in_json(sentences: &[TimedSentence], audio_ms: u64) -> String {
    let words = sentences.iter().flat_map(|sentence| {
        sentence.words.iter().map(move |word| {
            json!({ "start_ms": word.start_ms, "end_ms": word.end_ms, "text": word.text, "part": sentence.part, "shared_out": !sentence.is_measured })
        })
    });
    let note = "where `shared_out` is true, a part's time is shared out among its words by their characters";
    let all = json!({ "audio_ms": audio_ms, "note": note, "words": words.collect::<Vec<_>>() });
    format!("{all:#}\n")
}

fn in_json(sentences: &[TimedSentence], audio_ms: u64) -> String {
    let sentence = |s: &TimedSentence| {
        let mut own = json!({ "start_ms": s.start_ms, "end_ms": s.end_ms, "text": s.text, "part": s.part, "shared_out": s.shared_out });
        if s.is_measured {
            let word = |w: &TimedWord| json!({ "start_ms": w.start_ms, "end_ms": w.end_ms, "text": w.text });
            own["words"] = s.words.iter().map(word).collect();
        }
        own
    };
    let note = "where `shared_out` is true, a part's time is shared out among its sentences by their characters";
    let all =
        json!({ "audio_ms": audio_ms, "note": note, "sentences": sentences.iter().map(sentence).collect::<Vec<_>>() });
    format!("{all:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(text: &str, start_ms: u64, part: usize, shared_out: bool) -> TimedSentence {
        let words = text.split(' ').zip((0u64..).map(|nth| start_ms + nth * 300));
        let words = words.map(|(text, at)| TimedWord { text: text.into(), start_ms: at + 20, end_ms: at + 290 });
        let words: Vec<_> = words.collect();
        let end_ms = start_ms + words.len() as u64 * 300;
        TimedSentence { text: text.into(), start_ms, end_ms, part, shared_out, words, is_measured: false }
    }

    fn text(file: CaptionFile, sentences: &[TimedSentence]) -> String {
        let audio_ms = sentences.last().unwrap().end_ms;
        let (file, _) = synthesis_captions(file, sentences, audio_ms, SentenceRules::default());
        String::from_utf8(file.to_vec()).unwrap()
    }

    #[test]
    fn each_sentence_has_its_caption() {
        let sentences =
            [sentence("Press one & wait here.", 0, 1, false), sentence("Or stay, now and then.", 2_100, 2, true)];
        let text = |file| text(file, &sentences);
        insta::assert_snapshot!(text(CaptionFile::Srt), @"
        1
        00:00:00,000 --> 00:00:01,500
        Press one & wait here.

        2
        00:00:02,100 --> 00:00:03,600
        Or stay, now and then.
        ");
        assert!(text(CaptionFile::Vtt).contains("00:00:02.100 --> 00:00:03.600\nOr stay, now and then."));
        let json: serde_json::Value = serde_json::from_str(&text(CaptionFile::Json)).unwrap();
        let second = &json["sentences"][1];
        assert_eq!((&second["start_ms"], &second["shared_out"]), (&2_100.into(), &true.into()));
        assert_eq!(second.get("words"), None, "estimated words are only where they are asked for");
    }

    #[test]
    fn each_word_has_its_time() {
        let measured = |own| TimedSentence { is_measured: true, ..own };
        let sentences = [
            measured(sentence("Press one & wait < here.", 0, 1, false)),
            sentence("Or stay, now and then.", 2_100, 2, true),
        ];
        let text = |file| text(file, &sentences);
        insta::assert_snapshot!(text(CaptionFile::WordsVtt), @"
        WEBVTT

        00:00:00.020 --> 00:00:01.790
        Press <00:00:00.320>one <00:00:00.620>&amp; <00:00:00.920>wait <00:00:01.220>&lt; <00:00:01.520>here.

        00:00:02.120 --> 00:00:03.590
        Or <00:00:02.420>stay, <00:00:02.720>now <00:00:03.020>and <00:00:03.320>then.
        ");
        let words: serde_json::Value = serde_json::from_str(&text(CaptionFile::WordsJson)).unwrap();
        let words = words["words"].as_array().unwrap();
        assert_eq!(words.len(), 11);
        assert_eq!(
            (&words[1]["text"], &words[1]["start_ms"], &words[1]["shared_out"]),
            (&"one".into(), &320.into(), &false.into())
        );
        assert_eq!(
            (&words[6]["text"], &words[6]["part"], &words[6]["shared_out"]),
            (&"Or".into(), &2.into(), &true.into())
        );
        let json: serde_json::Value = serde_json::from_str(&text(CaptionFile::Json)).unwrap();
        assert_eq!(json["sentences"][0]["words"][5]["end_ms"], 1_790);
        // A cue begins with its first word, and ends with its last.
        assert!(text(CaptionFile::Vtt).contains("00:00:00.020 --> "), "{}", text(CaptionFile::Vtt));
    }
}
