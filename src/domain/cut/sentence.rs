//! Where sentences end.

use std::ops::{Range, RangeInclusive};

use super::{
    marks::{
        self, EndMark, closes, hangs, is_dash, is_either_quote, is_inside_grapheme, is_spaceless, is_unspaced, opens,
    },
    point::{Point, point},
    words::{Classes, Words},
};

/// The sentences of a paragraph on one line, trimmed, in order; together they are the whole paragraph.
pub(super) struct Sentences<'t> {
    words: &'static Words,
    text: &'t str,
    from: usize,
    /// Whether a `"` is open.
    quoted: bool,
    /// Whether the paragraph has any capitals; computed when it first matters.
    has_capitals: Option<bool>,
}

/// A sentence as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) range: Range<usize>,
    /// Whether its last point belongs to an abbreviation that can also stand inside a sentence.
    pub(super) is_doubtful: bool,
}

/// A run of stops and the closing marks after it.
struct Run {
    /// Where the sentence ends, if it does.
    end: usize,
    stop: EndMark,
    /// Whether a quote or a bracket closes after the stop.
    closed: bool,
}

impl<'t> Sentences<'t> {
    pub(super) const fn of(text: &'t str, words: &'static Words) -> Self {
        Self { words, text, from: 0, quoted: false, has_capitals: None }
    }

    /// The next stop at or after `at`.
    fn find_stop(&mut self, at: usize) -> Option<(usize, EndMark)> {
        for (offset, c) in self.text[at..].char_indices() {
            let found = match c {
                '"' => {
                    self.quoted = !self.quoted;
                    None
                }
                // In Greek this is the question mark.
                ';' => self.follows(at + offset, '\u{370}'..='\u{3ff}').then_some(EndMark::Call),
                // Often typed for the Armenian full stop.
                ':' => self.follows(at + offset, '\u{531}'..='\u{587}').then_some(EndMark::Full),
                _ => marks::stop(c),
            };
            if let Some(stop) = found {
                return Some((at + offset, stop));
            }
        }
        None
    }

    fn follows(&self, at: usize, letters: RangeInclusive<char>) -> bool {
        self.text[..at].ends_with(|c| letters.contains(&c))
    }

    /// Everything that belongs to the stop at `at`: more stops, closing quotes and brackets, also after a space (`« Oui ! »`).
    fn run(&self, at: usize, stop: EndMark) -> Run {
        let first = self.text[at..].chars().next().map_or(0, char::len_utf8);
        let mut run = Run { end: at + first, stop, closed: false };
        let mut points = usize::from(stop == EndMark::Point);
        loop {
            let start = run.end;
            for c in self.text[run.end..].chars() {
                let Some(stop) = marks::stop(c) else { break };
                points += usize::from(stop == EndMark::Point);
                run.stop = stronger(run.stop, stop);
                run.end += c.len_utf8();
            }
            let closing = self.closing(run.end);
            run.closed |= closing > 0;
            run.end += closing;
            run.end += notes(&self.text[run.end..]);
            if self.text[run.end..].strip_prefix(' ').is_some_and(hangs_alone) {
                run.end += 1;
            } else if run.end == start {
                break;
            }
        }
        if points > 1 && run.stop == EndMark::Point {
            run.stop = EndMark::Trail;
        }
        run
    }

    /// How many bytes of quotes and brackets close at `at`. If a quote could also open, the next character decides.
    fn closing(&self, at: usize) -> usize {
        let rest = &self.text[at..];
        let all = rest.find(|c| !closes(c) && !is_either_quote(c)).unwrap_or(rest.len());
        let followed = &rest[all..];
        if followed.is_empty() || followed.starts_with(' ') || followed.starts_with(hangs) {
            return all;
        }
        let quotes = rest[..all].trim_end_matches(is_either_quote);
        if self.quoted && rest[quotes.len()..].starts_with('"') { quotes.len() + 1 } else { quotes.len() }
    }

    /// Whether the sentence ends with this run, whose stop is at `at`.
    fn end_of(&mut self, at: usize, run: &Run) -> Point {
        let rest = &self.text[run.end..];
        let Some(next) = rest.chars().next() else { return Point::End };
        let before = self.text[..at].chars().next_back();
        let end_if = |ends: bool| if ends { Point::End } else { Point::Inside };
        if is_inside_grapheme(self.text, run.end + usize::from(next == ' ')) {
            return Point::Inside;
        }
        if run.stop == EndMark::Full {
            let quotes = run.closed && matches!(next, '\u{3041}'..='\u{309f}');
            let number = next.is_numeric() && self.text[..run.end].ends_with('．');
            return end_if(!quotes && !number && !self.is_in_title(at));
        }
        if next != ' ' {
            return end_if(
                is_unspaced(next) && before.is_some_and(is_unspaced) && !self.is_abbreviated(before, run.stop),
            );
        }
        // `[…]`, `(!)`, `(?)`
        if run.closed && before.is_some_and(|c| matches!(c, '(' | '[')) {
            return Point::Inside;
        }
        let after = &rest[1..];
        let goes_on = goes_on(after);
        match run.stop {
            EndMark::Trail => end_if(!goes_on),
            EndMark::Call | EndMark::Full => {
                end_if(!(goes_on && (run.closed || self.has_capitals()) || run.closed && self.is_said(after)))
            }
            EndMark::Point if goes_on && self.has_capitals() || self.is_abbreviated(before, run.stop) => Point::Inside,
            EndMark::Point => self.point(at, run, after),
        }
    }

