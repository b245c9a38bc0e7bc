//! Cutting a text into parts that are bought one by one (API page: 8,000 characters a call at most, 250 recommended).
//!
//! A part never crosses a paragraph. Inside a paragraph, whole sentences are packed as long as they fit. A sentence that is
//! too long is cut at a comma or a similar mark, else between words, else inside a word. Only white space is lost.
//! The parts of a paragraph depend on that paragraph alone: an edit re-buys nothing of another paragraph.

mod abbreviation;
mod marks;
mod paragraph;
mod piece;
mod sentence;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use self::paragraph::{HEADING_GAP, SCENE_BREAK, flat, paragraphs};
use self::{paragraph::with_headings, sentence::Sentences};
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

/// Cuts a text into parts of at most `part_chars` Unicode scalar values (1 to 8,000; other values are clamped).
#[must_use]
pub fn cut(text: &str, part_chars: usize) -> Vec<Part> {
    parts(text, part_chars).collect()
}

/// The same parts as a lazy iterator, paragraph by paragraph.
pub fn parts(text: &str, part_chars: usize) -> impl Iterator<Item = Part> {
    (0..).zip(with_headings(text)).flat_map(move |(number, (paragraph, heading))| {
        let mut parts = cut_paragraph(paragraph, number, part_chars);
        if let Some(last) = parts.last_mut() {
            last.ends_heading = heading;
        }
        parts
    })
}

/// The parts of one paragraph. A blank line inside it counts as ordinary white space.
#[must_use]
pub fn cut_paragraph(paragraph: &str, number: u32, part_chars: usize) -> Vec<Part> {
    let text = flat(paragraph);
    let limit = part_chars.clamp(1, MAX_PART_CHARS);
    let mut packer = Packer { text: &text, number, limit, done: Vec::new(), open: None };
    Sentences::of(&text).for_each(|range| packer.take(range));
    packer.close();
    if let Some(last) = packer.done.last_mut() {
        last.ends_paragraph = true;
    }
    packer.done
}

/// Fills parts with the sentences of one paragraph.
struct Packer<'t> {
    text: &'t str,
    number: u32,
    limit: usize,
    done: Vec<Part>,
    open: Option<Open>,
}

/// A part that may still grow.
struct Open {
    range: Range<usize>,
    chars: usize,
    sentences: Vec<Sentence>,
}

impl Packer<'_> {
    fn take(&mut self, sentence: Range<usize>) {
        let chars = self.text[sentence.clone()].chars().count();
        match &mut self.open {
            Some(open) if open.chars + (sentence.start - open.range.end) + chars <= self.limit => {
                // Two sentences are separated by a space or nothing: as many bytes as characters.
                open.chars += sentence.start - open.range.end + chars;
                open.range.end = sentence.end;
                let start = sentence.start - open.range.start;
                let range = start..start + sentence.len();
                open.sentences.push(Sentence { range, continued: false, goes_on: false });
            }
            _ => {
                self.close();
                self.begin(sentence, chars);
            }
        }
    }

    /// Begins a part with a sentence. A sentence that is too long gets parts of its own, and the last of them stays open.
    fn begin(&mut self, mut sentence: Range<usize>, mut chars: usize) {
        let mut continued = false;
        while chars > self.limit
            && let rest = &self.text[sentence.clone()]
            && let Some(at) = piece::cut_at(rest, self.limit)
        {
            let length = rest[..at].trim_end().len();
            let next = rest.len() - rest[at..].trim_start().len();
            chars -= rest[..next].chars().count();
            let piece = sentence.start..sentence.start + length;
            self.open = Some(Open::of(piece, 0, continued, true));
            self.close();
            (sentence.start, continued) = (sentence.start + next, true);
        }
        self.open = Some(Open::of(sentence, chars, continued, false));
    }

    fn close(&mut self) {
        if let Some(Open { range, sentences, .. }) = self.open.take() {
            let text = self.text[range].to_owned();
            self.done.push(Part {
                text,
                paragraph: self.number,
                sentences,
                ends_paragraph: false,
                ends_heading: false,
            });
        }
    }
}

impl Open {
    fn of(range: Range<usize>, chars: usize, continued: bool, goes_on: bool) -> Self {
        let sentences = vec![Sentence { range: 0..range.len(), continued, goes_on }];
        Self { range, chars, sentences }
    }
}
