//! Where to cut a sentence that is too long for one part.

use unicode_segmentation::UnicodeSegmentation;

use super::{
    abbreviation::takes_point,
    marks::{
        EndMark, closes, hangs, is_comma, is_dash, is_either_quote, is_inside_grapheme, is_long_dash, is_spaced_comma,
        stop,
    },
};

/// A place where a sentence may be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seam {
    /// At a comma, a dash, or a similar mark.
    Clause,
    /// Between two words.
    Word,
}

/// The end of the first piece of at most `limit` characters, in bytes; `None` if the text is no longer than that.
/// Looks at no more than `limit` characters and a few next to them, however long the text is.
pub(super) fn cut_at(text: &str, limit: usize) -> Option<usize> {
    let (mut clause, mut word) = (None, None);
    let mut before = '\0';
    for (count, (at, next)) in text.char_indices().enumerate() {
        match if at > 0 { seam(text, at, before, next) } else { None } {
            Some(Seam::Clause) => clause = Some(at),
            Some(Seam::Word) => word = Some(at),
            None => {}
        }
        if count == limit {
            return clause.or(word).or_else(|| Some(inside_word(&text[..at + next.len_utf8()], at)));
        }
        before = next;
    }
    None
}

/// The kind of seam at `at`, between two characters. The seam of a space is before the space.
fn seam(text: &str, at: usize, before: char, next: char) -> Option<Seam> {
    if next == ' ' {
        return seam_at_space(&text[..at], &text[at + 1..]).filter(|_| !is_inside_grapheme(text, at + 1));
    }
    let done = &text[..at];
    let seam = match before {
        ' ' => return None,
        // Characters that separate words without a space.
        '\u{200b}' | '\u{f0b}' | '\u{1361}' => Seam::Word,
        c if is_comma(c) || closes(c) && follows_comma(done) => Seam::Clause,
        c if (is_long_dash(c) || done.ends_with("--")) && !begins_word(done) => Seam::Clause,
        _ => return None,
    };
    let stays = hangs(next)
        || is_dash(next)
        || is_either_quote(next)
        || next.is_numeric() && done[..at - before.len_utf8()].ends_with(char::is_numeric)
        || is_inside_grapheme(text, at);
    (!stays).then_some(seam)
}

fn seam_at_space(before: &str, after: &str) -> Option<Seam> {
    let next = after.chars().next().filter(|c| !hangs(*c))?;
    let rest = &after[next.len_utf8()..];
    let bare = before.trim_end_matches(|c| closes(c) || is_either_quote(c));
    let last = bare.chars().next_back().unwrap_or(' ');
    let stops = match stop(last) {
        Some(EndMark::Point) => !takes_point(&bare[..bare.len() - 1], after),
        other => other.is_some(),
    };
    if stops || is_spaced_comma(last) || is_comma(last) || is_dash(last) && parts_clauses(before) {
        return Some(Seam::Clause);
    }
    match is_dash(next) {
        // A dash between two spaces stays with the text before it.
        true if rest.starts_with(' ') => None,
        true if is_long_dash(next) && !rest.starts_with(is_dash) => Some(Seam::Clause),
        _ => Some(Seam::Word),
    }
}

/// Whether a comma precedes the closing marks at the end: `，」`.
fn follows_comma(text: &str) -> bool {
    text.trim_end_matches(closes).ends_with(is_comma)
}

/// Whether the dash at the end begins a word: `—Hola`, `--flag`.
fn begins_word(text: &str) -> bool {
    let bare = text.trim_end_matches(is_dash);
    bare.is_empty() || bare.ends_with(' ')
}

/// Whether the dash at the end, before a space, is more than a hyphen (`pre- and post-war`) or a bullet.
fn parts_clauses(text: &str) -> bool {
    let bare = text.trim_end_matches(is_dash);
    !bare.is_empty() && (bare.ends_with(' ') || text.ends_with("--") || !text.ends_with(['-', '‐']))
}

/// The last boundary between two graphemes up to `limit`; `window` ends with the character after it. A boundary next to closing
/// marks or a space is used only if there is no other. A single grapheme of more than `limit` characters is cut, because
/// the API takes no longer text.
fn inside_word(window: &str, limit: usize) -> usize {
    let mut last = None;
    // Backwards, because a forward search would look up each character of a long word.
    for (at, grapheme) in window.grapheme_indices(true).rev().take_while(|(at, _)| *at > 0) {
        if !grapheme.starts_with(|c| c == ' ' || hangs(c)) {
            return at;
        }
        last = last.or(Some(at));
    }
    last.unwrap_or(limit)
}
