//! Finds out whether a file of lines is one text whose lines are wrapped.

use std::io;

use unicode_width::UnicodeWidthStr;

use super::lines::LineReader;

/// How many lines are looked at.
const LINES: usize = 2_000;
/// A line that is wrapped has at least this width.
const LEAST_WIDTH: usize = 40;

/// A sentence that goes on in the next line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WrappedSentence {
    /// Its line.
    pub(super) line: u64,
    /// The last words of that line.
    pub(super) end: String,
    /// The first words of the next one.
    pub(super) start: String,
}

/// The first sentence that goes on in the next line, if the file is plainly prose in wrapped lines.
pub(super) fn find(mut lines: LineReader) -> io::Result<Option<WrappedSentence>> {
    let mut found = Lines::default();
    for _ in 0..LINES {
        match lines.next_text()? {
            Some((number, Ok(text))) => found.add(number, text),
            Some((_, Err(_))) => {}
            None => break,
        }
    }
    Ok(found.judge())
}

#[derive(Default)]
struct Lines {
    before: Option<(u64, String)>,
    count: usize,
    /// Lines in which a sentence ends.
    with_stops: usize,
    /// Pairs of lines without an empty line between them.
    pairs: usize,
    widest: usize,
    /// The widths of the lines whose sentence goes on in the next line.
    wrapped: Vec<usize>,
    first: Option<WrappedSentence>,
}

impl Lines {
    fn add(&mut self, number: u64, text: &str) {
        self.count += 1;
        self.with_stops += usize::from(text.contains(is_stop));
        if let Some((_, before)) = self.before.take().filter(|(line, _)| line + 1 == number) {
            let width = before.width();
            self.pairs += 1;
            self.widest = self.widest.max(width);
            if width >= LEAST_WIDTH && goes_on(&before, text) {
                self.wrapped.push(width);
                self.first.get_or_insert_with(|| WrappedSentence {
                    line: number - 1,
                    end: last_words(&before),
                    start: first_words(text),
                });
            }
        }
        self.before = Some((number, text.to_owned()));
    }

    /// Many sentences go on in the next line, lines are of about one width, and sentences end somewhere: a list of prompts
    /// in small letters and without stops is none.
    fn judge(self) -> Option<WrappedSentence> {
        let count = self.wrapped.len();
        let wide = self.wrapped.iter().filter(|width| **width * 100 >= self.widest * 65).count();
        let is_frequent = count >= 2 && count * 2 >= self.pairs || count >= 3 && count * 4 >= self.pairs;
        let is_even = wide * 4 >= count * 3;
        let has_sentences = self.with_stops * 10 >= self.count;
        self.first.filter(|_| is_frequent && is_even && has_sentences)
    }
}

/// Whether a sentence of one line goes on in the next.
fn goes_on(line: &str, next: &str) -> bool {
    let is_quote =
        |c: char| matches!(c, '"' | '\'' | '’' | '”' | '“' | '‘' | '»' | '«' | ')' | '(' | ']' | '[' | '*' | '_');
    let (Some(last), Some(first)) =
        (line.trim_end_matches(is_quote).chars().next_back(), next.trim_start_matches(is_quote).chars().next())
    else {
        return false;
    };
    let has_no_case = |c: char| c.is_alphabetic() && !c.is_lowercase() && !c.is_uppercase();
    !is_stop(last) && !matches!(last, ':' | ';') && (first.is_lowercase() || has_no_case(last) && has_no_case(first))
}

const fn is_stop(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | '。' | '！' | '？' | '．' | '।' | '॥' | '؟' | '۔' | '።' | '။')
}

fn last_words(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().rev().take(3).collect();
    words.into_iter().rev().collect::<Vec<_>>().join(" ")
}

fn first_words(text: &str) -> String {
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str) -> Option<WrappedSentence> {
        let mut lines = Lines::default();
        let numbered = text.lines().zip(1..).map(|(line, number)| (number, line.trim()));
        numbered.filter(|(_, line)| !line.is_empty()).for_each(|(number, line)| lines.add(number, line));
        lines.judge()
    }

    #[test]
    fn prose_in_wrapped_lines_is_seen() {
        let gutenberg = "It was a dark and stormy night; the rain fell in torrents, except at\n\
            occasional intervals, when it was checked by a violent gust of wind which\n\
            swept up the streets. It is in London that our scene lies. Rattling along\n\
            the housetops, it agitated the scanty flame of the lamps.\n\n\
            \"Well,\" said she.\n\nThe wind blew harder than it had ever blown before, and nobody dared to\n\
            leave the house.\n";
        let found = judge(gutenberg).unwrap();
        assert_eq!(
            (found.line, found.end.as_str(), found.start.as_str()),
            (1, "torrents, except at", "occasional intervals, when")
        );
        let short = "The quick brown fox jumps over the lazy dog and runs\naway into the forest, where it meets another fox that\nis slow.";
        assert!(judge(short).is_some());
        let hindi = "यह एक बहुत लंबी कहानी है जिसमें एक राजा और उसकी तीन रानियाँ रहती थीं और\nउनके महल में बहुत से सेवक काम करते थे जो दिन रात उनकी सेवा में लगे रहते\nथे। एक दिन राजा ने अपने मंत्री को बुलाया और उससे कहा कि वह राज्य के सभी\nलोगों को बुलाए।";
        assert!(judge(hindi).is_some());
        let chinese = "从前有一个国王他住在一座很大的城堡里面每天都有很多人来看他\n因为他是一个非常好的国王所以大家都很喜欢他。有一天他决定去旅\n行于是他带上了他的马和他的朋友们一起出发了。";
        assert!(judge(chinese).is_some());
    }

    #[test]
    fn lists_of_texts_are_none() {
        for text in [
            "Hello.\nHow are you?\nPlease hold the line while we connect you to an agent.\n",
            "please hold the line while we connect you to an agent\nthank you for calling us, we will be with you shortly\nplease press one for sales and two for everything else\nyour call is very important to us and to everybody else\n",
            "Press one for sales\nPress two for support\nPress three for everything else that you may want to ask\nPress four.\n",
            "apple\nbanana\ncherry\n",
            "Shall I compare thee to a summer's day?\nThou art more lovely and more temperate:\nRough winds do shake the darling buds of May,\nAnd summer's lease hath all too short a date;\n",
            "A long paragraph that stands on one line, as editors with soft wrapping write it. It ends.\nanother one begins in small letters, and that is all. It ends too.\nAnd a third. It ends.\n",
            "",
            "One line only that is long enough to have been wrapped by somebody",
        ] {
            assert_eq!(judge(text), None, "{text}");
        }
    }
}
