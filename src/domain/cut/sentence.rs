//! Where sentences end.

use std::ops::{Range, RangeInclusive};

use super::{
    marks::{
        self, EndMark, closes, hangs, is_caseless, is_comma, is_dash, is_either_quote, is_in_title, is_inside_grapheme,
        is_spaced_comma, is_spaceless, is_unspaced, is_wide, opens,
    },
    point::{Point, elided, is_list_number, point},
    unspaced::{ends_in_particle, goes_on_after_particle},
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
    /// The stop before the last quote or bracket: of question marks and exclamation marks always `Call`.
    last: EndMark,
    /// Whether a quote or a bracket closes after the stop.
    closed: bool,
    /// What closes last, if no stop follows it.
    closer: Option<char>,
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
                _ if is_spaceless(c) && ends_in_particle(&self.text[..at + offset + c.len_utf8()], self.text) => {
                    Some(EndMark::Particle)
                }
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
        let mut run = Run { end: at + first, stop, last: stop, closed: false, closer: None };
        let mut points = usize::from(stop == EndMark::Point);
        let mut group = at;
        loop {
            let start = run.end;
            for c in self.text[run.end..].chars() {
                let Some(stop) = marks::stop(c) else { break };
                points += usize::from(stop == EndMark::Point);
                run.stop = stronger(run.stop, stop);
                run.end += c.len_utf8();
            }
            if group < run.end {
                (run.last, run.closer) = (last_of(&self.text[group..run.end], stop), None);
            }
            let closing = self.closing(run.end);
            run.closed |= closing > 0;
            run.closer = self.text[run.end..run.end + closing].chars().next_back().or(run.closer);
            run.end += closing;
            run.end += notes(&self.text[run.end..]);
            if self.text[run.end..].strip_prefix(' ').is_some_and(hangs_alone) {
                run.end += 1;
            } else if run.end == start {
                break;
            }
            group = run.end;
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
        if self.stays_open(at, run) {
            return Point::Inside;
        }
        if run.stop == EndMark::Full {
            let is_sentence = run.closer.is_some_and(|c| marks::bracket_of(c).is_some() && !self.opened_inside(at, c));
            let quotes = run.closed && !is_sentence && matches!(next, '\u{3041}'..='\u{309f}');
            let said = &self.text[self.from..at];
            let number = self.text[..run.end].ends_with('．') && (next.is_numeric() || is_list_number(said));
            return end_if(!quotes && !number && !is_in_title(said));
        }
        if next != ' ' {
            let parts = is_unspaced(next) || run.closed && marks::opens_quote(next);
            return end_if(parts && before.is_some_and(is_unspaced) && !self.is_abbreviated(before, run.stop));
        }
        // `[…]`, `(!)`, `(?)`
        if run.closed && before.is_some_and(|c| matches!(c, '(' | '[')) {
            return Point::Inside;
        }
        let after = &rest[1..];
        let goes_on = goes_on(after);
        match run.stop {
            EndMark::Trail => end_if(!goes_on),
            EndMark::Particle => end_if(!goes_on_after_particle(after)),
            EndMark::Call | EndMark::Full => {
                end_if(!(goes_on && (run.closed || self.has_capitals()) || run.closed && self.is_said(after)))
            }
            EndMark::Point if goes_on && self.has_capitals() || self.is_abbreviated(before, run.stop) => Point::Inside,
            EndMark::Point => self.point(at, run, after),
        }
    }

    /// Whether the stop belongs to a bracket or a quote inside the sentence, or is only a pause, and nothing shows that the
    /// sentence ends as well. Where there are capitals, they show it of quotes and pauses.
    fn stays_open(&self, at: usize, run: &Run) -> bool {
        let is_call = matches!(run.last, EndMark::Call | EndMark::Trail);
        match run.closer {
            Some(closer) if marks::bracket_of(closer).is_some() => is_call && self.opened_inside(at, closer),
            Some(closer) if marks::quote_of(closer).is_some() => {
                is_call && self.is_caseless(at, run.end) && !self.is_said_before(at, closer, run.end)
            }
            _ => !run.closed && run.stop == EndMark::Trail && self.is_caseless(at, run.end),
        }
    }

    /// Whether a bracket that closes after `at` was opened behind some words of the sentence.
    fn opened_inside(&self, at: usize, closer: char) -> bool {
        let sentence = &self.text[self.from..at];
        let letters = |before: &str| before.chars().rev().take(FARTHEST).any(char::is_alphabetic);
        let opened = marks::bracket_of(closer).and_then(|opener| opener_before(sentence, opener, closer));
        opened.is_some_and(|opened| letters(&sentence[..opened]))
    }

    /// Whether the letters around a stop have no case, so that they do not show whether the sentence goes on.
    fn is_caseless(&self, at: usize, end: usize) -> bool {
        const FAR: usize = 40;
        let before = self.text[..at].chars().rev().take(FAR).find(|c| c.is_alphabetic());
        let is_before = before.is_some_and(is_caseless);
        let rest = &self.text[end..];
        match rest.trim_start_matches(|c| c == ' ' || opens(c)).chars().next() {
            Some(next) if is_caseless(next) => true,
            // A name of another script, in one that has no spaces.
            Some(next) if next.is_alphabetic() => is_before && !rest.starts_with(' '),
            _ => is_before,
        }
    }

    /// Whether a quote that closes after `at` ends its sentence: another quote follows, or a space where Chinese and
    /// Japanese have none, or a colon, a comma or a dash shows that what was said before the quote introduced it.
    fn is_said_before(&self, at: usize, closer: char, end: usize) -> bool {
        let after = self.text[end..].trim_start_matches(' ');
        if after.starts_with(marks::opens_quote) || after.starts_with(is_wide) && self.text[end..].starts_with(' ') {
            return true;
        }
        let word = after.split(|c: char| c == ' ' || hangs(c)).next().unwrap_or_default();
        if self.words.classes(word).has(Classes::FOLLOW) {
            return false;
        }
        let before = &self.text[..at];
        let opened = marks::quote_of(closer).and_then(|opener| opener_before(before, opener, closer));
        let lead = before[..opened.unwrap_or_default()].trim_end();
        // A dash in front of all is that of a dialogue.
        let dashed = lead.trim_end_matches(is_dash);
        let has_dash =
            dashed.len() < lead.len() && dashed.trim_end().ends_with(|c: char| c.is_alphabetic() || c == ':');
        has_dash || lead.ends_with(|c| is_comma(c) || is_spaced_comma(c))
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
    if elided(after).is_some() {
        return false;
    }
    let after = after.trim_start_matches(opens);
    // `b)` begins a point of a list.
    let mut next = after.chars().filter(|_| after.chars().nth(1) != Some(')'));
    next.next().is_some_and(char::is_lowercase) && !next.next().is_some_and(char::is_uppercase)
}

/// How far the opening quote or bracket may be, in characters.
const FARTHEST: usize = 1_000;

/// Where a text opens the quote or bracket that closes at its end.
fn opener_before(text: &str, opener: char, closer: char) -> Option<usize> {
    let mut closed = 0_usize;
    for (at, c) in text.char_indices().rev().take(FARTHEST) {
        match c {
            _ if c == opener && closed == 0 => return Some(at),
            _ if c == opener => closed -= 1,
            _ if c == closer => closed += 1,
            _ => {}
        }
    }
    None
}

/// The stop that a group of stops ends in; `first` is the kind of the first one.
fn last_of(group: &str, first: EndMark) -> EndMark {
    let Some(last) = group.chars().next_back() else { return first };
    match marks::stop(last) {
        _ if marks::asks(last) => EndMark::Call,
        Some(EndMark::Point) if group.ends_with("..") => EndMark::Trail,
        Some(stop) => stop,
        None => first,
    }
}

/// The one of two stops in a run that decides.
const fn stronger(a: EndMark, b: EndMark) -> EndMark {
    match (a, b) {
        (EndMark::Full, _) | (_, EndMark::Full) => EndMark::Full,
        (EndMark::Call, _) | (_, EndMark::Call) => EndMark::Call,
        (EndMark::Trail, _) | (_, EndMark::Trail) => EndMark::Trail,
        (EndMark::Point, _) | (_, EndMark::Point) => EndMark::Point,
        (EndMark::Particle, EndMark::Particle) => EndMark::Particle,
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
