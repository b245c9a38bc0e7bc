//! When each sentence and each word is spoken, as far as it is known: parts are timed, a voice may send the times of its words,
//! and else the sentences of a part share its time.

use super::{
    super::cut::Part,
    spoken::{SpokenWord, covers, placed},
};

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
    /// Its words.
    pub words: Vec<TimedWord>,
    /// Whether the voice sent the times of all its words; else these are estimated by characters.
    pub is_measured: bool,
}

/// A word and its time, from the start of the joined audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedWord {
    /// The word, with the punctuation around it.
    pub text: String,
    /// The start, in ms.
    pub start_ms: u64,
    /// The end, in ms.
    pub end_ms: u64,
}

/// The position of a part in the joined audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The start, in ms.
    pub start_ms: u64,
    /// The end, in ms, without the pause after the part.
    pub end_ms: u64,
}

/// The sentences of all parts, in order. A part without a span has no words. `spoken` has the words that came with each part's
/// audio; there may be fewer entries than parts.
#[must_use]
pub fn timed_sentences(parts: &[Part], spans: &[Option<Span>], spoken: &[Vec<SpokenWord>]) -> Vec<TimedSentence> {
    let mut timed: Vec<TimedSentence> = Vec::new();
    for (at, (part, span)) in parts.iter().zip(spans).enumerate() {
        let Some(span) = span else { continue };
        let own = spoken.get(at).map(Vec::as_slice).unwrap_or_default();
        let sentences = measured(part, *span, own).unwrap_or_else(|| shared_out(part, *span));
        for (mut sentence, cut) in sentences.into_iter().zip(&part.sentences) {
            sentence.part = at + 1;
            match timed.last_mut().filter(|_| cut.continued) {
                Some(before) => before.go_on(sentence, cut.after_space),
                None => timed.push(sentence),
            }
        }
    }
    timed
}

impl TimedSentence {
    /// Adds the rest of the sentence, which the next part has.
    fn go_on(&mut self, rest: Self, after_space: bool) {
        self.text.push_str(if after_space { " " } else { "" });
        self.text.push_str(&rest.text);
        self.end_ms = rest.end_ms;
        self.shared_out |= rest.shared_out;
        self.is_measured &= rest.is_measured;
        self.words.extend(rest.words);
    }
}

/// The sentences of a part whose words all have times.
fn measured(part: &Part, span: Span, spoken: &[SpokenWord]) -> Option<Vec<TimedSentence>> {
    let text = part.text.as_str();
    let places = placed(text, spoken);
    let whole = 0..text.len();
    if places.is_empty() || !covers(text, &whole, &places) {
        return None;
    }
    let moment = |ms: u64| (span.start_ms + ms).min(span.end_ms);
    let sentence = |of: &crate::domain::cut::Sentence| {
        let own: Vec<_> = places.iter().filter(|(place, _)| of.range.contains(&place.start)).collect();
        let (first, last) = (own.first()?, own.last()?);
        let words = own.iter().enumerate().map(|(nth, (place, word))| {
            // What stands before the first word of a sentence, such as a quotation mark, belongs to it.
            let from = if nth == 0 { of.range.start } else { place.start };
            let text = text[from..place.end.min(of.range.end).max(from)].trim().to_owned();
            TimedWord { text, start_ms: moment(word.start_ms), end_ms: moment(word.end_ms) }
        });
        Some(TimedSentence {
            text: text[of.range.clone()].to_owned(),
            start_ms: moment(first.1.start_ms),
            end_ms: moment(last.1.end_ms),
            part: 0,
            shared_out: false,
            words: words.collect(),
            is_measured: true,
        })
    };
    part.sentences.iter().map(sentence).collect()
}

