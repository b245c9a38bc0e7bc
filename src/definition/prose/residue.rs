//! Markup that Markdown does not know: what pandoc, Obsidian and others leave in a text.

use std::{borrow::Cow, sync::LazyLock};

use regex::{Captures, Regex};

use super::{
    left_out::{LeftOut, letters},
    source::Edit,
};

/// A regular expression that is made once.
macro_rules! pattern {
    ($name:ident, $text:literal) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).expect("the expression is valid"));
    };
}

// `::: {.epigraph}`, `:::warning Its title`, and the closing `:::`.
pattern!(FENCED_DIV, r"(?m)^([\t >]*:{3,}[\t ]*(?:\{[^}\n]*\}|([A-Za-z][\w-]*))?[\t ]*:*)([^\n]*)$");
// Tags of Word and of e-books, whose names have a colon.
pattern!(NAMED_TAG, r"(?i)</?(?:o|v|w|m|x|st1|mbp|epub):[a-z][\w-]*(?:\s[^<>]*)?/?>");
// Comments of Obsidian.
pattern!(PERCENT_COMMENT, r"(?s)(?:^|[\s])(%%.+?%%)(?:\s|$)");
// `{#id .class key="value"}`, `{=html}`, `{.class}`; not `{name}`.
pattern!(
    ATTRIBUTES,
    r#"[\t ]?\{(?:=[a-z]\w*|:?[\t ]*(?:[#.][^\s{}.#][^\s{}]*|[A-Za-z][\w:-]*=(?:"[^"{}]*"|[^\s"{}]+)|-)(?:[\t ]+(?:[#.][^\s{}]+|[A-Za-z][\w:-]*=(?:"[^"{}]*"|[^\s"{}]+)|-))*[\t ]*)\}"#
);
// A span whose attributes are replaced by a mark.
pattern!(SPAN, "\\[([^\\[\\]]*)\\]\u{e000}");
// A reference to a footnote that the file has not, and a footnote inside the text.
pattern!(FOOTNOTE_MARK, r"\[\^[^\]\s\[]{1,64}\]:?");
pattern!(INLINE_FOOTNOTE, r"\^\[(?:[^\[\]]|\[[^\[\]]*\])*\]");
// `[!quote] Its title`, `[!note]-`
pattern!(CALLOUT, r"^\[![A-Za-z][\w-]*\][+-]?[\t ]*");
pattern!(HIGHLIGHT, r"==([^\s=](?:[^=\n]*[^\s=])?)==");
// A block's name at the end of a line in Obsidian.
pattern!(BLOCK_NAME, r"[\t ]\^[A-Za-z0-9-]+$");

/// Stands for attributes until it is known whether a span is before them.
const MARK: &str = "\u{e000}";
/// How deep spans may stand in spans.
const MAX_SPANS: usize = 8;

/// The lines and comments that are no Markdown.
pub(super) fn edits(text: &str, left_out: &mut LeftOut) -> Vec<Edit> {
    let mut edits = Vec::new();
    if text.contains(":::") {
        // The title of a callout stays, as a paragraph of its own.
        for found in FENCED_DIV.captures_iter(text) {
            let (Some(fence), Some(title)) = (found.get(1), found.get(3)) else { continue };
            left_out.labels += u32::from(found.get(2).is_some());
            edits.extend([Edit::of(fence.range(), "\n"), Edit::of(title.end()..title.end(), "\n")]);
        }
    }
    if text.contains("%%") {
        for found in PERCENT_COMMENT.captures_iter(text).filter_map(|found| found.get(1)) {
            left_out.comments += 1;
            edits.push(Edit::of(found.range(), ""));
        }
    }
    if text.contains(':') {
        edits.extend(NAMED_TAG.find_iter(text).map(|found| Edit::of(found.range(), "")));
    }
    edits
}

/// A paragraph without what pandoc and others leave in it.
pub(super) fn without(paragraph: String, left_out: &mut LeftOut) -> String {
    let mut text = paragraph;
    if text.starts_with("[!") && CALLOUT.is_match(&text) {
        left_out.labels += 1;
        text = CALLOUT.replace(&text, "").into_owned();
    }
    if text.contains("[^") || text.contains("^[") {
        text = replaced(&INLINE_FOOTNOTE, text, |found| {
            left_out.footnotes += 1;
            left_out.letters += letters(&found[0]);
            String::new()
        });
        text = replaced(&FOOTNOTE_MARK, text, |_| {
            left_out.footnotes += 1;
            String::new()
        });
    }
    if text.contains('{') && !text.contains(MARK) {
        text = replaced(&ATTRIBUTES, text, |_| MARK.to_owned());
        // From the inside out: spans may stand in spans.
        for _ in 0..MAX_SPANS {
            text = replaced(&SPAN, text, |found| found[1].to_owned());
        }
        text = text.replace(MARK, "");
    }
    if text.contains("==") {
        text = replaced(&HIGHLIGHT, text, |found| found[1].to_owned());
    }
    if text.contains(" ^") {
        text = replaced(&BLOCK_NAME, text, |_| String::new());
    }
    text
}

fn replaced(pattern: &Regex, text: String, with: impl FnMut(&Captures<'_>) -> String) -> String {
    match pattern.replace_all(&text, with) {
        Cow::Borrowed(_) => text,
        Cow::Owned(changed) => changed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, LeftOut) {
        let mut left_out = LeftOut::default();
        (without(text.to_owned(), &mut left_out), left_out)
    }

    #[test]
    fn what_pandoc_leaves_is_taken_out() {
        for (text, expected) in [
            ("[]{#c01.xhtml}One.", "One."),
            ("[The Sea]{.smallcaps} rose.", "The Sea rose."),
            ("[[A]{.first} b]{.second lang=en} c", "A b c"),
            ("Chapter One {#ch01 .unnumbered}", "Chapter One"),
            ("Chapter One {-}", "Chapter One"),
            ("a link{.external rel=\"x y\"} here", "a link here"),
            ("Line`{=html}", "Line`"),
            ("so[^1] it[^note-2].", "so it."),
            ("so^[An [own] note.] it", "so it"),
            ("[!quote] The title", "The title"),
            ("a ==marked== word", "a marked word"),
            ("A paragraph. ^a1b2c3", "A paragraph."),
        ] {
            assert_eq!(read(text).0, expected, "{text}");
        }
        let counted = read("[!tip]- so[^1] it^[a note]").1;
        assert_eq!((counted.labels, counted.footnotes, counted.letters), (1, 2, 5));
    }

    #[test]
    fn prose_stays() {
        for text in [
            "Dear {name}, {first name} {a, b} {1} {} {…}",
            "[pause] and [Anna]",
            "2 ^ 3 == 8 == a",
            "{{ site.title }} ${x}",
            "x[1] {.} {#}",
        ] {
            assert_eq!(read(text), (text.to_owned(), LeftOut::default()));
        }
    }

    #[test]
    fn lines_of_other_dialects_go() {
        let mut left_out = LeftOut::default();
        let text = "::: {.epigraph}\nOne.\n:::\n\n:::tip Its title\nTwo. %%hidden%% three\n:::\n\n%%\nall\nhidden\n%%\n100%% of 50%%";
        let mut source = super::super::source::Source::new(text, 1);
        source.apply(edits(text, &mut left_out));
        let lines: Vec<_> = source.text.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, ["One.", "Its title", "Two.  three", "100%% of 50%%"]);
        assert_eq!(left_out.comments, 2);
    }
}
