//! A text that is edited in passes, and still knows its lines.

use std::ops::Range;

/// A text and where its lines come from.
pub(super) struct Source {
    pub(super) text: String,
    /// The line of the file that each line comes from, from 1.
    lines: Vec<u64>,
}

/// A piece of the text and what goes in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) range: Range<usize>,
    pub(super) with: &'static str,
}

impl Edit {
    /// A backslash at this place, which makes the character after it an ordinary one.
    pub(super) const fn escape(at: usize) -> Self {
        Self { range: at..at, with: "\\" }
    }

    pub(super) const fn of(range: Range<usize>, with: &'static str) -> Self {
        Self { range, with }
    }
}

impl Source {
    /// A text whose first line is `first` in its file.
    pub(super) fn new(text: &str, first: u64) -> Self {
        let count = text.split('\n').count() as u64;
        Self { text: text.to_owned(), lines: (first..first + count).collect() }
    }

    /// The line of the file at a place of the text.
    pub(super) fn line_of(&self, at: usize) -> u64 {
        let number = self.text[..at].matches('\n').count();
        self.lines.get(number).or(self.lines.last()).copied().unwrap_or(1)
    }

    /// Makes the edits, in the order of their places. An edit that begins inside the one before it is dropped.
    pub(super) fn apply(&mut self, mut edits: Vec<Edit>) {
        edits.sort_by_key(|edit| edit.range.start);
        let (mut text, mut lines) = (String::with_capacity(self.text.len() + edits.len()), Vec::new());
        let (mut at, mut line) = (0, 0);
        // Each line break takes the number of the line that follows it.
        lines.push(self.lines[0]);
        for Edit { range, with } in edits.into_iter().chain([Edit::of(self.text.len()..self.text.len(), "")]) {
            if range.start < at {
                continue;
            }
            let kept = &self.text[at..range.start];
            for _ in kept.matches('\n') {
                line += 1;
                lines.push(self.lines[line]);
            }
            text.push_str(kept);
            line += self.text[range.clone()].matches('\n').count();
            if text.is_empty() || text.ends_with('\n') {
                lines.pop();
                lines.push(self.lines[line]);
            }
            lines.extend(with.matches('\n').map(|_| self.lines[line]));
            text.push_str(with);
            at = range.end;
        }
        (self.text, self.lines) = (text, lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_keep_the_lines() {
        let mut source = Source::new("one\ntwo\nthree\nfour", 10);
        let at = |what: &str| "one\ntwo\nthree\nfour".find(what).unwrap();
        source.apply(vec![
            Edit::escape(at("four")),
            Edit::of(at("two")..at("three"), ""),
            Edit::of(at("wo")..at("wo") + 1, "dropped"),
            Edit::of(at("ree")..at("ree"), "\n\n"),
        ]);
        assert_eq!(source.text, "one\nth\n\nree\n\\four");
        let line = |what: &str| source.line_of(source.text.find(what).unwrap());
        assert_eq!((line("one"), line("th"), line("ree"), line("four")), (10, 12, 12, 13));
    }
}
