//! Paragraphs, and a paragraph's text without its line breaks.

use super::marks::is_wide;

/// Stands between a heading and the paragraph after it. No text has it otherwise, because control characters are taken out
/// of texts.
pub const HEADING_GAP: &str = "\n\u{b}\n";
/// The paragraph between two scenes.
pub const SCENE_BREAK: &str = "* * *";

/// The paragraphs of a text, none blank. An empty line or U+2029 separates two of them.
pub fn paragraphs(text: &str) -> impl Iterator<Item = &str> {
    with_headings(text).map(|(paragraph, _)| paragraph)
}

/// The same, and whether each is a heading.
pub(super) fn with_headings(text: &str) -> impl Iterator<Item = (&str, bool)> {
    text.split('\u{2029}').flat_map(|rest| Paragraphs { rest })
}

struct Paragraphs<'t> {
    rest: &'t str,
}

impl<'t> Iterator for Paragraphs<'t> {
    type Item = (&'t str, bool);

    fn next(&mut self) -> Option<(&'t str, bool)> {
        let text = self.rest.trim_start();
        let mut from = 0;
        while let Some(at) = text[from..].find(['\n', '\r']) {
            let line_end = from + at;
            let after = line_end + if text[line_end..].starts_with("\r\n") { 2 } else { 1 };
            let next = text[after..].trim_start();
            from = text.len() - next.len();
            if next.is_empty() || text[after..from].contains(['\n', '\r']) {
                self.rest = next;
                return Some((text[..line_end].trim_end(), text[line_end..from].contains('\u{b}')));
            }
        }
        self.rest = "";
        Some((text.trim_end(), false)).filter(|(text, _)| !text.is_empty())
    }
}

/// A text on one line: trimmed, with one space for each run of white space. A line break between two characters of
/// Chinese or Japanese is removed, because the unbroken text has no space there.
#[must_use]
pub fn flat(text: &str) -> String {
    let mut rest = text.trim();
    let mut line = String::with_capacity(rest.len());
    while !rest.is_empty() {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        line.push_str(&rest[..end]);
        let next = rest[end..].trim_start();
        let gap = &rest[end..rest.len() - next.len()];
        if !next.is_empty() && !is_only_wrapping(&line, gap, next) {
            line.push(' ');
        }
        rest = next;
    }
    line
}

fn is_only_wrapping(before: &str, gap: &str, after: &str) -> bool {
    before.chars().next_back().is_some_and(is_wide)
        && after.chars().next().is_some_and(is_wide)
        && gap.contains(['\n', '\r', '\u{85}', '\u{2028}'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        paragraphs(text).collect()
    }

    #[test]
    fn an_empty_line_ends_a_paragraph() {
        assert_eq!(found("one\ntwo\n\nthree"), ["one\ntwo", "three"]);
        assert_eq!(found("\r\n \r\none\r\ntwo\r\n\t\r\n\r\nthree\r\n"), ["one\r\ntwo", "three"]);
        assert_eq!(found("one\r\rtwo\rthree"), ["one", "two\rthree"]);
        assert_eq!(found("  one  \n  two  \n　\n  three  "), ["one  \n  two", "three"]);
        assert_eq!(found("one\u{2029}two\u{2029}\u{2029}\n three"), ["one", "two", "three"]);
        assert_eq!(found(" \n \u{2029} \r\n"), [""; 0]);
        assert_eq!(found(""), [""; 0]);
    }

    #[test]
    fn wrapping_leaves_no_trace() {
        assert_eq!(flat("  one\n   two\t\tthree\u{a0}four\r\n"), "one two three four");
        assert_eq!(flat("你好，\n　　世界 一"), "你好，世界 一");
        assert_eq!(flat("안녕\n하세요"), "안녕 하세요");
        assert_eq!(flat("在\nRust 里"), "在 Rust 里");
        assert_eq!(flat(" \n"), "");
    }
}