/// The sentences of a part, each with its share of the part's time.
fn shared_out(part: &Part, span: Span) -> Vec<TimedSentence> {
    let chars = |text: &str| text.chars().count() as u64;
    let all = part.sentences.iter().map(|s| chars(&part.text[s.range.clone()])).sum::<u64>();
    let (mut shares, several) = (Shares::new(span, all), part.sentences.len() > 1);
    let sentence = |of: &crate::domain::cut::Sentence| {
        let text = &part.text[of.range.clone()];
        let own = shares.next(chars(text));
        let mut pieces = Shares::new(own, chars(text));
        let words = text.split_inclusive(char::is_whitespace).map(|piece| {
            let own = pieces.next(chars(piece));
            TimedWord { text: piece.trim().to_owned(), start_ms: own.start_ms, end_ms: own.end_ms }
        });
        let words = words.filter(|word| !word.text.is_empty()).collect();
        let Span { start_ms, end_ms } = own;
        let text = text.to_owned();
        TimedSentence { text, start_ms, end_ms, part: 0, shared_out: several, words, is_measured: false }
    };
    part.sentences.iter().map(sentence).collect()
}

/// A span that is shared out by characters.
struct Shares {
    of: Span,
    all: u64,
    said: u64,
}

impl Shares {
    fn new(of: Span, all: u64) -> Self {
        Self { of, all: all.max(1), said: 0 }
    }

    fn next(&mut self, chars: u64) -> Span {
        let length = self.of.end_ms.saturating_sub(self.of.start_ms);
        let moment = |said: u64| self.of.start_ms + length * said / self.all;
        let start_ms = moment(self.said);
        self.said += chars;
        Span { start_ms, end_ms: moment(self.said) }
    }
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
        let timed = timed_sentences(&parts, &spans, &[]);
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
            assert_eq!(timed_sentences(&parts, &spans, &[])[0].text, text);
        }
    }

    #[test]
    fn parts_that_say_nothing_have_no_caption() {
        let parts = cut("Before.\n\n* * *\n\nAfter.", 250, SentenceRules::default());
        let spans: Vec<_> =
            parts.iter().map(|p| p.has_words().then_some(Span { start_ms: 0, end_ms: 1_000 })).collect();
        assert_eq!(timed_sentences(&parts, &spans, &[]).len(), 2);
    }

    #[test]
    fn words_that_came_with_the_audio_are_exact() {
        let parts =
            cut("He said: \u{201c}Pay $100.\u{201d} Then he left.\n\nNobody came back.", 250, SentenceRules::default());
        let spans = [Some(Span { start_ms: 10_000, end_ms: 13_000 }), Some(Span { start_ms: 13_600, end_ms: 15_000 })];
        let word = |(text, start_ms, end_ms): (&str, u64, u64)| SpokenWord { word: text.into(), start_ms, end_ms };
        let own = [
            ("He", 0, 200),
            ("said", 210, 500),
            ("Pay", 700, 900),
            ("$100", 950, 1_800),
            ("Then", 2_100, 2_300),
            ("he", 2_310, 2_400),
            ("left", 2_410, 2_990),
        ];
        let spoken = [own.map(word).to_vec()];
        let timed = timed_sentences(&parts, &spans, &spoken);
        let last = &timed[timed.len() - 2];
        assert_eq!((last.text.as_str(), last.start_ms, last.end_ms), ("Then he left.", 12_100, 12_990));
        assert!(last.is_measured && !last.shared_out);
        let words: Vec<_> = timed.iter().filter(|t| t.part == 1).flat_map(|t| &t.words).collect();
        let texts: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(texts, ["He", "said:", "\u{201c}Pay", "$100.\u{201d}", "Then", "he", "left."]);
        assert_eq!((words[2].start_ms, words[3].end_ms), (10_700, 11_800));
        let estimated = timed.last().unwrap();
        assert_eq!((estimated.part, estimated.is_measured, estimated.words.len()), (2, false, 3));
        assert_eq!((estimated.words[0].start_ms, estimated.words[2].end_ms), (13_600, 15_000));
        // Half of the words is no measure.
        let half = [spoken[0][..3].to_vec()];
        assert!(timed_sentences(&parts, &spans, &half).iter().all(|t| !t.is_measured));
        // A word cannot end after its part.
        let late = [vec![word(("Nobody", 0, 100)), word(("came", 200, 300)), word(("back", 900, 9_000))]];
        let timed = timed_sentences(&parts[1..], &spans[1..], &late);
        assert_eq!((timed[0].end_ms, timed[0].words[2].end_ms), (15_000, 15_000));
    }
}
