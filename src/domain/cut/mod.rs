//! Cutting a text into parts that are bought one by one (API page: 8,000 characters a call at most, 250 recommended), and the
//! sentences of a text, for parts and captions alike.
//!
//! A part never crosses a paragraph. Inside a paragraph, whole sentences are packed as long as they fit. A sentence that is
//! too long is cut at a comma or a similar mark, else between words, else inside a word. Only white space is lost.
//! The parts of a paragraph depend on that paragraph alone: an edit re-buys nothing of another paragraph.
//!
//! Where a sentence ends is decided by its language ([`SentenceRules`]): by lists of abbreviations and other words
//! (`words.txt`, which says where they are from and how they are updated), by the shapes of numbers, initials and Roman
//! numerals (`point.rs`), and by the marks of all scripts (`marks.rs`, from Unicode's property STerm). In scripts without
//! capitals nothing shows whether a sentence goes on after a quoted question or call (`“谁？”他问`), or after a pause: it does,
//! unless another quote follows, or the quote was introduced by a colon, a comma or a dash. An end after an
//! abbreviation that can also stand inside a sentence is doubtful: a part ends there only if there is no better place in
//! the last third of its length. Words of scripts without spaces come from the dictionaries of `icu_segmenter`
//! (`unspaced.rs`). The corpus in `tests/it/sentences/` measures all this.

mod marks;
mod paragraph;
mod piece;
mod point;
mod sentence;
#[cfg(test)]
mod tests;
mod unspaced;
mod words;

use std::ops::Range;

pub use self::{
    marks::is_unspaced,
    paragraph::{HEADING_GAP, SCENE_BREAK, flat, paragraphs},
    unspaced::breakable,
};
use self::{
    paragraph::with_headings,
    sentence::{Found, Sentences},
    words::Words,
};
use super::synthesis_options::MAX_PART_CHARS;

/// What one call buys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The text as it is sent: trimmed, with single spaces for white space, so that re-wrapped lines change nothing.
    pub text: String,
    /// The number of its paragraph, from 0.
    pub paragraph: u32,
    /// The part's sentences, in order; two of them are separated by a space, or by nothing.
    pub sentences: Vec<Sentence>,
    /// Whether it is the last of its paragraph.
    pub ends_paragraph: bool,
    /// Whether it is the last of a heading.
    pub ends_heading: bool,
}

/// A sentence, or the piece of it that is in one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// The position in the part's text, in bytes.
    pub range: Range<usize>,
    /// Whether the sentence began in the previous part.
    pub continued: bool,
    /// Whether the sentence continues in the next part.
    pub goes_on: bool,
    /// Whether a space stands before it in the text.
    pub after_space: bool,
}

impl Part {
    /// The length as the API counts it: in Unicode scalar values.
    #[must_use]
    pub fn chars(&self) -> usize {
        self.text.chars().count()
    }

    /// Whether the part's end is the end of a sentence.
    #[must_use]
    pub fn ends_sentence(&self) -> bool {
        self.sentences.last().is_some_and(|last| !last.goes_on)
    }

    /// Whether the part has anything to speak: `* * *` between two scenes has neither letter nor digit.
    #[must_use]
    pub fn has_words(&self) -> bool {
        self.text.chars().any(char::is_alphanumeric)
    }
}

/// The rules by which the sentences of a language end.
#[derive(Clone, Copy)]
pub struct SentenceRules(&'static Words);

impl SentenceRules {
    /// The rules of a language by its code (`de`, `de-AT`). If it is `None` or unknown (`auto`, `multi-eu`): those of English
    /// and Hindi, and of other languages what cannot be mistaken.
    #[must_use]
    pub fn of(code: Option<&str>) -> Self {
        Self(Words::of(code))
    }

    /// The sentences of a text on one line ([`flat`]), in order, as ranges of bytes: together they are the text, but for the
    /// spaces between them.
    pub fn sentences(self, text: &str) -> impl Iterator<Item = Range<usize>> {
        Sentences::of(text, self.0).map(|found| found.range)
    }

    /// What is between two neighbouring pieces of a text. `before` is the sentence so far, with the space after it if there is
    /// one; the end of it is enough.
    #[must_use]
    pub fn joint(self, before: &str, after: &str) -> Joint {
        let whole = format!("{before}{after}");
        let before = before.trim_end();
        let Some(found) = Sentences::of(&whole, self.0).find(|found| found.range.end >= before.len()) else {
            return Joint::Inside;
        };
        match () {
            () if found.range.end > before.len() && piece::is_bound(before, after, self.0) => Joint::Bound,
            () if found.range.end > before.len() => Joint::Inside,
            () if found.is_doubtful => Joint::Bound,
            () => Joint::End,
        }
    }
}

/// What is between two neighbouring pieces of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joint {
    /// The end of a sentence.
    End,
    /// Nothing.
    Inside,
    /// The point of an abbreviation or of an ordinal: what follows belongs to it, or may do so.
    Bound,
}

impl std::fmt::Debug for SentenceRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SentenceRules").finish_non_exhaustive()
    }
}

impl Default for SentenceRules {
    fn default() -> Self {
        Self::of(None)
    }
}

/// Cuts a text into parts of at most `part_chars` Unicode scalar values (1 to 8,000; other values are clamped).
#[must_use]
pub fn cut(text: &str, part_chars: usize, rules: SentenceRules) -> Vec<Part> {
    parts(text, part_chars, rules).collect()
}

