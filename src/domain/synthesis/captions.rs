//! When each sentence is spoken, as far as it is known: parts are timed, and the sentences of a part share its time.

use super::super::cut::Part;

/// A sentence and its time, from the start of the joined audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedSentence {
    /// The text.
    pub text: String,
    /// The start, in ms.
    pub start_ms: u64,
    /// The end, in ms.
    pub end_ms: u64,
    /// The part in which the sentence begins, from 1.
    pub part: usize,
    /// Whether the times are estimated by characters, because the part has other sentences too.
    pub shared_out: bool,
}

/// The position of a part in the joined audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The start, in ms.
    pub start_ms: u64,
    /// The end, in ms, without the pause after the part.
    pub end_ms: u64,
}

/// The sentences of all parts, in order; `None`: the part has no words.
#[must_use]
pub fn timed_sentences(parts: &[Part], spans: &[Option<Span>]) -> Vec<TimedSentence> {
    let mut timed: Vec<TimedSentence> = Vec::new();
    for (at, (part, span)) in parts.iter().zip(spans).enumerate() {
        let Some(span) = span else { continue };
        let chars = |text: &str| text.chars().count() as u64;
        let all = part.sentences.iter().map(|s| chars(&part.text[s.range.clone()])).sum::<u64>().max(1);
        let length = span.end_ms.saturating_sub(span.start_ms);
        let (mut said, shared_out) = (0, part.sentences.len() > 1);
        for sentence in &part.sentences {
            let text = &part.text[sentence.range.clone()];
            let start_ms = span.start_ms + length * said / all;
            said += chars(text);
            let end_ms = span.start_ms + length * said / all;
            match timed.last_mut().filter(|_| sentence.continued) {
                Some(before) => {
                    before.text.push_str(if sentence.after_space { " " } else { "" });
                    before.text.push_str(text);
                    before.end_ms = end_ms;
                    before.shared_out |= shared_out;
                }
                None => timed.push(TimedSentence { text: text.to_owned(), start_ms, end_ms, part: at + 1, shared_out }),
            }
        }
    }
    timed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cut::{SentenceRules, cut};

    #[test]
    fn sentences_of_a_part_share_its_time_and_cut_ones_are_whole_again() {
        let text = "One two. Three four five.\n\nAlone here, and so long that it has to be cut in two.";
        let parts = cut(text, 30, SentenceRules::default());
        assert!(parts.len() > 2, "{parts:?}");
        let span = |n: u64| Some(Span { start_ms: n * 10_000, end_ms: n * 10_000 + 2_500 });
        let spans: Vec<_> = (0..parts.len() as u64).map(span).collect();
        let timed = timed_sentences(&parts, &spans);
        let said: Vec<_> = timed.iter().map(|t| (t.text.as_str(), t.shared_out, t.part)).collect();
        assert_eq!(
            said,
            [
                ("One two.", true, 1),
                ("Three four five.", true, 1),
                ("Alone here, and so long that it has to be cut in two.", false, 2)
            ]
        );
        assert_eq!((timed[0].start_ms, timed[0].end_ms, timed[1].start_ms, timed[1].end_ms), (0, 833, 833, 2_500));
        assert_eq!((timed[2].start_ms, timed[2].end_ms), (10_000, spans.last().unwrap().unwrap().end_ms));
    }

    #[test]
    fn a_cut_sentence_gets_the_space_back_that_it_had() {
        for text in [
            "안녕하세요 오늘은 날씨가 매우 좋습니다 그렇지요",
            "ภาษาไทย ไม่มีช่องว่างระหว่างคำ",
            "我们上周再次查看数据时发现",
        ] {
            let parts = cut(text, 9, SentenceRules::default());
            let spans: Vec<_> = parts.iter().map(|_| Some(Span { start_ms: 0, end_ms: 1_000 })).collect();
            assert!(parts.len() > 1);
            assert_eq!(timed_sentences(&parts, &spans)[0].text, text);
        }
    }

    #[test]
    fn parts_that_say_nothing_have_no_caption() {
        let parts = cut("Before.\n\n* * *\n\nAfter.", 250, SentenceRules::default());
        let spans: Vec<_> =
            parts.iter().map(|p| p.has_words().then_some(Span { start_ms: 0, end_ms: 1_000 })).collect();
        assert_eq!(timed_sentences(&parts, &spans).len(), 2);
    }
}
