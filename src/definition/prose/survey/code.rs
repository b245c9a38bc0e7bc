//! Code blocks: those that are never closed, and those that hold prose.

use std::{ops::Range, sync::LazyLock};

use regex::Regex;

use super::super::source::Edit;

/// What programs have, and prose has not.
static CODE: LazyLock<Regex> = LazyLock::new(|| {
    let signs = r"[{}]|\s[-+*/|&!<>=:]?=\s|=>|->|::|&&|\|\||\w\(\)|\);|</|/>";
    Regex::new(&format!(r"{signs}|^\s*(?:\$ |>>> |//|#include|#!)")).expect("the expression is valid")
});

/// A code block that is being read.
pub(super) struct CodeBlock {
    range: Range<usize>,
    indented: bool,
    /// Whether its fence says nothing of a language.
    is_plain: bool,
    /// The places of its text.
    pub(super) lines: Vec<Range<usize>>,
}

impl CodeBlock {
    pub(super) const fn new(range: Range<usize>, indented: bool, is_plain: bool) -> Self {
        Self { range, indented, is_plain, lines: Vec::new() }
    }

    pub(super) const fn start(&self) -> usize {
        self.range.start
    }

    /// Whether it has a fence at its start and none at its end.
    pub(super) fn is_open(&self, text: &str) -> bool {
        if self.indented {
            return false;
        }
        let block = &text[self.range.clone()];
        let fence = block.chars().next().unwrap_or('`');
        let length = block.chars().take_while(|c| *c == fence).count();
        let Some((_, rest)) = block.split_once('\n') else { return true };
        let last = rest.trim_end().rsplit('\n').next().unwrap_or_default();
        let last = last.trim_start_matches([' ', '\t', '>']).trim_end();
        last.chars().count() < length || last.chars().any(|c| c != fence)
    }

    /// The edits by which prose is no code block: an indented paragraph, or scenes between two lines of `~~~`.
    pub(super) fn edits(&self, text: &str) -> Vec<Edit> {
        if !holds_prose(self.lines.iter().map(|line| &text[line.clone()])) {
            return Vec::new();
        }
        if self.indented {
            return self.lines.iter().flat_map(|line| unindented(text, line)).collect();
        }
        let block = &text[self.range.clone()];
        match block.trim_end().rfind('\n') {
            Some(last) if self.is_plain && block.starts_with('~') => {
                let fence = last + block[last..].find('~').unwrap_or(0);
                vec![Edit::escape(self.range.start), Edit::escape(self.range.start + fence)]
            }
            _ => Vec::new(),
        }
    }
}

/// Whether the text of a code block is prose: few of its lines have what programs have.
pub(super) fn holds_prose<'t>(pieces: impl Iterator<Item = &'t str>) -> bool {
    let (mut lines, mut code) = (0, 0);
    for line in pieces.flat_map(str::lines).filter(|line| !line.trim().is_empty()) {
        lines += 1;
        code += usize::from(CODE.is_match(line));
    }
    code * 10 < lines * 3
}

/// The edit by which the line in `range` is indented no more than its list or quote is.
fn unindented(text: &str, range: &Range<usize>) -> Option<Edit> {
    let before = text[..range.start].bytes().rev().take(4).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let line = &text[range.clone()];
    let words = line.len() - line.trim_start_matches([' ', '\t']).len();
    (before + words > 0).then(|| Edit::of(range.start - before..range.start + words, ""))
}