/// The same parts as a lazy iterator, paragraph by paragraph.
pub fn parts(text: &str, part_chars: usize, rules: SentenceRules) -> impl Iterator<Item = Part> {
    (0..).zip(with_headings(text)).flat_map(move |(number, (paragraph, heading))| {
        let mut parts = cut_paragraph(paragraph, number, part_chars, rules);
        if let Some(last) = parts.last_mut() {
            last.ends_heading = heading;
        }
        parts
    })
}

/// The parts of one paragraph. A blank line inside it counts as ordinary white space.
#[must_use]
pub fn cut_paragraph(paragraph: &str, number: u32, part_chars: usize, rules: SentenceRules) -> Vec<Part> {
    let text = flat(paragraph);
    let limit = part_chars.clamp(1, MAX_PART_CHARS);
    let mut packer =
        Packer { text: &text, number, limit, words: rules.0, done: Vec::new(), open: Vec::new(), chars: 0 };
    for Found { range, is_doubtful } in Sentences::of(&text, rules.0) {
        packer.take(Stretch { range, continued: false, is_doubtful });
    }
    packer.close(None);
    if let Some(last) = packer.done.last_mut() {
        last.ends_paragraph = true;
    }
    packer.done
}

/// A sentence of the paragraph, or the rest of one.
#[derive(Debug, Clone)]
struct Stretch {
    range: Range<usize>,
    /// Whether the sentence began before it.
    continued: bool,
    /// Whether its end is doubtful.
    is_doubtful: bool,
}

/// Fills parts with the sentences of one paragraph.
struct Packer<'t> {
    text: &'t str,
    number: u32,
    limit: usize,
    words: &'static Words,
    done: Vec<Part>,
    /// What the next part has so far, and its length in characters.
    open: Vec<Stretch>,
    chars: usize,
}

impl Packer<'_> {
    fn take(&mut self, next: Stretch) {
        let chars = self.text[next.range.clone()].chars().count();
        // Two sentences are separated by a space or nothing: as many bytes as characters.
        let space = self.open.last().map_or(0, |last| next.range.start - last.range.end);
        if !self.open.is_empty() && self.chars + space + chars > self.limit {
            if let Some(at) = self.better_end(&next) {
                return self.retake(at, next);
            }
            self.close(None);
            return self.take(next);
        }
        self.chars += space + chars;
        self.open.push(next);
        while self.chars > self.limit
            && let [only] = &self.open[..]
            && let Some(at) = piece::cut_at(&self.text[only.range.clone()], self.limit, self.words)
        {
            let at = only.range.start + at;
            self.split(at);
        }
    }

    /// Where the open part better ends than after its last sentence, whose end is doubtful: in the last third of its length.
    fn better_end(&self, next: &Stretch) -> Option<usize> {
        let start = self.open.first()?.range.start;
        let last = self.open.last().filter(|last| last.is_doubtful)?;
        let text = &self.text[start..next.range.end];
        let least = text.char_indices().nth(self.limit * 2 / 3).map_or(text.len(), |(at, _)| at);
        let sure = self.open.iter().rev().find(|one| !one.is_doubtful).map(|one| one.range.end - start);
        let place =
            sure.filter(|at| *at >= least).or_else(|| piece::better_cut(text, least, self.limit, self.words))?;
        (start + place != last.range.end).then_some(start + place)
    }

    /// Ends the open part at `at`, and takes the rest of it again, and `next`.
    fn retake(&mut self, at: usize, next: Stretch) {
        self.open.push(next);
        let rest = self.close(Some(at));
        for stretch in rest {
            self.take(stretch);
        }
    }

    /// Ends the open part, which is one stretch that is too long, at `at`.
    fn split(&mut self, at: usize) {
        let (chars, start) = (self.chars, self.open.first().map_or(at, |only| only.range.start));
        self.open = self.close(Some(at));
        // Counted by what is gone: the rest may be long.
        let next = self.open.first().map_or(at, |only| only.range.start);
        self.chars = chars - self.text[start..next].chars().count();
    }

    /// Ends the open part, at `at` if given; returns what is behind that.
    fn close(&mut self, at: Option<usize>) -> Vec<Stretch> {
        let mut rest = Vec::new();
        let mut taken = Vec::new();
        for stretch in std::mem::take(&mut self.open) {
            match at.filter(|at| *at < stretch.range.end) {
                Some(at) if at <= stretch.range.start => rest.push(stretch),
                Some(at) => {
                    let (front, back) = self.text[stretch.range.clone()].split_at(at - stretch.range.start);
                    let end = stretch.range.start + front.trim_end().len();
                    let start = stretch.range.end - back.trim_start().len();
                    rest.push(Stretch { range: start..stretch.range.end, continued: true, ..stretch });
                    taken.push((stretch.range.start..end, stretch.continued, true));
                }
                None => taken.push((stretch.range, stretch.continued, false)),
            }
        }
        self.chars = 0;
        if let (Some((first, ..)), Some((last, ..))) = (taken.first(), taken.last()) {
            let start = first.start;
            let text = self.text[start..last.end].to_owned();
            let sentence = |(range, continued, goes_on): (Range<usize>, bool, bool)| Sentence {
                range: range.start - start..range.end - start,
                continued,
                goes_on,
                after_space: self.text[..range.start].ends_with(' '),
            };
            let sentences = taken.into_iter().map(sentence).collect();
            self.done.push(Part {
                text,
                paragraph: self.number,
                sentences,
                ends_paragraph: false,
                ends_heading: false,
            });
        }
        rest
    }
}