    /// Whether the stop belongs to a title: `《摔跤吧！爸爸》`.
    fn is_in_title(&self, at: usize) -> bool {
        const LONGEST: usize = 40;
        let before = self.text[self.from..at].chars().rev().take(LONGEST);
        before.take_while(|c| *c != '》').any(|c| c == '《')
    }

    fn point(&self, at: usize, run: &Run, after: &str) -> Point {
        let said = point(self.words, &self.text[self.from..at], after);
        let closed = &self.text[at..run.end];
        match said {
            _ if !run.closed => said,
            // `(3rd ed.) Oxford`; but what is quoted is a sentence.
            Point::Inside if closed.contains([')', ']']) && !closed.contains(is_either_quote) => Point::Inside,
            _ => Point::End,
        }
    }

    /// Whether a point belongs to a word of a script that ends no sentence with one: `พ.ศ. 2560`.
    fn is_abbreviated(&self, before: Option<char>, stop: EndMark) -> bool {
        stop == EndMark::Point && before.is_some_and(is_spaceless)
    }

    /// Whether somebody says what was quoted: `“Stop!” John said.` What goes on without a mark is a sentence of its own.
    fn is_said(&self, after: &str) -> bool {
        let mut words = after.split(' ');
        let is_name = words.next().is_some_and(|name| name.chars().all(char::is_alphabetic));
        let verb = words.next().and_then(|verb| verb.strip_suffix(['.', ',', ';', ':']));
        is_name && verb.is_some_and(|verb| self.words.classes(verb).has(Classes::VERB))
    }

    /// Whether the paragraph has capitals. If it has none, a lower-case letter does not show that a sentence continues.
    fn has_capitals(&mut self) -> bool {
        let text = self.text;
        *self.has_capitals.get_or_insert_with(|| text.chars().any(char::is_uppercase))
    }
}

impl Iterator for Sentences<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let start = self.from;
        let mut at = start;
        while let Some((found, stop)) = self.find_stop(at) {
            let run = self.run(found, stop);
            at = run.end;
            if self.text[found..at].matches('"').count() % 2 == 1 {
                self.quoted = !self.quoted;
            }
            if at == self.text.len() {
                break;
            }
            let end = self.end_of(found, &run);
            if end != Point::Inside {
                self.from = at + usize::from(self.text[at..].starts_with(' '));
                return Some(Found { range: start..at, is_doubtful: end == Point::Doubtful });
            }
        }
        self.from = self.text.len();
        (start < self.from).then_some(Found { range: start..self.from, is_doubtful: false })
    }
}

/// Whether a sentence continues with this text: in lower case, but for names like `iPhone`.
fn goes_on(after: &str) -> bool {
    // A dash with a space around it: `« Viens ! » — dit-il.`
    let after = after.strip_prefix(is_dash).and_then(|after| after.strip_prefix(' ')).unwrap_or(after);
    let after = after.trim_start_matches(opens);
    // `b)` begins a point of a list.
    let mut next = after.chars().filter(|_| after.chars().nth(1) != Some(')'));
    next.next().is_some_and(char::is_lowercase) && !next.next().is_some_and(char::is_uppercase)
}

/// The one of two stops in a run that decides.
const fn stronger(a: EndMark, b: EndMark) -> EndMark {
    match (a, b) {
        (EndMark::Full, _) | (_, EndMark::Full) => EndMark::Full,
        (EndMark::Call, _) | (_, EndMark::Call) => EndMark::Call,
        (EndMark::Trail, _) | (_, EndMark::Trail) => EndMark::Trail,
        (EndMark::Point, EndMark::Point) => EndMark::Point,
    }
}

/// The length of the marks of notes at the start of a text, also after a space: `[1][2]`.
fn notes(text: &str) -> usize {
    let mut rest = text;
    while let Some(note) = rest.strip_prefix(' ').unwrap_or(rest).strip_prefix('[') {
        let digits = note.trim_start_matches(|c: char| c.is_ascii_digit());
        let Some(after) = digits.strip_prefix(']').filter(|_| digits.len() < note.len()) else { break };
        rest = after;
    }
    text.len() - rest.len()
}

/// Whether a text begins with a mark that belongs to the text before it, even after a space.
fn hangs_alone(text: &str) -> bool {
    let marks = text.trim_start_matches(|c| marks::stop(c).is_some() || closes(c) || matches!(c, '»' | '›'));
    // `. . . ."`
    let marks = if marks.len() < text.len() { marks.trim_start_matches(['"', '\'']) } else { marks };
    marks.len() < text.len() && (marks.is_empty() || marks.starts_with(' '))
}
